//! What a caller can get wrong in a configuration, or in a change to one.

use std::time::Duration;

use super::{MAX_LANES, MAX_NAME, MAX_STACK, MAX_WORKERS};

/// Why a configuration, or a change to one, is refused. Nothing was started or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `max` is zero.
    #[error("max = 0: a pool without workers runs nothing; to pause a pool, quiesce it")]
    NoWorkers,
    /// `min` is above `max`.
    #[error("min = {min} is above max = {max}: raise max or lower min")]
    MinAboveMax {
        /// The `min` asked for.
        min: usize,
        /// The `max` asked for.
        max: usize,
    },
    /// More spares than workers.
    #[error("min_idle = {min_idle} is above max = {max}: so many can never idle at once; raise max or lower min_idle")]
    MinIdleAboveMax {
        /// The `min_idle` asked for.
        min_idle: usize,
        /// The `max` asked for, or in force.
        max: usize,
    },
    /// `max` is absurd.
    #[error("max = {max} is above {MAX_WORKERS}, the most that a pool can have")]
    TooManyWorkers {
        /// The `max` asked for.
        max: usize,
    },
    /// An autoscaler would be asked all the time.
    #[error("the autoscaler is to be asked every {period:?}: at most once in {least:?} is possible")]
    PeriodTooShort {
        /// What was asked for.
        period: Duration,
        /// The shortest that can be.
        least: Duration,
    },
    /// Reserved workers must be up, so reserves fit into `min`.
    #[error(
        "lanes reserve {reserved} seats ({lanes}), but min = {min} keeps fewer workers up: raise min or lower a reserve"
    )]
    ReservesAboveMin {
        /// The sum of all reserves.
        reserved: usize,
        /// The lanes that reserve, with how much.
        lanes: String,
        /// The `min` in question.
        min: usize,
    },
    /// A lane without a reserve could never run a job.
    #[error("lanes reserve all {max} seats ({lanes}), so lane `{starved}`, which reserves none, could never run a job")]
    ReservesStarve {
        /// The `max` in question.
        max: usize,
        /// The lanes that reserve, with how much.
        lanes: String,
        /// A lane that could never run a job.
        starved: String,
    },
    /// A retune names a lane that the pool does not have.
    #[error("there is no lane `{lane}` to be changed: the pool has {known}")]
    UnknownLane {
        /// The name.
        lane: String,
        /// The lanes that there are.
        known: String,
    },
    /// A retune has two changes of one lane.
    #[error("lane `{0}` is changed twice in one retune: put what is to be different about it into one change")]
    LaneChangedTwice(String),
    /// A lane's time limit of zero would refuse everything.
    #[error(
        "lane `{lane}`: the {what} is zero, which would refuse everything; leave it out, or say `None`, for no limit"
    )]
    ZeroLaneLimit {
        /// The lane.
        lane: String,
        /// Which limit.
        what: &'static str,
    },
    /// Two lanes have one name.
    #[error("two lanes are called `{0}`")]
    DuplicateLane(String),
    /// More lanes than a pool can have.
    #[error("{0} lanes: a pool can have {MAX_LANES}")]
    TooManyLanes(usize),
    /// A name is empty or too long.
    #[error("a {what}'s name has 1 to {MAX_NAME} bytes; this one has {bytes}")]
    BadName {
        /// What the name was for.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A pool's name has a NUL in it, which no thread's name can have.
    #[error("the pool's name {0:?} has a NUL in it, which the names of its threads cannot have")]
    NulInName(String),
    /// No thread can have a stack of this size.
    #[error("a stack of {bytes} bytes is above {MAX_STACK}, the most that a thread can have")]
    StackTooLarge {
        /// The size asked for.
        bytes: usize,
    },
    /// Two hooks have one name.
    #[error("two hooks are called `{0}`: give one of them another name")]
    DuplicateHook(String),
    /// More hooks than a pool can have.
    #[error(
        "{hooks} hooks: a pool can have {most}, as each costs a message for each question; remove one, or let one do what several do"
    )]
    TooManyHooks {
        /// How many it would have.
        hooks: usize,
        /// How many it can have.
        most: usize,
    },
    /// A hook's default verdict is an absurd delay.
    #[error("hook `{hook}`: a delay of {delay:?} is over a day, the longest that there can be")]
    HookDelay {
        /// The hook.
        hook: String,
        /// The delay.
        delay: Duration,
    },
    /// A time limit of zero would refuse everything.
    #[error("the {0} is zero, which would refuse everything; leave it out for no limit")]
    ZeroLimit(&'static str),
    /// Recycling that would never stop.
    #[error("recycling at zero {0} would replace workers without end; leave it out for never")]
    ZeroRecycle(&'static str),
    /// A worker that is told to leave, or killed, would be given up, and its slot used again, before its backend has done what it was told to.
    #[error(
        "a worker of this {kind} may take {needed:?} to end, by the leave grace and the term grace of its children, which is more than the kill grace of \
         {grace:?}: raise `kill_grace`, or lower these"
    )]
    EndsTooLate {
        /// What the pool is.
        kind: &'static str,
        /// How long it may take.
        needed: Duration,
        /// How long it has.
        grace: Duration,
    },
    /// Workers are to be recycled for memory that they do not have to themselves.
    #[error(
        "recycling on memory needs workers that are processes, or interpreters whose memory is limited: those of a {0} are neither"
    )]
    NoMemoryOfItsOwn(&'static str),
}
