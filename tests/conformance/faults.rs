//! Faults on purpose: how a worker of each kind comes to end without anybody wanting it to.

use std::sync::mpsc::sync_channel;

use millpond::{
    Exit, JobHandle, JobStatus, PoolBuilder, PoolExecutor, Restart, RestartPolicy, SlotHistory, Threads, Timestamp,
};

use crate::rig::{PoolOf, put, status_becomes, until, worker_of};
use crate::subject::{OnActors, OnTasks, OnThreads, Subject};
use crate::task::{Gate, Task};

/// Runs each body against every subject whose workers can have a fault.
macro_rules! with_faults {
    ($($body:ident),* $(,)?) => {
        mod on_threads { $( #[test] fn $body() { super::$body::<crate::subject::OnThreads>(); } )* }
        mod on_tasks { $( #[test] fn $body() { super::$body::<crate::subject::OnTasks>(); } )* }
        mod on_actors { $( #[test] fn $body() { super::$body::<crate::subject::OnActors>(); } )* }
    };
}
pub(crate) use with_faults;

/// A job that holds a worker, and ends that worker by a fault when it is lit.
pub(crate) struct Fuse {
    handle: JobHandle<u64>,
    light: Box<dyn FnOnce() + Send>,
}

impl Fuse {
    /// Ends the worker; the job, whose outcome says so.
    pub(crate) fn light(self) -> JobHandle<u64> {
        (self.light)();
        self.handle
    }
}

/// A subject whose workers can have a fault.
pub(crate) trait Faulty: Subject {
    fn shape(builder: PoolBuilder<Self::Backend>) -> PoolBuilder<Self::Backend> {
        builder
    }

    /// Takes a free worker. What follows a panic of its job is a fault here.
    fn lay(pool: &PoolOf<Self>) -> Fuse
    where
        Self: Sized,
    {
        let (light, lit) = sync_channel(1);
        // A test that fails drops the fuse, and the job ends as jobs do.
        let task = Task::call(move || if lit.recv().is_ok() { panic!("as told") } else { 0 });
        let handle = put::<Self>(pool, task);
        status_becomes(&handle, JobStatus::Running);
        Fuse { handle, light: Box::new(move || light.send(()).expect("the job listens")) }
    }
}

impl Faulty for OnThreads {
    fn shape(builder: PoolBuilder<Threads>) -> PoolBuilder<Threads> {
        builder.restart_after_panic()
    }
}

impl Faulty for OnActors {}

/// A panic ends no worker here: somebody who found its actor kills that.
impl Faulty for OnTasks {
    fn lay(pool: &PoolOf<Self>) -> Fuse {
        let gate = Gate::new();
        let handle = put::<Self>(pool, Task::deaf(&gate));
        let worker = worker_of(pool, &handle);
        let mut id = None;
        // Known as soon as its start has returned, which may be after it has its first job.
        until("its actor is known", || {
            let row = pool.inventory_now().workers.into_iter().find(|row| row.worker == worker).expect("it is there");
            id = row.facts.actor;
            id.is_some()
        });
        let id = id.expect("a worker of this kind is an actor");
        let children = pool.actor().get_children();
        let actor = children.into_iter().find(|child| child.get_id().to_string() == *id).expect("it is a child");
        let light = move || {
            actor.kill();
            // The gate stays shut until the job's future is gone with its actor, so that the job cannot end by itself.
            while actor.get_status() != ractor::ActorStatus::Stopped {
                std::thread::yield_now();
            }
            drop(gate);
        };
        Fuse { handle, light: Box::new(light) }
    }
}

/// A restart policy that is a closure.
pub(crate) struct By<F>(pub(crate) F);

impl<F: Fn() -> Restart + Send + Sync + 'static> RestartPolicy for By<F> {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        (self.0)()
    }
}
