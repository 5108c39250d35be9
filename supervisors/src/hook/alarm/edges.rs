//! When an alarm is raised and cleared: a function of what was told, and of `now`.

use std::time::Duration;

use millpond::Timestamp;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    pub(super) raise_after: Duration,
    pub(super) clear_after: Duration,
    pub(super) quiet: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Exit: `Pressed`.
    Calm,
    /// Saturated since then, and no alarm yet. Exits: `Raised`, `Calm`.
    Pressed(Timestamp),
    /// Saturated since then, and the alarm stands. Exits: `Easing`, `Calm`.
    Raised(Timestamp),
    /// Relieved, and the alarm stands still. Exits: `Raised`, `Calm`.
    Easing { since: Timestamp, relieved: Timestamp },
}

/// The alarm changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edge {
    /// It is raised: saturated since then.
    Raised(Timestamp),
    /// It is cleared: it was saturated from then on.
    Cleared(Timestamp),
}

#[derive(Debug)]
pub(super) struct Edges {
    rule: Rule,
    state: State,
    /// When it was raised last.
    raised_at: Option<Timestamp>,
}

impl Edges {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, state: State::Calm, raised_at: None }
    }

    /// The pool is saturated, since then.
    pub(super) fn saturated(&mut self, since: Timestamp) {
        self.state = match self.state {
            State::Calm => State::Pressed(since),
            // It has not been at ease for long enough: one stretch, as far as the alarm goes.
            State::Easing { since, .. } => State::Raised(since),
            state @ (State::Pressed(_) | State::Raised(_)) => state,
        }
    }

    /// It is not any more.
    pub(super) fn relieved(&mut self, now: Timestamp) {
        self.state = match self.state {
            State::Pressed(_) | State::Calm => State::Calm,
            State::Raised(since) => State::Easing { since, relieved: now },
            state @ State::Easing { .. } => state,
        }
    }

    /// Edges may have been missed, and by `now` it is saturated, since then, or not. How long it was at ease in between, if it was, nobody
    /// knows: an alarm that stands goes on.
    pub(super) fn missed(&mut self, saturated_since: Option<Timestamp>, now: Timestamp) {
        match saturated_since {
            None => self.relieved(now),
            Some(since) if matches!(self.state, State::Pressed(_)) => self.state = State::Pressed(since),
            Some(since) => self.saturated(since),
        }
    }

    /// It is gone, and its alarm with it.
    pub(super) fn ended(&mut self) -> Option<Edge> {
        match std::mem::replace(&mut self.state, State::Calm) {
            State::Raised(since) | State::Easing { since, .. } => Some(Edge::Cleared(since)),
            State::Calm | State::Pressed(_) => None,
        }
    }

    /// When there is something to be done if nothing is told before.
    pub(super) fn due(&self) -> Timestamp {
        match self.state {
            State::Calm | State::Raised(_) => Timestamp::NEVER,
            State::Pressed(since) => {
                let audible = self.raised_at.map_or(Timestamp::default(), |at| at.after(self.rule.quiet));
                since.after(self.rule.raise_after).max(audible)
            }
            State::Easing { relieved, .. } => relieved.after(self.rule.clear_after),
        }
    }

    /// What is due by `now`.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<Edge> {
        if self.due() > now {
            return None;
        }
        match self.state {
            State::Pressed(since) => {
                (self.state, self.raised_at) = (State::Raised(since), Some(now));
                Some(Edge::Raised(since))
            }
            State::Easing { since, .. } => {
                self.state = State::Calm;
                Some(Edge::Cleared(since))
            }
            State::Calm | State::Raised(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn rule(raise_after: u64, clear_after: u64, quiet: u64) -> Rule {
        let span = Duration::from_millis;
        Rule { raise_after: span(raise_after), clear_after: span(clear_after), quiet: span(quiet) }
    }

    /// Told at these moments that the pool is saturated, relieved, and so on by turns, and looked at when it is due: what the alarm does, and when.
    fn run(rule: Rule, turns: &[u64], until: u64) -> Vec<(u64, Edge)> {
        let (mut edges, mut seen) = (Edges::new(rule), Vec::new());
        for (turn, &told) in turns.iter().chain([&until]).enumerate() {
            while edges.due() < at(told) {
                let now = edges.due();
                let edge = edges.look(now).expect("it is due");
                seen.push((now.as_nanos() / 1_000_000, edge));
            }
            match turn {
                _ if turn == turns.len() => {}
                _ if turn % 2 == 0 => edges.saturated(at(told)),
                _ => edges.relieved(at(told)),
            }
            if let Some(edge) = edges.look(at(told)) {
                seen.push((told, edge));
            }
        }
        seen
    }

    #[test]
    fn it_is_raised_and_cleared_once_that_has_lasted() {
        let (raised, cleared) = (Edge::Raised(at(100)), Edge::Cleared(at(100)));
        assert_eq!(run(rule(50, 30, 0), &[100, 120], 900), [], "a moment is none");
        assert_eq!(run(rule(50, 30, 0), &[100, 200], 900), [(150, raised), (230, cleared)]);
        let one = run(rule(50, 30, 0), &[100, 200, 220, 400], 900);
        assert_eq!(one, [(150, raised), (430, cleared)], "a moment at ease is none either");
        assert_eq!(run(rule(0, 0, 0), &[100, 200], 900), [(100, raised), (200, cleared)]);
    }

    #[test]
    fn a_saturation_that_outlasts_the_quiet_time_is_raised_then() {
        let seen = run(rule(0, 0, 1000), &[100, 200, 300, 400, 500], 5000);
        let expected = [Edge::Raised(at(100)), Edge::Cleared(at(100)), Edge::Raised(at(500))];
        assert_eq!(seen, [100, 200, 1100].into_iter().zip(expected).collect::<Vec<_>>());
    }

    #[test]
    fn a_pool_that_ends_takes_its_alarm_with_it() {
        let mut edges = Edges::new(rule(0, 1000, 0));
        assert_eq!(edges.ended(), None);
        edges.saturated(at(1));
        assert_eq!(edges.look(at(1)), Some(Edge::Raised(at(1))));
        edges.relieved(at(2));
        assert_eq!((edges.ended(), edges.due()), (Some(Edge::Cleared(at(1))), Timestamp::NEVER));
    }

    #[test]
    fn who_missed_an_edge_goes_on_from_where_the_pool_is() {
        let of = |told: &[fn(&mut Edges)]| {
            let mut edges = Edges::new(rule(50, 30, 0));
            told.iter().for_each(|tell| tell(&mut edges));
            edges
        };
        let raised: [fn(&mut Edges); 2] =
            [|edges| edges.saturated(at(100)), |edges| assert!(edges.look(at(150)).is_some())];

        let mut edges = of(&raised);
        edges.missed(None, at(400));
        assert_eq!(
            (edges.look(at(429)), edges.look(at(430))),
            (None, Some(Edge::Cleared(at(100)))),
            "relieved unheard"
        );
        edges.missed(None, at(500));
        assert_eq!(edges.due(), Timestamp::NEVER, "and is so still");

        edges.missed(Some(at(600)), at(700));
        assert_eq!(edges.look(at(700)), Some(Edge::Raised(at(600))), "saturated unheard");

        let mut edges = of(&raised);
        edges.missed(Some(at(300)), at(400));
        assert_eq!((edges.due(), edges.ended()), (Timestamp::NEVER, Some(Edge::Cleared(at(100)))), "one stretch");

        let mut edges = of(&[|edges| edges.saturated(at(100))]);
        edges.missed(Some(at(140)), at(160));
        assert_eq!((edges.look(at(189)), edges.look(at(190))), (None, Some(Edge::Raised(at(140)))), "another stretch");
    }

    proptest! {
        #[test]
        fn it_keeps_its_rule(
            raise_after in 0u64..300,
            clear_after in 0u64..300,
            quiet in 0u64..2_000,
            steps in prop::collection::vec(1u64..400, 0..60),
        ) {
            let turns: Vec<u64> = steps.iter().scan(0, |now, step| { *now += step; Some(*now) }).collect();
            let end = turns.last().copied().unwrap_or(0) + 10_000;
            let seen = run(rule(raise_after, clear_after, quiet), &turns, end);
            // Stretches of saturation: from, and to if there is an end.
            let stretches: Vec<(u64, u64)> = turns.chunks(2).map(|turn| (turn[0], *turn.get(1).unwrap_or(&end))).collect();
            let stretch = |moment: u64| stretches.iter().find(|(from, to)| (*from..=*to).contains(&moment));
            let mut last: Option<(u64, u64)> = None;
            for pair in seen.chunks(2) {
                let (raised, Edge::Raised(since)) = pair[0] else { panic!("raised comes first: {seen:?}") };
                let since = since.as_nanos() / 1_000_000;
                let (from, _) = stretch(raised).expect("it is saturated then");
                prop_assert!(*from == since && raised >= since + raise_after);
                if let Some((before, cleared)) = last {
                    prop_assert!(raised >= before + quiet && raised >= cleared);
                }
                // No later than the rule says.
                let audible = last.map_or(0, |(before, _)| before + quiet);
                prop_assert_eq!(raised, (since + raise_after).max(audible));
                let Some(&(cleared, Edge::Cleared(of))) = pair.get(1) else {
                    prop_assert!(turns.len() % 2 == 1, "it stands only while the pool is saturated: {:?}", seen);
                    break;
                };
                prop_assert_eq!(of.as_nanos() / 1_000_000, since);
                prop_assert!(turns.iter().skip(1).step_by(2).any(|relieved| relieved + clear_after == cleared));
                last = Some((raised, cleared));
            }
            // Nobody waits for ever for an alarm.
            if turns.len() % 2 == 1 {
                prop_assert!(matches!(seen.last(), Some((_, Edge::Raised(_)))), "{:?}", seen);
            }
        }
    }
}
