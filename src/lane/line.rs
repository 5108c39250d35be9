//! A line in which things die where they stand: what has left stays as a dead entry until it reaches the front or a sweep.

use std::collections::VecDeque;

/// Below this length a sweep costs more than it frees.
const SWEEP_FROM: usize = 64;
/// So many entries are looked at for each one that dies: a sweep of a long line, all at once, would hold up whoever wants the lock.
const STEP: usize = 4;

/// First in, first out. An entry that is not alive any more is skipped, and swept, a few at a time, once half of the line is dead.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Line<T> {
    entries: VecDeque<T>,
    /// What stands before them, if anything does.
    older: Option<Box<Older<T>>>,
    /// Entries that died in place since the last sweep began, or more: one that has left since may be counted still.
    dead: usize,
    sweeping: bool,
}

#[derive(Debug)]
struct Older<T> {
    /// Put back before all others.
    returned: VecDeque<T>,
    /// What the sweep under way has found alive.
    kept: VecDeque<T>,
}

impl<T> Default for Older<T> {
    fn default() -> Self {
        Self { returned: VecDeque::new(), kept: VecDeque::new() }
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), older: None, dead: 0, sweeping: false }
    }
}

impl<T> Line<T> {
    pub(crate) fn push(&mut self, entry: T) {
        self.entries.push_back(entry);
    }

    pub(crate) fn push_front(&mut self, entry: T) {
        self.older.get_or_insert_default().returned.push_front(entry);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let entry = match &mut self.older {
            None => self.entries.pop_front(),
            Some(older) => {
                let entry = older.returned.pop_front().or_else(|| older.kept.pop_front());
                self.tidy();
                entry.or_else(|| self.entries.pop_front())
            }
        };
        if self.entries.is_empty() && self.older.is_none() {
            self.dead = 0;
        }
        entry
    }

    /// Takes the newest.
    pub(crate) fn pop_back(&mut self) -> Option<T> {
        self.entries.pop_back().or_else(|| {
            let older = self.older.as_mut()?;
            let entry = older.kept.pop_back().or_else(|| older.returned.pop_back());
            self.tidy();
            entry
        })
    }

    /// The entry that so many others stand before, or more: not counted are those that were put back, or that a sweep has found alive. For a hint.
    #[inline]
    pub(crate) fn ahead(&self, others: usize) -> Option<&T> {
        self.entries.get(others)
    }

    pub(crate) fn front(&self) -> Option<&T> {
        let older = self.older.as_ref().and_then(|older| older.returned.front().or_else(|| older.kept.front()));
        older.or_else(|| self.entries.front())
    }

    pub(crate) fn back(&self) -> Option<&T> {
        self.entries.back()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.older.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.older.as_ref().map_or(0, |older| older.returned.len() + older.kept.len())
    }

    /// There is something older, or there is no box for it.
    fn tidy(&mut self) {
        self.older.take_if(|older| older.returned.is_empty() && older.kept.is_empty());
    }

    /// One entry has died in place. The swept ones are handed back, to be dropped after unlock.
    pub(crate) fn died(&mut self, alive: impl Fn(&T) -> bool) -> Vec<T> {
        self.dead += 1;
        // Most die in their turn: those in front go without a sweep.
        let mut swept = self.pass_dead(STEP, &alive);
        let len = self.len();
        if self.sweeping || len >= SWEEP_FROM && self.dead * 2 >= len {
            self.sweep(alive, &mut swept);
        }
        swept
    }

    /// Takes out what is dead at the front, up to so many; handed back, to be dropped after unlock.
    pub(crate) fn pass_dead(&mut self, most: usize, alive: impl Fn(&T) -> bool) -> Vec<T> {
        let mut passed = Vec::new();
        while passed.len() < most && self.front().is_some_and(|entry| !alive(entry)) {
            passed.extend(self.pop());
            self.dead = self.dead.saturating_sub(1);
        }
        passed
    }

    /// One step of a sweep.
    fn sweep(&mut self, alive: impl Fn(&T) -> bool, swept: &mut Vec<T>) {
        let older = self.older.get_or_insert_default();
        if !std::mem::replace(&mut self.sweeping, true) {
            self.dead = 0;
            older.kept.reserve(self.entries.len() / 2);
        }
        for _ in 0..STEP {
            let Some(entry) = self.entries.pop_front() else { break };
            if alive(&entry) { older.kept.push_back(entry) } else { swept.push(entry) }
        }
        if self.entries.is_empty() {
            self.sweeping = false;
            self.entries = std::mem::take(&mut older.kept);
        }
        self.tidy();
    }

    #[cfg(all(test, millpond_loom))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let older = self.older.iter().flat_map(|older| older.returned.iter().chain(&older.kept));
        older.chain(&self.entries)
    }

    /// The entry of this number, where numbers grow from each entry to the next but among those that were put back.
    pub(crate) fn find(&self, number: u64, number_of: impl Fn(&T) -> u64) -> Option<&T> {
        let among = |entries: &VecDeque<T>| entries.binary_search_by_key(&number, &number_of).ok();
        if let Some(older) = &self.older {
            if let Some(entry) = older.returned.iter().find(|entry| number_of(entry) == number) {
                return Some(entry);
            }
            if let Some(place) = among(&older.kept) {
                return older.kept.get(place);
            }
        }
        among(&self.entries).and_then(|place| self.entries.get(place))
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use super::*;

    /// Pops as a worker does, past the dead.
    fn pop_living(line: &mut Line<u64>, dead: &BTreeSet<u64>) -> Option<u64> {
        std::iter::from_fn(|| line.pop()).find(|entry| !dead.contains(entry))
    }

    #[test]
    fn a_line_whose_entries_die_in_place_stays_short() {
        let mut line = Line::default();
        let (mut longest, mut dead) = (0, 0);
        for entry in 0..10_000 {
            line.push(entry);
            dead += line.died(|&e| e > entry).len();
            longest = longest.max(line.len());
        }
        assert!(longest <= 2 * SWEEP_FROM, "{longest}");
        assert!(dead > 9_000);
    }

    #[test]
    fn a_line_whose_front_lives_on_stays_short_too() {
        let mut line = Line::default();
        let mut longest = 0;
        for entry in 0..10_000 {
            line.push(entry);
            line.died(|&e| e == 0 || e > entry);
            longest = longest.max(line.len());
        }
        assert!(longest <= 4 * SWEEP_FROM, "{longest}");
        assert_eq!(line.front(), Some(&0));
    }

    #[test]
    fn order_survives_a_sweep() {
        let mut line = Line::default();
        let (mut dead, mut left) = (BTreeSet::new(), Vec::new());
        for entry in 1..=200 {
            line.push(entry);
        }
        for entry in (2..=200).step_by(2) {
            dead.insert(entry);
            line.died(|entry| !dead.contains(entry));
            if entry % 20 == 0 {
                // In every stage of the sweep: one is taken, one comes, one comes back.
                left.extend(pop_living(&mut line, &dead));
                line.push(200 + entry);
                if entry == 100 {
                    line.push_front(left.pop().expect("one was taken"));
                }
            }
        }
        left.extend(std::iter::from_fn(|| pop_living(&mut line, &dead)));
        let all = (1..=200).filter(|entry| entry % 2 == 1).chain((220..=400).step_by(20));
        assert_eq!(left, all.collect::<Vec<_>>());
    }

    #[test]
    fn no_death_costs_more_in_a_longer_line() {
        let mut line = Line::default();
        for entry in 0..100_000_u64 {
            line.push(entry);
        }
        let (looks, mut most) = (Cell::new(0), 0);
        for dead in 1..60_000 {
            looks.set(0);
            let alive = |&entry: &u64| {
                looks.set(looks.get() + 1);
                entry == 0 || entry > dead
            };
            line.died(alive);
            most = most.max(looks.get());
        }
        assert!(most <= 3 * STEP, "{most}");
        assert!(line.len() < 100_000, "a sweep is under way");
    }

    #[test]
    fn an_entry_is_found_by_its_number_wherever_it_stands() {
        let mut line = Line::default();
        for entry in 10..1_000_u64 {
            line.push(entry);
        }
        let returned = [line.pop(), line.pop()].map(|entry| entry.expect("it is long"));
        returned.into_iter().for_each(|entry| line.push_front(entry));
        // A sweep is under way: half of the line is dead.
        let dead = |entry: u64| entry % 2 == 1 && entry > 20;
        while !line.sweeping {
            line.died(|&entry| !dead(entry));
        }
        let looks = Cell::new(0);
        let number = |&entry: &u64| {
            looks.set(looks.get() + 1);
            entry
        };
        for entry in (10..1_000).filter(|&entry| !dead(entry)) {
            looks.set(0);
            assert_eq!(line.find(entry, number), Some(&entry));
            assert!(looks.get() <= 2 + 2 * 11, "{} looks", looks.get());
        }
        assert_eq!(line.find(9, |&entry| entry), None);
        assert_eq!(line.find(1_000, |&entry| entry), None);
    }
}
