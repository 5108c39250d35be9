//! Which faults there are, and in which order: a function of the seed and nothing else.

use std::collections::BTreeMap;

/// The largest `max` of any resize; the smallest has room for the reserve and one more.
pub const LARGEST: usize = 6;
/// Seats that the lane `reserved` has for itself.
pub const RESERVE: usize = 1;
/// Hooks have one of these names.
pub const HOOKS: [&str; 3] = ["ada", "bob", "cem"];

/// How long at most what is broken on purpose stays so, in steps: what holds up the pool, and what does not.
const SHORT: usize = 12;
const LONG: usize = 30;

/// SplitMix64: the same numbers for the same seed.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    pub fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// What a hook does when it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Habit {
    Allows,
    Denies,
    Delays,
    Panics,
    /// Never answers.
    Hangs,
    /// The same, and blocks its thread.
    Blocks,
    /// Asks the pool before it answers.
    CallsBack,
}

/// What a restart policy does when it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Restarts after a moment.
    Sound,
    AtOnce,
    CoolsDown,
    GivesUp,
    Panics,
    Hangs,
    /// Restarts in a century.
    Nonsense,
    /// Asks the pool before it decides.
    CallsBack,
}

/// How a start fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The system refuses it.
    Refused,
    /// It is dead before it is ready.
    Dead,
    /// It is never ready.
    Hangs,
}

/// Whom a kill is aimed at; numbers count round those that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aim {
    /// A worker, whatever it holds when the message comes.
    Worker(usize),
    /// The job that some worker holds.
    Job(usize),
    /// The claims that workers held some faults ago: most of them are over.
    Old,
    Label,
    Lane,
    All,
}

/// What an autoscaler wants when it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Something else each time.
    Wavers,
    WantsAll,
    /// Zero workers.
    WantsNone,
    Panics,
    Hangs,
    /// Asks the pool before it decides.
    CallsBack,
}

/// What a retune changes. No reserve is ever less than [`RESERVE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Reserve(usize),
    /// The queue of the lane `direct`, which has none otherwise.
    Room(usize),
    /// The run limit of the lane `direct`, in milliseconds; 0: none.
    RunLimit(u64),
    /// How long jobs of the lane `default` may make no progress; 0: for ever.
    Span(u64),
    NoWatchdog,
    Scale(Scale),
    /// Limits and a reserve that goes with them.
    Together {
        min: usize,
        max: usize,
    },
    /// Limits, and something about a lane that is not there: nothing of it is to be made.
    Absurd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Panic,
    /// A job that makes no progress for longer than it may, and ends when it is asked to, or does not.
    Silent {
        obeys: bool,
    },
    /// A job that holds its thread for so many milliseconds, whatever it is told.
    Stubborn(u64),
    Kill(Aim),
    /// Cancel, stop, kill.
    Ladder(Aim),
    /// Somebody kills the actor of a worker, or that which looks after it.
    Crash(usize),
    FailStarts(Failure, usize),
    Hook(usize, Habit, Patience),
    Policy(Rule),
    Resize {
        min: usize,
        max: usize,
    },
    Retune(Change),
    Quiesce,
}

/// How long the pool waits for a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    Short,
    /// Longer than any wait of this test: whoever waits for this hook waits until it is gone.
    Endless,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mend {
    RemoveHook(usize),
    SoundPolicy,
    NoAutoscaler,
    Watchdog,
    Resume,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Fault(Fault),
    /// Takes back a fault that would keep the pool from working for good.
    Mend(Mend),
}

/// Deals all its cards in random order, then all again: each comes up as often as any other.
struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    fn new(cards: &[T]) -> Self {
        Self { cards: cards.to_vec(), left: Vec::new() }
    }

    fn deal(&mut self, noise: &mut Noise) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.cards);
        }
        let at = noise.below(self.left.len() as u64) as usize;
        self.left.swap_remove(at)
    }
}

/// What the faults of a plan are taken from.
struct Dealer {
    noise: Noise,
    habits: Deck<Habit>,
    rules: Deck<Rule>,
    scales: Deck<Scale>,
    failures: Deck<Failure>,
    changes: Deck<fn(&mut Dealer) -> Change>,
}

impl Dealer {
    fn new(seed: u64) -> Self {
        use Habit::{Allows, Blocks, CallsBack, Delays, Denies, Hangs, Panics};
        Self {
            noise: Noise::new(seed),
            habits: Deck::new(&[Allows, Denies, Denies, Delays, Delays, Panics, Hangs, Hangs, Blocks, CallsBack]),
            rules: Deck::new(&[
                Rule::Sound,
                Rule::AtOnce,
                Rule::CoolsDown,
                Rule::GivesUp,
                Rule::Panics,
                Rule::Hangs,
                Rule::Nonsense,
                Rule::CallsBack,
            ]),
            scales: Deck::new(&[
                Scale::Wavers,
                Scale::WantsAll,
                Scale::WantsNone,
                Scale::Panics,
                Scale::Hangs,
                Scale::CallsBack,
            ]),
            failures: Deck::new(&[Failure::Refused, Failure::Dead, Failure::Hangs]),
            changes: Deck::new(&[
                |dealer| Change::Reserve(RESERVE + dealer.noise.below(2) as usize),
                |dealer| Change::Room(dealer.noise.of(&[0, 4])),
                |dealer| Change::RunLimit(dealer.noise.of(&[0, 2, 5])),
                |dealer| Change::Span(dealer.noise.of(&[0, 2, 5])),
                |_| Change::NoWatchdog,
                |_| Change::Absurd,
                |dealer| dealer.together(),
                |dealer| dealer.together(),
                |dealer| Change::Scale(dealer.scales.deal(&mut dealer.noise)),
                |dealer| Change::Scale(dealer.scales.deal(&mut dealer.noise)),
                |dealer| Change::Scale(dealer.scales.deal(&mut dealer.noise)),
                |dealer| Change::Scale(dealer.scales.deal(&mut dealer.noise)),
            ]),
        }
    }

    fn which(&mut self, of: usize) -> usize {
        self.noise.below(of as u64) as usize
    }

    /// A `min` and a `max` that go with the reserve.
    fn sizes(&mut self) -> (usize, usize) {
        let max = RESERVE + 1 + self.which(LARGEST - RESERVE);
        (RESERVE + self.which(max - RESERVE + 1), max)
    }

    fn together(&mut self) -> Change {
        let (min, max) = self.sizes();
        Change::Together { min, max }
    }

    fn fault(&mut self) -> Fault {
        match self.noise.below(100) {
            0..8 => Fault::Panic,
            8..15 => Fault::Silent { obeys: self.noise.one_in(2) },
            15..22 => Fault::Stubborn(5 + self.noise.below(40)),
            22..38 => Fault::Kill(self.aim()),
            38..47 => Fault::Ladder(self.aim()),
            47..55 => Fault::Crash(self.which(LARGEST)),
            55..65 => Fault::FailStarts(self.failures.deal(&mut self.noise), 1 + self.which(2)),
            65..75 => {
                let habit = self.habits.deal(&mut self.noise);
                let patience = self.noise.of(&[Patience::Short, Patience::Short, Patience::Endless]);
                Fault::Hook(self.which(HOOKS.len()), habit, patience)
            }
            75..83 => Fault::Policy(self.rules.deal(&mut self.noise)),
            83..89 => {
                let (min, max) = self.sizes();
                Fault::Resize { min, max }
            }
            89..98 => Fault::Retune((self.changes.deal(&mut self.noise))(self)),
            _ => Fault::Quiesce,
        }
    }

    /// What a restart policy is asked about.
    fn end_of_a_worker(&mut self) -> Fault {
        match self.noise.below(3) {
            0 => Fault::FailStarts(Failure::Dead, 1),
            _ => Fault::Crash(self.which(LARGEST)),
        }
    }

    /// What hooks are asked about.
    fn asked_about(&mut self) -> Fault {
        match self.noise.below(3) {
            0 => Fault::Silent { obeys: true },
            1 if self.noise.one_in(2) => {
                let (min, max) = self.sizes();
                Fault::Resize { min, max }
            }
            _ => Fault::Ladder(Aim::Worker(self.which(LARGEST))),
        }
    }

    fn aim(&mut self) -> Aim {
        let which = self.which(LARGEST);
        match self.noise.below(20) {
            0..6 => Aim::Worker(which),
            6..12 => Aim::Job(which),
            12..15 => Aim::Old,
            15..18 => Aim::Label,
            18 => Aim::Lane,
            _ => Aim::All,
        }
    }
}

/// What the next fault is to be: one that nobody meets while it is there would be none.
enum Occasion {
    ToAskHooks,
    ToAskThePolicy,
}

/// So many faults, and what mends some of them. A longer plan of the same seed begins as this one does.
pub struct Plan(Vec<Step>);

impl Plan {
    pub fn new(seed: u64, faults: u64) -> Self {
        let mut dealer = Dealer::new(seed);
        let (mut steps, mut due) = (Vec::new(), BTreeMap::<usize, Vec<Mend>>::new());
        let mut occasion = None;
        for _ in 0..faults {
            while let Some(mends) = due.first_entry().filter(|entry| *entry.key() <= steps.len()) {
                steps.extend(mends.remove().into_iter().map(Step::Mend));
            }
            let fault = match occasion.take() {
                Some(Occasion::ToAskHooks) => dealer.asked_about(),
                Some(Occasion::ToAskThePolicy) => dealer.end_of_a_worker(),
                None => dealer.fault(),
            };
            occasion = match fault {
                Fault::Hook(..) if dealer.noise.below(3) > 0 => Some(Occasion::ToAskHooks),
                Fault::Policy(_) => Some(Occasion::ToAskThePolicy),
                _ => None,
            };
            steps.push(Step::Fault(fault));
            if let Some((mend, within)) = mend(fault) {
                let at = steps.len() + dealer.which(within);
                due.entry(at).or_default().push(mend);
            }
        }
        Self(steps)
    }

    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.0.iter().copied()
    }
}

/// What takes back a fault, and within how many steps.
fn mend(fault: Fault) -> Option<(Mend, usize)> {
    match fault {
        Fault::Hook(name, _, Patience::Short) => Some((Mend::RemoveHook(name), LONG)),
        Fault::Hook(name, ..) => Some((Mend::RemoveHook(name), SHORT)),
        Fault::Policy(rule) if rule != Rule::Sound => Some((Mend::SoundPolicy, SHORT)),
        Fault::Retune(Change::Scale(_)) => Some((Mend::NoAutoscaler, LONG)),
        Fault::Retune(Change::NoWatchdog) => Some((Mend::Watchdog, SHORT)),
        Fault::Quiesce => Some((Mend::Resume, SHORT)),
        _ => None,
    }
}

#[test]
fn a_plan_depends_on_its_seed_alone_and_has_every_fault() {
    let plan = |seed| Plan::new(seed, 1_000).0;
    assert!(plan(7) == plan(7) && plan(7) != plan(8));
    let words = |steps: Vec<Step>| {
        let word = |step: &Step| format!("{step:?}").split(['{', ' ']).next().unwrap_or_default().to_owned();
        steps.iter().map(word).collect::<std::collections::BTreeSet<_>>()
    };
    for fault in [
        "Panic",
        "Silent",
        "Stubborn",
        "Kill",
        "Ladder",
        "Crash",
        "FailStarts",
        "Hook",
        "Policy",
        "Resize",
        "Retune",
        "Quiesce",
    ] {
        assert!(words(plan(7)).iter().any(|word| word.starts_with(&format!("Fault({fault}"))), "{fault}");
    }
    assert_eq!(plan(7).iter().filter(|step| matches!(step, Step::Fault(_))).count(), 1_000);
}
