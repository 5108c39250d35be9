//! How children are started, and what they may use.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Resource;

use super::sys::{AtParentsDeath, BeforeExec};

/// No frame is longer than this unless it is said.
const FRAME_LIMIT: u32 = 64 << 20;
/// The least that carries what the protocol itself says.
const LEAST_FRAME: u32 = 4 << 10;

/// What becomes of what a child prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Output {
    /// Its lines become events of `tracing` with target `millpond::process`, pool, worker, pid and job; the last ones on standard error are
    /// also in the error of a job whose child died. A line is cut at 1 KiB, and at most 1,000 lines of a child a second are passed on,
    /// its own events among them. Of those that are too many a warning says how many they were, once that second is over or the child has ended.
    #[default]
    Captured,
    /// It goes where this process's own goes.
    Inherited,
    /// It is thrown away.
    Discarded,
}

/// How the children of a pool are started, and what each may use. Everything is as in this process unless it is said, but for signals: a child begins with
/// none blocked, and ignores neither SIGTERM nor SIGXCPU, whatever this process does.
#[derive(Clone, Debug)]
pub struct ChildOptions {
    memory: Option<u64>,
    cpu_time: Option<Duration>,
    open_files: Option<u64>,
    nice: Option<i32>,
    umask: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
    environment: Vec<(OsString, OsString)>,
    empty_environment: bool,
    directory: Option<PathBuf>,
    pub(super) output: Output,
    pub(super) frame_limit: u32,
    pub(super) shared_memory: bool,
    pub(super) singly: bool,
    pub(super) term_grace: Duration,
    pub(super) leave_grace: Duration,
}

impl Default for ChildOptions {
    fn default() -> Self {
        Self {
            memory: None,
            cpu_time: None,
            open_files: None,
            nice: None,
            umask: None,
            user: None,
            group: None,
            environment: Vec::new(),
            empty_environment: false,
            directory: None,
            output: Output::default(),
            frame_limit: FRAME_LIMIT,
            shared_memory: true,
            singly: false,
            term_grace: Duration::from_millis(100),
            leave_grace: Duration::from_millis(500),
        }
    }
}

impl ChildOptions {
    /// Children like this process.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most address space that a child may have, in bytes (`RLIMIT_AS`). What wants more does not get it: a child of this executable says so on
    /// standard error, as Rust's standard library has it, and aborts. By these words that is recognised as
    /// [`DeathCause::OutOfMemory`](crate::DeathCause::OutOfMemory), and by nothing else: with [`Output::Captured`], which is the default, and of a child that
    /// says it in these words. Otherwise it is what it looks like, such as [`DeathCause::Signalled`](crate::DeathCause::Signalled) with SIGABRT, or an exit code.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// The most processor time that a child may use in its life, in whole seconds, at least one (`RLIMIT_CPU`). Then it gets SIGXCPU, and a second of
    /// processor time later SIGKILL: [`DeathCause::OutOfCpuTime`](crate::DeathCause::OutOfCpuTime).
    #[must_use]
    pub fn cpu_time(mut self, limit: Duration) -> Self {
        self.cpu_time = Some(limit);
        self
    }

    /// The most descriptors that a child may have open (`RLIMIT_NOFILE`).
    #[must_use]
    pub fn open_files(mut self, most: u64) -> Self {
        self.open_files = Some(most);
        self
    }

    /// By how much nicer than this process a child is, from -20 to 19; to be less nice takes privileges, which this process needs to have and not
    /// the [user](Self::user) that the child runs as.
    #[must_use]
    pub fn nice(mut self, by: i32) -> Self {
        self.nice = Some(by);
        self
    }

    /// A child's file mode creation mask, such as `0o077`.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// The user that a child runs as, by number. This takes privileges. If this process is root's, a child has none of its supplementary groups. The directory
    /// that a child begins in is entered before that.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// The group that a child runs as, by number. This takes privileges.
    #[must_use]
    pub fn group(mut self, id: u32) -> Self {
        self.group = Some(id);
        self
    }

    /// Sets a variable of a child's environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Passes on none of this process's environment.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.empty_environment = true;
        self
    }

    /// The directory that a child begins in.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// What becomes of what a child prints; default: [`Output::Captured`].
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// The longest body of a frame, either way, in bytes; default 64 MiB, at least 4 KiB. A job's arguments or result that are larger are that
    /// job's error, whichever way they would travel.
    #[must_use]
    pub fn frame_limit(mut self, bytes: u32) -> Self {
        self.frame_limit = bytes;
        self
    }

    /// Whether arguments and results of more than 512 KiB travel by memory files instead of through the socket; default: yes, where there are such
    /// files (Linux) and the child can. A file that the system refuses costs nothing but time; say no if a sandbox kills whoever asks for one.
    #[must_use]
    pub fn shared_memory(mut self, so: bool) -> Self {
        self.shared_memory = so;
        self
    }

    /// Never hands a child a job before it is done with the one before. Otherwise one whose jobs are quick gets two small ones together, and the first is not sent
    /// before the second one's arguments are serialised; nor does the second one go on before the first one's result is read and its arguments are dropped. Where one of these may
    /// take long, or wait for another job of the pool, this is to be said.
    #[must_use]
    pub fn one_job_at_a_time(mut self) -> Self {
        self.singly = true;
        self
    }

    /// How long a child that is killed has from SIGTERM to SIGKILL; default 100 ms. A child of this executable dies of the first, also if this process blocks or
    /// ignores it, unless the job does or has a handler of its own for it.
    ///
    /// Whoever has a worker killed waits for so long, and gives it up as abandoned after that, though it may live until its SIGKILL, while its slot is
    /// used again. So this is to be less than what the last rung of a [`Ladder`](crate::Ladder) gives: a second, in [`Ladder::kill`](crate::Ladder::kill) and
    /// [`Ladder::graceful`](crate::Ladder::graceful), and so in the default [`Watchdog`](crate::Watchdog). No ladder is refused for it; one that kills twice sends SIGKILL at the second. And with [`leave_grace`](Self::leave_grace) it is to be no more than the pool's
    /// [`kill_grace`](crate::PoolBuilder::kill_grace), or a second if that is longer; more is a build error.
    #[must_use]
    pub fn term_grace(mut self, grace: Duration) -> Self {
        self.term_grace = grace;
        self
    }

    /// How long a child that is told to leave has before it is killed; default 500 ms. With [`term_grace`](Self::term_grace) that is no more than the pool's
    /// [`kill_grace`](crate::PoolBuilder::kill_grace), after which its slot is used again whether or not it has ended, or a second if that is longer; more is a
    /// build error.
    #[must_use]
    pub fn leave_grace(mut self, grace: Duration) -> Self {
        self.leave_grace = grace;
        self
    }

    /// What contradicts itself.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.frame_limit < LEAST_FRAME {
            return Err(format!("a frame limit of {} bytes; at least {LEAST_FRAME} are needed", self.frame_limit));
        }
        if let Some(by) = self.nice.filter(|by| !(-20..=19).contains(by)) {
            return Err(format!("a niceness of {by}, which is not between -20 and 19"));
        }
        if let Some(mask) = self.umask.filter(|mask| *mask > 0o777) {
            return Err(format!("a umask of {mask:#o}, which is more than 0o777"));
        }
        if self.cpu_time.is_some_and(|limit| limit < Duration::from_secs(1)) {
            return Err("a limit of less than a second of processor time".to_owned());
        }
        if self.memory == Some(0) || self.open_files.is_some_and(|most| most < 8) {
            return Err("a limit that no process can begin with".to_owned());
        }
        let bad_name = |name: &OsString| name.is_empty() || name.as_encoded_bytes().contains(&b'=');
        if let Some((name, _)) = self.environment.iter().find(|(name, _)| bad_name(name)) {
            return Err(format!("a variable of the environment that is called {name:?}"));
        }
        Ok(())
    }

    /// Has `command` begin as these say.
    pub(super) fn shape(&self, command: &mut Command) {
        if self.empty_environment {
            command.env_clear();
        }
        command.envs(self.environment.iter().cloned());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
    }

    pub(super) fn before_exec(&self, at_parents_death: AtParentsDeath) -> BeforeExec {
        let mut limits: Vec<_> = self.memory.iter().map(|bytes| (Resource::As, *bytes, *bytes)).collect();
        // A second between the signal that says so and SIGKILL.
        limits.extend(self.cpu_time.map(|limit| (Resource::Cpu, limit.as_secs(), limit.as_secs() + 1)));
        limits.extend(self.open_files.map(|most| (Resource::Nofile, most, most)));
        BeforeExec { limits, nice: self.nice, umask: self.umask, user: self.user, group: self.group, at_parents_death }
    }

    /// How long a child may take to end once it is told to leave.
    pub(super) fn ends_within(&self) -> Duration {
        self.leave_grace.saturating_add(self.term_grace)
    }

    /// After how much processor time a child is told that it had all; it is killed a second later.
    pub(super) fn cpu_limit(&self) -> Option<Duration> {
        self.cpu_time.map(|limit| Duration::from_secs(limit.as_secs()))
    }
}
