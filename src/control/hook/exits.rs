//! Whether a worker that idles for too long is to leave. It stays among the idle while that is asked: a job that takes it ends the
//! question, in the same hold of the locks in which it takes it.

use std::collections::HashMap;

use super::ask::Ruling;
use crate::backend::Backend;
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

impl<B: Backend> Supervision<B> {
    /// True if idle workers do not leave without a question.
    pub(in crate::control) fn asks_before_exits(&self) -> bool {
        self.hooks.are_asked() && self.ending.is_none()
    }

    /// Asks about idle workers that have stayed for too long, as many as there are above `min`.
    pub(in crate::control) fn ask_idle_exits(&mut self, now: Timestamp) {
        let (above, overstaying) = self.plane().overstaying(now, self.kept_beyond_min(now));
        if above == 0 || overstaying.is_empty() {
            return;
        }
        let Self { hooks, employed, .. } = self;
        hooks.spared.retain(|worker, _| employed.get(*worker).is_some());
        let mut asked = 0;
        let mut ask = Vec::new();
        for idler in overstaying {
            if asked == above {
                break;
            }
            let spare = hooks.spared.get(&idler.worker).filter(|spare| spare.claims == idler.claims);
            match spare.map(|spare| spare.until) {
                Some(Timestamp::NEVER) => asked += 1,
                Some(until) if until > now => {}
                _ => {
                    asked += 1;
                    ask.push(idler);
                }
            }
        }
        ask.into_iter().for_each(|idler| self.ask_idle_exit(&idler, now));
    }

    fn ask_idle_exit(&mut self, idler: &Overstays, now: Timestamp) {
        let &Overstays { worker, claims, since } = idler;
        let asked = Spare { claims, until: Timestamp::NEVER };
        self.hooks.spared.insert(worker, asked);
        let question = Question::IdleExit { worker, idle_for: now.since(since) };
        self.ask_hooks(question, By::IdleTimeout, move |supervision, ruling| {
            // Otherwise it has worked since, and may be asked about anew.
            let current = supervision.hooks.spared.get(&worker) == Some(&asked);
            match ruling {
                Ruling::Allowed => {
                    if current {
                        supervision.hooks.spared.remove(&worker);
                    }
                    let kept = supervision.kept_beyond_min(supervision.now());
                    supervision.plane().retire_overstaying(worker, claims, kept);
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
