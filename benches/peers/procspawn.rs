//! `procspawn::Pool`.

use std::time::Duration;

use procspawn::Pool;

use crate::harness::{Side, load};
use crate::processes::{CHILDREN, OUTSTANDING, echo};

/// Small jobs with a reply.
pub(crate) fn small() -> impl Side {
    Small(Pool::new(CHILDREN).expect("a pool of processes"))
}

struct Small(Pool);

impl Side for Small {
    fn run(&mut self, jobs: u64) -> Duration {
        let Self(pool) = self;
        load::outstanding(
            OUTSTANDING,
            jobs,
            |number| pool.spawn(number, echo),
            |job| _ = job.join().expect("jobs do not fail"),
        )
    }
}
