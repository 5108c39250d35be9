//! Interleaved rounds: this machine drifts by more than the sides differ, so each round runs both.

use std::time::Duration;

use super::report::Measured;

/// One side of a row.
pub(crate) trait Side {
    /// How many jobs it is first tried with, to find out how many fill a round.
    const FIRST: u64 = 1 << 10;

    /// Runs `jobs` jobs to their end and says how long that took.
    fn run(&mut self, jobs: u64) -> Duration;
}

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How often each side runs.
    pub(crate) rounds: usize,
    /// The same in one pass, for rows that are measured in several.
    pub(crate) in_a_pass: usize,
    /// About how long a side runs in a round.
    pub(crate) round: Duration,
}

impl Plan {
    /// Jobs per second of both sides, in one pass.
    ///
    /// Each side gets as many jobs as fill a round, so that the slower one does not take the run for itself.
    pub(crate) fn throughput(&self, mut millpond: impl Side, mut peer: impl Side) -> Measured {
        let jobs = (self.calibrate(&mut millpond), self.calibrate(&mut peer));
        let round = |_| (rate(&mut millpond, jobs.0), rate(&mut peer, jobs.1));
        Measured::higher_is_better("jobs/s", (0..self.in_a_pass).map(round).unzip())
    }

    /// How many jobs fill a round. Its own runs are the warm-up.
    fn calibrate<S: Side>(&self, side: &mut S) -> u64 {
        let mut jobs = S::FIRST;
        loop {
            let took = side.run(jobs);
            if took * 4 >= self.round {
                let fitting = jobs as f64 * self.round.as_secs_f64() / took.as_secs_f64();
                return (fitting as u64).clamp(1, MOST_JOBS);
            }
            jobs *= 2;
        }
    }
}

/// No round has more jobs than this: a pool whose queue is bounded must know how many may wait.
pub(crate) const MOST_JOBS: u64 = 1 << 22;

fn rate(side: &mut impl Side, jobs: u64) -> f64 {
    jobs as f64 / side.run(jobs).as_secs_f64()
}
