//! Workers that end by a fault, and starts that fail, on every kind of pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::{
    Actors, Backend, Executor, JobHandle, KillOutcome, Pool, PoolBuilder, PoolExecutor, StartError, Started, Tasks,
    Threads, WorkerContext, WorkerControl,
};
use ractor::ActorCell;

use crate::forwards::{forwards, hosts_the_same};
use crate::kinds::{Ground, Hand, Kind, OnActors, OnTasks, OnThreads, Output, Work, failure};
use crate::latch::Meter;
use crate::patience::eventually;

/// What becomes of the starts to come.
#[derive(Default)]
pub struct Starts {
    tried: AtomicUsize,
    refused: AtomicUsize,
    dead: AtomicUsize,
}

impl Starts {
    /// How many there were.
    pub fn tried(&self) -> usize {
        self.tried.load(Ordering::Acquire)
    }

    /// The system refuses so many.
    pub fn refuse(&self, starts: usize) {
        self.refused.store(starts, Ordering::Release);
    }

    /// So many start and are dead at once.
    pub fn kill(&self, starts: usize) {
        self.dead.store(starts, Ordering::Release);
    }
}

fn one_of(starts: &AtomicUsize) -> bool {
    starts.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}

/// Any kind of pool, whose starts fail when they are told to.
pub struct Mortals<B>(B, Arc<Starts>);

/// The pool of a kind with such starts.
pub type MortalPool<K> = Pool<Mortals<<K as Kind>::Backend>>;

struct Corpse;

impl WorkerControl for Corpse {
    fn kill(&self) -> KillOutcome {
        KillOutcome::Signalled
    }
}

impl<B: Backend> Backend for Mortals<B> {
    type Job = B::Job;

    fn start(&self, cx: WorkerContext<B::Job>, supervisor: &ActorCell) -> Result<Started, StartError> {
        self.1.tried.fetch_add(1, Ordering::AcqRel);
        if one_of(&self.1.refused) {
            return Err(StartError::Refused(std::io::ErrorKind::WouldBlock.into()));
        }
        if one_of(&self.1.dead) {
            drop(cx);
            return Ok(Started::kept(Corpse));
        }
        self.0.start(cx, supervisor)
    }

    forwards!(0: capabilities, prepare, host_gone, would_block);
}

hosts_the_same!(Mortals);

/// A kind whose workers can have a fault.
pub trait Mortal: Kind {
    /// Ends its workers by their jobs' panics, if those do that on this kind.
    const DIES_OF_A_PANIC: bool = true;

    fn backend(ground: &Ground) -> Self::Backend;

    fn mortal(name: &str, ground: &Ground, starts: &Arc<Starts>) -> PoolBuilder<Mortals<Self::Backend>> {
        let backend = Mortals(Self::backend(ground), starts.clone());
        PoolBuilder::new(&format!("{name}-{}", std::any::type_name::<Self>()), backend)
    }

    /// So many idle workers get a job, and end by a fault in it, all at once.
    #[track_caller]
    fn crash(pool: &MortalPool<Self>, ground: &Ground, workers: usize) {
        let (latch, bodies) = (ground.latch(), Meter::default());
        let work = || {
            let work = Work::value(0).counted(&bodies).until(&latch);
            if Self::DIES_OF_A_PANIC { work.panics() } else { work }
        };
        let jobs: Vec<_> = (0..workers).map(|_| put_mortal::<Self>(pool, work())).collect();
        eventually("each has a worker", || bodies.inside() == workers);
        if Self::DIES_OF_A_PANIC {
            latch.open();
        } else {
            kill_actors(pool, &jobs);
        }
        for job in jobs {
            drop(failure(job));
        }
    }
}

/// Submits where there has to be a place.
#[track_caller]
pub fn put_mortal<K: Kind>(pool: &MortalPool<K>, work: Work) -> JobHandle<Output> {
    pool.try_submit(K::job(work)).expect("there is a place")
}

/// As somebody would who found them in the tree of actors.
fn kill_actors<B: Backend>(pool: &Pool<B>, jobs: &[JobHandle<Output>]) {
    let mut actors = Vec::new();
    eventually("the actors of the workers are known", || {
        let rows = pool.inventory_now().workers;
        let holds = |row: &&millpond::WorkerRow| {
            row.job.as_ref().is_some_and(|held| jobs.iter().any(|job| job.id() == held.id))
        };
        actors = rows.iter().filter(holds).filter_map(|row| row.facts.actor.clone()).collect();
        actors.len() == jobs.len()
    });
    for child in pool.actor().get_children() {
        if actors.iter().any(|actor| **actor == *child.get_id().to_string()) {
            child.kill();
        }
    }
}

impl Mortal for OnThreads {
    fn backend(_ground: &Ground) -> Threads {
        Threads::new().restart_after_panic()
    }
}

#[cfg(all(feature = "process", unix))]
impl Mortal for crate::kinds::OnProcesses {
    fn backend(_ground: &Ground) -> millpond::process::Processes {
        millpond::process::Processes::new().entry(millpond::process::Entry::test()).restart_after_panic()
    }
}

#[cfg(any(feature = "interpreter", feature = "lua"))]
impl<G: crate::kinds::Guests> Mortal for G
where
    crate::polled::Polled<Output>: millpond::interpreter::Script<G::Engine, Output = Output>,
{
    fn backend(_ground: &Ground) -> <Self as Kind>::Backend {
        millpond::interpreter::Interpreters::new(G::engine()).restart_after_trap()
    }
}

impl Mortal for OnTasks {
    const DIES_OF_A_PANIC: bool = false;

    fn backend(ground: &Ground) -> Tasks {
        Tasks::new().runtime(ground.handle())
    }
}

impl Mortal for OnActors {
    fn backend(ground: &Ground) -> Actors<Hand> {
        Actors::new(Hand::ready()).runtime(ground.handle())
    }
}
