//! What a child is started with: read by jobs in it.

use std::path::Path;

use millpond::process::{ChildOptions, Output};
use millpond::{JobError, PoolExecutor, ProcessPool, TransferFault};
use rustix::process::{Resource, getpriority_process, getrlimit};

use crate::rig::{Marks, failure, pids, pool, pool_with};

/// What a job says of the process that it runs in.
fn said<T>(pool: &ProcessPool, of: fn(()) -> T) -> T
where
    T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    pool.submit_blocking(of, ()).unwrap().join().unwrap()
}

/// Where a descriptor of this process leads to.
fn leads_to(descriptor: impl std::fmt::Display) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{descriptor}"));
    link.map_or_else(|error| error.to_string(), |to| to.to_string_lossy().into_owned())
}

#[test]
fn what_is_said_of_a_child_is_in_force_in_it() {
    let folder = std::env::temp_dir().canonicalize().expect("there is one");
    let options = ChildOptions::new().nice(3).umask(0o027).open_files(77).current_dir(&folder);
    let pool = pool_with("settings", 1, options);
    let nice = getpriority_process(None).expect("it is known");
    let there = said(&pool, |()| getpriority_process(None).expect("it is known"));
    assert_eq!(there, (nice + 3).min(19));
    let umask = said(&pool, |()| std::fs::read_to_string("/proc/self/status").expect("it is there"));
    assert!(umask.lines().any(|line| line == "Umask:\t0027"), "{umask}");
    let limit = said(&pool, |()| {
        let limit = getrlimit(Resource::Nofile);
        (limit.current, limit.maximum)
    });
    assert_eq!(limit, (Some(77), Some(77)));
    assert_eq!(said(&pool, |()| std::env::current_dir().expect("it is there")), folder);
}

#[test]
fn a_child_has_none_of_the_descriptors_that_are_open_here() {
    use rustix::fs::{Mode, OFlags, open};
    let marks = Marks::new("open-here");
    // An exec of its own leaves it open.
    let file = open(marks.path(), OFlags::CREATE | OFlags::RDWR, Mode::RUSR | Mode::WUSR).expect("it can be opened");
    let open_there = |()| -> Vec<String> {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("it is there").flatten();
        descriptors.map(|entry| leads_to(entry.file_name().to_string_lossy())).collect()
    };
    let pool = pool("descriptors", 1);
    let there = said(&pool, open_there);
    assert!(open_there(()).contains(&marks.path()) && !there.contains(&marks.path()), "{there:?}");
    assert!(there.iter().any(|to| to.starts_with("socket:")), "its own way home it has: {there:?}");
    drop(file);
}

#[test]
fn output_goes_where_it_is_said_to_go() {
    let both = |()| [leads_to(1), leads_to(2)];
    let inherited = pool_with("inherited", 1, ChildOptions::new().output(Output::Inherited));
    assert_eq!(said(&inherited, both), both(()));
    let discarded = pool_with("discarded", 1, ChildOptions::new().output(Output::Discarded));
    assert_eq!(said(&discarded, both), ["/dev/null", "/dev/null"]);
    let captured = pool_with("captured", 1, ChildOptions::new());
    assert!(said(&captured, both).iter().all(|to| to.starts_with("pipe:")));
}

/// Linux says so from version 6.2 on.
#[test]
fn the_inventory_shows_how_many_descriptors_a_child_has_open() {
    let pool = pool("open-files", 1);
    pids(&pool, 1);
    let count = |()| std::fs::read_dir("/proc/self/fd").expect("it is there").count() as u64;
    // One of them is there to look.
    let there = said(&pool, count) - 1;
    let known = std::fs::metadata("/proc/self/fd").is_ok_and(|folder| folder.len() > 0);
    assert_eq!(pool.inventory_now().workers[0].facts.open_files, known.then_some(there));
}

#[test]
fn the_backtrace_of_a_panic_comes_home_if_the_child_is_to_make_one() {
    #[inline(never)]
    fn a_function_that_panics(said: String) {
        panic!("{said}");
    }
    for (name, wanted) in [("backtrace", "1"), ("no-backtrace", "0")] {
        let pool = pool_with(name, 1, ChildOptions::new().env("RUST_BACKTRACE", wanted));
        let error = failure(pool.submit_blocking(a_function_that_panics, "so".to_owned()).unwrap());
        let JobError::Panicked(report) = &error else { panic!("{error}") };
        let backtrace = report.backtrace.as_deref();
        assert_eq!(backtrace.is_some(), wanted == "1");
        assert!(backtrace.is_none_or(|trace| trace.contains("a_function_that_panics")), "{backtrace:?}");
    }
}

/// The C library is one that the executable shares with others, where it is linked so.
#[test]
#[expect(unsafe_code, reason = "the function of a library has to be named by its address")]
fn a_function_that_is_not_the_executables_is_refused_as_it_is_dispatched() {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("it is there");
    if !maps.lines().any(|line| line.contains("libc.so") || line.contains("libc-")) {
        return;
    }
    // SAFETY: it is an address, and is called nowhere: not here, and not by a child, which is what this is about.
    let function = unsafe { std::mem::transmute::<*const (), fn(u64) -> u64>(libc::getpid as *const ()) };
    let pool = pool("elsewhere", 1);
    let before = pids(&pool, 1);
    let error = failure(pool.submit_blocking(function, 1).unwrap());
    let JobError::Transfer(failed) = &error else { panic!("{error}") };
    assert_eq!(failed.fault, TransferFault::NotInExecutable, "{error}");
    assert_eq!(pids(&pool, 1), before, "and no child had to go for it");
    assert!(Path::new(&format!("/proc/{}", before[0])).exists());
}
