//! How long this machine keeps threads from running: what a test that measures may not blame on the pool.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often the yardstick wants to run.
const TICK: Duration = Duration::from_millis(1);
/// A call to a pool goes from thread to thread, and waits for the processor each time.
const HANDOVERS: u32 = 10;

/// When the yardstick ran last, and how late it has been, all in all.
struct Late {
    ran: Instant,
    sum: Duration,
}

fn yardstick() -> &'static Mutex<Late> {
    static LATE: OnceLock<Mutex<Late>> = OnceLock::new();
    static THREAD: OnceLock<()> = OnceLock::new();
    let late = LATE.get_or_init(|| Mutex::new(Late { ran: Instant::now(), sum: Duration::ZERO }));
    THREAD.get_or_init(|| {
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(TICK);
                let mut late = late.lock();
                let by = late.ran.elapsed().saturating_sub(TICK);
                *late = Late { ran: Instant::now(), sum: late.sum + by };
            }
        });
    });
    late
}

/// For how long a thread that wanted to run was kept waiting, since the first call.
fn stalled() -> Duration {
    let late = yardstick().lock();
    // Also while it waits.
    late.sum + late.ran.elapsed().saturating_sub(TICK)
}

/// Measures a span, less what the machine is to blame for. On one that is not busy that is nearly all of it; on one that keeps threads waiting
/// for a tenth of the time nothing is left, and only what never comes at all is noticed.
pub struct Watch {
    since: Instant,
    stalled: Duration,
}

impl Watch {
    pub fn start() -> Self {
        let stalled = stalled();
        Self { since: Instant::now(), stalled }
    }

    /// What is left of the time since the start.
    pub fn net(&self) -> Duration {
        self.since.elapsed().saturating_sub((stalled() - self.stalled) * HANDOVERS)
    }
}
