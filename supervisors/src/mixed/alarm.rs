//! Moments that somebody waits for, at the gate or for the end: the pool's thread, on which no user's code runs, tells when they are there.

use std::task::Context;

use millpond::Timestamp;

use super::guard::{Note, guarded};
use super::pool::Shared;

impl<J: Send + 'static, T: Send + 'static> Shared<J, T> {
    /// A moment that is waited for.
    pub(super) fn alarm(&self, at: Timestamp) -> Alarm<'_, J, T> {
        let mut state = self.state.lock();
        state.last_alarm += 1;
        Alarm { shared: self, number: state.last_alarm, at }
    }
}

/// See [`Shared::alarm`].
pub(super) struct Alarm<'a, J, T> {
    shared: &'a Shared<J, T>,
    number: u64,
    at: Timestamp,
}

impl<J: Send + 'static, T: Send + 'static> Alarm<'_, J, T> {
    /// True once it is over; until then the pool's thread tells when it is.
    pub(super) fn poll(&self, cx: &Context<'_>) -> bool {
        if self.shared.clock.now() >= self.at {
            return true;
        }
        if self.at != Timestamp::NEVER {
            let alarm = (self.at, guarded(cx.waker()));
            let before = self.shared.state.lock().alarms.insert(self.number, alarm);
            drop(before);
            self.shared.book.mailbox.post(Note::Look);
        }
        false
    }
}

impl<J, T> Drop for Alarm<'_, J, T> {
    fn drop(&mut self) {
        let before = self.shared.state.lock().alarms.remove(&self.number);
        drop(before);
    }
}
