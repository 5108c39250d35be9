//! What the suite asks of whoever is to be held to it.

use std::time::Duration;

use super::tether::Tether;
use crate::backend::{Backend, Capabilities, Hosts, KillReach};
use crate::builder::PoolBuilder;

/// A kind of pool, and the jobs by which the suite looks at it.
///
/// Nothing here is called on a worker but the jobs themselves.
pub trait Subject: Send + Sync {
    /// The backend.
    type Backend: Backend + Hosts<Self::Job>;
    /// The type of its jobs here: for a backend that hosts several, whichever can do all that is asked below.
    type Job: Send + 'static;

    /// A builder of a pool of this name, for what only your kind has. The suite sets the default lane, the limits and the kill grace of every pool, and a body what it is about:
    /// the clock, policies, the watchdog. All that replaces what is set here. Lanes and hooks of a body's come beside yours, and whatever else you set stays: a body
    /// that finds a worker recycled, or a resize denied, by what it did not set may call that broken.
    fn builder(&self, name: &str) -> PoolBuilder<Self::Backend>;

    /// A job that returns at once, with an output of which [`number`](Self::number) makes this number again.
    fn returns(&self, number: u64) -> Self::Job;

    /// The number that a job which [`returns`](Self::returns) was made with.
    fn number(&self, output: <Self::Backend as Hosts<Self::Job>>::Output) -> u64;

    /// A job that takes long: it [beats](crate::JobContext::beat) every few milliseconds, and returns soon once it is asked to
    /// ([`JobContext::is_cancelled`](crate::JobContext::is_cancelled)) or its tether is cut, whichever comes first.
    fn beats(&self, tether: Tether) -> Self::Job;

    /// A job that takes long and hears nothing: it returns soon once its tether is cut, and not before. It does not beat. It is as stubborn as a job can be
    /// that a kill reaches still: where kills reach [at a yield](KillReach::AtYield) it yields, where they reach [guests](KillReach::InGuest) it is in
    /// one most of the time.
    fn ignores(&self, tether: Tether) -> Self::Job;

    /// A job that crashes its worker, if a job can do that, and else panics, or ends in whatever way is worst.
    fn crashes(&self) -> Self::Job;

    /// What becomes of the worker of a job that [`crashes`](Self::crashes).
    fn after_crash(&self) -> AfterCrash;

    /// A job that takes long and that no kill reaches: it returns soon once its tether is cut, and is held up until then where kills do not come, such as by
    /// a call that blocks its thread. `None`, the default: there is none. Not asked for if kills reach nobody, since then each job that ignores is one. Of a backend that says that
    /// its kills reach [anywhere](KillReach::Anywhere) this job has to be reached as well: supply it if your backend wraps one that cannot do that.
    fn out_of_reach(&self, _tether: Tether) -> Option<Self::Job> {
        None
    }

    /// A job that is in interpreted code, in a loop without an end that neither yields nor calls anything: it looks at its tether once, before it enters that code, and keeps it until
    /// it has left it. Needed where kills reach [guests](KillReach::InGuest), since it is what they reach beyond a yield, and asked for where they reach further; `None`, the default, where
    /// there is no interpreted code.
    fn loops(&self, _tether: Tether) -> Option<Self::Job> {
        None
    }

    /// A job that asks for more memory than it may have and, if it gets that, returns. `None`, the default, where memory is not limited.
    fn grows(&self) -> Option<Self::Job> {
        None
    }

    /// How long the suite waits for what has to come, before it says that it does not. Default: two minutes, as a loaded machine may need.
    fn patience(&self) -> Duration {
        Duration::from_secs(120)
    }
}

/// What becomes of a worker whose job crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AfterCrash {
    /// It takes the next job: the crash is the job's own business.
    GoesOn,
    /// It ends, which is a fault: its slot is restarted as the restart policy says.
    EndsWorker,
}

/// What a body needs of a subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Needs {
    /// Nothing that not every kind of pool has.
    Always,
    /// A job that no kill reaches.
    OutOfReach,
    /// A crash that ends its worker.
    CrashEndsWorker,
}

impl Needs {
    /// Why a body that needs this does not apply, if it does not.
    pub(super) fn unmet<S: Subject>(self, subject: &S, capabilities: Capabilities) -> Option<&'static str> {
        match self {
            Self::Always => None,
            Self::OutOfReach => match capabilities.kill {
                KillReach::None => None,
                KillReach::Anywhere => Some("its kills are said to reach anywhere"),
                _ => {
                    let has_one = subject.out_of_reach(super::tether::Hold::new().tether()).is_some();
                    (!has_one).then_some("no job is out of a kill's reach")
                }
            },
            Self::CrashEndsWorker => {
                (subject.after_crash() != AfterCrash::EndsWorker).then_some("a crash ends no worker")
            }
        }
    }
}

/// One body of the suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Body {
    /// What it is about.
    pub matter: &'static str,
    /// What holds if it passes.
    pub name: &'static str,
    /// Both, as [`check`](super::check) takes them: `reach::a_kill_does_what_the_capabilities_say`.
    pub id: &'static str,
    /// The clause of the contract that it checks.
    pub clause: &'static str,
    /// What it needs.
    pub needs: Needs,
}
