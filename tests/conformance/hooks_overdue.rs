//! Hooks are asked whether the ladder of an overdue job is to begin, on a clock that the test moves.

use std::time::Duration;

use millpond::{
    Fate, HookOptions, HookSpec, JobContext, JobError, JobHandle, JobOptions, Ladder, LaneChange, Notice, PoolEvent,
    PoolExecutor, Question, Retune, Rung, Verdict, Watchdog,
};

use crate::answers::{Answers, Seen};
use crate::overdue::{Rig, SPAN, Said, watchdog};
use crate::rig::{LIMIT, at_rest, soon, until, worker_of};
use crate::subject::Subject;
use crate::task::{Gate, Task};

conform! {
    ;
    in_this_process:
    a_denied_ladder_lets_the_job_off_until_its_next_span,
    a_delayed_ladder_begins_then_and_not_before,
    a_beat_ends_the_question_about_the_ladder,
    the_end_of_the_job_ends_the_question_and_its_successor_is_not_touched,
    a_run_limit_ends_the_question_about_the_ladder,
    a_ladder_that_begins_with_a_kill_is_not_asked_about,
    no_answer_about_the_ladder_in_time_takes_the_default,
    a_shutdown_waits_for_no_answer_about_a_ladder,
    a_longer_grace_takes_the_question_back_until_that_is_over,
    a_ladder_that_is_set_while_another_is_asked_about_is_the_one_that_begins,
    a_ladder_that_needs_no_question_waits_for_no_answer_about_another,
    a_watchdog_that_is_switched_off_lets_off_who_is_asked_about,
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
/// From the claim to the question.
const ASKED_AT: Duration = Duration::from_secs(14);

/// With a hook that denies nothing but the ladder of overdue jobs, unless it is told otherwise; it has ten minutes.
fn rig<S: Subject>(what: &str, hook: Answers) -> Rig<S> {
    let rig = Rig::new(what, watchdog());
    let hook = HookSpec::new("mercy", hook).options(HookOptions::new().limit(SECOND * 600));
    soon(rig.pool.set_hook(hook, LIMIT)).expect("there is room");
    rig
}

fn answering(verdict: Verdict) -> (Answers, Seen) {
    Answers::new(move |word| if word == "overdue" { verdict.clone() } else { Verdict::Allow })
}

/// Control has so many answers.
fn answered<S: Subject>(rig: &Rig<S>, seen: &Seen, times: usize) {
    until("it is asked", || seen.asked() == vec!["overdue"; times]);
    until("it has answered", || soon(rig.pool.hooks(LIMIT)).expect("it answers")[0].unanswered == 0);
}

fn to_the_question<S: Subject>(rig: &mut Rig<S>, before: Duration) {
    rig.advance(SPAN);
    assert_eq!(rig.said(), [Said::Warned(before + SPAN)]);
    rig.advance(ASKED_AT - SPAN);
}

fn a_denied_ladder_lets_the_job_off_until_its_next_span<S: Subject>() {
    let (hook, seen) = Answers::denying("overdue");
    let mut rig = rig::<S>("veto-ladder", hook);
    let gate = Gate::new();
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    let worker = worker_of(&rig.pool, &handle);
    let mut events = rig.pool.events();
    for times in 0..3 {
        to_the_question(&mut rig, ASKED_AT * times);
        answered(&rig, &seen, times as usize + 1);
        assert_eq!((rig.said(), job.is_cancelled()), (vec![], false));
        let about = std::iter::from_fn(|| events.try_next()).find_map(|event| match event {
            PoolEvent::Vetoed { question: Question::Overdue { worker, job, silent_for, .. }, veto, .. } => {
                Some((worker, job, silent_for, veto.to_string()))
            }
            _ => None,
        });
        let veto = "vetoed by hook `mercy`: no overdue today".to_owned();
        assert_eq!(about, Some((worker, handle.id(), ASKED_AT * (times + 1), veto)));
        // The next round begins where this one was denied.
    }
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7, "nobody asked it to stop");
    let vetoed = |notice: &Notice| matches!(notice, Notice::Vetoed { answers, .. } if answers.len() == 1);
    until("it was told", || seen.count(vetoed) == 3);
    rig.next_job_runs();
    at_rest(&rig.pool);
}

fn a_delayed_ladder_begins_then_and_not_before<S: Subject>() {
    let (hook, seen) = answering(Verdict::Delay(SECOND * 6));
    let mut rig = rig::<S>("delay-ladder", hook);
    let gate = Gate::new();
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_polite(&gate));
    to_the_question(&mut rig, Duration::ZERO);
    answered(&rig, &seen, 1);
    rig.advance(SECOND * 6 - MILLI);
    assert_eq!((rig.said(), job.is_cancelled()), (vec![], false));
    rig.advance(MILLI);
    assert_eq!(rig.said(), [Said::Took(Rung::Cancel, ASKED_AT + SECOND * 6)]);
    assert_eq!(soon(handle).unwrap(), crate::task::ASKED);
    assert_eq!(seen.asked(), ["overdue"], "a delay is not asked about again");
    let allowed = |notice: &Notice| matches!(notice, Notice::Allowed { question: Question::Overdue { .. }, .. });
    until("it was told", || seen.count(allowed) == 1);
    // That the job was asked, and that it heeded that.
    let rung = |notice: &Notice| matches!(notice, Notice::OverdueRung { rung: Rung::Cancel, .. });
    let heeded = |notice: &Notice| matches!(notice, Notice::Terminated(report) if (report.targets[0].fate, report.targets[0].rung) == (Fate::Finished, Some(Rung::Cancel)));
    until("it was told", || {
        rig.advance(MILLI * 5);
        (seen.count(rung), seen.count(heeded)) == (1, 1)
    });
    at_rest(&rig.pool);
}

fn a_beat_ends_the_question_about_the_ladder<S: Subject>() {
    let answer = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let mut rig = rig::<S>("beat-ladder", hook.behind(answer.other()));
    let gate = Gate::new();
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    to_the_question(&mut rig, Duration::ZERO);
    until("it is asked", || seen.asked() == ["overdue"]);
    rig.advance(SECOND * 60);
    assert_eq!(rig.said(), [], "nothing happens while it is asked");
    job.beat();
    rig.advance(SECOND);
    assert_eq!(rig.said(), [Said::LetOff(SECOND * 74)]);
    assert_eq!(soon(rig.pool.hooks(LIMIT)).expect("it answers")[0].unanswered, 0, "nobody waits for it any more");
    answer.open();
    until("it is through", || soon(rig.pool.hooks(LIMIT)).expect("it answers")[0].outstanding == 0);
    rig.advance(SECOND);
    assert_eq!((rig.said(), job.is_cancelled()), (vec![], false));
    // From the beat on it is watched as any other.
    rig.advance(SPAN - SECOND * 2);
    assert_eq!(rig.said(), [Said::Warned(SPAN)]);
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    at_rest(&rig.pool);
}

fn the_end_of_the_job_ends_the_question_and_its_successor_is_not_touched<S: Subject>() {
    let answer = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let mut rig = rig::<S>("end-ladder", hook.behind(answer.other()));
    let (first, second) = (Gate::new(), Gate::new());
    let (handle, _) = rig.run(JobOptions::new(), |task| task.then_deaf(&first));
    to_the_question(&mut rig, Duration::ZERO);
    until("it is asked", || seen.asked() == ["overdue"]);
    first.open();
    assert_eq!(soon(handle).unwrap(), 7);
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&second));
    answer.open();
    until("it is through", || soon(rig.pool.hooks(LIMIT)).expect("it answers")[0].outstanding == 0);
    rig.advance(SECOND * 8);
    assert_eq!((rig.said(), job.is_cancelled()), (vec![], false), "the answer was about another job");
    second.open();
    assert_eq!(soon(handle).unwrap(), 7);
    at_rest(&rig.pool);
}

fn a_run_limit_ends_the_question_about_the_ladder<S: Subject>() {
    let answer = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let mut rig = rig::<S>("limit-ladder", hook.behind(answer.other()));
    let gate = Gate::new();
    let (handle, _) = rig.run(JobOptions::new().run_limit(SECOND * 16), |task| task.then_blocking(&gate));
    to_the_question(&mut rig, Duration::ZERO);
    until("it is asked", || seen.asked() == ["overdue"]);
    rig.advance(SECOND * 2);
    assert!(matches!(soon(handle), Err(JobError::TimedOut(_))));
    rig.advance(SECOND);
    answer.open();
    until("it is through", || soon(rig.pool.hooks(LIMIT)).expect("it answers")[0].outstanding == 0);
    rig.advance(SECOND * 4);
    assert_eq!(rig.said(), [], "its limit looks after its worker");
    gate.open();
    assert_eq!(soon(crate::rig::put::<S>(&rig.pool, Task::value(9))).unwrap(), 9);
    at_rest(&rig.pool);
}

fn a_ladder_that_begins_with_a_kill_is_not_asked_about<S: Subject>() {
    let (hook, seen) = Answers::denying("overdue");
    let mut rig = Rig::<S>::new("kill-ladder", Watchdog::new(SECOND * 4, Ladder::kill()));
    soon(rig.pool.set_hook(HookSpec::new("mercy", hook), LIMIT)).expect("there is room");
    let gate = Gate::new();
    let (handle, _) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    to_the_question(&mut rig, Duration::ZERO);
    assert!(matches!(soon(handle), Err(JobError::Killed(_) | JobError::Abandoned(_))));
    assert_eq!(rig.said(), [Said::Took(Rung::Kill, ASKED_AT)]);
    assert!(!seen.asked().contains(&"overdue"));
    gate.open();
    at_rest(&rig.pool);
}

fn no_answer_about_the_ladder_in_time_takes_the_default<S: Subject>() {
    let answer = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let mut rig = Rig::<S>::new("late-ladder", watchdog());
    let options = HookOptions::new().limit(SECOND * 5).default_verdict(Verdict::deny("it sleeps"));
    let hook = HookSpec::new("slow", hook.behind(answer.other())).options(options);
    soon(rig.pool.set_hook(hook, LIMIT)).expect("there is room");
    let gate = Gate::new();
    let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
    to_the_question(&mut rig, Duration::ZERO);
    until("it is asked", || seen.asked() == ["overdue"]);
    let denied = |rig: &Rig<S>| soon(rig.pool.hooks(LIMIT)).expect("it answers")[0].denied;
    rig.advance(SECOND * 5 - MILLI);
    assert_eq!(denied(&rig), 0, "it has five seconds");
    rig.advance(MILLI);
    assert_eq!((denied(&rig), job.is_cancelled()), (1, false));
    rig.advance(SPAN);
    assert_eq!(rig.said(), [Said::Warned(ASKED_AT + SECOND * 5 + SPAN)], "it is let off for a span from then on");
    answer.open();
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    at_rest(&rig.pool);
}

fn a_shutdown_waits_for_no_answer_about_a_ladder<S: Subject>() {
    let answer = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::deny("never"));
    let mut rig = rig::<S>("shut-ladder", hook.behind(answer.other()));
    let gate = Gate::new();
    let (handle, _) = rig.run(JobOptions::new(), |task| task.then_polite(&gate));
    to_the_question(&mut rig, Duration::ZERO);
    until("it is asked", || seen.asked() == ["overdue"]);
    let report = soon(rig.pool.shutdown(LIMIT)).expect("it ends");
    assert_eq!((soon(handle).unwrap(), report.cancelled + report.completed), (crate::task::ASKED, 1), "{report}");
    answer.open();
}

/// With a job that hooks are asked about, which allow it once the gate opens.
fn in_question<S: Subject>(what: &str, job: &Gate) -> (Rig<S>, Gate, Seen, JobHandle<u64>, JobContext) {
    let answer = Gate::new();
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let mut rig = rig::<S>(what, hook.behind(answer.other()));
    let (handle, context) = rig.run(JobOptions::new(), |task| task.then_deaf(job));
    to_the_question(&mut rig, Duration::ZERO);
    until("it is asked", || seen.asked() == ["overdue"]);
    (rig, answer, seen, handle, context)
}

fn unanswered<S: Subject>(rig: &Rig<S>) -> usize {
    soon(rig.pool.hooks(LIMIT)).expect("it answers")[0].unanswered
}

fn a_longer_grace_takes_the_question_back_until_that_is_over<S: Subject>() {
    let gate = Gate::new();
    let (mut rig, answer, seen, handle, job) = in_question::<S>("longer-grace", &gate);
    soon(rig.pool.retune(Retune::new().watchdog(Watchdog::new(SECOND * 20, watchdog_ladder())), LIMIT))
        .expect("it can be");
    assert_eq!(unanswered(&rig), 0, "it was put too early");
    answer.open();
    until("it is through", || soon(rig.pool.hooks(LIMIT)).expect("it answers")[0].outstanding == 0);
    rig.advance(SPAN + SECOND * 20 - ASKED_AT - MILLI);
    assert_eq!((rig.said(), job.is_cancelled(), seen.asked().len()), (vec![], false, 1));
    rig.advance(MILLI);
    answered(&rig, &seen, 2);
    assert_eq!(rig.said(), [Said::Took(Rung::Cancel, SPAN + SECOND * 20)]);
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    at_rest(&rig.pool);
}

fn watchdog_ladder() -> Ladder {
    Ladder::new().then(Rung::Cancel, SECOND * 3)
}

fn a_ladder_that_is_set_while_another_is_asked_about_is_the_one_that_begins<S: Subject>() {
    let gate = Gate::new();
    let (mut rig, answer, seen, handle, job) = in_question::<S>("other-ladder", &gate);
    let ladder = Ladder::new().then(Rung::Stop, SECOND * 3);
    soon(rig.pool.retune(Retune::new().watchdog(Watchdog::new(SECOND, ladder)), LIMIT)).expect("it can be");
    assert_eq!(unanswered(&rig), 1, "whether a ladder is to begin is asked still");
    answer.open();
    answered(&rig, &seen, 1);
    rig.advance(MILLI);
    assert_eq!((rig.said(), job.is_cancelled()), (vec![Said::Took(Rung::Stop, ASKED_AT)], false));
    gate.open();
    assert_eq!(soon(handle).unwrap(), 7);
    rig.next_job_runs();
    at_rest(&rig.pool);
}

fn a_ladder_that_needs_no_question_waits_for_no_answer_about_another<S: Subject>() {
    let gate = Gate::new();
    let (mut rig, answer, _seen, handle, _job) = in_question::<S>("kill-instead", &gate);
    soon(rig.pool.retune(Retune::new().watchdog(Watchdog::new(SECOND * 4, Ladder::kill())), LIMIT)).expect("it can be");
    assert!(matches!(soon(handle), Err(JobError::Killed(_) | JobError::Abandoned(_))));
    assert_eq!(rig.said(), [Said::Took(Rung::Kill, ASKED_AT)]);
    answer.open();
    gate.open();
    at_rest(&rig.pool);
}

fn a_watchdog_that_is_switched_off_lets_off_who_is_asked_about<S: Subject>() {
    let off: [fn() -> Retune; 2] =
        [|| Retune::new().no_watchdog(), || Retune::new().lane(LaneChange::new("io").overdue_after(None))];
    for change in off {
        let gate = Gate::new();
        let (mut rig, answer, seen, handle, job) = in_question::<S>("switched-off", &gate);
        soon(rig.pool.retune(change(), LIMIT)).expect("it can be");
        assert_eq!((unanswered(&rig), rig.said()), (0, vec![Said::LetOff(ASKED_AT)]));
        answer.open();
        until("it is through", || soon(rig.pool.hooks(LIMIT)).expect("it answers")[0].outstanding == 0);
        rig.advance(SECOND * 60);
        assert_eq!((rig.said(), job.is_cancelled(), seen.asked().len()), (vec![], false, 1));
        gate.open();
        assert_eq!(soon(handle).unwrap(), 7);
        rig.next_job_runs();
        at_rest(&rig.pool);
    }
}
