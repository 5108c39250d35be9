//! The data plane: gate, lanes, slots and outcomes assembled. Passive: it owns no thread and knows no actor.
//!
//! Lock order: `ready`, then `inbox` and a worker's cell, of which `ready` decides who takes both. What each guards: DESIGN.md, section 1.

mod abort;
mod admit;
mod after;
mod bell;
mod calm;
mod claim;
mod company;
mod health;
mod idle;
#[cfg(any(feature = "process", millpond_loom))]
mod lend;
mod lent;
#[cfg(all(test, millpond_loom))]
mod loom;
mod nested;
mod port;
mod quarantine;
mod read;
mod recycle;
mod redeliver;
mod retune;
mod seats;
mod spares;
mod steer;
#[cfg(all(test, not(millpond_loom)))]
mod tests;
mod tick;
mod turnover;
mod unfinished;
mod watch;
mod withdraw;
mod worker;

pub use claim::Claim;
pub use worker::WorkerContext;

pub(crate) use abort::Left;
pub(crate) use admit::Entry;
pub(crate) use bell::Overstays;
pub(crate) use claim::Polling;
#[cfg(any(feature = "process", millpond_loom))]
pub(crate) use lend::{Lends, Loan};
pub(crate) use lent::{Aimed, Found};
pub(crate) use port::{ControlPort, Garbage, Overdue, Overrun, Signal};
pub(crate) use steer::Condemned;
pub(crate) use tick::Alarm;
pub(crate) use worker::Asking;

use after::{After, Seldom};

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::config::{Limits, PoolConfig};
use crate::error::RejectReason;
use crate::gate::{Gate, Waiter};
use crate::id::{JobId, LaneId, WorkerId};
use crate::job::{ClaimKey, Envelope, PoolNo, Recalls, Registered, Share};
use crate::lane::{Counted, LaneState, Line};
use crate::policy::Labels;
use crate::slot::{Cell, Counts};
use crate::snapshot::{Buckets, Cooling, DelayedStarts, Ended, Scene, VetoedStarts};
use crate::sync::{
    Alone, Arc, AtomicBool, Clock, Count, Flag, Mutex, Ordering, Padded, RwLock, Tally, Timestamp, Weak,
};

/// What workers take from.
pub(crate) struct Ready<J: ?Sized + Envelope> {
    lanes: SmallVec<[Line<Share<J>>; 1]>,
    /// By lane, how many jobs were ever moved here from the inbox: what was pushed beyond that is still there.
    moved: Vec<u64>,
    /// The lane that was served last.
    cursor: usize,
    /// False while the gate is quiesced or closed.
    dispatches: bool,
    /// Somebody waits at the gate, so that whoever frees a place looks there.
    waiters: bool,
    /// There may be more workers than `max`: whoever asks for work looks.
    in_debt: bool,
    /// One worker that is due to be recycled may go.
    lets_one_go: bool,
    /// Jobs whose worker was lost under them, and that are to be delivered again: they come back when they have rested.
    resting: BTreeMap<JobId, Share<J>>,
    /// Jobs that are [lent](lend): each is in the hands of a worker that has another one.
    lent: BTreeMap<WorkerId, lent::Lent<J>>,
}

/// What submitters put into. What each job changes comes first: it passes from core to core on few lines.
#[repr(C)]
pub(crate) struct Inbox<J: ?Sized + Envelope> {
    /// Workers woken that have not looked yet. Jobs that could start and idle workers imply that this is above zero.
    searching: usize,
    next_id: u64,
    /// How many workers are to idle, or come up, while more may be started.
    min_idle: usize,
    /// How many starts hooks are asked about.
    asked: usize,
    /// Those that wait for work, the longest idle first.
    idle: idle::Idle,
    lanes: SmallVec<[InboxLane<J>; 1]>,
    gate: Gate,
    gate_since: Timestamp,
    /// Control was asked to start workers and has not looked yet.
    demanded: bool,
}

#[repr(C)]
struct InboxLane<J: ?Sized + Envelope> {
    jobs: Line<Share<J>>,
    /// How many jobs had left the queue when a submitter last looked: looking costs it a line that workers write.
    gone_seen: u64,
    /// Places promised to waiters.
    granted: usize,
    waiters: Line<Arc<Waiter>>,
}

/// What turnovers of a calm pool count, under the inbox lock.
#[repr(C)]
struct Calmly {
    /// Jobs of the one lane that were taken from the inbox itself.
    taken: Tally,
    shard: Shard,
}

/// Counters and histograms, of which several workers share a copy.
#[repr(C)]
struct Shard {
    ended: [Tally; Ended::COUNT],
    queue_wait: Box<[Buckets]>,
    run_time: Box<[Buckets]>,
    writer: Alone,
}

/// Jobs that never began, with the right to their payloads.
type Unstarted<J> = Vec<(Share<J>, ClaimKey)>;

/// More copies than this buy nothing.
const SHARDS: usize = 8;

/// The data plane of one pool.
pub(crate) struct Plane<J: ?Sized + Envelope> {
    pub(crate) config: PoolConfig,
    pub(crate) clock: Clock,
    pub(crate) lanes: Box<[LaneState]>,
    pub(crate) counts: Padded<Counts>,
    ready: Padded<Counted<Ready<J>>>,
    inbox: Padded<Counted<Inbox<J>>>,
    /// Some lane reserves seats; without reserves, whoever holds a seat may take any lane's job. Written under both locks.
    reserves: Flag,
    /// A turnover may go by the inbox alone; written under both locks.
    calm: AtomicBool,
    calmly: Padded<Calmly>,
    /// The `max` in force; written under both locks.
    max: Count,
    /// Slots that cool down, back off, or were refused by the system; written under both locks.
    cooling: Count,
    /// How many of those count as missing; written under both locks.
    empty: Count,
    /// How many of those stay empty for good; written under both locks.
    given_up: Count,
    limits: Mutex<Limits>,
    /// Written by workers at their turnover, under the ready lock; several, so that a worker mostly finds its own in its cache.
    shards: Box<[Padded<Shard>]>,
    /// Written by everybody else, and by workers that end.
    aside: Shard,
    /// The gate takes no more jobs. Written under both locks.
    refuses: Flag,
    rejected: Tally,
    gone_at_gate: Tally,
    start_delay: Buckets,
    /// By slot and generation: the order in which inventory shows them.
    cells: RwLock<BTreeMap<WorkerId, Arc<Cell>>>,
    /// By slot, its latest generation. Not loom's lock: nothing of a model runs while it is held.
    generations: parking_lot::Mutex<Vec<u32>>,
    due: tick::Due,
    scene: Mutex<Option<Arc<Scene>>>,
    /// What ended the last worker that ended by a fault, as text.
    last_fault: Mutex<Option<(WorkerId, Arc<str>)>>,
    ailment: Mutex<health::Ailment>,
    /// Slots that are empty because a hook denied a start: some of `cooling`.
    vetoed: Mutex<Option<VetoedStarts>>,
    /// Slots that are empty because a hook has put a start off. They count as startable.
    delayed: Mutex<Option<DelayedStarts>>,
    bell: bell::Bell,
    /// Labels under whose jobs workers were lost.
    labels: Mutex<Labels>,
    /// Some label is kept out. Written under that lock.
    keeps_out: Flag,
    /// Jobs that never began, if whoever ends the pool wants them back.
    unstarted: Mutex<Option<Unstarted<J>>>,
    /// One worker spins before it parks.
    spinner: AtomicBool,
    /// One thread that waits for an outcome does, too.
    #[cfg(not(millpond_loom))]
    listener: AtomicBool,
    port: Box<dyn ControlPort>,
    registered: Registered,
}

impl<J: ?Sized + Envelope> Plane<J> {
    pub(crate) fn new(mut config: PoolConfig, port: Box<dyn ControlPort>) -> Arc<Self> {
        // What is in force is what they can be changed to.
        let lanes: Box<[_]> = std::mem::take(&mut config.lanes).into_iter().map(LaneState::new).collect();
        let count = lanes.len();
        let shards = config.limits.max.next_power_of_two().min(SHARDS);
        let inbox_lanes = (0..count)
            .map(|_| InboxLane { jobs: Line::default(), waiters: Line::default(), granted: 0, gone_seen: 0 })
            .collect();
        Arc::new_cyclic(|weak: &Weak<Self>| Self {
            registered: Registered::new(weak.clone() as Weak<dyn Recalls>),
            clock: config.clock.clone(),
            counts: Padded(Counts::new(count)),
            ready: Padded(Counted::new(
                count,
                Ready {
                    lanes: (0..count).map(|_| Line::default()).collect(),
                    moved: vec![0; count],
                    cursor: 0,
                    dispatches: true,
                    waiters: false,
                    in_debt: false,
                    lets_one_go: false,
                    resting: BTreeMap::new(),
                    lent: BTreeMap::new(),
                },
            )),
            inbox: Padded(Counted::new(
                count,
                Inbox {
                    gate: Gate::Open,
                    gate_since: config.clock.now(),
                    lanes: inbox_lanes,
                    idle: idle::Idle::default(),
                    searching: 0,
                    next_id: 0,
                    min_idle: config.limits.min_idle,
                    asked: 0,
                    demanded: false,
                },
            )),
            reserves: Flag::new(lanes.iter().any(|lane| lane.spec.reserve() > 0)),
            calm: AtomicBool::new(false),
            calmly: Padded(Calmly { taken: Tally::new(0), shard: Shard::new(count) }),
            max: Count::new(config.limits.max),
            cooling: Count::new(0),
            empty: Count::new(0),
            given_up: Count::new(0),
            limits: Mutex::new(config.limits),
            shards: (0..shards).map(|_| Padded(Shard::new(count))).collect(),
            aside: Shard::new(count),
            refuses: Flag::new(false),
            rejected: Tally::new(0),
            gone_at_gate: Tally::new(0),
            start_delay: Buckets::default(),
            cells: RwLock::new(BTreeMap::new()),
            generations: parking_lot::Mutex::default(),
            due: tick::Due::default(),
            scene: Mutex::new(None),
            last_fault: Mutex::new(None),
            ailment: Mutex::new(health::Ailment::default()),
            vetoed: Mutex::new(None),
            delayed: Mutex::new(None),
            bell: bell::Bell::default(),
            labels: Mutex::new(Labels::new(config.name.clone(), config.quarantine)),
            keeps_out: Flag::new(false),
            unstarted: Mutex::new(None),
            spinner: AtomicBool::new(false),
            #[cfg(not(millpond_loom))]
            listener: AtomicBool::new(false),
            lanes,
            config,
            port,
        })
    }

    /// By which handles find this plane.
    pub(crate) fn number(&self) -> PoolNo {
        self.registered.number()
    }

    pub(crate) fn lane(&self, lane: LaneId) -> &LaneState {
        &self.lanes[lane.index()]
    }

    pub(crate) fn lane_named(&self, name: &str) -> Option<LaneId> {
        let index = self.lanes.iter().position(|lane| &*lane.spec.name == name)?;
        u16::try_from(index).ok().map(LaneId)
    }

    fn has_reserves(&self) -> bool {
        self.reserves.load(Ordering::Relaxed)
    }

    /// Jobs ever admitted to a lane.
    pub(crate) fn pushed(&self, lane: usize) -> u64 {
        self.inbox.count(lane)
    }

    /// Jobs that workers ever took from a lane, less those that were put back.
    fn taken(&self, lane: usize) -> u64 {
        // One that was put back may have been taken by the other way.
        self.ready.count(lane).wrapping_add(self.calmly.taken.load(Ordering::Acquire))
    }

    /// Jobs that ever left a lane's queue. Never goes down by more than was put back.
    fn gone(&self, lane: usize) -> u64 {
        self.lanes[lane].withdrawn() + self.taken(lane)
    }

    /// Jobs of a lane that wait for a worker. Exact under both locks; without them it may be too high, never too low for long.
    pub(crate) fn queued(&self, lane: usize) -> usize {
        // Those that go down are read first, so that a job admitted and taken meanwhile does not make the difference negative.
        let gone = self.gone(lane);
        usize::try_from(self.pushed(lane).saturating_sub(gone)).unwrap_or(usize::MAX)
    }

    /// The same without those that rest, or are lent, and so cannot start now. Exact under both locks.
    pub(crate) fn queued_awake(&self, lane: usize) -> usize {
        let state = &self.lanes[lane];
        self.queued(lane).saturating_sub(state.resting() + state.lent())
    }

    /// Jobs of all lanes that wait for a worker.
    pub(crate) fn all_queued(&self) -> u64 {
        (0..self.lanes.len()).map(|lane| self.queued(lane) as u64).sum()
    }

    /// The copy that worker `slot` counts in.
    fn shard(&self, slot: usize) -> &Shard {
        // There are a power of two of them.
        &self.shards[slot & (self.shards.len() - 1)]
    }

    /// All of them, to be summed up.
    fn all_shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().map(|shard| &shard.0).chain([&self.calmly.shard, &self.aside])
    }

    /// Counts the end of a job, apart from a turnover. Always before its outcome is published, or who awaits it and reads the
    /// ledger is surprised.
    fn count(&self, ended: Ended) {
        self.aside.ended[ended.index()].fetch_add(1, Ordering::SeqCst);
        if ended == Ended::Expired {
            self.bell.ring(&*self.port);
        }
    }

    /// Hands a payload that nobody ran to whoever may be blocked by its drop.
    fn discard(&self, job: Share<dyn Envelope>, key: Option<ClaimKey>) {
        if let Some(key) = key {
            self.port.discard(Garbage::new(job, key));
        }
    }

    /// Who holds the workers now. One scene serves a whole tick, however many errors carry it.
    pub(crate) fn scene(&self, now: Timestamp) -> Arc<Scene> {
        if let Some(scene) = &*self.scene.lock()
            && !self.clock.is_settable()
            && now.since(scene.at) < tick::TICK
        {
            return scene.clone();
        }
        let quiesced_since = {
            let inbox = self.inbox.lock();
            (inbox.gate == Gate::Quiesced).then_some(inbox.gate_since)
        };
        let vetoed = self.vetoed();
        let slots =
            self.cooling.load(Ordering::Acquire).saturating_sub(vetoed.as_ref().map_or(0, |vetoed| vetoed.slots));
        let cooling = (slots > 0).then(|| Cooling { slots, last_fault: self.last_fault.lock().clone() });
        let scene = Arc::new(Scene::of(&self.inventory(now), quiesced_since, cooling, (vetoed, self.delayed())));
        *self.scene.lock() = Some(scene.clone());
        scene
    }

    /// What a scene tells has changed: the one that serves this tick is not to be shown any more.
    fn change_scene(&self) {
        *self.scene.lock() = None;
    }

    fn full(&self, lane: LaneId, now: Timestamp) -> RejectReason {
        let scene = self.scene(now);
        let name = self.lane(lane).spec.name.clone();
        if self.is_lost_to_abandoned() {
            return RejectReason::SaturatedByAbandoned { lane: name, cap: self.abandoned_cap(), scene };
        }
        RejectReason::Full { lane: name, scene }
    }
}

impl Shard {
    fn new(lanes: usize) -> Self {
        Self {
            ended: std::array::from_fn(|_| Tally::new(0)),
            queue_wait: (0..lanes).map(|_| Buckets::default()).collect(),
            run_time: (0..lanes).map(|_| Buckets::default()).collect(),
            writer: Alone::default(),
        }
    }
}

impl<J: ?Sized + Envelope> std::fmt::Debug for Plane<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plane").field("pool", &self.config.name).finish_non_exhaustive()
    }
}
