//! Several pools under one ractor supervisor, whatever runs their jobs: it knows them by `ActorRef<PoolMessage>` alone.

mod ask;
mod course;
mod intensity;
mod member;
mod message;
mod standing;
mod supervision;

use std::time::Duration;

use millpond::PoolMessage;
use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent};

use course::End;
use intensity::Intensity;
use member::Member;
pub use message::{GroupMessage, MemberReply, MemberReport, MemberStatus};
use message::{Internal, Step};
use supervision::Supervision;

/// Which members go with one that fails. One that is just being started goes too: what comes up is stopped, and started again in its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// None: it alone is started again, and waits for nobody.
    #[default]
    OneForOne,
    /// All: the others are stopped, and all are started again, in their order.
    OneForAll,
    /// Those that were given after it, which are taken to depend on it.
    RestForOne,
}

/// Supervises several pools: starts them in order, starts those that fail again, and asks them all at once.
///
/// A pool that was shut down is left alone, be it while it came up; one that failed or was killed is started again, by the [`Strategy`]. One that does not come up, within
/// the limit for starts, has failed too; it is started again, a moment later, and takes nobody along. One for one, the pools after it come up
/// all the same; otherwise they wait for it. More failures than its intensity allows, be it of one member that never comes up, or a pool that
/// cannot be made to end, and the group itself fails, so that *its* parent decides; its pools go with it.
///
/// ```no_run
/// use millpond::{Limits, PoolExecutor, TaskPool, ThreadPool};
/// use millpond_supervisors::{Group, GroupMessage, Strategy};
/// use ractor::{Actor, call_t};
///
/// # async fn program() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let group = Group::new(Strategy::OneForOne)
///     .member("io", |parent| async move {
///         Ok(ThreadPool::builder("io").limits(Limits::fixed(4)).spawn_linked(parent).await?.actor())
///     })
///     .member("requests", |parent| async move {
///         Ok(TaskPool::builder("requests").limits(Limits::fixed(64)).spawn_linked(parent).await?.actor())
///     });
/// let (group, _ended) = Actor::spawn(Some("pools".to_owned()), group, ()).await?;
/// for member in call_t!(group, GroupMessage::Status, 1_000)? {
///     println!("{}: {:?}", member.name, member.snapshot.map(|pool| pool.saturation));
/// }
/// # Ok(()) }
/// ```
///
/// It runs on the runtime that it is spawned on, and waits for nobody in a handler.
#[derive(Debug)]
pub struct Group {
    strategy: Strategy,
    intensity: Intensity,
    limit: Duration,
    start_limit: Duration,
    stop_limit: Duration,
    members: Vec<Member>,
}

impl Group {
    /// A group without members: three failures within five seconds are one too many for nobody yet.
    pub fn new(strategy: Strategy) -> Self {
        let intensity = Intensity { most: 3, within: Duration::from_secs(5) };
        let [limit, stop_limit, start_limit] = [1, 5, 30].map(Duration::from_secs);
        Self { strategy, intensity, limit, start_limit, stop_limit, members: Vec::new() }
    }

    /// Adds a pool: `start` spawns it, linked under the cell that it is handed, and gives its actor. It is called again when the pool is to
    /// be started again, on the group's runtime, and may take its time, up to the [limit](Self::start_limit). A panic of its future is a failure.
    #[must_use]
    pub fn member<F, S>(mut self, name: &str, start: S) -> Self
    where
        S: Fn(ractor::ActorCell) -> F + Send + Sync + 'static,
        F: Future<Output = member::Started> + Send + 'static,
    {
        self.members.push(Member::new(name, start));
        self
    }

    /// How many failures of members within this time are put up with; default 3 within 5 s. The next one fails the group (OTP's "restart intensity").
    ///
    /// As many starts of one member may fail in a row, however long each of them takes: one that never comes up fails the group as well, by
    /// default after four starts of 30 s.
    #[must_use]
    pub fn intensity(mut self, failures: usize, within: Duration) -> Self {
        self.intensity = Intensity { most: failures, within };
        self
    }

    /// How long a member has to come up; default 30 s. Past it, its start has failed: that counts towards the intensity, and the member is started
    /// again. The start that took too long is not dropped, since what it began may come up all the same: then that is stopped. One that never
    /// ends stays on the runtime, and what it holds is not free: if that is the pool's name, the next start fails with
    /// [`NameTaken`](millpond::BuildError::NameTaken), which is a failure like any other, and says that a start was given up and has not ended.
    #[must_use]
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.start_limit = limit;
        self
    }

    /// How long a pool has to end that is told to stop, because it goes with another that failed, or came up too late; default 5 s. Its member is
    /// started again when it is gone, and unless it is [`OneForOne`](Strategy::OneForOne), nobody is before. Past the limit it is killed; past
    /// it once more, the group fails, since nothing that it can do will end that pool.
    #[must_use]
    pub fn stop_limit(mut self, limit: Duration) -> Self {
        self.stop_limit = limit;
        self
    }

    /// How long a member has for its answer to what the group asks it; default 1 s.
    #[must_use]
    pub fn member_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

#[ractor::actor(message = GroupMessage, state = Supervision, arguments = ())]
impl Group {
    async fn pre_start(&self, myself: ActorRef<GroupMessage>, _: ()) -> Result<Supervision, ActorProcessingErr> {
        // ractor links children from the first message on.
        myself.cast(Step::Start.into())?;
        Ok(self.supervision())
    }

    async fn handle(
        &self,
        myself: ActorRef<GroupMessage>,
        message: GroupMessage,
        state: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GroupMessage::Status(reply) => self.status(state, reply),
            GroupMessage::Quiesce(reply) => {
                state.set_quiesced(true);
                self.ask_all(state, PoolMessage::Quiesce, reply);
            }
            GroupMessage::Resume(reply) => {
                state.set_quiesced(false);
                self.ask_all(state, PoolMessage::Resume, reply);
            }
            GroupMessage::Shutdown(limit, reply) => self.shut_down(&myself, state, limit, reply),
            GroupMessage::Internal(Internal(step)) => return self.step(&myself, step, state),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<GroupMessage>,
        event: SupervisionEvent,
        state: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        let (who, end) = match event {
            SupervisionEvent::ActorFailed(who, error) => (who, End::Failed(error.to_string())),
            // As a pool says that was shut down.
            SupervisionEvent::ActorTerminated(who, _, reason) if reason.as_deref() == Some("shut down") => {
                (who, End::Wanted)
            }
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                (who, End::Failed(reason.unwrap_or_else(|| "it was stopped".to_owned())))
            }
            _ => return Ok(()),
        };
        self.on_end(&myself, state, who.get_id(), end)
    }
}
