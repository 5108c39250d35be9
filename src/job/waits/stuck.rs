//! Which waits cannot end, and why: pure in what the graph says and the pools answer.

use std::collections::{BTreeMap, BTreeSet};

use super::Target;
use super::graph::{Graph, Needs, Wait};
use crate::job::PoolNo;

/// The waits of a graph that cannot end. All are taken for stuck first; whichever turns out to be able to end is taken out, and frees its
/// worker for others, until no more turn up.
pub(super) struct Stuck<'a> {
    graph: &'a Graph,
    pub(super) waits: BTreeSet<u64>,
    /// Those of them that keep an abandoned worker from returning: they hold no seat, but may block one.
    abandoned: BTreeSet<u64>,
    /// Of a pool, by lane, how many workers they hold.
    held: BTreeMap<PoolNo, Vec<usize>>,
}

impl<'a> Stuck<'a> {
    pub(super) fn of(graph: &'a Graph) -> Self {
        // One after the other: a worker that is abandoned in between is in both, and counts as what it was.
        let mut waits = graph.those(Wait::holds_its_worker);
        let abandoned = &graph.those(Wait::keeps_from_returning) - &waits;
        let mut held: BTreeMap<PoolNo, Vec<usize>> = BTreeMap::new();
        for wait in waits.iter().map(|id| &graph.waits[id]) {
            let (lanes, lane) = (held.entry(wait.number).or_default(), wait.lane().index());
            lanes.resize(lanes.len().max(lane + 1), 0);
            lanes[lane] += 1;
        }
        waits.extend(&abandoned);
        let mut stuck = Self { graph, waits, abandoned, held };
        while stuck.let_go() {}
        stuck
    }

    /// Takes out those that can end. True if there were any.
    fn let_go(&mut self) -> bool {
        let can_end = |id: &u64| self.graph.waits[id].targets.iter().any(|target| self.moves(target));
        let free: Vec<u64> = self.waits.iter().copied().filter(can_end).collect();
        for id in &free {
            self.waits.remove(id);
            let wait = &self.graph.waits[id];
            if !self.abandoned.remove(id)
                && let Some(lanes) = self.held.get_mut(&wait.number)
            {
                lanes[wait.lane().index()] -= 1;
            }
        }
        !free.is_empty()
    }

    fn moves(&self, target: &Target) -> bool {
        match target.needs() {
            Needs::Nothing => true,
            Needs::ItsOwnEnd => self.graph.wait_of(target).is_none_or(|id| !self.waits.contains(&id)),
            Needs::AWorker => {
                let held = self.held.get(&target.number).map_or(&[][..], Vec::as_slice);
                let of_it = |id: &&u64| self.graph.waits[*id].number == target.number;
                target.pool.could_start(target.lane, held, self.abandoned.iter().filter(of_it).count())
            }
        }
    }

    /// Those that keep each other from ending, the youngest that is one of them first; none if nothing is stuck. Whatever is stuck waits for something
    /// stuck, so that following it comes round, or ends at one that waits for pools whose slots are all given up: that one is held up by nobody else.
    pub(super) fn knot(&self) -> Option<Vec<u64>> {
        let young_first = || self.waits.iter().rev();
        let alone = || young_first().find(|id| self.is_alone(**id)).map(|id| vec![*id]);
        young_first().find_map(|&id| self.knot_of(id)).or_else(alone)
    }

    /// Nothing that it waits for needs the end of another wait.
    fn is_alone(&self, id: u64) -> bool {
        let mut targets = self.graph.waits[&id].targets.iter();
        targets.all(|target| matches!(target.needs(), Needs::AWorker) && self.of_pool(target.number).is_empty())
    }

    /// All that `start` waits for in turn, with `start` itself in front; `None` if `start` is not among them.
    fn knot_of(&self, start: u64) -> Option<Vec<u64>> {
        let (mut knot, mut pools) = (vec![start], BTreeSet::new());
        let mut seen = BTreeSet::new();
        let mut next = 0;
        while let Some(&id) = knot.get(next) {
            next += 1;
            for target in &self.graph.waits[&id].targets {
                let holders = match target.needs() {
                    Needs::Nothing => Vec::new(),
                    Needs::ItsOwnEnd => self.graph.wait_of(target).into_iter().collect(),
                    // Any of the pool's workers could take the next job.
                    Needs::AWorker if pools.insert(target.number) => self.of_pool(target.number),
                    Needs::AWorker => Vec::new(),
                };
                let fresh = holders.into_iter().filter(|id| self.waits.contains(id) && seen.insert(*id));
                knot.extend(fresh.filter(|id| *id != start));
            }
        }
        seen.contains(&start).then_some(knot)
    }

    fn of_pool(&self, pool: PoolNo) -> Vec<u64> {
        self.waits.iter().copied().filter(|id| self.graph.waits[id].number == pool).collect()
    }
}
