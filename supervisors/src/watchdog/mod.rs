//! What follows when a job is overdue: how patient a pool is with one that makes no progress.
//!
//! Each is a [`Watchdog`] made of a grace and a ladder, and nothing else: it reads no clock, and what it does is core's. How long a job
//! may be silent is said apart, by its lane or its options.

use std::time::Duration;

use millpond::{Ladder, Rung, Watchdog};

/// Warns, and goes no further: for a pool whose jobs somebody looks at, or that is being watched for the first time.
///
/// A job that stays silent is warned about again each time that its span has passed once more.
pub fn warn_only() -> Watchdog {
    Watchdog::warn()
}

/// Warns, after `grace` asks the job to stop, and takes nobody: for jobs that heed a question, and workers that must not be lost.
pub fn ask(grace: Duration) -> Watchdog {
    Watchdog::new(grace, Ladder::cooperative(grace))
}

/// Warns, and leaves `grace` before each rung: the job is asked, its worker is told to leave, its worker is taken. For jobs that clean
/// up after themselves when they are asked.
pub fn patient(grace: Duration) -> Watchdog {
    Watchdog::new(grace, Ladder::graceful(grace))
}

/// Warns, and takes the worker at once, with a last question to its job: for jobs that beat as long as they live, and workers that cost
/// nothing to replace. One that has not ended within `grace` is abandoned.
pub fn strict(grace: Duration) -> Watchdog {
    Watchdog::new(Duration::ZERO, Ladder::new().then(Rung::Cancel, Duration::ZERO).then(Rung::Kill, grace))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(3);

    #[test]
    fn each_is_the_grace_and_the_ladder_that_it_says() {
        assert_eq!(warn_only(), Watchdog::new(Duration::ZERO, Ladder::new()));
        assert_eq!(ask(GRACE), Watchdog::new(GRACE, Ladder::new().then(Rung::Cancel, GRACE)));
        let ladder = Ladder::new().then(Rung::Cancel, GRACE).then(Rung::Stop, GRACE);
        assert_eq!(patient(GRACE), Watchdog::new(GRACE, ladder.then(Rung::Kill, Duration::from_secs(1))));
        let ladder = Ladder::new().then(Rung::Cancel, Duration::ZERO).then(Rung::Kill, GRACE);
        assert_eq!(strict(GRACE), Watchdog::new(Duration::ZERO, ladder));
    }
}
