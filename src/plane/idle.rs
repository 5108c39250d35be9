//! Workers that wait for work, the longest idle first. Each step costs the same however many there are: a list whose links lie in a slab,
//! and each worker's cell knows its node. The
//! shortest idle has none.

use crate::slot::Cell;
use crate::sync::{Arc, Ordering, Timestamp};

/// No node, as `usize::MAX` in a cell.
const NONE: usize = usize::MAX;
/// In a cell: the shortest idle, which has no node.
const NEAREST: usize = usize::MAX - 1;

/// So many workers are looked at in one hold of the lock.
const BITE: usize = 256;

/// The idle list of one pool, guarded by its inbox lock, as the places in its cells are.
#[derive(Default)]
pub(super) struct Idle {
    /// The shortest idle, if it is not the list's last: while jobs come and end one by one, this one comes and goes with each, and no link is changed.
    nearest: Option<Waits>,
    nodes: Vec<Node>,
    ends: Option<Ends>,
    /// Nodes without a worker.
    free: Vec<usize>,
}

/// Who waits, and since when.
struct Waits {
    cell: Arc<Cell>,
    since: Timestamp,
}

struct Node {
    /// `None`: it is free.
    waits: Option<Waits>,
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
        self.nearest.is_none() && self.ends.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len() + usize::from(self.nearest.is_some())
    }

    /// A worker idles, `since` when. One that was called in vain has all that time, and goes back to its place: whoever has idled for longest
    /// leaves first.
    pub(super) fn add(&mut self, cell: Arc<Cell>, since: Timestamp) {
        let waits = Waits { cell, since };
        let last = || self.ends.and_then(|ends| self.since_of(ends.last));
        let shortest = self.nearest.as_ref().map(|nearest| nearest.since).or_else(last);
        if shortest.is_some_and(|shortest| shortest > since) {
            return self.put_in(waits);
        }
        waits.cell.idle_at.store(NEAREST, Ordering::Relaxed);
        if let Some(second) = self.nearest.replace(waits) {
            self.put_in(second);
        }
    }

    /// Puts one into the list, to its place: looked for from the near end, since whoever idles shortest is called first.
    fn put_in(&mut self, waits: Waits) {
        let (mut before, mut behind) = (self.ends.map_or(NONE, |ends| ends.last), NONE);
        while self.since_of(before).is_some_and(|since| since > waits.since) {
            (behind, before) = (before, self.nodes[before].before);
        }
        let place = self.free.pop().unwrap_or(self.nodes.len());
        waits.cell.idle_at.store(place, Ordering::Relaxed);
        let node = Node { waits: Some(waits), before, behind };
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

    /// Since when the worker of this node idles, if there is one.
    fn since_of(&self, place: usize) -> Option<Timestamp> {
        self.nodes.get(place)?.waits.as_ref().map(|waits| waits.since)
    }

    /// The shortest idle.
    pub(super) fn pop(&mut self) -> Option<Arc<Cell>> {
        match self.ends {
            Some(Ends { last, .. }) if self.nearest.is_none() => self.take(last),
            _ => self.take_nearest(),
        }
    }

    /// The longest idle.
    pub(super) fn pop_first(&mut self) -> Option<Arc<Cell>> {
        match self.ends {
            Some(Ends { first, .. }) => self.take(first),
            None => self.take_nearest(),
        }
    }

    pub(super) fn first(&self) -> Option<&Arc<Cell>> {
        let first = self.ends.and_then(|ends| self.nodes[ends.first].waits.as_ref());
        first.or(self.nearest.as_ref()).map(|waits| &waits.cell)
    }

    /// Takes this one out. False if it is not in.
    pub(super) fn remove(&mut self, cell: &Cell) -> bool {
        match cell.idle_at.load(Ordering::Relaxed) {
            NONE => false,
            NEAREST => self.take_nearest().is_some(),
            place => self.take(place).is_some(),
        }
    }

    fn take_nearest(&mut self) -> Option<Arc<Cell>> {
        let Waits { cell, since: _ } = self.nearest.take()?;
        cell.idle_at.store(NONE, Ordering::Relaxed);
        Some(cell)
    }

    fn take(&mut self, place: usize) -> Option<Arc<Cell>> {
        let Node { waits, before, behind } = &mut self.nodes[place];
        let (Waits { cell, since: _ }, before, behind) = (waits.take()?, *before, *behind);
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
            // Nobody follows them.
            Some(NONE | NEAREST) => return Vec::new(),
            Some(place) => self.nodes.get(place).map_or(NONE, |node| node.behind),
        };
        let wanted = self.all_from(begin).take(BITE).take_while(|waits| wanted(waits.since));
        wanted.map(|waits| waits.cell.clone()).collect()
    }

    /// Those from this node on.
    fn all_from(&self, place: usize) -> impl Iterator<Item = &Waits> {
        let nodes = std::iter::successors(self.nodes.get(place), |node| self.nodes.get(node.behind));
        nodes.filter_map(|node| node.waits.as_ref()).chain(&self.nearest)
    }

    /// All of them: for tests alone, since it would hold the lock for as long as there are many.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.all_from(self.ends.map_or(NONE, |ends| ends.first)).map(|waits| &waits.cell)
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
    fn the_shortest_idle_ends_the_last_bite() {
        let cells = cells(BITE as u32 + 2);
        let at = |place: usize| Timestamp::from_nanos(1 + place as u64);
        for crowd in [1, 2, BITE, BITE + 1] {
            let mut idle = Idle::default();
            for (place, cell) in cells[..crowd].iter().enumerate() {
                idle.add(cell.clone(), at(place));
            }
            let first = idle.bite(None, |_| true);
            assert!(first.iter().map(|cell| cell.id.slot).eq(0..crowd.min(BITE) as u32), "of {crowd}");
            // Another one idles meanwhile: whoever was the shortest idle has a node from then on, and is followed.
            idle.add(cells[crowd].clone(), at(crowd));
            let second = idle.bite(first.last().map(|cell| &**cell), |_| true);
            assert!(second.iter().map(|cell| cell.id.slot).eq(first.len() as u32..=crowd as u32), "of {crowd}");
            assert!(
                idle.bite(second.last().map(|cell| &**cell), |_| true).is_empty(),
                "nobody follows the shortest idle"
            );
            assert_eq!(idle.len(), crowd + 1);
            while idle.pop().is_some() {}
        }
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
            assert_eq!((idle.is_empty(), idle.len()), (model.is_empty(), model.len()));
            assert!(idle.bite(None, |_| true).iter().map(slot_of).eq(model.iter().map(|(_, slot)| *slot)));
        }
        assert!(idle.nodes.len() <= cells.len(), "nodes are used again");
    }
}
