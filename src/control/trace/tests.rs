//! Each thing that control tells is an event of its own, with its facts in fields. What a pool makes of itself: `tests/tracing`.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::subscriber::with_default;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use super::*;
use crate::config::{InForce, Limits, Retuned};
use crate::error::{DeadLetter, Deadlock, Delivery, NestedWait};
use crate::hook::{HookChange, HookFault, Question, Verdict};
use crate::id::{By, JobId};
use crate::policy::RecycleReason;
use crate::snapshot::{Quarantined, Shortage, TerminationReport, Veto};
use crate::sync::{Arc, Timestamp};

type Fields = BTreeMap<&'static str, String>;

#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<(Level, Fields)>>>);

struct Fill<'a>(&'a mut Fields);

impl Visit for Fill<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _cx: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Fill(&mut fields));
        self.0.lock().push((*event.metadata().level(), fields));
    }
}

const SECOND: Duration = Duration::from_secs(1);
const WORKER: WorkerId = WorkerId { slot: 3, generation: 7 };
const CLAIM: ClaimNo = ClaimNo(2);
const JOB: JobId = JobId(9);

/// What is told, how loud, in which words, and fields beside these.
type Row = (PoolEvent, Level, &'static str, &'static [(&'static str, &'static str)]);

fn restarts() -> Vec<Row> {
    let decided = |restart| PoolEvent::RestartDecided { worker: WORKER, restart };
    vec![
        (
            decided(Restart::CoolDown(SECOND)),
            Level::WARN,
            "a slot is out of budget",
            &[("worker", "3.7"), ("restart", "cool down"), ("delay", "1s")],
        ),
        (
            decided(Restart::Never),
            Level::WARN,
            "a slot stays empty for good",
            &[("worker", "3.7"), ("restart", "never")],
        ),
        (
            PoolEvent::ProbeSucceeded { worker: WORKER, cool_downs: 4, out_for: SECOND },
            Level::INFO,
            "a probe has succeeded: its slot is back",
            &[("worker", "3.7"), ("cool_downs", "4"), ("out_for", "1s")],
        ),
        (
            PoolEvent::PolicyReplaced { reason: "it panicked: no idea".to_owned() },
            Level::ERROR,
            "a policy is replaced",
            &[("reason", "it panicked: no idea")],
        ),
        (
            PoolEvent::RestartPolicySet { by: By::Operator(Some(Arc::from("night shift"))) },
            Level::INFO,
            "another restart policy is in force",
            &[("by", "night shift")],
        ),
        (
            PoolEvent::RecycleDue { worker: WORKER, reason: RecycleReason::Jobs(100) },
            Level::DEBUG,
            "a worker is due to be recycled",
            &[("worker", "3.7"), ("reason", "after 100 jobs")],
        ),
    ]
}

fn limits() -> Vec<Row> {
    let (lower, upper) = (Limits::new(1, 2), Limits::new(1, 6));
    let in_force = |bounds| InForce::new(lower, bounds, Vec::new(), Some(SECOND));
    let why = || Shortage { given_up: 1, ..Shortage::default() };
    vec![
        (
            PoolEvent::Scaled { from: 2, to: 5 },
            Level::INFO,
            "the autoscaler has changed the limit",
            &[("max_before", "2"), ("max", "5")],
        ),
        (
            PoolEvent::Resized { from: lower, to: lower, bounds_from: upper, bounds: lower, by: By::Pool },
            Level::INFO,
            "new limits are in force",
            &[("max_before", "2"), ("max", "2"), ("bound_before", "6"), ("bound", "2"), ("by", "pool")],
        ),
        (
            PoolEvent::Retuned(Arc::new(Retuned::new(By::Pool, in_force(upper), in_force(lower)))),
            Level::INFO,
            "the pool was retuned",
            &[("changes", "the autoscaler's bound 6 to 2")],
        ),
        (PoolEvent::Health(Health::Healthy), Level::INFO, "the pool's health changed", &[("health", "healthy")]),
        (
            PoolEvent::Health(Health::Degraded { missing: 1, since: Timestamp::default(), why: why() }),
            Level::WARN,
            "the pool's health changed",
            &[("health", "degraded"), ("missing", "1"), ("why", "1 slot given up for good")],
        ),
        (
            PoolEvent::Health(Health::Unavailable { since: Timestamp::default(), why: why() }),
            Level::ERROR,
            "the pool's health changed",
            &[("health", "unavailable"), ("why", "1 slot given up for good")],
        ),
    ]
}

fn hooks() -> Vec<Row> {
    let question = || Question::Start { worker: WORKER };
    let hook = || Arc::from("cold");
    vec![
        (
            PoolEvent::Vetoed { question: question(), veto: Veto::new(hook(), Arc::from("not today")), by: By::Pool },
            Level::INFO,
            "a hook denied what the pool was about to do",
            &[("question", "start"), ("worker", "3.7"), ("wanted_by", "pool"), ("by", "cold"), ("reason", "not today")],
        ),
        (
            PoolEvent::Delayed {
                question: question(),
                delay: Delay::new(hook(), SECOND, Timestamp::default()),
                by: By::Pool,
            },
            Level::INFO,
            "a hook put off what the pool was about to do",
            &[("question", "start"), ("worker", "3.7"), ("wanted_by", "pool"), ("by", "cold"), ("delay", "1s")],
        ),
        (
            PoolEvent::HookFault {
                hook: hook(),
                question: "start",
                fault: HookFault::Late(SECOND),
                verdict: Verdict::Allow,
            },
            Level::WARN,
            "a hook gave no answer that makes sense: its default counts",
            &[("hook", "cold"), ("question", "start"), ("fault", "Late(1s)")],
        ),
        (
            PoolEvent::Hook { name: hook(), change: HookChange::Replaced, by: By::Operator(None) },
            Level::INFO,
            "the hooks changed",
            &[("hook", "cold"), ("change", "Replaced"), ("by", "operator")],
        ),
    ]
}

fn jobs() -> Vec<Row> {
    let wait = NestedWait {
        pool: Arc::from("pond"),
        job: JOB,
        label: None,
        submitted_from: Location::caller(),
        worker: WORKER,
        waits_for: Vec::new(),
    };
    let report = TerminationReport { targets: Vec::new(), veto: None };
    vec![
        (
            PoolEvent::Overrun { worker: WORKER, claim: CLAIM },
            Level::WARN,
            "a running job passed its limit: its worker goes down the ladder",
            &[("worker", "3.7"), ("claim", "2")],
        ),
        (
            PoolEvent::LetOff { worker: WORKER, claim: CLAIM, job: JOB, silent_for: SECOND },
            Level::INFO,
            "an overdue job is let off",
            &[("worker", "3.7"), ("claim", "2"), ("job", "9"), ("silent_for", "1s")],
        ),
        (
            PoolEvent::Deadlock(Arc::new(Deadlock { waits: vec![wait], more: 2 })),
            Level::DEBUG,
            "a wait was ended",
            &[("waits", "3")],
        ),
        (
            PoolEvent::Terminated { report: Arc::new(report), by: By::Operator(None) },
            Level::INFO,
            "a termination is over",
            &[("by", "operator"), ("targets", "0")],
        ),
    ]
}

fn deliveries() -> Vec<Row> {
    let label = || Some(Arc::from("parse"));
    let lost = || {
        Arc::new(Delivery {
            number: 1,
            worker: WORKER,
            pid: None,
            began_at: Timestamp::default(),
            ended_at: Timestamp::default(),
            by: Arc::from("killed"),
            #[cfg(feature = "process")]
            death: None,
        })
    };
    let letter = DeadLetter {
        pool: Arc::from("pond"),
        lane: Arc::from("default"),
        job: JOB,
        label: label(),
        submitted_from: Location::caller(),
        accepted_at: Timestamp::default(),
        deliveries: vec![lost(), lost()],
        quarantine: None,
        payload: None,
        payload_bytes: None,
    };
    let why = Quarantined {
        pool: Arc::from("pond"),
        label: Arc::from("parse"),
        deaths: 10,
        within: SECOND * 60,
        since: Timestamp::default(),
        until: Timestamp::default().after(SECOND * 30),
        at: Timestamp::default(),
    };
    vec![
        (
            PoolEvent::Redelivered { job: JOB, label: label(), lost: lost(), rests_for: SECOND },
            Level::WARN,
            "a worker was lost under a job, which is to be delivered again",
            &[("job", "9"), ("label", "parse"), ("worker", "3.7"), ("delivery", "1"), ("rests_for", "1s")],
        ),
        (
            PoolEvent::DeadLettered(Arc::new(letter)),
            Level::ERROR,
            "a job is dead-lettered: it is not delivered any more",
            &[("job", "9"), ("label", "parse"), ("deliveries", "2")],
        ),
        (
            PoolEvent::Quarantined(Arc::new(why)),
            Level::ERROR,
            "a label is in quarantine: workers keep being lost under its jobs",
            &[("label", "parse"), ("deaths", "10"), ("within", "60s"), ("lasts", "30s")],
        ),
        (
            PoolEvent::Released { label: Arc::from("parse") },
            Level::INFO,
            "a label is in quarantine no more",
            &[("label", "parse")],
        ),
    ]
}

#[test]
fn each_event_is_one_of_tracings_with_its_facts_in_fields() {
    let listener = Listener::default();
    let rows = [restarts(), limits(), hooks(), jobs(), deliveries()];
    for (event, level, message, fields) in rows.into_iter().flatten() {
        with_default(Registry::default().with(listener.clone()), || trace("pond", &event));
        let heard = std::mem::take(&mut *listener.0.lock());
        let [(is, told)] = &heard[..] else { panic!("{event:?} is {heard:?}") };
        assert_eq!((is, &*told["message"], &*told["pool"]), (&level, message, "pond"), "{event:?}");
        for (field, value) in fields {
            assert_eq!(told.get(field).map(|is| &**is), Some(*value), "{field} of {told:?}");
        }
    }
}
