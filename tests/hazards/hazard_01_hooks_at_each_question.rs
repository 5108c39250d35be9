//! 1. Control starvation, by hooks, continued: each question that is about a worker meets a hook that never answers, blocks its thread, or panics.
//!
//! Control answers while the hook has the question; its default counts, which the pool says; then what was asked about happens. The pool is asked
//! about a termination, an idle exit, a recycling, and the ladder of an overdue job. Starts and resizes: `hazard_01_hooks`.

use std::time::Duration;

use millpond::{
    EventStream, Exit, Fate, HookFault, HookOptions, HookSpec, Ladder, Lane, Limits, Pool, PoolBuilder, PoolEvent,
    PoolExecutor, Recycle, Select, TimeLimit, Watchdog,
};

use crate::hazard_01_hooks::{Bad, HOOK_LIMIT, Habit};
use crate::kinds::{Ground, Kind, Work, completes, on_every_kind, put, put_labelled, value};
use crate::latch::Meter;
use crate::patience::{FOREVER, at_rest, control_answers, eventually};

on_every_kind!(
    at_a_termination_idle_exit_recycling_and_ladder_they_never_answer,
    at_a_termination_idle_exit_recycling_and_ladder_they_block,
    at_a_termination_idle_exit_recycling_and_ladder_they_panic
);

const LIMIT: TimeLimit = TimeLimit(FOREVER);

fn at_a_termination_idle_exit_recycling_and_ladder_they_never_answer<K: Kind>() {
    at_each_question::<K>("mute", |_| Habit::NeverAnswers);
}

fn at_a_termination_idle_exit_recycling_and_ladder_they_block<K: Kind>() {
    at_each_question::<K>("block", |ground| Habit::Blocks(ground.latch()));
}

fn at_a_termination_idle_exit_recycling_and_ladder_they_panic<K: Kind>() {
    at_each_question::<K>("panic", |_| Habit::Panics);
}

fn at_each_question<K: Kind>(name: &str, habit: impl Fn(&Ground) -> Habit) {
    let ground = Ground::new();
    a_termination::<K>(&scene::<K>("terminate", name, &ground, habit(&ground), |builder| {
        builder.limits(Limits::fixed(1))
    }));
    let idle = Limits::new(0, 1).idle_timeout(Duration::from_millis(5));
    an_idle_exit::<K>(&scene::<K>("idle", name, &ground, habit(&ground), |builder| builder.limits(idle)));
    let recycled = |builder: PoolBuilder<K::Backend>| {
        builder.limits(Limits::fixed(1).idle_timeout(None)).recycle(Recycle::new().after_jobs(1))
    };
    a_recycling::<K>(&scene::<K>("recycle", name, &ground, habit(&ground), recycled));
    let watched = |builder: PoolBuilder<K::Backend>| {
        builder
            .limits(Limits::fixed(1))
            .default_lane(Lane::new("default").overdue_after(Duration::from_millis(5)))
            .watchdog(Watchdog::new(Duration::from_millis(5), Ladder::cooperative(FOREVER)))
    };
    the_ladder_of_an_overdue_job::<K>(&scene::<K>("overdue", name, &ground, habit(&ground), watched));
}

/// A pool that was built without the hook, so that its first worker is up, and what it says from then on.
struct Scene<K: Kind> {
    pool: Pool<K::Backend>,
    habit: Habit,
}

fn scene<K: Kind>(
    question: &str,
    name: &str,
    ground: &Ground,
    habit: Habit,
    shape: impl FnOnce(PoolBuilder<K::Backend>) -> PoolBuilder<K::Backend>,
) -> Scene<K> {
    let pool = shape(K::builder(&format!("h01-{question}-{name}"), ground)).build();
    Scene { pool: pool.expect("the configuration is sound"), habit }
}

impl<K: Kind> Scene<K> {
    /// One that panics needs none, and is not to be late on a machine that is busy.
    fn limit(&self) -> Duration {
        if matches!(self.habit, Habit::Panics) { FOREVER } else { HOOK_LIMIT }
    }

    fn hook(&self) {
        let options = HookOptions::new().limit(self.limit());
        let hook = HookSpec::new("bad", Bad(self.habit.clone())).options(options);
        self.pool.blocking().set_hook(hook, LIMIT).expect("there is room");
    }

    /// The hook is asked about `word`, has its limit, and then its default counts.
    #[track_caller]
    fn defaults(&self, events: &mut EventStream, word: &str) {
        loop {
            match events.next_timeout(FOREVER).expect("it is asked") {
                Some(PoolEvent::HookFault { question, fault, .. }) if question == word => {
                    let panics = matches!(self.habit, Habit::Panics);
                    let as_wont = match &fault {
                        HookFault::Late(_) => !panics,
                        HookFault::Panicked(message) => panics && message == "as told",
                        _ => false,
                    };
                    return assert!(as_wont, "{word}: {fault}");
                }
                Some(_) => {}
                None => panic!("the pool has ended"),
            }
        }
    }

    #[track_caller]
    fn left(events: &mut EventStream, so: impl Fn(&Exit) -> bool) {
        loop {
            match events.next_timeout(FOREVER).expect("what was asked about happens") {
                Some(PoolEvent::WorkerGone { exit, .. }) => return assert!(so(&exit), "{exit}"),
                Some(_) => {}
                None => panic!("the pool has ended"),
            }
        }
    }

    /// It works as before, with the hook and without.
    fn is_well(&self) {
        control_answers(&self.pool, Duration::ZERO, || drop(put::<K>(&self.pool, Work::value(1))));
        assert_eq!(value(put::<K>(&self.pool, Work::value(3))), 3);
        self.pool.blocking().remove_hook("bad", LIMIT).expect("it is there");
        at_rest(&self.pool);
    }
}

fn a_termination<K: Kind>(scene: &Scene<K>) {
    let bodies = Meter::default();
    let job = put_labelled::<K>(&scene.pool, "victim", Work::value(5).counted(&bodies).until_cancelled());
    eventually("it runs", || bodies.inside() == 1);
    scene.hook();
    let mut events = scene.pool.events();
    let ladder = Ladder::cooperative(FOREVER);
    let report = std::thread::scope(|scope| {
        let asked = scope.spawn(|| scene.pool.blocking().terminate(Select::label("victim"), ladder, LIMIT));
        scene.defaults(&mut events, "terminate");
        asked.join().expect("no panic").expect("it is allowed")
    });
    assert_eq!(report.targets.iter().map(|row| row.fate).collect::<Vec<_>>(), [Fate::Finished], "{report:?}");
    assert_eq!(value(job), 5, "it was asked to stop, and did");
    scene.is_well();
}

fn an_idle_exit<K: Kind>(scene: &Scene<K>) {
    scene.hook();
    let mut events = scene.pool.events();
    completes(put::<K>(&scene.pool, Work::value(1)));
    scene.defaults(&mut events, "idle exit");
    Scene::<K>::left(&mut events, |exit| matches!(exit, Exit::IdleTimeout));
    scene.is_well();
}

fn a_recycling<K: Kind>(scene: &Scene<K>) {
    eventually("it is up", || scene.pool.saturation().idle == 1);
    scene.hook();
    let mut events = scene.pool.events();
    completes(put::<K>(&scene.pool, Work::value(1)));
    scene.defaults(&mut events, "recycle");
    Scene::<K>::left(&mut events, |exit| matches!(exit, Exit::Recycled(_)));
    scene.is_well();
}

fn the_ladder_of_an_overdue_job<K: Kind>(scene: &Scene<K>) {
    eventually("it is up", || scene.pool.saturation().idle == 1);
    scene.hook();
    let mut events = scene.pool.events();
    let job = put::<K>(&scene.pool, Work::value(6).until_cancelled());
    scene.defaults(&mut events, "overdue");
    assert_eq!(value(job), 6, "the ladder began, and asked it to stop");
    scene.is_well();
}
