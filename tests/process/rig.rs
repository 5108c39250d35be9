//! What every test here needs.

use std::time::{Duration, Instant};

use millpond::process::{ChildOptions, Entry};
use millpond::{
    DeathCause, JobError, JobHandle, JoinError, Ladder, Limits, PoolBuilder, PoolExecutor, ProcessPool, ProgramPool,
    Rung,
};

/// Longer than anything here takes, however loaded the machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn builder(name: &str) -> PoolBuilder<millpond::process::Processes> {
    ProcessPool::builder(name).entry(Entry::test())
}

pub(crate) fn pool(name: &str, workers: usize) -> ProcessPool {
    pool_with(name, workers, ChildOptions::new())
}

pub(crate) fn pool_with(name: &str, workers: usize, options: ChildOptions) -> ProcessPool {
    builder(name).limits(Limits::fixed(workers)).child(options).build().expect("the pool is built")
}

/// A pool of a script's processes, whose frames are small. A machine without Python tests the rest.
pub(crate) fn python(script: &str, arguments: &[&str], workers: usize) -> Option<ProgramPool> {
    python_with(script, arguments, workers, ChildOptions::new().frame_limit(1 << 20))
}

pub(crate) fn python_with(
    script: &str,
    arguments: &[&str],
    workers: usize,
    options: ChildOptions,
) -> Option<ProgramPool> {
    std::process::Command::new("python3").arg("--version").output().ok()?;
    let script = format!("{}/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut name = format!("python-{}", arguments.first().unwrap_or(&"worker"));
    // Of one script there may be a pool of one and a larger one at a time.
    if workers > 1 {
        name.push_str(&format!("-{workers}"));
    }
    let mut builder = ProgramPool::builder(name, "python3").arg(script);
    for argument in arguments {
        builder = builder.arg(argument);
    }
    Some(builder.child(options).limits(Limits::fixed(workers)).build().expect("the pool is built"))
}

/// A kill that waits for its effect, however busy the machine is.
pub(crate) fn patient_kill() -> Ladder {
    Ladder::new().then(Rung::Kill, PATIENCE / 2)
}

#[track_caller]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited for ever until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The error of a job that has to fail.
#[track_caller]
pub(crate) fn failure<T: std::fmt::Debug>(handle: JobHandle<T>) -> JobError {
    match handle.join() {
        Err(JoinError::Job(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A file that jobs in children add a line to, each time that one begins: their processes.
#[derive(Debug)]
pub(crate) struct Marks(std::path::PathBuf);

impl Marks {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("millpond-{}-{name}", std::process::id()));
        // One of an earlier process of this number, if there is one.
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    /// For a job, which makes its [`mark`] there.
    pub(crate) fn path(&self) -> String {
        self.0.to_str().expect("it is text").to_owned()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a number")).collect()
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        // It is not there if nothing began.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// In a child: a job begins.
pub(crate) fn mark(path: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("it can be written");
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).expect("it can be written");
}

/// The processes of the pool's workers, once all of so many are up.
#[track_caller]
pub(crate) fn pids(pool: &dyn PoolExecutor, workers: usize) -> Vec<u32> {
    let mut pids = Vec::new();
    until("the workers are up", || {
        let rows = pool.inventory_now().workers;
        pids = rows.iter().filter(|row| row.start_delay.is_some()).filter_map(|row| row.facts.pid).collect();
        pids.len() == workers
    });
    pids
}

/// True while there is such a process, be it a zombie.
pub(crate) fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// The state of a process or of one of its threads, as the system has it. A zombie's is `Z`; `None`: there is none.
pub(crate) fn state_of(folder: impl std::fmt::Display) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{folder}/stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().next()?.to_owned())
}

/// A zombie that its new parent has not reaped runs no more.
pub(crate) fn runs(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| state != "Z")
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.expect("there is a `kill`").success() || !exists(pid), "{name} to {pid}");
}

/// What the process of a job died of that was lost with it.
#[track_caller]
pub(crate) fn death_of(error: &JobError) -> DeathCause {
    let JobError::Lost(lost) = error else { panic!("{error}") };
    lost.death.as_ref().unwrap_or_else(|| panic!("{error}")).cause.clone()
}

/// How many memory files of that pool this process has open.
pub(crate) fn open_files(pool: &str) -> usize {
    // Where there is no such folder there are no such files.
    let links = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let name = format!("/memfd:millpond:{pool}");
    links
        .filter_map(|link| std::fs::read_link(link.path()).ok())
        .filter(|to| to.to_string_lossy().starts_with(&name))
        .count()
}
