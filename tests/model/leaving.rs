//! Which workers leave by themselves: those that have idled for too long, and those that are recycled.

use crate::command::{LANES, Manner};
use crate::reference::{Idler, Model, Wear};

/// The hook has it stay for longer than any history is.
const KEPT: u64 = u64::MAX;

impl Model {
    /// True if it makes a difference which worker does what.
    pub(crate) fn minds_who(&self) -> bool {
        self.setup.idle_timeout.is_some() || self.recycles()
    }

    /// True if workers are replaced although nothing is wrong with them.
    pub(crate) fn recycles(&self) -> bool {
        self.setup.after_jobs.is_some() || self.setup.after_age.is_some()
    }

    /// Which idle worker an operator takes, and a crash: the one that has idled for longest, and of several the one with the fewest jobs.
    pub(crate) fn longest_idle(&self) -> usize {
        let of_whom = |index: &usize| (self.idle[*index].since, self.idle[*index].wear.jobs);
        (0..self.idle.len()).min_by_key(of_whom).expect("somebody idles")
    }

    /// True if it makes no difference which of those it is: they are all alike, and stand together.
    pub(crate) fn somebody_idles_longest(&self) -> bool {
        let same = |idler: &Idler, other: &Idler| (idler.since, idler.wear.jobs) == (other.since, other.wear.jobs);
        self.idle.first().is_some_and(|_| {
            let longest = &self.idle[self.longest_idle()];
            let runs = self.idle.chunk_by(same).filter(|run| same(&run[0], longest)).count();
            runs == 1 && self.idle.iter().all(|idler| !same(idler, longest) || idler == longest)
        })
    }

    // ---- idling for too long -------------------------------------------------------------------------------------------

    /// From when on a worker has idled for too long, and is not to stay for a while all the same.
    pub(crate) fn overstays_from(&self, idler: &Idler) -> u64 {
        let limit = self.setup.idle_timeout.map_or(u64::MAX, |timeout| idler.since + timeout);
        // Without a hook nobody remembers what one has said.
        if self.hook.is_some() { limit.max(idler.spared_until) } else { limit }
    }

    /// True if, so much later, somebody leaves who has idled for too long, or is asked about.
    pub(crate) fn exits_are_due(&self, span: u64) -> bool {
        // One that is on its way may never come up; and one is kept for whoever is to be recycled.
        let somebody_is_due = self.all_wear().any(|wear| self.is_due(wear));
        let kept = self.min + usize::from(somebody_is_due);
        let to_spare = self.up() > kept && self.idle.len() > self.setup.min_idle;
        to_spare && self.idle.iter().any(|idler| self.overstays_from(idler) <= self.now + span)
    }

    /// Workers above `min` that have idled for too long leave, the longest idle first, unless a hook has them stay.
    pub(crate) fn let_idlers_go(&mut self) -> bool {
        let due = self.exits_are_due(0);
        while self.exits_are_due(0) {
            let overstays = |idler: &Idler| self.overstays_from(idler) <= self.now;
            let first = self.idle.iter().position(overstays).expect("there is one");
            if self.hook == Some(Manner::DeniesExits) {
                let timeout = self.setup.idle_timeout.expect("somebody overstays it");
                self.idle[first].spared_until = self.now + timeout;
            } else {
                self.idle.remove(first);
                self.idled_out += 1;
            }
        }
        due
    }

    // ---- recycling -----------------------------------------------------------------------------------------------------

    fn is_due(&self, wear: &Wear) -> bool {
        wear.due_from.is_some_and(|from| from <= self.now)
    }

    /// A worker is to be recycled, if the hook allows it. One that was asked about is not again.
    pub(crate) fn ask_recycle(&self, wear: &mut Wear) {
        wear.due_from.get_or_insert(match self.hook {
            Some(Manner::DeniesRecycling) => KEPT,
            Some(Manner::DelaysRecycling) => self.now + crate::DELAY,
            _ => self.now,
        });
    }

    /// What a hook that is gone has put off is put off no more.
    pub(crate) fn end_recycling_delays(&mut self) {
        let now = self.now;
        for from in self.all_wear_mut().filter_map(|wear| wear.due_from.as_mut()).filter(|from| **from != KEPT) {
            *from = now.min(*from);
        }
    }

    fn all_wear(&self) -> impl Iterator<Item = &Wear> {
        self.idlers().map(|idler| &idler.wear).chain(self.runs.iter().map(|run| &run.wear))
    }

    fn all_wear_mut(&mut self) -> impl Iterator<Item = &mut Wear> {
        let idlers = self.idle.iter_mut().chain(&mut self.called);
        idlers.map(|idler| &mut idler.wear).chain(self.runs.iter_mut().map(|run| &mut run.wear))
    }

    /// One that is told to leave does so in any case.
    fn somebody_is_due(&self) -> bool {
        let busy = self.runs.iter().filter(|run| !run.condemned).map(|run| &run.wear);
        self.idlers().map(|idler| &idler.wear).chain(busy).any(|wear| self.is_due(wear))
    }

    fn is_old(&self, wear: &Wear, now: u64) -> bool {
        self.setup.after_age.is_some_and(|age| wear.born + age <= now)
    }

    /// True if, so much later, somebody is to be recycled who is not now.
    pub(crate) fn wears_out(&self, span: u64) -> bool {
        let then = self.now + span;
        self.all_wear().any(|wear| match wear.due_from {
            Some(from) => self.now < from && from <= then,
            None => self.is_old(wear, then),
        })
    }

    /// True if it is certain who is too old so much later.
    pub(crate) fn is_sure_of_ages(&self, span: u64) -> bool {
        let then = self.now + span;
        let unsure = |wear: &Wear, age: u64| wear.born + age * 3 / 4 <= then && then < wear.born + age;
        let Some(age) = self.setup.after_age else { return true };
        self.all_wear().all(|wear| wear.due_from.is_some() || !unsure(wear, age))
    }

    /// Control looks who is too old.
    pub(crate) fn note_ages(&mut self) {
        let model = self.clone();
        // One that is told to leave does so in any case.
        let running = self.runs.iter_mut().filter(|run| !run.condemned).map(|run| &mut run.wear);
        let idlers = self.idle.iter_mut().map(|idler| &mut idler.wear);
        for wear in running.chain(idlers).filter(|wear| model.is_old(wear, model.now)) {
            model.ask_recycle(wear);
        }
    }

    /// One worker less is no worker too few, or another one can be started for it.
    fn can_spare_one(&self) -> bool {
        self.live() > self.min || self.live() == self.max && self.loss() == 0
    }

    /// Whichever worker that is due asks for work next may go, unless there are too few or one is on its way. A slot that waits beyond `min` is not waited for.
    pub(crate) fn has_its_turn(&self, wear: &Wear) -> bool {
        self.is_due(wear) && self.coming.is_empty() && self.live() >= self.min && self.can_spare_one()
    }

    /// There is a seat, and an empty slot which neither backs off nor is asked about.
    fn has_slot_for_spare(&self) -> bool {
        self.startable_workers() > 0 && self.live() + self.cooling.len() + self.delayed.len() < self.max
    }

    /// One that is due and idles goes if it can be spared. If not, another one comes, and the one that is due stays until that is up.
    pub(crate) fn recycle(&mut self) -> bool {
        let idles = self.idle.iter().position(|idler| self.is_due(&idler.wear));
        if !self.somebody_is_due() || self.live() < self.min || !self.coming.is_empty() {
            return false;
        }
        match idles {
            Some(first) if self.can_spare_one() => {
                self.idle.remove(first);
                self.replace_recycled();
            }
            _ if !self.can_spare_one() && self.has_slot_for_spare() => self.start(),
            _ => return false,
        }
        true
    }

    /// A worker has gone. Nobody is asked about the one that takes its place if there are too few now.
    pub(crate) fn replace_recycled(&mut self) {
        self.recycled += 1;
        let could_start = |lane: usize| !self.queues[lane].is_empty() && self.free(lane) > 0;
        if !self.quiesced && self.idlers().count() + self.coming.len() == 0 && (0..LANES.len()).any(could_start) {
            // Its leaving asks for another, as any does; it is gone after that.
            self.staff();
        }
        if self.live() < self.min && self.startable_workers() > 0 {
            self.start();
        }
    }
}
