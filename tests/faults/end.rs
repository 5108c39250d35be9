//! The pool ends under load, with jobs and hooks that would not.

use millpond::{PoolExecutor, TimeLimit, orphans};

use crate::errand::Act;
use crate::hooks;
use crate::inside::RESERVED;
use crate::kinds::Kind;
use crate::plan::{Habit, Patience};
use crate::site::{FOREVER, LIMIT, Signal, Site, eventually};

impl<K: Kind> Site<K> {
    /// A shutdown returns while a job that ignores it still runs and hooks hang; no handle is left waiting, and whoever still runs is
    /// listed: invariants 7 and 9.
    #[track_caller]
    pub fn end(&self) {
        self.rest();
        for (name, habit) in [(1, Habit::Hangs), (2, Habit::Blocks)] {
            let hook = hooks::spec(name, habit, Patience::Endless, &self.shared);
            self.pool.blocking().set_hook(hook, LIMIT).expect("there is room");
        }
        let stubborn = |site: &Self| site.put_into(RESERVED, Act::Stubborn(FOREVER, site.shared.latch()));
        let held: Vec<_> = (0..2).filter_map(|_| stubborn(self)).collect();
        eventually(|| (self.shared.inside.count().0 > 0).then_some(()).ok_or_else(|| "a job runs".to_owned()));
        self.shared.begin_the_end();
        let limit = TimeLimit::millis(100);
        let report = self.pool.blocking().shutdown(limit).expect("it returns, whatever jobs and hooks do");
        assert!(report.took < FOREVER / 2, "{report}");
        self.shared.tell(Signal::End);
        held.into_iter().for_each(crate::books::Kept::join);
        self.kept_ones_end();
        self.whoever_runs_is_listed();
        self.shared.let_go();
        eventually(|| {
            let left = orphans().into_iter().filter(|orphan| *orphan.pool == *self.pool.name()).count();
            let (inside, _) = self.shared.inside.count();
            (left == 0 && inside == 0).then_some(()).ok_or_else(|| format!("{left} orphans, {inside} jobs run"))
        });
        eventually(|| {
            let hooks = self.shared.alive.hooks.count();
            (hooks == 0).then_some(()).ok_or_else(|| format!("{hooks} hooks are not let go of"))
        });
        eventually(|| self.shared.books.differ(&self.pool.snapshot().ledger).map_or(Ok(()), Err));
        assert_eq!(self.shared.books.broken_word(), None);
        self.shared.assert_kept();
    }

    fn whoever_runs_is_listed(&self) {
        eventually(|| {
            let listed: Vec<_> = orphans().into_iter().filter(|orphan| *orphan.pool == *self.pool.name()).collect();
            let missing = |worker: &millpond::WorkerId| !listed.iter().any(|orphan| orphan.worker == Some(*worker));
            match self.shared.inside.workers().into_iter().find(missing) {
                None => Ok(()),
                Some(worker) => Err(format!("{worker} runs and is not listed: {listed:?}")),
            }
        });
    }
}
