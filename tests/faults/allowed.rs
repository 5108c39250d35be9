//! What has been asked for since the last rest, and what may therefore happen until the next.

use std::collections::HashSet;

use parking_lot::Mutex;

/// What must not happen unless somebody asked for what causes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The lane `direct` was given a run limit.
    LaneRunLimit,
    /// The lane `default` was given a span in which its jobs must make progress.
    LaneSpan,
    /// The actor of some worker was killed.
    Crash,
    /// Workers were asked to stop, with whatever job they had.
    LadderAtWorkers,
}

/// See [`Allowed::max`].
#[derive(Default)]
struct Ceiling {
    highest: usize,
    asked: Vec<usize>,
}

#[derive(Default)]
pub struct Allowed {
    ceiling: Mutex<Ceiling>,
    causes: Mutex<HashSet<Cause>>,
}

impl Allowed {
    /// The largest `max` that has been in force since the last rest, or may come into force any moment.
    pub fn max(&self) -> usize {
        let ceiling = self.ceiling.lock();
        ceiling.asked.iter().copied().fold(ceiling.highest, usize::max)
    }

    /// Somebody asks for it now.
    pub fn ask_max(&self, max: usize) {
        self.ceiling.lock().asked.push(max);
    }

    /// That has been answered: it is in force, or will never be.
    pub fn max_answered(&self, max: usize, in_force: bool) {
        let mut ceiling = self.ceiling.lock();
        if let Some(at) = ceiling.asked.iter().position(|asked| *asked == max) {
            ceiling.asked.swap_remove(at);
        }
        if in_force {
            ceiling.highest = ceiling.highest.max(max);
        }
    }

    pub fn cause(&self, cause: Cause) {
        self.causes.lock().insert(cause);
    }

    pub fn has(&self, cause: Cause) -> bool {
        self.causes.lock().contains(&cause)
    }

    /// Nothing is owed or asked, and this `max` is in force.
    pub fn rest(&self, max: usize) {
        *self.ceiling.lock() = Ceiling { highest: max, asked: Vec::new() };
        self.causes.lock().clear();
    }
}
