//! The crate `threadpool`.

use std::time::Duration;

use threadpool::ThreadPool;

use crate::harness::load::Tally;
use crate::harness::{Side, WORKERS};

/// Jobs without a reply.
pub(crate) fn fire_and_forget() -> impl Side {
    Jobs { pool: ThreadPool::new(WORKERS), tally: Tally::leaked() }
}

struct Jobs {
    pool: ThreadPool,
    tally: &'static Tally,
}

impl Side for Jobs {
    fn run(&mut self, jobs: u64) -> Duration {
        let tally = self.tally;
        tally.time(jobs, || self.pool.execute(move || tally.count()))
    }
}
