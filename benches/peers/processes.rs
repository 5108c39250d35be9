//! millpond's side of the rows about process pools.

use std::process;
use std::time::{Duration, Instant};

use millpond::process::ChildOptions;
use millpond::{JobOptions, JobStatus, Ladder, Limits, PoolExecutor, ProcessPool, Select, TimeLimit};

use crate::harness::figures::{micros, quantile};
use crate::harness::{Measured, Side, fresh_name, load};
use crate::millpond::hooked;

/// Children on each side of these rows.
pub(crate) const CHILDREN: usize = 2;
/// Small jobs that are on their way at a time on each side. One thread sends them, and waits for the oldest before it sends another.
pub(crate) const OUTSTANDING: usize = 64;
/// Bytes of a large job's argument, and of its result.
pub(crate) const LARGE: usize = 64 << 20;

/// Runs this process's jobs and does not return, if it is a child.
pub(crate) fn init() {
    ::millpond::process::init();
    ::procspawn::init();
}

pub(crate) fn echo(number: u64) -> u64 {
    number
}

/// Small jobs with a reply.
pub(crate) fn small() -> impl Side {
    Small(pool(CHILDREN))
}

struct Small(ProcessPool);

impl Side for Small {
    fn run(&mut self, jobs: u64) -> Duration {
        let Self(pool) = self;
        load::outstanding(
            OUTSTANDING,
            jobs,
            |number| pool.submit_blocking(echo, number).expect("a pool that takes jobs"),
            |job| _ = job.join().expect("jobs do not fail"),
        )
    }
}

/// Large jobs with as large a reply, one at a time.
pub(crate) fn large() -> impl Side {
    Large { pool: pool(CHILDREN), block: Some(Block(vec![0; LARGE])) }
}

struct Large {
    pool: ProcessPool,
    block: Option<Block>,
}

impl Side for Large {
    const FIRST: u64 = 1;

    fn run(&mut self, jobs: u64) -> Duration {
        let begun = Instant::now();
        for _ in 0..jobs {
            let block = self.block.take().expect("the one that came back last");
            let job = self.pool.submit_blocking(|block| block, block).expect("a pool that takes jobs");
            self.block = Some(job.join().expect("jobs do not fail"));
        }
        begun.elapsed()
    }
}

/// Bytes that are one thing to serde, as `serde_bytes` has them; a `Vec<u8>` is as many things as it has bytes.
struct Block(Vec<u8>);

impl serde::Serialize for Block {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Block {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.to_vec()))
    }
}

/// The p99 of the time from the kill of a child in the middle of a job until the child in its place has answered its first job.
///
/// The pool has one child, so that nobody else can answer.
pub(crate) fn replaced(kills: usize) -> Measured {
    let pool = pool(1);
    let times: Vec<f64> = (0..kills).map(|_| replace(&pool)).collect();
    Measured::alone("us", quantile(&times, 0.99))
}

fn replace(pool: &ProcessPool) -> f64 {
    let stuck = pool.with(JobOptions::new().label("stuck"));
    let stuck = stuck.submit_call_blocking(|()| std::thread::sleep(Duration::from_secs(600)), ());
    let stuck = stuck.expect("a pool that takes jobs");
    load::wait_until("the child has its job", || stuck.status() == JobStatus::Running);
    let begun = Instant::now();
    pool.blocking()
        .terminate(Select::label("stuck"), Ladder::kill(), TimeLimit::default())
        .expect("a pool that answers");
    let served = pool.submit_blocking(|()| process::id(), ()).expect("a pool that takes jobs");
    served.join().expect("jobs do not fail");
    let took = begun.elapsed();
    stuck.join().expect_err("it was killed");
    micros(took)
}

fn pool(children: usize) -> ProcessPool {
    // A large job is its block and a little more.
    let child = ChildOptions::new().frame_limit(LARGE as u32 + (1 << 20));
    let builder = ProcessPool::builder(fresh_name()).limits(Limits::fixed(children)).child(child);
    let pool = hooked(builder).build().expect("a pool of processes");
    load::wait_until("all children are idle", || pool.saturation().idle == children);
    pool
}
