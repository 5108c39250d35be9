//! What is printed: a table at 80 columns, coloured on a terminal, and one JSON object if that was asked for.

use std::io::IsTerminal;

use serde_json::{Map, Value, json};

use crate::stats::Run;
use crate::storm::{LOOK_UPS, Names, PACE, SLOW_CALL, SLOW_CALLS, THREADS};

/// Slower than this is bad news for whoever waits for a name.
const GOOD_MS: f64 = 20.0;
const WIDTH: usize = 80;

const EXPLANATION: &str = "
tokio_idle           lookup_host alone, on a runtime with six blocking threads
tokio_storm          slow calls and look-ups share those six threads
tokio_bulkhead       a semaphore of five around every slow call
millpond_storm       one ThreadPool of six; lane `dns` reserves one of them
millpond_unreserved  one queue for both, as in tokio; a look-up that gets no
                     thread within 1 s fails and says why";

/// What the operator saw and did.
pub(crate) struct Operation {
    pub(crate) inventory: String,
    /// The same as JSON, one value a worker.
    pub(crate) rows: Vec<Value>,
    pub(crate) killed: String,
    /// What the submitter of the killed job was told.
    pub(crate) outcome: String,
    pub(crate) saturation: String,
    pub(crate) control_ms: [(&'static str, f64); 3],
    pub(crate) phases: [(&'static str, Phase); 3],
}

/// A second between two of the operator's actions.
pub(crate) struct Phase {
    pub(crate) title: &'static str,
    pub(crate) look_ups: Run,
    pub(crate) slow_calls_per_s: f64,
}

/// Prints as results arrive, and keeps them for the JSON.
pub(crate) struct Report {
    colour: bool,
    json: Map<String, Value>,
    /// Of `millpond_unreserved`, shown under the table.
    unreserved: Option<(usize, usize, String)>,
}

impl Report {
    pub(crate) fn begin(names: &Names) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        print_wrapped(&format!(
            "The DNS storm: {SLOW_CALLS} blocking calls of {} s share {THREADS} threads with look-ups of {}, \
             one every {} ms for {} s.",
            SLOW_CALL.as_secs_f64(),
            names.join(", "),
            PACE.as_millis(),
            (PACE * LOOK_UPS as u32).as_secs(),
        ));
        let report = Self { colour: std::io::stdout().is_terminal() && !no_colour, json: Map::new(), unreserved: None };
        println!();
        report.head("latency of look-ups");
        report
    }

    /// Prints one row of the table.
    pub(crate) fn row(&mut self, key: &'static str, run: Run) {
        self.line(key, &run);
        let mut json = run.to_json();
        match &run.error {
            _ if key == "millpond_unreserved" => {
                json["error"] = run.error.clone().into();
                self.unreserved = run.error.clone().map(|error| (run.failed, run.n(), error));
            }
            Some(error) => print_wrapped(&format!("{key}: {} failed, for instance: {error}", run.failed)),
            None => {}
        }
        self.json.insert(key.to_owned(), json);
    }

    /// Says what the rows were, and shows the error that a starved look-up got.
    pub(crate) fn explain_rows(&self) {
        println!("{EXPLANATION}");
        if let Some((failed, n, error)) = &self.unreserved {
            println!("\nmillpond_unreserved: {failed} of {n} look-ups failed, each with an error like this one:\n");
            print_wrapped(error);
        }
    }

    pub(crate) fn operator(&mut self, operation: Operation) {
        println!("\n{}\n", self.bold("The operator, in the storm of millpond_storm and one stuck call:"));
        println!("{}\n", operation.inventory);
        println!("killed: {}; its submitter was told:\n", operation.killed);
        print_wrapped(&operation.outcome);
        println!();
        self.head("latency of look-ups");
        for (_, phase) in &operation.phases {
            self.line(phase.title, &phase.look_ups);
        }
        println!();
        for (_, phase) in &operation.phases {
            println!("{:<20} {:>6.1} slow calls a second", phase.title, phase.slow_calls_per_s);
        }
        println!();
        for (operation, ms) in &operation.control_ms {
            println!("{operation:<20} answered in {ms:.3} ms");
        }
        println!("\nat the end: {}", operation.saturation);
        self.json.insert("operator".to_owned(), operation.to_json());
    }

    /// Everything as one object on one line.
    pub(crate) fn print_json(self) {
        println!("{}", Value::Object(self.json));
    }

    fn head(&self, title: &str) {
        let columns = ["p50 ms", "p90 ms", "p99 ms", "max ms"].map(|name| format!(" {name:>9}")).concat();
        println!("{}", self.bold(&format!("{title:<20} {:>4}{columns} {:>6} {:>6}", "n", "> 1 s", "failed")));
    }

    fn line(&self, title: &str, run: &Run) {
        let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| self.cell(run.percentile_ms(percent)));
        let [timeouts, failed] =
            [run.timeouts(), run.failed].map(|count| self.paint(format!("{count:>6}"), count == 0));
        println!("{title:<20} {:>4} {p50} {p90} {p99} {max} {timeouts} {failed}", run.n());
    }

    fn cell(&self, ms: f64) -> String {
        self.paint(format!("{ms:>9.2}"), ms < GOOD_MS)
    }

    fn paint(&self, text: String, good: bool) -> String {
        match (self.colour, good) {
            (false, _) => text,
            (true, true) => format!("\x1b[32m{text}\x1b[0m"),
            (true, false) => format!("\x1b[31m{text}\x1b[0m"),
        }
    }

    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Operation {
    fn to_json(&self) -> Value {
        let control: Map<_, _> = self.control_ms.iter().map(|(name, ms)| ((*name).to_owned(), json!(ms))).collect();
        let phases: Map<_, _> = self.phases.iter().map(|(key, phase)| ((*key).to_owned(), phase.to_json())).collect();
        json!({
            "inventory": self.rows,
            "killed": self.killed,
            "outcome": self.outcome,
            "control_ms": control,
            "look_ups": phases,
        })
    }
}

impl Phase {
    fn to_json(&self) -> Value {
        let mut json = self.look_ups.to_json();
        json["slow_calls_per_s"] = json!((self.slow_calls_per_s * 10.0).round() / 10.0);
        json
    }
}

/// Prints a paragraph in lines of at most [`WIDTH`] characters, broken at spaces.
fn print_wrapped(text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            println!("{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    println!("{line}");
}
