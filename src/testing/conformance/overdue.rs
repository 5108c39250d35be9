//! The watchdog, on a clock that the body moves: who makes no progress is warned about, asked, told and taken; who does is left alone.

use std::time::Duration;

use super::Subject;
use super::rig::{MILLI, Pond, Rig, SECOND};
use super::tether::Hold;
use crate::config::Lane;
use crate::control::{EventStream, Ladder, PoolEvent, Watchdog};
use crate::error::JobError;
use crate::executor::PoolExecutor;
use crate::policy::Exit;
use crate::snapshot::{Rung, WorkerState};
use crate::testing::SettableClock;

/// How long a job may be silent here.
const SPAN: Duration = Duration::from_secs(10);

/// What the watchdog said.
#[derive(PartialEq, Debug)]
enum Said {
    Warned(Duration),
    Took(Rung, Duration),
}

struct Watched<'s, S: Subject> {
    pond: Pond<'s, S>,
    clock: SettableClock,
    events: EventStream,
}

impl<'s, S: Subject> Watched<'s, S> {
    /// Four seconds after the warning it asks, after three more it tells, after two more it takes.
    fn new(rig: Rig<'s, S>, what: &str) -> Self {
        let ladder = Ladder::new().then(Rung::Cancel, SECOND * 3).then(Rung::Stop, SECOND * 2).then(Rung::Kill, SECOND);
        let (pond, clock) = rig.clocked_with(what, 1, |builder| {
            builder.default_lane(Lane::new("io").overdue_after(SPAN)).watchdog(Watchdog::new(SECOND * 4, ladder))
        });
        let events = pond.events();
        Self { pond, clock, events }
    }

    /// Control has heard of it when this returns.
    fn advance(&self, span: Duration) {
        self.clock.advance(span);
        self.pond.after_control();
    }

    fn said(&mut self) -> Vec<Said> {
        let said = |event| match event {
            PoolEvent::Overdue { silent_for, .. } => Some(Said::Warned(silent_for)),
            PoolEvent::OverdueRung { rung, silent_for, .. } => Some(Said::Took(rung, silent_for)),
            _ => None,
        };
        std::iter::from_fn(|| self.events.try_next()).filter_map(said).collect()
    }
}

pub(super) fn a_silent_job_is_warned_about_asked_told_and_taken_and_each_says_so<S: Subject>(rig: Rig<'_, S>) {
    let mut watched = Watched::new(rig, "silent");
    let hold = Hold::new();
    let handle = watched.pond.hold_one(&hold);
    let worker = watched.pond.worker_of(&handle);
    watched.advance(SPAN - MILLI);
    assert_eq!(watched.said(), []);
    watched.advance(MILLI);
    assert_eq!(watched.said(), [Said::Warned(SPAN)]);
    let row = watched.pond.inventory_now().workers.remove(0).job.expect("it runs");
    assert_eq!((row.overdue, row.silent_for), (true, SPAN));
    assert!(watched.pond.inventory_now().to_string().contains("overdue"));
    watched.advance(SECOND * 4);
    assert_eq!(watched.said(), [Said::Took(Rung::Cancel, SECOND * 14)]);
    assert_eq!(watched.pond.inventory_now().workers[0].state, WorkerState::Busy);
    watched.advance(SECOND * 3);
    assert_eq!(watched.said(), [Said::Took(Rung::Stop, SECOND * 17)]);
    assert_eq!(watched.pond.inventory_now().workers[0].state, WorkerState::Condemned);
    watched.advance(SECOND * 2);
    let error = rig.fails(handle);
    let (JobError::Killed(killed) | JobError::Abandoned(killed)) = &error else { panic!("{error}") };
    assert_eq!((killed.silent_for, killed.worker), (Some(SECOND * 19), worker));
    assert!(error.to_string().contains("stuck: no progress for 19.0 s, by rung kill"), "{error}");
    assert_eq!(rig.answer(watched.pond.put(rig.value(9))), 9, "its seat has another worker");
    hold.let_go();
    let exit = rig.event(&mut watched.events, |event| match event {
        PoolEvent::WorkerGone { worker: gone, exit } if gone == worker => Some(exit),
        _ => None,
    });
    assert!(matches!(exit, Exit::Stuck { silent_for, rung: Rung::Kill } if silent_for == SECOND * 19), "{exit}");
    assert_eq!(exit.to_string(), "stuck: no progress for 19.0 s, by rung kill of the watchdog's ladder");
    assert!(!exit.is_fault());
    watched.pond.at_rest();
    let ledger = watched.pond.snapshot().ledger;
    assert_eq!((ledger.killed + ledger.abandoned, ledger.completed), (1, 1), "{ledger}");
}

/// However long it takes.
pub(super) fn a_job_that_goes_on_beating_is_never_overdue<S: Subject>(rig: Rig<'_, S>) {
    let mut watched = Watched::new(rig, "beats");
    let hold = Hold::new();
    let handle = watched.pond.put(rig.polite(&hold));
    rig.until("it runs", || hold.begun() == 1);
    let worker = watched.pond.worker_of(&handle);
    for _ in 0..6 {
        watched.advance(SPAN - MILLI);
        let now = watched.clock.now();
        rig.until("it has beaten since", || {
            let row = watched.pond.inventory_now().workers.remove(0);
            row.job.is_some_and(|job| job.last_beat == Some(now))
        });
    }
    assert_eq!(watched.said(), [], "six times its span is no matter for one that beats");
    hold.let_go();
    rig.returns([handle]);
    watched.pond.at_rest();
    assert_eq!(watched.pond.workers(), [worker]);
}

pub(super) fn an_idle_worker_is_never_overdue<S: Subject>(rig: Rig<'_, S>) {
    let mut watched = Watched::new(rig, "idle");
    assert_eq!(rig.answer(watched.pond.put(rig.value(9))), 9);
    rig.until("it idles", || watched.pond.saturation().idle == 1);
    let worker = watched.pond.workers();
    for _ in 0..10 {
        watched.advance(SPAN);
    }
    assert_eq!((watched.said(), watched.pond.workers()), (vec![], worker));
    assert_eq!(rig.answer(watched.pond.put(rig.value(9))), 9);
    watched.pond.at_rest();
}
