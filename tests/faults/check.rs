//! What must hold at any moment, whatever goes on.

use millpond::{Ended, Ledger, PoolExecutor, orphans};

use crate::books::ends;
use crate::kinds::Kind;
use crate::load::{BRIEF, BRIEFLY};
use crate::plan::HOOKS;
use crate::site::{LIMIT, Site};

/// Messages that may lie with a hook: notices and questions.
const OUTSTANDING: usize = 64 + 1024;

/// What was read last.
#[derive(Clone, Copy, Default)]
pub struct Seen(Ledger);

fn terms(ledger: &Ledger) -> impl Iterator<Item = (Option<Ended>, u64)> {
    let gate = [ledger.offered, ledger.accepted, ledger.rejected, ledger.withdrawn, ledger.ended()];
    gate.map(|term| (None, term)).into_iter().chain(ends(ledger).map(|(end, term)| (Some(end), term)))
}

impl<K: Kind> Site<K> {
    /// The ledger balances, no term has run backwards since `before`, and no job began after its limit in the queue: invariants 1 and 5.
    #[track_caller]
    pub fn read(&self, before: Seen) -> Seen {
        let now = self.pool.snapshot().ledger;
        assert!(now.balances(), "{now}");
        for (was, is) in terms(&before.0).zip(terms(&now)) {
            assert!(was.1 <= is.1, "a term ran backwards: {} → {now}", before.0);
        }
        let inventory = self.pool.inventory_now();
        for job in inventory.workers.iter().filter_map(|row| row.job.as_ref()) {
            let brief = job.label.as_deref() == Some(BRIEF);
            assert!(!brief || job.queue_wait <= BRIEFLY, "it was claimed after its limit: {job:?}");
        }
        Seen(now)
    }

    /// Control answers, whatever jobs, starts, hooks and policies do: invariant 3. Everything else that can be seen holds as well.
    #[track_caller]
    pub fn check(&self, before: Seen) -> Seen {
        let inventory = self.pool.blocking().inventory(LIMIT).expect("control waits for nobody");
        let hooks = self.pool.blocking().hooks(LIMIT).expect("control waits for nobody");
        assert!(hooks.iter().all(|hook| hook.outstanding <= OUTSTANDING), "{hooks:?}");
        if hooks.iter().any(|hook| hook.unanswered > 0) {
            self.shared.tally.note("a question lies with a hook");
        }
        // Invariants 2 and 6 are looked at whenever a job begins (`inside.rs`); seats that are taken, here.
        let active = self.pool.saturation().active;
        assert!(active <= self.shared.allowed.max(), "{active} seats are taken\n{inventory}");
        // Invariant 7: a pool that is there has left nobody behind but hooks that were removed.
        let left = orphans().into_iter().filter(|orphan| *orphan.pool == *self.pool.name());
        let left: Vec<_> =
            left.filter(|orphan| orphan.hook.as_deref().is_none_or(|hook| !HOOKS.contains(&hook))).collect();
        assert!(left.is_empty(), "{left:?}");
        if let Some(broken) = self.shared.books.broken_word() {
            panic!("{broken}\n{inventory}");
        }
        self.shared.assert_kept();
        self.read(before)
    }
}
