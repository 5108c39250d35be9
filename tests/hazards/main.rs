//! The ways in which pools are known to fail, each tried on every kind of pool that could have it.
//!
//! Each module is named after its hazard and begins with what goes wrong. Jobs that are slow are held by a latch that the test
//! opens, so that patience alone makes nothing pass. All durations of a scenario are divided by `MILLPOND_HAZARD_SCALE` (default
//! 25). By hand, at full length:
//!
//! ```text
//! MILLPOND_HAZARD_SCALE=1 cargo test --release --all-features --test hazards -- --test-threads=1
//! ```
//!
//! What is asserted of times is far above the goals, and leaves out how long the machine kept threads from running, since tests share the
//! processor (`stalls.rs`); `benches/` measures them.

#![allow(missing_docs, reason = "nobody outside calls a test")]
#![allow(unreachable_pub, reason = "a test crate has no outside")]
#![allow(missing_debug_implementations, reason = "nobody prints what a test is made of")]
#![allow(clippy::disallowed_methods, reason = "tests measure, spawn and pause between two looks at a condition")]

mod alone;
mod busy_parent;
#[cfg(all(feature = "process", unix))]
#[path = "../process/rig.rs"]
#[allow(dead_code, reason = "its other user is the suite of process pools")]
mod children;
#[cfg(all(feature = "process", unix))]
#[path = "../process/desk.rs"]
mod desk;
#[cfg(all(feature = "process", unix))]
mod errands;
#[cfg(feature = "testing")]
#[path = "../forwards/mod.rs"]
mod forwards;
mod ground;
mod kinds;
mod latch;
#[cfg(feature = "testing")]
mod mortal;
#[cfg(all(feature = "process", unix))]
mod pages;
mod patience;
#[cfg(any(feature = "interpreter", feature = "lua"))]
#[path = "../interpreter/polled/mod.rs"]
mod polled;
mod stalls;
mod work;

mod hazard_01_blocked_runtime;
mod hazard_01_control_starvation;
mod hazard_01_drops_of_a_pools_parts;
mod hazard_01_floods;
mod hazard_01_hooks;
mod hazard_01_hooks_at_each_question;
mod hazard_01_hooks_that_flood;
mod hazard_01_start_and_drop;
mod hazard_02_false_stuck_kill;
mod hazard_03_nested_self_deadlock;
mod hazard_03_waits_that_can_end;
mod hazard_04_head_of_line;
#[cfg(feature = "testing")]
mod hazard_05_executing_the_dead;
mod hazard_06_leak_on_a_cancelled_caller;
mod hazard_07_permit_freed_thread_still_running;
mod hazard_08_the_kill_hits_the_successor;
#[cfg(all(feature = "process", unix))]
mod hazard_09_the_crash_window_orphans_the_job;
mod hazard_10_mailbox_overflow;
#[cfg(feature = "testing")]
mod hazard_11_a_failed_start_takes_the_pool;
#[cfg(feature = "testing")]
mod hazard_12_thundering_restart;
#[cfg(all(feature = "process", unix))]
mod hazard_13_poison_job;
#[cfg(all(feature = "process", unix))]
mod hazard_14_zombies_and_orphans;
mod hazard_15_abort_while_the_runtime_is_blocked;
mod hazard_15_drain_hang_or_silent_loss;
mod hazard_15_killed_by_a_busy_parent;
mod hazard_15_replies_of_a_killed_pool;
mod hazard_16_resize_loses_count;
mod hazard_16_resize_storm;
mod hazard_17_hooks_that_call_back;
mod hazard_17_hooks_that_meddle;
mod hazard_17_user_code_under_a_lock;
mod hazard_17_wakers_that_panic;
mod hazard_17_wakers_under_a_lock;
#[cfg(feature = "testing")]
mod hazard_18_acceptance_that_does_not_bind;

#[cfg(all(feature = "process", unix))]
millpond::process_test_entry!();
