//! Labels whose jobs keep losing workers. Pure in `now`.

use std::collections::{BTreeMap, VecDeque};

use crate::config::Quarantine;
use crate::snapshot::Quarantined;
use crate::sync::{Arc, Timestamp};

/// What is known of the labels under whose jobs workers were lost.
#[derive(Debug)]
pub(crate) struct Labels {
    pool: Arc<str>,
    rule: Option<Quarantine>,
    labels: BTreeMap<Arc<str>, Label>,
}

#[derive(Debug)]
enum Label {
    /// When workers were lost, the oldest first; fewer than it takes, and none that does not count any more by the last look.
    Counts(VecDeque<Timestamp>),
    KeptOut(Quarantined),
}

impl Labels {
    pub(crate) fn new(pool: Arc<str>, rule: Option<Quarantine>) -> Self {
        Self { pool, rule, labels: BTreeMap::new() }
    }

    /// A worker was lost under a job of this label: the quarantine that begins with that, if one does. Who is kept out already is not for longer.
    pub(crate) fn lost(&mut self, label: &Arc<str>, now: Timestamp) -> Option<Quarantined> {
        let rule = self.rule?;
        // What was lost too long ago counts no more: so no more is kept than was lost within that time.
        self.labels.retain(|_, label| match label {
            Label::KeptOut(_) => true,
            Label::Counts(deaths) => {
                while deaths.front().is_some_and(|at| at.after(rule.within) <= now) {
                    deaths.pop_front();
                }
                !deaths.is_empty()
            }
        });
        let known = self.labels.entry(label.clone()).or_insert_with(|| Label::Counts(VecDeque::new()));
        let Label::Counts(deaths) = known else { return None };
        deaths.push_back(now);
        let first = *deaths.front().filter(|_| deaths.len() >= rule.deaths as usize)?;
        let quarantined = Quarantined {
            pool: self.pool.clone(),
            label: label.clone(),
            deaths: rule.deaths,
            within: now.since(first),
            since: now,
            until: now.after(rule.lasts),
            at: now,
        };
        *known = Label::KeptOut(quarantined.clone());
        Some(quarantined)
    }

    /// Why a label is kept out, if it is.
    pub(crate) fn kept_out(&self, label: &str, now: Timestamp) -> Option<Quarantined> {
        match self.labels.get(label)? {
            Label::KeptOut(known) if now < known.until => Some(Quarantined { at: now, ..known.clone() }),
            _ => None,
        }
    }

    /// All that are kept out.
    pub(crate) fn all_kept_out(&self, now: Timestamp) -> Vec<Quarantined> {
        self.labels.keys().filter_map(|label| self.kept_out(label, now)).collect()
    }

    /// True if any is.
    pub(crate) fn keeps_any_out(&self) -> bool {
        self.labels.values().any(|label| matches!(label, Label::KeptOut(_)))
    }

    /// Labels whose time is over, which are released by that.
    pub(crate) fn release(&mut self, now: Timestamp) -> Vec<Arc<str>> {
        let is_over = |label: &Label| matches!(label, Label::KeptOut(known) if known.until <= now);
        let over = self.labels.extract_if(.., |_, label| is_over(label));
        over.map(|(label, _)| label).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Timestamp {
        Timestamp::default().after(Duration::from_millis(millis))
    }

    fn labels(rule: impl Into<Option<Quarantine>>) -> Labels {
        Labels::new(Arc::from("simulated"), rule.into())
    }

    #[test]
    fn a_label_is_kept_out_after_so_many_deaths_within_the_time_and_is_released_after_its_own() {
        let mut labels = labels(Quarantine::new(3).within(SECOND).lasts(SECOND * 5));
        let (bad, good) = (Arc::from("bad"), Arc::from("good"));
        for millis in [0, 400, 1_000, 2_000] {
            assert_eq!(labels.lost(&bad, at(millis)), None, "never three within a second");
            assert_eq!(labels.kept_out("bad", at(millis)), None);
        }
        assert_eq!(labels.lost(&good, at(2_001)), None, "of another label");
        assert_eq!(labels.lost(&bad, at(2_500)), None);
        let begun = labels.lost(&bad, at(2_999)).expect("three");
        assert_eq!((begun.since, begun.until, begun.within), (at(2_999), at(7_999), Duration::from_millis(999)));
        assert_eq!(labels.lost(&bad, at(3_000)), None, "it is kept out already");
        let said = labels.kept_out("bad", at(4_999)).expect("it is kept out");
        assert_eq!(
            said.to_string(),
            "pool `simulated`: label `bad` is in quarantine since 2.0 s, and for 3.0 s more: 3 workers were lost under its jobs within 999 ms"
        );
        assert_eq!((labels.kept_out("good", at(4_999)), labels.all_kept_out(at(4_999)).len()), (None, 1));
        assert!(labels.release(at(7_998)).is_empty());
        assert_eq!(labels.kept_out("bad", at(7_999)), None, "also before anybody has released it");
        assert_eq!(labels.release(at(7_999)), std::slice::from_ref(&bad));
        assert_eq!(labels.lost(&bad, at(8_000)), None, "its count begins anew");
    }

    #[test]
    fn without_a_rule_nobody_is_kept_out() {
        let mut labels = labels(None);
        assert!((0..1_000).all(|millis| labels.lost(&Arc::from("bad"), at(millis)).is_none()));
        assert!(labels.labels.is_empty());
    }

    proptest! {
        /// Held against the whole history.
        #[test]
        fn who_is_kept_out_has_earned_it(
            deaths in 1_u32..6, within in 1_u64..500, lasts in 1_u64..500,
            events in prop::collection::vec((0_usize..3, 0_u64..100), 1..200),
        ) {
            let millis = Duration::from_millis;
            let mut labels = labels(Quarantine::new(deaths).within(millis(within)).lasts(millis(lasts)));
            let names: [Arc<str>; 3] = ["a", "b", "c"].map(Arc::from);
            let (mut now, mut counted, mut until) = (0, [const { Vec::<u64>::new() }; 3], [0; 3]);
            for (which, wait) in events {
                now += wait;
                labels.release(at(now));
                prop_assert_eq!(labels.kept_out(&names[which], at(now)).is_some(), now < until[which]);
                let begun = labels.lost(&names[which], at(now)).is_some();
                if now < until[which] {
                    prop_assert!(!begun);
                    continue;
                }
                counted[which].push(now);
                let recent = counted[which].iter().filter(|&&death| death + within > now).count();
                prop_assert_eq!(begun, recent >= deaths as usize);
                if begun {
                    counted[which].clear();
                    until[which] = now + lasts;
                }
                let kept: usize = labels.labels.values().map(|label| if let Label::Counts(at) = label { at.len() } else { 0 }).sum();
                prop_assert!(kept <= counted.iter().map(Vec::len).sum());
            }
        }
    }
}
