//! What people write by hand: a semaphore in front of `tokio::spawn`, and the task joined.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::harness::{Side, WORKERS, load, runtime};

/// Async jobs with a reply, from `callers` callers.
pub(crate) fn asynchronous(callers: u64) -> impl Side {
    Calls { callers, seats: Arc::new(Semaphore::new(WORKERS)), runtime: runtime() }
}

struct Calls {
    callers: u64,
    seats: Arc<Semaphore>,
    runtime: Runtime,
}

impl Side for Calls {
    fn run(&mut self, jobs: u64) -> Duration {
        load::callers(&self.runtime, self.callers, jobs, |share| {
            let seats = Arc::clone(&self.seats);
            async move {
                for number in 0..share {
                    // The permit goes with the job: held by the caller, it would come back before a job whose caller left had ended.
                    let seat = Arc::clone(&seats).acquire_owned().await.expect("nobody closes the semaphore");
                    let job = tokio::spawn(async move {
                        let answer = black_box(number);
                        drop(seat);
                        answer
                    });
                    black_box(job.await.expect("jobs do not panic"));
                }
            }
        })
    }
}
