//! What the submitters know: the other side of the ledger.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millpond::{Ended, JobError, JobHandle, JobId, JoinError, Ledger, Rejected, Target, WorkerId};
use parking_lot::Mutex;

use crate::errand::Record;
use crate::site::{FOREVER, Shared};
use crate::terms::is_deserved;

/// Counts of the submitters, and what must stay true of jobs that have ended.
#[derive(Default)]
pub struct Books {
    offered: AtomicU64,
    accepted: AtomicU64,
    rejected: AtomicU64,
    withdrawn: AtomicU64,
    ended: Mutex<HashMap<Ended, u64>>,
    /// Handles that were dropped before they had an outcome.
    unseen: AtomicU64,
    /// By what was said of them, these never begin.
    idle: Mutex<Vec<(u64, Arc<Record>)>>,
    /// These were killed before they reached their last line.
    cut_off: Mutex<Vec<(u64, Arc<Record>)>>,
    /// What operators aimed at.
    jobs: Mutex<HashSet<JobId>>,
    workers: Mutex<HashSet<WorkerId>>,
}

/// A job that is offered; dropped before there is an answer, it was withdrawn.
pub struct Offer {
    pub no: u64,
    pub record: Arc<Record>,
    shared: Option<Arc<Shared>>,
}

/// A job that was admitted.
pub struct Kept {
    /// Until it is to be dropped.
    handle: Option<JobHandle<u64>>,
    no: u64,
    record: Arc<Record>,
    shared: Arc<Shared>,
    settled: bool,
}

impl Offer {
    pub fn new(no: u64, record: Arc<Record>, shared: &Arc<Shared>) -> Self {
        shared.books.offered.fetch_add(1, Ordering::AcqRel);
        Self { no, record, shared: Some(shared.clone()) }
    }

    /// The pool's answer. `None`: it was refused.
    pub fn answered<J>(mut self, answer: Result<JobHandle<u64>, Rejected<J>>) -> Option<Kept> {
        let shared = self.shared.take().expect("answered once");
        let books = &shared.books;
        match answer {
            Ok(handle) => {
                books.accepted.fetch_add(1, Ordering::AcqRel);
                Some(Kept { handle: Some(handle), no: self.no, record: self.record.clone(), shared, settled: false })
            }
            Err(refused) => {
                books.rejected.fetch_add(1, Ordering::AcqRel);
                books.idle.lock().push((self.no, self.record.clone()));
                if !self.record.terms.allow_refusal(refused.reason(), &shared) {
                    shared.violated(format!("job {} was refused: {}", self.no, refused.reason()));
                }
                None
            }
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.books.withdrawn.fetch_add(1, Ordering::AcqRel);
            shared.books.idle.lock().push((self.no, self.record.clone()));
        }
    }
}

impl Kept {
    fn handle(&mut self) -> &mut JobHandle<u64> {
        self.handle.as_mut().expect("until it is dropped")
    }

    pub fn cancel(&mut self) {
        self.record.cancel();
        self.handle().cancel();
    }

    /// Drops the handle of a job that is to be cancelled by that.
    pub fn drop_and_cancel(mut self) {
        self.record.cancel();
        drop(self.handle.take().map(JobHandle::cancel_on_drop));
    }

    /// Waits for the outcome, which comes: inside a job, at least that of the wait.
    pub fn join(mut self) {
        match self.handle().join_timeout(FOREVER) {
            Ok(output) => self.settle(Ok(output)),
            Err(JoinError::Job(error)) => self.settle(Err(error)),
            Err(other) => self.shared.violated(format!("job {} left waiting: {other}", self.no)),
        }
    }

    /// The same for at most `span`; gives it back if there is none.
    pub fn join_for(mut self, span: Duration) -> Option<Self> {
        match self.handle().join_timeout(span) {
            Ok(output) => self.settle(Ok(output)),
            Err(JoinError::Job(error)) => self.settle(Err(error)),
            Err(_) => return Some(self),
        }
        None
    }

    /// The same inside a job, where nothing but the outcome may end the wait: a timer could do so as well, for all that the pool knows.
    pub async fn wait_inside(mut self) {
        let outcome = self.handle().await;
        self.settle(outcome);
    }

    pub async fn wait(mut self) {
        match tokio::time::timeout(FOREVER, self.handle()).await {
            Ok(outcome) => self.settle(outcome),
            Err(_) => self.shared.violated(format!("job {} left waiting", self.no)),
        }
    }

    fn settle(&mut self, outcome: Result<u64, JobError>) {
        let (begun, over) = (self.record.has_begun(), self.record.is_over());
        let entry = || (self.no, self.record.clone());
        let books = &self.shared.books;
        // What the job itself knows of it.
        let as_known = match &outcome {
            Ok(output) => *output == self.no && over,
            Err(JobError::Panicked(_)) => begun && !over,
            Err(JobError::Cancelled(_) | JobError::StartFailed(_) | JobError::NotStarted(_)) => {
                books.idle.lock().push(entry());
                !begun
            }
            Err(JobError::TimedOut(late)) => {
                if late.worker.is_none() {
                    books.idle.lock().push(entry());
                }
                late.worker.is_some() || !begun
            }
            Err(JobError::Killed(_)) => {
                if !over && !self.record.is_remote() {
                    books.cut_off.lock().push(entry());
                }
                true
            }
            // Only a wait ended, inside a job: the job itself goes on, and nobody waits for it any more.
            Err(JobError::Deadlock(_)) if self.record.terms.nested => {
                self.shared.tally.note("a wait was ended");
                return;
            }
            Err(_) => true,
        };
        if !as_known || !is_deserved(&self.record, &outcome, &self.shared) {
            let terms = self.record.terms;
            self.shared.violated(format!("job {}, {terms:?}, begun: {begun}, over: {over}: {outcome:?}", self.no));
        }
        self.note_effect(begun, &outcome);
        let ended = outcome.map_or_else(|error| error.ended().expect("it ended"), |_| Ended::Completed);
        *books.ended.lock().entry(ended).or_default() += 1;
        self.settled = true;
    }

    fn note_effect(&self, begun: bool, outcome: &Result<u64, JobError>) {
        let tally = &self.shared.tally;
        match outcome {
            Err(JobError::Killed(killed) | JobError::Abandoned(killed)) if killed.silent_for.is_some() => {
                tally.note("a job ended as stuck");
            }
            Err(JobError::TimedOut(late)) => tally.note(format!("a job passed its {}", late.limit)),
            Err(JobError::Cancelled(cancelled)) => tally.note(format!("a job was cancelled by {}", cancelled.by)),
            Err(JobError::StartFailed(_)) => tally.note("a job's worker did not come up"),
            _ => {}
        }
        if let Some(fault) = self.record.terms.fault
            && begun
        {
            tally.note(format!("fault: {fault} job ran"));
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.books.unseen.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Books {
    /// Operators are about to aim at these.
    pub fn aim_at(&self, targets: &[Target]) {
        for target in targets {
            match *target {
                Target::Worker(worker) => drop(self.workers.lock().insert(worker)),
                Target::Claim { job, .. } | Target::Queued(job) => drop(self.jobs.lock().insert(job)),
                _ => {}
            }
        }
    }

    /// True if an operator aimed at this job, or at the worker that had it: invariant 4.
    pub fn was_aimed_at(&self, job: JobId, worker: Option<WorkerId>) -> bool {
        self.jobs.lock().contains(&job) || worker.is_some_and(|worker| self.workers.lock().contains(&worker))
    }

    /// What was said of jobs that ended is still true. `None`: it is.
    pub fn broken_word(&self) -> Option<String> {
        let begun = self.idle.lock().iter().find(|(_, record)| record.has_begun()).map(|(no, _)| *no);
        let over = self.cut_off.lock().iter().find(|(_, record)| record.is_over()).map(|(no, _)| *no);
        match (begun, over) {
            (Some(no), _) => Some(format!("job {no} ran although it had ended before it began")),
            (_, Some(no)) => Some(format!("job {no} ran on after it had been killed")),
            _ => None,
        }
    }

    /// At rest: both sides say the same. `Some`: how they differ.
    pub fn differ(&self, ledger: &Ledger) -> Option<String> {
        let count = |count: &AtomicU64| count.load(Ordering::Acquire);
        let mine = [&self.offered, &self.accepted, &self.rejected, &self.withdrawn].map(count);
        let pools = [ledger.offered, ledger.accepted, ledger.rejected, ledger.withdrawn];
        let ended = self.ended.lock();
        let mut unseen = 0;
        let mut fewer = false;
        for (end, said) in ends(ledger) {
            let seen = ended.get(&end).copied().unwrap_or(0);
            fewer |= said < seen;
            unseen += said.saturating_sub(seen);
        }
        let same = mine == pools && !fewer && unseen == count(&self.unseen);
        (!same).then(|| {
            format!(
                "offered, accepted, rejected, withdrawn: {mine:?} and {ended:?}, {unseen} of {:?} unseen, but {ledger}",
                self.unseen
            )
        })
    }
}

pub fn ends(ledger: &Ledger) -> [(Ended, u64); 8] {
    [
        (Ended::Completed, ledger.completed),
        (Ended::Panicked, ledger.panicked),
        (Ended::Cancelled, ledger.cancelled),
        (Ended::Expired, ledger.expired),
        (Ended::NotStarted, ledger.not_started),
        (Ended::Killed, ledger.killed),
        (Ended::Abandoned, ledger.abandoned),
        (Ended::Lost, ledger.lost),
    ]
}
