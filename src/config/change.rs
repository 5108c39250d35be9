//! What can be changed of a pool that runs, as far as it can be shown: lanes, and what a retune came to.

use std::fmt;
use std::time::Duration;

use super::{ConfigError, Lane, Limits, WhenFull, check_lane};
use crate::id::By;
use crate::sync::Arc;

/// What is to be different about one lane of a pool that runs. What is not named stays what it is.
///
/// ```
/// use std::time::Duration;
/// use millpond::LaneChange;
///
/// let change = LaneChange::new("dns").reserve(2).queue_limit(Duration::from_secs(1)).run_limit(None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneChange {
    lane: Arc<str>,
    capacity: Option<usize>,
    reserve: Option<usize>,
    when_full: Option<WhenFull>,
    admission_limit: Option<Span>,
    queue_limit: Option<Span>,
    run_limit: Option<Span>,
    overdue_after: Option<Span>,
}

/// How long; `None`: for ever.
type Span = Option<Duration>;

impl LaneChange {
    /// Nothing yet, for the lane of this name; the unnamed one is called `default`.
    pub fn new(lane: impl AsRef<str>) -> Self {
        Self {
            lane: Arc::from(lane.as_ref()),
            capacity: None,
            reserve: None,
            when_full: None,
            admission_limit: None,
            queue_limit: None,
            run_limit: None,
            overdue_after: None,
        }
    }

    /// See [`Lane::capacity`]. More room is given to those who wait at once. With less than is queued, nobody leaves: nobody else comes in
    /// until there is room again.
    #[must_use]
    pub fn capacity(mut self, jobs: usize) -> Self {
        self.capacity = Some(jobs);
        self
    }

    /// See [`Lane::reserve`]. A smaller one frees its seats for the others at once. A larger one interrupts nobody: its seats are kept as they
    /// come free.
    #[must_use]
    pub fn reserve(mut self, seats: usize) -> Self {
        self.reserve = Some(seats);
        self
    }

    /// What happens to whoever finds the lane full from now on. Those who wait already wait on.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = Some(when_full);
        self
    }

    /// See [`Lane::admission_limit`]; for those who come to the gate from now on.
    #[must_use]
    pub fn admission_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.admission_limit = Some(limit.into());
        self
    }

    /// See [`Lane::queue_limit`]; for jobs that are admitted from now on.
    #[must_use]
    pub fn queue_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.queue_limit = Some(limit.into());
        self
    }

    /// See [`Lane::run_limit`]; for jobs that a worker takes from now on.
    #[must_use]
    pub fn run_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.run_limit = Some(limit.into());
        self
    }

    /// See [`Lane::overdue_after`]; for all jobs, also those that run already.
    #[must_use]
    pub fn overdue_after(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.overdue_after = Some(span.into());
        self
    }

    /// The name of the lane.
    pub fn lane(&self) -> &str {
        &self.lane
    }

    fn apply(&self, lane: &mut Lane) {
        let Self { lane: _, capacity, reserve, when_full, admission_limit, queue_limit, run_limit, overdue_after } =
            self;
        lane.capacity = capacity.unwrap_or(lane.capacity);
        lane.reserve = reserve.unwrap_or(lane.reserve);
        lane.when_full = when_full.unwrap_or(lane.when_full);
        lane.admission_limit = admission_limit.unwrap_or(lane.admission_limit);
        lane.queue_limit = queue_limit.unwrap_or(lane.queue_limit);
        lane.run_limit = run_limit.unwrap_or(lane.run_limit);
        lane.overdue_after = overdue_after.unwrap_or(lane.overdue_after);
    }
}

/// These lanes, with all changes made; the first change that cannot be is named. How reserves and limits go together is
/// [`check_limits`](super::check_limits)'s.
pub(crate) fn change_lanes(mut lanes: Vec<Lane>, changes: &[LaneChange]) -> Result<Vec<Lane>, ConfigError> {
    for (index, change) in changes.iter().enumerate() {
        if changes[..index].iter().any(|other| other.lane == change.lane) {
            return Err(ConfigError::LaneChangedTwice(change.lane.to_string()));
        }
        let Some(lane) = lanes.iter_mut().find(|lane| lane.name == change.lane) else {
            let known: Vec<_> = lanes.iter().map(|lane| format!("`{}`", lane.name)).collect();
            return Err(ConfigError::UnknownLane { lane: change.lane.to_string(), known: known.join(", ") });
        };
        change.apply(lane);
        check_lane(lane)?;
    }
    Ok(lanes)
}

/// What is in force in a pool, of all that a retune can change and that can be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct InForce {
    /// The limits in force. An autoscaler moves their `max`.
    pub limits: Limits,
    /// The limits that were set: an autoscaler stays within them. Without one they are those in force.
    pub bounds: Limits,
    /// Every lane, the unnamed one first.
    pub lanes: Vec<Lane>,
    /// How often an autoscaler is asked; `None`: there is none.
    pub autoscaled_every: Option<Duration>,
    /// True if a watchdog looks after jobs that are overdue.
    pub watched: bool,
}

impl InForce {
    /// Without a watchdog, which is said apart.
    pub(crate) fn new(limits: Limits, bounds: Limits, lanes: Vec<Lane>, autoscaled_every: Option<Duration>) -> Self {
        Self { limits, bounds, lanes, autoscaled_every, watched: false }
    }
}

/// What a retune has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Retuned {
    /// Who asked for it.
    pub by: By,
    /// What was in force.
    pub from: InForce,
    /// What is in force now.
    pub to: InForce,
    /// Another restart policy is in force.
    pub restart_policy: bool,
    /// Another watchdog is in force, or none any more.
    pub watchdog: bool,
    /// Another autoscaler is at work, or none any more.
    pub autoscaler: bool,
}

impl Retuned {
    pub(crate) fn new(by: By, from: InForce, to: InForce) -> Self {
        Self { by, from, to, restart_policy: false, watchdog: false, autoscaler: false }
    }
}

impl fmt::Display for Retuned {
    /// What is different, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let (from, to) = (&self.from, &self.to);
        note(&mut parts, "min", from.limits.min, to.limits.min);
        note(&mut parts, "max", from.limits.max, to.limits.max);
        // Where an autoscaler chooses below it.
        if (from.bounds.max, to.bounds.max) != (from.limits.max, to.limits.max) {
            note(&mut parts, "the autoscaler's bound", from.bounds.max, to.bounds.max);
        }
        note(&mut parts, "min idle", from.limits.min_idle, to.limits.min_idle);
        note(&mut parts, "idle timeout", Shown(from.limits.idle_timeout), Shown(to.limits.idle_timeout));
        for (from, to) in from.lanes.iter().zip(&to.lanes).filter(|(from, to)| from != to) {
            parts.push(format!("lane `{}`: {}", to.name, changes_of(from, to).join(", ")));
        }
        let watchdog = if to.watched { "another watchdog" } else { "no watchdog" };
        let others = [(self.restart_policy, "another restart policy"), (self.watchdog, watchdog)];
        parts.extend(others.into_iter().filter(|(set, _)| *set).map(|(_, what)| what.to_owned()));
        match to.autoscaled_every {
            Some(period) if self.autoscaler => parts.push(format!("an autoscaler, every {period:?}")),
            None if self.autoscaler => parts.push("no autoscaler".to_owned()),
            _ => {}
        }
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

fn changes_of(from: &Lane, to: &Lane) -> Vec<String> {
    let mut parts = Vec::new();
    note(&mut parts, "capacity", from.capacity, to.capacity);
    note(&mut parts, "reserve", from.reserve, to.reserve);
    note(&mut parts, "when full", when_full(from), when_full(to));
    for (what, from, to) in [
        ("admission limit", from.admission_limit, to.admission_limit),
        ("queue limit", from.queue_limit, to.queue_limit),
        ("run limit", from.run_limit, to.run_limit),
        ("overdue after", from.overdue_after, to.overdue_after),
    ] {
        note(&mut parts, what, Shown(from), Shown(to));
    }
    parts
}

fn when_full(lane: &Lane) -> &'static str {
    match lane.when_full {
        WhenFull::Wait => "wait",
        WhenFull::Reject => "reject",
    }
}

fn note<T: PartialEq + fmt::Display>(parts: &mut Vec<String>, what: &str, from: T, to: T) {
    if from != to {
        parts.push(format!("{what} {from} to {to}"));
    }
}

#[derive(PartialEq)]
struct Shown(Span);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => write!(f, "{span:?}"),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lanes() -> Vec<Lane> {
        vec![Lane::new("default"), Lane::new("dns").reserve(1).queue_limit(SECOND)]
    }

    #[test]
    fn what_is_not_named_stays() {
        let changed = change_lanes(lanes(), &[LaneChange::new("dns").capacity(7).queue_limit(None)]).unwrap();
        assert_eq!(changed, [Lane::new("default"), Lane::new("dns").reserve(1).capacity(7)]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (changes, conflict, text) in [
            (vec![LaneChange::new("dsn")], "`dsn`", "`default`, `dns`"),
            (vec![LaneChange::new("dns"), LaneChange::new("dns").reserve(2)], "`dns`", "twice"),
            (vec![LaneChange::new("dns").run_limit(Duration::ZERO)], "`dns`", "run limit"),
        ] {
            let error = change_lanes(lanes(), &changes).unwrap_err().to_string();
            assert!(error.contains(conflict) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_retune_says_what_it_changed() {
        let of = |limits, lanes| InForce::new(limits, limits, lanes, None);
        let changes = [LaneChange::new("dns").reserve(2).run_limit(SECOND).when_full(WhenFull::Reject)];
        let to = of(Limits::fixed(4), change_lanes(lanes(), &changes).unwrap());
        let mut retuned = Retuned::new(By::Pool, of(Limits::new(3, 4), lanes()), to);
        retuned.autoscaler = true;
        let expected =
            "min 3 to 4; lane `dns`: reserve 1 to 2, when full wait to reject, run limit none to 1s; no autoscaler";
        assert_eq!(retuned.to_string(), expected);
        assert_eq!(Retuned::new(By::Pool, retuned.to.clone(), retuned.to).to_string(), "nothing");
    }

    #[test]
    fn a_bound_is_said_where_it_is_another_than_the_limit() {
        let scaled = |max, bound| InForce::new(Limits::new(1, max), Limits::new(1, bound), lanes(), Some(SECOND));
        let of = |from, to| Retuned::new(By::Pool, from, to).to_string();
        assert_eq!(of(scaled(4, 8), scaled(4, 4)), "the autoscaler's bound 8 to 4");
        assert_eq!(of(scaled(4, 8), scaled(3, 3)), "max 4 to 3; the autoscaler's bound 8 to 3");
        assert_eq!(of(scaled(4, 4), scaled(8, 8)), "max 4 to 8", "it is the limit");
        let mut back = Retuned::new(By::Pool, scaled(4, 8), InForce { autoscaled_every: None, ..scaled(8, 8) });
        back.autoscaler = true;
        assert_eq!(back.to_string(), "max 4 to 8; no autoscaler", "it stays");
    }

    #[test]
    fn a_watchdog_that_is_taken_away_is_no_other_one() {
        let of = |watched| InForce { watched, ..InForce::new(Limits::fixed(1), Limits::fixed(1), lanes(), None) };
        for (to, text) in [(true, "another watchdog"), (false, "no watchdog")] {
            let mut retuned = Retuned::new(By::Pool, of(true), of(to));
            retuned.watchdog = true;
            assert_eq!(retuned.to_string(), text);
        }
    }
}
