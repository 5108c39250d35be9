//! The arithmetic of lanes, pure: DESIGN.md, section 2.

/// What one lane has at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seats {
    pub(crate) busy: usize,
    pub(crate) reserve: usize,
    pub(crate) queued: usize,
    pub(crate) capacity: usize,
    /// Places promised to waiters.
    pub(crate) granted: usize,
}

impl Seats {
    fn shortfall(&self) -> usize {
        self.reserve.saturating_sub(self.busy)
    }

    /// Places that are taken: by jobs, and by those who were promised one.
    fn taken(&self) -> usize {
        self.queued + self.granted
    }
}

/// Seats that lanes other than `lane` have a right to and do not use.
fn shortfall_of_others(lanes: &[Seats], lane: usize) -> usize {
    lanes.iter().enumerate().filter(|&(other, _)| other != lane).map(|(_, seats)| seats.shortfall()).sum()
}

/// How many more jobs of `lane` may start, with `seats` seats in existence.
pub(crate) fn startable(lanes: &[Seats], lane: usize, seats: usize) -> usize {
    let busy: usize = lanes.iter().map(|seats| seats.busy).sum();
    seats.saturating_sub(busy + shortfall_of_others(lanes, lane))
}

/// How many more jobs `lane` may admit.
pub(crate) fn room(lanes: &[Seats], lane: usize, seats: usize) -> usize {
    // What another lane takes of its own reserve is none of this lane's to begin with.
    let beyond = |other: usize| {
        lanes[other].taken().min(startable(lanes, other, seats)).saturating_sub(lanes[other].shortfall())
    };
    let others: usize = (0..lanes.len()).filter(|&other| other != lane).map(beyond).sum();
    let own = &lanes[lane];
    let hand_over = startable(lanes, lane, seats).saturating_sub(others);
    own.capacity.saturating_add(hand_over).saturating_sub(own.taken())
}

#[cfg(all(test, not(millpond_loom)))]
mod tests {
    use super::*;

    fn lane(busy: usize, reserve: usize, queued: usize, capacity: usize) -> Seats {
        Seats { busy, reserve, queued, capacity, granted: 0 }
    }

    #[test]
    fn a_reserve_is_never_taken_by_another_lane() {
        let lanes = [lane(5, 0, 55, 100), lane(0, 1, 0, 10)];
        assert_eq!(startable(&lanes, 0, 6), 0);
        assert_eq!(startable(&lanes, 1, 6), 1);
        // The reserve is used: the lane may take more only of what is left.
        let lanes = [lane(3, 0, 0, 100), lane(1, 1, 0, 10)];
        assert_eq!((startable(&lanes, 0, 6), startable(&lanes, 1, 6)), (2, 2));
    }

    #[test]
    fn capacity_zero_admits_one_job_for_each_free_seat() {
        assert_eq!(room(&[lane(0, 0, 0, 0)], 0, 2), 2);
        assert_eq!(room(&[lane(0, 0, 1, 0)], 0, 2), 1);
        assert_eq!(room(&[lane(1, 0, 1, 0)], 0, 2), 0);
        // A reserved seat is there for a lane without a queue, however long the others' queues are.
        assert_eq!(room(&[lane(5, 0, 55, 60), lane(0, 1, 0, 0)], 1, 6), 1);
    }

    #[test]
    fn a_seat_that_is_promised_to_one_lane_is_not_promised_to_another() {
        let promised = Seats { granted: 1, ..lane(0, 0, 0, 0) };
        assert_eq!(room(&[promised, lane(0, 0, 0, 0)], 1, 1), 0);
        assert_eq!(room(&[promised, lane(0, 0, 0, 0)], 1, 2), 1);
    }

    #[test]
    fn a_reserved_seat_that_its_lane_uses_is_not_taken_from_the_others_twice() {
        // Two seats, one reserved: a job of each lane has its own.
        assert_eq!(room(&[lane(0, 0, 0, 0), lane(0, 1, 1, 0)], 0, 2), 1);
        // The second job of the reserved lane wants the seat that is for all.
        assert_eq!(room(&[lane(0, 0, 0, 0), lane(0, 1, 2, 0)], 0, 2), 0);
    }

    #[test]
    fn whatever_is_handed_over_can_start_and_no_seat_is_left_out() {
        const SEATS: usize = 4;
        for reserves in (0..27).map(|n| [n % 3, n / 3 % 3, n / 9]).filter(|r| r.iter().sum::<usize>() <= SEATS) {
            // Every order in which jobs of three lanes can come.
            for order in 0..3_usize.pow(6) {
                let mut lanes = reserves.map(|reserve| lane(0, reserve, 0, 0));
                for step in 0..6 {
                    let comes = order / 3_usize.pow(step) % 3;
                    lanes[comes].queued += room(&lanes, comes, SEATS).min(1);
                }
                let admitted: usize = lanes.iter().map(|lane| lane.queued).sum();
                let room_left = (0..3).map(|lane| room(&lanes, lane, SEATS)).max().unwrap();
                assert!(admitted == SEATS || room_left > 0, "{lanes:?}");
                for started in 0..admitted {
                    let next = (0..3).find(|&next| lanes[next].queued > 0 && startable(&lanes, next, SEATS) > 0);
                    let next = next.unwrap_or_else(|| panic!("{started} of {admitted} started: {lanes:?}"));
                    (lanes[next].queued, lanes[next].busy) = (lanes[next].queued - 1, lanes[next].busy + 1);
                }
            }
        }
    }

    #[test]
    fn a_pool_of_n_with_capacity_c_admits_n_plus_c() {
        for taken in 0..=3 {
            // However many of the admitted jobs workers have taken by now.
            assert_eq!(room(&[lane(taken, 0, 5 - taken, 2)], 0, 3), 0);
            assert_eq!(room(&[lane(taken, 0, 4 - taken, 2)], 0, 3), 1);
        }
    }

    #[test]
    fn taking_a_job_never_makes_another_lane_startable() {
        for busy in 0..6 {
            for other in 0..6 {
                for reserve in 0..3 {
                    let before = [lane(busy, 0, 1, 9), lane(other, reserve, 1, 9)];
                    let after = [lane(busy + 1, 0, 0, 9), lane(other, reserve, 1, 9)];
                    assert!(startable(&after, 1, 6) <= startable(&before, 1, 6));
                    let after = [lane(busy, 0, 1, 9), lane(other + 1, reserve, 0, 9)];
                    assert!(startable(&after, 0, 6) <= startable(&before, 0, 6));
                }
            }
        }
    }
}
