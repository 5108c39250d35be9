//! The watchdogs of `millpond-supervisors` on a clock that the test moves: whatever the grace, and whenever the job beats, what they set off
//! comes in the order and at the moments that their names say.

use std::time::Duration;

use millpond::{JobError, JobOptions, Rung, Watchdog};
use millpond_supervisors::watchdog;
use proptest::prelude::*;

use crate::overdue::{Rig, SPAN, Said};
use crate::rig::{after_control, soon};
use crate::subject::OnThreads;
use crate::task::Gate;

/// A preset: what it is, how long after the warning it begins, and its rungs, each with its grace.
type Preset = (Watchdog, Duration, Vec<(Rung, Duration)>);

fn preset(which: usize, grace: Duration) -> Preset {
    use Rung::{Cancel, Kill, Stop};
    match which {
        0 => (watchdog::warn_only(), Duration::ZERO, vec![]),
        1 => (watchdog::ask(grace), grace, vec![(Cancel, grace)]),
        2 => (watchdog::patient(grace), grace, vec![(Cancel, grace), (Stop, grace), (Kill, Duration::from_secs(1))]),
        _ => (watchdog::strict(grace), Duration::ZERO, vec![(Cancel, Duration::ZERO), (Kill, grace)]),
    }
}

/// What is being waited for.
enum Stage {
    /// The job has been silent for its span, at the earliest then.
    Watched {
        until: Duration,
    },
    /// The grace after the warning is over.
    Warned {
        until: Duration,
    },
    /// The next rung.
    Ladder {
        next: usize,
        until: Duration,
    },
    Taken,
}

/// The rule, on numbers alone.
struct Model {
    grace: Duration,
    rungs: Vec<(Rung, Duration)>,
    stage: Stage,
    /// When the job last made progress, and when it last had as it was warned about.
    progress: Duration,
    silent_since: Duration,
}

impl Model {
    fn new(grace: Duration, rungs: Vec<(Rung, Duration)>) -> Self {
        let stage = Stage::Watched { until: SPAN };
        Self { grace, rungs, stage, progress: Duration::ZERO, silent_since: Duration::ZERO }
    }

    /// What is said when the clock comes to stand at `now`.
    fn at(&mut self, now: Duration) -> Vec<Said> {
        let mut said = Vec::new();
        if let Stage::Watched { until } = self.stage
            && until <= now
        {
            self.look(now, &mut said);
        }
        if matches!(self.stage, Stage::Warned { .. } | Stage::Ladder { .. }) && self.progress > self.silent_since {
            said.push(Said::LetOff(self.progress - self.silent_since));
            self.stage = Stage::Watched { until: self.progress + SPAN };
        }
        if let Stage::Warned { until } = self.stage
            && until <= now
        {
            self.stage = Stage::Ladder { next: 0, until: now };
        }
        self.climb(now, &mut said);
        said
    }

    fn look(&mut self, now: Duration, said: &mut Vec<Said>) {
        if now < self.progress + SPAN {
            self.stage = Stage::Watched { until: self.progress + SPAN };
            return;
        }
        self.silent_since = self.progress;
        said.push(Said::Warned(now - self.silent_since));
        self.stage = Stage::Warned { until: now + self.grace };
    }

    fn climb(&mut self, now: Duration, said: &mut Vec<Said>) {
        while let Stage::Ladder { next, until } = self.stage
            && until <= now
        {
            self.stage = match self.rungs.get(next) {
                Some(&(Rung::Kill, _)) => Stage::Taken,
                Some(&(_, grace)) => Stage::Ladder { next: next + 1, until: now + grace },
                // It has ended nobody: the job is watched again.
                None => Stage::Watched { until: now + SPAN },
            };
            said.extend(self.rungs.get(next).map(|&(rung, _)| Said::Took(rung, now - self.silent_since)));
        }
    }

    fn is_told_to_leave(&self) -> bool {
        matches!(self.stage, Stage::Ladder { next, .. } if next > 0 && self.rungs[next - 1].0 == Rung::Stop)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_preset_keeps_the_moments_that_it_names(
        which in 0usize..4,
        grace in 1u64..15_000,
        // `None` is a beat; the others are milliseconds.
        steps in prop::collection::vec(prop_oneof![4 => (1u64..12_000).prop_map(Some), 1 => Just(None)], 1..25),
    ) {
        let (watchdog, after, rungs) = preset(which, Duration::from_millis(grace));
        let mut rig = Rig::<OnThreads>::new("preset", watchdog);
        let gate = Gate::new();
        let (handle, job) = rig.run(JobOptions::new(), |task| task.then_deaf(&gate));
        let (mut model, mut now) = (Model::new(after, rungs), Duration::ZERO);
        for step in steps {
            let span = match step.map(Duration::from_millis) {
                Some(span) => span,
                // A worker that was told to leave is not watched again.
                None if model.is_told_to_leave() => continue,
                None => {
                    job.beat();
                    model.progress = now;
                    // Before it is silent for too long again: one that is let off and overdue at one moment is told of in two, the second of them whenever
                    // control comes to it.
                    Duration::from_millis(1)
                }
            };
            now += span;
            rig.advance(span);
            // Once more: control looks at those who were warned about when it has answered.
            after_control(&rig.pool);
            prop_assert_eq!(rig.said(), model.at(now), "at {:?}", now);
            if matches!(model.stage, Stage::Taken) {
                break;
            }
        }
        let taken = matches!(model.stage, Stage::Taken);
        if !taken {
            gate.open();
        }
        match soon(handle) {
            Ok(output) => prop_assert!(output == 7 && !taken),
            Err(JobError::Abandoned(_)) => prop_assert!(taken),
            Err(other) => panic!("{other}"),
        }
        gate.open();
    }
}
