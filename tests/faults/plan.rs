//! Which faults there are, and in which order: a function of the seed and nothing else.

use std::collections::BTreeMap;

/// The largest `max` of any resize; the smallest has room for the reserve and one more.
pub const LARGEST: usize = 6;
/// Seats that the lane `reserved` has for itself.
pub const RESERVE: usize = 1;
/// Hooks have one of these names.
pub const HOOKS: [&str; 3] = ["ada", "bob", "cem"];

/// How long what is broken on purpose stays so, in steps.
const MENDED_WITHIN: usize = 12;

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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Panic,
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
    Resume,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Fault(Fault),
    /// Takes back a fault that would keep the pool from working for good.
    Mend(Mend),
}

/// So many faults, and what mends some of them.
pub struct Plan(Vec<Step>);

impl Plan {
    pub fn new(seed: u64, faults: u64) -> Self {
        let mut noise = Noise::new(seed);
        let (mut steps, mut due) = (Vec::new(), BTreeMap::<usize, Vec<Mend>>::new());
        for _ in 0..faults {
            while let Some(mends) = due.first_entry().filter(|entry| *entry.key() <= steps.len()) {
                steps.extend(mends.remove().into_iter().map(Step::Mend));
            }
            let fault = fault(&mut noise);
            steps.push(Step::Fault(fault));
            if let Some(mend) = mend(fault) {
                let at = steps.len() + noise.below(MENDED_WITHIN as u64) as usize;
                due.entry(at).or_default().push(mend);
            }
        }
        Self(steps)
    }

    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.0.iter().copied()
    }
}

fn mend(fault: Fault) -> Option<Mend> {
    match fault {
        Fault::Hook(name, ..) => Some(Mend::RemoveHook(name)),
        Fault::Policy(rule) if rule != Rule::Sound => Some(Mend::SoundPolicy),
        Fault::Quiesce => Some(Mend::Resume),
        _ => None,
    }
}

fn fault(noise: &mut Noise) -> Fault {
    match noise.below(100) {
        0..15 => Fault::Panic,
        15..23 => Fault::Stubborn(5 + noise.below(40)),
        23..40 => Fault::Kill(aim(noise)),
        40..50 => Fault::Ladder(aim(noise)),
        50..58 => Fault::Crash(noise.below(LARGEST as u64) as usize),
        58..68 => {
            let failure = noise.of(&[Failure::Refused, Failure::Refused, Failure::Dead, Failure::Hangs]);
            Fault::FailStarts(failure, 1 + noise.below(2) as usize)
        }
        68..78 => {
            let habits = [
                Habit::Allows,
                Habit::Denies,
                Habit::Delays,
                Habit::Panics,
                Habit::Hangs,
                Habit::Hangs,
                Habit::Blocks,
                Habit::CallsBack,
            ];
            let patience = noise.of(&[Patience::Short, Patience::Short, Patience::Endless]);
            Fault::Hook(noise.below(HOOKS.len() as u64) as usize, noise.of(&habits), patience)
        }
        78..85 => Fault::Policy(noise.of(&[
            Rule::Sound,
            Rule::AtOnce,
            Rule::CoolsDown,
            Rule::GivesUp,
            Rule::Panics,
            Rule::Hangs,
            Rule::Nonsense,
            Rule::CallsBack,
        ])),
        85..98 => {
            let max = RESERVE as u64 + 1 + noise.below((LARGEST - RESERVE) as u64);
            let min = RESERVE as u64 + noise.below(max - RESERVE as u64 + 1);
            Fault::Resize { min: min as usize, max: max as usize }
        }
        _ => Fault::Quiesce,
    }
}

fn aim(noise: &mut Noise) -> Aim {
    let which = noise.below(LARGEST as u64) as usize;
    match noise.below(20) {
        0..6 => Aim::Worker(which),
        6..12 => Aim::Job(which),
        12..15 => Aim::Old,
        15..18 => Aim::Label,
        18 => Aim::Lane,
        _ => Aim::All,
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
    for fault in ["Panic", "Stubborn", "Kill", "Ladder", "Crash", "FailStarts", "Hook", "Policy", "Resize", "Quiesce"] {
        assert!(words(plan(7)).iter().any(|word| word.starts_with(&format!("Fault({fault}"))), "{fault}");
    }
    assert_eq!(plan(7).iter().filter(|step| matches!(step, Step::Fault(_))).count(), 1_000);
}
