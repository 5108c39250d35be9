//! That its gate is closed is told of a pool that is given up, to readers and to hooks. The suite has the other ends.

use millpond::{EventStream, Limits, Notice, PoolEvent, PoolExecutor, Restart, Verdict};

use crate::answers::{Answers, Seen};
use crate::faults::{By, Faulty, with_faults};
use crate::rig::{build, soon, until};

mod faulty {
    use super::*;

    with_faults! { an_escalation_is_told_as_an_end }
}

/// Readers have it before their stream ends; a hook has it last.
#[track_caller]
fn is_told_once(events: &mut EventStream, seen: &Seen) {
    let mut gates = Vec::new();
    while let Some(event) = soon(events.next()) {
        if let PoolEvent::Gate { state: gate, .. } = event {
            gates.push(gate);
        }
    }
    assert_eq!(gates.iter().filter(|gate| **gate == "closed").count(), 1, "{gates:?}");
    assert_eq!(gates.last(), Some(&"closed"));
    until("the hook is told", || matches!(seen.told().last(), Some(Notice::Gate("closed"))));
    assert_eq!(seen.count(|notice| matches!(notice, Notice::Gate("closed"))), 1);
}

fn an_escalation_is_told_as_an_end<S: Faulty>() {
    let (hook, seen) = Answers::new(|_| Verdict::Allow);
    let pool = build::<S>("escalated", |builder| {
        let policy = By(|| Restart::Escalate("enough".to_owned()));
        S::shape(builder).limits(Limits::fixed(1)).restart_policy(policy).hook("audit", hook)
    });
    let mut events = pool.events();
    assert!(soon(S::lay(&pool).light()).is_err());
    is_told_once(&mut events, &seen);
    let told = seen.told();
    let decided = told.iter().position(|notice| matches!(notice, Notice::RestartDecided { .. }));
    assert!(decided.is_some_and(|decided| decided + 1 < told.len()), "why comes first: {told:?}");
}
