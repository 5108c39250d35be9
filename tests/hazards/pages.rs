//! Jobs of a pool of processes whose arguments take work to be written, which is done in this process, by the worker that has the job: the one part of such a
//! job that can hold a handle, and so wait for another job. The child gives back what it is sent.

use millpond::process::{ChildOptions, Entry, Processes, RemoteCall};
use millpond::{PoolBuilder, ProcessPool};
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kinds::{Ground, Kind};
use crate::work::{Output, Work};

/// Arguments that are not written yet; in the child, what was.
pub struct Pages {
    work: Mutex<Option<Work>>,
    value: u64,
}

impl Serialize for Pages {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let work = self.work.lock().take();
        work.map_or(0, |work| work.run().value).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Pages {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self { work: Mutex::new(None), value: u64::deserialize(from)? })
    }
}

/// Child processes, whose jobs have their work done as their arguments are written.
pub struct OnPages;

impl Kind for OnPages {
    type Backend = Processes;
    type Job = RemoteCall<Pages, Output>;
    const KILLABLE: bool = false;
    const STARTS_ARE_DEAR: bool = true;
    const ON_RUNTIME: bool = false;

    fn builder(name: &str, _ground: &Ground) -> PoolBuilder<Processes> {
        // These arguments wait for other jobs as they are written.
        let options = ChildOptions::new().one_job_at_a_time();
        ProcessPool::builder(format!("{name}-pages")).entry(Entry::test()).child(options)
    }

    fn job(work: Work) -> Self::Job {
        let give_back = |pages: Pages| Output { value: pages.value, cargo: None };
        RemoteCall::new(give_back, Pages { work: Mutex::new(Some(work)), value: 0 })
    }
}
