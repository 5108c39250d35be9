//! `tokio::task::spawn_blocking` on as many threads as millpond has workers. Its default of 512 would never queue.

use std::hint::black_box;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::harness::{Side, load, runtime};

/// Blocking jobs with a reply, from `callers` async callers.
pub(crate) fn blocking(callers: u64) -> impl Side {
    Calls { callers, runtime: runtime() }
}

struct Calls {
    callers: u64,
    runtime: Runtime,
}

impl Side for Calls {
    fn run(&mut self, jobs: u64) -> Duration {
        load::callers(&self.runtime, self.callers, jobs, |share| async move {
            for number in 0..share {
                let job = tokio::task::spawn_blocking(move || black_box(number));
                black_box(job.await.expect("jobs do not panic"));
            }
        })
    }
}
