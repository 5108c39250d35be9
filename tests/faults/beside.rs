//! Another pool ends, amid the faults of this one.

use std::sync::Arc;
use std::time::Duration;

use millpond::{Ladder, Limits, PoolBuilder, PoolExecutor, Select, TimeLimit};

use crate::books::Kept;
use crate::errand::Act;
use crate::hooks;
use crate::inside::RESERVED;
use crate::kinds::Kind;
use crate::load::draft;
use crate::plan::{Habit, Patience};
use crate::site::{FOREVER, LIMIT, Latch, Shared, Site, eventually};
use crate::starts::{Faulty, Starts};
use crate::terms::Terms;

impl<K: Kind> Site<K> {
    /// It holds a job that ignores everything, one that waits for that, a hook that never answers, and a termination which that is asked
    /// about. Its shutdown answers at its limit, which is at once, while all of these hang, and no handle is left waiting: invariant 9.
    #[track_caller]
    pub fn another_ends(&self, nth: usize) {
        let shared = Arc::<Shared>::default();
        // It has no reserve; all its jobs are counted as if they were of one.
        shared.allowed.rest(1);
        let backend = Faulty { inner: K::backend(self.workers.handle().clone()), starts: Starts::default() };
        let pool = PoolBuilder::new(&format!("faults-{}-beside-{nth}", K::NAME), backend).limits(Limits::fixed(1));
        let pool = pool.kill_grace(Duration::ZERO).build().expect("the configuration is sound");
        let latch = Latch::default();
        let offer = |act| {
            let draft = draft::<K>(&shared, act, Terms { lane: "default", ..Terms::none(RESERVED) });
            draft.try_submit(&pool, &shared).expect("there is a queue")
        };
        let held = [offer(Act::Stubborn(FOREVER, latch.clone())), offer(Act::Returns)];
        eventually(|| (shared.inside.count().0 == 1).then_some(()).ok_or_else(|| "its job runs".to_owned()));
        let hook = hooks::spec(1, Habit::Blocks, Patience::Endless, &shared);
        pool.blocking().set_hook(hook, LIMIT).expect("there is room");
        let asked = pool.clone();
        let asked = self.outside.spawn(async move {
            // The pool may be gone first.
            drop(asked.terminate(Select::all(), Ladder::graceful(FOREVER), LIMIT).await);
        });
        eventually(|| {
            let unanswered = pool.blocking().hooks(LIMIT).expect("control waits for nobody")[0].unanswered;
            (unanswered > 0).then_some(()).ok_or_else(|| "the hook is asked".to_owned())
        });
        shared.begin_the_end();
        let report =
            pool.blocking().shutdown(TimeLimit(Duration::ZERO)).expect("it returns, whatever jobs and hooks do");
        if !K::KILLED_ANYWHERE {
            assert_eq!(shared.inside.count().0, 1, "the report did not wait for the job\n{report}");
        }
        assert_eq!((report.jobs(), report.not_started), (2, 1), "{report}");
        held.into_iter().for_each(Kept::join);
        latch.open();
        shared.let_go();
        eventually(|| shared.books.differ(&pool.snapshot().ledger).map_or(Ok(()), Err));
        eventually(|| shared.alive.beyond(0).map_or(Ok(()), Err));
        eventually(|| {
            (shared.alive.hooks.count() == 0).then_some(()).ok_or_else(|| "its hook is let go of".to_owned())
        });
        self.outside.block_on(asked).expect("nobody is left waiting");
        shared.assert_kept();
    }
}
