//! When an async worker lets the other tasks of its thread go first.

/// So many jobs it runs one after the other. Those whose jobs it has run are ready to go on, on this thread, and what they need is in its
/// cache: leave them too long, and another thread takes them. At 64 callers on two threads a job took 214 ns when a worker
/// always looked at once, 236 ns when it found the jobs of all and ran them without a pause, and with one after 8, 4, 3 and 2 of them
/// 192, 187, 179 and 159 ns; with one after each, more processor time again.
const TURN: u32 = 2;

/// The fewest wakes between two tries.
const FEWEST: u32 = 16;
/// The most.
const MOST: u32 = 1024;

/// Whether a worker that was woken for one job would find more of them a little later; and when its turn is over.
///
/// tokio polls a task that was woken right after the one that woke it. So a worker that many tasks submit to is woken by
/// the first of them, takes that one job and idles again, before the second comes to submit: a wake for each job. If it
/// lets those that are ready to run go first, it finds all their jobs. Whether that pays is seen by doing it: it goes on for as
/// long as more than one job is found, and is tried again after some wakes, the more the longer it has not paid.
#[derive(Debug)]
pub(super) struct Company {
    expected: bool,
    wakes: u32,
    /// After so many wakes it is tried again.
    gap: u32,
    /// Jobs since others went first.
    turn: u32,
}

impl Default for Company {
    fn default() -> Self {
        Self { expected: false, wakes: 0, gap: FEWEST, turn: 0 }
    }
}

impl Company {
    /// The worker was woken: true if it had better let others go first.
    pub(super) fn is_expected(&mut self) -> bool {
        self.turn = 0;
        if self.expected {
            return true;
        }
        self.wakes += 1;
        let tries = self.wakes >= self.gap;
        if tries {
            self.wakes = 0;
            self.gap = (self.gap * 2).min(MOST);
        }
        tries
    }

    /// The worker has a job to run: true if others go first.
    pub(super) fn others_go_first(&mut self) -> bool {
        let over = self.turn == TURN;
        self.turn = if over { 1 } else { self.turn + 1 };
        over
    }

    /// The worker looked, and `more` than its own job was there.
    pub(super) fn found(&mut self, more: bool) {
        self.expected = more;
        if more {
            self.gap = FEWEST;
        }
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use super::*;

    #[test]
    fn others_go_first_for_as_long_as_that_pays() {
        let mut company = Company::default();
        let alone = (1..FEWEST).filter(|_| company.is_expected()).count();
        assert_eq!(alone, 0);
        assert!(company.is_expected(), "it is tried after {FEWEST} wakes");
        company.found(true);
        assert!((0..100).all(|_| {
            let expected = company.is_expected();
            company.found(true);
            expected
        }));
        company.found(false);
        assert!(!company.is_expected());
    }

    #[test]
    fn a_worker_with_many_jobs_lets_others_go_first_after_each_turn() {
        let mut company = Company::default();
        let pauses: Vec<_> = (0..7).map(|_| company.others_go_first()).collect();
        assert_eq!(pauses, [false, false, true, false, true, false, true]);
        company.is_expected();
        assert!(!company.others_go_first(), "a wake begins a turn");
    }

    #[test]
    fn what_does_not_pay_is_tried_ever_more_seldom() {
        let mut company = Company::default();
        let tries = (0..100_000)
            .filter(|_| {
                let tries = company.is_expected();
                company.found(false);
                tries
            })
            .count();
        assert!((100_000 / MOST as usize..120).contains(&tries), "{tries}");
    }
}
