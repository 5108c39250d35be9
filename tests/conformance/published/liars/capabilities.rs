//! Backends that say something else of themselves than they are.

use std::time::Duration;

use millpond::testing::conformance::{AfterCrash, Subject, Tether};
use millpond::{Backend, Capabilities, KillReach, PoolBuilder, Tasks, Threads};

use super::rogues::{Vice, a_rogue_is_found_out};
use super::{Boasts, DEATH, KILL, PATIENCE, is_found_out};
use crate::forwards::{forwards, hosts_the_same};
use crate::published::subjects::{Dream, OnTasks, OnThreads};
use crate::subject::runtime;

/// What the body is called that has a job out of reach.
const OUT_OF_REACH: &str = "reach::a_job_that_no_kill_reaches_is_abandoned_and_counted_until_it_returns";

/// Another backend, that says something else of itself.
struct Says<B>(B, fn(&mut Capabilities));

impl<B: Backend> Backend for Says<B> {
    type Job = B::Job;

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.0.capabilities();
        self.1(&mut capabilities);
        capabilities
    }

    forwards!(0: start, prepare, host_gone, would_block);
}

hosts_the_same!(Says);

fn threads_that_say(lie: fn(&mut Capabilities)) -> impl Subject {
    Boasts(OnThreads, Box::new(move || Says(Threads::new(), lie)), AfterCrash::GoesOn)
}

fn tasks_that_say(lie: fn(&mut Capabilities)) -> impl Subject {
    let backend = move || Says(Tasks::new().runtime(runtime().handle().clone()), lie);
    Boasts(OnTasks, Box::new(backend), AfterCrash::GoesOn)
}

#[test]
fn kills_that_reach_nobody_and_are_said_to_reach_anywhere() {
    let liar = threads_that_say(|capabilities| capabilities.kill = KillReach::Anywhere);
    is_found_out(&liar, KILL, "kills reach Anywhere");
}

#[test]
fn kills_that_reach_and_are_said_to_reach_nobody() {
    let liar = tasks_that_say(|capabilities| capabilities.kill = KillReach::None);
    is_found_out(&liar, KILL, "kills reach None");
}

/// They reach what yields, and the job at which they end is there to show it.
#[test]
fn kills_that_reach_what_yields_and_are_said_to_reach_anywhere() {
    let liar = tasks_that_say(|capabilities| capabilities.kill = KillReach::Anywhere);
    is_found_out(&liar, KILL, "kills reach Anywhere, and this job is out of reach");
}

/// The same with what is called into this process.
#[cfg(feature = "interpreter")]
#[test]
fn kills_that_reach_guests_and_are_said_to_reach_anywhere() {
    let backend = || {
        let guests = millpond::interpreter::Interpreters::new(crate::polled::wasm::engine());
        Says(guests, |capabilities| capabilities.kill = KillReach::Anywhere)
    };
    let liar = Boasts(crate::published::guests::GUESTS, Box::new(backend), AfterCrash::GoesOn);
    is_found_out(&liar, KILL, "kills reach Anywhere, and this job is out of reach");
}

#[test]
fn kills_that_end_at_a_yield_and_are_said_to_reach_guests() {
    let none = tasks_that_say(|capabilities| capabilities.kill = KillReach::InGuest);
    is_found_out(&none, KILL, "kills reach InGuest, and the subject has no loop");
    let liar = Odd {
        says: |capabilities| capabilities.kill = KillReach::InGuest,
        loops: |tether| OnTasks.out_of_reach(tether),
        ..Odd::HONEST
    };
    is_found_out(&liar, KILL, "kills reach InGuest, and this job is in a guest's loop");
}

#[cfg(feature = "interpreter")]
#[test]
fn kills_that_reach_guests_and_are_said_to_end_at_a_yield() {
    let backend = || {
        let guests = millpond::interpreter::Interpreters::new(crate::polled::wasm::engine());
        Says(guests, |capabilities| capabilities.kill = KillReach::AtYield)
    };
    let liar = Boasts(crate::published::guests::GUESTS, Box::new(backend), AfterCrash::GoesOn);
    is_found_out(&liar, KILL, "kills reach AtYield, and the subject has a loop");
}

/// Tasks that say what they are not, or whose jobs are not what they are said to be.
struct Odd {
    says: fn(&mut Capabilities),
    out_of_reach: fn(Tether) -> Option<Dream>,
    loops: fn(Tether) -> Option<Dream>,
}

impl Odd {
    const HONEST: Self = Self { says: |_| (), out_of_reach: |tether| OnTasks.out_of_reach(tether), loops: |_| None };
}

impl Subject for Odd {
    type Backend = Says<Tasks>;
    type Job = Dream;

    fn builder(&self, name: &str) -> PoolBuilder<Says<Tasks>> {
        PoolBuilder::new(name, Says(Tasks::new().runtime(runtime().handle().clone()), self.says))
    }

    fn returns(&self, number: u64) -> Dream {
        OnTasks.returns(number)
    }

    fn number(&self, output: u64) -> u64 {
        output
    }

    fn beats(&self, tether: Tether) -> Dream {
        OnTasks.beats(tether)
    }

    fn ignores(&self, tether: Tether) -> Dream {
        OnTasks.ignores(tether)
    }

    fn crashes(&self) -> Dream {
        OnTasks.crashes()
    }

    fn after_crash(&self) -> AfterCrash {
        OnTasks.after_crash()
    }

    fn out_of_reach(&self, tether: Tether) -> Option<Dream> {
        (self.out_of_reach)(tether)
    }

    fn loops(&self, tether: Tether) -> Option<Dream> {
        (self.loops)(tether)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// What is said to be out of a kill's reach yields all the time.
#[test]
fn kills_that_reach_further_than_they_are_said_to() {
    let liar = Odd { out_of_reach: |tether| Some(OnTasks.ignores(tether)), ..Odd::HONEST };
    is_found_out(&liar, OUT_OF_REACH, "left: ");
}

#[test]
fn deaths_that_are_said_to_be_confirmed_and_are_not() {
    let liar = threads_that_say(|capabilities| capabilities.death_confirmed = true);
    is_found_out(&liar, DEATH, "deaths are confirmed");
}

#[test]
fn deaths_that_are_confirmed_and_said_not_to_be() {
    let liar = tasks_that_say(|capabilities| capabilities.death_confirmed = false);
    is_found_out(&liar, DEATH, "deaths are not confirmed");
}

#[test]
fn memory_that_is_said_to_be_limited() {
    let liar = threads_that_say(|capabilities| capabilities.memory_limited = true);
    is_found_out(&liar, "reach::memory_is_limited_as_the_capabilities_say", "memory can be limited");
}

#[test]
fn capabilities_that_change() {
    a_rogue_is_found_out(Vice::ChangesHisMind, "reach::the_capabilities_stay_what_they_are", "before it had a pool");
}
