//! Things that control has to look at again and again, because what happens to them tells it nothing.

use std::collections::VecDeque;

use crate::sync::Timestamp;

/// So many are looked at with each message: few enough for a message to cost the same however many there are.
const FEW: usize = 64;

/// They are looked at in turn: new ones at once, some with each message, and all when a round is due. A round is gone through in passes. Where the
/// clock stands still no round comes due by itself: there all are looked at after each message, a few in a pass.
pub(super) struct Ring<T> {
    fresh: VecDeque<T>,
    waiting: VecDeque<T>,
    /// So many of those that wait have not been looked at in the round under way.
    left: usize,
    /// So many are to be looked at on the way, without a round.
    owed: usize,
    /// When the next round begins.
    round_at: Timestamp,
}

/// How many a message looks at beyond what is due.
pub(super) struct Looks(usize);

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { fresh: VecDeque::new(), waiting: VecDeque::new(), left: 0, owed: 0, round_at: Timestamp::NEVER }
    }
}

impl<T> Ring<T> {
    pub(super) fn add(&mut self, new: T) {
        self.fresh.push_back(new);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.waiting.is_empty()
    }

    /// A round begins with the next pass, or behind the one that is under way.
    pub(super) fn begin_round(&mut self, now: Timestamp) {
        self.round_at = now;
    }

    /// A message has come, on a clock that stands still.
    pub(super) fn look_at_all(&mut self) {
        self.owed = self.waiting.len();
    }

    /// A pass begins.
    pub(super) fn begin(&mut self, now: Timestamp) -> Looks {
        if self.left == 0 && self.round_at <= now {
            (self.left, self.round_at) = (self.waiting.len(), Timestamp::NEVER);
        }
        Looks(FEW.min(self.waiting.len()))
    }

    /// The next one that is to be looked at in this pass, and then dropped or [kept](Self::keep).
    pub(super) fn next(&mut self, looks: &mut Looks) -> Option<T> {
        if let Some(fresh) = self.fresh.pop_front() {
            return Some(fresh);
        }
        if self.left == 0 && looks.0 == 0 {
            return None;
        }
        for looks in [&mut self.left, &mut self.owed, &mut looks.0] {
            *looks = looks.saturating_sub(1);
        }
        self.waiting.pop_front()
    }

    /// It is looked at again at `at`, at the latest.
    pub(super) fn keep(&mut self, it: T, at: Timestamp) {
        self.waiting.push_back(it);
        self.round_at = self.round_at.min(at);
    }

    /// True if what is due by `now` did not fit into the pass: a round that came due while another one was under way, too.
    pub(super) fn is_behind(&self, now: Timestamp) -> bool {
        self.left > 0 || self.owed > 0 || !self.fresh.is_empty() || self.round_at <= now
    }

    /// When the next round is due.
    pub(super) fn next_round(&self) -> Timestamp {
        self.round_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Timestamp = Timestamp::from_nanos(10);

    fn pass(ring: &mut Ring<u32>, now: Timestamp, most: usize) -> Vec<u32> {
        let mut looks = ring.begin(now);
        let mut seen = Vec::new();
        while seen.len() < most
            && let Some(it) = ring.next(&mut looks)
        {
            seen.push(it);
            ring.keep(it, LATER);
        }
        seen
    }

    #[test]
    fn a_message_looks_at_few_and_a_round_at_all() {
        let mut ring = Ring::default();
        (0..1_000).for_each(|it| ring.add(it));
        let now = Timestamp::default();
        assert_eq!(pass(&mut ring, now, 600).len(), 600, "what is new is looked at, as far as the pass goes");
        assert!(ring.is_behind(now));
        assert_eq!(pass(&mut ring, now, 600).len(), 400 + FEW);
        assert!(!ring.is_behind(now));
        assert_eq!(pass(&mut ring, now, 600).len(), FEW);
        let mut round = pass(&mut ring, LATER, 600);
        assert!(ring.is_behind(LATER));
        round.extend(pass(&mut ring, LATER, 600));
        round.truncate(1_000);
        round.sort_unstable();
        assert!(round.into_iter().eq(0..1_000), "each once");
    }

    #[test]
    fn a_round_that_is_asked_for_comes_before_it_is_due() {
        let mut ring = Ring::default();
        (0..200).for_each(|it| ring.add(it));
        let now = Timestamp::default();
        assert_eq!(pass(&mut ring, now, 200).len(), 200);
        ring.begin_round(now);
        assert_eq!(ring.next_round(), now);
        assert_eq!(pass(&mut ring, now, 150).len(), 150);
        // One round is under way: another one begins behind it.
        ring.begin_round(now);
        assert_eq!(pass(&mut ring, now, 50).len(), 50);
        assert!(ring.is_behind(now), "nobody but a message of ours is certain to come");
        assert_eq!(pass(&mut ring, now, 1_000).len(), 200);
        assert_eq!(ring.next_round(), LATER);
        assert!(!ring.is_behind(now));
    }

    #[test]
    fn where_no_time_passes_each_is_looked_at_after_a_message() {
        let mut ring = Ring::default();
        (0..200).for_each(|it| ring.add(it));
        let now = Timestamp::default();
        assert_eq!(pass(&mut ring, now, 1_000).len(), 200);
        assert!(!ring.is_behind(now));
        ring.look_at_all();
        let passes: Vec<_> = std::iter::repeat_with(|| ring.is_behind(now).then(|| pass(&mut ring, now, 1_000)))
            .map_while(|seen| seen)
            .collect();
        assert!(passes.iter().all(|seen| seen.len() <= FEW) && passes.len() == 4, "a few at a time");
        let mut seen: Vec<_> = passes.concat();
        seen.truncate(200);
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..200), "each once");
    }

    #[test]
    fn of_few_each_is_looked_at_once_with_each_message() {
        let mut ring = Ring::default();
        (0..5).for_each(|it| ring.add(it));
        for _ in 0..3 {
            assert_eq!(pass(&mut ring, Timestamp::default(), 100), [0, 1, 2, 3, 4]);
        }
        assert_eq!(ring.next_round(), LATER);
    }
}
