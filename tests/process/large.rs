//! Payloads that are too large for the socket's liking: by memory files where both sides can, and by the socket where not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::process::ChildOptions;
use millpond::{DeathCause, JobError, JobHandle, PoolExecutor, TransferFault};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rig::{Marks, death_of, exists, failure, mark, open_files, pids, pool_with, signal, until};

/// What goes by the socket yet.
const THRESHOLD: usize = 512 << 10;
const LIMIT: usize = 4 << 20;
/// In the payload of a call, before its arguments; and the length of the label.
const AHEAD: usize = 24 + 1 + 2;

/// Serialised as it is, so that its length is known to the byte.
#[derive(Clone, PartialEq, Debug)]
struct Plain(Vec<u8>);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.to_vec()))
    }
}

/// So that it takes so many bytes, its length included, which is a number of seven bits a byte.
fn of(bytes: usize) -> Plain {
    let length = if bytes - 3 < 1 << 21 { 3 } else { 4 };
    Plain((0..bytes - length).map(|n| (n % 251) as u8).collect())
}

/// In a child: how many descriptors it has.
fn open_here() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("it is there").count()
}

#[test]
fn what_is_large_goes_there_and_back_unchanged_on_either_way() {
    for (name, shared) in [("large-shared", true), ("large-by-socket", false)] {
        let pool = pool_with(name, 1, ChildOptions::new().frame_limit(64 << 20).shared_memory(shared));
        let before = pids(&pool, 1);
        let sizes = [THRESHOLD - 1, THRESHOLD, THRESHOLD + 1, 2 * THRESHOLD, 9 << 20, (17 << 20) + 3];
        for payload in sizes.map(of) {
            let handle = pool.submit_blocking(|payload: Plain| payload, payload.clone()).unwrap();
            assert!(handle.join().unwrap() == payload, "{name}");
        }
        // Byte by byte, as serde has it of a plain vector; and many small pieces.
        let bytes = of(3 << 20).0;
        assert!(
            pool.submit_blocking(|bytes: Vec<u8>| bytes, bytes.clone()).unwrap().join().unwrap() == bytes,
            "{name}"
        );
        let lines: Vec<String> = (0..200_000).map(|n| format!("line {n}")).collect();
        assert!(
            pool.submit_blocking(|lines: Vec<String>| lines, lines.clone()).unwrap().join().unwrap() == lines,
            "{name}"
        );
        assert_eq!((pids(&pool, 1), open_files(name)), (before, 0), "{name}");
    }
}

/// It says which way it came by what it holds open.
#[test]
fn the_way_is_by_memory_from_the_threshold_on_and_leaves_nothing_open() {
    let pool = pool_with("ways", 1, ChildOptions::new());
    let mapped = |_: Plain| -> bool {
        std::fs::read_to_string("/proc/self/maps").expect("it is there").contains("/memfd:millpond:ways")
    };
    for (bytes, by_memory) in [(THRESHOLD - AHEAD, false), (THRESHOLD - AHEAD + 1, true)] {
        assert_eq!(pool.submit_blocking(mapped, of(bytes)).unwrap().join().unwrap(), by_memory, "{bytes}");
    }
    let descriptors = |_: Plain| (open_here(), of(2 * THRESHOLD));
    let (first, _) = pool.submit_blocking(descriptors, of(8)).unwrap().join().unwrap();
    for _ in 0..20 {
        let (now, _) = pool.submit_blocking(descriptors, of(2 * THRESHOLD)).unwrap().join().unwrap();
        assert_eq!(now, first, "a worker gives its descriptors up");
    }
    assert_eq!(open_files("ways"), 0);
}

#[test]
fn the_limit_is_exact_whichever_way_it_goes() {
    for (name, shared) in [("limit-shared", true), ("limit-by-socket", false)] {
        let pool = pool_with(name, 1, ChildOptions::new().frame_limit(LIMIT as u32).shared_memory(shared));
        let before = pids(&pool, 1);
        let length = |payload: Plain| payload.0.len();
        assert_eq!(
            pool.submit_blocking(length, of(LIMIT - AHEAD)).unwrap().join().unwrap(),
            LIMIT - AHEAD - 4,
            "{name}"
        );
        let error = failure(pool.submit_blocking(length, of(LIMIT - AHEAD + 1)).unwrap());
        let JobError::Transfer(failed) = &error else { panic!("{error}") };
        let too_large = TransferFault::ArgumentsTooLarge { bytes: LIMIT + 1, limit: LIMIT as u32 };
        assert_eq!(failed.fault, too_large, "{name}");
        // A number of seven bits a byte is ahead of what it makes.
        let back = |bytes: usize| of(bytes);
        assert!(pool.submit_blocking(back, LIMIT).unwrap().join().unwrap() == of(LIMIT), "{name}");
        let error = failure(pool.submit_blocking(back, LIMIT + 1).unwrap());
        let said = format!("{} bytes, where {LIMIT} are allowed", LIMIT + 1);
        assert!(
            matches!(&error, JobError::Transfer(failed) if failed.fault == TransferFault::ResultTooLarge { said: said.clone() }),
            "{error}"
        );
        assert_eq!((pids(&pool, 1), open_files(name)), (before, 0), "{name}: the child goes on");
    }
}

/// So many times a megabyte when it is serialised, and nothing before.
#[derive(Debug, Deserialize)]
struct Repeated(usize);

impl Serialize for Repeated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(std::iter::repeat_n(Plain(vec![0; 1 << 20]), self.0))
    }
}

#[test]
fn what_is_far_over_the_limit_is_counted_and_not_kept() {
    let pool = pool_with("far-over", 1, ChildOptions::new().frame_limit(1 << 20).memory(1 << 30));
    let before = pids(&pool, 1);
    let error = failure(pool.submit_blocking(|times: usize| Repeated(times), 4 << 10).unwrap());
    assert!(error.to_string().contains("its result is too large: 429"), "{error}");
    assert_eq!(pids(&pool, 1), before);
}

/// Two halves, between which its serialiser does `between`.
#[derive(Debug)]
struct Halves<F>(F);

impl<F: Fn()> Serialize for Halves<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&of(50 << 20))?;
        (self.0)();
        tuple.serialize_element(&of(50 << 20))?;
        tuple.end()
    }
}

/// What the halves arrive as.
type Both = (Plain, Plain);

const ROOM: u32 = 128 << 20;

/// Its serialiser waits, the first time, until the test says go.
static STAGE: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Sent(Both);

impl Serialize for Sent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wait = || {
            // Only the first delivery finds it at zero.
            let _ = STAGE.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
            until("it may go on", || STAGE.load(Ordering::SeqCst) == 2);
        };
        Halves(wait).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Both::deserialize(deserializer).map(Self)
    }
}

#[test]
fn a_child_that_dies_while_its_payload_is_being_written_costs_nothing() {
    let pool = pool_with("dies-before", 1, ChildOptions::new().frame_limit(ROOM));
    let pid = pids(&pool, 1)[0];
    let sent = Sent((of(8), of(8)));
    let handle = pool.submit_blocking(|Sent((a, b)): Sent| (a == b, a.0.len()), sent).unwrap();
    until("half of it is written", || STAGE.load(Ordering::SeqCst) == 1);
    assert_eq!(open_files("dies-before"), 1);
    signal(pid, "KILL");
    STAGE.store(2, Ordering::SeqCst);
    assert_eq!(handle.join().unwrap(), (true, (50 << 20) - 4), "another child had it");
    assert!(!exists(pid), "it was reaped");
    assert_eq!((open_files("dies-before"), pool.snapshot().ledger.lost), (0, 0));
}

/// Serialised in the child, which says that it is half done, and stays there.
#[derive(Debug)]
struct Returned(String);

impl Serialize for Returned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stay = || {
            mark(&self.0);
            std::thread::sleep(Duration::from_secs(3_600));
        };
        Halves(stay).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Returned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Both::deserialize(deserializer).map(|_| Self(String::new()))
    }
}

#[test]
fn a_child_that_dies_while_it_writes_its_result_loses_its_job_and_leaves_nothing() {
    let pool = pool_with("dies-after", 1, ChildOptions::new().frame_limit(ROOM));
    let marks = Marks::new("dies-after");
    let handle: JobHandle<Returned> = pool.submit_blocking(Returned, marks.path()).unwrap();
    until("half of it is written", || !marks.pids().is_empty());
    let pid = marks.pids()[0];
    signal(pid, "KILL");
    assert_eq!(death_of(&failure(handle)), DeathCause::Signalled(9));
    assert!(!exists(pid), "it was reaped");
    assert_eq!(open_files("dies-after"), 0);
    assert!(pool.snapshot().ledger.balances());
}

/// The frame lies in the socket of one that never reads it, and with it the file.
#[test]
fn a_file_that_nobody_took_goes_with_the_child_that_it_was_sent_to() {
    let pool = pool_with("untaken", 1, ChildOptions::new());
    let pid = pids(&pool, 1)[0];
    signal(pid, "STOP");
    let handle = pool.submit_blocking(|payload: Plain| payload.0.len(), of(4 << 20)).unwrap();
    until("it is dispatched", || pool.saturation().active == 1);
    std::thread::sleep(Duration::from_millis(20));
    signal(pid, "KILL");
    match handle.join() {
        // Killed before all of the frame was written.
        Ok(length) => assert_eq!(length, (4 << 20) - 4),
        Err(error) => assert!(error.to_string().contains("SIGKILL"), "{error}"),
    }
    assert!(!exists(pid), "it was reaped");
    assert_eq!(open_files("untaken"), 0);
}
