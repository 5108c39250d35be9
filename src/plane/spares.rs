//! Warm spares: workers that idle, or come up, before anybody needs them: DESIGN.md, section 5.

use super::{Inbox, Plane};
use crate::config::Limits;
use crate::gate::Gate;
use crate::job::Envelope;

impl<J: ?Sized + Envelope> Plane<J> {
    /// How many workers are to idle beyond those for whom there is work. Under the inbox lock.
    pub(super) fn spares(&self, inbox: &Inbox<J>) -> usize {
        if inbox.gate == Gate::Open { inbox.min_idle } else { 0 }
    }

    /// A worker that idled, or came up, has work now. True if control is to be told that too few are left: once, until it has looked. Under the
    /// inbox lock.
    #[inline]
    pub(super) fn lacks_spares(&self, inbox: &mut Inbox<J>) -> bool {
        inbox.min_idle > 0 && self.misses_some(inbox) && self.demands(inbox)
    }

    /// Those that hooks are asked about are on their way, or cannot be had: in both cases control looks again when it knows.
    fn misses_some(&self, inbox: &Inbox<J>) -> bool {
        self.counts.idle() + self.counts.starting() + inbox.asked < self.spares(inbox)
    }

    /// How many workers may leave because they have idled for too long; `kept`: so many more than `min` hold their seats. Under the inbox lock.
    pub(super) fn idle_to_spare(&self, inbox: &Inbox<J>, limits: &Limits, kept: usize) -> usize {
        let above = |kept: usize, there: usize| there.saturating_sub(kept);
        // Those that were woken for work are not in the list.
        above(limits.min.saturating_add(kept), self.counts.live()).min(above(limits.min_idle, inbox.idle.len()))
    }

    /// So many starts are asked about: control rings nobody's bell for those.
    pub(crate) fn note_asked(&self, starts: usize) {
        self.inbox.lock().asked = starts;
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use std::panic::Location;
    use std::task::{Context, Waker};

    use super::super::tests::Demands;
    use super::super::{Plane, WorkerContext};
    use crate::config::{Limits, PoolConfig};
    use crate::id::{LaneId, WorkerId};
    use crate::job::{JobCell, Share, Submission};
    use crate::sync::{Arc, Ordering};

    struct Pond {
        plane: Arc<Plane<JobCell<u64, u64>>>,
        worker: WorkerContext<JobCell<u64, u64>>,
        demands: Demands,
    }

    impl Pond {
        /// With one worker, which idles.
        fn new(limits: Limits) -> Self {
            let demands = Demands::default();
            let plane = Plane::new(PoolConfig { limits, ..PoolConfig::new("spares") }, Box::new(demands.clone()));
            let cell = plane.seat_worker(WorkerId { slot: 0, generation: 1 }, 0);
            let mut worker = WorkerContext::new(plane.clone(), cell);
            assert!(worker.poll_take(&mut Context::from_waker(Waker::noop())).is_pending());
            Self { plane, worker, demands }
        }

        /// The worker runs a job, from idle to idle; `meanwhile`: what happens while it has that. How often control was told.
        fn run_one(&mut self, meanwhile: impl FnOnce(&Plane<JobCell<u64, u64>>)) -> usize {
            let before = self.demands.0.load(Ordering::Relaxed);
            let submission = Submission { lane: LaneId(0), site: Location::caller(), terms: None };
            assert!(self.plane.try_admit(Share::alone(7, submission)).is_ok());
            assert!(self.worker.poll_take(&mut Context::from_waker(Waker::noop())).is_ready());
            meanwhile(&self.plane);
            let claim = self.worker.next_blocking().expect("it has a job");
            claim.run(|job, key| job.run(key, |n| n + 1));
            assert!(self.worker.poll_take(&mut Context::from_waker(Waker::noop())).is_pending());
            self.demands.0.load(Ordering::Relaxed) - before
        }
    }

    #[test]
    fn control_is_told_when_the_last_spare_gets_work_and_not_again_before_it_has_looked() {
        let mut pond = Pond::new(Limits::new(0, 3).min_idle(1));
        assert_eq!(pond.run_one(|_| ()), 1);
        assert_eq!((0..10).map(|_| pond.run_one(|_| ())).sum::<usize>(), 0, "it has been told");
        // It looks while one works, and hooks are asked about what it finds.
        pond.run_one(|plane| assert_eq!(plane.workers_wanted(), 1));
        pond.plane.note_asked(1);
        assert_eq!((0..10).map(|_| pond.run_one(|_| ())).sum::<usize>(), 0, "it is asked about");
        pond.plane.note_asked(0);
        assert_eq!(pond.run_one(|plane| assert_eq!(plane.workers_wanted(), 1)), 1, "another is wanted once more");
        assert_eq!(pond.plane.workers_wanted(), 0, "one idles");
    }

    #[test]
    fn nobody_is_told_where_no_spare_is_asked_for_or_none_can_be_started() {
        for limits in [Limits::new(0, 3), Limits::new(0, 1).min_idle(1)] {
            let mut pond = Pond::new(limits);
            assert_eq!((0..10).map(|_| pond.run_one(|_| ())).sum::<usize>(), 0, "{limits}");
        }
        let mut pond = Pond::new(Limits::new(0, 3).min_idle(1));
        pond.plane.set_cooling(2, 2, 0);
        assert_eq!(pond.run_one(|_| ()), 0, "the other slots cool down");
    }
}
