//! Backends that are honest but for one thing, each of which breaks the clause that is there for it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use millpond::testing::conformance::{AfterCrash, Subject, Tether, Verdict, run_one};
use millpond::{
    Backend, BuildError, Capabilities, Facts, Hosts, JobCell, KillOutcome, KillReach, PoolBuilder, Share, StartError,
    Started, Tasks, Threads, WorkerContext, WorkerControl,
};
use parking_lot::Mutex;
use ractor::ActorCell;

use super::subjects::{OnTasks, OnThreads};
use crate::subject::runtime;
use crate::third_party::{Clerk, Errand};

/// Longer than an honest backend needs here, and what a lie costs that is known by what never comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The body of this id finds it out, and says so in these words.
#[track_caller]
fn is_found_out<S: Subject>(liar: &S, id: &str, words: &str) {
    let row = run_one(liar, id);
    assert_eq!(row.body.id, id);
    let Verdict::Broken(seen) = row.verdict else { panic!("{id} finds nothing: {:?}", row.verdict) };
    assert!(seen.contains(words), "`{words}` is not in: {seen}");
}

/// Another backend, that says something else of itself.
struct Says<B>(B, fn(&mut Capabilities));

impl<B: Backend> Backend for Says<B> {
    type Job = B::Job;

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.0.capabilities();
        self.1(&mut capabilities);
        capabilities
    }

    fn start(&self, cx: WorkerContext<B::Job>, supervisor: &ActorCell) -> Result<Started, StartError> {
        self.0.start(cx, supervisor)
    }

    fn prepare(&mut self, pool: &str) -> Result<(), BuildError> {
        self.0.prepare(pool)
    }

    fn host_gone(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.0.host_gone()
    }

    fn would_block(&self) -> bool {
        self.0.would_block()
    }
}

impl<J, B: Hosts<J>> Hosts<J> for Says<B> {
    type Output = B::Output;
    type Payload = B::Payload;

    fn wrap(job: J) -> B::Payload {
        B::wrap(job)
    }

    fn unwrap(payload: B::Payload) -> J {
        B::unwrap(payload)
    }

    fn erase(cell: Share<JobCell<B::Payload, B::Output>>) -> Share<B::Job> {
        B::erase(cell)
    }
}

/// The jobs of another subject, on a backend that they do not deserve.
struct Boasts<S, B>(S, Box<dyn Fn() -> B + Send + Sync>, AfterCrash);

impl<S: Subject, B: Backend + Hosts<S::Job, Output = u64>> Subject for Boasts<S, B>
where
    S::Backend: Hosts<S::Job, Output = u64>,
{
    type Backend = B;
    type Job = S::Job;

    fn builder(&self, name: &str) -> PoolBuilder<B> {
        PoolBuilder::new(name, (self.1)())
    }

    fn returns(&self, number: u64) -> S::Job {
        self.0.returns(number)
    }

    fn number(&self, output: u64) -> u64 {
        output
    }

    fn beats(&self, tether: Tether) -> S::Job {
        self.0.beats(tether)
    }

    fn ignores(&self, tether: Tether) -> S::Job {
        self.0.ignores(tether)
    }

    fn crashes(&self) -> S::Job {
        self.0.crashes()
    }

    fn after_crash(&self) -> AfterCrash {
        self.2
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

fn threads_that_say(lie: fn(&mut Capabilities)) -> impl Subject {
    Boasts(OnThreads, Box::new(move || Says(Threads::new(), lie)), AfterCrash::GoesOn)
}

fn tasks_that_say(lie: fn(&mut Capabilities)) -> impl Subject {
    let backend = move || Says(Tasks::new().runtime(runtime().handle().clone()), lie);
    Boasts(OnTasks, Box::new(backend), AfterCrash::GoesOn)
}

const KILL: &str = "reach::a_kill_does_what_the_capabilities_say";
const DEATH: &str = "reach::a_death_is_confirmed_as_the_capabilities_say";
const CRASH: &str = "restarts::a_crash_does_to_the_worker_what_was_said";

#[test]
fn kills_that_reach_nobody_and_are_said_to_reach_anywhere() {
    let liar = threads_that_say(|capabilities| capabilities.kill = KillReach::Anywhere);
    is_found_out(&liar, KILL, "kills reach Anywhere");
}

#[test]
fn kills_that_reach_and_are_said_to_reach_nobody() {
    let liar = tasks_that_say(|capabilities| capabilities.kill = KillReach::None);
    is_found_out(&liar, KILL, "kills reach None");
}

#[test]
fn deaths_that_are_said_to_be_confirmed_and_are_not() {
    let liar = threads_that_say(|capabilities| capabilities.death_confirmed = true);
    is_found_out(&liar, DEATH, "deaths are confirmed");
}

#[test]
fn deaths_that_are_confirmed_and_said_not_to_be() {
    let liar = tasks_that_say(|capabilities| capabilities.death_confirmed = false);
    is_found_out(&liar, DEATH, "deaths are not confirmed");
}

#[test]
fn memory_that_is_said_to_be_limited() {
    let liar = threads_that_say(|capabilities| capabilities.memory_limited = true);
    is_found_out(&liar, "reach::memory_is_limited_as_the_capabilities_say", "memory can be limited");
}

#[test]
fn a_crash_that_is_said_to_end_no_worker_and_does() {
    let backend = || Says(Threads::new().restart_after_panic(), |_| {});
    is_found_out(&Boasts(OnThreads, Box::new(backend), AfterCrash::GoesOn), CRASH, "GoesOn");
}

#[test]
fn a_crash_that_is_said_to_end_its_worker_and_does_not() {
    let backend = || Says(Threads::new(), |_| {});
    is_found_out(&Boasts(OnThreads, Box::new(backend), AfterCrash::EndsWorker), CRASH, "EndsWorker");
}

/// What a clerk does that he should not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Vice {
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
struct Rogues {
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
fn spawn(life: impl FnOnce() + Send + 'static) {
    std::thread::spawn(life);
}

impl Rogues {
    /// A day of one, but for what he does when he leaves.
    fn work(cx: &mut WorkerContext<JobCell<Errand, u64>>, vice: Vice) {
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

fn rogues(vice: Vice) -> (impl Subject, Over) {
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let backend = move || Rogues { vice, kept: Mutex::default(), over: until.clone(), hired: AtomicBool::new(false) };
    (Boasts(OnThreads, Box::new(backend), AfterCrash::GoesOn), Over(over))
}

#[track_caller]
fn a_rogue_is_found_out(vice: Vice, id: &str, words: &str) {
    let (liar, over) = rogues(vice);
    is_found_out(&liar, id, words);
    drop(over);
}

#[test]
fn capabilities_that_change() {
    a_rogue_is_found_out(Vice::ChangesHisMind, "reach::the_capabilities_stay_what_they_are", "before it had a pool");
}

#[test]
fn a_worker_that_survives_its_kill() {
    a_rogue_is_found_out(Vice::SurvivesKills, KILL, "kills reach Anywhere");
}

#[test]
fn a_job_that_survives_its_worker() {
    a_rogue_is_found_out(Vice::DiesAlone, KILL, "the killed job's code runs no more");
    a_rogue_is_found_out(Vice::DiesAlone, DEATH, "none of its code is left");
}

#[test]
fn a_worker_that_never_comes_up() {
    a_rogue_is_found_out(Vice::NeverReady, "restarts::a_worker_that_was_started_comes_up", "until it is up");
}

#[test]
fn a_worker_that_is_gone_as_soon_as_it_was_started() {
    a_rogue_is_found_out(Vice::VanishesAtOnce, "restarts::a_worker_that_was_started_comes_up", "came up");
}

#[test]
fn a_worker_whose_start_failed_and_that_works() {
    a_rogue_is_found_out(Vice::WorksUnhired, "restarts::whoever_was_told_to_go_is_no_fault", "failed to start");
}

#[test]
fn facts_that_are_anothers() {
    let facts = "inventory::facts_are_a_workers_own";
    a_rogue_is_found_out(Vice::SharesItsName, facts, "everyman");
    a_rogue_is_found_out(Vice::SaysItIsAProcess, facts, "another one than this");
}

#[test]
fn jobs_that_are_not_run() {
    a_rogue_is_found_out(Vice::DropsJobs, "outcomes::a_job_gives_what_it_gives", "the job was to return");
}

#[test]
fn jobs_that_are_run_as_if_they_were_none() {
    a_rogue_is_found_out(Vice::KeepsTheContext, "inventory::a_beat_is_seen", "it has beaten");
}

#[test]
fn crashes_that_are_not_told() {
    a_rogue_is_found_out(Vice::SwallowsPanics, CRASH, "was to fail");
    a_rogue_is_found_out(Vice::SwallowsPanics, "outcomes::a_crash_costs_one_job_and_says_which", "was to fail");
}

#[test]
fn workers_that_stay_when_they_are_told_to_leave() {
    a_rogue_is_found_out(Vice::Stays, "ladder::stop_takes_an_idle_worker_at_once", "StillRunning");
    a_rogue_is_found_out(Vice::Stays, "shutdown::a_shutdown_leaves_nobody_behind", "waited for");
}

/// Hosts errands on threads, and gives back another than it was given.
struct Switches;

impl Backend for Switches {
    type Job = JobCell<Errand, u64>;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("switching pool", KillReach::None)
    }

    fn start(&self, mut cx: WorkerContext<Self::Job>, _supervisor: &ActorCell) -> Result<Started, StartError> {
        spawn(move || Rogues::work(&mut cx, Vice::SaysItIsAProcess));
        Ok(Started::kept(Clerk))
    }
}

impl Hosts<Errand> for Switches {
    type Output = u64;
    type Payload = Errand;

    fn wrap(job: Errand) -> Errand {
        job
    }

    fn unwrap(_payload: Errand) -> Errand {
        Box::new(|| 0)
    }

    fn erase(cell: Share<JobCell<Errand, u64>>) -> Share<JobCell<Errand, u64>> {
        cell
    }
}

#[test]
fn refused_jobs_that_come_back_as_others() {
    let liar = Boasts(OnThreads, Box::new(|| Switches), AfterCrash::GoesOn);
    is_found_out(&liar, "admission::a_refused_job_comes_back_and_can_be_submitted_again", "right: 11");
}
