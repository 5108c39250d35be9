//! Workers that are not what a worker is.

use super::rogues::{Vice, a_rogue_is_found_out};
use super::{DEATH, KILL};

#[test]
fn a_worker_that_survives_its_kill() {
    a_rogue_is_found_out(Vice::SurvivesKills, KILL, "kills reach Anywhere");
}

#[test]
fn a_job_that_survives_its_worker() {
    a_rogue_is_found_out(Vice::DiesAlone, KILL, "the killed job's code runs no more");
    a_rogue_is_found_out(Vice::DiesAlone, DEATH, "none of its code is left");
}

#[test]
fn a_worker_that_never_comes_up() {
    a_rogue_is_found_out(Vice::NeverReady, "restarts::a_worker_that_was_started_comes_up", "until it is up");
}

#[test]
fn a_worker_that_is_gone_as_soon_as_it_was_started() {
    a_rogue_is_found_out(Vice::VanishesAtOnce, "restarts::a_worker_that_was_started_comes_up", "came up");
}

#[test]
fn a_worker_whose_start_failed_and_that_works() {
    a_rogue_is_found_out(Vice::WorksUnhired, "restarts::whoever_was_told_to_go_is_no_fault", "failed to start");
}

#[test]
fn facts_that_are_anothers() {
    let facts = "inventory::facts_are_a_workers_own";
    a_rogue_is_found_out(Vice::SharesItsName, facts, "everyman");
    a_rogue_is_found_out(Vice::SaysItIsAProcess, facts, "another one than this");
}

#[test]
fn workers_that_stay_when_they_are_told_to_leave() {
    a_rogue_is_found_out(Vice::Stays, "ladder::stop_takes_an_idle_worker_at_once", "StillRunning");
    a_rogue_is_found_out(Vice::Stays, "shutdown::a_shutdown_leaves_nobody_behind", "waited for");
}
