//! A restart policy of one's own: workers whose parser crashes are restarted three times, then their slot rests, longer each time. It
//! decides and touches nothing: what it knows is handed to it. Then another policy is set while the pool runs.
//!
//! `cargo run --example custom_restart_policy`
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::time::Duration;

use millpond::{
    EventStream, Exit, Limits, NewRestartPolicy, PoolEvent, PoolExecutor, Restart, RestartPolicy, SlotHistory,
    ThreadPool, TimeLimit, Timestamp,
};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Up to `crashes` in a row are forgiven at once. Then the slot rests, and after that one worker is tried; if it crashes as well, the slot rests
/// for twice as long.
struct Patient {
    crashes: u32,
    rest: Duration,
}

impl RestartPolicy for Patient {
    fn decide(&self, _now: Timestamp, slot: &SlotHistory, exit: &Exit) -> Restart {
        match exit {
            // Its initializer failed: to try that again at once is seldom of use.
            Exit::FailedToStart(_) => Restart::After(self.rest),
            // When half of the slots are empty already it is not the slots' fault: somebody else has to decide.
            _ if slot.pool.empty >= slot.pool.slots.div_ceil(2) => {
                Restart::Escalate("half of the parsers crash".to_owned())
            }
            _ if slot.is_probe() || slot.streak > self.crashes => Restart::CoolDown(self.rest * (slot.cool_downs + 1)),
            _ => Restart::After(Duration::ZERO),
        }
    }

    fn healthy_after(&self) -> Duration {
        Duration::from_secs(60)
    }
}

fn main() -> Outcome {
    decides_as_written();

    // In a pool: the same decisions, and what they do to its health.
    let pool = ThreadPool::builder("parsers")
        .limits(Limits::fixed(1))
        .restart_after_panic()
        .restart_policy(Patient { crashes: 3, rest: Duration::from_secs(3600) })
        .build()?;
    let mut events = pool.events();
    for crash in 1..=4 {
        let job = pool.submit_blocking(|| panic!("a malformed file"))?;
        assert!(job.join().map(|(): ()| ()).is_err());
        let restart = decision(&mut events)?;
        println!("crash {crash}: {restart:?}");
        let rests = matches!(restart, Restart::CoolDown(_));
        assert_eq!(rests, crash == 4);
    }
    let waits = pool.submit_blocking(|| "parsed")?;
    let health = loop {
        let health = pool.snapshot().health;
        if health.is_unavailable() {
            break health;
        }
    };
    println!("{health}");

    // The cause was found and mended, and nobody wants to wait for an hour: another policy decides, about the slot that rests too.
    let policy = NewRestartPolicy::new(Patient { crashes: 10, rest: Duration::from_secs(1) });
    pool.blocking().set_restart_policy(policy, TimeLimit::secs(30))?;
    assert_eq!(decision(&mut events)?, Restart::After(Duration::ZERO));
    println!("{}", waits.join()?);
    Ok(())
}

/// The next decision about a slot.
fn decision(events: &mut EventStream) -> Outcome<Restart> {
    while let Some(event) = events.next_blocking() {
        if let PoolEvent::RestartDecided { restart, .. } = event {
            return Ok(restart);
        }
    }
    Err("the pool ended".into())
}

/// It reads no clock, so it needs none to be tested.
fn decides_as_written() {
    let policy = Patient { crashes: 1, rest: Duration::from_secs(5) };
    let mut now = Timestamp::from_nanos(0);
    let mut slot = SlotHistory::new(millpond::WorkerId { slot: 0, generation: 1 }, now);
    slot.pool.slots = 4;
    let mut crash = |slot: &mut SlotHistory| {
        now = now.after(Duration::from_secs(1));
        slot.fault(now, policy.healthy_after());
        let restart = policy.decide(now, slot, &Exit::Panicked);
        slot.decided(&restart);
        restart
    };
    assert_eq!(crash(&mut slot), Restart::After(Duration::ZERO));
    assert_eq!(crash(&mut slot), Restart::CoolDown(Duration::from_secs(5)));
    assert_eq!(crash(&mut slot), Restart::CoolDown(Duration::from_secs(10)));
    slot.pool.empty = 2;
    assert!(matches!(crash(&mut slot), Restart::Escalate(_)));
}
