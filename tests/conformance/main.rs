//! One suite, every kind of pool: the bodies are generic over what hosts the jobs, and run against each of them.
//!
//! What a kind cannot do it says in its capabilities; in all else the kinds are alike. A comment at a body says which promise it
//! holds the pool to; `invariant n` is one of those numbered in `DESIGN.md`, section 7.

#![allow(missing_docs, reason = "the names of tests say what they guard")]

/// Runs each body against every subject, as tests named after both. Those after `in_this_process:` do not apply to workers that are other
/// processes: their jobs share more with the test than gates and counters, or are not to be made to end.
macro_rules! conform {
    ($($body:ident),* $(,)? $(; in_this_process: $($here:ident),* $(,)?)?) => {
        mod on_threads { conform!(@tests OnThreads $($body)* $($($here)*)?); }
        mod on_tasks { conform!(@tests OnTasks $($body)* $($($here)*)?); }
        mod on_actors { conform!(@tests OnActors $($body)* $($($here)*)?); }
        mod on_desks { conform!(@tests OnDesks $($body)* $($($here)*)?); }
        #[cfg(feature = "interpreter")]
        mod on_guests { conform!(@tests OnGuests $($body)* $($($here)*)?); }
        #[cfg(feature = "lua")]
        mod on_lua { conform!(@tests OnLua $($body)* $($($here)*)?); }
        #[cfg(feature = "process")]
        mod on_processes { conform!(@tests OnProcesses $($body)*); }
    };
    (@tests $subject:ident $($body:ident)*) => {
        $( #[test] fn $body() { super::$body::<crate::subject::$subject>(); } )*
    };
}

mod answers;
#[cfg(feature = "process")]
#[path = "../process/desk.rs"]
mod desk;
#[cfg(feature = "process")]
mod errands;
mod faults;
#[cfg(feature = "testing")]
#[path = "../forwards/mod.rs"]
mod forwards;
#[cfg(any(feature = "interpreter", feature = "lua"))]
mod guests;
#[cfg(any(feature = "interpreter", feature = "lua"))]
#[path = "../interpreter/polled/mod.rs"]
#[expect(unreachable_pub, reason = "the hazards' kinds, which have it too, are public")]
mod polled;
mod rig;
mod subject;
mod task;
mod third_party;

mod abort;
mod attach;
mod by_hand;
mod by_name;
mod closed;
mod eager_panics;
mod escalation;
mod events;
mod exits;
mod extension;
mod hook_actors;
mod hooks;
mod hooks_left;
mod lane_room;
mod ledger;
mod ledger_at_the_gate;
mod lifecycle;
mod lineage;
mod not_begun;
mod outcomes;
mod ownership;
mod recycling_under_load;
mod retune;
mod retune_asked;
mod selectors;
mod visibility;
mod who_asked;

#[cfg(feature = "testing")]
mod autoscale;
#[cfg(feature = "testing")]
mod autoscale_hooks;
#[cfg(feature = "testing")]
mod blocking_user_code;
#[cfg(feature = "testing")]
mod clocked;
#[cfg(feature = "testing")]
mod endings;
#[cfg(feature = "testing")]
mod gate_order;
#[cfg(feature = "testing")]
mod health;
#[cfg(feature = "testing")]
mod histories;
#[cfg(feature = "testing")]
mod hooks_clocked;
#[cfg(feature = "testing")]
mod hooks_idle;
#[cfg(feature = "testing")]
mod hooks_overdue;
#[cfg(feature = "testing")]
mod hooks_recycle;
#[cfg(feature = "testing")]
mod hooks_starts;
#[cfg(feature = "testing")]
mod hooks_told;
#[cfg(feature = "testing")]
mod leaving;
#[cfg(feature = "testing")]
mod overdue;
#[cfg(feature = "testing")]
mod policies;
#[cfg(feature = "testing")]
mod published;
#[cfg(feature = "testing")]
mod recycling;
#[cfg(feature = "testing")]
mod retune_autoscaled;
#[cfg(feature = "testing")]
mod retune_clocked;
#[cfg(feature = "testing")]
mod scenes;
#[cfg(feature = "testing")]
mod scripted;
#[cfg(feature = "testing")]
mod scripted_escalation;
#[cfg(feature = "testing")]
mod scripted_idle;
#[cfg(feature = "testing")]
mod scripted_recycling;
#[cfg(feature = "testing")]
mod scripted_retune;
#[cfg(feature = "testing")]
mod scripted_successors;
#[cfg(feature = "testing")]
mod spares;
#[cfg(feature = "testing")]
mod swap;
#[cfg(feature = "testing")]
mod watchdog_presets;

#[cfg(feature = "process")]
millpond::process_test_entry!();
