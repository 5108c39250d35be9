//! Workers that wait for work, the longest idle first. Each step costs the same however many there are: a list whose links lie in a slab,
//! and each worker's cell knows its node.

use crate::slot::Cell;
use crate::sync::{Arc, Ordering, Timestamp};

/// No node, as `usize::MAX` in a cell.
const NONE: usize = usize::MAX;

/// So many workers are looked at in one hold of the lock.
const BITE: usize = 256;

/// The idle list of one pool, guarded by its inbox lock, as the places in its cells are.
#[derive(Default)]
pub(super) struct Idle {
    nodes: Vec<Node>,
    ends: Option<Ends>,
    /// Nodes without a worker.
    free: Vec<usize>,
}

struct Node {
    /// `None`: it is free.
    cell: Option<Arc<Cell>>,
    /// Since when that idles.
    since: Timestamp,
    before: usize,
    behind: usize,
}

#[derive(Clone, Copy)]
struct Ends {
    first: usize,
    last: usize,
}

impl Idle {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// A worker idles, `since` when. One that was called in vain has all that time, and goes back to its place: whoever has idled for longest
    /// leaves first. Looked for from the near end, since whoever idles shortest is called first.
    pub(super) fn add(&mut self, cell: Arc<Cell>, since: Timestamp) {
        let (mut before, mut behind) = (self.ends.map_or(NONE, |ends| ends.last), NONE);
        while before != NONE && self.nodes[before].since > since {
            (behind, before) = (before, self.nodes[before].before);
        }
        let place = self.free.pop().unwrap_or(self.nodes.len());
        cell.idle_at.store(place, Ordering::Relaxed);
        let node = Node { cell: Some(cell), since, before, behind };
        if place == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[place] = node;
        }
        let ends = self.ends.get_or_insert(Ends { first: place, last: place });
        match before {
            NONE => ends.first = place,
            before => self.nodes[before].behind = place,
        }
        match behind {
            NONE => ends.last = place,
            behind => self.nodes[behind].before = place,
        }
    }

    /// The shortest idle.
    pub(super) fn pop(&mut self) -> Option<Arc<Cell>> {
        self.take(self.ends?.last)
    }

    /// The longest idle.
    pub(super) fn pop_first(&mut self) -> Option<Arc<Cell>> {
        self.take(self.ends?.first)
    }

    pub(super) fn first(&self) -> Option<&Arc<Cell>> {
        self.nodes[self.ends?.first].cell.as_ref()
    }

    /// Takes this one out. False if it is not in.
    pub(super) fn remove(&mut self, cell: &Cell) -> bool {
        match cell.idle_at.load(Ordering::Relaxed) {
            NONE => false,
            place => self.take(place).is_some(),
        }
    }

    fn take(&mut self, place: usize) -> Option<Arc<Cell>> {
        let Node { cell, since: _, before, behind } = &mut self.nodes[place];
        let (cell, before, behind) = (cell.take()?, *before, *behind);
        cell.idle_at.store(NONE, Ordering::Relaxed);
        self.free.push(place);
        if before != NONE {
            self.nodes[before].behind = behind;
        }
        if behind != NONE {
            self.nodes[behind].before = before;
        }
        self.ends = self.ends.and_then(|Ends { first, last }| {
            let (first, last) =
                (if place == first { behind } else { first }, if place == last { before } else { last });
            (first != NONE && last != NONE).then_some(Ends { first, last })
        });
        Some(cell)
    }

    /// Those that follow `last`, or the first ones, while their times are `wanted`: as many as are one bite. None if `last` is not in.
    pub(super) fn bite(&self, last: Option<&Cell>, wanted: impl Fn(Timestamp) -> bool) -> Vec<Arc<Cell>> {
        let begin = match last.map(|cell| cell.idle_at.load(Ordering::Relaxed)) {
            None => self.ends.map_or(NONE, |ends| ends.first),
            Some(place) => self.nodes.get(place).map_or(NONE, |node| node.behind),
        };
        let wanted = self.nodes_from(begin).take(BITE).take_while(|node| wanted(node.since));
        wanted.filter_map(|node| node.cell.clone()).collect()
    }

    fn nodes_from(&self, place: usize) -> impl Iterator<Item = &Node> {
        std::iter::successors(self.nodes.get(place), |node| self.nodes.get(node.behind))
    }

    /// All of them: for tests alone, since it would hold the lock for as long as there are many.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.nodes_from(self.ends.map_or(NONE, |ends| ends.first)).filter_map(|node| node.cell.as_ref())
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::id::WorkerId;
    use crate::sync::Clock;

    fn cells(count: u32) -> Vec<Arc<Cell>> {
        let cell = |slot| Cell::new(WorkerId { slot, generation: 1 }, 0, crate::job::PoolNo::NOBODY, Clock::real());
        (0..count).map(cell).collect()
    }

    #[test]
    fn a_crowd_is_looked_through_in_bites() {
        let (mut idle, cells) = (Idle::default(), cells(1_000));
        for (cell, since) in cells.iter().zip(1..) {
            idle.add(cell.clone(), Timestamp::from_nanos(since));
        }
        let (mut seen, mut last) = (Vec::new(), None::<Arc<Cell>>);
        loop {
            let bite = idle.bite(last.as_deref(), |since| since <= Timestamp::from_nanos(700));
            assert!(bite.len() <= BITE, "{} in one hold of the lock", bite.len());
            let Some(end) = bite.last() else { break };
            last = Some(end.clone());
            seen.extend(bite.iter().map(|cell| cell.id.slot));
        }
        assert!(seen.into_iter().eq(0..700), "each once, the longest idle first, as far as they are wanted");
        assert!(idle.remove(&cells[3]));
        assert!(idle.bite(Some(&cells[3]), |_| true).is_empty(), "nobody follows one that has gone");
    }

    #[test]
    fn whoever_comes_and_goes_the_list_is_in_the_order_of_their_times() {
        let cells = cells(50);
        let (mut idle, mut model) = (Idle::default(), VecDeque::<(u64, usize)>::new());
        let mut noise = 1_u64;
        for step in 100..20_100 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (what, slot) = (noise >> 60, (noise >> 33) as usize % cells.len());
            let known = model.iter().position(|(_, other)| *other == slot);
            let slot_of = |cell: &Arc<Cell>| cell.id.slot as usize;
            match (what, known) {
                (0..=3, None) => {
                    // Most idle from now on, some since before.
                    let since = step - if what == 0 { (noise >> 20) % 100 } else { 0 };
                    idle.add(cells[slot].clone(), Timestamp::from_nanos(since));
                    model.insert(model.partition_point(|(other, _)| *other <= since), (since, slot));
                }
                (0..=9, known) => {
                    assert_eq!(idle.remove(&cells[slot]), known.is_some());
                    model.retain(|(_, other)| *other != slot);
                }
                (10..=12, _) => assert_eq!(idle.pop().as_ref().map(slot_of), model.pop_back().map(|(_, slot)| slot)),
                _ => assert_eq!(idle.pop_first().as_ref().map(slot_of), model.pop_front().map(|(_, slot)| slot)),
            }
            assert!(idle.iter().map(slot_of).eq(model.iter().map(|(_, slot)| *slot)));
            assert_eq!(idle.first().map(slot_of), model.front().map(|(_, slot)| *slot));
            assert_eq!(idle.is_empty(), model.is_empty());
        }
        assert!(idle.nodes.len() <= cells.len(), "nodes are used again");
    }
}
