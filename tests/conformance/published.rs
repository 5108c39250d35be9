//! The suite of `millpond::testing::conformance`, over every kind of pool: one line each.

#[cfg(any(feature = "interpreter", feature = "lua"))]
mod guests;
mod liars;
mod subjects;

use subjects::{OnActors, OnDesks, OnTasks, OnThreads};

mod on_threads {
    millpond::conformance_tests!(super::OnThreads);
}
mod on_tasks {
    millpond::conformance_tests!(super::OnTasks);
}
mod on_actors {
    millpond::conformance_tests!(super::OnActors);
}
mod on_desks {
    millpond::conformance_tests!(super::OnDesks);
}
#[cfg(feature = "interpreter")]
mod on_guests {
    millpond::conformance_tests!(super::guests::GUESTS);
}
#[cfg(feature = "interpreter")]
mod on_fresh_guests {
    millpond::conformance_tests!(super::guests::FRESH_GUESTS);
}
#[cfg(feature = "wasi")]
mod on_commands {
    millpond::conformance_tests!(super::guests::COMMANDS);
}
#[cfg(feature = "lua")]
mod on_lua {
    millpond::conformance_tests!(super::guests::LUA);
}
#[cfg(feature = "process")]
mod on_processes {
    millpond::conformance_tests!(super::subjects::processes::OnProcesses);
}
