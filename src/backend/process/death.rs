//! What a child died of, as far as that can be known.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::options::ChildOptions;
use crate::error::DeathCause;
use crate::sync::Mutex;

const ABORT: i32 = libc::SIGABRT;
const KILL: i32 = libc::SIGKILL;

/// How many of the kernel's kills for want of memory are accounted for: as many deaths of children were put down to them, or they came before.
static ACCOUNTED: Mutex<u64> = parking_lot::const_mutex(0);

/// What is known before it dies.
#[derive(Default, Debug)]
pub(super) struct Evidence {
    /// How often the kernel has killed in this control group for want of memory.
    oom_kills: Option<u64>,
    cpu_limit: Option<Duration>,
}

impl Evidence {
    pub(super) fn before(options: &ChildOptions) -> Self {
        Self { oom_kills: oom_kills(), cpu_limit: options.cpu_limit() }
    }

    /// True if a kill for want of memory came since then that no other death is put down to: then this one is. It may have been another
    /// process's of this control group.
    fn tells_of_memory(&self) -> bool {
        self.oom_kills.zip(oom_kills()).is_some_and(|(before, now)| account(&mut ACCOUNTED.lock(), before, now))
    }

    /// True if it had used what it may. The system kills a second after that, by a count of its own that is a little coarser than the one here.
    fn tells_of_cpu(&self, used: Option<Duration>) -> bool {
        self.cpu_limit.zip(used).is_some_and(|(limit, used)| used >= limit)
    }
}

/// Puts one of the kills down to a death, if one came since there were `before` that is not accounted for.
fn account(accounted: &mut u64, before: u64, now: u64) -> bool {
    let known = before.max(*accounted);
    let one_more = now > known;
    if one_more {
        *accounted = known + 1;
    }
    one_more
}

/// What is known once it is dead.
#[derive(Default, Debug)]
pub(super) struct Remains {
    /// `None`: somebody else has reaped it.
    pub(super) status: Option<ExitStatus>,
    /// The processor time that it had used.
    pub(super) cpu_time: Option<Duration>,
}

impl Remains {
    /// True if SIGKILL ended it.
    pub(super) fn was_killed(&self) -> bool {
        self.status.and_then(|status| status.signal()) == Some(KILL)
    }
}

/// `told_of_memory`: it said that it has none; `was_doomed`: a signal of ours was on its way.
pub(super) fn attribute(remains: &Remains, told_of_memory: bool, evidence: &Evidence, was_doomed: bool) -> DeathCause {
    let Some(status) = remains.status else { return DeathCause::Unknown };
    if let Some(code) = status.code() {
        return DeathCause::Exited(code);
    }
    match status.signal() {
        Some(ABORT) if told_of_memory => DeathCause::OutOfMemory,
        Some(libc::SIGXCPU) => DeathCause::OutOfCpuTime,
        // A second after a SIGXCPU that it did not die of.
        Some(KILL) if !was_doomed && evidence.tells_of_cpu(remains.cpu_time) => DeathCause::OutOfCpuTime,
        Some(KILL) if !was_doomed && evidence.tells_of_memory() => DeathCause::OutOfMemory,
        Some(signal) => DeathCause::Signalled(signal),
        None => DeathCause::Unknown,
    }
}

#[cfg(target_os = "linux")]
fn oom_kills() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let events = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.events")).ok()?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn oom_kills() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_put_down_to_what_is_known_of_them() {
        let second = Duration::from_secs(1);
        let remains =
            |raw, used: u32| Remains { status: Some(ExitStatus::from_raw(raw)), cpu_time: Some(second * used) };
        let evidence = |limit: Option<u32>| Evidence { oom_kills: None, cpu_limit: limit.map(|limit| second * limit) };
        let of = |raw, memory, (limit, used), doomed| attribute(&remains(raw, used), memory, &evidence(limit), doomed);
        let (free, early, late) = ((None, 90), (Some(8), 7), (Some(8), 8));
        assert_eq!(of(3 << 8, false, free, false), DeathCause::Exited(3));
        assert_eq!(of(ABORT, true, free, false), DeathCause::OutOfMemory);
        assert_eq!(of(ABORT, false, free, false), DeathCause::Signalled(ABORT));
        assert_eq!(of(libc::SIGXCPU, false, late, false), DeathCause::OutOfCpuTime);
        assert_eq!(of(KILL, false, late, false), DeathCause::OutOfCpuTime);
        assert_eq!(of(KILL, false, early, false), DeathCause::Signalled(KILL), "it had time left");
        assert_eq!(of(KILL, false, late, true), DeathCause::Signalled(KILL));
        assert_eq!(of(KILL, false, free, false), DeathCause::Signalled(KILL));
        let unknown = Remains { cpu_time: None, ..remains(KILL, 0) };
        assert_eq!(attribute(&unknown, false, &evidence(Some(8)), false), DeathCause::Signalled(KILL));
        assert_eq!(attribute(&Remains::default(), false, &evidence(None), false), DeathCause::Unknown);
    }

    /// One that came before another child's death was put down to it says nothing of this one's.
    #[test]
    fn a_kill_for_want_of_memory_accounts_for_one_death() {
        let accounted = &mut 0;
        assert!(!account(accounted, 3, 3), "all came before it was started");
        // Two children at once, both started when there were three.
        assert!(account(accounted, 3, 5) && account(accounted, 3, 5));
        assert!(!account(accounted, 3, 5), "one as old that somebody has killed later");
        // One that was nobody's child's, and then a child that was started after it.
        assert!(account(accounted, 6, 7) && !account(accounted, 6, 7) && !account(accounted, 3, 7));
    }
}
