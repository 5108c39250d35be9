//! Inventory: every worker with its state, its job, and since when.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::{Health, HealthAt, Lineage, Saturation};
use crate::id::{ClaimNo, JobId, WorkerId};
use crate::sync::{Arc, Timestamp};

/// What an incarnation is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WorkerState {
    /// Coming up. Exits: `Idle`, `Busy`, `Leaving`, `Abandoned`, `Gone`.
    Starting,
    /// Waits for a job. Exits: `Busy`, `Leaving`, `Gone`.
    Idle,
    /// Has a job in hand. Exits: `Idle`, `Busy` (the next claim), `Condemned`, `Leaving`, `Abandoned`, `Gone`.
    Busy,
    /// Has a job in hand and will not take another. Exits: `Leaving`, `Abandoned`, `Gone`.
    Condemned,
    /// Has given its seat back and is about to end. Exits: `Gone`; `Abandoned`, when that takes longer than the kill grace.
    Leaving,
    /// Was told to go and has not gone; holds no seat. Exit: `Gone`, when its code returns.
    Abandoned,
    /// Has ended.
    Gone,
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Condemned => "condemned",
            Self::Leaving => "leaving",
            Self::Abandoned => "abandoned",
            Self::Gone => "gone",
        })
    }
}

/// What only one kind of worker has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Facts {
    /// The name of the worker's OS thread.
    pub thread: Option<Arc<str>>,
    /// The id of the worker's actor, as ractor prints it.
    pub actor: Option<Arc<str>>,
    /// The number of the worker's process.
    pub pid: Option<u32>,
    /// The memory that its process has in use, in bytes.
    pub resident_memory: Option<u64>,
    /// The memory that the guest in the worker's instance has in use, in bytes: of WebAssembly its linear memories, of Lua all that its state has. It is as of the last time that
    /// the guest grew, that some thousand of its instructions were over, or that a job ended; `None` while there is no instance.
    pub guest_memory: Option<u64>,
    /// The processor time that its process has used.
    pub cpu_time: Option<Duration>,
    /// How many descriptors its process has open; Linux says so from version 6.2 on.
    pub open_files: Option<u64>,
    /// The last job that its process has said it has begun. A job in its hands that is not this one was sent to it, or is being sent, and may have begun
    /// all the same: a process says so with the job's answer if that comes within some milliseconds.
    pub acknowledged: Option<JobId>,
}

/// The job in a worker's hands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobRow {
    /// Which job.
    pub id: JobId,
    /// Which claim of its worker.
    pub claim: ClaimNo,
    /// Which of the job's deliveries: 1, unless workers were lost under it before; see [`JobOptions::redeliver`](crate::JobOptions::redeliver).
    pub delivery: u16,
    /// What the submitter called it.
    pub label: Option<Arc<str>>,
    /// The line that submitted it.
    pub submitted_from: &'static Location<'static>,
    /// The job that submitted it; `None` if it was submitted from outside any job.
    pub lineage: Option<Lineage>,
    /// The lane that it waited in.
    pub lane: Arc<str>,
    /// How long it waited for its worker.
    pub queue_wait: Duration,
    /// How long it has run.
    pub running_for: Duration,
    /// When it last said that it progresses.
    pub last_beat: Option<Timestamp>,
    /// How long it has made no progress: since that beat, or since it began.
    pub silent_for: Duration,
    /// True if that is longer than it may be. Printed as the state of a busy worker.
    pub overdue: bool,
}

/// One worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerRow {
    /// Which incarnation.
    pub worker: WorkerId,
    /// What it is doing.
    pub state: WorkerState,
    /// Since when.
    pub since: Timestamp,
    /// The same, as a span up to when the inventory was taken.
    pub in_state_for: Duration,
    /// The job in its hands.
    pub job: Option<JobRow>,
    /// Jobs that it has ended.
    pub jobs_done: u64,
    /// How often its slot was restarted before it.
    pub restarts: u32,
    /// From its start to its readiness.
    pub start_delay: Option<Duration>,
    /// What only this kind of worker has.
    pub facts: Facts,
}

/// Every worker of a pool at one moment. Prints as a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inventory {
    /// The pool's name.
    pub pool: Arc<str>,
    /// When this was read, on the pool's clock.
    pub taken_at: Timestamp,
    /// One row a worker, by slot; abandoned ones last.
    pub workers: Vec<WorkerRow>,
    /// The counters of nearly the same moment.
    pub saturation: Saturation,
    /// Whether the pool can do its work, and if not, why not and since when.
    pub health: Health,
}

impl Inventory {
    /// The worker whose job has run longest, abandoned ones apart: those hold no seat.
    pub fn longest_active(&self) -> Option<&WorkerRow> {
        self.workers
            .iter()
            .filter(|row| row.job.is_some() && row.state != WorkerState::Abandoned)
            .max_by_key(|row| row.job.as_ref().map(|job| job.running_for))
    }

    /// The worker that was abandoned longest ago and still runs.
    pub fn longest_abandoned(&self) -> Option<&WorkerRow> {
        self.workers.iter().filter(|row| row.state == WorkerState::Abandoned).max_by_key(|row| row.in_state_for)
    }
}

/// Prints the pool's counters, in a line of its own why it is not healthy if it is not, and a row for each worker, aligned, at 80 columns. Where a label or a path does not fit, `…` stands
/// for the middle of the label or the front of the path. Numbers are never cut, so enormous ones make wider rows.
impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool `{}`: {}", self.pool, self.saturation)?;
        if !self.health.is_healthy() {
            write!(f, "\n{}", HealthAt(&self.health, self.taken_at))?;
        }
        let lines: Vec<_> = self.workers.iter().map(Line::of).collect();
        write_table(f, &lines)
    }
}

/// Columns of a terminal that nobody has resized.
const WIDTH: usize = 80;
/// What a label keeps at the cost of a long path, and a path at the cost of long numbers.
const LABEL: usize = 12;
const FROM: usize = 16;

/// One row as text.
struct Line<'a> {
    worker: String,
    state: String,
    span: String,
    job: Option<JobText<'a>>,
}

struct JobText<'a> {
    id: String,
    label: String,
    file: &'a str,
    line: String,
}

impl<'a> Line<'a> {
    fn of(row: &'a WorkerRow) -> Self {
        let job = row.job.as_ref().map(|job| {
            let from = job.submitted_from;
            JobText::new(job.id.to_string(), job.label.as_deref(), from.file(), from.line())
        });
        let overdue = row.state == WorkerState::Busy && row.job.as_ref().is_some_and(|job| job.overdue);
        let state = if overdue { "overdue".to_owned() } else { row.state.to_string() };
        Self { worker: row.worker.to_string(), state, span: Seconds(row.in_state_for).to_string(), job }
    }
}

impl<'a> JobText<'a> {
    fn new(id: String, label: Option<&str>, file: &'a str, line: u32) -> Self {
        // A label is any text; a line break or an escape in it must not tear the table.
        let label = elided(label.unwrap_or("-"), WIDTH).replace(char::is_control, "\u{fffd}");
        Self { id, label, file, line: format!(":{line}") }
    }

    fn site_columns(&self) -> usize {
        columns(self.file) + self.line.len()
    }
}

fn write_table(f: &mut impl fmt::Write, lines: &[Line<'_>]) -> fmt::Result {
    let jobs = || lines.iter().filter_map(|line| line.job.as_ref());
    let worker = widest(6, lines.iter().map(|line| columns(&line.worker)));
    let span = widest(7, lines.iter().map(|line| columns(&line.span)));
    let id = widest(5, jobs().map(|job| columns(&job.id)));
    let rest = WIDTH.saturating_sub(worker + 1 + 9 + 1 + span + 2 + id + 1);
    let label = widest(5, jobs().map(|job| columns(&job.label)));
    let from = widest(4, jobs().map(JobText::site_columns));
    let label = label.min(rest.saturating_sub(from + 1).max(LABEL));
    let from = rest.saturating_sub(label + 1).max(FROM);

    write!(f, "\n{:<worker$} {:<9} {:>span$}  {:<id$} {:<label$} from", "worker", "state", "for", "job", "label")?;
    for line in lines {
        write!(f, "\n{:<worker$} {:<9} {:>span$}  ", line.worker, line.state, line.span)?;
        let Some(job) = &line.job else {
            f.write_char('-')?;
            continue;
        };
        let file = tail(job.file, from.saturating_sub(job.line.len()));
        write!(f, "{:<id$} {:<label$} {file}{}", job.id, elided(&job.label, label), job.line)?;
    }
    Ok(())
}

fn widest(least: usize, widths: impl Iterator<Item = usize>) -> usize {
    widths.fold(least, usize::max)
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// `text` in at most `width` columns: its two ends, if need be.
fn elided(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let front: String = text.chars().take(kept - kept / 2).collect();
    format!("{front}…{}", last(text, kept / 2))
}

/// `text` in at most `width` columns: its end, if need be.
fn tail(text: &str, width: usize) -> String {
    if columns(text) <= width { text.to_owned() } else { format!("…{}", last(text, width.saturating_sub(1))) }
}

fn last(text: &str, count: usize) -> &str {
    let from = text.char_indices().rev().take(count).last().map_or(text.len(), |(at, _)| at);
    &text[from..]
}

/// A span as a person reads it: `41.2 s`, `350 ms`, `12 µs`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs_f64();
        f.pad(&if secs >= 1.0 {
            format!("{secs:.1} s")
        } else if secs >= 1e-3 {
            format!("{:.0} ms", secs * 1e3)
        } else {
            format!("{:.0} µs", secs * 1e6)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy<'a>(worker: &str, span: Duration, id: u64, label: &str, file: &'a str, line: u32) -> Line<'a> {
        let job = JobText::new(JobId(id).to_string(), Some(label), file, line);
        Line {
            worker: worker.to_owned(),
            state: WorkerState::Condemned.to_string(),
            span: Seconds(span).to_string(),
            job: Some(job),
        }
    }

    fn table(lines: &[Line<'_>]) -> Vec<String> {
        let mut text = String::new();
        write_table(&mut text, lines).expect("a string takes everything");
        text.lines().skip(1).map(str::to_owned).collect()
    }

    const SPAN: Duration = Duration::from_millis(41_200);

    #[test]
    fn everyday_rows_fit_80_columns_uncut() {
        let idle = Line {
            worker: "1.1".to_owned(),
            state: WorkerState::Idle.to_string(),
            span: "12 µs".to_owned(),
            job: None,
        };
        let rows = table(&[busy("0.1", SPAN, 7, "stuck_call", "examples/dns_storm/operator.rs", 27), idle]);
        let expected = [
            "worker state         for  job   label      from",
            "0.1    condemned  41.2 s  #7    stuck_call examples/dns_storm/operator.rs:27",
            "1.1    idle        12 µs  -",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn long_labels_and_paths_are_elided_and_numbers_are_not() {
        let path = "/home/somebody/work/services/name-service/vendor/third-party/resolver-0.25.2/src/lookup.rs";
        let label = "nightly-report-of-every-customer-in-europe";
        let rows = table(&[
            busy("0.1", SPAN, 7, "short", path, 1234),
            busy("12345.678", Duration::from_secs(9_999_999), 123_456_789, label, path, 56_789),
            busy("2.1", SPAN, 8, &"é".repeat(1 << 20), "src/main.rs", 3),
            busy("3.1", SPAN, 9, "two\nlines\x1b[31m", "src/main.rs", 4),
        ]);
        for row in &rows {
            assert!(columns(row) <= WIDTH, "{} columns: {row}", columns(row));
        }
        assert!(rows[1].ends_with("/lookup.rs:1234"), "{}", rows[1]);
        assert!(rows[2].starts_with("12345.678 condemned 9999999.0 s  #123456789 nightl…urope …"), "{}", rows[2]);
        assert!(rows[2].ends_with("lookup.rs:56789"), "{}", rows[2]);
        assert_eq!((rows.len(), rows[3].matches('…').count()), (5, 1));
        // Every column begins where its heading does.
        let from = rows[0].find("from").expect("a heading");
        let begins = |row: &String| row.chars().nth(from - 1) == Some(' ') && row.chars().nth(from) != Some(' ');
        assert!(rows[1..].iter().all(begins), "{rows:#?}");
    }

    #[test]
    fn numbers_that_leave_no_room_make_wider_rows() {
        let rows = table(&[busy("4294967295.4294967295", Duration::MAX, u64::MAX, "label", "src/main.rs", u32::MAX)]);
        for number in ["4294967295.4294967295", "18446744073709551616.0 s", "#18446744073709551615", ":4294967295"] {
            assert!(rows[1].contains(number), "{number} in {}", rows[1]);
        }
    }
}
