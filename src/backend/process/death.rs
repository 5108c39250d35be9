//! What a child died of, as far as that can be known.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::options::ChildOptions;
use crate::error::DeathCause;

const ABORT: i32 = libc::SIGABRT;
const KILL: i32 = libc::SIGKILL;

/// What is known before it dies.
#[derive(Default, Debug)]
pub(super) struct Evidence {
    /// How often the kernel has killed in this control group for want of memory.
    oom_kills: Option<u64>,
    limits_cpu: bool,
}

impl Evidence {
    pub(super) fn before(options: &ChildOptions) -> Self {
        Self { oom_kills: oom_kills(), limits_cpu: options.limits_cpu() }
    }
}

/// `told_of_memory`: it said that it has none; `was_doomed`: a signal of ours was on its way.
pub(super) fn attribute(
    status: Option<ExitStatus>,
    told_of_memory: bool,
    evidence: &Evidence,
    was_doomed: bool,
) -> DeathCause {
    let Some(status) = status else { return DeathCause::Unknown };
    if let Some(code) = status.code() {
        return DeathCause::Exited(code);
    }
    match status.signal() {
        Some(ABORT) if told_of_memory => DeathCause::OutOfMemory,
        Some(libc::SIGXCPU) => DeathCause::OutOfCpuTime,
        Some(KILL) if !was_doomed && oom_kills() > evidence.oom_kills => DeathCause::OutOfMemory,
        // A second after a SIGXCPU that it did not die of.
        Some(KILL) if !was_doomed && evidence.limits_cpu => DeathCause::OutOfCpuTime,
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
        let status = |raw| Some(ExitStatus::from_raw(raw));
        let evidence = |limits_cpu| Evidence { oom_kills: oom_kills(), limits_cpu };
        let of = |raw, memory, cpu, doomed| attribute(status(raw), memory, &evidence(cpu), doomed);
        assert_eq!(of(3 << 8, false, false, false), DeathCause::Exited(3));
        assert_eq!(of(ABORT, true, false, false), DeathCause::OutOfMemory);
        assert_eq!(of(ABORT, false, false, false), DeathCause::Signalled(ABORT));
        assert_eq!(of(libc::SIGXCPU, false, true, false), DeathCause::OutOfCpuTime);
        assert_eq!(of(KILL, false, true, false), DeathCause::OutOfCpuTime);
        assert_eq!(of(KILL, false, true, true), DeathCause::Signalled(KILL));
        assert_eq!(of(KILL, false, false, false), DeathCause::Signalled(KILL));
        assert_eq!(attribute(None, false, &evidence(false), false), DeathCause::Unknown);
    }
}
