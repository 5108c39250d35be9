//! The load: threads and tasks that submit jobs of all sorts, and treat them in all ways.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::Scope;
use std::time::Duration;

use millpond::JobOptions;

use crate::books::{Kept, Offer};
use crate::check::Seen;
use crate::errand::{Act, Cargo, Errand, Nested, Record};
use crate::kinds::Kind;
use crate::plan::Noise;
use crate::site::{PoolOf, SUBMITTERS, Shared, Signal, Site};

/// The label of jobs that operators look for.
pub const VICTIM: &str = "victim";
/// The label of jobs that may queue for [`BRIEFLY`].
pub const BRIEF: &str = "brief";
pub const BRIEFLY: Duration = Duration::from_millis(3);

/// How many jobs a submitter keeps an eye on at once.
const WINDOW: usize = 12;

pub fn start<'scope, K: Kind>(scope: &'scope Scope<'scope, '_>, site: &'scope Site<K>) {
    for who in 0..SUBMITTERS as u64 {
        let submit = if who % 2 == 0 { on_a_thread::<K> } else { in_a_task::<K> };
        scope.spawn(move || submit(site, Noise::new(site.seed.wrapping_mul(31).wrapping_add(who))));
    }
    scope.spawn(|| watch(site));
}

/// Reads again and again: no term of the ledger ever runs backwards, and who may wait briefly did.
fn watch<K: Kind>(site: &Site<K>) {
    let mut before = Seen::default();
    while !matches!(site.shared.signal(), Signal::End | Signal::Leave) {
        before = site.read(before);
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// A job that is about to be offered.
struct Draft<K: Kind> {
    job: K::Job,
    offer: Option<(u64, Arc<Record>)>,
    options: JobOptions,
}

fn millis(noise: &mut Noise, least: u64, most: u64) -> Duration {
    Duration::from_millis(least + noise.below(most - least + 1))
}

fn act<K: Kind>(site: &Site<K>, noise: &mut Noise) -> Act {
    match noise.below(100) {
        0..30 => Act::Returns,
        30..75 => Act::Works(Duration::from_micros(20 + noise.below(400))),
        75..82 => Act::Polite,
        82..88 => Act::Looks(Cargo(site.shared.clone())),
        88..92 => Act::Panics,
        92..94 => Act::Stubborn(millis(noise, 2, 10), site.shared.latch()),
        _ => Act::Submits(nested::<K>(&site.view, &site.shared)),
    }
}

/// A job that submits another one and waits for it.
fn nested<K: Kind>(pool: &PoolOf<K>, shared: &Arc<Shared>) -> Nested {
    let (block, wait) = ((pool.clone(), shared.clone()), (pool.clone(), shared.clone()));
    let draft = |shared: &Arc<Shared>| draft::<K>(shared, Act::Returns, JobOptions::new());
    Nested {
        block: Box::new(move || {
            let (pool, shared) = block;
            if let Some(kept) = draft(&shared).submit_blocking(&pool, &shared) {
                kept.join();
            }
        }),
        wait: Box::pin(async move {
            let (pool, shared) = wait;
            if let Some(kept) = draft(&shared).submit(&pool, &shared).await {
                kept.wait_inside().await;
            }
        }),
    }
}

fn draft<K: Kind>(shared: &Arc<Shared>, act: Act, options: JobOptions) -> Draft<K> {
    let (no, record) = (shared.next_no(), Arc::<Record>::default());
    let job = K::job(Errand { no, act, record: record.clone(), shared: shared.clone() });
    Draft { job, offer: Some((no, record)), options }
}

fn options(noise: &mut Noise) -> JobOptions {
    let options = JobOptions::new().lane(noise.of(&["default", "default", "default", "reserved", "direct"]));
    match noise.below(12) {
        0..2 => options.label(BRIEF).queue_limit(BRIEFLY),
        2 => options.label(VICTIM).run_limit(millis(noise, 2, 8)),
        3 => options.label(VICTIM).deadline_in(millis(noise, 2, 20)),
        4 => options.label(VICTIM).overdue_after(millis(noise, 2, 5)),
        5..8 => options.label(VICTIM),
        _ => options,
    }
}

impl<K: Kind> Draft<K> {
    fn offer(&mut self, shared: &Arc<Shared>) -> Offer {
        let (no, record) = self.offer.take().expect("it is offered once");
        Offer::new(no, record, shared)
    }

    fn try_submit(mut self, pool: &PoolOf<K>, shared: &Arc<Shared>) -> Option<Kept> {
        let offer = self.offer(shared);
        offer.answered(pool.with(self.options).try_submit(self.job))
    }

    fn submit_blocking(mut self, pool: &PoolOf<K>, shared: &Arc<Shared>) -> Option<Kept> {
        let offer = self.offer(shared);
        offer.answered(pool.with(self.options).submit_blocking(self.job))
    }

    async fn submit(mut self, pool: &PoolOf<K>, shared: &Arc<Shared>) -> Option<Kept> {
        let offer = self.offer(shared);
        offer.answered(pool.with(self.options).submit(self.job).await)
    }
}

impl<K: Kind> Site<K> {
    /// A job of a fault: offered, and kept until the next rest.
    pub fn put(&self, act: Act) {
        let draft = draft::<K>(&self.shared, act, JobOptions::new());
        self.kept.lock().extend(draft.try_submit(&self.pool, &self.shared));
    }

    /// One for a lane, if that has a place.
    pub fn put_into(&self, lane: &str, act: Act) -> Option<Kept> {
        draft::<K>(&self.shared, act, JobOptions::new().lane(lane)).try_submit(&self.pool, &self.shared)
    }
}

fn on_a_thread<K: Kind>(site: &Site<K>, mut noise: Noise) {
    let (shared, mut window) = (&site.shared, VecDeque::new());
    loop {
        match shared.signal() {
            Signal::Go => {}
            Signal::Leave => return,
            signal => {
                window.drain(..).for_each(Kept::join);
                shared.park();
                if signal == Signal::End {
                    return;
                }
                continue;
            }
        }
        let draft = draft::<K>(shared, act(site, &mut noise), options(&mut noise));
        let kept = match noise.one_in(3) {
            true => draft.submit_blocking(&site.pool, shared),
            false => draft.try_submit(&site.pool, shared),
        };
        match kept {
            None => std::thread::sleep(Duration::from_micros(300)),
            Some(kept) => treat(kept, &mut window, &mut noise),
        }
        if window.len() >= WINDOW
            && let Some(kept) = window.pop_front()
        {
            window.extend(kept.join_for(Duration::from_millis(2)));
        }
    }
}

/// Dropped, cancelled, both, or kept.
fn treat(mut kept: Kept, window: &mut VecDeque<Kept>, noise: &mut Noise) {
    match noise.below(10) {
        0 => drop(kept),
        1 => kept.cancel(),
        2 => kept.drop_and_cancel(),
        3 => {
            kept.cancel();
            window.push_back(kept);
        }
        _ => window.push_back(kept),
    }
}

fn in_a_task<K: Kind>(site: &Site<K>, mut noise: Noise) {
    site.outside.block_on(async {
        let (shared, mut window) = (&site.shared, VecDeque::new());
        loop {
            match shared.signal() {
                Signal::Go => {}
                Signal::Leave => return,
                signal => {
                    for kept in window.drain(..) {
                        Kept::wait(kept).await;
                    }
                    shared.park();
                    if signal == Signal::End {
                        return;
                    }
                    continue;
                }
            }
            let draft = draft::<K>(shared, act(site, &mut noise), options(&mut noise));
            let submission = draft.submit(&site.pool, shared);
            // Some of those who wait at the gate go away: dropped at any moment, also between a grant and its receipt.
            let most = if noise.one_in(2) { 2_000 } else { 200_000 };
            let patience = Duration::from_micros(noise.below(most));
            match tokio::time::timeout(patience, submission).await {
                Err(_) => {}
                Ok(None) => tokio::time::sleep(Duration::from_micros(300)).await,
                Ok(Some(kept)) => treat(kept, &mut window, &mut noise),
            }
            if window.len() >= WINDOW
                && let Some(kept) = window.pop_front()
            {
                kept.wait().await;
            }
        }
    });
}
