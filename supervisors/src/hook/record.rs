//! Questions, answers and notices as objects of JSON.

use std::time::Duration;

use millpond::{
    Answer, By, ClaimNo, DeadLetter, Delivery, Exit, Health, JobId, Limits, Notice, Quarantined, Question, Restart,
    Retuned, Saturation, Target, TargetReport, Timestamp, Verdict, WorkerId,
};
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// What happened, in a word or two, and its facts: who wanted it, too, unless nobody did.
pub(super) fn of_notice(notice: &Notice, by: &By) -> (&'static str, Fields) {
    let (what, value) = match notice {
        Notice::WorkerStarted { worker, start_delay } => {
            ("worker started", json!({ "worker": id(worker), "start_delay_ms": millis(*start_delay) }))
        }
        Notice::WorkerGone { worker, exit } => ("worker gone", with(json!({ "worker": id(worker) }), of_exit(exit))),
        Notice::WorkerAbandoned { worker } => ("worker abandoned", json!({ "worker": id(worker) })),
        Notice::RestartDecided { worker, restart } => {
            ("restart decided", with(json!({ "worker": id(worker) }), of_restart(restart)))
        }
        Notice::ProbeSucceeded { worker, cool_downs, out_for } => {
            let (worker, out_for) = (id(worker), millis(*out_for));
            ("probe succeeded", json!({ "worker": worker, "cool_downs": cool_downs, "out_for_ms": out_for }))
        }
        Notice::PolicyReplaced { reason } => ("policy replaced", json!({ "reason": reason })),
        Notice::Resized { from, to, bounds_from, bounds, .. } => {
            let bounds = json!({ "bounds_from": of_limits(bounds_from), "bounds": of_limits(bounds) });
            ("resized", with(json!({ "from": of_limits(from), "to": of_limits(to) }), bounds))
        }
        Notice::Retuned(retuned) => ("retuned", of_retune(retuned)),
        Notice::Scaled { from, to } => ("scaled", json!({ "from": from, "to": to })),
        Notice::RestartPolicySet => ("restart policy set", json!({})),
        Notice::RecycleDue { worker, reason } => {
            ("recycle due", json!({ "worker": id(worker), "reason": reason.to_string() }))
        }
        Notice::Overdue { worker, claim, job, silent_for } => ("overdue", silence(worker, *claim, *job, *silent_for)),
        Notice::LetOff { worker, claim, job, silent_for } => ("let off", silence(worker, *claim, *job, *silent_for)),
        Notice::Overrun { worker, claim } => ("overrun", json!({ "worker": id(worker), "claim": claim.to_string() })),
        Notice::Redelivered { job, label, lost, rests_for } => {
            let rest = json!({ "job": job.get(), "label": label.as_deref(), "rests_for_ms": millis(*rests_for) });
            ("redelivered", with(rest, of_delivery(lost)))
        }
        Notice::DeadLettered(letter) => ("dead-lettered", of_letter(letter)),
        Notice::Quarantined(why) => ("quarantined", of_quarantine(why)),
        Notice::Released { label } => ("released", json!({ "label": &**label })),
        Notice::Deadlock(deadlock) => ("deadlock", json!({ "waits": deadlock.to_string() })),
        Notice::Saturated { saturation, since } => {
            ("saturated", with(json!({ "since_ns": since.as_nanos() }), of_saturation(saturation)))
        }
        Notice::Relieved { saturation, after } => {
            ("relieved", with(json!({ "after_ms": millis(*after) }), of_saturation(saturation)))
        }
        Notice::Rejected { jobs } => ("rejected", json!({ "jobs": jobs })),
        Notice::Expired { jobs } => ("expired", json!({ "jobs": jobs })),
        Notice::Gate(state) => ("gate", json!({ "state": state })),
        Notice::Health(health) => ("health", of_health(health)),
        Notice::Allowed { question, answers } => ("allowed", with(of_question(question, by), of_answers(answers))),
        Notice::Vetoed { question, veto, answers } => {
            let veto = json!({ "vetoed_by": &*veto.by, "because": &*veto.reason });
            ("vetoed", with(with(of_question(question, by), veto), of_answers(answers)))
        }
        Notice::Delayed { question, delay } => {
            let (until, by_hook) = (delay.until.as_nanos(), &*delay.by);
            let delay = json!({ "delayed_by": by_hook, "delay_ms": millis(delay.delay), "until_ns": until });
            ("delayed", with(of_question(question, by), delay))
        }
        Notice::OverdueRung { worker, claim, job, rung, silent_for } => {
            ("overdue rung", with(silence(worker, *claim, *job, *silent_for), json!({ "rung": rung.to_string() })))
        }
        Notice::Terminated(report) => {
            ("terminated", json!({ "targets": report.targets.iter().map(of_target).collect::<Vec<_>>() }))
        }
        Notice::Hook { name, change } => ("hook", json!({ "hook": &**name, "change": change.to_string() })),
        Notice::HookFault { hook, question, fault, verdict } => {
            let what = json!({ "hook": &**hook, "question": question, "fault": fault.to_string() });
            ("hook fault", with(what, of_verdict(verdict)))
        }
        Notice::Missed { notices, saturation, saturated_since } => {
            let since = saturated_since.map(Timestamp::as_nanos);
            ("missed", with(json!({ "notices": notices, "saturated_since_ns": since }), of_saturation(saturation)))
        }
        // A newer millpond's: better in words than not at all.
        other => ("other", json!({ "text": format!("{other:?}") })),
    };
    let mut fields = fields(value);
    let is_ruling = matches!(notice, Notice::Allowed { .. } | Notice::Vetoed { .. } | Notice::Delayed { .. });
    if *by != By::Pool && !is_ruling {
        fields.insert("by".to_owned(), Value::from(by.to_string()));
    }
    (what, fields)
}

/// What hooks were asked, about whom, and by whom it is wanted.
fn of_question(question: &Question, by: &By) -> Value {
    let about = match question {
        Question::Start { worker } => json!({ "worker": id(worker) }),
        Question::Shrink { from, to } | Question::Resize { from, to } => {
            json!({ "from": of_limits(from), "to": of_limits(to) })
        }
        Question::IdleExit { worker, idle_for } => {
            json!({ "worker": id(worker), "idle_for_ms": millis(*idle_for) })
        }
        Question::Terminate { targets } => {
            let target = |worker: Option<WorkerId>, job: Option<JobId>| json!({ "worker": worker.as_ref().map(id), "job": job.map(JobId::get) });
            let targets: Vec<_> = targets.iter().map(|target_of| target(target_of.worker, target_of.job)).collect();
            json!({ "targets": targets })
        }
        Question::Recycle { worker, reason } => json!({ "worker": id(worker), "reason": reason.to_string() }),
        Question::Overdue { worker, claim, job, silent_for } => silence(worker, *claim, *job, *silent_for),
        other => json!({ "text": format!("{other:?}") }),
    };
    with(json!({ "question": question.word(), "asked_for": by.to_string() }), about)
}

fn of_answers(answers: &[Answer]) -> Value {
    let answer = |answer: &Answer| {
        with(json!({ "hook": &*answer.hook, "defaulted": answer.defaulted }), of_verdict(&answer.verdict))
    };
    json!({ "answers": answers.iter().map(answer).collect::<Vec<_>>() })
}

fn of_verdict(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Allow => json!({ "verdict": "allow" }),
        Verdict::Deny(reason) => json!({ "verdict": "deny", "reason": &**reason }),
        Verdict::Delay(span) => json!({ "verdict": "delay", "delay_ms": millis(*span) }),
        other => json!({ "verdict": other.to_string() }),
    }
}

/// What became of a target, by which rung, and how its job ended if it has.
fn of_target(row: &TargetReport) -> Value {
    let worker = match row.target {
        Target::Worker(worker) | Target::Claim { worker, .. } => Some(id(&worker)),
        _ => None,
    };
    json!({
        "worker": worker, "job": row.job.map(JobId::get), "fate": row.fate.to_string(),
        "rung": row.rung.map(|rung| rung.to_string()), "took_ms": millis(row.took),
        "outcome": row.outcome.map(|outcome| outcome.to_string()),
    })
}

/// Why, and who asked for it if somebody did.
fn of_exit(exit: &Exit) -> Value {
    match exit {
        Exit::Stopped(by) | Exit::Killed(by) => json!({ "exit": exit.to_string(), "by": &**by }),
        Exit::Stuck { rung, .. } => {
            json!({ "exit": exit.to_string(), "by": "watchdog", "rung": rung.to_string() })
        }
        Exit::Recycled(_) => json!({ "exit": exit.to_string(), "by": "recycling rule" }),
        Exit::TakenAlong { job, .. } => json!({ "exit": exit.to_string(), "job": job.get() }),
        Exit::IdleTimeout => json!({ "exit": exit.to_string(), "by": "idle timeout" }),
        _ => json!({ "exit": exit.to_string(), "fault": exit.is_fault() }),
    }
}

fn of_delivery(delivery: &Delivery) -> Value {
    let Delivery { number, worker, pid, began_at, ended_at, by, .. } = delivery;
    json!({
        "delivery": number, "worker": id(worker), "pid": pid, "exit": &**by,
        "began_ns": began_at.as_nanos(), "ended_ns": ended_at.as_nanos(),
    })
}

fn of_letter(letter: &DeadLetter) -> Value {
    let deliveries: Vec<_> = letter.deliveries.iter().map(|delivery| of_delivery(delivery)).collect();
    json!({
        "job": letter.job.get(), "label": letter.label.as_deref(), "lane": &*letter.lane,
        "submitted_from": letter.submitted_from.to_string(), "deliveries": deliveries,
        "quarantine": letter.quarantine.as_ref().map(|why| why.to_string()),
        "payload_bytes": letter.payload_bytes,
    })
}

fn of_quarantine(why: &Quarantined) -> Value {
    let Quarantined { label, deaths, within, since, until, .. } = why;
    json!({
        "label": &**label, "deaths": deaths, "within_ms": millis(*within),
        "since_ns": since.as_nanos(), "until_ns": until.as_nanos(),
    })
}

fn of_restart(restart: &Restart) -> Value {
    match restart {
        Restart::After(delay) => json!({ "restart": "after", "delay_ms": millis(*delay) }),
        Restart::CoolDown(delay) => json!({ "restart": "cool down", "delay_ms": millis(*delay) }),
        Restart::Never => json!({ "restart": "never" }),
        Restart::Escalate(reason) => json!({ "restart": "escalate", "reason": reason }),
        other => json!({ "restart": format!("{other:?}") }),
    }
}

fn of_health(health: &Health) -> Value {
    let is = match health {
        Health::Healthy => "healthy",
        Health::Degraded { .. } => "degraded",
        Health::Unavailable { .. } => "unavailable",
        _ => "unknown",
    };
    json!({ "health": is, "text": health.to_string() })
}

/// What is different is in words: each of it is named in `to_string`.
fn of_retune(retuned: &Retuned) -> Value {
    json!({ "changed": retuned.to_string(), "from": of_limits(&retuned.from.limits), "to": of_limits(&retuned.to.limits) })
}

fn of_limits(limits: &Limits) -> Value {
    json!({
        "min": limits.min, "max": limits.max, "min_idle": limits.min_idle,
        "idle_timeout_ms": limits.idle_timeout.map(millis),
    })
}

fn of_saturation(saturation: &Saturation) -> Value {
    let Saturation { limit, debt, active, idle, starting, abandoned, missing, queued, waiting, .. } = saturation;
    json!({
        "limit": limit, "debt": debt, "active": active, "idle": idle, "starting": starting,
        "abandoned": abandoned, "missing": missing, "queued": queued, "waiting": waiting,
    })
}

fn silence(worker: &WorkerId, claim: ClaimNo, job: JobId, silent_for: Duration) -> Value {
    let worker = id(worker);
    json!({ "worker": worker, "claim": claim.to_string(), "job": job.get(), "silent_for_ms": millis(silent_for) })
}

fn id(worker: &WorkerId) -> String {
    worker.to_string()
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn with(one: Value, other: Value) -> Value {
    let mut both = fields(one);
    both.extend(fields(other));
    Value::Object(both)
}

fn fields(value: Value) -> Fields {
    if let Value::Object(fields) = value { fields } else { Fields::new() }
}
