//! What a group can be asked, and what it answers.

use std::time::Duration;

use millpond::{ControlError, PoolMessage, ShutdownReport, Snapshot};
use ractor::{ActorId, ActorRef, RpcReplyPort};

use super::member::Newcomer;

/// What a [`Group`](super::Group) can be sent. Each reply comes within the group's limit for its members, one that does not answer named as such.
#[derive(Debug)]
#[non_exhaustive]
pub enum GroupMessage {
    /// Every member with its pool, in the order in which they were given.
    Status(RpcReplyPort<Vec<MemberStatus>>),
    /// Has every pool admit and not dispatch. One that comes up later, be it started again, is told the same as it comes up, until the group is
    /// told to [resume](Self::Resume): what it was given before that may have begun. Whoever has one pool resume by itself has that pool alone resume.
    Quiesce(RpcReplyPort<Vec<MemberReply>>),
    /// Has every pool dispatch again. One that comes up later is left as it comes up.
    Resume(RpcReplyPort<Vec<MemberReply>>),
    /// Shuts every pool down within this limit, the last one given first told, and then ends the group. A pool that is just coming up is shut
    /// down when it is there, in what is left of the limit; one that comes up past it is stopped, and has no report.
    Shutdown(Duration, RpcReplyPort<Vec<MemberReport>>),
    /// The group's own.
    #[doc(hidden)]
    Internal(Internal),
}

#[cfg(feature = "cluster")]
impl ractor::Message for GroupMessage {}

/// What only a group sends, to itself.
#[doc(hidden)]
#[derive(Debug)]
pub struct Internal(pub(super) Step);

#[derive(Debug)]
pub(super) enum Step {
    /// Start whoever is due.
    Start,
    /// This start has ended; `Err`: as it says.
    Started { member: usize, generation: u64, started: Result<Newcomer, String> },
    /// This start is past its limit.
    Overdue { member: usize, generation: u64 },
    /// So much for the pause after a start that failed.
    Rested { member: usize },
    /// A pool that was told to stop has had its time.
    StillThere { actor: ActorId },
    /// A pool that was on its way out as it came up is gone.
    Gone { actor: ActorId },
    /// Every pool has answered a shutdown, or has had its time.
    Over,
}

impl From<Step> for GroupMessage {
    fn from(step: Step) -> Self {
        Self::Internal(Internal(step))
    }
}

/// One member of a group.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberStatus {
    /// As it was given.
    pub name: String,
    /// Its pool's actor, while it has one.
    pub actor: Option<ActorRef<PoolMessage>>,
    /// How often it was started again.
    pub restarts: u64,
    /// Its pool; `None`: it has none now, or it did not answer in time.
    pub snapshot: Option<Snapshot>,
}

/// What a member answered.
#[derive(Debug)]
#[non_exhaustive]
pub struct MemberReply {
    /// As it was given.
    pub name: String,
    /// Its pool's answer; `None`: it has none now, or it did not answer in time.
    pub reply: Option<Result<(), ControlError>>,
}

/// What a member's shutdown came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct MemberReport {
    /// As it was given.
    pub name: String,
    /// Its pool's report; `None`: it had none, or it did not answer in time.
    pub report: Option<ShutdownReport>,
}
