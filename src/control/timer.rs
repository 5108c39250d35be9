//! The one control thread of the process, and the one timer on it.

use std::thread::ThreadId;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

use crate::job::catch;
use crate::plane::Alarm;
use crate::sync::{Arc, AtomicU64, Clock, Mutex, OnceLock, Ordering, Ticks, Timestamp, Weak};

/// A plane, as the timer sees it.
pub(crate) trait Timed: Ticks {
    /// When it next wants a tick; [`Timestamp::NEVER`] if nothing is due.
    fn next_tick(&self) -> Timestamp;
}

struct Timer {
    runtime: Handle,
    /// The control thread.
    thread: ThreadId,
    planes: Mutex<Vec<Weak<dyn Timed>>>,
    changed: Notify,
    /// When the timer means to wake; `u64::MAX` while it looks, so that whoever is early in that moment wakes it again.
    sleeps_until: AtomicU64,
}

static TIMER: OnceLock<Timer> = OnceLock::new();
static STARTING: Mutex<()> = parking_lot::const_mutex(());

/// The runtime of the control thread, started on first use.
pub(crate) fn control_runtime() -> std::io::Result<&'static Handle> {
    Ok(&timer()?.runtime)
}

#[expect(clippy::disallowed_methods, reason = "the home of the control thread")]
fn timer() -> std::io::Result<&'static Timer> {
    if let Some(timer) = TIMER.get() {
        return Ok(timer);
    }
    // One thread at most: a second caller waits for the first, which runs no code but ours.
    let _starting = STARTING.lock();
    if let Some(timer) = TIMER.get() {
        return Ok(timer);
    }
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let handle = runtime.handle().clone();
    let control = std::thread::Builder::new().name("millpond-control".to_owned());
    let control = control.spawn(move || runtime.block_on(run()))?;
    Ok(TIMER.get_or_init(|| Timer {
        runtime: handle,
        thread: control.thread().id(),
        planes: Mutex::new(Vec::new()),
        changed: Notify::new(),
        sleeps_until: AtomicU64::new(u64::MAX),
    }))
}

/// Has `plane` ticked whenever it wants to be.
pub(crate) fn register(plane: Weak<dyn Timed>) {
    if let Some(timer) = TIMER.get() {
        timer.planes.lock().push(plane);
        timer.changed.notify_one();
    }
}

/// Some plane wants a tick at `at`.
pub(crate) fn alarm(at: Timestamp) {
    if let Some(timer) = TIMER.get()
        && at.as_nanos() < timer.sleeps_until.load(Ordering::Acquire)
    {
        timer.changed.notify_one();
    }
}

/// Rings an alarm after `span`, for those who wait for a pool whose clock they do not know yet.
pub(crate) fn alarm_after(span: Duration) -> std::io::Result<Arc<Alarm>> {
    let alarm = Arc::new(Alarm::default());
    let rung = alarm.clone();
    #[expect(clippy::disallowed_methods, reason = "the home of sleeping: the timer")]
    timer()?.runtime.spawn(async move {
        tokio::time::sleep(span).await;
        rung.ring();
    });
    Ok(alarm)
}

/// How long one pool may take the control thread before all others have their turn.
const PASS: Duration = Duration::from_millis(1);

/// Something that may be much, while it is done. On a settable clock none takes any time, so that all is done in one pass.
pub(super) struct Pass {
    clock: Clock,
    until: Timestamp,
}

impl Pass {
    pub(super) fn begin(clock: &Clock) -> Self {
        Self { clock: clock.clone(), until: clock.now().after(PASS) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.clock.now() >= self.until
    }
}

/// Does work that may be much, a pass at a time until one says that nothing is left, and then `done`: in one go, but on the control
/// thread, which has all pools to look after between two passes. What is done in one pass is done when this returns.
pub(super) fn in_passes(mut pass: impl FnMut() -> bool + Send + 'static, done: impl FnOnce() + Send + 'static) {
    let Some(timer) = TIMER.get().filter(|timer| timer.thread == std::thread::current().id()) else {
        while pass() {}
        return done();
    };
    if !pass() {
        return done();
    }
    #[expect(clippy::disallowed_methods, reason = "a home of spawning: the control plane")]
    timer.runtime.spawn(async move {
        loop {
            tokio::task::yield_now().await;
            if !pass() {
                return done();
            }
        }
    });
}

/// Has `look` called on the control thread every so often, until it says that this is enough.
pub(super) fn every(span: Duration, mut look: impl FnMut() -> bool + Send + 'static) -> std::io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the home of sleeping: the timer")]
    timer()?.runtime.spawn(async move {
        loop {
            tokio::time::sleep(span).await;
            if !look() {
                return;
            }
        }
    });
    Ok(())
}

/// Longer than this the timer does not sleep: deadlines further off are looked at again.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

async fn run() {
    let clock = Clock::real();
    let timer = loop {
        if let Some(timer) = TIMER.get() {
            break timer;
        }
        // The starter is about to store it, on another thread.
        tokio::task::yield_now().await;
    };
    loop {
        timer.sleeps_until.store(u64::MAX, Ordering::Release);
        let next = tick_all(timer, &clock).await;
        let sleep = next.since(clock.now()).min(LONGEST_SLEEP);
        if sleep.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        timer.sleeps_until.store(next.as_nanos(), Ordering::Release);
        // A plane that became due before the store found `u64::MAX` there, or an earlier time, and has notified.
        #[expect(clippy::disallowed_methods, reason = "the home of sleeping: the timer")]
        let slept = tokio::time::timeout(sleep, timer.changed.notified()).await;
        // Woken or slept: either way everything is looked at.
        drop(slept);
    }
}

/// One pass over every plane on the real clock; when the next is wanted. A plane that has more to do than one pass may take gets
/// another when all others, and the supervisors, have had their turn.
async fn tick_all(timer: &Timer, clock: &Clock) -> Timestamp {
    let planes: Vec<Arc<dyn Timed>> = {
        let mut planes = timer.planes.lock();
        planes.retain(|plane| plane.strong_count() > 0);
        planes.iter().filter_map(Weak::upgrade).collect()
    };
    let mut next = Timestamp::NEVER;
    for plane in planes {
        let now = clock.now();
        if plane.next_tick() <= now {
            // One pool's tick that fails is not to end the time of all others.
            if let Err(caught) = catch(|| plane.tick(now)) {
                tracing::error!("a pool's tick panicked: {}", caught.message);
            }
        }
        let wanted = plane.next_tick();
        next = next.min(wanted);
        if wanted <= now {
            tokio::task::yield_now().await;
        }
    }
    next
}
