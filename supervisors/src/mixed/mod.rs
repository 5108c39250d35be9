//! Several pools, whatever runs their jobs, behind one admission and one policy: try the interpreter, fall back to a process.
//!
//! A [`MixedPool`] takes jobs of one type and gives each to one of its [`Member`]s, as a [`Route`] says. A member is an `Arc<dyn DynExecutor<_, _>>`: a pool of
//! any kind, which goes on being one, with its own limits, workers and events, and may have other submitters too.
//!
//! | what | is |
//! |---|---|
//! | the places ([`MixedBuilder::places`]): jobs from admission to outcome | one |
//! | the route, a job's deadline, queue limit and handle | one |
//! | ledger, saturation, inventory, health | one, over all members |
//! | quiesce, resume, drain, shutdown, abort | one call for all members at once |
//! | queues, lanes, limits, restart policies, hooks, events, watchdogs | each member's |
//! | worker and job numbers; resize, retune, terminate | each member's: [`MixedPool::member`] |
//!
//! What waits in a member's queue stays with that member. What no member takes waits here, and goes to whoever has a place first; so members with short queues
//! ([`Lane::capacity`](millpond::Lane::capacity)) share the work best. With an empty queue (0) a member takes what a worker is free for, or can be started for.
//!
//! | route | a job goes to |
//! |---|---|
//! | [`FallBack`] (the default) | the first member that takes it; after an attempt that failed, to the next, if its submitter allows |
//! | [`InOrder`] | the first member that takes it, and nobody else |
//! | [`LeastLoaded`] | the member with the fewest jobs for its size; then as `FallBack` |
//!
//! A job is never in two members at once, and never given to another one while it may still run. After an attempt that failed it goes on only if whoever
//! submitted it said so: [`again_if_not_begun`](MixedSubmitter::again_if_not_begun), [`repeatable`](MixedSubmitter::repeatable).
//!
//! ```
//! use std::sync::Arc;
//! use millpond::{Lane, Limits, TaskPool, ThreadPool};
//! use millpond_supervisors::mixed::{Member, MixedPool};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let few = |name: &str| Lane::new(name).capacity(0);
//! let threads = ThreadPool::builder("squares-threads").limits(Limits::fixed(1)).default_lane(few("default")).build()?;
//! let tasks = TaskPool::builder("squares-tasks").limits(Limits::fixed(4)).build()?;
//! // Ours are numbers, which each kind makes into a job of its own.
//! let pool = MixedPool::builder("squares")
//!     .member(Member::adapted(Arc::new(threads), |n: &u64| { let n = *n; move || n * n }, |square: u64| square))
//!     .member(Member::adapted(Arc::new(tasks), |n: &u64| std::future::ready(n * n), |square: u64| square))
//!     .build()?;
//! let handle = pool.job().label("square").submit(7).await?;
//! assert_eq!(handle.await?, 49);
//! println!("{}", pool.inventory_now());
//! # Ok(()) }
//! ```

mod alarm;
mod book;
mod control;
mod error;
mod guard;
mod handle;
mod hands;
mod inventory;
mod line;
mod member;
mod place;
mod pool;
mod route;
mod submit;

pub use control::{MemberReply, MixedReport, StillAtWork};
pub use error::{
    Attempt, AttemptError, MixedEnd, MixedError, MixedJoinError, MixedRejectReason, MixedRejected, Refusal,
    RefusalReason,
};
pub use handle::{MixedHandle, MixedStatus};
pub use inventory::{MixedHealth, MixedInventory, MixedRow};
pub use member::Member;
pub use route::{FallBack, InOrder, LeastLoaded, MemberView, Route, Routed, Step};
pub use submit::MixedSubmitter;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millpond::{Clock, Ledger, PoolExecutor, Saturation};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use book::Book;
use hands::Hands;
use pool::{Shared, State};

/// How many places there are if nobody says.
const PLACES: usize = 1024;
const ADMISSION_LIMIT: Duration = Duration::from_secs(30);
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

/// Several pools behind one admission and one route; see [the module](self). A clone is another handle of the same.
///
/// It belongs to its handles: when the last is dropped, what was admitted is worked off, within the [shutdown limit](MixedBuilder::shutdown_limit), and then it lets go of
/// its members. It has a thread of its own, and others for code of yours (routes, adapters, drops), and needs no runtime.
pub struct MixedPool<J: Send + 'static, T: Send + 'static> {
    owner: Arc<Owner<J, T>>,
}

/// All handles together.
struct Owner<J: Send + 'static, T: Send + 'static>(Arc<Shared<J, T>>);

impl<J: Send + 'static, T: Send + 'static> Drop for Owner<J, T> {
    fn drop(&mut self) {
        self.0.is_left();
    }
}

impl<J: Send + 'static, T: Send + 'static> MixedPool<J, T> {
    /// Starts building a mixed pool with this name, which is for errors and the log.
    pub fn builder(name: impl AsRef<str>) -> MixedBuilder<J, T> {
        MixedBuilder {
            name: Arc::from(name.as_ref()),
            members: Vec::new(),
            route: Box::new(FallBack),
            places: PLACES,
            admission_limit: Some(ADMISSION_LIMIT),
            shutdown_limit: SHUTDOWN_LIMIT,
            clock: Clock::real(),
        }
    }

    fn shared(&self) -> &Arc<Shared<J, T>> {
        &self.owner.0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared().name
    }

    /// A member's pool, for what is asked of it alone: resize, terminate, retune, hooks, events.
    pub fn member(&self, name: &str) -> Option<&Arc<dyn PoolExecutor>> {
        self.shared().members.iter().find(|member| &*member.name == name).map(|member| &member.pool)
    }

    /// Every member, as the route sees it now.
    pub fn members(&self) -> Vec<MemberView> {
        self.shared().members.iter().map(Member::view).collect()
    }

    /// How full all members are together: sums, for which no member's locks are taken, and two short ones of this pool's. `queued` and `waiting` count jobs that wait here and
    /// submitters that wait for a place, too. Members' other submitters are in it.
    pub fn saturation(&self) -> Saturation {
        self.shared().saturation()
    }

    /// What became of every job that was offered here, each once, however many attempts it took. The members' ledgers count attempts.
    pub fn ledger(&self) -> Ledger {
        self.shared().book.ledger()
    }

    /// Why the route has no say any more, if so; see [`Route`].
    pub fn route_fault(&self) -> Option<Arc<str>> {
        self.shared().route_fault.get().cloned()
    }

    /// Options for a job that is submitted through this.
    pub const fn job(&self) -> MixedSubmitter<'_, J, T> {
        MixedSubmitter::new(self)
    }

    /// Gives `job` to a member, or has it wait for one. Waits for a place if it has to, at most for the admission limit.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future admits nothing. A place that was kept for one that is not polled any more is taken until that is dropped.
    #[track_caller]
    pub fn submit(&self, job: J) -> impl Future<Output = Result<MixedHandle<T>, MixedRejected<J>>> + Send + use<J, T> {
        self.job().submit(job)
    }

    /// The same if there is a place now. Never blocks, and never overtakes those who wait for a place.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason.
    #[track_caller]
    pub fn try_submit(&self, job: J) -> Result<MixedHandle<T>, MixedRejected<J>> {
        self.job().try_submit(job)
    }

    /// [`submit`](Self::submit) for synchronous callers.
    ///
    /// # Errors
    ///
    /// Hands the job back, with the reason; that can be that waiting here would block the only thread of a runtime.
    #[track_caller]
    pub fn submit_blocking(&self, job: J) -> Result<MixedHandle<T>, MixedRejected<J>> {
        self.job().submit_blocking(job)
    }
}

impl<J: Send + 'static, T: Send + 'static> Clone for MixedPool<J, T> {
    fn clone(&self) -> Self {
        Self { owner: self.owner.clone() }
    }
}

impl<J: Send + 'static, T: Send + 'static> std::fmt::Debug for MixedPool<J, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("MixedPool");
        shown.field("name", &self.name()).field("saturation", &self.saturation()).finish_non_exhaustive()
    }
}

/// Why a mixed pool was not built. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MixedBuildError {
    /// It has no member.
    #[error("mixed pool `{0}` was not built: it needs a member at least")]
    NoMember(Arc<str>),
    /// Two members have one name.
    #[error(
        "mixed pool `{pool}` was not built: two of its members are called `{member}`; give one of them another name by `Member::named`"
    )]
    SameName {
        /// The mixed pool.
        pool: Arc<str>,
        /// Their name.
        member: Arc<str>,
    },
    /// One pool is two of its members.
    #[error(
        "mixed pool `{pool}` was not built: its members `{first}` and `{second}` are the one pool `{twice}`, whose workers and jobs would count twice; leave one of \
         them out"
    )]
    SamePool {
        /// The mixed pool.
        pool: Arc<str>,
        /// The name of the pool that is given twice.
        twice: Arc<str>,
        /// Its name as a member.
        first: Arc<str>,
        /// Its other name as a member.
        second: Arc<str>,
    },
    /// It has no place, or more than there can be.
    #[error(
        "mixed pool `{pool}` was not built: it is to have {places} places; at least 1, and at most {} are possible",
        Semaphore::MAX_PERMITS
    )]
    Places {
        /// The mixed pool.
        pool: Arc<str>,
        /// As many as it was to have.
        places: usize,
    },
    /// The system refused its thread.
    #[error("mixed pool `{pool}` was not built: the system refused its thread")]
    Thread {
        /// The mixed pool.
        pool: Arc<str>,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// See [`MixedPool::builder`].
#[must_use = "it builds nothing by itself"]
pub struct MixedBuilder<J, T> {
    name: Arc<str>,
    members: Vec<Member<J, T>>,
    route: Box<dyn Route>,
    places: usize,
    admission_limit: Option<Duration>,
    shutdown_limit: Duration,
    clock: Clock,
}

impl<J: Send + 'static, T: Send + 'static> MixedBuilder<J, T> {
    /// Adds a member, after those that were added before. A pool is one member at most: each counts for itself in what is counted over all of them.
    pub fn member(mut self, member: Member<J, T>) -> Self {
        self.members.push(member);
        self
    }

    /// Which member a job goes to; default: [`FallBack`].
    pub fn route(mut self, route: impl Route) -> Self {
        self.route = Box::new(route);
        self
    }

    /// How many jobs may be in, from their admission to their outcome, here and in members together; default: 1024.
    pub const fn places(mut self, places: usize) -> Self {
        self.places = places;
        self
    }

    /// How long a submitter waits for a place; default: 30 s.
    pub const fn admission_limit(mut self, limit: Duration) -> Self {
        self.admission_limit = Some(limit);
        self
    }

    /// A submitter for whom there is no place is refused, and does not wait.
    pub const fn reject_when_full(mut self) -> Self {
        self.admission_limit = None;
        self
    }

    /// How long what was admitted has when the last handle was dropped; default: 30 s. Then what no member has ends as not started.
    pub const fn shutdown_limit(mut self, limit: Duration) -> Self {
        self.shutdown_limit = limit;
        self
    }

    /// The clock that limits and deadlines are read from: the one that the members have; default: the machine's, as theirs.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds it, and starts its thread.
    ///
    /// # Errors
    ///
    /// If it has no member, or two of one name or of one pool, or no place; or the system refuses the thread.
    pub fn build(self) -> Result<MixedPool<J, T>, MixedBuildError> {
        let Self { name, members, route, places, admission_limit, shutdown_limit, clock } = self;
        if members.is_empty() {
            return Err(MixedBuildError::NoMember(name));
        }
        if places == 0 || places > Semaphore::MAX_PERMITS {
            return Err(MixedBuildError::Places { pool: name, places });
        }
        for (number, member) in members.iter().enumerate() {
            if members[..number].iter().any(|other| other.name == member.name) {
                return Err(MixedBuildError::SameName { pool: name, member: member.name.clone() });
            }
        }
        if let Some([first, second]) = given_twice(&members) {
            let (pool, twice) = (name, Arc::from(first.pool.name()));
            let (first, second) = (first.name.clone(), second.name.clone());
            return Err(MixedBuildError::SamePool { pool, twice, first, second });
        }
        let book = Arc::new(Book::default());
        let shared = Arc::new(Shared {
            hands: Hands::new(name.clone(), book.mailbox.clone()),
            telling: Mutex::new(()),
            name,
            members,
            route,
            route_fault: OnceLock::new(),
            clock,
            places: Arc::new(Semaphore::new(places)),
            most: places,
            admission_limit,
            shutdown_limit,
            book,
            state: Mutex::new(State::new()),
        });
        start(&shared).map_err(|source| MixedBuildError::Thread { pool: shared.name.clone(), source })?;
        Ok(MixedPool { owner: Arc::new(Owner(shared)) })
    }
}

/// Two members that are one pool, as its actor says, whatever they are called.
fn given_twice<J, T>(members: &[Member<J, T>]) -> Option<[&Member<J, T>; 2]> {
    members.iter().enumerate().find_map(|(number, second)| {
        let is_it = |first: &&Member<J, T>| first.pool.actor().get_id() == second.pool.actor().get_id();
        members[..number].iter().find(is_it).map(|first| [first, second])
    })
}

#[expect(clippy::disallowed_methods, reason = "the home of mixed pools' threads")]
fn start<J: Send + 'static, T: Send + 'static>(shared: &Arc<Shared<J, T>>) -> std::io::Result<()> {
    let driven = shared.clone();
    let thread = std::thread::Builder::new().name(format!("millpond-mixed-{}", shared.name));
    thread.spawn(move || driven.drive())?;
    Ok(())
}

impl<J, T> std::fmt::Debug for MixedBuilder<J, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, members, places, admission_limit, .. } = self;
        let mut shown = f.debug_struct("MixedBuilder");
        shown.field("name", name).field("members", members).field("places", places);
        shown.field("admission_limit", admission_limit).finish_non_exhaustive()
    }
}
