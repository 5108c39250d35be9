//! Tests that want a process of their own.

use std::process::Command;

/// Set in that process.
const ALONE: &str = "MILLPOND_HAZARD_ALONE";

/// Runs the calling test in a process of its own, for what a process has once. False in that process; and where tests have no threads of their own, since then
/// there are none beside this one.
pub fn passed_alone() -> bool {
    let thread = std::thread::current();
    let Some(test) = thread.name().filter(|name| name.contains("::")) else { return false };
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let this = std::env::current_exe().expect("it is known");
    let ran = Command::new(this).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().expect("it starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{}\n{said}\n{}", ran.status, String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("1 passed"), "it is called otherwise: {said}");
    true
}
