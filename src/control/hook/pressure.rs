//! What hooks are told of the flow of jobs, without anything being done for a job: control looks at counters, ten times a second as long as
//! something goes on there. The plane rings for the first look.

use std::time::Duration;

use crate::backend::Backend;
use crate::control::supervisor::Supervision;
use crate::hook::Notice;
use crate::id::By;
use crate::sync::Timestamp;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(100);
/// How long a pool has to be pressed to be called saturated. Two looks at least.
const PRESSED: Duration = Duration::from_millis(100);
/// How long a saturated pool has to be at ease to be called relieved.
const AT_EASE: Duration = Duration::from_secs(1);

/// What was seen at the last look.
#[derive(Default)]
pub(super) struct Pressure {
    /// There are hooks to be told.
    watched: bool,
    rejected: u64,
    expired: u64,
    pressed_since: Option<Timestamp>,
    at_ease_since: Option<Timestamp>,
    saturated_since: Option<Timestamp>,
    /// The next look; `None`: the bell is armed instead.
    next: Option<Timestamp>,
}

impl Pressure {
    pub(super) fn due(&self) -> Timestamp {
        self.next.unwrap_or(Timestamp::NEVER)
    }

    /// Since when the pool is saturated, as hooks are told; `None`: it is not.
    pub(super) fn saturated_since(&self) -> Option<Timestamp> {
        self.saturated_since
    }
}

impl<B: Backend> Supervision<B> {
    /// Hooks were added or removed.
    pub(in crate::control) fn mind_pressure(&mut self) {
        let watched = !self.hooks.registered.is_empty();
        if watched == self.hooks.pressure.watched {
            return;
        }
        // What was counted before is nobody's news.
        let (rejected, expired) = self.plane().turned_away();
        self.hooks.pressure = Pressure { watched, rejected, expired, ..Pressure::default() };
        self.plane().arm_bell(watched);
        if watched {
            self.on_rung();
        }
    }

    /// Something is counted for the first time since the bell was armed.
    pub(in crate::control) fn on_rung(&mut self) {
        if self.hooks.pressure.watched && self.hooks.pressure.next.is_none() {
            self.hooks.pressure.next = Some(self.now());
        }
    }

    /// Looks, if it is time to.
    pub(super) fn feel_pressure(&mut self, now: Timestamp) {
        if self.hooks.pressure.due() > now {
            return;
        }
        let calm = self.look_at_pressure(now);
        if calm {
            // Armed first and then looked at again: what comes in between either rings or is seen.
            self.plane().arm_bell(true);
            if self.is_calm() {
                self.hooks.pressure.next = None;
                return;
            }
        }
        self.hooks.pressure.next = Some(now.after(LOOK));
    }

    /// Another hook has seen that the pool is saturated. This one, which has come since, cannot know.
    pub(super) fn tell_of_saturation(&self, hook: u64) {
        if let Some(since) = self.hooks.pressure.saturated_since {
            let saturation = self.plane().saturation();
            self.tell_hook(hook, &Notice::Saturated { saturation, since }, &By::Pool);
        }
    }

    fn is_calm(&self) -> bool {
        let seen = &self.hooks.pressure;
        self.plane().turned_away() == (seen.rejected, seen.expired) && !self.plane().is_pressed()
    }

    /// True if there is nothing to come back for.
    fn look_at_pressure(&mut self, now: Timestamp) -> bool {
        let (rejected, expired) = self.plane().turned_away();
        let pressure = &mut self.hooks.pressure;
        let news = (rejected - pressure.rejected, expired - pressure.expired);
        (pressure.rejected, pressure.expired) = (rejected, expired);
        if news.0 > 0 {
            self.tell_hooks(&Notice::Rejected { jobs: news.0 }, &By::Pool);
        }
        if news.1 > 0 {
            self.tell_hooks(&Notice::Expired { jobs: news.1 }, &By::Pool);
        }
        let pressed = self.plane().is_pressed() || news.0 > 0 && self.plane().is_full();
        if let Some(edge) = self.edge(pressed, now) {
            self.tell_hooks(&edge, &By::Pool);
        }
        let pressure = &self.hooks.pressure;
        news == (0, 0) && !pressed && pressure.saturated_since.is_none()
    }

    /// Saturated or relieved, once that has lasted.
    fn edge(&mut self, pressed: bool, now: Timestamp) -> Option<Notice> {
        let saturation = self.plane().saturation();
        let pressure = &mut self.hooks.pressure;
        if pressed {
            pressure.at_ease_since = None;
            let since = *pressure.pressed_since.get_or_insert(now);
            let lasted = now.since(since) >= PRESSED && pressure.saturated_since.is_none();
            return lasted.then(|| {
                pressure.saturated_since = Some(since);
                Notice::Saturated { saturation, since }
            });
        }
        pressure.pressed_since = None;
        let saturated_since = pressure.saturated_since?;
        let at_ease_since = *pressure.at_ease_since.get_or_insert(now);
        (now.since(at_ease_since) >= AT_EASE).then(|| {
            (pressure.saturated_since, pressure.at_ease_since) = (None, None);
            Notice::Relieved { saturation, after: now.since(saturated_since) }
        })
    }
}
