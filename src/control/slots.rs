//! The slots of a pool: lasting positions for workers, and what is known of all of them without looking at each.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use super::restart::Fault;
use crate::error::StartError;
use crate::policy::SlotHistory;
use crate::snapshot::Shortage;
use crate::sync::Timestamp;

/// A question takes microseconds, as a rule. One that is out for longer than this makes its slot count as missing.
const RULING: Duration = Duration::from_millis(100);

/// A lasting position for a worker.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// How many incarnations it has had.
    pub(super) generation: u32,
    pub(super) restarts: u32,
    /// When its latest incarnation was started.
    pub(super) started_at: Timestamp,
    pub(super) history: Option<SlotHistory>,
    /// Why the backend refused the latest incarnation, until its exit is told.
    pub(super) refusal: Option<StartError>,
    /// Its latest fault was a start that failed. Counts from the next state on.
    pub(super) refused: bool,
    /// Its latest fault, about which was decided.
    pub(super) fault: Option<Fault>,
    /// It was cooled down, and no probe has succeeded since.
    pub(super) outage: Option<Outage>,
    /// When the probe in it will have been up for long enough.
    probed_at: Option<Timestamp>,
    state: SlotState,
    /// As what it is counted, if it is among the first `max`.
    counted: Option<Want>,
}

/// A slot is out of budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outage {
    /// The fault that it was first cooled down for.
    pub(super) since: Timestamp,
    /// How long a probe has to be up, as whoever decided last has it.
    pub(super) healthy_after: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum SlotState {
    /// Empty. Exits: `Asked`, `Filled`.
    #[default]
    Vacant,
    /// Hooks are asked whether it gets a worker. Exits: `Vacant`, `Vetoed`, `Delayed`.
    Asked,
    /// They allow it, but not before then, or sooner if the hook that says so goes. Exits: `Vacant`, `Delayed`.
    Delayed(Timestamp),
    /// Empty until then, since a hook denied the start. Exit: `Vacant`.
    Vetoed(Timestamp),
    /// Has a worker. Exits: `Vacant`, `Ruling`.
    Filled,
    /// Its worker ended by a fault just now, and the policy is being asked: until then that makes no difference to the pool's health.
    /// Exits: `Vacant`, `Waiting`, `Deciding`.
    Ruling(Timestamp),
    /// The policy is being asked still, or another one. Exits: `Vacant`, `Waiting`.
    Deciding,
    /// Backs off or cools down until then, or stays empty for good. Exits: `Vacant`; `Deciding`, when another policy is set.
    Waiting(Timestamp),
}

/// Why a slot has no worker, unless it may get one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Want {
    /// Whether it gets one is asked about.
    Asked,
    /// The same, and hooks have put it off.
    Delayed,
    /// It has none while its policy is asked, which is not counted as missing.
    Ruling,
    Cooling,
    Refused,
    GivenUp,
    Vetoed,
}

impl Slot {
    /// Of the incarnation that it gets next.
    pub(super) fn next_generation(&self) -> u32 {
        self.generation.wrapping_add(1)
    }

    /// It has no worker after a fault, for now or for good.
    fn is_empty(&self) -> bool {
        matches!(self.state, SlotState::Waiting(_) | SlotState::Ruling(_) | SlotState::Deciding)
    }

    fn want(&self) -> Option<Want> {
        match self.state {
            SlotState::Vacant | SlotState::Filled => None,
            SlotState::Asked => Some(Want::Asked),
            SlotState::Delayed(_) => Some(Want::Delayed),
            SlotState::Ruling(_) => Some(Want::Ruling),
            SlotState::Vetoed(_) => Some(Want::Vetoed),
            SlotState::Waiting(Timestamp::NEVER) => Some(Want::GivenUp),
            SlotState::Waiting(_) | SlotState::Deciding if self.refused => Some(Want::Refused),
            SlotState::Waiting(_) | SlotState::Deciding => Some(Want::Cooling),
        }
    }
}

/// All slots. Whoever asks how many are in which state, which is free, or when the next one is to be looked at, is answered without a look at
/// each: [`set`](Self::set) is the one place where a slot changes its state, and keeps the books.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: Vec<Slot>,
    /// So many of them, from the first on, can have a worker; those behind are left over from a higher limit.
    max: usize,
    vacant: BTreeSet<usize>,
    /// Those that back off or cool down, by the end of that.
    waiting: BTreeSet<(Timestamp, usize)>,
    /// Those whose start was denied, by the end of the pause.
    vetoed: BTreeSet<(Timestamp, usize)>,
    /// Those whose start is put off, by the end of that.
    delayed: BTreeSet<(Timestamp, usize)>,
    /// Those whose policy is asked, by when they count as missing.
    ruling: BTreeSet<(Timestamp, usize)>,
    /// Those with a probe that is up, by when that has succeeded.
    probes: BTreeSet<(Timestamp, usize)>,
    deciding: usize,
    /// Of the first `max`.
    wants: Wants,
}

#[derive(Debug, Default)]
struct Wants {
    asked: usize,
    delayed: usize,
    ruling: usize,
    cooling: usize,
    refused: usize,
    given_up: usize,
    vetoed: usize,
}

impl Wants {
    fn of(&mut self, want: Want) -> &mut usize {
        match want {
            Want::Asked => &mut self.asked,
            Want::Delayed => &mut self.delayed,
            Want::Ruling => &mut self.ruling,
            Want::Cooling => &mut self.cooling,
            Want::Refused => &mut self.refused,
            Want::GivenUp => &mut self.given_up,
            Want::Vetoed => &mut self.vetoed,
        }
    }
}

impl Index<usize> for Slots {
    type Output = Slot;

    fn index(&self, slot: usize) -> &Slot {
        &self.all[slot]
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, slot: usize) -> &mut Slot {
        &mut self.all[slot]
    }
}

impl Slots {
    pub(super) fn get(&self, slot: usize) -> Option<&Slot> {
        self.all.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Slot> {
        self.all.get_mut(slot)
    }

    /// The limit in force. Looks at the slots between the old and the new one.
    pub(super) fn set_max(&mut self, max: usize) {
        if max == self.max {
            return;
        }
        let (low, high) = (self.max.min(max), self.max.max(max).min(self.all.len()));
        self.max = max;
        for slot in low..high {
            self.count(slot);
        }
    }

    /// Moves a slot to another state: the one place where that happens.
    pub(super) fn set(&mut self, slot: usize, state: SlotState) {
        let before = std::mem::replace(&mut self.all[slot].state, state);
        match before {
            SlotState::Vacant => drop(self.vacant.remove(&slot)),
            SlotState::Asked => {}
            SlotState::Delayed(until) => drop(self.delayed.remove(&(until, slot))),
            SlotState::Vetoed(until) => drop(self.vetoed.remove(&(until, slot))),
            SlotState::Ruling(until) => drop(self.ruling.remove(&(until, slot))),
            SlotState::Deciding => self.deciding -= 1,
            SlotState::Waiting(until) => drop(self.waiting.remove(&(until, slot))),
            SlotState::Filled => self.end_probe(slot),
        }
        match state {
            SlotState::Vacant => drop(self.vacant.insert(slot)),
            SlotState::Delayed(until) => drop(self.delayed.insert((until, slot))),
            SlotState::Vetoed(until) => drop(self.vetoed.insert((until, slot))),
            SlotState::Ruling(until) => drop(self.ruling.insert((until, slot))),
            SlotState::Deciding => self.deciding += 1,
            // One that is given up waits for nothing.
            SlotState::Waiting(Timestamp::NEVER) | SlotState::Filled | SlotState::Asked => {}
            SlotState::Waiting(until) => drop(self.waiting.insert((until, slot))),
        }
        self.count(slot);
    }

    /// A slot's worker has ended by a fault at `now`.
    pub(super) fn await_ruling(&mut self, slot: usize, now: Timestamp) {
        self.set(slot, SlotState::Ruling(now.after(RULING)));
    }

    /// The probe in this slot is up, and will have succeeded by then if it has not ended.
    pub(super) fn await_probe(&mut self, slot: usize, until: Timestamp) {
        self.end_probe(slot);
        self.all[slot].probed_at = Some(until);
        self.probes.insert((until, slot));
    }

    /// Nobody waits for the probe in this slot any more.
    pub(super) fn end_probe(&mut self, slot: usize) {
        if let Some(until) = self.all[slot].probed_at.take() {
            self.probes.remove(&(until, slot));
        }
    }

    /// Counts a slot as what it is by now.
    fn count(&mut self, index: usize) {
        let slot = &mut self.all[index];
        let want = slot.want().filter(|_| index < self.max);
        let before = std::mem::replace(&mut slot.counted, want);
        if let Some(before) = before {
            *self.wants.of(before) -= 1;
        }
        if let Some(want) = want {
            *self.wants.of(want) += 1;
        }
    }

    /// The first slot that can have a worker, if there is one.
    pub(super) fn vacant(&mut self) -> Option<usize> {
        let vacant = self.vacant.first().copied().filter(|slot| *slot < self.max);
        if vacant.is_none() && self.all.len() < self.max {
            self.all.push(Slot::default());
            self.vacant.insert(self.all.len() - 1);
            return Some(self.all.len() - 1);
        }
        vacant
    }

    /// How many of the first `max` have no worker while their policy is asked; how many are missing, why, and when the next of those is tried.
    pub(super) fn shortage(&self) -> (usize, Shortage) {
        let Wants { asked: _, delayed, ruling, cooling, refused, given_up, vetoed } = self.wants;
        let within = |until: &BTreeSet<(Timestamp, usize)>| until.iter().find(|(_, slot)| *slot < self.max).copied();
        let tries = [&self.waiting, &self.vetoed, &self.delayed];
        let next_try = tries.into_iter().filter_map(within).map(|(until, _)| until).min();
        let why = Shortage { cooling, refused, given_up, vetoed, delayed, next_try, ..Shortage::default() };
        (ruling, why)
    }

    /// How many of the first `max` have no worker after a fault, but for this one.
    pub(super) fn empty_beside(&self, slot: usize) -> usize {
        let Wants { asked: _, delayed: _, ruling, cooling, refused, given_up, vetoed: _ } = self.wants;
        let itself = slot < self.max && self.all.get(slot).is_some_and(Slot::is_empty);
        ruling + cooling + refused + given_up - usize::from(itself)
    }

    /// How many of the first `max` are asked about, or put off. One behind gets no worker, whatever is said of it.
    pub(super) fn asked(&self) -> usize {
        self.wants.asked + self.wants.delayed
    }

    /// How many of the first `max` are put off, and the one of them for which that is over last.
    pub(super) fn delayed(&self) -> (usize, Option<usize>) {
        let last = self.delayed.iter().rev().map(|(_, slot)| *slot).find(|slot| *slot < self.max);
        (self.wants.delayed, last)
    }

    /// How many of the first `max` are empty because a start was denied.
    pub(super) fn vetoed(&self) -> usize {
        self.wants.vetoed
    }

    /// The one of those whose pause is the last to end.
    pub(super) fn last_vetoed(&self) -> Option<usize> {
        self.vetoed.iter().rev().map(|(_, slot)| *slot).find(|slot| *slot < self.max)
    }

    /// True while a policy is asked whether a slot is to have a worker again after a fault. One that backs off or cools down, or whose start is asked
    /// about or was denied, may be empty for long: whether the pool can do without it `min` says.
    pub(super) fn are_ruled_on(&self) -> bool {
        !self.ruling.is_empty() || self.deciding > 0
    }

    /// A slot that has backed off, or cooled down, for long enough.
    pub(super) fn rested(&self, now: Timestamp) -> Option<usize> {
        due(&self.waiting, now)
    }

    /// When the next one has.
    pub(super) fn next_rested(&self) -> Timestamp {
        next(&self.waiting)
    }

    /// A slot whose policy has been asked for so long that it counts as missing.
    pub(super) fn unruled(&self, now: Timestamp) -> Option<usize> {
        due(&self.ruling, now)
    }

    /// When the next one does.
    pub(super) fn next_unruled(&self) -> Timestamp {
        next(&self.ruling)
    }

    /// A slot whose probe has been up for long enough.
    pub(super) fn probed(&self, now: Timestamp) -> Option<usize> {
        due(&self.probes, now)
    }

    /// When the next one's has.
    pub(super) fn next_probed(&self) -> Timestamp {
        next(&self.probes)
    }

    /// A slot whose pause after a veto is over.
    pub(super) fn pardoned(&self, now: Timestamp) -> Option<usize> {
        due(&self.vetoed, now)
    }

    /// When the next one's is.
    pub(super) fn next_pardoned(&self) -> Timestamp {
        next(&self.vetoed)
    }

    /// Slots about which a policy has decided that they stay empty, for now or for good.
    pub(super) fn decided(&self) -> Vec<usize> {
        let waits = |(slot, of): (usize, &Slot)| matches!(of.state, SlotState::Waiting(_)).then_some(slot);
        self.all.iter().enumerate().filter_map(waits).collect()
    }
}

fn due(until: &BTreeSet<(Timestamp, usize)>, now: Timestamp) -> Option<usize> {
    until.first().filter(|(until, _)| *until <= now).map(|(_, slot)| *slot)
}

fn next(until: &BTreeSet<(Timestamp, usize)>) -> Timestamp {
    until.first().map_or(Timestamp::NEVER, |(until, _)| *until)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The books, by a look at each slot.
    fn counted(slots: &Slots) -> (usize, Shortage, bool, usize) {
        let within = &slots.all[..slots.max.min(slots.all.len())];
        let count = |want| within.iter().filter(|slot| slot.want() == Some(want)).count();
        let until = |slot: &Slot| match slot.state {
            SlotState::Waiting(until) | SlotState::Vetoed(until) | SlotState::Delayed(until) => Some(until),
            _ => None,
        };
        let why = Shortage {
            cooling: count(Want::Cooling),
            refused: count(Want::Refused),
            given_up: count(Want::GivenUp),
            vetoed: count(Want::Vetoed),
            delayed: count(Want::Delayed),
            next_try: within.iter().filter_map(until).filter(|until| *until != Timestamp::NEVER).min(),
            ..Shortage::default()
        };
        let ruled_on = |slot: &Slot| matches!(slot.state, SlotState::Deciding | SlotState::Ruling(_));
        let vacant = within.iter().position(|slot| slot.state == SlotState::Vacant);
        (count(Want::Ruling), why, slots.all.iter().any(ruled_on), vacant.unwrap_or(slots.all.len()))
    }

    #[test]
    fn the_books_say_what_a_look_at_each_slot_says() {
        let mut slots = Slots::default();
        let mut noise = 1_u64;
        let mut below = |bound: u64| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 33) % bound
        };
        slots.set_max(20);
        for _ in 0..20_000 {
            match below(20) {
                0 => slots.set_max(1 + below(30) as usize),
                1..=5 => {
                    if let Some(slot) = slots.vacant() {
                        slots.set(slot, if below(4) == 0 { SlotState::Asked } else { SlotState::Filled });
                    }
                }
                _ if slots.all.is_empty() => {}
                _ => {
                    let slot = below(slots.all.len() as u64) as usize;
                    let at = Timestamp::from_nanos(below(50));
                    slots.all[slot].refused = below(2) == 0;
                    let state = match below(8) {
                        7 => SlotState::Delayed(at),
                        0 => SlotState::Vacant,
                        1 => SlotState::Vetoed(at),
                        2 => SlotState::Filled,
                        3 => SlotState::Deciding,
                        4 => SlotState::Waiting(Timestamp::NEVER),
                        5 => SlotState::Ruling(at),
                        _ => SlotState::Waiting(at),
                    };
                    slots.set(slot, state);
                    if below(3) == 0 {
                        while let Some(rested) = slots.rested(at) {
                            slots.set(rested, SlotState::Vacant);
                        }
                        while let Some(unruled) = slots.unruled(at) {
                            slots.set(unruled, SlotState::Deciding);
                        }
                    }
                }
            }
            let asked = |slot: &&Slot| matches!(slot.state, SlotState::Asked | SlotState::Delayed(_));
            assert_eq!(slots.asked(), slots.all.iter().take(slots.max).filter(asked).count());
            let until = |slot: &Slot| if let SlotState::Delayed(until) = slot.state { Some(until) } else { None };
            let last = slots.all.iter().take(slots.max).filter_map(until).max();
            let (delayed, slot) = slots.delayed();
            assert_eq!(slot.and_then(|slot| until(&slots.all[slot])), last);
            assert_eq!(delayed > 0, last.is_some());
            let (ruling, why, ruled_on, first) = counted(&slots);
            assert_eq!(slots.shortage(), (ruling, why));
            let empty = |slot: &usize| slots.all[*slot].is_empty();
            let others = (1..slots.max.min(slots.all.len())).filter(empty).count();
            assert_eq!(slots.empty_beside(0), others);
            assert_eq!(slots.are_ruled_on(), ruled_on);
            let last = slots.last_vetoed().map(|slot| slots.all[slot].state);
            let vetoed = |slot: &Slot| matches!(slot.state, SlotState::Vetoed(_));
            assert_eq!(last.is_some(), slots.all.iter().take(slots.max).any(vetoed));
            let until = |slot: &Slot| if let SlotState::Vetoed(until) = slot.state { Some(until) } else { None };
            let latest = slots.all.iter().take(slots.max).filter_map(until).max();
            assert_eq!(last, latest.map(SlotState::Vetoed));
            let free = slots.vacant();
            assert_eq!(free, (first < slots.max).then_some(first), "the first one that is free");
        }
    }
}
