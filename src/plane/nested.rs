//! The plane, as the graph of nested waits sees it.

use smallvec::SmallVec;

#[cfg(not(millpond_loom))]
use super::worker::SPINS;
use super::{Plane, Signal};
use crate::error::Deadlock;
use crate::id::LaneId;
#[cfg(not(millpond_loom))]
use crate::job::Header;
use crate::job::{Envelope, Recalls, Share};
use crate::lane::{self, Seats};
use crate::sync::{Arc, Ordering};

impl<J: ?Sized + Envelope> Recalls for Plane<J> {
    fn name(&self) -> Arc<str> {
        self.config.name.clone()
    }

    fn lane_name(&self, lane: LaneId) -> Arc<str> {
        self.lane(lane).spec.name.clone()
    }

    fn is_plain(&self) -> bool {
        !self.has_reserves()
    }

    fn could_start(&self, lane: LaneId, held: &[usize], abandoned: usize) -> bool {
        // Each seat up to the limit may have a worker some time, but for slots that are given up for good, until an operator says otherwise, and
        // for abandoned workers beyond the cap that never return. Those that are there may still take a job before they leave; without the
        // lock, one that goes from one state to the next would count twice.
        let ready = self.ready.lock();
        let inbox = self.inbox.lock();
        let blocked = abandoned.saturating_sub(self.abandoned_cap()) + self.given_up.load(Ordering::Acquire);
        let seats = self.max().saturating_sub(blocked).max(self.counts.live());
        let busy = |index: usize| held.get(index).copied().unwrap_or(0);
        let lanes = self.lanes.iter().enumerate();
        let lanes: SmallVec<[Seats; 4]> = lanes
            .map(|(index, lane)| Seats { busy: busy(index), reserve: lane.spec.reserve(), ..Seats::default() })
            .collect();
        drop((inbox, ready));
        lane::startable(&lanes, lane.index(), seats) > 0
    }

    fn report(&self, deadlock: &Arc<Deadlock>) {
        self.port.signal(Signal::Deadlock(deadlock.clone()));
    }

    fn recall(&self, job: &Share<dyn Envelope>) {
        // Whether a worker was quicker makes no difference to whoever asked.
        let _ = self.cancel(job, "its handle");
    }

    fn would_block(&self) -> bool {
        self.port.would_block()
    }

    #[cfg(not(millpond_loom))]
    fn spin_for(&self, job: &Header) {
        let jobs = self.counts.busy() as u64 + self.all_queued();
        if jobs > 1 || self.listener.swap(true, Ordering::AcqRel) {
            return;
        }
        for _ in 0..SPINS {
            if job.is_done() {
                break;
            }
            std::hint::spin_loop();
        }
        self.listener.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use super::*;
    use crate::config::{Limits, PoolConfig};
    use crate::job::JobCell;
    use crate::plane::tests::Demands;

    const LANE: LaneId = LaneId(0);

    fn plane(workers: usize) -> Arc<Plane<JobCell<(), ()>>> {
        let limits = Limits::fixed(workers);
        Plane::new(PoolConfig { limits, ..PoolConfig::new("nested") }, Box::<Demands>::default())
    }

    #[test]
    fn a_slot_that_is_given_up_for_good_is_no_seat_and_one_that_comes_back_is() {
        let plane = plane(3);
        plane.set_cooling(2, 2, 1);
        assert!(plane.could_start(LANE, &[1], 0), "one of the two backs off");
        assert!(!plane.could_start(LANE, &[2], 0));
        plane.set_cooling(0, 0, 0);
        assert!(plane.could_start(LANE, &[2], 0));
    }

    /// Which slots are beyond a lowered limit only control knows, and it says so after the limit is in force: until then, no wait is ended for a
    /// slot that may be one of those.
    #[test]
    fn a_shrink_may_have_taken_the_slots_that_were_given_up() {
        let plane = plane(4);
        plane.set_cooling(2, 2, 2);
        plane.resize(Limits::fixed(3)).expect("it is sound");
        assert!(plane.could_start(LANE, &[1], 0) && !plane.could_start(LANE, &[2], 0));
        plane.resize(Limits::fixed(1)).expect("it is sound");
        assert!(plane.could_start(LANE, &[0], 0));
        plane.resize(Limits::fixed(4)).expect("it is sound");
        assert!(plane.could_start(LANE, &[3], 0));
    }
}
