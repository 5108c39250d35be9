//! A thousand faults at random, while jobs come and go: jobs that panic or make no progress, workers that are killed, starts that fail, hooks that
//! hang, resizes, retunes, restart policies and autoscalers that misbehave. At every check the invariants of DESIGN.md, section 7, that can be seen from outside must hold.
//!
//! Which faults there are, and in which order, depends on a seed alone, which is printed; so does what each submitter offers. How the
//! threads of a run interleave does not. Another seed, or more faults:
//!
//! ```text
//! MILLPOND_FAULTS_SEED=7 MILLPOND_FAULTS=10000 cargo test --all-features --test faults
//! ```
//!
//! A child has each job done here, where the books are (`desk_errands.rs`). So it cannot be seen there whether a job ran on after it had been killed, nor does one submit
//! another. The faults that children have by themselves are in `hazard_09_*`, `hazard_14_*` and `tests/process`.

#![allow(missing_docs, reason = "nobody outside calls a test")]
#![allow(unreachable_pub, reason = "a test crate has no outside")]
#![allow(missing_debug_implementations, reason = "nobody prints what a test is made of")]
#![allow(clippy::disallowed_methods, reason = "tests spawn, and pause between two looks at a condition")]

mod alive;
mod allowed;
mod beside;
mod books;
mod check;
#[cfg(all(feature = "process", unix))]
#[path = "../process/desk.rs"]
mod desk;
#[cfg(all(feature = "process", unix))]
mod desk_errands;
mod end;
mod errand;
#[path = "../forwards/mod.rs"]
mod forwards;
mod hooks;
mod inflict;
mod inside;
mod kinds;
mod load;
mod plan;
mod policies;
#[cfg(feature = "interpreter")]
#[path = "../interpreter/polled/mod.rs"]
#[allow(dead_code, reason = "one engine stands for all")]
mod polled;
mod rest;
mod retunes;
mod scalers;
mod site;
mod starts;
mod tally;
mod terms;

use kinds::{Kind, OnActors, OnTasks, OnThreads};
use plan::{Plan, Step};
use site::Site;

/// Of so many faults, each kind takes effect, as a rule; if one has not, more follow, as many again at most. Fewer need not.
const ENOUGH: u64 = 1_000;
/// Faults between two checks.
const CHECK_EVERY: usize = 10;
/// Faults between two times at which the load pauses and the pool comes to rest.
const REST_EVERY: usize = 100;

#[test]
fn threads() {
    a_thousand_faults::<OnThreads>();
}

#[test]
fn tasks() {
    a_thousand_faults::<OnTasks>();
}

#[test]
fn actors_with_state() {
    a_thousand_faults::<OnActors>();
}

#[cfg(feature = "interpreter")]
#[test]
fn guests() {
    a_thousand_faults::<kinds::OnGuests>();
}

#[cfg(all(feature = "process", unix))]
#[test]
fn processes() {
    a_thousand_faults::<kinds::OnProcesses>();
}

#[cfg(all(feature = "process", unix))]
millpond::process_test_entry!();

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

#[expect(clippy::print_stdout, reason = "the seed is what repeats a failure")]
fn a_thousand_faults<K: Kind>() {
    let seed = from_env("MILLPOND_FAULTS_SEED", 1);
    println!("MILLPOND_FAULTS_SEED={seed}");
    let many = from_env("MILLPOND_FAULTS", ENOUGH);
    let plan = Plan::new(seed, many * 2);
    let site = Site::<K>::build(seed);
    std::thread::scope(|scope| {
        load::start(scope, &site);
        // A test that fails lets its submitters go, or the scope would wait for them for ever.
        let _open = site.open_at_the_end();
        let mut before = check::Seen::default();
        let mut faults = 0;
        for step in plan.steps() {
            site.inflict(&step);
            faults += usize::from(matches!(step, Step::Fault(_)));
            if matches!(step, Step::Fault(_)) && faults.is_multiple_of(CHECK_EVERY) {
                before = site.check(before);
                site.another_ends(faults);
            }
            if matches!(step, Step::Fault(_)) && faults.is_multiple_of(REST_EVERY) {
                site.rest();
            }
            if faults as u64 >= many && (faults.is_multiple_of(REST_EVERY) || many < ENOUGH) {
                let missing = site.shared.tally.missing();
                if missing.is_empty() || many < ENOUGH {
                    break;
                }
                println!("{}, seed {seed}: after {faults} faults, these have not taken effect: {missing:?}", K::NAME);
            }
        }
        site.end();
    });
    site.shared.assert_kept();
    site.shared.tally.print(K::NAME);
    let missing = site.shared.tally.missing();
    assert!(missing.is_empty() || many < ENOUGH, "these never took effect: {missing:#?}");
}
