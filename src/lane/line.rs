//! A line in which things die where they stand: what has left stays as a dead entry until it reaches the front or a sweep.

use std::collections::VecDeque;

/// Below this length a sweep costs more than it frees.
const SWEEP_FROM: usize = 64;

/// First in, first out. An entry that is not alive any more is skipped, and swept once half of the line is dead.
#[derive(Debug)]
pub(crate) struct Line<T> {
    entries: VecDeque<T>,
    dead: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), dead: 0 }
    }
}

impl<T> Line<T> {
    pub(crate) fn push(&mut self, entry: T) {
        self.entries.push_back(entry);
    }

    pub(crate) fn push_front(&mut self, entry: T) {
        self.entries.push_front(entry);
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let entry = self.entries.pop_front();
        if self.entries.is_empty() {
            self.dead = 0;
        }
        entry
    }

    /// Takes the newest.
    pub(crate) fn pop_back(&mut self) -> Option<T> {
        self.entries.pop_back()
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.entries.front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One entry has died in place. The swept ones are handed back, to be dropped after unlock.
    pub(crate) fn died(&mut self, alive: impl Fn(&T) -> bool) -> Vec<T> {
        self.dead += 1;
        if self.entries.len() < SWEEP_FROM || self.dead * 2 < self.entries.len() {
            return Vec::new();
        }
        self.dead = 0;
        let (kept, swept): (VecDeque<_>, VecDeque<_>) = self.entries.drain(..).partition(alive);
        self.entries = kept;
        swept.into()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_line_whose_entries_die_in_place_stays_short() {
        let mut line = Line::default();
        let (mut longest, mut dead) = (0, 0);
        for entry in 0..10_000 {
            line.push(entry);
            dead += line.died(|&e| e > entry).len();
            longest = longest.max(line.entries.len());
        }
        assert!(longest <= 2 * SWEEP_FROM, "{longest}");
        assert!(dead > 9_000);
    }

    #[test]
    fn order_survives_a_sweep() {
        let mut line = Line::default();
        for entry in 0..100 {
            line.push(entry);
        }
        for _ in 0..50 {
            line.died(|e| e % 2 == 1);
        }
        let left: Vec<_> = std::iter::from_fn(|| line.pop()).collect();
        assert_eq!(left, (0..100).filter(|e| e % 2 == 1).collect::<Vec<_>>());
    }
}
