//! Whether a worker that idles for too long is to leave. It stays among the idle while that is asked: a job that takes it ends the
//! question, in the same hold of the locks in which it takes it.

use std::collections::HashMap;
use std::time::Duration;

use super::ask::Ruling;
use crate::backend::Backend;
use crate::config::Limits;
use crate::control::supervisor::Supervision;
use crate::hook::Question;
use crate::id::{By, WorkerId};
use crate::plane::Overstays;
use crate::sync::Timestamp;

/// Workers that are asked about, or may stay for a while.
pub(super) type Spared = HashMap<WorkerId, Spare>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Spare {
    /// How many jobs it had claimed by then.
    claims: u64,
    /// Until when it may stay; `NEVER`: it is asked about.
    until: Timestamp,
}

/// When idle workers are looked at again, about which hooks are asked: a look is at all who idle for too long, so it does not come with each
/// message.
#[derive(Default)]
pub(super) struct Looks {
    next: Timestamp,
    /// The limits by which that was said.
    limits: Option<Limits>,
}

impl Looks {
    fn are_due(&self, now: Timestamp, limits: &Limits) -> bool {
        now >= self.next || self.limits.as_ref() != Some(limits)
    }

    /// There was a look, after which nobody is to be asked about before `next`, of those who idled then. Workers that become idle tell nobody: look
    /// often enough to be late by a quarter at most.
    fn looked(&mut self, now: Timestamp, limits: &Limits, next: Timestamp) {
        let late = limits.idle_timeout.map_or(Timestamp::NEVER, |timeout| now.after(late_by(timeout)));
        *self = Self { next: next.min(late), limits: Some(*limits) };
    }

    /// Who may be asked about is another matter now.
    fn look_again(&mut self) {
        self.next = Timestamp::default();
    }
}

/// How late an idle exit may be.
pub(in crate::control) fn late_by(timeout: Duration) -> Duration {
    (timeout / 4).max(Duration::from_millis(5))
}

impl<B: Backend> Supervision<B> {
    /// True if idle workers do not leave without a question.
    pub(in crate::control) fn asks_before_exits(&self) -> bool {
        self.hooks.are_asked() && self.ending.is_none()
    }

    /// Asks about idle workers that have stayed for too long, as many as there are above `min`. Says when to look again.
    pub(in crate::control) fn ask_idle_exits(&mut self, now: Timestamp, limits: &Limits) -> Timestamp {
        if self.hooks.looks.are_due(now, limits) {
            let (above, overstaying, next) = self.plane().overstaying(now);
            let (ask, kept_until) = self.whom_to_ask(overstaying, above, now);
            // First, since a ruling may come on the spot.
            self.hooks.looks.looked(now, limits, next.min(kept_until));
            ask.into_iter().for_each(|idler| self.ask_idle_exit(&idler, now));
        }
        self.hooks.looks.next
    }

    /// Those of them that hooks are to be asked about, as many as may go; and when the next one may be asked about that is kept.
    fn whom_to_ask(
        &mut self,
        overstaying: Vec<Overstays>,
        above: usize,
        now: Timestamp,
    ) -> (Vec<Overstays>, Timestamp) {
        let Self { hooks, employed, .. } = self;
        hooks.spared.retain(|worker, _| employed.get(*worker).is_some());
        let (mut asked, mut ask, mut next) = (0, Vec::new(), Timestamp::NEVER);
        for idler in overstaying {
            if asked == above {
                break;
            }
            let spare = hooks.spared.get(&idler.worker).filter(|spare| spare.claims == idler.claims);
            match spare.map(|spare| spare.until) {
                Some(Timestamp::NEVER) => asked += 1,
                Some(until) if until > now => next = next.min(until),
                _ => {
                    asked += 1;
                    ask.push(idler);
                }
            }
        }
        (ask, next)
    }

    fn ask_idle_exit(&mut self, idler: &Overstays, now: Timestamp) {
        let &Overstays { worker, claims, since } = idler;
        let asked = Spare { claims, until: Timestamp::NEVER };
        self.hooks.spared.insert(worker, asked);
        let question = Question::IdleExit { worker, idle_for: now.since(since) };
        self.ask_hooks(question, By::IdleTimeout, move |supervision, ruling| {
            // Otherwise it has worked since, and may be asked about anew.
            let current = supervision.hooks.spared.get(&worker) == Some(&asked);
            // Another one may be asked about in its place.
            supervision.hooks.looks.look_again();
            match ruling {
                Ruling::Allowed => {
                    if current {
                        supervision.hooks.spared.remove(&worker);
                    }
                    supervision.plane().retire_overstaying(worker, claims);
                }
                Ruling::Denied(_) if current => {
                    let timeout = supervision.plane().limits().idle_timeout;
                    let until = timeout.map_or(Timestamp::default(), |timeout| supervision.now().after(timeout));
                    supervision.hooks.spared.insert(worker, Spare { claims, until });
                }
                Ruling::Denied(_) => {}
            }
        });
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn of(timeout: Duration) -> Limits {
        Limits::new(0, 1_000).idle_timeout(timeout)
    }

    /// How many looks there are in a minute of so many messages, if each look says that the next one is due after so long.
    fn looks_in_a_minute(messages: u32, timeout: Duration, next: Option<Duration>) -> u32 {
        let (mut looks, limits, mut count) = (Looks::default(), of(timeout), 0);
        for message in 0..messages {
            let now = Timestamp::default().after(SECOND * 60 / messages * message);
            if looks.are_due(now, &limits) {
                count += 1;
                looks.looked(now, &limits, next.map_or(Timestamp::NEVER, |span| now.after(span)));
            }
        }
        count
    }

    #[test]
    fn looks_do_not_grow_with_messages() {
        for messages in [1_000, 100_000] {
            let looks = |next| looks_in_a_minute(messages, SECOND * 8, next);
            assert!((29..=30).contains(&looks(None)), "as often as a quarter of the timeout fits in: {}", looks(None));
            let often = looks(Some(SECOND));
            assert!((58..=60).contains(&often), "as often as there is something to be seen: {often}");
        }
        let often = looks_in_a_minute(600_000, SECOND / 1_000, None);
        assert!(often <= 12_000, "{often} looks: each five milliseconds at most");
    }

    #[test]
    fn other_limits_and_a_ruling_have_a_look_at_once() {
        let (mut looks, now) = (Looks::default(), Timestamp::default());
        assert!(looks.are_due(now, &of(SECOND)));
        looks.looked(now, &of(SECOND * 3_600), Timestamp::NEVER);
        assert!(!looks.are_due(now, &of(SECOND * 3_600)));
        assert!(looks.are_due(now, &of(SECOND)), "by which some may be overstaying");
        looks.look_again();
        assert!(looks.are_due(now, &of(SECOND * 3_600)));
    }
}
