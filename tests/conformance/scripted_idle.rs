//! Idle exits beside a start that takes its time: with workers that do what they are told.

use std::time::Duration;

use millpond::testing::{Script, Scripted, SettableClock};
use millpond::{
    Executor, Exit, HookOptions, HookSpec, JobHandle, Limits, Pool, PoolBuilder, PoolEvent, PoolExecutor, Verdict,
    WorkerId, WorkerState,
};

use crate::answers::{Answers, Seen};
use crate::rig::{LIMIT, after_control, at_rest, named, soon, until};
use crate::subject::OnThreads;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const FIRST: WorkerId = WorkerId { slot: 0, generation: 1 };
const SECOND_ONE: WorkerId = WorkerId { slot: 1, generation: 1 };

/// One of at most two idles, while the other one is on its way.
struct Stage {
    pool: Pool<Scripted>,
    script: Script,
    clock: SettableClock,
    /// What the hook was asked, if there is one.
    seen: Option<Seen>,
}

impl Stage {
    fn new(limits: Limits, hooked: bool) -> Self {
        let ((backend, script), clock) = (Scripted::new(true), SettableClock::new());
        let mut builder = PoolBuilder::new(&named::<OnThreads>("idles-alone"), backend)
            .limits(limits.idle_timeout(SECOND * 8))
            .start_limit(MINUTE)
            .kill_grace(MINUTE)
            .clock(clock.clock());
        let mut seen = None;
        if hooked {
            let (hook, asked) = Answers::new(|_| Verdict::Allow);
            // Longer than the clock is moved by while it is asked.
            let hook = HookSpec::new("all", hook).options(HookOptions::new().limit(MINUTE * 60));
            (builder, seen) = (builder.hook_spec(hook), Some(asked));
        }
        let stage = Self { pool: builder.build().expect("it is built"), script, clock, seen };
        let one = stage.submit(10);
        until("it has it", || stage.script.take(FIRST) == Some(10));
        // For this one another worker is started, and the first one is quicker.
        stage.script.hang_next_start();
        let other = stage.submit(11);
        until("it is on its way", || stage.script.alive().contains(&SECOND_ONE));
        stage.end(one);
        assert_eq!(stage.script.take(FIRST), Some(11));
        stage.end(other);
        stage
    }

    fn submit(&self, job: u64) -> JobHandle<u64> {
        self.pool.try_submit(job).expect("there is a place")
    }

    fn end(&self, job: JobHandle<u64>) {
        assert!(self.script.finish(FIRST, 1));
        assert_eq!(soon(job).unwrap(), 1);
    }

    /// Control looks often enough to be late by a quarter at most.
    fn idles_for(&self, span: Duration) {
        for _ in 0..span.as_secs() / 2 {
            after_control(&self.pool);
            self.clock.advance(SECOND * 2);
        }
        self.hooks_have_answered();
    }

    /// What they have answered is done.
    fn hooks_have_answered(&self) {
        let hooks = || soon(self.pool.hooks(LIMIT)).expect("it answers");
        until("nobody is asked", || hooks().iter().all(|hook| hook.unanswered == 0));
        after_control(&self.pool);
    }

    fn state(&self, worker: WorkerId) -> Option<WorkerState> {
        let rows = self.pool.inventory_now().workers;
        rows.iter().find(|row| row.worker == worker).map(|row| row.state)
    }

    fn asked_about_exits(&self) -> usize {
        let asked = self.seen.as_ref().map(Seen::asked).unwrap_or_default();
        asked.iter().filter(|word| **word == "idle exit").count()
    }

    fn leaves(&self, worker: WorkerId) {
        until("it leaves", || {
            self.idles_for(SECOND * 2);
            self.state(worker) == Some(WorkerState::Leaving)
        });
        self.script.die(worker);
    }
}

/// It may be a while until the one that starts is up, if it ever is: a pool that has `min` workers ready has them meanwhile.
#[test]
fn nobody_leaves_for_a_worker_that_is_not_up_yet() {
    for hooked in [false, true] {
        let stage = Stage::new(Limits::new(1, 2), hooked);
        stage.idles_for(SECOND * 20);
        assert_eq!((stage.state(FIRST), stage.asked_about_exits()), (Some(WorkerState::Idle), 0), "hooks: {hooked}");
        // It comes up.
        assert_eq!(stage.script.take(SECOND_ONE), None);
        stage.leaves(FIRST);
        assert_eq!(stage.asked_about_exits(), usize::from(hooked));
        stage.idles_for(SECOND * 20);
        assert_eq!(stage.state(SECOND_ONE), Some(WorkerState::Idle), "the last one stays");
        at_rest(&stage.pool);
    }
}

#[test]
fn who_stayed_for_a_start_that_fails_is_the_one_that_stays() {
    for hooked in [false, true] {
        let stage = Stage::new(Limits::new(1, 2), hooked);
        stage.idles_for(SECOND * 20);
        let mut events = stage.pool.events();
        stage.clock.advance(MINUTE);
        until("it is given up", || {
            let gone = |event| matches!(event, PoolEvent::WorkerGone { exit: Exit::FailedToStart(_), .. });
            std::iter::from_fn(|| events.try_next()).any(gone)
        });
        stage.idles_for(SECOND * 20);
        let alive = stage.script.alive();
        assert_eq!((alive, stage.asked_about_exits()), (vec![FIRST], 0), "hooks: {hooked}");
        at_rest(&stage.pool);
    }
}

/// Where nobody needs to be ready, whoever idles need not wait for anybody.
#[test]
fn a_worker_leaves_beside_one_that_is_not_up_if_nobody_has_to_be() {
    for hooked in [false, true] {
        let stage = Stage::new(Limits::new(0, 2), hooked);
        stage.leaves(FIRST);
        assert_eq!(stage.state(SECOND_ONE), Some(WorkerState::Starting));
        stage.script.take(SECOND_ONE);
        stage.leaves(SECOND_ONE);
        at_rest(&stage.pool);
    }
}
