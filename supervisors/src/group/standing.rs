//! What is known of one member of a group.

use millpond::{PoolMessage, Timestamp};
use ractor::{ActorId, ActorRef, ActorStatus};

/// What the rules of a group have to know of a pool: which one it is, and whether it is there still.
pub(super) trait Known: Clone {
    fn id(&self) -> ActorId;
    fn status(&self) -> ActorStatus;
}

impl Known for ActorRef<PoolMessage> {
    fn id(&self) -> ActorId {
        self.get_id()
    }

    fn status(&self) -> ActorStatus {
        self.get_status()
    }
}

/// A member at the moment.
#[derive(Debug)]
pub(super) enum State<P> {
    /// To be started when it is its turn, and whatever of it leaves is gone. Exit: `Starting`.
    Down,
    /// Its start is under way. Exits: `Up`, `Unwanted`, `Resting`.
    Starting,
    /// Its start is under way, and another one failed, which it goes with: what comes up is stopped. Exit: `Down`.
    Unwanted,
    /// Its start failed, or took too long; the next one is not to come at once. Exit: `Down`.
    Resting,
    /// Exits: `Down`, `Done`.
    Up(P),
    /// It was shut down by somebody, and is left alone.
    Done,
}

/// A pool that was told to stop, or that was on its way out when it came up late, and has not ended.
#[derive(Debug)]
pub(super) struct Leaving<P> {
    pub(super) pool: P,
    pub(super) since: Timestamp,
    pub(super) why: String,
    pub(super) killed: Option<Timestamp>,
}

/// What is known of a member.
#[derive(Debug)]
pub(super) struct Standing<P> {
    pub(super) name: String,
    pub(super) state: State<P>,
    /// Numbers its starts; 0: none has begun.
    pub(super) generation: u64,
    pub(super) restarts: u64,
    /// What it had before, and what came up late.
    pub(super) leaving: Vec<Leaving<P>>,
    /// So many starts in a row have failed, and when the first of them began.
    pub(super) failed_starts: Option<(usize, Timestamp)>,
    /// Starts that were given up and have not ended: which, and when.
    pub(super) given_up: Vec<(u64, Timestamp)>,
}

impl<P: Known> Standing<P> {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            state: State::Down,
            generation: 0,
            restarts: 0,
            leaving: Vec::new(),
            failed_starts: None,
            given_up: Vec::new(),
        }
    }

    /// Whether a start is under way, and not given up.
    pub(super) const fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting | State::Unwanted)
    }

    /// Whether its first start has ended, well or not.
    pub(super) const fn was_tried(&self) -> bool {
        self.generation > 1 || self.generation == 1 && !matches!(self.state, State::Starting)
    }

    /// Whether it has what it is to have.
    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.state, State::Up(_) | State::Done)
    }

    /// Whether the start of this generation is under way, and not given up.
    pub(super) const fn awaits(&self, generation: u64) -> bool {
        self.generation == generation && self.is_starting()
    }

    /// Whether any start of it has not ended.
    pub(super) const fn has_a_start_out(&self) -> bool {
        self.is_starting() || !self.given_up.is_empty()
    }

    /// Whether this is its pool.
    pub(super) fn has(&self, pool: ActorId) -> bool {
        matches!(&self.state, State::Up(its) if its.id() == pool)
    }
}
