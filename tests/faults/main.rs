//! A thousand faults at random, while jobs come and go: jobs that panic, workers that are killed, starts that fail, hooks that hang, resizes,
//! restart policies that misbehave. At every check the invariants of DESIGN.md, section 7, that can be seen from outside must hold.
//!
//! Which faults there are, and in which order, depends on a seed alone, which is printed; so does what each submitter offers. How the
//! threads of a run interleave does not. Another seed, or more faults:
//!
//! ```text
//! MILLPOND_FAULTS_SEED=7 MILLPOND_FAULTS=10000 cargo test --all-features --test faults
//! ```

#![allow(missing_docs, reason = "nobody outside calls a test")]
#![allow(unreachable_pub, reason = "a test crate has no outside")]
#![allow(missing_debug_implementations, reason = "nobody prints what a test is made of")]
#![allow(clippy::disallowed_methods, reason = "tests spawn, and pause between two looks at a condition")]

mod books;
mod check;
mod end;
mod errand;
mod hooks;
mod inflict;
mod kinds;
mod load;
mod plan;
mod policies;
mod rest;
mod site;
mod starts;

use kinds::{Kind, OnActors, OnTasks, OnThreads};
use plan::{Plan, Step};
use site::Site;

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

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

#[expect(clippy::print_stdout, reason = "the seed is what repeats a failure")]
fn a_thousand_faults<K: Kind>() {
    let seed = from_env("MILLPOND_FAULTS_SEED", 1);
    println!("MILLPOND_FAULTS_SEED={seed}");
    let plan = Plan::new(seed, from_env("MILLPOND_FAULTS", 1_000));
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
            }
            if matches!(step, Step::Fault(_)) && faults.is_multiple_of(REST_EVERY) {
                site.rest();
            }
        }
        site.end();
    });
    site.shared.assert_kept();
}
