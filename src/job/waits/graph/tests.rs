//! What the graph finds stuck, against every history that its jobs could have: no wait is ended that could end, and none is left that cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::id::WorkerId;
use crate::job::{JobCell, Registered, Share, Submission};
use crate::sync::{Timestamp, Weak};

// ---- what is drawn -----------------------------------------------------------------------------------------------------

/// Where a job is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lot {
    /// A worker has it, if there is a seat; queued otherwise.
    Runs,
    /// The same, and that worker is about to be taken from it.
    Condemned,
    /// Its outcome is written, but the code runs on: its worker could not be made to end.
    Abandoned,
    Queued,
    Settled,
}

/// What a job waits for, by number.
#[derive(Clone, Copy, Debug)]
enum Aim {
    Job(usize),
    /// A place in a lane of a pool: promised by now, or not.
    Place(usize, usize, bool),
}

/// A pool: its seats, how many of them its second lane has for itself, how many abandoned workers are replaced, and how many seats nobody is to
/// have again.
type PoolDraw = (usize, usize, usize, usize);

#[derive(Clone, Debug)]
struct Draw {
    pools: Vec<PoolDraw>,
    /// Pool, lane, lot.
    jobs: Vec<(usize, usize, Lot)>,
    /// In the order in which they begin; numbers of jobs count round.
    waits: Vec<(usize, Vec<Aim>)>,
}

fn draws() -> impl Strategy<Value = Draw> {
    let given_up = prop_oneof![2 => Just(0), 1 => 1..=2usize];
    let pool = (1..=3usize, 0..=1usize, 0..=1usize, given_up);
    let pool = pool.prop_map(|(seats, reserve, cap, up)| (seats, reserve.min(seats - 1), cap, up.min(seats)));
    let lot = prop_oneof![
        4 => Just(Lot::Runs),
        2 => Just(Lot::Queued),
        3 => select(vec![Lot::Condemned, Lot::Abandoned, Lot::Settled]),
    ];
    let aim = || {
        prop_oneof![
            5 => (0..9usize).prop_map(Aim::Job),
            1 => (0..3usize, 0..2usize, prop_oneof![4 => Just(true), 1 => Just(false)])
                .prop_map(|(pool, lane, stands)| Aim::Place(pool, lane, stands)),
        ]
    };
    let waits = (0..9usize, prop::collection::vec(aim(), 1..=2));
    (
        prop::collection::vec(pool, 1..=3),
        prop::collection::vec((0..3usize, 0..2usize, lot), 2..=9),
        prop::collection::vec(waits, 1..=9),
    )
        .prop_map(|(pools, jobs, waits)| Draw { pools, jobs, waits })
}

// ---- the naive model ---------------------------------------------------------------------------------------------------

/// The jobs and who waits for what, in numbers alone.
#[derive(Clone, Debug)]
struct World {
    pools: Vec<PoolDraw>,
    jobs: Vec<(usize, usize, Lot)>,
    waits: BTreeMap<usize, Vec<Aim>>,
}

/// Which jobs have ended, which waits are over: as sets of bits.
type Moment = (u32, u32);

fn has(set: u32, job: usize) -> bool {
    set & 1 << job > 0
}

impl World {
    fn new(draw: &Draw) -> Self {
        let pools = draw.pools.clone();
        let mut world = Self { pools, jobs: Vec::new(), waits: BTreeMap::new() };
        for &(pool, lane, lot) in &draw.jobs {
            let pool = pool % world.pools.len();
            let needs_none = matches!(lot, Lot::Settled | Lot::Abandoned);
            let seated = needs_none || world.could_start(pool, lane, world.settled());
            world.jobs.push((pool, lane, if seated { lot } else { Lot::Queued }));
        }
        world
    }

    fn settled(&self) -> u32 {
        let settled = self.jobs.iter().enumerate().filter(|(_, job)| job.2 == Lot::Settled);
        settled.fold(0, |set, (job, _)| set | 1 << job)
    }

    /// Those whose jobs run can wait, each once; `None` if the draw says otherwise.
    fn wait(&self, (job, aims): &(usize, Vec<Aim>)) -> Option<(usize, Vec<Aim>)> {
        let job = job % self.jobs.len();
        let aims = aims.iter().map(|aim| match *aim {
            Aim::Job(other) => Aim::Job(other % self.jobs.len()),
            Aim::Place(pool, lane, stands) => Aim::Place(pool % self.pools.len(), lane, stands),
        });
        let runs = !matches!(self.jobs[job].2, Lot::Queued | Lot::Settled);
        (runs && !self.waits.contains_key(&job)).then(|| (job, aims.collect()))
    }

    /// The arithmetic of DESIGN.md, section 2, with those that run and have not ended.
    fn could_start(&self, pool: usize, lane: usize, ended: u32) -> bool {
        let (max, reserve, cap, given_up) = self.pools[pool];
        let of_it = |lot: &[Lot]| self.jobs.iter().filter(|job| job.0 == pool && lot.contains(&job.2)).count();
        // Who has a worker keeps it when its job has ended.
        let live = of_it(&[Lot::Runs, Lot::Condemned]);
        let lost = self.jobs.iter().enumerate().filter(|(_, job)| job.0 == pool && job.2 == Lot::Abandoned);
        let lost = lost.filter(|(job, _)| !has(ended, *job)).count();
        let seats = live.max((max - given_up).saturating_sub(lost.saturating_sub(cap)));
        let runs = |job: &(usize, &(usize, usize, Lot))| {
            job.1.0 == pool && !has(ended, job.0) && matches!(job.1.2, Lot::Runs | Lot::Condemned)
        };
        let busy = self.jobs.iter().enumerate().filter(runs).count();
        let reserved = self.jobs.iter().enumerate().filter(runs).filter(|(_, job)| job.1 == 1).count();
        busy + if lane == 0 { reserve.saturating_sub(reserved) } else { 0 } < seats
    }

    /// All that can happen next, one thing at a time. Jobs that do not wait end when they like; one that starts ends at once.
    fn next(&self, (ended, over): Moment) -> Vec<Moment> {
        let mut next = Vec::new();
        for (job, &(pool, lane, lot)) in self.jobs.iter().enumerate().filter(|(job, _)| !has(ended, *job)) {
            let may_end = match lot {
                Lot::Runs | Lot::Abandoned => !self.waits.contains_key(&job) || has(over, job),
                Lot::Condemned | Lot::Settled => true,
                Lot::Queued => self.could_start(pool, lane, ended),
            };
            if may_end {
                next.push((ended | 1 << job, over));
            }
        }
        for (&job, aims) in self.waits.iter().filter(|(job, _)| !has(over, **job)) {
            let comes = |aim: &Aim| match *aim {
                Aim::Job(other) => has(ended, other) || self.jobs[other].2 == Lot::Abandoned,
                Aim::Place(pool, lane, stands) => !stands || self.could_start(pool, lane, ended),
            };
            if has(ended, job) || aims.iter().any(comes) {
                next.push((ended, over | 1 << job));
            }
        }
        next
    }

    /// The waits that are over in no moment that can be reached.
    fn stuck(&self) -> BTreeSet<usize> {
        let mut seen = BTreeSet::from([(self.settled(), 0)]);
        let mut open: Vec<Moment> = seen.iter().copied().collect();
        while let Some(moment) = open.pop() {
            open.extend(self.next(moment).into_iter().filter(|next| seen.insert(*next)));
        }
        let ever_over = seen.iter().fold(0, |all, (_, over)| all | over);
        self.waits.keys().copied().filter(|job| !has(ever_over, *job)).collect()
    }
}

// ---- the same for the graph --------------------------------------------------------------------------------------------

/// With so many workers.
struct FakePool(PoolDraw, usize);

impl Recalls for FakePool {
    fn name(&self) -> Arc<str> {
        Arc::from("fake")
    }

    fn lane_name(&self, lane: LaneId) -> Arc<str> {
        Arc::from(lane.index().to_string())
    }

    fn is_plain(&self) -> bool {
        self.0.1 == 0
    }

    fn could_start(&self, lane: LaneId, held: &[usize], abandoned: usize) -> bool {
        let (max, reserve, cap, given_up) = self.0;
        let seats = |index: usize| crate::lane::Seats {
            busy: held.get(index).copied().unwrap_or(0),
            reserve: if index == 1 { reserve } else { 0 },
            ..Default::default()
        };
        crate::lane::startable(
            &[seats(0), seats(1)],
            lane.index(),
            self.1.max(max.saturating_sub(abandoned.saturating_sub(cap) + given_up)),
        ) > 0
    }

    fn report(&self, _deadlock: &Arc<Deadlock>) {}

    fn recall(&self, _job: &Share<dyn Envelope>) {}

    fn would_block(&self) -> bool {
        false
    }
}

struct FakeWorker {
    id: WorkerId,
    pool: PoolNo,
    lot: Lot,
}

impl InHand for FakeWorker {
    fn worker(&self) -> WorkerId {
        self.id
    }

    fn pool(&self) -> PoolNo {
        self.pool
    }

    fn is_busy_with(&self, _claim: ClaimNo) -> bool {
        self.lot == Lot::Runs
    }

    fn is_abandoned_with(&self, _claim: ClaimNo) -> bool {
        self.lot == Lot::Abandoned
    }

    fn beat(&self, _claim: ClaimNo) {}
}

struct FakePlace(AtomicBool);

impl super::super::Stands for FakePlace {
    fn stands(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A world's pools and jobs, and a graph of their waits.
struct Scene {
    pools: Vec<(Arc<dyn Recalls>, Registered)>,
    jobs: Vec<Share<dyn Envelope>>,
    graph: Graph,
    /// By job, the number of its wait.
    ids: BTreeMap<usize, u64>,
}

impl Scene {
    fn new(world: &World) -> Self {
        let pools = world.pools.iter().enumerate().map(|(no, draw)| {
            let live = world.jobs.iter().filter(|job| job.0 == no && matches!(job.2, Lot::Runs | Lot::Condemned));
            let pool = Arc::new(FakePool(*draw, live.count()));
            let weak: Weak<dyn Recalls> = Arc::downgrade(&pool) as Weak<dyn Recalls>;
            (pool as Arc<dyn Recalls>, Registered::new(weak))
        });
        let jobs = world.jobs.iter().enumerate().map(|(no, &(_, lane, lot))| {
            let submission = Submission { lane: lane_id(lane), site: Location::caller(), terms: None };
            let job: Share<dyn Envelope> = Share::<JobCell<u64, u64>>::alone(0, submission).erase();
            let header = job.header();
            header.admit(JobId(no as u64 + 1), Timestamp::from_nanos(1));
            match lot {
                Lot::Runs | Lot::Condemned => assert!(header.claim()),
                Lot::Settled => assert!(header.word.settle_queued()),
                Lot::Abandoned => assert!(header.claim() && header.word.settle_claimed()),
                Lot::Queued => {}
            }
            job
        });
        Self { pools: pools.collect(), jobs: jobs.collect(), graph: Graph::default(), ids: BTreeMap::new() }
    }

    fn target(&self, world: &World, aim: Aim) -> Target {
        let (pool, lane, what) = match aim {
            Aim::Job(job) => (world.jobs[job].0, world.jobs[job].1, What::Job(self.jobs[job].clone())),
            Aim::Place(pool, lane, stands) => (pool, lane, What::Place(Arc::new(FakePlace(AtomicBool::new(stands))))),
        };
        let (pool, number) = (self.pools[pool].0.clone(), self.pools[pool].1.number());
        Target { pool, number, lane: lane_id(lane), what }
    }

    /// As `Ticket::begin` does, up to the look.
    fn begin(&mut self, world: &World, job: usize, aims: &[Aim]) -> u64 {
        let targets = aims.iter().map(|aim| self.target(world, *aim)).collect();
        let (pool, registered) = &self.pools[world.jobs[job].0];
        let number = registered.number();
        let slot = u32::try_from(job).expect("a few jobs");
        let worker = FakeWorker { id: WorkerId { slot, generation: 1 }, pool: number, lot: world.jobs[job].2 };
        let id = self.graph.next;
        self.graph.next += 1;
        let wait = Wait {
            pool: pool.clone(),
            number,
            job: self.jobs[job].clone(),
            worker: Arc::new(worker),
            claim: ClaimNo(1),
            targets,
            waker: Waker::noop().clone(),
            verdict: None,
        };
        self.graph.insert(id, wait);
        self.ids.insert(job, id);
        id
    }

    fn stuck(&self) -> BTreeSet<usize> {
        let stuck = Stuck::of(&self.graph);
        self.ids.iter().filter(|(_, id)| stuck.waits.contains(id)).map(|(job, _)| *job).collect()
    }

    /// Jobs whose waits were ended.
    fn ended(&self) -> BTreeSet<usize> {
        let ended = |id: &u64| self.graph.waits.get(id).is_some_and(|wait| wait.verdict.is_some());
        self.ids.iter().filter(|(_, id)| ended(id)).map(|(job, _)| *job).collect()
    }
}

fn lane_id(lane: usize) -> LaneId {
    LaneId(u16::try_from(lane).expect("two lanes"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the graph, however it came about.
    #[test]
    fn what_is_stuck_is_what_no_history_lets_go_on(draw in draws()) {
        let mut world = World::new(&draw);
        let mut scene = Scene::new(&world);
        for wait in &draw.waits {
            if let Some((job, aims)) = world.wait(wait) {
                scene.begin(&world, job, &aims);
                world.waits.insert(job, aims);
            }
        }
        prop_assert_eq!(scene.stuck(), world.stuck(), "{:#?}", world);
    }

    /// Wait by wait, as they begin: each that is ended could not have ended, and after that none is left that cannot.
    #[test]
    fn waits_are_ended_as_they_begin_and_no_more_than_needed(draw in draws()) {
        let mut world = World::new(&draw);
        let mut scene = Scene::new(&world);
        for wait in &draw.waits {
            let Some((job, aims)) = world.wait(wait) else { continue };
            let id = scene.begin(&world, job, &aims);
            world.waits.insert(job, aims);
            if scene.graph.moves_for_sure(id) {
                prop_assert_eq!(world.stuck(), BTreeSet::new(), "the cheap look says that all move: {:#?}", world);
                continue;
            }
            let mut before = scene.ended();
            loop {
                let stuck = world.stuck();
                let Some(knot) = Stuck::of(&scene.graph).knot() else { break };
                drop(scene.graph.end_first(&knot));
                let now = scene.ended();
                let fresh: Vec<usize> = now.difference(&before).copied().collect();
                prop_assert!(matches!(fresh[..], [one] if stuck.contains(&one)), "{:?} ended, {:?} stuck: {:#?}", fresh, stuck, world);
                // Its job goes on.
                world.waits.remove(&fresh[0]);
                world.waits.insert(fresh[0], vec![Aim::Place(0, 0, false)]);
                before = now;
            }
            prop_assert_eq!(world.stuck(), BTreeSet::new(), "left waiting: {:#?}", world);
        }
    }
}
