//! What a child died of, as far as that can be known.

use std::os::unix::process::ExitStatusExt;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use super::options::ChildOptions;
use crate::error::DeathCause;
use crate::sync::{Mutex, Timestamp};

const ABORT: i32 = libc::SIGABRT;
const KILL: i32 = libc::SIGKILL;

/// A kill for want of memory that was seen so long ago is nobody's who dies now: whom the kernel has killed is gone soon, however much memory it has to give back.
const RECENT: Duration = Duration::from_secs(10);

static KILLS: Mutex<Kills> = parking_lot::const_mutex(Kills { seen: 0, since: Timestamp::from_nanos(0), accounted: 0 });

/// The kernel's kills for want of memory in this control group, as far as they have been seen: whenever a child is started, and when one has died of SIGKILL.
#[derive(Debug)]
struct Kills {
    seen: u64,
    /// When the last of them was seen first.
    since: Timestamp,
    /// So many are accounted for: as many deaths of children were put down to them, or they came before, or too long ago.
    accounted: u64,
}

impl Kills {
    /// There are that many by now.
    fn note(&mut self, count: u64, now: Timestamp) {
        if now.since(self.since) > RECENT {
            self.accounted = self.accounted.max(self.seen);
        }
        if count > self.seen {
            (self.seen, self.since) = (count, now);
        }
    }

    /// Puts one of them down to a death, if one came since there were `before` that is not accounted for.
    fn account(&mut self, before: u64, count: u64, now: Timestamp) -> bool {
        self.note(count, now);
        let known = before.max(self.accounted);
        let one_more = count > known;
        if one_more {
            self.accounted = known + 1;
        }
        one_more
    }
}

/// What is known before it dies.
#[derive(Default, Debug)]
pub(super) struct Evidence {
    /// How often the kernel has killed in this control group for want of memory.
    oom_kills: Option<u64>,
    cpu_limit: Option<Duration>,
}

impl Evidence {
    pub(super) fn before(options: &ChildOptions, now: Timestamp) -> Self {
        let oom_kills = oom_kills();
        if let Some(count) = oom_kills {
            KILLS.lock().note(count, now);
        }
        Self { oom_kills, cpu_limit: options.cpu_limit() }
    }

    /// True if a kill for want of memory came since then, not long ago, that no other death is put down to: then this one is. It may have been
    /// another process's of this control group.
    fn tells_of_memory(&self, now: Timestamp) -> bool {
        self.oom_kills.zip(oom_kills()).is_some_and(|(before, count)| KILLS.lock().account(before, count, now))
    }

    /// True if it had used what it may. The system kills a second after that, by a count of its own that is a little coarser than the one here.
    fn tells_of_cpu(&self, used: Option<Duration>) -> bool {
        self.cpu_limit.zip(used).is_some_and(|(limit, used)| used >= limit)
    }
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
pub(super) fn attribute(
    remains: &Remains,
    told_of_memory: bool,
    evidence: &Evidence,
    was_doomed: bool,
    now: Timestamp,
) -> DeathCause {
    let Some(status) = remains.status else { return DeathCause::Unknown };
    if let Some(code) = status.code() {
        return DeathCause::Exited(code);
    }
    match status.signal() {
        Some(ABORT) if told_of_memory => DeathCause::OutOfMemory,
        Some(libc::SIGXCPU) => DeathCause::OutOfCpuTime,
        // A second after a SIGXCPU that it did not die of.
        Some(KILL) if !was_doomed && evidence.tells_of_cpu(remains.cpu_time) => DeathCause::OutOfCpuTime,
        Some(KILL) if !was_doomed && evidence.tells_of_memory(now) => DeathCause::OutOfMemory,
        Some(signal) => DeathCause::Signalled(signal),
        None => DeathCause::Unknown,
    }
}

#[cfg(target_os = "linux")]
fn oom_kills() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    oom_kills_of(&groups, Path::new("/sys/fs/cgroup"))
}

/// Those of the group itself, in which a child is from its start on; with those of groups below it where the kernel (before 5.2) does not tell them apart.
#[cfg(target_os = "linux")]
fn oom_kills_of(groups: &str, root: &Path) -> Option<u64> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let read = |name: &str| std::fs::read_to_string(root.join(path).join(name));
    let events = read("memory.events.local").or_else(|_| read("memory.events")).ok()?;
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
        let now = Timestamp::default();
        let of =
            |raw, memory, (limit, used), doomed| attribute(&remains(raw, used), memory, &evidence(limit), doomed, now);
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
        assert_eq!(attribute(&unknown, false, &evidence(Some(8)), false, now), DeathCause::Signalled(KILL));
        assert_eq!(attribute(&Remains::default(), false, &evidence(None), false, now), DeathCause::Unknown);
    }

    fn kills() -> (Kills, impl Fn(u64) -> Timestamp) {
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        (Kills { seen: 0, since: at(0), accounted: 0 }, at)
    }

    /// One that came before another child's death was put down to it says nothing of this one's.
    #[test]
    fn a_kill_for_want_of_memory_accounts_for_one_death() {
        let (mut kills, at) = kills();
        let now = at(100);
        kills.note(3, now);
        assert!(!kills.account(3, 3, now), "all came before it was started");
        // Two children at once, both started when there were three.
        assert!(kills.account(3, 5, now) && kills.account(3, 5, now));
        assert!(!kills.account(3, 5, now), "one as old that somebody has killed later");
        // One that was nobody's child's, and then a child that was started after it.
        kills.note(6, now);
        assert!(kills.account(6, 7, now) && !kills.account(6, 7, now) && !kills.account(3, 7, now));
    }

    /// It was another process's of the group, and was seen as another child was started.
    #[test]
    fn a_kill_for_want_of_memory_that_was_seen_long_ago_accounts_for_no_death() {
        let (mut kills, at) = kills();
        kills.note(3, at(50));
        kills.note(4, at(100));
        assert!(!kills.account(3, 4, at(111)), "it died eleven seconds after that was seen");
        // The next one is seen as the next one dies.
        assert!(kills.account(3, 5, at(200)));
        // Two more: of one another child's start tells, and of the other one's own death, which may have been either.
        kills.note(6, at(300));
        assert!(kills.account(3, 7, at(305)) && kills.account(3, 7, at(314)));
        // One that takes its time to die, and one by hand, long after both.
        kills.note(9, at(400));
        assert!(kills.account(3, 9, at(409)) && !kills.account(3, 9, at(420)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kills_of_groups_below_are_not_counted_where_the_kernel_tells_them_apart() {
        let root = std::env::temp_dir().join(format!("millpond-groups-{}", std::process::id()));
        let of = |groups: &str| oom_kills_of(groups, &root);
        std::fs::create_dir_all(root.join("a/b")).expect("it can be made");
        let write = |name: &str, kills: u32| {
            let events = format!("low 0\nhigh 0\nmax 9\noom 8\noom_kill {kills}\noom_group_kill 0\n");
            std::fs::write(root.join("a/b").join(name), events).expect("it can be written");
        };
        assert_eq!((of("4:memory:/\n0::/a/b\n"), of("4:memory:/a/b\n")), (None, None));
        write("memory.events", 5);
        assert_eq!(of("4:memory:/\n0::/a/b\n"), Some(5));
        write("memory.events.local", 2);
        assert_eq!((of("0::/a/b\n"), of("0::/a\n"), of("0::/\n")), (Some(2), None, None));
        std::fs::remove_dir_all(&root).expect("it is there");
    }
}
