//! An incarnation's published cell: what inventory reads without asking the worker.
//!
//! States and exits: [`WorkerState`]. `slot/state.rs` is the only place where counts change; every change that gives or takes a
//! seat is made under the plane's inbox lock, so that lock makes the counts exact and plain stores enough.

mod counts;
mod hand;
mod process;
mod state;

pub(crate) use counts::Counts;
pub(crate) use hand::{Held, Taken};
pub(crate) use process::InProcess;
pub(crate) use state::{CellState, abandon, take_up, transition};

use crate::error::StartError;
use crate::id::{ClaimNo, WorkerId};
use crate::job::{Envelope, InHand, PoolNo, Share, catch};
use crate::policy::Exit;
use crate::snapshot::{Facts, WorkerState};
use crate::sync::{
    Arc, AtomicU64, Clock, Count, Flag, Latch, LatchGuard, Mutex, OnceLock, Ordering, Parker, Tally, Timestamp,
};

/// No claim has this number.
const SEIZED: u64 = u64::MAX;
/// Nor this one: what is in hand was not begun, and will not be.
const TAKEN_BACK: u64 = u64::MAX - 1;
/// Beside a claim's number: it has not begun.
const NOT_BEGUN: u64 = 1 << 63;

/// One incarnation, as everybody sees it. What each job changes, or looks at, comes first: it passes from core to core on few lines.
#[repr(C)]
pub(crate) struct Cell {
    state: Latch<CellState>,
    jobs_done: Tally,
    /// True from being woken for work until it has looked for some. Written under the inbox lock.
    pub(crate) searching: Flag,
    /// Where it stands among the idle, as `plane/idle.rs` has it; `usize::MAX`: nowhere. Written under the inbox lock.
    pub(crate) idle_at: Count,
    pub(crate) parker: Parker,
    /// The claim whose future stands between two polls, or before the first with [`NOT_BEGUN`]; 0: none does; [`SEIZED`]: it will not be
    /// polled again, or at all.
    paused: AtomicU64,
    ready_at: AtomicU64,
    pub(crate) id: WorkerId,
    /// When the calendar has the job in hand looked at; `u64::MAX`: never.
    watched_until: AtomicU64,
    beat_at: AtomicU64,
    beat_claim: AtomicU64,
    pool: PoolNo,
    pub(crate) restarts: u32,
    pub(crate) started_at: Timestamp,
    facts: OnceLock<Facts>,
    failure: Mutex<Option<StartError>>,
    /// Its process, if it has one.
    process: OnceLock<Arc<dyn InProcess>>,
    /// The memory that its guest has in use, in bytes; `u64::MAX`: nobody has said. A figure that goes with nothing else.
    guest_memory: AtomicU64,
    /// The same as its last job left it, or as it came up: what it keeps from job to job.
    guest_keeps: AtomicU64,
    clock: Clock,
}

fn said(bytes: &AtomicU64) -> Option<u64> {
    let bytes = bytes.load(Ordering::Relaxed);
    (bytes != u64::MAX).then_some(bytes)
}

impl Cell {
    pub(crate) fn new(id: WorkerId, restarts: u32, pool: PoolNo, clock: Clock) -> Arc<Self> {
        let started_at = clock.now();
        Arc::new(Self {
            id,
            pool,
            restarts,
            started_at,
            parker: Parker::default(),
            searching: Flag::new(false),
            idle_at: Count::new(usize::MAX),
            state: Latch::new(CellState::new(started_at)),
            ready_at: AtomicU64::new(u64::MAX),
            jobs_done: Tally::new(0),
            beat_at: AtomicU64::new(0),
            beat_claim: AtomicU64::new(0),
            watched_until: AtomicU64::new(u64::MAX),
            paused: AtomicU64::new(0),
            facts: OnceLock::new(),
            failure: Mutex::new(None),
            process: OnceLock::new(),
            guest_memory: AtomicU64::new(u64::MAX),
            guest_keeps: AtomicU64::new(u64::MAX),
            clock,
        })
    }

    pub(crate) fn lock(&self) -> LatchGuard<'_, CellState> {
        self.state.lock()
    }

    /// When it first asked for work, if it has.
    pub(crate) fn ready_at(&self) -> Option<Timestamp> {
        let at = self.ready_at.load(Ordering::Acquire);
        (at != u64::MAX).then(|| Timestamp::from_nanos(at))
    }

    pub(crate) fn set_ready(&self, now: Timestamp) {
        self.ready_at.store(now.as_nanos(), Ordering::Release);
    }

    pub(crate) fn jobs_done(&self) -> u64 {
        self.jobs_done.load(Ordering::Relaxed)
    }

    /// Counts one, and says how many there are now. Called by the worker alone.
    pub(crate) fn count_job(&self) -> u64 {
        let jobs = self.jobs_done.load(Ordering::Relaxed) + 1;
        self.jobs_done.store(jobs, Ordering::Relaxed);
        jobs
    }

    /// When the job of this claim last said that it progresses.
    pub(crate) fn last_beat(&self, claim: ClaimNo) -> Option<Timestamp> {
        // Acquire pairs with `beat`'s Release: a claim number that matches comes with its own time.
        let same = self.beat_claim.load(Ordering::Acquire) == claim.0;
        same.then(|| Timestamp::from_nanos(self.beat_at.load(Ordering::Relaxed)))
    }

    /// When the job in hand last made progress: its start, or a beat since.
    pub(crate) fn progress(&self, held: &Held) -> Timestamp {
        self.last_beat(held.claim).map_or(held.since, |beat| beat.max(held.since))
    }

    /// Notes that somebody looks at the job in hand at `at`. False if somebody does before that.
    pub(crate) fn watch_until(&self, at: Timestamp) -> bool {
        // A job is in hand before this is asked, and `take_watch` comes before a look at what is in hand, both under the lock of the state
        // in between: so whoever is told here that somebody looks is seen by that look.
        at.as_nanos() < self.watched_until.fetch_min(at.as_nanos(), Ordering::AcqRel)
    }

    /// True if somebody looks at the job in hand.
    #[cfg(millpond_loom)]
    pub(crate) fn is_watched(&self) -> bool {
        self.watched_until.load(Ordering::Acquire) != u64::MAX
    }

    /// The look has come. False if it has been had already, or is another's.
    pub(crate) fn take_watch(&self, now: Timestamp) -> bool {
        let past = |until: u64| (until <= now.as_nanos()).then_some(u64::MAX);
        self.watched_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, past).is_ok()
    }

    /// The future of this claim has yielded: until its next poll nothing of it runs. Called by the worker alone.
    pub(crate) fn pause(&self, claim: ClaimNo) {
        // Release pairs with `seize`: what the poll did is seen by whoever says that it was the last one.
        self.paused.store(claim.0, Ordering::Release);
    }

    /// The worker has claimed a job and lets others go first before it begins it. Called by the worker alone.
    pub(crate) fn stand(&self, claim: ClaimNo) {
        // Release pairs with `take_back`: whoever takes it back sees a job that was claimed.
        self.paused.store(claim.0 | NOT_BEGUN, Ordering::Release);
    }

    /// The worker that stood goes on to begin its job. False: it was taken back. Called by the worker alone.
    pub(crate) fn go_on(&self, claim: ClaimNo) -> bool {
        // The swap decides between this and `take_back`.
        self.paused.compare_exchange(claim.0 | NOT_BEGUN, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Sees to it that the job of this claim is not begun. False: it was begun, or may be at any moment.
    pub(crate) fn take_back(&self, claim: ClaimNo) -> bool {
        let stands = claim.0 | NOT_BEGUN;
        let taken = self.paused.compare_exchange(stands, TAKEN_BACK, Ordering::AcqRel, Ordering::Acquire);
        taken == Ok(stands) || taken == Err(TAKEN_BACK)
    }

    /// Nothing of what is in hand will run any more.
    pub(crate) fn is_seized(&self) -> bool {
        matches!(self.paused.load(Ordering::Acquire), SEIZED | TAKEN_BACK)
    }

    /// What is in hand was not begun, and will not be.
    pub(crate) fn is_taken_back(&self) -> bool {
        self.paused.load(Ordering::Acquire) == TAKEN_BACK
    }

    /// A poll of this claim's future begins, unless it was seized: then it is not to be polled any more. Called by the worker alone.
    pub(crate) fn resume(&self, claim: ClaimNo) -> bool {
        match self.paused.load(Ordering::Relaxed) {
            SEIZED | TAKEN_BACK => false,
            // The swap decides between this and `seize`. A job that never yields does not pay for it.
            paused if paused == claim.0 => {
                self.paused.compare_exchange(paused, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
            _ => true,
        }
    }

    /// Sees to it that the future of this claim is not polled again. False: it is being polled, or is none, and may run on.
    pub(crate) fn seize(&self, claim: ClaimNo) -> bool {
        self.paused.compare_exchange(claim.0, SEIZED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn set_facts(&self, facts: Facts) {
        // A backend that says it twice is told apart by nobody: the first stands.
        let _ = self.facts.set(facts);
    }

    pub(crate) fn facts(&self) -> Facts {
        let mut facts = self.facts.get().cloned().unwrap_or_default();
        if let Some(process) = self.process.get() {
            process.look(&mut facts);
        }
        facts.guest_memory = self.guest_memory();
        facts
    }

    /// Called by the worker alone. `None`: there is no guest.
    #[cfg(feature = "guest")]
    pub(crate) fn set_guest_memory(&self, bytes: Option<u64>) {
        self.guest_memory.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Called by the worker alone, between two jobs.
    #[cfg(feature = "guest")]
    pub(crate) fn keep_guest_memory(&self) {
        self.guest_keeps.store(self.guest_memory.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn guest_memory(&self) -> Option<u64> {
        said(&self.guest_memory)
    }

    /// What its guest has in use between jobs; not what a job has that runs, and may give back.
    fn guest_keeps(&self) -> Option<u64> {
        said(&self.guest_keeps)
    }

    /// False if it is known that its guest has no more than so much in use any more. Of a process, what was read last stands.
    pub(crate) fn may_keep_more_than(&self, most: u64) -> bool {
        self.process.get().is_some() || self.guest_keeps().is_some_and(|bytes| bytes > most)
    }

    /// Notes why it did not come up.
    pub(crate) fn fail(&self, error: StartError) {
        // An error of the user's is read here, and may panic.
        let error = catch(|| error.sheltered()).unwrap_or_else(|caught| StartError::Panicked(caught.message));
        let late = {
            let mut failure = self.failure.lock();
            if failure.is_some() { Some(error) } else { failure.replace(error) }
        };
        // Dropped with nothing held.
        drop(late);
    }

    pub(crate) fn take_failure(&self) -> Option<StartError> {
        self.failure.lock().take()
    }

    /// Moves `Busy(claim)` to `Condemned(claim)`: the fence of every message about a job. `None`: another claim, or none, is in hand.
    pub(crate) fn condemn(&self, claim: ClaimNo, exit: Exit) -> Option<Share<dyn Envelope>> {
        let mut cell = self.lock();
        let job = cell.condemnable().filter(|(_, held)| *held == claim)?.0;
        (cell.state, cell.leave) = (WorkerState::Condemned, Some(exit));
        Some(job)
    }

    /// The same with whatever is in hand now, which may be nothing. `None`: the incarnation has no seat any more.
    pub(crate) fn condemn_any(&self, exit: Exit) -> Option<Option<(Share<dyn Envelope>, ClaimNo)>> {
        let mut cell = self.lock();
        if !cell.seated() {
            return None;
        }
        let job = cell.condemnable();
        if job.is_some() {
            cell.state = WorkerState::Condemned;
        }
        cell.leave = Some(exit);
        Some(job)
    }
}

impl InHand for Cell {
    fn worker(&self) -> WorkerId {
        self.id
    }

    fn pool(&self) -> PoolNo {
        self.pool
    }

    fn is_busy_with(&self, claim: ClaimNo) -> bool {
        let state = self.lock();
        state.state == WorkerState::Busy && state.held.as_ref().is_some_and(|held| held.claim == claim)
    }

    fn is_abandoned_with(&self, claim: ClaimNo) -> bool {
        let state = self.lock();
        state.state == WorkerState::Abandoned && state.held.as_ref().is_some_and(|held| held.claim == claim)
    }

    fn beat(&self, claim: ClaimNo) {
        // A context that outlives its job beats for nobody: the next claim's beats are not to be hidden by it.
        if self.beat_claim.load(Ordering::Acquire) > claim.0 {
            return;
        }
        self.beat_at.store(self.clock.now().as_nanos(), Ordering::Relaxed);
        self.beat_claim.fetch_max(claim.0, Ordering::AcqRel);
    }
}
