//! The walk along the line of jobs that wait, to offer them to members.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use super::pool::{Job, Shared};

/// So many jobs that wait are offered to members each time from the front of the line, and as many of those behind.
const OFFERS: usize = 32;
/// And so many are passed over in each of the two at most.
const MOST_LOOKS: usize = 2_048;

/// How far a walk along the line of those that wait has come.
#[derive(Default)]
pub(super) struct Walk {
    /// The number of the last job that it has seen.
    after: u64,
    /// The labels of those that wait on.
    held_up: HashSet<Option<Arc<str>>>,
}

impl Walk {
    /// True if a job like this one waits on; one that was tried somewhere is like none.
    fn holds_up<J, T>(&self, job: &Job<J, T>) -> bool {
        job.errand.attempts.is_empty() && self.held_up.contains(&job.errand.terms.label)
    }
}

impl<J: Send + 'static, T: Send + 'static> Shared<J, T> {
    /// Gives those that wait to members: the first of the line each time, and those behind in turn, a part each time until all of the round were seen. So each pass
    /// begins with whoever waits longest, and nobody is out of sight for good, however many wait before them for a member that has no place.
    pub(super) fn hand_out(&self, round: &mut Walk) {
        let mut front = Walk::default();
        let mut is_over = self.offer_some(&mut front);
        if !is_over {
            round.after = round.after.max(front.after);
            round.held_up.extend(front.held_up);
            is_over = self.offer_some(round);
        }
        if is_over {
            *round = Walk::default();
        }
    }

    /// Goes on along the line, in its order. One that waits on has those of its label wait. True at the end.
    fn offer_some(&self, walk: &mut Walk) -> bool {
        let mut offers = 0;
        for _ in 0..MOST_LOOKS {
            let job = {
                let mut state = self.state.lock();
                let mut rest = state.waiting.range((Bound::Excluded(walk.after), Bound::Unbounded));
                let Some((&number, job)) = rest.next() else { return true };
                walk.after = number;
                let job = if walk.holds_up(job) { None } else { state.waiting.remove(&number) };
                state.offered = job.is_some();
                job
            };
            let Some(job) = job else { continue };
            offers += 1;
            let label = job.errand.terms.label.clone();
            let is_fresh = job.errand.attempts.is_empty();
            let waits_on = self.go_on(job, true);
            self.state.lock().offered = false;
            if waits_on && is_fresh {
                walk.held_up.insert(label);
            }
            if offers == OFFERS {
                break;
            }
        }
        false
    }
}
