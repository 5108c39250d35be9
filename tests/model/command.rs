//! What can be done to a pool, and which of it makes sense when.

use proptest::prelude::*;
use proptest::sample::select;

use crate::reference::{Model, Setup};

/// A job, by the number that it carries.
pub(crate) type No = u64;

/// Lanes: the unnamed one, and one that may have a reserve.
pub(crate) const LANES: [&str; 2] = ["default", "dns"];

/// Limits of a job, in milliseconds from its submission; the run limit from its claim.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) queue: Option<u64>,
    pub(crate) run: Option<u64>,
    pub(crate) deadline: Option<u64>,
}

/// What a hook says. Each allows all that it is not called after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    Allows,
    DeniesLimits,
    DeniesStarts,
    /// By [`DELAY`](crate::DELAY).
    DelaysStarts,
    DeniesExits,
    DeniesRecycling,
    /// By [`DELAY`](crate::DELAY).
    DelaysRecycling,
}

const MANNERS: [Manner; 7] = [
    Manner::Allows,
    Manner::DeniesLimits,
    Manner::DeniesStarts,
    Manner::DelaysStarts,
    Manner::DeniesExits,
    Manner::DeniesRecycling,
    Manner::DelaysRecycling,
];

#[derive(Clone, Debug)]
pub(crate) enum Command {
    Submit {
        lane: usize,
        terms: Terms,
    },
    /// Submits and, if there is no place, waits at the gate.
    Wait {
        lane: usize,
    },
    /// One that waits goes away.
    LeaveGate(No),
    Cancel(No),
    /// A job that its worker has claimed is begun.
    Begin(No),
    Finish(No),
    Panic(No),
    /// The worker of this job crashes.
    Die(No),
    DieIdle,
    /// By job, wherever it is.
    Kill(No),
    /// By worker, whatever it holds then.
    KillWorkerOf(No),
    KillIdle,
    /// A message about a claim that is over.
    KillStale,
    /// The worker leaves after this job.
    Stop(No),
    /// The code of an abandoned worker returns.
    Return(No),
    Resize {
        min: usize,
        max: usize,
    },
    /// Limits, bounds and reserve at once.
    Retune {
        min: usize,
        max: usize,
        capacity: [usize; LANES.len()],
        reserve: usize,
    },
    /// The same, with a reserve that does not fit: nothing of it is done.
    RetuneInVain {
        capacity: [usize; LANES.len()],
    },
    FailNextStart,
    /// The next start takes its time.
    HoldNextStart,
    /// One that takes its time is over.
    ComeUp,
    Quiesce,
    Resume,
    /// From now on a hook is asked. It takes the place of one before it.
    Hook(Manner),
    /// Nobody is asked any more.
    NoHook,
    /// Milliseconds.
    Advance(u64),
}

pub(crate) fn setups() -> BoxedStrategy<Setup> {
    let limits = (0..=3usize, 1..=4usize);
    // No multiples of ten: see `ADMISSION_LIMIT`.
    let idle_timeout = prop::option::of(select(vec![57, 333]));
    let min_idle = prop_oneof![2 => Just(0), 1 => 1..=2usize];
    let idling = (idle_timeout, min_idle);
    // Advances by tens are seldom in the last quarter of such an age.
    let recycle = (prop::option::of(1..=3u64), prop_oneof![2 => Just(None), 1 => Just(Some(59))]);
    (limits, [0..=3usize, 0..=2usize], 0..=1usize, 0..=2usize, any::<bool>(), idling, recycle)
        .prop_map(|((min, max), capacity, reserve, abandoned_cap, killable, (idle_timeout, min_idle), recycle)| {
            let (min, max) = fit(min, max.max(min_idle), reserve);
            let (after_jobs, after_age) = recycle;
            // Whether one that comes in another's place idles, so that there are enough of those, before that one idles out is a matter of threads.
            let recycles = after_jobs.is_some() || after_age.is_some();
            let idle_timeout = idle_timeout.filter(|_| !recycles || min_idle == 0);
            Setup {
                min,
                max,
                capacity,
                reserve,
                abandoned_cap,
                killable,
                idle_timeout,
                min_idle,
                after_jobs,
                after_age,
            }
        })
        .boxed()
}

/// Limits that the reserve fits into.
fn fit(min: usize, max: usize, reserve: usize) -> (usize, usize) {
    let max = max.max(reserve + 1);
    (min.clamp(reserve, max), max)
}

fn terms() -> impl Strategy<Value = Terms> {
    let limit = || prop_oneof![3 => Just(None), 1 => select(vec![50, 300]).prop_map(Some)];
    // So short that no moment lies in its last quarter, from when on the newest goes first.
    let deadline = prop_oneof![5 => Just(None), 1 => Just(Some(20))];
    (limit(), limit(), deadline).prop_map(|(queue, run, deadline)| Terms { queue, run, deadline })
}

/// What may be done now.
pub(crate) fn commands(model: &Model) -> BoxedStrategy<Command> {
    let (reserve, min_idle) = (model.setup.reserve, model.setup.min_idle);
    let mut choices: Vec<(u32, BoxedStrategy<Command>)> = vec![
        (20, (0..LANES.len(), terms()).prop_map(|(lane, terms)| Command::Submit { lane, terms }).boxed()),
        (4, (0..LANES.len()).prop_map(|lane| Command::Wait { lane }).boxed()),
        (8, select(vec![10, 60, 400, 1000]).prop_map(Command::Advance).boxed()),
        (1, Just(Command::KillStale).boxed()),
        (if reserve == 0 { 2 } else { 0 }, Just(Command::FailNextStart).boxed()),
        (2, Just(Command::HoldNextStart).boxed()),
        (if model.coming.is_empty() { 0 } else { 4 }, Just(Command::ComeUp).boxed()),
        (1, Just(if model.quiesced { Command::Resume } else { Command::Quiesce }).boxed()),
        (if model.quiesced { 3 } else { 0 }, Just(Command::Resume).boxed()),
        (2, Just(Command::DieIdle).boxed()),
        (2, Just(Command::KillIdle).boxed()),
    ];
    let resize = (0..=4usize, 1..=4usize).prop_map(move |(min, max)| {
        let (min, max) = fit(min, max.max(min_idle), reserve);
        Command::Resize { min, max }
    });
    choices.push((3, resize.boxed()));
    let bounds = || [0..=3usize, 0..=2usize];
    let retune = (0..=4usize, 1..=4usize, bounds(), 0..=2usize).prop_map(move |(min, max, capacity, reserve)| {
        let (min, max) = fit(min, max.max(min_idle), reserve);
        Command::Retune { min, max, capacity, reserve }
    });
    choices.push((4, retune.boxed()));
    choices.push((1, bounds().prop_map(|capacity| Command::RetuneInVain { capacity }).boxed()));
    choices.push((4, select(&MANNERS[..]).prop_map(Command::Hook).boxed()));
    choices.push((if model.hook.is_some() { 2 } else { 0 }, Just(Command::NoHook).boxed()));
    let mut among = |weight, jobs: Vec<No>, command: fn(No) -> Command| {
        if !jobs.is_empty() {
            choices.push((weight, select(jobs).prop_map(command).boxed()));
        }
    };
    let running = model.running();
    among(12, running.clone(), Command::Finish);
    among(2, running.clone(), Command::Panic);
    among(3, running.clone(), Command::Die);
    among(2, running.clone(), Command::KillWorkerOf);
    among(2, running.clone(), Command::Stop);
    among(4, running.into_iter().filter(|no| model.is_unbegun(*no)).collect(), Command::Begin);
    among(4, model.open_jobs(), Command::Kill);
    among(3, model.open_jobs(), Command::Cancel);
    among(2, model.at_gate(), Command::LeaveGate);
    among(3, model.abandoned.clone(), Command::Return);
    choices.retain(|(weight, _)| *weight > 0);
    proptest::strategy::Union::new_weighted(choices).boxed()
}

/// True if `command` makes sense now: shrinking takes away what came before.
pub(crate) fn makes_sense(model: &Model, command: &Command) -> bool {
    match command {
        Command::Submit { .. } | Command::KillStale | Command::RetuneInVain { .. } => true,
        Command::Hook(manner) => takes_hook(model, *manner),
        Command::NoHook => model.hook.is_some(),
        // A place that was promised for a start to come is kept, although the start fails: who was quicker is a matter of threads.
        Command::Wait { .. } => model.refusals == 0 && !model.denies_starts(),
        // What a tick does by itself and what control does on its word have no order among each other.
        Command::Advance(span) => model.due_with(*span) <= 1 && model.is_sure_of_ages(*span),
        Command::LeaveGate(no) => model.at_gate().contains(no),
        Command::Cancel(no) | Command::Kill(no) => model.open_jobs().contains(no),
        Command::Begin(no) => model.is_unbegun(*no),
        // Whether who idles or who comes up takes what is queued is the policy's pace.
        Command::Die(no) => {
            let alone = model.queued() == 0 && !model.is_unbegun(*no);
            model.running().contains(no) && !model.holds_starts_up() && (alone || !model.minds_who())
        }
        Command::Finish(no) | Command::Panic(no) | Command::KillWorkerOf(no) | Command::Stop(no) => {
            model.running().contains(no)
        }
        Command::Return(no) => model.abandoned.contains(no),
        Command::DieIdle => {
            let alone = model.queued() == 0 || !model.minds_who();
            model.somebody_idles_longest() && !model.holds_starts_up() && alone
        }
        Command::KillIdle => model.somebody_idles_longest(),
        // Which slots cool down decides what a shrink cuts off; which worker came up in which slot is a matter of threads.
        Command::Resize { min, max } => {
            let reserve = model.setup.reserve;
            model.takes_limits() && reserve <= *min && min <= max && reserve < *max
        }
        Command::Retune { min, max, reserve, .. } => {
            model.takes_limits() && reserve <= min && min <= max && reserve < max
        }
        // With a reserve it matters whether a worker that was woken looks before or after a start has failed. The end of a history waits for such a slot, and
        // cannot choose a moment at which it is certain who is too old.
        Command::FailNextStart => {
            let nobody_waits = model.at_gate().is_empty() && !model.holds_starts_up();
            let in_time = model.setup.after_age.is_none();
            let alone = !model.has_slow_starts();
            model.setup.reserve == 0 && !model.quiesced && model.refusals < 2 && nobody_waits && in_time && alone
        }
        // That it is too old once it is up is found late.
        Command::HoldNextStart => !model.has_slow_starts() && model.refusals == 0 && model.setup.after_age.is_none(),
        Command::ComeUp => !model.coming.is_empty(),
        Command::Quiesce => !model.quiesced && model.all_starts_work() && !model.denies_starts(),
        Command::Resume => model.quiesced,
    }
}

/// True if it is certain where a hook of this manner leads.
fn takes_hook(model: &Model, manner: Manner) -> bool {
    let Model { setup, .. } = model;
    // While one is asked about the exit of a worker that is due, its turn may come.
    let certain = setup.idle_timeout.is_none() || !model.recycles();
    // Which slot is empty by a fault, so that nobody is asked about its next start, is a matter of threads.
    let holds_up = matches!(manner, Manner::DeniesStarts | Manner::DelaysStarts);
    // Nor can the end of a history, which waits for what was put off, choose a moment at which it is certain who is too old.
    let starts = model.refusals == 0 && !model.unasked && setup.after_age.is_none();
    // As with starts that fail, who waits at the gate is promised places that are not to be. For `min` or spares alone it is not asked again and again.
    let for_itself = model.min + setup.min_idle > 0;
    let nobody_waits = !for_itself && !model.quiesced && model.at_gate().is_empty();
    certain && (starts || !holds_up) && (nobody_waits || manner != Manner::DeniesStarts)
}
