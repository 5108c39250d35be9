//! 1. Control starvation, by hooks: a supervisor that waited for one would be as stuck as it is.
//!
//! Ten hooks that never answer, or block their threads, or panic; one worker of four blocks and is killed. Inventory, resize and submit
//! have to be answered throughout, a resize after the hooks' limit at the latest, and the killed worker is replaced. And a hook that
//! takes nothing of what it is told gets 64 messages, however much happens. Questions about a worker: `hazard_01_hooks_at_each_question`.

use std::time::Duration;

use millpond::{
    Doomed, Fate, Hook, HookContext, HookOptions, HookSpec, JobId, Ladder, Limits, Notice, Pool, PoolExecutor,
    RecycleReason, Rung, Select, TimeLimit, Verdict, WorkerId,
};

use crate::kinds::{Ground, Kind, Work, on_every_kind, on_fresh_instances, put, put_labelled, value};
use crate::latch::{Latch, Meter};
use crate::patience::{CONTROL_LIMIT, at_rest, control_answers, eventually, scaled};

on_every_kind!(hooks_that_never_answer, hooks_that_block_their_threads, hooks_that_panic, hooks_that_take_nothing);
on_fresh_instances!(hooks_that_never_answer, hooks_that_block_their_threads, hooks_that_panic, hooks_that_take_nothing);

const HOOKS: usize = 10;
const SPAN: Duration = Duration::from_secs(25);
/// So that an answer that waits for a hook, as a resize does, is still one of the quick ones.
pub const HOOK_LIMIT: Duration = Duration::from_millis(20);
const _: () = assert!(HOOK_LIMIT.as_millis() * 10 < CONTROL_LIMIT.as_millis());
const GRACE: Duration = CONTROL_LIMIT.saturating_mul(2);

#[derive(Clone)]
pub enum Habit {
    NeverAnswers,
    Blocks(Latch),
    Panics,
}

/// Does what it is wont to, whatever it is asked or told.
pub struct Bad(pub Habit);

impl Bad {
    async fn misbehave(&self) -> Verdict {
        match &self.0 {
            Habit::NeverAnswers => std::future::pending().await,
            Habit::Blocks(latch) => latch.block(),
            Habit::Panics => panic!("as told"),
        }
        Verdict::deny("far too late")
    }
}

impl Hook for Bad {
    async fn start(&self, _cx: &HookContext, _worker: WorkerId) -> Verdict {
        self.misbehave().await
    }

    async fn resize(&self, _cx: &HookContext, _from: Limits, _to: Limits) -> Verdict {
        self.misbehave().await
    }

    async fn idle_exit(&self, _cx: &HookContext, _worker: WorkerId, _idle_for: Duration) -> Verdict {
        self.misbehave().await
    }

    async fn terminate(&self, _cx: &HookContext, _targets: &[Doomed]) -> Verdict {
        self.misbehave().await
    }

    async fn recycle(&self, _cx: &HookContext, _worker: WorkerId, _reason: RecycleReason) -> Verdict {
        self.misbehave().await
    }

    async fn overdue(&self, _cx: &HookContext, _worker: WorkerId, _job: JobId, _silent_for: Duration) -> Verdict {
        self.misbehave().await
    }

    async fn told(&self, _cx: &HookContext, _notice: &Notice) {
        self.misbehave().await;
    }
}

fn hooked<K: Kind>(name: &str, ground: &Ground, habit: &Habit) -> Pool<K::Backend> {
    let options = HookOptions::new().limit(HOOK_LIMIT);
    let mut builder = K::builder(name, ground).limits(Limits::fixed(4));
    for n in 0..HOOKS {
        builder = builder.hook_spec(HookSpec::new(format!("bad-{n}"), Bad(habit.clone())).options(options.clone()));
    }
    builder.build().expect("the configuration is sound")
}

fn control_is_not_held_up<K: Kind>(name: &str, ground: &Ground, habit: &Habit) {
    let pool = hooked::<K>(name, ground, habit);
    let (stuck, bodies) = (ground.latch(), Meter::default());
    let victim = put_labelled::<K>(&pool, "stuck", Work::value(0).counted(&bodies).block(&stuck));
    eventually("the job has begun", || bodies.inside() == 1);
    let ladder = Ladder::new().then(Rung::Kill, GRACE);
    let submit = || drop(put::<K>(&pool, Work::value(1)));
    let report = std::thread::scope(|scope| {
        let kill = || pool.blocking().terminate(Select::label("stuck"), ladder, TimeLimit::secs(10));
        let killing = scope.spawn(kill);
        control_answers(&pool, GRACE / 2, submit);
        killing.join().expect("no panic").expect("a kill is nobody's to refuse")
    });
    control_answers(&pool, scaled(SPAN), submit);
    assert_eq!(report.targets[0].fate, if K::KILLED_ANYWHERE { Fate::Killed } else { Fate::Abandoned });
    assert!(victim.join().is_err());
    let rows = pool.blocking().hooks(TimeLimit::default()).expect("it answers");
    assert!(rows.iter().all(|row| row.defaulted > 0 && row.denied == 0), "{rows:?}");
    assert!(rows.iter().all(|row| row.outstanding <= 64 + 1024), "{rows:?}");
    // The start of the replacement was asked about, too, and comes after the limit.
    eventually("four are up", || pool.saturation().workers >= 4);
    assert_eq!(value(put::<K>(&pool, Work::value(2))), 2);
    stuck.open();
    at_rest(&pool);
    pool.blocking().shutdown(TimeLimit::secs(10)).expect("an end waits for no hook");
}

fn hooks_that_never_answer<K: Kind>() {
    control_is_not_held_up::<K>("h01-hooks-mute", &Ground::new(), &Habit::NeverAnswers);
}

fn hooks_that_block_their_threads<K: Kind>() {
    let ground = Ground::new();
    let habit = Habit::Blocks(ground.latch());
    control_is_not_held_up::<K>("h01-hooks-block", &ground, &habit);
}

fn hooks_that_panic<K: Kind>() {
    control_is_not_held_up::<K>("h01-hooks-panic", &Ground::new(), &Habit::Panics);
}

fn hooks_that_take_nothing<K: Kind>() {
    const CHANGES: u64 = 2_000;
    let ground = Ground::new();
    let habit = Habit::Blocks(ground.latch());
    let pool = K::builder("h01-hooks-flooded", &ground).limits(Limits::fixed(2)).build().expect("it is sound");
    eventually("both are up", || pool.saturation().idle == 2);
    let limit = TimeLimit::default();
    let hook = HookSpec::new("audit", Bad(habit)).options(HookOptions::told_only());
    pool.blocking().set_hook(hook, limit).expect("there is room");
    for _ in 0..CHANGES / 2 {
        pool.blocking().quiesce(limit).expect("it is open");
        pool.blocking().resume(limit).expect("it is quiesced");
    }
    let row = &pool.blocking().hooks(limit).expect("it answers")[0];
    // That it was added is the first notice it has.
    let notices = CHANGES + 1;
    assert_eq!((row.outstanding, row.missed), (64, notices - 64), "no more lie in its mailbox, and each is counted");
    control_answers(&pool, Duration::ZERO, || drop(put::<K>(&pool, Work::value(1))));
    at_rest(&pool);
}
