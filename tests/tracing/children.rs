//! What children print and say, as events of this process, which say whose they are.

use std::io::Write;

use millpond::process::{ChildOptions, Entry};
use millpond::testing::SettableClock;
use millpond::{JobContext, JobError, JobHandle, JoinError, Limits, PoolBuilder, ProcessPool, TimeLimit};
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

use crate::listener::{Heard, all_heard, heard, listen, soon};

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

#[test]
fn what_a_child_says_comes_home_with_the_names_of_the_spans_that_it_is_in() {
    let pool = builder("in-spans").build().unwrap();
    let say = |n: u32| {
        tracing::info!("{n} outside");
        let outer = tracing::info_span!("outer", n);
        let in_outer = outer.enter();
        tracing::info!("{n} in one");
        tracing::warn_span!("inner").in_scope(|| {
            tracing::info!("{n} in two");
            tracing::info!(parent: None, "{n} in none");
            tracing::info!(parent: &outer, "{n} in another");
            let there = outer.clone();
            let thread =
                std::thread::scope(|scope| scope.spawn(|| there.in_scope(|| tracing::info!("{n} elsewhere"))).join());
            thread.expect("it does not panic");
        });
        drop(in_outer);
        tracing::info!("{n} outside again");
        std::process::id()
    };
    // Once more, when all of these spans are known.
    for n in [1, 2] {
        let who = done(pool.submit_blocking(say, n).unwrap());
        for (said, spans) in [
            ("outside", None),
            ("in one", Some("outer")),
            ("in two", Some("outer:inner")),
            ("in none", None),
            ("in another", Some("outer")),
            ("elsewhere", Some("outer")),
            ("outside again", None),
        ] {
            let heard = heard("message", &format!("{n} {said}"), |_| true);
            assert_eq!(heard.fields.get("span").map(String::as_str), spans, "{said}");
            assert_is_of(&heard, "in-spans", &who);
        }
    }
}

/// So much is said of them that it is cut, and the child lives.
#[test]
fn spans_that_are_many_are_cut() {
    let pool = builder("deep-spans").child(ChildOptions::new().frame_limit(4 << 10)).build().unwrap();
    fn deeper(left: u32) {
        let span = tracing::info_span!("a_span_with_a_name_that_is_long_enough_to_fill_a_kibibyte_with_thirty_of_them");
        span.in_scope(|| if left == 0 { tracing::info!("deep down") } else { deeper(left - 1) });
    }
    let dive = |()| {
        deeper(500);
        tracing::info!("up again");
        std::process::id()
    };
    let who = done(pool.submit_blocking(dive, ()).unwrap());
    let deep = heard("message", "deep down", |_| true);
    let spans = &deep.fields["span"];
    assert!((1_000..=1_024).contains(&spans.len()) && spans.contains("of_them:a_span"), "{spans}");
    let up = heard("message", "up again", |_| true);
    assert!(!up.fields.contains_key("span"));
    assert_is_of(&up, "deep-spans", &who);
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

const MANY: usize = 5_000;

/// Writes many lines at once, past what a harness of tests keeps to itself.
fn print_many(mut to: impl Write) {
    let lines: String = (0..MANY).map(|n| format!("line {n} of many\n")).collect();
    to.write_all(format!("\n{lines}").as_bytes()).expect("it is open");
}

/// Of the many lines, the numbers of those that were passed on, and how many it was said of that they were not, once these are all.
#[track_caller]
fn passed_on_and_dropped(pool: &str) -> (Vec<usize>, usize) {
    let counted = || {
        let (mut passed_on, mut dropped) = (Vec::new(), 0);
        for heard in all_heard("pool", pool) {
            let words: Vec<&str> = heard.fields["message"].split(' ').collect();
            match words[..] {
                ["line", n, "of", "many"] => passed_on.push(n.parse().expect("a number")),
                [n, "lines", "were", "too", "many", ..] => {
                    assert_eq!(heard.level, tracing::Level::WARN);
                    dropped += n.parse::<usize>().expect("a number");
                }
                _ => {}
            }
        }
        (passed_on, dropped)
    };
    soon("all are accounted for", || Some(counted()).filter(|(passed_on, dropped)| passed_on.len() + dropped >= MANY))
}

/// However slowly it comes, of each second there are a thousand at most: the first ones. A harness of tests has a few lines of its own, one of which it never ends.
#[track_caller]
fn assert_are_the_first(passed_on: &[usize], dropped: usize) {
    let all = passed_on.len() + dropped;
    assert!((MANY..=MANY + 1).contains(&all), "{all} lines");
    assert!(passed_on.len() >= 900 && dropped > 0, "{} were passed on", passed_on.len());
    assert!((0..900).eq(passed_on[..900].iter().copied()) && passed_on.is_sorted());
}

/// It prints nothing after them, and runs on.
#[test]
fn of_lines_that_are_too_many_for_a_second_the_first_are_passed_on_and_the_others_are_counted() {
    let pool = builder("many-lines").build().unwrap();
    let handle = pool.submit_blocking(
        |()| {
            print_many(std::io::stdout());
            while !JobContext::current().expect("it runs in a job").is_cancelled() {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        },
        (),
    );
    let mut handle = handle.unwrap();
    let (passed_on, dropped) = passed_on_and_dropped("many-lines");
    assert_are_the_first(&passed_on, dropped);
    handle.cancel();
    handle.join_timeout(LIMIT).expect("it is done");
}

/// And the last of them stand in the error all the same.
#[test]
fn lines_that_were_too_many_are_counted_when_their_child_dies() {
    let pool = builder("last-lines").build().unwrap();
    let dies = |()| -> u32 {
        print_many(std::io::stderr());
        std::process::abort()
    };
    let ended = pool.submit_blocking(dies, ()).unwrap().join_timeout(LIMIT);
    let Err(JoinError::Job(JobError::Lost(lost))) = ended else { panic!("{ended:?}") };
    let (passed_on, dropped) = passed_on_and_dropped("last-lines");
    assert_are_the_first(&passed_on, dropped);
    let last: Vec<String> = (MANY - 20..MANY).map(|n| format!("line {n} of many")).collect();
    assert_eq!(*lost.death.expect("it is known").last_words, last.join("\n"));
}
