//! The whole pool against a model of it: jobs are submitted, cancelled and killed, workers crash, fail to start or take their time, and idle for too long or are recycled, hooks deny
//! and put off, the pool is resized and quiesced, time passes; after each step the pool must be what the arithmetic of DESIGN.md, section 2, says.
//!
//! Workers are scripted and the clock is set, so that a run depends on its seed alone. The seed is fixed; another one, and
//! another number of cases: `PROPTEST_RNG_SEED=7 PROPTEST_CASES=1000 cargo test --all-features --test model`. A failure
//! prints the shortest history that still fails.
#![cfg(feature = "testing")]

mod check;
mod command;
mod hook;
mod leaving;
mod pond;
mod reference;
mod rest;
mod steps;
mod turns;

use millpond::PoolExecutor;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use command::Command;
use pond::Pond;
use reference::Model;

/// Milliseconds that a slot stays empty after a start that failed.
const BACKOFF: u64 = 100;
/// Milliseconds that a slot stays empty whose start was denied.
const VETO_PAUSE: u64 = 1000;
/// Milliseconds by which a hook puts a start off. No multiple of ten either, see below.
const DELAY: u64 = 203;
/// Milliseconds that a job which overran has before its worker is taken.
const GRACE: u64 = 1000;
/// Milliseconds that a submitter waits at the gate. Unlike all other spans no multiple of ten, so that no two limits pass at
/// one moment: which of them counts first is nobody's promise.
const ADMISSION_LIMIT: u64 = 705;

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Command;

    fn init_state() -> BoxedStrategy<Self> {
        command::setups().prop_map(Self::new).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Command> {
        command::commands(state)
    }

    fn apply(mut state: Self, command: &Command) -> Self {
        state.step(command);
        state
    }

    fn preconditions(state: &Self, command: &Command) -> bool {
        command::makes_sense(state, command)
    }
}

struct Pool;

impl StateMachineTest for Pool {
    type SystemUnderTest = Pond;
    type Reference = Model;

    fn init_test(model: &Model) -> Pond {
        let mut pond = Pond::new(&model.setup);
        pond.come_to_rest();
        pond.turns.begin(&pond.pool.inventory_now());
        pond
    }

    fn apply(mut pond: Pond, model: &Model, command: Command) -> Pond {
        pond.step(&command, model);
        pond.come_to_rest();
        pond.check(model);
        pond
    }

    fn check_invariants(pond: &Pond, _model: &Model) {
        pond.check_invariants();
    }

    fn teardown(pond: Pond, model: Model) {
        rest::wind_down(pond, model);
    }
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 200;
    }
    config
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn a_pool_is_what_its_model_says(sequential 1..60 => Pool);
}
