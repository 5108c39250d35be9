//! A job of any kind: what a closure, a future and a message do alike.

use std::any::Any;
use std::pin::Pin;
use std::time::Duration;

use millpond::JobContext;

use crate::latch::{Latch, Meter};

/// Something that is dropped with what holds it.
pub type Cargo = Box<dyn Any + Send>;

/// How often a job that beats does.
const BEAT: Duration = Duration::from_millis(5);

/// How often one that holds its thread looks whether anybody is still there.
const LOOK: Duration = Duration::from_millis(5);

/// What a job gives.
pub struct Output {
    pub value: u64,
    pub cargo: Option<Cargo>,
}

/// How a job waits.
enum Hold {
    No,
    /// As its kind does: a thread blocks, a task awaits.
    Until(Latch),
    /// Blocks its thread on every kind: no kill reaches it.
    Block(Latch),
    /// The same, with a beat every so often.
    Beating(Latch),
    /// Until it is asked to stop.
    Cancelled,
}

/// Whom a job talks to while it holds its thread.
pub trait Host {
    fn beat(&self);
    fn is_cancelled(&self) -> bool;
    /// True once nobody can want the result any more.
    fn is_gone(&self) -> bool;
}

/// A worker of this process, which stays until its job has ended.
struct Here(JobContext);

impl Host for Here {
    fn beat(&self) {
        self.0.beat();
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn is_gone(&self) -> bool {
        false
    }
}

/// What a job does after its wait, as its kind does it; gives its value.
pub struct Then {
    pub block: Box<dyn FnOnce() -> u64 + Send>,
    pub wait: Pin<Box<dyn Future<Output = u64> + Send>>,
}

/// A job of any kind.
pub struct Work {
    begin: Box<dyn FnOnce() -> Option<Cargo> + Send>,
    hold: Hold,
    output: Output,
    cargo: Option<Cargo>,
    panics: bool,
    then: Option<Then>,
}

impl Work {
    /// Ends at once, with this value.
    pub fn value(value: u64) -> Self {
        let output = Output { value, cargo: None };
        Self { begin: Box::new(|| None), hold: Hold::No, output, cargo: None, panics: false, then: None }
    }

    /// Runs `begin` first, and keeps what it gives until the job ends.
    pub fn begin<G: Send + 'static>(mut self, begin: impl FnOnce() -> G + Send + 'static) -> Self {
        self.begin = Box::new(move || Some(Box::new(begin())));
        self
    }

    /// Counted by `meter` while it runs.
    pub fn counted(self, meter: &Meter) -> Self {
        let meter = meter.clone();
        self.begin(move || meter.enter())
    }

    pub fn until(mut self, latch: &Latch) -> Self {
        self.hold = Hold::Until(latch.clone());
        self
    }

    pub fn block(mut self, latch: &Latch) -> Self {
        self.hold = Hold::Block(latch.clone());
        self
    }

    /// Says all the while that it progresses.
    pub fn beating_until(mut self, latch: &Latch) -> Self {
        self.hold = Hold::Beating(latch.clone());
        self
    }

    pub fn until_cancelled(mut self) -> Self {
        self.hold = Hold::Cancelled;
        self
    }

    /// Is dropped with the job's payload: when it ends, or when it is discarded unrun.
    pub fn cargo(mut self, cargo: impl Any + Send) -> Self {
        self.cargo = Some(Box::new(cargo));
        self
    }

    /// Is part of the output.
    pub fn output_cargo(mut self, cargo: impl Any + Send) -> Self {
        self.output.cargo = Some(Box::new(cargo));
        self
    }

    pub fn then(mut self, then: Then) -> Self {
        self.then = Some(then);
        self
    }

    /// Blocks its thread for what comes after its wait, where it would await it.
    #[cfg(any(feature = "interpreter", feature = "lua"))]
    pub fn then_blocking(mut self) -> Self {
        self.then = self.then.map(|Then { block, .. }| Then {
            block: Box::new(|| unreachable!("it is polled")),
            wait: Box::pin(async move { block() }),
        });
        self
    }

    /// Panics when it would end.
    pub fn panics(mut self) -> Self {
        self.panics = true;
        self
    }

    pub fn run(self) -> Output {
        let me = JobContext::current().expect("inside a job");
        self.run_for(&Here(me))
    }

    pub fn run_for(self, host: &dyn Host) -> Output {
        let Self { begin, hold, mut output, cargo, panics, then } = self;
        let (_inside, _cargo) = (begin(), cargo);
        match hold {
            Hold::No => {}
            Hold::Until(latch) | Hold::Block(latch) => while !latch.block_for(LOOK) && !host.is_gone() {},
            Hold::Beating(latch) => {
                while !latch.block_for(BEAT) && !host.is_gone() {
                    host.beat();
                }
            }
            Hold::Cancelled => {
                while !host.is_cancelled() && !host.is_gone() {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
        if let Some(then) = then {
            output.value = (then.block)();
        }
        assert!(!panics, "as it was told");
        output
    }

    pub async fn run_async(self) -> Output {
        let Self { begin, hold, mut output, cargo, panics, then } = self;
        let (_inside, _cargo) = (begin(), cargo);
        match hold {
            Hold::No => {}
            Hold::Until(latch) => latch.wait().await,
            Hold::Block(latch) => latch.block(),
            Hold::Beating(latch) => {
                let me = JobContext::current().expect("inside a job");
                while tokio::time::timeout(BEAT, latch.wait()).await.is_err() {
                    me.beat();
                }
            }
            Hold::Cancelled => {
                let me = JobContext::current().expect("inside a job").cancellation();
                me.cancelled().await;
            }
        }
        if let Some(then) = then {
            output.value = then.wait.await;
        }
        assert!(!panics, "as it was told");
        output
    }
}
