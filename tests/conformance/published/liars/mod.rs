//! Backends that are honest but for one thing, each of which breaks the clause that is there for it.

mod capabilities;
mod jobs;
mod rogues;
mod workers;

use std::time::Duration;

use millpond::testing::conformance::{AfterCrash, Subject, Tether, Verdict, run_one};
use millpond::{Backend, Hosts, PoolBuilder};

/// Longer than an honest backend needs here, and what a lie costs that is known by what never comes.
const PATIENCE: Duration = Duration::from_secs(5);

const KILL: &str = "reach::a_kill_does_what_the_capabilities_say";
const DEATH: &str = "reach::a_death_is_confirmed_as_the_capabilities_say";
const CRASH: &str = "restarts::a_crash_does_to_the_worker_what_was_said";

/// The body of this id finds it out, and says so in these words.
#[track_caller]
fn is_found_out<S: Subject>(liar: &S, id: &str, words: &str) {
    let row = run_one(liar, id);
    assert_eq!(row.body.id, id);
    let Verdict::Broken(seen) = row.verdict else { panic!("{id} finds nothing: {:?}", row.verdict) };
    assert!(seen.contains(words), "`{words}` is not in: {seen}");
}

/// The jobs of another subject, on a backend that they do not deserve.
struct Boasts<S, B>(S, Box<dyn Fn() -> B + Send + Sync>, AfterCrash);

impl<S: Subject, B: Backend + Hosts<S::Job, Output = u64>> Subject for Boasts<S, B>
where
    S::Backend: Hosts<S::Job, Output = u64>,
{
    type Backend = B;
    type Job = S::Job;

    fn builder(&self, name: &str) -> PoolBuilder<B> {
        PoolBuilder::new(name, (self.1)())
    }

    fn returns(&self, number: u64) -> S::Job {
        self.0.returns(number)
    }

    fn number(&self, output: u64) -> u64 {
        output
    }

    fn beats(&self, tether: Tether) -> S::Job {
        self.0.beats(tether)
    }

    fn ignores(&self, tether: Tether) -> S::Job {
        self.0.ignores(tether)
    }

    fn crashes(&self) -> S::Job {
        self.0.crashes()
    }

    fn after_crash(&self) -> AfterCrash {
        self.2
    }

    fn out_of_reach(&self, tether: Tether) -> Option<S::Job> {
        self.0.out_of_reach(tether)
    }

    fn loops(&self, tether: Tether) -> Option<S::Job> {
        self.0.loops(tether)
    }

    fn grows(&self) -> Option<S::Job> {
        self.0.grows()
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}
