//! Code of the user's that blocks the thread which it is called on: it holds up what needs that code, and neither limits nor the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use millpond::testing::{Script, Scripted, SettableClock};
use millpond::{Ended, Pool, PoolExecutor};
use millpond_supervisors::mixed::{
    FallBack, Member, MemberView, MixedHandle, MixedPool, MixedRejectReason, MixedStatus, Route, Routed,
};
use parking_lot::Mutex;
use tokio_test::{assert_pending, task::spawn};

use crate::rig::{FIRST, SECOND, beside, named, scripted, soon, until};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    Route,
    Copy,
    IntoMember,
    OutOfMember,
    Drop,
}

const EVERYWHERE: [Where; 5] = [Where::Route, Where::Copy, Where::IntoMember, Where::OutOfMember, Where::Drop];

/// Blocks whoever comes to the place in question, once it is shut, until its key goes.
struct Door {
    is_at: Where,
    shut: AtomicBool,
    somebody_waits: AtomicBool,
    opens: Mutex<mpsc::Receiver<()>>,
}

impl Door {
    fn pass(&self, at: Where) {
        if at == self.is_at && self.shut.swap(false, Ordering::AcqRel) {
            self.somebody_waits.store(true, Ordering::Release);
            // Until it is dropped.
            let _ = self.opens.lock().recv();
        }
    }
}

/// A job, of which number 1 comes to the door.
struct Job(u64, Arc<Door>);

impl Job {
    fn pass(&self, at: Where) {
        if self.0 == 1 {
            self.1.pass(at);
        }
    }
}

impl Clone for Job {
    fn clone(&self) -> Self {
        self.pass(Where::Copy);
        Self(self.0, self.1.clone())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.pass(Where::Drop);
    }
}

/// One job runs in member `runs`; one is stuck where the door is; one waits; no place is left.
struct Scene {
    pool: MixedPool<Job, u64>,
    members: [(Pool<Scripted>, Script); 2],
    clock: SettableClock,
    door: Arc<Door>,
    key: mpsc::SyncSender<()>,
    runs: MixedHandle<u64>,
    stuck: MixedHandle<u64>,
    waits: MixedHandle<u64>,
}

fn scene(is_at: Where) -> Scene {
    let clock = SettableClock::new();
    let (key, opens) = mpsc::sync_channel(0);
    let door = Arc::new(Door {
        is_at,
        shut: AtomicBool::new(false),
        somebody_waits: AtomicBool::new(false),
        opens: Mutex::new(opens),
    });
    let members = [(); 2].map(|()| scripted("blocked", &clock, 0));
    let at_door = door.clone();
    let route = move |job: &Routed<'_>, members: &[MemberView]| {
        if job.label == Some("stuck") {
            at_door.pass(Where::Route);
        }
        FallBack.route(job, members)
    };
    let places = if is_at == Where::OutOfMember { 3 } else { 4 };
    let mut builder = MixedPool::builder(named("blocked")).route(route).places(places).admission_limit(SECOND * 4);
    for (number, (pool, _)) in members.iter().enumerate() {
        let at_door = door.clone();
        let job = |job: &Job| {
            job.pass(Where::IntoMember);
            job.0
        };
        let output = move |output| {
            if output == 100 {
                at_door.pass(Where::OutOfMember);
            }
            output
        };
        builder = builder.member(Member::adapted(Arc::new(pool.clone()), job, output).named(number.to_string()));
    }
    let pool = builder.clock(clock.clock()).build().expect("it is built");
    let put = |job: u64, label| {
        let submitter = pool.job().label(label).again_if_not_begun();
        submitter.try_submit(Job(job, door.clone())).unwrap_or_else(|rejected| panic!("{rejected}"))
    };
    let taken = |member: usize, job| until("it runs", || members[member].1.take(FIRST) == Some(job));
    let runs = put(2, "runs");
    taken(0, 2);
    let [other, stuck, waits] = if is_at == Where::OutOfMember {
        let stuck = put(1, "stuck");
        taken(1, 1);
        door.shut.store(true, Ordering::Release);
        let waits = put(3, "waits");
        assert!(members[1].1.finish(FIRST, 100));
        [None, Some(stuck), Some(waits)]
    } else {
        let other = put(9, "other");
        taken(1, 9);
        let waits = put(3, "waits");
        // Behind another one it waits at once: none of its own code is called before.
        door.shut.store(true, Ordering::Release);
        let stuck = put(1, "stuck");
        if is_at == Where::Drop {
            stuck.cancel();
        }
        [Some(other), Some(stuck), Some(waits)]
    };
    until("somebody is stuck", || door.somebody_waits.load(Ordering::Acquire));
    drop(other);
    let [stuck, waits] = [stuck, waits].map(|handle| handle.expect("it was put"));
    Scene { pool, members, clock, door, key, runs, stuck, waits }
}

#[test]
fn what_blocks_keeps_nobody_at_the_gate_and_no_drain_for_longer_than_its_limit() {
    for is_at in EVERYWHERE {
        let Scene { pool, members: _members, clock, door, key, runs, stuck: _stuck, waits } = scene(is_at);
        let job = |number| Job(number, door.clone());
        // Where the drop is stuck, its job has ended, and left its place.
        let _fills = (is_at == Where::Drop).then(|| pool.try_submit(job(4)));
        let mut patient = spawn(pool.submit(job(5)));
        assert_pending!(patient.poll());
        clock.advance(SECOND * 4);
        let rejected = soon(patient).expect_err("there is no place");
        assert!(matches!(rejected.reason(), MixedRejectReason::AdmissionTimedOut { .. }), "{is_at:?}: {rejected}");
        let mut drain = spawn(pool.drain((SECOND * 3).into()));
        assert_pending!(drain.poll());
        clock.advance(SECOND * 3);
        let late = soon(drain).expect_err("one runs");
        assert!(late.pending >= 2, "{is_at:?}: {late}");
        pool.abort();
        assert_eq!(soon(runs).expect_err("it was killed").ended(), Ended::Killed, "{is_at:?}");
        assert_eq!(soon(waits).expect_err("nobody had it").ended(), Ended::NotStarted, "{is_at:?}");
        drop(key);
        until("all have ended", || pool.ledger().pending == 0);
        assert!(pool.ledger().balances(), "{is_at:?}: {}", pool.ledger());
    }
}

#[test]
fn what_blocks_keeps_no_shutdown_and_no_jobs_of_members_for_longer_than_its_limit() {
    for is_at in EVERYWHERE {
        let Scene { pool, members, clock, door, key, runs, stuck, waits } = scene(is_at);
        let ends = pool.clone();
        let shutdown = beside(async move { ends.shutdown((SECOND * 40).into()).await });
        until(
            "it drains",
            || matches!(pool.submit_blocking(Job(6, door.clone())), Err(rejected) if matches!(rejected.reason(), MixedRejectReason::Closed { .. })),
        );
        clock.advance(SECOND * 30);
        until("the members are shut down", || members.iter().all(|(pool, _)| pool.gate() != "open"));
        clock.advance(SECOND * 10);
        assert_eq!(soon(runs).expect_err("it was killed").ended(), Ended::Killed, "{is_at:?}");
        assert_eq!(soon(waits).expect_err("nobody had it").ended(), Ended::NotStarted, "{is_at:?}");
        // The one whose own code is stuck has as long as a control reply may take.
        let is_over = || shutdown.is_finished();
        until("it answers", || {
            clock.advance(SECOND);
            is_over()
        });
        let report = soon(shutdown).expect("it does not panic");
        let is_left = u64::from(is_at != Where::Drop);
        assert_eq!(report.ledger.pending, is_left, "{is_at:?}: {}", report.ledger);
        assert_eq!(stuck.status() == MixedStatus::Done, is_at == Where::Drop, "{is_at:?}");
        drop(key);
        let outcome = soon(stuck);
        assert_eq!(outcome.is_ok(), is_at == Where::OutOfMember, "{is_at:?}: {outcome:?}");
        until("all have ended", || pool.ledger().pending == 0);
    }
}
