//! A command has what it was granted, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use millpond::PoolExecutor;

use super::{BADF, NOTSUP, bare, exit_code, pool, run, said, text, tool};
use crate::rig::Outcome;

/// A directory of this test's, gone with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("millpond-wasi-{name}-{}", std::process::id()));
        let _left_by_a_run_that_was_killed = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the system's temporary directory can be written");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn has(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("a file can be written there");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone_anyway = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn by_default_no_file_is_there() {
    let pool = bare();
    // The library looks for a granted directory first, and there is none.
    for deed in ["cat", "list", "write", "mkdir"] {
        for path in ["/etc/passwd", ".", "/", "../../etc/passwd", "/dev/null"] {
            let output = run(pool, [deed, path]);
            assert_eq!(output.exit_code, 1, "{deed} {path}");
            let said = text(&output);
            assert!(said.starts_with("errno ") && said.lines().count() == 1, "{deed} {path}: {said}");
        }
    }
    // Whatever it asks of the system itself, by whichever descriptor.
    for descriptor in [0, 1, 3, 4, 100] {
        let open = format!(
            "(call $open (i32.const {descriptor}) (i32.const 0) (i32.const 0) (i32.const 11) (i32.const 0) (i64.const 2)
                (i64.const 2) (i32.const 0) (i32.const 64))"
        );
        assert_eq!(exit_code(&open), BADF, "{descriptor}");
        assert_eq!(exit_code(&format!("(call $prestat (i32.const {descriptor}) (i32.const 64))")), BADF);
    }
}

#[test]
fn the_environment_is_what_was_granted() {
    assert_eq!(said(bare(), ["env"]), "");
    let pool = pool(tool().grant_env("TZ", "UTC").grant_env("EMPTY", "").grant_env("WORDS", "a=b c"));
    assert_eq!(said(&pool, ["env"]), "TZ=UTC\nEMPTY=\nWORDS=a=b c\n");
}

#[test]
fn without_clocks_time_stands_still_but_for_sleeps() {
    for _ in 0..2 {
        assert_eq!(said(bare(), ["time"]), "0 0\n");
    }
    // A thousand years, at once; whoever waits until then sees that it is over.
    for nanos in ["0", "1", "2500000000", "9000000000000000000"] {
        assert_eq!(said(bare(), ["sleep", nanos]), format!("{nanos}\n"));
    }
}

#[test]
fn with_clocks_time_passes() -> Outcome {
    let pool = pool(tool().grant_clocks());
    let told = said(&pool, ["time"]);
    let (wall, _) = told.trim().split_once(' ').expect("two numbers");
    assert!(wall.parse::<u64>()? > 1_500_000_000_000_000_000, "after 2017: {told}");
    let slept: u64 = said(&pool, ["sleep", "3000000"]).trim().parse()?;
    assert!(slept >= 3_000_000, "{slept}");
    Ok(())
}

#[test]
fn without_random_numbers_each_run_gets_the_same() {
    let first = said(bare(), ["random"]);
    let numbers: std::collections::BTreeSet<_> = first.lines().collect();
    assert!(numbers.len() > 20, "32 bytes, which look like random ones: {first}");
    let other = pool(tool());
    assert_eq!([said(bare(), ["random"]), said(&other, ["random"])], [first.clone(), first]);
}

#[test]
fn with_random_numbers_no_two_runs_get_the_same() {
    let pool = pool(tool().grant_random());
    assert_ne!(said(&pool, ["random"]), said(&pool, ["random"]));
}

#[test]
fn there_is_no_network() {
    for call in [
        "(call $accept (i32.const 3) (i32.const 0) (i32.const 64))",
        "(call $send (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))",
        "(call $recv (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 68))",
        "(call $shutdown (i32.const 0) (i32.const 3))",
    ] {
        assert_eq!(exit_code(call), NOTSUP, "{call}");
    }
}

#[test]
fn a_directory_that_may_be_read_is_not_written_and_not_left() {
    let folder = Folder::new("read");
    let outside = Folder::new("outside");
    folder.has("a", "trout\n");
    outside.has("secret", "pike\n");
    #[cfg(unix)]
    for (target, name) in [(outside.path().join("secret"), "way_out"), ("/etc".into(), "etc")] {
        std::os::unix::fs::symlink(target, folder.path().join(name)).expect("a link can be made");
    }
    let pool = pool(tool().grant_read_only(folder.path(), "/data"));
    assert_eq!(said(&pool, ["cat", "/data/a"]), "trout\n");
    let listed = said(&pool, ["list", "/data"]);
    assert!(listed.lines().any(|name| name == "a"), "{listed}");
    for deed in ["write", "mkdir", "remove"] {
        for path in ["/data/a", "/data/new"] {
            let output = run(&pool, [deed, path, "carp"]);
            assert_eq!(output.exit_code, 1, "{deed} {path}");
            assert!(text(&output).starts_with("errno "), "{}", text(&output));
        }
    }
    let secret = outside.path().join("secret").display().to_string();
    let above = format!("/data/../{}/secret", outside.path().file_name().expect("it has a name").display());
    for path in [secret.as_str(), &above, "/data/way_out", "/data/etc/passwd", "/etc/passwd", "/data/../../etc/passwd"]
    {
        for deed in ["cat", "list", "write"] {
            let output = run(&pool, [deed, path]);
            assert_eq!(output.exit_code, 1, "{deed} {path}: {}", text(&output));
            assert!(text(&output).starts_with("errno "), "{deed} {path}: {}", text(&output));
        }
    }
    assert_eq!(fs::read_to_string(folder.path().join("a")).expect("it is there"), "trout\n");
    assert_eq!(fs::read_to_string(outside.path().join("secret")).expect("it is there"), "pike\n");
    assert!(!folder.path().join("new").exists());
}

#[test]
fn a_directory_that_may_be_written_is_not_left_either() {
    let folder = Folder::new("write");
    let pool = pool(tool().grant_read_write(folder.path(), "out"));
    assert_eq!(said(&pool, ["write", "out/catch", "perch"]), "");
    assert_eq!(fs::read_to_string(folder.path().join("catch")).expect("it was written"), "perch");
    assert_eq!(said(&pool, ["cat", "out/catch"]), "perch");
    assert_eq!(said(&pool, ["mkdir", "out/basket"]), "");
    assert!(folder.path().join("basket").is_dir());
    assert_eq!(said(&pool, ["remove", "out/catch"]), "");
    assert!(!folder.path().join("catch").exists());
    let escape = format!("out/../{}-escaped", folder.path().file_name().expect("it has a name").display());
    assert_eq!(run(&pool, ["write", &escape, "eel"]).exit_code, 1);
    assert!(!folder.path().with_file_name(escape.trim_start_matches("out/../")).exists());
}

#[test]
fn a_directory_that_has_gone_is_an_outcome() {
    let folder = Folder::new("gone");
    let pool = pool(tool().grant_read_only(folder.path(), "/data"));
    fs::remove_dir(folder.path()).expect("it is empty");
    let fault = super::fault(super::put(&pool, super::command(["list", "/data"])));
    assert!(fault.to_string().contains(&folder.path().display().to_string()), "{fault}");
    assert_eq!(pool.snapshot().ledger.not_started, 1);
}
