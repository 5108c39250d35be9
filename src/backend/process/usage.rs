//! What the system says of a process.

use std::time::Duration;

use rustix::process::Pid;

use crate::snapshot::Facts;

/// What one uses.
#[derive(Debug, Default)]
pub(super) struct Usage {
    resident_memory: Option<u64>,
    cpu_time: Option<Duration>,
    open_files: Option<u64>,
}

impl Usage {
    pub(super) fn tell(self, facts: &mut Facts) {
        let Self { resident_memory, cpu_time, open_files } = self;
        (facts.resident_memory, facts.cpu_time, facts.open_files) = (resident_memory, cpu_time, open_files);
    }
}

/// Reads three small files of `/proc`, none of which waits for the process.
#[cfg(target_os = "linux")]
pub(super) fn of(pid: Pid) -> Usage {
    let descriptors = std::fs::metadata(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    Usage {
        resident_memory: resident_memory(pid),
        cpu_time: cpu_time_of(pid),
        open_files: descriptors.ok().map(|folder| folder.len()).filter(|count| *count > 0),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn of(_pid: Pid) -> Usage {
    Usage::default()
}

/// The memory that it has in use, in bytes.
#[cfg(target_os = "linux")]
pub(super) fn resident_memory(pid: Pid) -> Option<u64> {
    read(pid, "statm").and_then(|statm| resident(&statm))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn resident_memory(_pid: Pid) -> Option<u64> {
    None
}

/// The processor time that it has used, also once it is a zombie.
#[cfg(target_os = "linux")]
pub(super) fn cpu_time_of(pid: Pid) -> Option<Duration> {
    read(pid, "stat").and_then(|stat| cpu_time(&stat, rustix::param::clock_ticks_per_second()))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn cpu_time_of(_pid: Pid) -> Option<Duration> {
    None
}

/// True if its main thread is past the point where it can do anything, though it may have much to give back before it is a zombie. It closes its sockets meanwhile.
#[cfg(target_os = "linux")]
pub(super) fn is_exiting(pid: Pid) -> bool {
    /// `PF_EXITING`, of `include/linux/sched.h`.
    const EXITING: u64 = 4;
    // The ninth.
    let flags = |stat: String| after_name(&stat)?.nth(6)?.parse::<u64>().ok();
    read(pid, "stat").and_then(flags).is_some_and(|flags| flags & EXITING != 0)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_exiting(_pid: Pid) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn read(pid: Pid, name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_nonzero())).ok()
}

/// The second number is pages.
#[cfg(target_os = "linux")]
fn resident(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The third and those that follow; the second is a name in brackets, which may hold anything.
#[cfg(target_os = "linux")]
fn after_name(stat: &str) -> Option<std::str::SplitWhitespace<'_>> {
    stat.rsplit(')').next().map(str::split_whitespace)
}

/// The fourteenth and fifteenth are ticks in user and in system code.
#[cfg(target_os = "linux")]
fn cpu_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let mut from_there = after_name(stat)?.skip(11);
    let ticks: u64 = from_there.next()?.parse::<u64>().ok()? + from_there.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1_000 / ticks_per_second.max(1)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let mut facts = Facts::default();
        of(rustix::process::getpid()).tell(&mut facts);
        assert!(facts.resident_memory.is_some_and(|bytes| bytes > 100_000) && facts.cpu_time.is_some());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b (c) 9) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_time(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(cpu_time("nonsense", 100), None);
    }
}
