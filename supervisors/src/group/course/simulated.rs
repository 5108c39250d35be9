//! Random histories of a group on simulated time, held against what it promises.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use millpond::Timestamp;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generates;
use ractor::{ActorId, ActorStatus};

use super::{Act, Course, End, Intensity, Known, Rules, State};
use crate::group::Strategy;

#[derive(Clone, Debug)]
struct Pool {
    id: ActorId,
    status: Rc<Cell<ActorStatus>>,
}

impl Known for Pool {
    fn id(&self) -> ActorId {
        self.id
    }

    fn status(&self) -> ActorStatus {
        self.status.get()
    }
}

/// A start that has not ended.
#[derive(Debug)]
struct Start {
    member: usize,
    generation: u64,
    is_overdue: bool,
}

/// A pool that has not ended.
#[derive(Debug)]
struct There {
    pool: Pool,
    member: usize,
    /// Its start has told the group of it.
    is_known: bool,
    is_told_to_stop: bool,
    /// Somebody shuts it down.
    is_wanted: bool,
    /// It was told to dispatch nothing. It comes up open.
    is_quiesced: bool,
}

/// What may happen next, each to one of those to whom it can.
#[derive(Clone, Copy, Debug)]
enum Move {
    ComesUp,
    Fails,
    IsOverdue,
    IsTold,
    BeginsToEnd {
        wanted: bool,
    },
    Ends,
    Rests,
    HasHadItsTime,
    /// Somebody has all pause, or go on.
    Gate {
        quiesced: bool,
    },
}

struct World {
    course: Course<Pool>,
    now: Timestamp,
    pools: u64,
    starts: Vec<Start>,
    there: Vec<There>,
    /// By generation: what is about to be told of.
    arriving: Vec<(usize, u64, Pool)>,
    resting: Vec<usize>,
    awaited: Vec<ActorId>,
    done: Vec<usize>,
    ordered: bool,
    quiesced: bool,
}

impl World {
    fn new(strategy: Strategy) -> Self {
        let intensity = Intensity { most: usize::MAX, within: Duration::from_secs(1) };
        let rules = Rules { strategy, intensity, start_limit: Duration::from_secs(1) };
        let course = Course::new(rules, ["a", "b", "c"].map(str::to_owned).into_iter());
        let ordered = !matches!(strategy, Strategy::OneForOne);
        let (now, starts, there, arriving) = (Timestamp::default(), Vec::new(), Vec::new(), Vec::new());
        let (resting, awaited, done) = (Vec::new(), Vec::new(), Vec::new());
        let mut world =
            Self { course, now, pools: 0, starts, there, arriving, resting, awaited, done, ordered, quiesced: false };
        world.course.start_due(world.now);
        world.act();
        world
    }

    /// One step, to the `which`th of those it can happen to. Whether there was one.
    fn step(&mut self, which: usize, next: Move) -> bool {
        let pick = |len: usize| which.checked_rem(len);
        self.now = self.now.after(Duration::from_millis(10));
        match next {
            Move::ComesUp => pick(self.starts.len()).map(|at| self.comes_up(at)),
            Move::Fails => pick(self.starts.len()).map(|at| {
                let Start { member, generation, .. } = self.starts.swap_remove(at);
                self.course.on_started((member, generation), Err("no such device".to_owned()), self.now)
            }),
            Move::IsOverdue => pick(self.starts.len()).filter(|at| !self.starts[*at].is_overdue).map(|at| {
                let Start { member, generation, is_overdue } = &mut self.starts[at];
                *is_overdue = true;
                self.course.on_overdue((*member, *generation), self.now)
            }),
            Move::IsTold => pick(self.arriving.len()).map(|at| self.is_told(at)),
            Move::BeginsToEnd { wanted } => pick(self.there.len()).map(|at| {
                self.there[at].is_wanted |= wanted && self.there[at].pool.status() == ActorStatus::Running;
                self.there[at].pool.status.set(ActorStatus::Stopping);
                Ok(())
            }),
            Move::Ends => {
                let ending = |there: &&There| there.pool.status() == ActorStatus::Stopping;
                let ending: Vec<_> = self.there.iter().filter(ending).map(|there| there.pool.id).collect();
                pick(ending.len()).map(|at| self.ends(ending[at]))
            }
            Move::Rests => pick(self.resting.len()).map(|at| {
                let member = self.resting.swap_remove(at);
                self.course.on_rested(member, self.now);
                Ok(())
            }),
            Move::HasHadItsTime => {
                let told = self.there.iter().filter(|there| there.is_told_to_stop).map(|there| there.pool.id);
                let told: Vec<_> = told.collect();
                pick(told.len()).map(|at| {
                    let told = self.there.iter().find(|there| there.pool.id == told[at]).expect("it is there");
                    // A kill works here, and nobody is looked at again after it.
                    let is_killed = told.pool.status() == ActorStatus::Stopping;
                    if is_killed { Ok(()) } else { self.course.on_still_there(told.pool.id, self.now) }
                })
            }
            Move::Gate { quiesced } => {
                self.course.set_quiesced(quiesced);
                self.quiesced = quiesced;
                let up: Vec<_> = (0..3).filter_map(|member| self.course.pool(member)).map(Known::id).collect();
                let told = self.there.iter_mut().filter(|there| up.contains(&there.pool.id));
                told.for_each(|there| there.is_quiesced = quiesced);
                Some(Ok(()))
            }
        }
        .map(|went| went.expect("it puts up with everything"))
        .map(|()| self.act())
        .is_some()
    }

    fn comes_up(&mut self, at: usize) -> Result<(), String> {
        let Start { member, generation, .. } = self.starts.swap_remove(at);
        self.pools += 1;
        let pool = Pool { id: ActorId::Local(self.pools), status: Rc::new(Cell::new(ActorStatus::Running)) };
        self.arriving.push((member, generation, pool.clone()));
        let [is_known, is_told_to_stop, is_wanted, is_quiesced] = [false; 4];
        self.there.push(There { pool, member, is_known, is_told_to_stop, is_wanted, is_quiesced });
        Ok(())
    }

    fn is_told(&mut self, at: usize) -> Result<(), String> {
        let (member, generation, pool) = self.arriving.remove(at);
        let standing = &self.course.members[member];
        let takes = standing.awaits(generation) && matches!(standing.state, State::Starting);
        let was_shut_down = self.course.early.contains(&(pool.id, End::Wanted));
        if let Some(there) = self.there.iter_mut().find(|there| there.pool.id == pool.id) {
            there.is_known = true;
        }
        self.course.on_started((member, generation), Ok(pool), self.now)?;
        if takes && was_shut_down {
            self.done.push(member);
        }
        Ok(())
    }

    fn ends(&mut self, id: ActorId) -> Result<(), String> {
        let at = self.there.iter().position(|there| there.pool.id == id).expect("it is there");
        let There { pool, member, is_wanted, .. } = self.there.swap_remove(at);
        let was_up = self.course.members[member].has(id);
        let end = if is_wanted { End::Wanted } else { End::Failed("it was stopped".to_owned()) };
        self.course.on_end(id, end, self.now)?;
        pool.status.set(ActorStatus::Stopped);
        if was_up && is_wanted {
            self.done.push(member);
        }
        if self.awaited.contains(&id) {
            self.course.on_gone(id, self.now)?;
        }
        Ok(())
    }

    /// Does what is to be done, and looks whether it may be.
    fn act(&mut self) {
        for act in self.course.take_acts() {
            match act {
                Act::Start { member, generation } => self.start(member, generation),
                Act::Rest { member } => self.resting.push(member),
                Act::Stop { pool, .. } => {
                    let told = self.there.iter_mut().find(|there| there.pool.id == pool.id).expect("it is there");
                    told.is_told_to_stop = true;
                }
                Act::Kill { pool } => pool.status.set(ActorStatus::Stopping),
                Act::Await { pool } => self.awaited.push(pool.id),
                Act::Quiesce { pool } => {
                    let told = self.there.iter_mut().find(|there| there.pool.id == pool.id).expect("it is there");
                    told.is_quiesced = true;
                }
            }
        }
        for There { pool, member, is_quiesced, .. } in &self.there {
            // One that is on its way out as it comes up is told nothing.
            let is_up = self.course.members[*member].has(pool.id) && pool.status() == ActorStatus::Running;
            assert!(!is_up || *is_quiesced == self.quiesced, "{pool:?} does as the group was told last");
        }
        for There { pool, member, is_told_to_stop, .. } in self.there.iter().filter(|there| there.is_known) {
            assert!(*is_told_to_stop || self.course.members[*member].has(pool.id), "{pool:?} is nobody's");
        }
        assert!(self.course.early.len() <= self.arriving.len(), "ends are kept that nobody will ask for");
    }

    fn start(&mut self, member: usize, generation: u64) {
        assert!(!self.done.contains(&member), "{member} was shut down");
        let known: Vec<_> = self.there.iter().filter(|there| there.is_known).collect();
        assert!(known.iter().all(|there| there.member != member), "{member} has a pool still");
        let twice = self.starts.iter().any(|start| start.member == member && !start.is_overdue);
        assert!(!twice, "{member} is being started already");
        if self.ordered {
            assert!(known.iter().all(|there| !there.is_told_to_stop), "somebody is to be gone first");
            let is_settled = |before| self.course.pool(before).is_some() || self.done.contains(&before);
            assert!((0..member).all(is_settled), "{member} comes up after those before it");
        }
        self.starts.push(Start { member, generation, is_overdue: false });
    }

    /// Nothing goes wrong any more.
    fn come_to_rest(&mut self) {
        let last = [Move::Ends, Move::IsTold, Move::ComesUp, Move::Rests, Move::HasHadItsTime];
        while last.into_iter().any(|next| self.step(0, next)) {
            assert!(self.now < Timestamp::default().after(Duration::from_secs(100)), "it never comes to rest");
        }
    }
}

fn moves() -> impl Generates<Value = Move> {
    prop_oneof![
        4 => Just(Move::ComesUp),
        1 => Just(Move::Fails),
        1 => Just(Move::IsOverdue),
        4 => Just(Move::IsTold),
        1 => any::<bool>().prop_map(|wanted| Move::BeginsToEnd { wanted }),
        2 => Just(Move::Ends),
        2 => Just(Move::Rests),
        1 => Just(Move::HasHadItsTime),
        1 => any::<bool>().prop_map(|quiesced| Move::Gate { quiesced }),
    ]
}

#[test]
fn a_start_that_fails_beside_one_that_was_given_up_says_so() {
    let intensity = Intensity { most: 1, within: Duration::from_secs(60) };
    let rules = Rules { strategy: Strategy::OneForOne, intensity, start_limit: Duration::from_secs(1) };
    let mut course = Course::<Pool>::new(rules, ["db".to_owned()].into_iter());
    let at = |seconds| Timestamp::default().after(Duration::from_secs(seconds));
    course.start_due(at(0));
    course.on_overdue((0, 1), at(1)).expect("one is put up with");
    course.on_rested(0, at(3));
    let why = course.on_started((0, 2), Err("its name is taken".to_owned()), at(4)).expect_err("two are too many");
    assert!(why.contains("`db`: its name is taken; a start of it that was given up 3s ago has not ended"), "{why}");
    // Once that has ended, it is no reason any more.
    let mut course = Course::<Pool>::new(rules, ["db".to_owned()].into_iter());
    course.start_due(at(0));
    course.on_overdue((0, 1), at(1)).expect("one is put up with");
    course.on_started((0, 1), Err("no such device".to_owned()), at(2)).expect("it was given up");
    course.on_rested(0, at(3));
    let why = course.on_started((0, 2), Err("its name is taken".to_owned()), at(4)).expect_err("two are too many");
    assert!(why.ends_with("`db`: its name is taken"), "{why}");
}

proptest! {
    #[test]
    fn a_group_starts_whom_it_should_and_nobody_else_and_comes_to_rest(
        strategy in prop_oneof![Just(Strategy::OneForOne), Just(Strategy::OneForAll), Just(Strategy::RestForOne)],
        history in prop::collection::vec((0usize..8, moves()), 1..80),
    ) {
        let mut world = World::new(strategy);
        for (which, next) in history {
            world.step(which, next);
        }
        world.come_to_rest();
        for member in 0..3 {
            let is_up = world.course.pool(member).is_some();
            prop_assert!(is_up != world.done.contains(&member), "{member} is up, or was shut down");
        }
        prop_assert!(world.course.members.iter().all(|member| member.leaving.is_empty() && member.given_up.is_empty()));
        prop_assert!(world.course.early.is_empty());
    }
}
