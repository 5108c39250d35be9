//! The contract, clause by clause: the one list of all bodies, from which come the table, the docs and the tests.

/// Hands the list to a macro: by subject matter, for each body its name, what it needs, and the clause that it checks.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_clauses {
    ($($with:tt)+) => {
        $($with)+ {
            reach {
                a_kill_does_what_the_capabilities_say Always
                    "A kill takes a worker as far as `Capabilities::kill` says: `Killed` means that none of the job's code runs any more, and `Abandoned` that it does, and is counted.";
                a_death_is_confirmed_as_the_capabilities_say Always
                    "The end of a killed worker is told if `Capabilities::death_confirmed` says so, and then nothing of it is left; else it is told that the worker was abandoned.";
                a_kill_of_an_idle_worker_ends_it Always
                    "A kill ends a worker that has no job, on every kind of pool.";
                a_job_that_no_kill_reaches_is_abandoned_and_counted_until_it_returns OutOfReach
                    "A worker that cannot be made to end is abandoned when the grace is over, replaced, shown and counted until it returns; what it gives then is dropped.";
                memory_is_limited_as_the_capabilities_say Always
                    "Where `Capabilities::memory_limited` is true, a job that takes more than it may ends by that, and the pool goes on.";
                the_capabilities_stay_what_they_are Always
                    "Capabilities are the same before there is a pool and at any time of its life.";
            }
            admission {
                a_pool_of_n_with_capacity_c_admits_exactly_n_plus_c Always
                    "A pool of n workers whose lane has capacity c admits n + c jobs that do not end, whether or not workers have taken them, and no more.";
                without_a_queue_a_job_is_handed_to_a_free_worker Always
                    "A lane of capacity 0 admits one job for each free worker; a job whose outcome is known has given its place back.";
                a_seat_that_can_be_filled_counts_as_one Always
                    "A worker need not be up to have a job admitted for it.";
                a_refused_job_comes_back_and_can_be_submitted_again Always
                    "Whoever is refused gets the very job back, from all three forms of submission.";
                who_waits_at_the_gate_is_let_in_when_a_place_comes_free Always
                    "A lane that waits when it is full lets the submitter in when a place comes free.";
                a_thread_waits_at_the_gate_as_a_task_does Always
                    "A blocking submission waits for a place, too.";
                jobs_of_a_lane_run_in_the_order_of_admission Always
                    "In one lane, without deadlines, who came first runs first.";
                jobs_are_numbered_in_the_order_of_admission Always
                    "Jobs are numbered in the order of admission, and one that is refused uses up no number.";
                a_submitter_that_goes_away_leaves_no_trace Always
                    "A submission whose future is dropped admits nothing and holds no place.";
            }
            lanes {
                a_reserve_is_never_taken_by_another_lane Always
                    "Seats that a lane reserves are taken by no other lane.";
                a_lane_may_take_more_than_its_reserve_of_what_is_free Always
                    "A reserve is a floor and not a ceiling.";
                a_reserved_lane_without_a_queue_has_room_behind_anothers_backlog Always
                    "The room of a lane does not count seats that it may not have, nor those that only it may have.";
                lanes_that_may_start_take_turns Always
                    "A long queue in one lane does not make another's jobs wait for all of it.";
                a_full_lane_does_not_close_the_others Always
                    "Each lane's bound is its own.";
                limits_that_would_break_a_reserve_are_refused_with_the_conflict_named Always
                    "Limits that contradict a reserve are refused, with the conflict named, and nothing is changed.";
            }
            time_limits {
                the_admission_limit_ends_the_wait_at_the_gate_and_says_who_held_the_workers Always
                    "The admission limit ends the wait at the gate within the tick, and the error says who held the workers.";
                the_queue_limit_takes_a_job_out_from_anywhere_in_the_queue_in_the_same_tick Always
                    "A job whose queue limit passes ends in that tick, wherever it stands and whatever the workers do, and never runs.";
                the_queue_limit_holds_while_the_gate_is_quiesced Always
                    "A gate that lets nothing through stops no clock.";
                a_job_of_its_own_queue_limit_is_not_bound_by_its_lanes Always
                    "A job's own queue limit takes the place of its lane's.";
                the_run_limit_writes_the_outcome_in_the_same_tick_and_asks_the_job_to_stop Always
                    "The outcome of a job whose run limit passes does not wait for the job, which is asked to stop; if it heeds that, its worker goes on.";
                the_run_limit_takes_the_worker_of_a_job_that_does_not_listen Always
                    "If it does not, the ladder takes its worker, and the seat comes back.";
                the_deadline_stands_over_the_wait_at_the_gate Always
                    "A deadline is one moment for the whole way, the gate included.";
                the_deadline_stands_over_queue_and_run Always
                    "So it is in the queue, where the job then never runs, and while it runs.";
                a_job_whose_deadline_is_near_is_overtaken_by_none_that_can_wait Always
                    "A job without a deadline overtakes none that has one.";
                the_control_limit_ends_the_wait_for_a_reply Always
                    "The limit of a control operation ends the wait for its reply, and nothing else.";
            }
            resize {
                eight_to_two_to_eight_under_load_stops_nobody Always
                    "A shrink fails no job and stops no busy worker, and growth takes it back without starting any.";
                debt_is_paid_by_whoever_next_asks_for_work_and_settled_names_them Always
                    "Seats that are owed are given up by whoever next asks for work, and `settled` names them.";
                growth_cancels_debt_first Always
                    "Growth keeps those who were to leave before it starts others.";
                a_shrink_takes_idle_workers_first Always
                    "As long as somebody idles, no busy worker has to go.";
                nothing_starts_while_seats_are_owed Always
                    "Seats that are owed are not used again.";
                growth_wakes_those_who_wait_at_the_gate Always
                    "Growth lets in those who wait, before it is answered.";
                workers_start_on_demand_up_to_max Always
                    "No worker above `min` is there before a job wants it, and none beyond `max`.";
                idle_workers_above_min_leave_after_the_idle_timeout Always
                    "Workers above `min` leave after the idle timeout, the longest idle first.";
                a_later_resize_settles_an_earlier_one Always
                    "A resize that another one takes the place of has settled.";
                a_pool_that_drains_is_not_resized Always
                    "A pool that goes has no size to be given.";
            }
            inventory {
                a_row_says_who_what_and_from_which_line Always
                    "Inventory shows each worker with its state, its job, that one's label and lane, and the line that submitted it.";
                saturation_counts_every_place Always
                    "Saturation counts workers by what they do, and jobs that wait.";
                a_snapshot_holds_lanes_ledger_ages_and_histograms Always
                    "A snapshot has the same by lane, with ages, histograms and the ledger.";
                inventory_answers_by_message_while_every_worker_is_held Always
                    "Control answers whatever the workers are in, and however many jobs wait.";
                ages_are_read_off_the_pools_clock Always
                    "All ages are those of the pool's clock.";
                a_beat_is_seen Always
                    "A job knows its context, its beats are seen, and they are not the next job's.";
                every_pool_of_the_process_is_listed Always
                    "`pools()` lists a pool until it has ended, and keeps it from nothing.";
                facts_are_a_workers_own Always
                    "What a backend tells of a worker in `Facts` is there, and is no other worker's.";
            }
            ladder {
                a_job_that_listens_finishes_at_cancel Always
                    "Cancel asks the job; one that heeds it ends as it sees fit, and its worker goes on.";
                a_job_that_does_not_listen_still_runs_after_a_cooperative_ladder Always
                    "A ladder that only asks takes nobody.";
                stop_lets_the_job_end_and_takes_the_worker_after_it Always
                    "Stop has the worker leave after its job, which it does not cost.";
                stop_takes_an_idle_worker_at_once Always
                    "A worker that has no job leaves at once when it is told to.";
                a_graceful_ladder_goes_up_to_kill_only_if_it_must Always
                    "Each rung has its grace, and the report says which of them did it.";
                a_killed_job_has_one_outcome_whatever_it_returns_later Always
                    "What a job gives after its outcome was written changes nothing.";
                a_ladder_without_a_rung_does_nothing Always
                    "A ladder without a rung does nothing.";
                a_condemned_worker_takes_no_other_job Always
                    "A worker that was told to leave takes no other job.";
                a_claim_that_has_ended_is_finished_and_the_next_job_is_not_hit Always
                    "What was aimed at a job does not hit the next one of its worker.";
                a_worker_of_an_earlier_generation_is_stale Always
                    "What was aimed at a worker does not hit the one that took its place.";
                all_takes_every_worker_the_idle_ones_too Always
                    "Whoever is killed is replaced: the pool loses no seat by it.";
                a_queued_job_is_withdrawn Always
                    "A job that no worker has yet is withdrawn, and no worker is touched for it.";
            }
            overdue {
                a_silent_job_is_warned_about_asked_told_and_taken_and_each_says_so Always
                    "A job that makes no progress is warned about, asked, told and taken, each at its time.";
                a_job_that_goes_on_beating_is_never_overdue Always
                    "A job that beats is left alone, however long it takes.";
                an_idle_worker_is_never_overdue Always
                    "A worker that has nothing to do is left alone.";
            }
            restarts {
                a_worker_that_was_started_comes_up Always
                    "A worker whose start succeeded comes up, and says how long that took.";
                a_pool_has_the_workers_that_it_shows Always
                    "No worker is there without a slot, and no slot is missing while its worker works.";
                a_crash_does_to_the_worker_what_was_said Always
                    "A crash ends its worker, or does not, as `Subject::after_crash` says.";
                a_crash_that_ends_its_worker_is_a_fault_and_the_policy_decides CrashEndsWorker
                    "The end of a worker that nobody wanted is a fault: the restart policy is asked once, and decides.";
                a_slot_that_is_given_up_is_missing CrashEndsWorker
                    "A pool whose slots are given up is degraded, then unavailable, and says so.";
                a_policy_may_give_up_the_pool CrashEndsWorker
                    "A policy that escalates ends the pool, which is told.";
                whoever_was_told_to_go_is_no_fault Always
                    "A worker that was stopped, killed or retired is no fault, and its exit says why it went.";
            }
            hooks {
                a_veto_of_a_resize_is_in_its_reply Always
                    "What a hook denies is not done, and the reply says who denied it and why.";
                a_vetoed_termination_leaves_its_targets_alone Always
                    "A termination that is denied asks nobody to stop.";
                a_kill_and_a_shutdown_are_not_asked_about Always
                    "A kill and a shutdown are not asked about.";
                a_denied_start_is_the_outcome_of_a_job_that_was_handed_over_to_it Always
                    "A start that is denied is not made, and a job that counted on it learns so.";
                what_happens_is_told Always
                    "Hooks are told of workers, limits and the gate, and of the end.";
                the_end_of_a_pool_is_told_once_whatever_ended_it Always
                    "Whatever ends a pool, readers and hooks are told that the gate is closed, once, and then the readers' stream ends.";
            }
            outcomes {
                a_job_gives_what_it_gives Always
                    "Each job that was accepted is run once, and its outcome is its own.";
                a_queued_job_that_is_cancelled_never_runs Always
                    "A job that is cancelled before a worker has it ends at once and never runs.";
                a_running_job_that_is_cancelled_ends_as_it_sees_fit Always
                    "A job that runs is asked to stop when it is cancelled, and ends as it sees fit.";
                a_job_that_has_ended_is_not_cancelled_any_more Always
                    "A job that has ended is not cancelled any more.";
                a_handle_that_cancels_on_drop_cancels Always
                    "A handle that is to cancel on drop does.";
                a_handle_that_is_dropped_detaches Always
                    "A handle that is dropped lets its job go on.";
                a_handle_says_where_its_job_is Always
                    "A handle says whether its job waits, runs or has ended.";
                a_join_with_a_limit_leaves_the_handle_as_it_was Always
                    "A join whose limit passes leaves the handle as it was.";
                what_a_job_leaves_behind_is_dropped Always
                    "Whatever way a job goes, it is dropped.";
                every_way_to_end_has_its_term Always
                    "The ledger has a term for each way to end, and balances.";
                the_ledger_is_up_to_date_when_an_outcome_is_known Always
                    "Whoever knows an outcome finds it in the ledger.";
                a_crash_costs_one_job_and_says_which Always
                    "A crash costs the job that did it and no other, and its outcome says which that was.";
            }
            shutdown {
                a_quiesced_pool_admits_and_does_not_dispatch Always
                    "A quiesced pool admits jobs and begins none until it resumes.";
                a_job_in_hand_goes_on_while_the_pool_is_quiesced Always
                    "A job that runs goes on meanwhile.";
                a_draining_pool_refuses_and_runs_what_was_admitted Always
                    "A pool that drains refuses jobs, runs those it has, and answers when they have run.";
                drain_is_one_way Always
                    "From draining no way leads back.";
                a_quiesced_pool_drains_what_it_had_admitted Always
                    "A quiesced pool that drains runs what it had admitted.";
                shutdown_reports_what_became_of_the_jobs Always
                    "A shutdown runs what was admitted, if its limit allows, and reports what became of each job.";
                a_shutdown_leaves_nobody_behind Always
                    "Workers that have nothing to do are gone with their pool.";
                shutdown_asks_running_jobs_to_stop_when_three_quarters_are_over Always
                    "Jobs that run are asked to stop when three quarters of the limit are over.";
                shutdown_returns_by_its_deadline_though_jobs_do_not_end Always
                    "A shutdown answers by its limit whatever the jobs do; what cannot be ended is listed by `orphans()` until it returns.";
                a_second_shutdown_hurries_the_first Always
                    "A second shutdown may hurry the first.";
                the_name_is_free_when_a_shutdown_has_answered Always
                    "When a shutdown has answered, the name can be used again.";
                those_who_wait_at_the_gate_are_told_that_it_closes Always
                    "Who waits at a gate that closes gets the job back.";
                whoever_asks_a_pool_that_is_gone_is_told_so Always
                    "A pool that is gone says so to whoever asks it.";
                an_abort_ends_what_runs_and_what_is_queued Always
                    "An abort writes every outcome before it returns.";
                an_abort_of_an_idle_pool_leaves_nothing_behind Always
                    "An abort of a pool that idles leaves no worker, no name and no reader behind.";
                a_drain_that_a_shutdown_cuts_short_has_failed Always
                    "A drain that was cut short has failed.";
            }
        }
    };
}
