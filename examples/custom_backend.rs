//! A kind of pool of your own: jobs that run in steps, one after the other, on one thread a worker. Between two steps a worker can be taken from its job, which no
//! thread that runs a closure can. Admission, lanes, inventory, the ladder, restarts and shutdown come with `Pool<Steps>`; whether they can rely on
//! this backend, millpond's own suite says at the end.
//!
//! `cargo run --features testing --example custom_backend`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millpond::testing::conformance::{AfterCrash, Subject, Tether, run_all};
use millpond::{
    Backend, Capabilities, Claim, Executor, Facts, Hosts, JobCell, JobContext, JobError, JoinError, KillOutcome,
    KillReach, Ladder, Limits, PoolBuilder, PoolExecutor, Select, Share, StartError, Started, TimeLimit, WorkerContext,
    WorkerControl,
};
use ractor::ActorCell;

/// What a job here is: something that gets on by one step, and at the last one has its result.
trait Machine: Send + 'static {
    fn step(&mut self) -> Option<u64>;
}

impl<F: FnMut() -> Option<u64> + Send + 'static> Machine for F {
    fn step(&mut self) -> Option<u64> {
        self()
    }
}

type Job = Box<dyn Machine>;

/// A machine in its cell. As a future, each poll of which is a step, it is run by [`JobCell::poll`], which catches its panics and writes its outcome.
struct Stepped(Job);

impl Future for Stepped {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<u64> {
        self.0.step().map_or(Poll::Pending, Poll::Ready)
    }
}

type Cell = JobCell<Stepped, u64>;

/// The backend.
struct Steps;

/// Control's grip on one worker: it sees that between two steps.
struct Grip(Arc<AtomicBool>);

impl WorkerControl for Grip {
    fn kill(&self) -> KillOutcome {
        self.0.store(true, Ordering::Release);
        KillOutcome::Signalled
    }
}

/// How a job left its worker.
enum Left {
    Well,
    Panicked,
    Killed,
}

/// Runs a job to its end, or to the step at which its worker is taken: then it is dropped here, and its outcome says who did that.
fn run(claim: Claim<'_, Cell>, killed: &AtomicBool) -> Left {
    let mut steps = pin!(claim.poll_run(|cell, key, cx| cell.poll(key, cx)));
    while !killed.load(Ordering::Acquire) {
        if let Poll::Ready(panicked) = steps.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return if panicked { Left::Panicked } else { Left::Well };
        }
    }
    Left::Killed
}

/// A worker's life. Whatever way it ends, the drop of its context says so.
fn work(mut cx: WorkerContext<Cell>, killed: &AtomicBool) {
    loop {
        let Some(claim) = cx.next_blocking() else { return };
        let left = run(claim, killed);
        match left {
            Left::Well => {}
            // A fault: the restart policy decides about the next one.
            Left::Panicked => return cx.condemn(),
            Left::Killed => return,
        }
    }
}

impl Backend for Steps {
    type Job = Cell;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("step pool", KillReach::AtYield)
    }

    #[allow(clippy::disallowed_methods, reason = "a backend is a home of threads")]
    fn start(&self, cx: WorkerContext<Cell>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        let name = format!("{}-{}", cx.pool(), cx.worker());
        let mut facts = Facts::default();
        facts.thread = Some(Arc::from(name.as_str()));
        cx.set_facts(facts);
        let killed = Arc::new(AtomicBool::new(false));
        let grip = Grip(killed.clone());
        let thread = std::thread::Builder::new().name(name);
        // A spawn that is refused drops the context, so that nobody is there.
        thread.spawn(move || work(cx, &killed)).map_err(StartError::Refused)?;
        Ok(Started::kept(grip))
    }
}

impl Hosts<Job> for Steps {
    type Output = u64;
    type Payload = Stepped;

    fn wrap(job: Job) -> Stepped {
        Stepped(job)
    }

    fn unwrap(Stepped(job): Stepped) -> Job {
        job
    }

    fn erase(cell: Share<Cell>) -> Share<Cell> {
        cell
    }
}

/// How many steps it takes from `n` down to 1, if there is a way.
fn collatz(mut n: u64) -> Job {
    let mut steps = 0;
    Box::new(move || {
        if n == 1 {
            return Some(steps);
        }
        (n, steps) = (if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 }, steps + 1);
        None
    })
}

/// What the suite looks at it with.
struct StepsOnTrial;

/// A machine that runs until its tether is cut, which it looks at once a step.
fn until_cut(tether: Tether, mut each_step: impl FnMut() -> bool + Send + 'static) -> Job {
    Box::new(move || (tether.wait(Duration::from_millis(1)) || each_step()).then_some(0))
}

impl Subject for StepsOnTrial {
    type Backend = Steps;
    type Job = Job;

    fn builder(&self, name: &str) -> PoolBuilder<Steps> {
        PoolBuilder::new(name, Steps)
    }

    fn returns(&self, number: u64) -> Job {
        Box::new(move || Some(number))
    }

    fn number(&self, output: u64) -> u64 {
        output
    }

    fn beats(&self, tether: Tether) -> Job {
        until_cut(tether, || {
            let job = JobContext::current().expect("a step is a job's");
            job.beat();
            job.is_cancelled()
        })
    }

    fn ignores(&self, tether: Tether) -> Job {
        until_cut(tether, || false)
    }

    fn crashes(&self) -> Job {
        Box::new(|| panic!("as the suite wants it"))
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::EndsWorker
    }

    /// All in one step.
    fn out_of_reach(&self, tether: Tether) -> Option<Job> {
        Some(Box::new(move || {
            while !tether.wait(Duration::from_secs(1)) {}
            Some(0)
        }))
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = PoolBuilder::new("collatz", Steps).limits(Limits::fixed(2)).build()?;
    assert_eq!(pool.submit_blocking(collatz(27))?.join()?, 111);

    // From 0 there is no way. A closure that loops like that would have its thread for ever.
    let endless = pool.submit_blocking(collatz(0))?;
    let report = pool.blocking().terminate(Select::job(endless.id()), Ladder::kill(), TimeLimit::default())?;
    println!("{report}\n{}\n", pool.inventory_now());
    assert!(matches!(endless.join(), Err(JoinError::Job(JobError::Killed(_)))));

    println!("(The suite makes jobs panic: what follows of that is to be seen on stderr.)");
    let report = run_all(&StepsOnTrial);
    println!("{report}");
    assert!(report.holds());
    Ok(())
}
