//! What is in force is changed, one way and the other, and put back at rest.

use std::time::Duration;

use millpond::{ControlError, Ladder, LaneChange, PoolExecutor, Retune, Watchdog};

use crate::allowed::Cause;
use crate::inside::RESERVED;
use crate::kinds::Kind;
use crate::plan::{Change, RESERVE};
use crate::scalers::Sizer;
use crate::site::{LIMIT, Site, limits};

/// How often an autoscaler is asked.
const PERIOD: Duration = Duration::from_millis(1);

/// The watchdog that the pool is built with.
pub fn watchdog() -> Watchdog {
    Watchdog::new(Duration::from_millis(2), Ladder::graceful(Duration::from_millis(5)))
}

fn span(millis: u64) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(millis))
}

impl<K: Kind> Site<K> {
    fn change(&self, change: Change) -> Retune {
        let allowed = &self.shared.allowed;
        match change {
            Change::Reserve(seats) => Retune::new().lane(LaneChange::new(RESERVED).reserve(seats)),
            Change::Room(jobs) => Retune::new().lane(LaneChange::new("direct").capacity(jobs)),
            Change::RunLimit(millis) => {
                allowed.cause(Cause::LaneRunLimit);
                Retune::new().lane(LaneChange::new("direct").run_limit(span(millis)))
            }
            Change::Span(millis) => {
                allowed.cause(Cause::LaneSpan);
                Retune::new().lane(LaneChange::new("default").overdue_after(span(millis)))
            }
            Change::NoWatchdog => Retune::new().no_watchdog(),
            Change::Scale(rule) => Retune::new().autoscaler(Sizer::new(rule, &self.shared), PERIOD),
            Change::Together { min, max } => {
                let reserve = LaneChange::new(RESERVED).reserve(RESERVE);
                Retune::new().limits(limits::<K>(min, max)).lane(reserve)
            }
            Change::Absurd => Retune::new().limits(limits::<K>(1, 2)).lane(LaneChange::new("nowhere").capacity(1)),
        }
    }

    /// All of a change is made, or it is refused, vetoed or superseded, and nothing of it is.
    pub fn retune(&self, change: Change) {
        let (pool, wanted, shared) = (self.view.clone(), self.change(change), self.shared.clone());
        let max = if let Change::Together { max, .. } = change { Some(max) } else { None };
        max.into_iter().for_each(|max| shared.allowed.ask_max(max));
        self.ask(async move {
            let answer = pool.retune(wanted, LIMIT).await;
            max.into_iter().for_each(|max| shared.allowed.max_answered(max, answer.is_ok()));
            let word = format!("{change:?}");
            let word = word.split(['(', ' ']).next().unwrap_or_default();
            match answer {
                Ok(_) if change == Change::Absurd => Err("there is no such lane".to_owned()),
                Ok(report) => {
                    shared.tally.note(format!("retune: {word}"));
                    report.settled().await;
                    Ok(())
                }
                // A larger reserve may not go with the limits, nor smaller limits with the reserve.
                Err(ControlError::Config { .. }) if matches!(change, Change::Absurd | Change::Reserve(_)) => {
                    shared.tally.note(format!("retune refused: {word}"));
                    Ok(())
                }
                Err(ControlError::Vetoed { .. } | ControlError::Superseded { .. }) if max.is_some() => {
                    shared.tally.note("retune vetoed or superseded");
                    Ok(())
                }
                Err(other) => Err(format!("{change:?}: {other}")),
            }
        });
    }

    pub fn no_autoscaler(&self) {
        let answer = self.pool.blocking().retune(Retune::new().no_autoscaler(), LIMIT);
        drop(answer.expect("control waits for nobody"));
    }

    pub fn set_watchdog(&self) {
        let answer = self.pool.blocking().retune(Retune::new().watchdog(watchdog()), LIMIT);
        drop(answer.expect("control waits for nobody"));
    }

    /// Everything but the limits is as the pool was built.
    #[track_caller]
    pub fn as_built(&self) {
        let direct = LaneChange::new("direct").capacity(0).run_limit(None);
        let change = Retune::new()
            .lane(LaneChange::new("default").overdue_after(None))
            .lane(LaneChange::new(RESERVED).reserve(RESERVE))
            .lane(direct)
            .watchdog(watchdog())
            .no_autoscaler();
        drop(self.pool.blocking().retune(change, LIMIT).expect("control waits for nobody"));
    }
}
