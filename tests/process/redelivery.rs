//! Jobs that may be delivered more than once, and lose their workers.

use std::time::Duration;

use millpond::process::ChildOptions;
use millpond::{
    DeathCause, Exit, JobContext, JobError, JobOptions, JobStatus, Limits, PoolEvent, PoolExecutor, ProcessPool,
    ProgramPool, Quarantine, Redelivery, Restart, RestartPolicy, Select, SlotHistory, TimeLimit, Timestamp,
};

use crate::rig::{Marks, builder, death_of, exists, failure, mark, patient_kill, pids, pool, pool_with, signal, until};

const LIMIT: TimeLimit = TimeLimit(Duration::from_secs(30));

/// So many deliveries with hardly a rest.
fn times(deliveries: u16) -> JobOptions {
    let moment = Duration::from_millis(1);
    JobOptions::new().label("fragile").redeliver(Redelivery::new(deliveries).back_off(moment, moment))
}

fn delivery() -> u16 {
    JobContext::current().expect("a job runs here").delivery()
}

fn sleep_for_ever(path: String) {
    mark(&path);
    std::thread::sleep(Duration::from_secs(3_600));
}

/// The worker and the process that have a job, once one has.
fn holder(pool: &ProcessPool) -> (millpond::WorkerId, u32) {
    let mut found = None;
    until("a worker has the job", || {
        let rows = pool.inventory_now().workers;
        found = rows.iter().find(|row| row.job.is_some()).map(|row| (row.worker, row.facts.pid.expect("it is known")));
        found.is_some()
    });
    found.expect("it was found")
}

#[test]
fn a_job_that_loses_its_worker_is_delivered_again_under_its_number() {
    let pool = pool("again", 1);
    let mut events = pool.events();
    let marks = Marks::new("again");
    let fragile = |path: String| {
        mark(&path);
        match delivery() {
            1 => std::process::abort(),
            2 => std::process::exit(7),
            last => (last, JobContext::current().expect("a job runs here").job_id().get()),
        }
    };
    let mut handle = pool.with(times(3)).submit_call_blocking(fragile, marks.path()).unwrap();
    assert_eq!(handle.join_timeout(LIMIT.0).unwrap(), (3, handle.id().get()));
    assert_eq!(handle.lost_deliveries(), 2);
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && (ledger.accepted, ledger.completed, ledger.pending) == (1, 1, 0), "{ledger}");
    let ran = marks.pids();
    assert_eq!(ran.len(), 3);
    let mut lost = Vec::new();
    while lost.len() < 2 {
        match events.next_timeout(LIMIT.0).expect("it is told").expect("the pool goes on") {
            PoolEvent::Redelivered { job, label, lost: delivery, .. } => {
                assert_eq!((job, label.as_deref()), (handle.id(), Some("fragile")));
                lost.push(delivery);
            }
            PoolEvent::RestartDecided { .. } => panic!("a slot does not answer for a job"),
            _ => {}
        }
    }
    let causes: Vec<_> = lost.iter().map(|delivery| delivery.death.as_ref().unwrap().cause.clone()).collect();
    assert_eq!(causes, [DeathCause::Signalled(6), DeathCause::Exited(7)]);
    let of = |delivery: &millpond::Delivery| (delivery.number, delivery.pid.expect("it was a process"));
    assert_eq!([of(&lost[0]), of(&lost[1])], [(1, ran[0]), (2, ran[1])]);
    assert!(lost[0].ended_at <= lost[1].began_at && lost[1].began_at < lost[1].ended_at);
}

/// While its job rests the pool starts nobody: the spare is there, and has the job when the rest is over.
#[test]
fn a_job_that_is_delivered_again_goes_to_the_spare() {
    let limits = Limits::new(0, 2).min_idle(1);
    let pool = builder("to-the-spare").limits(limits).build().expect("it is built");
    let marks = Marks::new("to-the-spare");
    let fragile = |path: String| {
        mark(&path);
        if delivery() == 1 {
            sleep_for_ever(path);
        }
        std::process::id()
    };
    let rest = Duration::from_millis(500);
    let options = JobOptions::new().redeliver(Redelivery::new(2).back_off(rest, rest));
    let handle = pool.with(options).submit_call_blocking(fragile, marks.path()).unwrap();
    let (worker, pid) = holder(&pool);
    until("its spare is up", || pool.saturation().idle == 1 && !marks.pids().is_empty());
    let rows = pool.inventory_now().workers;
    let spare = rows.iter().find(|row| row.worker != worker).and_then(|row| row.facts.pid).expect("it is a process");
    signal(pid, "KILL");
    assert_eq!(handle.join().unwrap(), spare);
    until("another is kept warm", || pool.saturation().idle == 1);
}

#[test]
fn one_that_loses_each_worker_is_dead_lettered_with_its_history() {
    let pool = pool_with("spent", 1, ChildOptions::new().memory(1 << 30));
    let mut events = pool.events();
    let greedy = |()| if delivery() == 1 { vec![1_u8; 8 << 30].len() } else { std::process::exit(3) };
    let handle = pool.with(times(2)).submit_call_blocking(greedy, ()).unwrap();
    let id = handle.id();
    let error = failure(handle);
    let JobError::DeadLettered(letter) = &error else { panic!("{error}") };
    let causes: Vec<_> = letter.deliveries.iter().map(|it| it.death.as_ref().unwrap().cause.clone()).collect();
    assert_eq!((letter.job, causes), (id, vec![DeathCause::OutOfMemory, DeathCause::Exited(3)]));
    assert!(letter.deliveries.iter().all(|delivery| !exists(delivery.pid.expect("it was a process"))));
    let text = error.to_string();
    assert!(text.contains("after 2; delivery 1: worker") && text.contains("exited with code 3"), "{text}");
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && (ledger.dead_lettered, ledger.lost, ledger.ended()) == (1, 0, 1), "{ledger}");
    loop {
        match events.next_timeout(LIMIT.0).expect("it is told").expect("the pool goes on") {
            PoolEvent::DeadLettered(told) => {
                assert_eq!((&told.deliveries, told.job, &told.payload), (&letter.deliveries, id, &None));
                return assert_eq!((told.payload_bytes, letter.payload_bytes), (Some(0), Some(0)), "of no arguments");
            }
            PoolEvent::RestartDecided { .. } => panic!("a slot does not answer for a job"),
            _ => {}
        }
    }
}

/// Its submitter has what it takes to send it again; whoever is told has how long that is.
#[test]
fn a_dead_letter_brings_the_payload_home() {
    let pool = pool("letters", 1);
    let mut events = pool.events();
    let fragile = |(path, number, dies): (String, u64, bool)| {
        mark(&path);
        if dies {
            std::process::abort();
        }
        number
    };
    let marks = Marks::new("letters");
    let sent = (marks.path(), 77_u64, true);
    let error = failure(pool.with(times(2)).submit_call_blocking(fragile, sent.clone()).unwrap());
    let JobError::DeadLettered(letter) = &error else { panic!("{error}") };
    let payload = letter.payload.as_ref().expect("it was delivered");
    assert_eq!(payload.arguments::<(String, u64, bool)>(), Ok(sent));
    assert_eq!((marks.pids().len(), letter.payload_bytes), (2, Some(payload.bytes().len())));
    let said = format!("its payload, of {} bytes, is in this letter", payload.bytes().len());
    assert!(error.to_string().contains(&said) && format!("{error:?}").contains("Payload("), "{error:?}");
    assert!(payload.arguments::<(u64, String)>().is_err(), "it is something else");
    let told = loop {
        if let PoolEvent::DeadLettered(told) = events.next_timeout(LIMIT.0).expect("it is told").expect("it goes on") {
            break told;
        }
    };
    assert_eq!((&told.payload, told.payload_bytes), (&None, letter.payload_bytes));
    let (path, number, _) = payload.arguments::<(String, u64, bool)>().expect("it is that");
    let again = pool.submit_blocking(fragile, (path, number, false)).unwrap();
    assert_eq!(again.join().unwrap(), 77);
}

/// A program's payload is the job as it was submitted.
#[test]
fn a_programs_dead_letter_brings_its_bytes_home() {
    let Some(pool) = crate::rig::python("examples/polyglot_worker/worker.py", &[], 1) else { return };
    let error = failure(pool.with(times(2)).submit_blocking(b"die".to_vec()).unwrap());
    let JobError::DeadLettered(letter) = &error else { panic!("{error}") };
    assert_eq!(
        (letter.deliveries.len(), letter.payload.as_ref().map(millpond::Payload::bytes)),
        (2, Some(&b"die"[..]))
    );
}

#[test]
fn without_its_submitters_word_a_job_is_delivered_once() {
    let (pool, marks) = (pool("once", 1), Marks::new("once"));
    let dies = |path: String| {
        mark(&path);
        std::process::abort()
    };
    let options = [JobOptions::new().label("plain"), JobOptions::new().redeliver(Redelivery::new(1)), times(0)];
    for (options, times) in options.into_iter().zip(1..) {
        let error = failure(pool.with(options).submit_call_blocking::<_, ()>(dies, marks.path()).unwrap());
        match error {
            JobError::Lost(_) if times == 1 => {}
            JobError::DeadLettered(letter) if times > 1 => assert_eq!(letter.deliveries.len(), 1),
            other => panic!("{other}"),
        }
        assert_eq!(marks.pids().len(), times);
    }
}

/// A signal from elsewhere is a death like any other; one that was ordered is not.
#[test]
fn who_is_taken_from_its_worker_is_not_delivered_again() {
    let (pool, marks) = (pool("taken", 1), Marks::new("taken"));
    let submit = |options: JobOptions| pool.with(options).submit_call_blocking(sleep_for_ever, marks.path()).unwrap();
    let begun = |times: usize| until("it has begun", || marks.pids().len() == times);

    let killed = submit(times(9));
    begun(1);
    let report = pool.blocking().terminate(Select::Job(killed.id()), patient_kill(), LIMIT).unwrap();
    assert!(matches!(failure(killed), JobError::Killed(_)), "{report:?}");

    let mut events = pool.events();
    let error = failure(submit(times(9).run_limit(Duration::from_millis(50))));
    assert!(matches!(error, JobError::TimedOut(_)), "{error}");
    // Until then it may yet leave its mark.
    let is_gone = |event: &PoolEvent| matches!(event, PoolEvent::WorkerGone { .. });
    until("its worker is gone", || std::iter::from_fn(|| events.try_next()).any(|event| is_gone(&event)));
    let began = marks.pids().len();

    let cancelled = submit(times(9));
    begun(began + 1);
    cancelled.cancel();
    signal(holder(&pool).1, "KILL");
    assert_eq!(death_of(&failure(cancelled)), DeathCause::Signalled(9));

    let again = submit(times(9));
    begun(began + 2);
    signal(holder(&pool).1, "KILL");
    begun(began + 3);
    let keeper_killed = pool.inventory_now();
    assert_eq!(keeper_killed.workers.iter().find_map(|row| row.job.as_ref()).map(|job| job.delivery), Some(2));
    pool.actor().get_cell().kill();
    assert!(matches!(failure(again), JobError::Killed(_)));
    assert_eq!(marks.pids().len(), began + 3);
}

#[test]
fn a_panic_is_an_outcome_and_no_loss() {
    let pool = pool("panics", 1);
    let handle = pool.with(times(3)).submit_call_blocking(|()| -> u32 { panic!("no") }, ()).unwrap();
    assert!(matches!(failure(handle), JobError::Panicked(_)));
}

#[test]
fn a_program_is_told_how_many_deliveries_were_lost() {
    // A machine without it tests the rest.
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return;
    }
    let script = format!("{}/tests/process/hostile.py", env!("CARGO_MANIFEST_DIR"));
    let builder = ProgramPool::builder("fragile-program", "python3").arg(script).arg("fragile");
    let pool = builder.limits(Limits::fixed(1)).build().unwrap();
    pids(&pool, 1);
    let handle = pool.with(times(3)).submit_blocking(b"job".to_vec()).unwrap();
    assert_eq!(handle.join().unwrap().unwrap(), b"at last");
}

/// Whoever is lost is replaced, however many.
struct AtOnce;

impl RestartPolicy for AtOnce {
    fn decide(&self, _now: Timestamp, _slot: &SlotHistory, _exit: &Exit) -> Restart {
        Restart::After(Duration::ZERO)
    }
}

/// A program that ends of each job's first bytes, before it has read the rest, makes its mark and has begun nothing: the job goes to another one, but not for ever.
#[test]
fn a_job_that_ends_workers_before_they_have_it_goes_to_three() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return;
    }
    let script = format!("{}/tests/process/hostile.py", env!("CARGO_MANIFEST_DIR"));
    let build = |name: &str, marks: &Marks, quarantine: u32| {
        let builder = ProgramPool::builder(name, "python3").arg(&script).arg("shy").arg(marks.path());
        let builder = builder.child(ChildOptions::new().frame_limit(1 << 20)).limits(Limits::fixed(1));
        builder.restart_policy(AtOnce).quarantine(Quarantine::new(quarantine)).build().unwrap()
    };
    // More than lies in a socket.
    let job = vec![b'x'; 1_000_000];

    let marks = Marks::new("shy");
    let pool = build("shy", &marks, 1);
    let handle = pool.with(JobOptions::new().label("large")).submit_blocking(job.clone()).unwrap();
    until("it has ended", || handle.status() == JobStatus::Done);
    assert_eq!(death_of(&failure(handle)), DeathCause::Exited(5));
    assert_eq!(marks.pids().len(), 3);
    assert_eq!(pool.snapshot().quarantined.len(), 1, "it counts for its label, and once");
    let ledger = pool.snapshot().ledger;
    assert!(ledger.balances() && (ledger.lost, ledger.pending) == (1, 0), "{ledger}");

    // One that may be delivered again has had a delivery then, and one with each further worker.
    let marks = Marks::new("shy-again");
    let pool = build("shy-again", &marks, 9);
    let handle = pool.with(times(2)).submit_blocking(job.clone()).unwrap();
    until("it has ended", || handle.status() == JobStatus::Done);
    let error = failure(handle);
    let JobError::DeadLettered(letter) = &error else { panic!("{error}") };
    assert_eq!((letter.deliveries.len(), letter.payload_bytes), (2, Some(job.len())), "{error}");
    assert_eq!(marks.pids().len(), 4);
}
