//! A pool as a member, its jobs as they are or made from others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use millpond::{DynExecutor, JobError, JobHandle, JobId, JobOptions, PoolExecutor, RejectReason, Timestamp};

use super::error::{Refusal, RefusalReason};
use super::guard::catch;
use super::route::MemberView;
use super::submit::Terms;

/// A pool with its name in a mixed pool, which takes jobs of type `J` there and gives `T`.
pub struct Member<J, T> {
    pub(super) name: Arc<str>,
    pub(super) pool: Arc<dyn PoolExecutor>,
    host: Box<dyn Host<J, T>>,
    options: JobOptions,
}

impl<J: Send + 'static, T: Send + 'static> Member<J, T> {
    /// A pool that takes such jobs as they are, under its own name.
    pub fn new(pool: Arc<dyn DynExecutor<J, T>>) -> Self {
        Self::hosted(pool.clone(), AsItIs(pool))
    }

    /// A pool that takes other jobs, and gives something else: `job` makes one of its jobs, and `output` makes ours of what that gives.
    ///
    /// Both are called on the submitter's thread or one of the mixed pool's for users' code, where others may wait for them: they are to be quick. `job` may be called for a
    /// member that then has no place. A panic in it passes this member over; one in `output` is the job's failure.
    pub fn adapted<K, U>(
        pool: Arc<dyn DynExecutor<K, U>>,
        job: impl Fn(&J) -> K + Send + Sync + 'static,
        output: impl Fn(U) -> T + Send + Sync + 'static,
    ) -> Self
    where
        K: Send + 'static,
        U: Send + 'static,
    {
        Self::hosted(pool.clone(), Adapted { pool, job, output: Arc::new(output) })
    }

    fn hosted(pool: Arc<dyn PoolExecutor>, host: impl Host<J, T> + 'static) -> Self {
        Self { name: Arc::from(pool.name()), pool, host: Box::new(host), options: JobOptions::new() }
    }

    /// Another name than its pool's.
    #[must_use]
    pub fn named(mut self, name: impl AsRef<str>) -> Self {
        self.name = Arc::from(name.as_ref());
        self
    }

    /// What each job has in this member: a lane, a redelivery, limits of its own. What the submitter says of label, deadline and limits comes
    /// before it.
    #[must_use]
    pub fn options(mut self, options: JobOptions) -> Self {
        self.options = options;
        self
    }

    pub(super) fn view(&self) -> MemberView {
        MemberView {
            name: self.name.clone(),
            capabilities: self.pool.capabilities(),
            saturation: self.pool.saturation(),
            health: self.pool.health(),
            gate: self.pool.gate(),
        }
    }

    /// Gives it the job, if there is a place for it now. What is left over is put into `left`.
    pub(super) fn submit(
        &self,
        job: J,
        terms: &Terms,
        queue_left: Option<std::time::Duration>,
        left: &mut Left,
    ) -> Taken<J, T> {
        let mut options = self.options.clone().submitted_from(terms.site);
        if let Some(label) = &terms.label {
            options = options.label(label);
        }
        if let Some(limit) = queue_left {
            options = options.queue_limit(limit);
        }
        if let Some(limit) = terms.run_limit {
            options = options.run_limit(limit);
        }
        if terms.deadline != Timestamp::NEVER {
            options = options.deadline_at(terms.deadline);
        }
        self.host.submit(job, options, left)
    }

    pub(super) fn refusal(&self, member: usize, reason: RefusalReason) -> Refusal {
        Refusal { member, name: self.name.clone(), reason }
    }
}

impl<J, T> std::fmt::Debug for Member<J, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("name", &self.name).field("pool", &self.pool.name()).finish_non_exhaustive()
    }
}

/// Values of the user's that nobody needs any more, to be dropped where that may take its time.
pub(super) type Left = Vec<Box<dyn Send>>;

fn leave(left: &mut Left, value: impl Send + 'static) {
    left.push(Box::new(value));
}

/// What becomes of a job that a member is given.
pub(super) type Taken<J, T> = Result<Box<dyn Run<T>>, NotTaken<J>>;

pub(super) enum NotTaken<J> {
    Refused(J, RefusalReason),
    /// Code of the user's panicked while the job was in the member's hands.
    Broke(String),
}

/// What a job in a member gave.
pub(super) enum Given<T> {
    Ours(T),
    /// What makes it ours is the user's.
    Another(Box<dyn FnOnce() -> T + Send>),
}

/// A job in a member.
pub(super) trait Run<T>: Send {
    /// Runs no user's code.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Given<T>, JobError>>;
    fn cancel(&self);
    fn id(&self) -> JobId;
    /// True if the member has lost a worker under it.
    fn was_lost(&self) -> bool;
}

trait Host<J, T>: Send + Sync {
    fn submit(&self, job: J, options: JobOptions, left: &mut Left) -> Taken<J, T>;
}

struct AsItIs<J: Send + 'static, T: Send + 'static>(Arc<dyn DynExecutor<J, T>>);

impl<J: Send + 'static, T: Send + 'static> Host<J, T> for AsItIs<J, T> {
    fn submit(&self, job: J, options: JobOptions, _: &mut Left) -> Taken<J, T> {
        match catch(|| self.0.try_submit_dyn(job, options)) {
            Ok(Ok(handle)) => Ok(Box::new(Running { handle, given: Given::Ours })),
            Ok(Err(rejected)) => Err(refused(rejected.into_parts())),
            Err(message) => Err(NotTaken::Broke(message)),
        }
    }
}

fn refused<J>((job, reason): (J, RejectReason)) -> NotTaken<J> {
    NotTaken::Refused(job, RefusalReason::Pool(reason))
}

struct Adapted<K: Send + 'static, U: Send + 'static, I, O> {
    pool: Arc<dyn DynExecutor<K, U>>,
    job: I,
    output: Arc<O>,
}

impl<J, T, K, U, I, O> Host<J, T> for Adapted<K, U, I, O>
where
    J: Send + 'static,
    T: Send + 'static,
    K: Send + 'static,
    U: Send + 'static,
    I: Fn(&J) -> K + Send + Sync,
    O: Fn(U) -> T + Send + Sync + 'static,
{
    fn submit(&self, job: J, options: JobOptions, left: &mut Left) -> Taken<J, T> {
        let made = match catch(|| (self.job)(&job)) {
            Ok(made) => made,
            Err(message) => return Err(NotTaken::Refused(job, RefusalReason::Adapter(message))),
        };
        match catch(|| self.pool.try_submit_dyn(made, options)) {
            Ok(Ok(handle)) => {
                leave(left, job);
                let output = self.output.clone();
                let given = move |other| {
                    let output = output.clone();
                    Given::Another(Box::new(move || output(other)))
                };
                Ok(Box::new(Running { handle, given }))
            }
            Ok(Err(rejected)) => {
                let (made, reason) = rejected.into_parts();
                leave(left, made);
                Err(refused((job, reason)))
            }
            Err(message) => {
                leave(left, job);
                Err(NotTaken::Broke(message))
            }
        }
    }
}

struct Running<U: 'static, G> {
    handle: JobHandle<U>,
    given: G,
}

impl<T, U: Send + 'static, G: Fn(U) -> Given<T> + Send> Run<T> for Running<U, G>
where
    Self: Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Given<T>, JobError>> {
        Pin::new(&mut self.handle).poll(cx).map_ok(|output| (self.given)(output))
    }

    fn cancel(&self) {
        self.handle.cancel();
    }

    fn id(&self) -> JobId {
        self.handle.id()
    }

    fn was_lost(&self) -> bool {
        self.handle.lost_deliveries() > 0
    }
}
