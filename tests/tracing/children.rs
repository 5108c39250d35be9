//! What children print and say, as events of this process, which say whose they are.

use std::io::Write;

use millpond::process::Entry;
use millpond::testing::SettableClock;
use millpond::{JobHandle, Limits, PoolBuilder, ProcessPool, TimeLimit};
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

use crate::listener::{Heard, heard, listen};

const LIMIT: Duration = Duration::from_secs(30);

fn builder(name: &str) -> PoolBuilder<millpond::process::Processes> {
    listen();
    ProcessPool::builder(name).entry(Entry::test()).limits(Limits::fixed(1))
}

/// The job of these, and the process that it ran in.
fn done(mut handle: JobHandle<u32>) -> (String, u32) {
    let id = handle.id().get().to_string();
    (id, handle.join_timeout(LIMIT).expect("it is done"))
}

#[track_caller]
fn assert_is_of(heard: &Heard, pool: &str, (job, pid): &(String, u32)) {
    assert_eq!(heard.target, "millpond::process");
    let fields = ["pool", "worker", "pid", "job"].map(|field| heard.fields[field].as_str());
    assert_eq!(fields, [pool, "0.1", &pid.to_string(), job]);
}

#[test]
fn what_a_child_prints_says_of_which_job_it_is() {
    let pool = builder("printing").build().unwrap();
    // Past what a harness of tests keeps to itself, and after what it has begun to say.
    let print = |line: String| {
        write!(std::io::stdout(), "\nout {line}\n").expect("it is open");
        writeln!(std::io::stderr(), "err {line}").expect("it is open");
        std::process::id()
    };
    for line in ["one", "two"] {
        let who = done(pool.submit_blocking(print, line.to_owned()).unwrap());
        for (stream, begins) in [("stdout", "out"), ("stderr", "err")] {
            let line = heard("message", &format!("{begins} {line}"), |_| true);
            assert_eq!(line.fields["stream"], stream);
            assert_is_of(&line, "printing", &who);
        }
    }
}

#[test]
fn what_a_child_says_comes_home_with_its_job_and_its_fields() {
    let pool = builder("saying").build().unwrap();
    let say = |answer: u32| {
        tracing::warn!(answer, who = "a child", "here it is");
        std::process::id()
    };
    for answer in [41, 42] {
        let who = done(pool.submit_blocking(say, answer).unwrap());
        let said = heard("message", &format!("here it is answer={answer} who=\"a child\""), |_| true);
        assert_eq!((said.level, said.fields["module"].as_str()), (tracing::Level::WARN, "tracing::children"));
        assert_is_of(&said, "saying", &who);
    }
}

/// Says something as it is written, which is in this process.
#[derive(Debug)]
struct Says(Mutex<&'static str>);

impl Serialize for Says {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        tracing::info!(written = *self.0.lock());
        to.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Says {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <()>::deserialize(from)?;
        Ok(Self(Mutex::new("")))
    }
}

/// The clock stands still, so that the third is handed over together with the second.
#[test]
fn the_arguments_of_jobs_that_go_in_pairs_are_written_each_in_its_own_span() {
    let clock = SettableClock::new();
    let pool = builder("in-pairs").clock(clock.clock()).start_limit(LIMIT * 1_000).build().unwrap();
    pool.blocking().quiesce(TimeLimit(LIMIT)).unwrap();
    let words = ["pairs-1", "pairs-2", "pairs-3", "pairs-4", "pairs-5"];
    let submit = |(n, said): (u64, &'static str)| {
        let span = tracing::info_span!("submitter", n);
        let _in_span = span.enter();
        pool.submit_blocking(|_: Says| std::process::id(), Says(Mutex::new(said))).unwrap()
    };
    let handles: Vec<_> = (0..).zip(words).map(submit).collect();
    pool.blocking().resume(TimeLimit(LIMIT)).unwrap();
    for ((n, handle), said) in (0..).zip(handles).zip(words) {
        let (job, _) = done(handle);
        let written = heard("written", said, |_| true);
        let spans: Vec<_> = written.spans.iter().map(|(name, _)| *name).collect();
        assert_eq!(spans, ["millpond.job", "submitter"], "{said}");
        assert_eq!((written.spans[0].1["job"].as_str(), written.spans[1].1["n"].as_str()), (&*job, &*format!("{n}")));
    }
}
