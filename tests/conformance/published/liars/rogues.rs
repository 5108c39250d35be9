//! Clerks that do errands on threads, each with one vice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use millpond::testing::conformance::{AfterCrash, Subject};
use millpond::{
    Backend, Capabilities, Facts, Hosts, JobCell, KillOutcome, KillReach, Share, StartError, Started, WorkerContext,
    WorkerControl,
};
use parking_lot::Mutex;
use ractor::ActorCell;

use super::{Boasts, is_found_out};
use crate::published::subjects::OnThreads;
use crate::third_party::{Clerk, Errand};

/// What a clerk does that he should not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Vice {
    /// Says that he drops his errand, and does not.
    SurvivesKills,
    /// Leaves it to another, who goes on with it when the clerk is killed.
    DiesAlone,
    /// Is started, and never asks for work.
    NeverReady,
    /// Is gone as soon as he was started.
    VanishesAtOnce,
    /// Could not be started, and works all the same.
    WorksUnhired,
    /// Has no name of his own.
    SharesItsName,
    /// Says that he is a process.
    SaysItIsAProcess,
    /// Drops every other errand.
    DropsJobs,
    /// Does an errand as if it were his own.
    KeepsTheContext,
    /// Says that an errand went well that did not.
    SwallowsPanics,
    /// Stays when he is told to leave.
    Stays,
    /// Is another once he has been hired.
    ChangesHisMind,
}

/// Hosts errands on threads.
pub(super) struct Rogues {
    vice: Vice,
    /// Contexts of those that are only said to be there.
    kept: Mutex<Vec<WorkerContext<JobCell<Errand, u64>>>>,
    /// Set when the test is over.
    over: Arc<AtomicBool>,
    /// Set when one was started.
    hired: AtomicBool,
}

struct Ignored;

impl WorkerControl for Ignored {
    fn kill(&self) -> KillOutcome {
        KillOutcome::Signalled
    }
}

/// Ends the clerk, and not who does his errand.
struct Bell(SyncSender<Option<u64>>);

impl WorkerControl for Bell {
    fn kill(&self) -> KillOutcome {
        // One that has ended hears nothing.
        let _ = self.0.try_send(None);
        KillOutcome::Signalled
    }
}

#[expect(clippy::disallowed_methods, reason = "a backend is a home of threads")]
pub(super) fn spawn(life: impl FnOnce() + Send + 'static) {
    std::thread::spawn(life);
}

impl Rogues {
    /// A day of one, but for what he does when he leaves.
    pub(super) fn work(cx: &mut WorkerContext<JobCell<Errand, u64>>, vice: Vice) {
        let mut done = 0;
        while let Some(mut claim) = cx.next_blocking() {
            done += 1;
            match vice {
                Vice::DropsJobs if done % 2 == 0 => drop(claim),
                Vice::KeepsTheContext => {
                    let Some(errand) = claim.take() else { continue };
                    let given = catch_unwind(AssertUnwindSafe(errand)).map_err(|_| "it panicked".to_owned());
                    claim.run(|cell, _| cell.finish(given));
                }
                Vice::SwallowsPanics => {
                    let guarded = |errand: Errand| catch_unwind(AssertUnwindSafe(errand)).unwrap_or(0);
                    claim.run(|cell, key| cell.run(key, guarded));
                }
                _ => drop(claim.run(|cell, key| cell.run(key, |errand| errand()))),
            }
        }
    }

    /// Has each errand done by another thread.
    fn delegate(
        mut cx: WorkerContext<JobCell<Errand, u64>>,
        told: SyncSender<Option<u64>>,
        orders: &std::sync::mpsc::Receiver<Option<u64>>,
    ) {
        while let Some(mut claim) = cx.next_blocking() {
            let Some(errand) = claim.take() else { continue };
            let done = told.clone();
            spawn(move || {
                let given = errand();
                // Whoever was killed does not want it any more.
                let _ = done.try_send(Some(given));
            });
            match orders.recv() {
                Ok(Some(given)) => drop(claim.run(|cell, _| cell.finish(Ok(given)))),
                _ => return,
            }
        }
    }
}

impl Backend for Rogues {
    type Job = JobCell<Errand, u64>;

    fn capabilities(&self) -> Capabilities {
        let reach = if matches!(self.vice, Vice::SurvivesKills | Vice::DiesAlone) {
            KillReach::Anywhere
        } else {
            KillReach::None
        };
        let changed = self.vice == Vice::ChangesHisMind && self.hired.load(Ordering::Acquire);
        Capabilities::new(if changed { "another pool" } else { "rogue pool" }, reach)
    }

    fn start(&self, mut cx: WorkerContext<Self::Job>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        let (vice, over) = (self.vice, self.over.clone());
        self.hired.store(true, Ordering::Release);
        let mut facts = Facts::default();
        match vice {
            Vice::NeverReady => {
                self.kept.lock().push(cx);
                return Ok(Started::kept(Clerk));
            }
            Vice::VanishesAtOnce => return Ok(Started::kept(Clerk)),
            Vice::DiesAlone => {
                let (told, orders) = sync_channel(2);
                let bell = Bell(told.clone());
                spawn(move || Self::delegate(cx, told, &orders));
                return Ok(Started::kept(bell));
            }
            Vice::SharesItsName => facts.thread = Some(Arc::from("everyman")),
            Vice::SaysItIsAProcess => facts.pid = Some(std::process::id()),
            _ => {}
        }
        cx.set_facts(facts);
        spawn(move || {
            Self::work(&mut cx, vice);
            while vice == Vice::Stays && !over.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        });
        match vice {
            Vice::WorksUnhired => Err(StartError::failed("nobody is there")),
            Vice::SurvivesKills => Ok(Started::kept(Ignored)),
            _ => Ok(Started::kept(Clerk)),
        }
    }
}

impl Hosts<Errand> for Rogues {
    type Output = u64;
    type Payload = Errand;

    fn wrap(job: Errand) -> Errand {
        job
    }

    fn unwrap(payload: Errand) -> Errand {
        payload
    }

    fn erase(cell: Share<JobCell<Errand, u64>>) -> Share<JobCell<Errand, u64>> {
        cell
    }
}

/// Lets go of those that stay when it is dropped.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Rogues {
    pub(super) fn of(vice: Vice, over: Arc<AtomicBool>) -> Self {
        Self { vice, kept: Mutex::default(), over, hired: AtomicBool::new(false) }
    }
}

fn rogues(vice: Vice) -> (impl Subject, Over) {
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let backend = move || Rogues::of(vice, until.clone());
    (Boasts(OnThreads, Box::new(backend), AfterCrash::GoesOn), Over(over))
}

#[track_caller]
pub(super) fn a_rogue_is_found_out(vice: Vice, id: &str, words: &str) {
    let (liar, over) = rogues(vice);
    is_found_out(&liar, id, words);
    drop(over);
}
