//! The end of a history: whatever happened, the pool can be brought to rest, and then nothing is owed.

use millpond::PoolExecutor;

use crate::command::{Command, No};
use crate::pond::Pond;
use crate::reference::Model;

/// Nobody is asked any more, who is on the way is up, everything that runs is finished, everything abandoned returns, all back-offs pass.
pub(crate) fn wind_down(mut pond: Pond, mut model: Model) {
    while let Some(command) = next(&model) {
        model.step(&command);
        pond.step(&command, &model);
        pond.come_to_rest();
        pond.check(&model);
        pond.check_invariants();
    }
    let seen = pond.pool.saturation();
    assert_eq!((seen.active, seen.debt, seen.waiting, seen.queued, seen.abandoned, seen.starting), (0, 0, 0, 0, 0, 0));
    assert!((model.min..=model.max).contains(&seen.workers), "{seen}");
    pond.shut_down();
}

fn next(model: &Model) -> Option<Command> {
    let first = |jobs: &[No]| jobs.first().copied();
    if model.hook.is_some() {
        Some(Command::NoHook)
    } else if model.quiesced {
        Some(Command::Resume)
    } else if !model.coming.is_empty() {
        Some(Command::ComeUp)
    } else if let Some(no) = first(&model.running()) {
        Some(Command::Finish(no))
    } else if let Some(no) = first(&model.abandoned) {
        Some(Command::Return(no))
    } else if let Some(until) = model.cooling.iter().chain(&model.delayed).min() {
        // What is due before that comes before that; what is due with it has no order.
        let is_due = |span: &u64| model.due_with(*span) > 0;
        let span = (0..until - model.now).find(is_due).unwrap_or(until - model.now);
        let jobs = model.open_jobs();
        Some(if model.due_with(span) > 1 { Command::Cancel(jobs[0]) } else { Command::Advance(span) })
    } else {
        // Nothing runs, nothing is lost: whoever waited has had a place, and every start has been tried.
        first(&model.open_jobs()).map(|no| panic!("job {no} is left: {model:#?}"))
    }
}
