//! Those who wait at the gate: a place is promised to one of them, kept or given back, and never both.

use std::pin::pin;
use std::task::{Context, Waker as TaskWaker};

use loom::future::block_on;

use super::{Pond, SOON, check, config, join, lane, work, work_once};
use crate::error::{CloseReason, RejectReason};
use crate::gate::{Gate, Left, Waiter};
use crate::id::LaneId;
use crate::plane::Entry;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, Timestamp};

/// A line of one, as the plane keeps it: what was promised under the lock is kept or given back once.
struct Line {
    waiter: Arc<Waiter>,
    granted: Mutex<usize>,
    received: AtomicUsize,
}

impl Line {
    fn new() -> Arc<Self> {
        let waiter = Waiter::new(LaneId::DEFAULT, Timestamp::default(), Timestamp::NEVER);
        Arc::new(Self { waiter, granted: Mutex::new(0), received: AtomicUsize::new(0) })
    }

    fn grant(&self) {
        let mut granted = self.granted.lock();
        if self.waiter.grant() {
            *granted += 1;
        }
        drop(granted);
        self.waiter.wake();
    }

    fn give_back(&self, promised: bool) {
        if promised {
            *self.granted.lock() -= 1;
        }
    }

    fn poll(&self) {
        use crate::gate::Verdict::Received;
        if let std::task::Poll::Ready(Received) = self.waiter.poll(&mut Context::from_waker(TaskWaker::noop())) {
            self.received.fetch_add(1, Ordering::Relaxed);
            self.give_back(true);
        }
    }
}

/// Whoever takes part, the promise is settled once.
fn a_promise_is_settled_once(rivals: [fn(&Line); 3]) {
    check(3, move || {
        let line = Line::new();
        let threads = rivals.map(|rival| {
            let line = line.clone();
            loom::thread::spawn(move || rival(&line))
        });
        threads.into_iter().for_each(join);
        // What is promised still, nobody came for: the timer takes it back.
        line.give_back(line.waiter.revoke());
        assert_eq!(*line.granted.lock(), 0, "a place leaked");
        assert!(line.received.load(Ordering::Relaxed) <= 1, "a place doubled");
    });
}

#[test]
fn a_promise_that_is_received_cancelled_or_revoked_is_settled_once() {
    a_promise_is_settled_once([
        Line::grant,
        |line| {
            line.poll();
            line.give_back(line.waiter.cancel() == Left::Granted);
        },
        |line| line.give_back(line.waiter.revoke()),
    ]);
}

#[test]
fn a_promise_that_is_received_expired_or_closed_is_settled_once() {
    a_promise_is_settled_once([
        Line::grant,
        |line| {
            line.waiter.expire();
            line.poll();
        },
        |line| line.give_back(line.waiter.close() == Some(Left::Granted)),
    ]);
}

#[test]
fn a_place_that_comes_free_goes_to_whoever_waits() {
    let config = config(1, &[lane(0).admission_limit(None)]);
    check(1, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let first = pond.submit(0);
        let submitter = pond.spawn(|pond| block_on(pond.submit_waiting().expect("a place comes free")).is_ok());
        let worker = pond.spawn(|_| work(worker));
        assert!(block_on(first).is_ok());
        assert!(join(submitter));
        pond.plane.stop_all();
        assert_eq!(join(worker), 2);
        pond.assert_at_rest();
    });
}

#[test]
fn a_submitter_that_goes_away_leaves_its_place_to_the_next() {
    let config = config(1, &[lane(0).admission_limit(None)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let first = pond.submit(0);
        let goes = pond.spawn(|pond| {
            let job = pond.job(0, None);
            match pond.plane.enter(job) {
                Entry::Done(done) => done.is_ok(),
                Entry::Waits(admission) => {
                    let mut admission = pin!(admission);
                    admission.as_mut().poll(&mut Context::from_waker(TaskWaker::noop())).is_ready()
                }
            }
        });
        let stays = pond.spawn(|pond| pond.submit_waiting().expect("a place comes free"));
        // The first job, then those that got in; the worker parks in between.
        assert!(work_once(&mut worker));
        drop(first);
        let got_in = join(goes);
        assert!(work_once(&mut worker) && (!got_in || work_once(&mut worker)));
        drop(join(stays));
        drop(worker);
        pond.assert_at_rest();
    });
}

#[test]
fn a_limit_that_passes_at_the_gate_races_the_place() {
    let config = config(1, &[lane(0).admission_limit(SOON)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let first = pond.submit(0);
        let waits = pond.spawn(|pond| match pond.submit_waiting() {
            Ok(handle) => block_on(handle).is_ok(),
            Err(RejectReason::AdmissionTimedOut { .. }) => false,
            Err(other) => panic!("{other}"),
        });
        let tick = pond.spawn(|pond| pond.tick());
        assert!(work_once(&mut worker));
        join(tick);
        // It may have come to the gate after the tick: then the place is its, and there is work.
        let worker = pond.spawn(|_| work(worker));
        join(waits);
        drop(first);
        pond.plane.stop_all();
        join(worker);
        pond.assert_at_rest();
    });
}

#[test]
fn a_promise_that_is_taken_back_is_made_again() {
    let config = config(1, &[lane(0).admission_limit(None)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let worker = pond.employ(0);
        let first = pond.submit(0);
        let waits = pond.spawn(|pond| block_on(pond.submit_waiting().expect("a place comes free")).is_ok());
        let worker = pond.spawn(|_| work(worker));
        pond.tick();
        assert!(join(waits), "it waits in vain");
        drop(first);
        pond.plane.stop_all();
        assert_eq!(join(worker), 2);
        pond.assert_at_rest();
    });
}

#[test]
fn whoever_waits_is_told_that_the_pool_closes() {
    let config = config(1, &[lane(0).admission_limit(None)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let mut worker = pond.employ(0);
        let first = pond.submit(0);
        let waits = pond.spawn(|pond| match pond.submit_waiting() {
            Ok(handle) => drop(block_on(handle)),
            Err(RejectReason::Closed { .. }) => {}
            Err(other) => panic!("{other}"),
        });
        let closes = pond.spawn(|pond| {
            assert!(pond.plane.set_gate(Gate::Closed(CloseReason::Shutdown)).is_ok());
            pond.fail_queued(&CloseReason::Shutdown);
            pond.plane.stop_all();
        });
        while work_once(&mut worker) {}
        join(closes);
        join(waits);
        drop((first, worker));
        // A promise that was made before the gate closed is the timer's to take back, if nobody came for it.
        pond.tick();
        pond.assert_at_rest();
    });
}

#[test]
fn a_place_that_a_cancelled_job_leaves_goes_to_whoever_waits() {
    let config = config(1, &[lane(1).admission_limit(None)]);
    check(2, move || {
        let pond = Pond::new(&config);
        let quiesced = pond.plane.set_gate(Gate::Quiesced);
        assert!(quiesced.is_ok());
        let queued = [pond.submit(0), pond.submit(0)];
        let waits = pond.spawn(|pond| pond.submit_waiting().expect("a place comes free"));
        queued[0].cancel();
        let waited = join(waits);
        waited.cancel();
        queued[1].cancel();
        drop((queued, waited));
        pond.assert_at_rest();
    });
}
