//! The load: threads and tasks that submit jobs of all sorts, and treat them in all ways.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::Scope;
use std::time::Duration;

use millpond::{JobOptions, PoolExecutor};

use crate::books::{Kept, Offer};
use crate::check::Seen;
use crate::errand::{Act, Cargo, Errand, Nested, Record};
use crate::inside::RESERVED;
use crate::kinds::Kind;
use crate::plan::Noise;
use crate::site::{PoolOf, SUBMITTERS, Shared, Signal, Site};
use crate::terms::Terms;

/// The label of jobs that operators look for.
pub const VICTIM: &str = "victim";
/// The label of jobs that may queue for [`BRIEFLY`].
pub const BRIEF: &str = "brief";
pub const BRIEFLY: Duration = Duration::from_millis(3);

/// How many jobs a submitter keeps an eye on at once.
const WINDOW: usize = 12;
/// How often the job of a fault is offered until it is let in.
const OFFERS: usize = 10;

pub fn start<'scope, K: Kind>(scope: &'scope Scope<'scope, '_>, site: &'scope Site<K>) {
    for who in 0..SUBMITTERS as u64 {
        let submit = if who % 2 == 0 { on_a_thread::<K> } else { in_a_task::<K> };
        scope.spawn(move || submit(site, Noise::new(site.seed.wrapping_mul(31).wrapping_add(who))));
    }
    scope.spawn(|| watch(site));
    scope.spawn(|| listen(site));
}

/// Counts what the pool says. One that reads too slowly misses some, as the counts are of what happened at least.
fn listen<K: Kind>(site: &Site<K>) {
    let mut events = site.pool.events();
    while !matches!(site.shared.signal(), Signal::End | Signal::Leave) {
        match events.next_timeout(Duration::from_millis(20)) {
            Ok(Some(event)) => site.shared.tally.note_event(&event),
            Ok(None) => return,
            // Nothing has happened: it looks whether it is over.
            Err(_) => {}
        }
    }
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
pub struct Draft<K: Kind> {
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
    let terms = Terms { nested: true, ..Terms::none("default") };
    let draft = move |shared: &Arc<Shared>| draft::<K>(shared, Act::Returns, terms);
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

/// A job with no limits of its own.
pub fn draft<K: Kind>(shared: &Arc<Shared>, act: Act, terms: Terms) -> Draft<K> {
    draft_with(shared, act, (JobOptions::new().lane(terms.lane), terms))
}

fn draft_with<K: Kind>(shared: &Arc<Shared>, act: Act, (options, terms): (JobOptions, Terms)) -> Draft<K> {
    let terms = Terms { panics: matches!(act, Act::Panics), ..terms };
    let (no, record) = (shared.next_no(), Record::new(terms));
    let job = K::job(Errand::new(no, act, &record, shared));
    Draft { job, offer: Some((no, record)), options }
}

fn options(noise: &mut Noise) -> (JobOptions, Terms) {
    let terms = Terms::none(noise.of(&["default", "default", "default", RESERVED, "direct"]));
    let options = JobOptions::new().lane(terms.lane);
    match noise.below(12) {
        0..2 => (options.label(BRIEF).queue_limit(BRIEFLY), Terms { queue_limit: true, ..terms }),
        2 => (options.label(VICTIM).run_limit(millis(noise, 2, 8)), Terms { run_limit: true, ..terms }),
        3 => (options.label(VICTIM).deadline_in(millis(noise, 2, 20)), Terms { deadline: true, ..terms }),
        4 => (options.label(VICTIM).overdue_after(millis(noise, 2, 5)), Terms { overdue: true, ..terms }),
        5..8 => (options.label(VICTIM), terms),
        _ => (options, terms),
    }
}

impl<K: Kind> Draft<K> {
    fn offer(&mut self, shared: &Arc<Shared>) -> Offer {
        let (no, record) = self.offer.take().expect("it is offered once");
        Offer::new(no, record, shared)
    }

    pub fn try_submit(mut self, pool: &PoolOf<K>, shared: &Arc<Shared>) -> Option<Kept> {
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
    /// A job of a fault, kept until the next rest. One that is refused is offered again, in either lane, for a while.
    pub fn put(&self, fault: &'static str, act: impl Fn() -> Act, options: impl Fn(JobOptions) -> JobOptions) {
        for lane in ["default", RESERVED].into_iter().cycle().take(OFFERS) {
            let terms = Terms { fault: Some(fault), overdue: fault == "silent", ..Terms::none(lane) };
            let draft = draft_with::<K>(&self.shared, act(), (options(JobOptions::new().lane(lane)), terms));
            if let Some(kept) = draft.try_submit(&self.pool, &self.shared) {
                self.kept.lock().push(kept);
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        self.shared.tally.note(format!("fault: {fault} job refused"));
    }

    /// One for a lane, if that has a place.
    pub fn put_into(&self, lane: &'static str, act: Act) -> Option<Kept> {
        draft::<K>(&self.shared, act, Terms::none(lane)).try_submit(&self.pool, &self.shared)
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
        let draft = draft_with::<K>(shared, act(site, &mut noise), options(&mut noise));
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
            let draft = draft_with::<K>(shared, act(site, &mut noise), options(&mut noise));
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
