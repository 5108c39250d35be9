//! What can be seen of a pool, and whether what a backend tells of its workers is so.

use std::collections::HashSet;

use super::Subject;
use super::rig::{Rig, SECOND};
use super::tether::Hold;
use crate::config::{Lane, Limits};
use crate::executor::PoolExecutor;
use crate::job::JobOptions;
use crate::pool::pools;
use crate::snapshot::{Facts, Health, Inventory, WorkerState};

/// Each column, at a moment when its value is known.
pub(super) fn a_row_says_who_what_and_from_which_line<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.build("row", |builder| builder.limits(Limits::fixed(1)).lane(Lane::new("img")));
    rig.answer(pond.put(rig.value(0)));
    let hold = Hold::new();
    let options = JobOptions::new().lane("img").label("resize_image");
    let (handle, line) = (pond.put_with(options, rig.deaf(&hold)), line!());
    rig.until("it runs", || hold.begun() == 1);
    let inventory = pond.inventory_now();
    assert_eq!((&*inventory.pool, inventory.workers.len()), (pond.name(), 1));
    let row = &inventory.workers[0];
    assert_eq!((row.worker.generation, row.state, row.jobs_done, row.restarts), (1, WorkerState::Busy, 1, 0));
    assert!(row.start_delay.is_some() && row.in_state_for <= inventory.taken_at.since(row.since));
    let job = row.job.as_ref().expect("it has a job");
    assert_eq!((job.id, job.label.as_deref(), &*job.lane), (handle.id(), Some("resize_image"), "img"));
    assert_eq!((job.submitted_from.file(), job.submitted_from.line()), (file!(), line));
    assert_eq!(inventory.longest_active().map(|row| row.worker), Some(row.worker));
    hold.let_go();
    rig.returns([handle]);
    pond.at_rest();
    let idle = pond.inventory_now();
    assert_eq!((idle.workers[0].state, idle.workers[0].jobs_done), (WorkerState::Idle, 2));
    assert!(idle.workers[0].job.is_none() && idle.longest_active().is_none());
}

/// Each counter at a moment when it is known.
pub(super) fn saturation_counts_every_place<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.build("counts", |builder| {
        builder.limits(Limits::fixed(3)).default_lane(Lane::new("default").capacity(4)).lane(Lane::new("b").capacity(3))
    });
    rig.until("all are up", || pond.saturation().idle == 3);
    let hold = Hold::new();
    let mut handles = pond.hold(&hold, 2);
    let seen = pond.saturation();
    assert_eq!((seen.limit, seen.workers, seen.active, seen.idle, seen.starting), (3, 3, 2, 1, 0));
    handles.extend(pond.hold(&hold, 1));
    handles.push(pond.put(rig.value(0)));
    handles.push(pond.put_with(JobOptions::new().lane("b"), rig.value(0)));
    let seen = pond.saturation();
    assert_eq!((seen.active, seen.idle, seen.queued, seen.queue_capacity), (3, 0, 2, 7));
    assert_eq!((seen.debt, seen.abandoned, seen.waiting), (0, 0, 0));
    assert_eq!(seen.to_string(), "3/3 busy, 2 queued, 0 waiting");
    hold.let_go();
    rig.returns(handles);
    pond.at_rest();
}

/// The same per lane, and what is too much for a cheap read.
pub(super) fn a_snapshot_holds_lanes_ledger_ages_and_histograms<S: Subject>(rig: Rig<'_, S>) {
    let lane = Lane::new("b").capacity(9).reserve(1);
    let pond = rig.build("snapshot", |builder| builder.limits(Limits::fixed(2)).lane(lane));
    rig.until("both are up", || pond.saturation().idle == 2);
    (0..10).for_each(|n| assert_eq!(rig.answer(pond.put(rig.value(n))), n));
    let hold = Hold::new();
    let held = pond.hold(&hold, 1);
    let queued = pond.put(rig.value(0));
    let seen = pond.snapshot();
    assert_eq!((&*seen.pool, seen.gate, &seen.health), (pond.name(), "open", &Health::Healthy));
    assert_eq!((seen.limits, seen.saturation.active), (Limits::fixed(2), 1));
    assert_eq!(seen.lanes.iter().map(|lane| &*lane.name).collect::<Vec<_>>(), ["default", "b"]);
    let (default, b) = (&seen.lanes[0], &seen.lanes[1]);
    assert_eq!((default.queued, default.active, b.capacity, b.reserve, b.active), (1, 1, 9, 1, 0));
    assert!(default.head_since.is_some_and(|at| at <= seen.taken_at) && b.head_since.is_none());
    assert_eq!((default.queue_wait.count(), default.run_time.count(), b.run_time.count()), (11, 10, 0));
    assert_eq!(seen.start_delay.count(), 2);
    assert!(seen.longest_active_since.is_some() && seen.longest_active().is_some());
    assert_eq!((seen.ledger.accepted, seen.ledger.completed, seen.ledger.pending), (12, 10, 2));
    hold.let_go();
    rig.returns(held);
    assert_eq!(rig.answer(queued), 0);
    pond.at_rest();
    assert!(pond.snapshot().longest_active().is_none());
}

/// No control message waits for a job.
pub(super) fn inventory_answers_by_message_while_every_worker_is_held<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("held", 2);
    let hold = Hold::new();
    let held: Vec<_> = (0..2).map(|_| pond.put(rig.stuck(&hold).unwrap_or_else(|| rig.deaf(&hold)))).collect();
    rig.until("both are held", || hold.begun() == 2);
    let queued: Vec<_> = (0..500).map(|_| pond.put(rig.value(0))).collect();
    let by_message = rig.soon(pond.inventory(rig.limit())).expect("control is not busy");
    let jobs = |inventory: &Inventory| -> Vec<_> {
        inventory.workers.iter().map(|row| (row.worker, row.job.as_ref().map(|job| job.id))).collect()
    };
    assert_eq!(jobs(&by_message), jobs(&pond.inventory_now()));
    assert_eq!((by_message.saturation.active, by_message.saturation.queued), (2, 500));
    hold.let_go();
    rig.returns(held);
    rig.returns(queued);
    pond.at_rest();
}

/// How long a job waited, how long it runs, and when it last gave a sign, by the pool's clock alone.
pub(super) fn ages_are_read_off_the_pools_clock<S: Subject>(rig: Rig<'_, S>) {
    let (pond, clock) = rig.clocked("ages", 1, Lane::new("default"));
    let (first, second) = (Hold::new(), Hold::new());
    let held = pond.hold(&first, 1);
    let queued = pond.put(rig.deaf(&second));
    clock.advance(SECOND * 3);
    let seen = pond.snapshot();
    let head = seen.lanes[0].head_since.expect("one waits");
    assert_eq!((seen.taken_at.since(head), seen.longest_active()), (SECOND * 3, Some(SECOND * 3)));
    first.let_go();
    rig.returns(held);
    rig.until("the next one runs", || second.begun() == 1);
    clock.advance(SECOND * 2);
    let inventory = pond.inventory_now();
    let (row, now) = (&inventory.workers[0], clock.now());
    let job = row.job.as_ref().expect("it runs");
    assert_eq!((job.queue_wait, job.running_for), (SECOND * 3, SECOND * 2));
    assert_eq!((inventory.taken_at, now.since(row.since), row.in_state_for), (now, SECOND * 2, SECOND * 2));
    assert!(inventory.to_string().contains("2.0 s"), "{inventory}");
    second.let_go();
    rig.returns([queued]);
    pond.at_rest();
}

/// A beat belongs to the job in hand, not to the one after it. A job that does not know its context cannot beat.
pub(super) fn a_beat_is_seen<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("beat", 1);
    let hold = Hold::new();
    let handle = pond.put(rig.polite(&hold));
    let last_beat = || pond.inventory_now().workers[0].job.as_ref().and_then(|job| job.last_beat);
    rig.until("it has beaten", || hold.begun() == 1 && last_beat().is_some());
    let before = last_beat();
    rig.until("it beats again", || last_beat() > before);
    hold.let_go();
    rig.returns([handle]);
    let next = Hold::new();
    let silent = pond.hold(&next, 1);
    assert!(last_beat().is_none(), "the next job has not beaten");
    next.let_go();
    rig.returns(silent);
    pond.at_rest();
}

/// `pools()` shows it until it has ended, and keeps nothing alive.
pub(super) fn every_pool_of_the_process_is_listed<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("listed", 1);
    let name = pond.name().to_owned();
    let listed = |name: &str| pools().into_iter().find(|pool| pool.name() == name);
    let found = listed(&name).expect("it is listed");
    assert_eq!(found.saturation().limit, 1);
    assert_eq!(found.capabilities(), pond.capabilities());
    assert!(rig.soon(found.inventory(rig.limit())).is_ok());
    drop(pond);
    rig.until("it has ended, though somebody looks on", || listed(&name).is_none());
    drop(found);
}

/// What only this kind of worker has, if it tells anything, is this worker's and there.
pub(super) fn facts_are_a_workers_own<S: Subject>(rig: Rig<'_, S>) {
    let pond = rig.fixed("facts", 2);
    rig.until("both are up", || pond.saturation().idle == 2);
    // They are told by the time at which the start has returned, which may be after the first job.
    pond.after_control();
    let facts: Vec<Facts> = pond.inventory_now().workers.into_iter().map(|row| row.facts).collect();
    let mut seen = HashSet::new();
    for own in &facts {
        let names = [
            own.thread.as_ref().map(|thread| format!("thread `{thread}`")),
            own.actor.as_ref().map(|actor| format!("actor {actor}")),
            own.pid.map(|pid| format!("process {pid}")),
        ];
        for name in names.into_iter().flatten() {
            assert!(seen.insert(name.clone()), "{name} is told to be another worker, too: {facts:?}");
        }
        is_there(&pond.actor().get_children(), own);
    }
    pond.at_rest();
}

fn is_there(children: &[ractor::ActorCell], facts: &Facts) {
    if let Some(actor) = &facts.actor {
        let is_child = children.iter().any(|child| child.get_id().to_string() == **actor);
        assert!(is_child, "actor {actor} is no child of the pool's actor");
    }
    if let Some(pid) = facts.pid {
        assert_ne!(pid, std::process::id(), "a worker that is a process is another one than this");
        assert!(process_is_there(pid), "there is no process {pid}");
    }
    if let Some(thread) = &facts.thread {
        assert!(thread_is_there(thread), "there is no thread `{thread}`");
    }
    let of_a_process = facts.resident_memory.is_some() || facts.cpu_time.is_some() || facts.open_files.is_some();
    assert!(!of_a_process || facts.pid.is_some(), "what a process uses is told, and not which process: {facts:?}");
}

/// True as well where nobody can say.
pub(super) fn process_is_there(pid: u32) -> bool {
    !cfg!(target_os = "linux") || std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// True as well where nobody can say. Linux keeps the first 15 bytes of a thread's name.
fn thread_is_there(name: &str) -> bool {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return true };
    let kept = &name.as_bytes()[..name.len().min(15)];
    threads.flatten().any(|thread| {
        // One that has ended meanwhile has no name.
        std::fs::read(thread.path().join("comm")).is_ok_and(|known| known.strip_suffix(b"\n").unwrap_or(&known) == kept)
    })
}
