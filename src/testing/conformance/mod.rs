//! Whether a backend of yours does what every pool promises: one suite, for any kind of pool.
//!
//! A [`Backend`](crate::Backend) hosts workers, and [`Pool`](crate::Pool) makes a pool of it: admission, lanes, limits, the ladder, restarts, hooks and shutdown
//! are not the backend's. But each of them rests on what it does: that a worker pulls, that it leaves when it is told to, that a kill goes as far
//! as its [`Capabilities`](crate::Capabilities) say. This suite holds it to that, through the public API and nothing else. It is the one that millpond's own kinds of pool pass.
//!
//! # What you supply
//!
//! A [`Subject`]: a builder for a pool of your kind, and four jobs.
//!
//! | | |
//! |---|---|
//! | [`returns`](Subject::returns) | a job that gives a number |
//! | [`beats`](Subject::beats) | one that takes long, says that it progresses, and ends when it is asked to |
//! | [`ignores`](Subject::ignores) | one that does not hear when it is asked |
//! | [`crashes`](Subject::crashes) | one that crashes its worker, with [`after_crash`](Subject::after_crash), which says what follows |
//!
//! The two long ones are given a [`Tether`], by which the suite lets them go, and sees whether their code still runs. If your kills do not reach everywhere, or
//! memory is limited, there is one more job to show each of those: [`out_of_reach`](Subject::out_of_reach), [`grows`](Subject::grows). If they reach into interpreted code, one
//! that never leaves it: [`loops`](Subject::loops).
//!
//! ```
//! use std::time::Duration;
//!
//! use millpond::testing::conformance::{AfterCrash, Subject, Tether, run_all};
//! use millpond::{JobContext, PoolBuilder, Threads};
//!
//! type Errand = Box<dyn FnOnce() -> u64 + Send>;
//!
//! /// Threads, as if they were a backend of yours.
//! struct Mine;
//!
//! impl Subject for Mine {
//!     type Backend = Threads;
//!     type Job = Errand;
//!
//!     fn builder(&self, name: &str) -> PoolBuilder<Threads> {
//!         PoolBuilder::new(name, Threads::new().restart_after_panic())
//!     }
//!     fn number(&self, output: u64) -> u64 {
//!         output
//!     }
//!     fn returns(&self, number: u64) -> Errand {
//!         Box::new(move || number)
//!     }
//!     fn beats(&self, tether: Tether) -> Errand {
//!         Box::new(move || {
//!             let job = JobContext::current().expect("a job has a context");
//!             while !job.is_cancelled() && !tether.wait(Duration::from_millis(1)) {
//!                 job.beat();
//!             }
//!             0
//!         })
//!     }
//!     fn ignores(&self, tether: Tether) -> Errand {
//!         Box::new(move || {
//!             while !tether.wait(Duration::from_secs(1)) {}
//!             0
//!         })
//!     }
//!     fn crashes(&self) -> Errand {
//!         Box::new(|| panic!("as the suite wants it"))
//!     }
//!     fn after_crash(&self) -> AfterCrash {
//!         AfterCrash::EndsWorker
//!     }
//! }
//!
//! let report = run_all(&Mine);
//! assert!(report.holds(), "{report}");
//! # let _ = report;
//! ```
//!
//! # How to run it
//!
//! In a test program, [`conformance_tests!`](crate::conformance_tests) makes a test of each body, so that a failure names the clause:
//!
//! ```text
//! mod conformance {
//!     use super::*;
//!     millpond::conformance_tests!(Mine);
//! }
//! ```
//!
//! Elsewhere, [`run_all`] runs them one after the other and gives a [`Report`]. Both are for plain threads: a body blocks the one that it is on.
//! Bodies wait for what they wait for, and not for some time; those about time limits set the clock. What never comes is a failure after
//! [`patience`](Subject::patience), which is generous: the machine may be busy with something else.
//!
//! Your test program needs millpond with the feature `testing`, as a `dev-dependency`. A body may be added in any release; its name says what your backend does not do.
//!
//! # What it finds
//!
//! What a backend says of itself is checked from both sides, as far as your jobs show it. One that says `Killed` of a job which goes on fails, and so does one whose job goes on after
//! it was killed, one whose kills reach nobody by its word and end the job all the same, one that reports another worker's facts, whose starts are none, that keeps a worker that was
//! told to go.
//!
//! How far kills reach between nobody and anywhere only [`out_of_reach`](Subject::out_of_reach) can show: with it, a backend that says
//! [`Anywhere`](crate::KillReach::Anywhere) and does not reach that job fails, and so does one that says less and reaches it. Without it those pass alike.
//! [`InGuest`](crate::KillReach::InGuest) and less are told apart by [`loops`](Subject::loops): who says the one has to end that job, and who has it must not say the other. What else it cannot see is what your
//! jobs are for: that is for tests of your own.
//!
//! A body that needs what your subject says it has not (a crash that ends the worker, say) does not apply, and says so in the report.
//!
//! # The clauses
//!
//! They are listed at [`BODIES`].

#[macro_use]
mod clauses;

mod admission;
mod hooks;
mod inventory;
mod ladder;
mod lanes;
mod outcomes;
mod overdue;
mod reach;
mod report;
mod resize;
mod restarts;
mod rig;
mod shutdown;
mod subject;
mod tether;
mod time_limits;

pub use report::{Report, Row, Verdict, check, run_all, run_one};
pub use subject::{AfterCrash, Body, Needs, Subject};
pub use tether::{FarTether, Tether};

use crate::backend::Hosts;
use rig::Rig;

/// What a subject's jobs give.
type Output<S> = <<S as Subject>::Backend as Hosts<<S as Subject>::Job>>::Output;

/// Declares [`BODIES`], and runs them.
macro_rules! table {
    ($($matter:ident { $($body:ident $needs:ident $clause:literal;)* })*) => {
        /// Every body of the suite, with the clause of the contract that it checks.
        ///
        $(
            #[doc = concat!("# ", stringify!($matter), "\n")]
            $( #[doc = concat!("- `", stringify!($body), "`: ", $clause)] )*
            ///
        )*
        pub const BODIES: &[Body] = &[
            $( $( Body {
                matter: stringify!($matter),
                name: stringify!($body),
                id: concat!(stringify!($matter), "::", stringify!($body)),
                clause: $clause,
                needs: Needs::$needs,
            }, )* )*
        ];

        /// Runs the body of this id; panics if the clause does not hold.
        fn run<S: Subject>(rig: Rig<'_, S>, id: &str) {
            match id {
                $( $( concat!(stringify!($matter), "::", stringify!($body)) => $matter::$body(rig), )* )*
                other => panic!("there is no body `{other}` in the suite"),
            }
        }
    };
}

__conformance_clauses!(table!);

/// Makes a test of each body of the [suite](crate::testing::conformance), in modules by subject matter, for the subject that the expression gives.
///
/// Once in a module: for several subjects, one module each.
///
/// ```text
/// mod on_steps {
///     use super::*;
///     millpond::conformance_tests!(Steps::default());
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($subject:expr) => {
        fn conformance_subject() -> impl $crate::testing::conformance::Subject {
            $subject
        }

        $crate::__conformance_clauses!($crate::__conformance_test_functions!);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test_functions {
    ($($matter:ident { $($body:ident $needs:ident $clause:literal;)* })*) => {
        $( mod $matter {
            $(
                #[test]
                fn $body() {
                    let id = concat!(stringify!($matter), "::", stringify!($body));
                    $crate::testing::conformance::check(&super::conformance_subject(), id);
                }
            )*
        } )*
    };
}
