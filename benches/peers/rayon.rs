//! `rayon`: jobs spawned into a pool of its own from a thread outside it.

use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::harness::load::Tally;
use crate::harness::{Side, WORKERS};

/// Jobs without a reply.
pub(crate) fn fire_and_forget() -> impl Side {
    let pool = ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("threads for rayon");
    Jobs { pool, tally: Tally::leaked() }
}

struct Jobs {
    pool: ThreadPool,
    tally: &'static Tally,
}

impl Side for Jobs {
    fn run(&mut self, jobs: u64) -> Duration {
        let tally = self.tally;
        tally.time(jobs, || self.pool.spawn(move || tally.count()))
    }
}
