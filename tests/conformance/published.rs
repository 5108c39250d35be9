//! The suite of `millpond::testing::conformance`, over every kind of pool: one line each.

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
    millpond::conformance_tests!(super::subjects::guests::OnGuests);
}
#[cfg(feature = "lua")]
mod on_lua {
    millpond::conformance_tests!(super::subjects::guests::OnLua);
}
#[cfg(feature = "process")]
mod on_processes {
    millpond::conformance_tests!(super::subjects::processes::OnProcesses);
}
