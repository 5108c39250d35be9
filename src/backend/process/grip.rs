//! Who can kill a child: control, at any time, without waiting, which the [`killer`] sees through; and the child's own thread.
//!
//! A signal is sent under the lock under which the child is reaped, and never after that: a number that is free again is another's.

use std::process::Child;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid};

use super::bell::Bell;
use super::death::Remains;
use super::{killer, usage};
use crate::backend::{KillOutcome, WorkerControl};
use crate::id::JobId;
use crate::slot::InProcess;
use crate::snapshot::Facts;
use crate::sync::{Arc, AtomicBool, AtomicU64, Clock, Mutex, Ordering, Timestamp, Weak};

/// How long a group may take to vanish after SIGKILL before its slot is used all the same.
const VANISHING: Duration = Duration::from_millis(500);

/// How far a kill has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Asked {
    Nothing,
    /// SIGTERM was sent, or is to be as soon as there is a child.
    Term,
    /// SIGKILL was.
    Kill,
}

/// How long a child that has ended its stream has to die by itself; and from one look at one that is exiting to the next.
const DYING: Duration = Duration::from_millis(100);

/// One whose main thread is over, and others of which go on, is exiting for ever: after so many looks it is killed.
const MOST_LOOKS: u32 = 50;

#[derive(Debug)]
struct State {
    /// There from the spawn to the reaping.
    child: Option<Child>,
    pid: Option<Pid>,
    asked: Asked,
    /// Control has had it killed, or the end of the pool.
    ordered: bool,
    /// It had closed its socket, and did not end by itself.
    lived_on: bool,
    /// So often it was found to be exiting, which takes as long as what it had takes to be given back.
    exiting: u32,
    /// Processes of its group were still there when its slot was given back.
    lingers: bool,
    /// When SIGKILL follows.
    kill_at: Timestamp,
}

/// A hand on one child and its process group.
#[derive(Debug)]
pub(super) struct Grip {
    me: Weak<Self>,
    state: Mutex<State>,
    /// Its worker is to leave when the job in hand is over.
    leaves: AtomicBool,
    /// The last job that the child has acknowledged; 0: none.
    acknowledged: AtomicU64,
    bell: Arc<Bell>,
    clock: Clock,
    term_grace: Duration,
}

impl Grip {
    pub(super) fn new(bell: Arc<Bell>, clock: Clock, term_grace: Duration) -> Arc<Self> {
        let state = State {
            child: None,
            pid: None,
            asked: Asked::Nothing,
            ordered: false,
            lived_on: false,
            exiting: 0,
            lingers: false,
            kill_at: Timestamp::NEVER,
        };
        let (leaves, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            state: Mutex::new(state),
            leaves,
            acknowledged,
            bell,
            clock,
            term_grace,
        })
    }

    /// The child says that it has begun this job.
    pub(super) fn acknowledge(&self, job: u64) {
        // Relaxed: nothing is read by it but the number itself.
        self.acknowledged.store(job, Ordering::Relaxed);
    }

    /// The child is there. One that was killed before it was spawned is so now.
    pub(super) fn take_hold(&self, child: Child) -> Option<Pid> {
        let mut state = self.state.lock();
        state.pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        state.child = Some(child);
        match state.asked {
            Asked::Nothing => {}
            Asked::Term => self.send(&mut state, Asked::Term),
            Asked::Kill => self.send(&mut state, Asked::Kill),
        }
        state.pid
    }

    fn send(&self, state: &mut State, what: Asked) {
        let signal = if what == Asked::Kill { Signal::KILL } else { Signal::TERM };
        if what == Asked::Term {
            self.kill_by(state, self.clock.now().after(self.term_grace));
        } else {
            state.kill_at = Timestamp::NEVER;
        }
        state.asked = what;
        if let Some(pid) = state.pid.filter(|_| state.child.is_some()) {
            // Its zombie is the group's leader until it is reaped, so there is a group; who is in it may be out of our reach.
            let _ = kill_process_group(pid, signal);
        }
    }

    /// The next step of a kill that is under way: SIGTERM to begin with, SIGKILL when it is repeated.
    fn press(&self) {
        let mut state = self.state.lock();
        state.ordered = true;
        match state.asked {
            Asked::Nothing => self.send(&mut state, Asked::Term),
            Asked::Term | Asked::Kill => self.send(&mut state, Asked::Kill),
        }
    }

    /// SIGKILL, whatever was asked before.
    pub(super) fn kill_now(&self) {
        self.send(&mut self.state.lock(), Asked::Kill);
        self.bell.ring();
    }

    /// SIGKILL, unless it has died by then: for one that has closed its socket.
    pub(super) fn kill_soon(&self) {
        let mut state = self.state.lock();
        let at = state.kill_at.min(self.clock.now().after(DYING));
        self.kill_by(&mut state, at);
    }

    /// True if somebody wants the child dead.
    pub(super) fn is_doomed(&self) -> bool {
        self.state.lock().asked != Asked::Nothing
    }

    /// True if control has had the child killed, or the end of its pool: not for anything that it did itself.
    pub(super) fn was_killed(&self) -> bool {
        self.state.lock().ordered
    }

    /// True if it was killed because it had closed its socket and [lived on](Self::kill_soon), and for nothing else.
    pub(super) fn lived_on(&self) -> bool {
        let state = self.state.lock();
        state.lived_on && !state.ordered
    }

    /// True if something of its group may not have ended, though it was killed.
    pub(super) fn lingers(&self) -> bool {
        self.state.lock().lingers
    }

    fn kill_by(&self, state: &mut State, at: Timestamp) {
        state.kill_at = at;
        killer::come_back(at, self.me.clone());
    }

    /// True if its worker has been told to leave after its job.
    pub(super) fn is_to_leave(&self) -> bool {
        // Acquire pairs with the Release of `leave`, which rings the bell after it.
        self.leaves.load(Ordering::Acquire)
    }

    /// Sends SIGKILL if the grace after SIGTERM is over, or that after its socket was closed. Called by the [`killer`].
    pub(super) fn escalate(&self, now: Timestamp) {
        let mut state = self.state.lock();
        if state.kill_at > now {
            return;
        }
        if state.asked == Asked::Nothing {
            // Only what it died of by itself says why its socket was closed. Whoever reaps it sees to its group.
            if state.pid.is_some_and(has_died) {
                state.kill_at = Timestamp::NEVER;
                return;
            }
            if state.exiting < MOST_LOOKS && state.pid.is_some_and(usage::is_exiting) {
                state.exiting += 1;
                return self.kill_by(&mut state, now.after(DYING));
            }
            state.lived_on = true;
        }
        self.send(&mut state, Asked::Kill);
    }

    /// Begins a kill, from the child's own thread.
    pub(super) fn begin_kill(&self) {
        let mut state = self.state.lock();
        if state.asked == Asked::Nothing {
            self.send(&mut state, Asked::Term);
        }
    }

    /// The child, while its number is certain to be its own: from its spawn to its reaping.
    fn unreaped(&self) -> Option<Pid> {
        let state = self.state.lock();
        state.pid.filter(|_| state.child.is_some())
    }

    /// What is read of the child by its number, with nothing held that a kill needs, however long the system takes. `None`: there is no child, or it may
    /// have been another's number by then.
    fn read_unlocked<T>(&self, read: impl FnOnce(Pid) -> T) -> Option<T> {
        let read = read(self.unreaped()?);
        // A grip has one child, and never another one: not reaped by now, it had its number all the time.
        self.unreaped().map(|_| read)
    }

    /// Ends what is left of the group, and reaps the child, which has died or is to. Waits for that.
    ///
    /// The group is killed before its leader is reaped, while its number is certain to be its own; a kill of a group is one step, so
    /// that nobody in it can fork out of it. Afterwards it is only asked whether it is gone.
    pub(super) fn reap(&self) -> Remains {
        self.send(&mut self.state.lock(), Asked::Kill);
        let cpu_time = self.unreaped().and_then(|pid| {
            // Not under the lock: it may have much memory to give back.
            await_death(pid);
            // A zombie's is that of its whole life.
            self.read_unlocked(usage::cpu_time_of)?
        });
        let (status, pid) = {
            let mut state = self.state.lock();
            let status = state.child.take().and_then(|mut child| child.wait().ok());
            (status, state.pid.take())
        };
        if let Some(pid) = pid {
            self.await_the_group(pid);
        }
        Remains { status, cpu_time }
    }

    #[expect(clippy::disallowed_methods, reason = "nobody tells of the end of a grandchild")]
    fn await_the_group(&self, pid: Pid) {
        let until = self.clock.now().after(VANISHING);
        while test_kill_process_group(pid).is_ok() {
            if self.clock.now() > until {
                self.state.lock().lingers = true;
                tracing::warn!(%pid, "processes of a killed group are still there: zombies that nobody reaps, or stuck in the system");
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// True if it is a zombie.
fn has_died(pid: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    waitid(WaitId::Pid(pid), look).is_ok_and(|died| died.is_some())
}

/// Waits until it has died, and leaves its zombie.
fn await_death(pid: Pid) {
    // Fails if somebody else reaps all children of this process; and, to be asked again, if this thread handles a signal.
    let _ = retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
}

impl InProcess for Grip {
    fn end_now(&self) {
        self.state.lock().ordered = true;
        self.kill_now();
    }

    fn leave(&self) {
        self.leaves.store(true, Ordering::Release);
        self.bell.ring();
    }

    fn look(&self, facts: &mut Facts) {
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        facts.acknowledged = (acknowledged != 0).then_some(JobId(acknowledged));
        if let Some(usage) = self.read_unlocked(usage::of) {
            usage.tell(facts);
        }
    }

    fn resident_memory(&self) -> Option<u64> {
        self.read_unlocked(usage::resident_memory)?
    }
}

impl WorkerControl for Grip {
    fn kill(&self) -> KillOutcome {
        self.press();
        self.bell.ring();
        KillOutcome::Signalled
    }
}

/// A share in a grip.
pub(super) struct Held(pub(super) Arc<Grip>);

impl WorkerControl for Held {
    fn kill(&self) -> KillOutcome {
        self.0.kill()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn held() -> Arc<Grip> {
        let grip = Grip::new(Bell::new().expect("there are sockets"), Clock::real(), Duration::ZERO);
        let mut command = Command::new("sleep");
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        grip.take_hold(command.arg("3600").spawn().expect("there is a `sleep`"));
        grip
    }

    /// With the lock held while it is read, this would wait for itself.
    #[test]
    fn a_kill_goes_on_while_somebody_reads_of_the_child() {
        let grip = held();
        let read = grip.read_unlocked(|pid| {
            assert!(matches!(grip.kill(), KillOutcome::Signalled));
            pid
        });
        assert!(read.is_some(), "it is a zombie at most, which keeps its number");
        assert!(grip.reap().status.is_some());
    }

    /// Its number may be another's from the reaping on.
    #[test]
    fn what_was_read_while_the_child_was_reaped_is_not_told() {
        let grip = held();
        assert!(grip.read_unlocked(|_| grip.reap().status.expect("it ends")).is_none());
        assert!(grip.read_unlocked(|pid| panic!("{pid:?} has been reaped")).is_none());
    }

    /// Who has closed its socket by dying has died of something else.
    #[test]
    fn only_one_that_lives_on_is_killed_for_a_closed_socket() {
        let (died, lives) = (held(), held());
        let pid = died.unreaped().expect("it runs");
        rustix::process::kill_process(pid, Signal::KILL).expect("it is there");
        await_death(pid);
        let is_exiting = |grip: &Grip| usage::is_exiting(grip.unreaped().expect("it is not reaped"));
        assert_eq!((is_exiting(&died), is_exiting(&lives)), (cfg!(target_os = "linux"), false));
        for (grip, killed) in [(died, false), (lives, true)] {
            grip.kill_soon();
            grip.escalate(Timestamp::NEVER);
            assert_eq!((grip.lived_on(), grip.is_doomed()), (killed, killed));
            assert!(grip.reap().was_killed());
        }
    }

    /// The state of a thread or process, as the system has it: `S` sleeps, `Z` has died.
    #[cfg(target_os = "linux")]
    fn state_of(folder: &str) -> Option<String> {
        let stat = std::fs::read_to_string(format!("/proc/{folder}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().next().map(str::to_owned)
    }

    /// One that this process handles may come to any of its threads.
    #[test]
    #[cfg(target_os = "linux")]
    #[expect(clippy::disallowed_methods, reason = "a test of a thread that waits")]
    fn a_signal_does_not_end_the_wait_for_a_death() {
        use std::os::unix::thread::JoinHandleExt;

        static HEARD: AtomicBool = AtomicBool::new(false);
        extern "C" fn hear(_signal: libc::c_int) {
            HEARD.store(true, Ordering::SeqCst);
        }
        // SAFETY: a plain struct, for which zeroes are a value; the handler sets a flag. What it interrupts is not begun anew by the system.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = hear as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()), 0);
        }
        let grip = held();
        let pid = grip.unreaped().expect("it runs");
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let waits = move || {
            tell.send(std::fs::read_link("/proc/thread-self").expect("it is there")).expect("somebody waits for it");
            await_death(pid);
            state_of(&pid.to_string())
        };
        let waits = std::thread::Builder::new().spawn(waits).expect("there are threads");
        let me = told.recv().expect("it is told").to_str().expect("it is text").to_owned();
        let until_it_sleeps = || {
            while !waits.is_finished() && state_of(&me).as_deref() != Some("S") {
                std::thread::yield_now();
            }
        };
        until_it_sleeps();
        // SAFETY: the thread has not been joined.
        assert_eq!(unsafe { libc::pthread_kill(waits.as_pthread_t(), libc::SIGUSR2) }, 0);
        while !HEARD.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        until_it_sleeps();
        grip.kill_now();
        assert_eq!(waits.join().expect("it ends").as_deref(), Some("Z"), "it has died by then");
        assert!(grip.reap().status.is_some());
    }
}
