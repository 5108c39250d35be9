//! The load pauses, what is broken is mended, and then nothing may be owed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use millpond::{PoolExecutor, WorkerState};

use crate::books::Kept;
use crate::errand::Act;
use crate::hooks;
use crate::inside::RESERVED;
use crate::kinds::Kind;
use crate::plan::{HOOKS, Habit, Mend, Patience, RESERVE};
use crate::site::{FOREVER, LIMIT, SUBMITTERS, Signal, Site, eventually, limits};

/// What the hook does that is asked about idle exits, one rest after the other. One that hangs may do so at what it is told before that.
const HABITS: [Habit; 5] = [Habit::Denies, Habit::Delays, Habit::Panics, Habit::Allows, Habit::CallsBack];

impl<K: Kind> Site<K> {
    #[track_caller]
    pub fn rest(&self) {
        self.shared.tell(Signal::Pause);
        self.mend_all();
        self.everybody_is_answered();
        self.nothing_is_owed();
        self.seats_are_right();
        self.nothing_is_owed();
        self.idle_exits_are_asked_about();
        self.nothing_is_owed();
        self.nothing_is_left();
        self.shared.allowed.rest(self.pool.snapshot().limits.max);
        self.shared.tell(Signal::Go);
    }

    fn mend_all(&self) {
        (0..HOOKS.len()).for_each(|name| self.mend(Mend::RemoveHook(name)));
        self.starts.mend();
        self.mend(Mend::SoundPolicy);
        self.as_built();
        self.mend(Mend::Resume);
        self.shared.let_go();
    }

    /// Submitters have their outcomes, and operators their replies, once no hook is asked any more.
    #[track_caller]
    fn everybody_is_answered(&self) {
        eventually(|| {
            let parked = self.shared.parked.load(Ordering::Acquire);
            (parked == SUBMITTERS)
                .then_some(())
                .ok_or_else(|| format!("{parked} submitters have all outcomes\n{}", self.pool.inventory_now()))
        });
        self.kept_ones_end();
        let asked = std::mem::take(&mut *self.asked.lock());
        for reply in asked {
            let reply = self.outside.block_on(async { tokio::time::timeout(FOREVER, reply).await });
            reply.expect("an operator is left waiting").expect("no panic").expect("an answer that makes sense");
        }
    }

    pub fn kept_ones_end(&self) {
        let kept = std::mem::take(&mut *self.kept.lock());
        kept.into_iter().for_each(Kept::join);
    }

    /// Invariants 1 and 2, at rest.
    #[track_caller]
    fn nothing_is_owed(&self) {
        eventually(|| {
            let (inventory, snapshot) = (self.pool.inventory_now(), self.pool.snapshot());
            let (seen, limits, ledger) = (snapshot.saturation, snapshot.limits, snapshot.ledger);
            let moving = inventory.workers.iter().any(|row| row.state == WorkerState::Leaving);
            let owed = seen.active + seen.queued + seen.waiting + seen.debt + seen.starting + seen.abandoned;
            // `missing` is what neither lives nor can be started.
            let seats = limits.max - seen.missing.min(limits.max);
            let staffed = (limits.min.min(seats)..=limits.max).contains(&seen.workers);
            let settled =
                ledger.balances() && ledger.pending == 0 && ledger.waiting == 0 && self.shared.inside.count().0 == 0;
            if moving || owed > 0 || !staffed || !settled {
                return Err(format!("nothing is owed: {seen:?}, {limits}, {ledger}\n{inventory}"));
            }
            self.shared.books.differ(&ledger).map_or(Ok(()), Err)
        });
        self.shared.assert_kept();
    }

    /// No job, policy or autoscaler is kept by anybody but the policy in force: invariant 7.
    #[track_caller]
    fn nothing_is_left(&self) {
        eventually(|| self.shared.alive.beyond(1).map_or(Ok(()), Err));
    }

    /// All seats but the reserved ones are there for all, no more run than the limit, and the reserved ones stay free: invariants 2 and 6.
    #[track_caller]
    fn seats_are_right(&self) {
        // Starts that a hook denied have their slots stay empty for a second, faults for a moment.
        eventually(|| {
            let seen = self.pool.saturation();
            (seen.missing == 0).then_some(()).ok_or_else(|| format!("{seen}, {:?}", self.pool.snapshot().health))
        });
        let max = self.pool.snapshot().limits.max;
        self.shared.inside.forget_most();
        let held: Vec<_> =
            (0..=max).filter_map(|_| self.put_into("default", Act::Stubborn(FOREVER, self.shared.latch()))).collect();
        assert_eq!(held.len(), max + 1, "there is a queue");
        eventually(|| {
            let (inside, _) = self.shared.inside.count();
            (inside == max - RESERVE)
                .then_some(())
                .ok_or_else(|| format!("{inside} run\n{}", self.pool.inventory_now()))
        });
        for _ in 0..3 {
            let reserved = self.put_into(RESERVED, Act::Works(Duration::from_micros(100))).expect("there is a queue");
            reserved.join();
        }
        let (_, most) = self.shared.inside.count();
        assert!(most <= max, "{most} ran at once, limit {max}");
        assert_eq!(self.pool.snapshot().lanes[0].active, max - RESERVE, "{}", self.pool.inventory_now());
        self.shared.let_go();
        held.into_iter().for_each(Kept::join);
    }

    /// Amid the load nobody idles for long enough, but by chance: here all seats come free at once, and all workers but one may leave.
    #[track_caller]
    fn idle_exits_are_asked_about(&self) {
        const ASKED: &str = "idle exit: asked";
        let before = self.pool.snapshot().limits;
        self.pool.blocking().resize(limits::<K>(RESERVE, before.max), LIMIT).expect("no hook is asked");
        let asked = self.shared.tally.count(ASKED);
        let habit = HABITS[self.shared.rests.fetch_add(1, Ordering::AcqRel) % HABITS.len()];
        // More than once if they had run so many jobs by then that they were recycled.
        eventually(|| {
            let held = self.take_all_seats();
            let hook = hooks::spec(0, habit, Patience::Endless, &self.shared);
            self.pool.blocking().set_hook(hook, LIMIT).expect("there is room");
            self.shared.let_go();
            held.into_iter().for_each(Kept::join);
            let is_asked = || self.shared.tally.count(ASKED) > asked;
            eventually(|| {
                let seen = self.pool.saturation();
                let all_left = seen.workers <= RESERVE && seen.starting == 0;
                (is_asked() || all_left).then_some(()).ok_or_else(|| format!("{seen}\n{}", self.pool.inventory_now()))
            });
            self.mend(Mend::RemoveHook(0));
            is_asked().then_some(()).ok_or_else(|| format!("{ASKED}\n{}", self.pool.inventory_now()))
        });
        self.pool.blocking().resize(before, LIMIT).expect("no hook is asked");
    }

    /// With jobs that hold them until the latch is opened.
    #[track_caller]
    fn take_all_seats(&self) -> Vec<Kept> {
        let max = self.pool.snapshot().limits.max;
        let lanes = std::iter::repeat_n("default", max - RESERVE).chain(std::iter::repeat_n(RESERVED, RESERVE));
        let put = |lane| self.put_into(lane, Act::Stubborn(FOREVER, self.shared.latch()));
        let held: Vec<_> = lanes.filter_map(put).collect();
        eventually(|| {
            let (inside, _) = self.shared.inside.count();
            (inside == max).then_some(()).ok_or_else(|| format!("{inside} run\n{}", self.pool.inventory_now()))
        });
        held
    }
}
