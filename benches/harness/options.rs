//! The command line.

use std::time::Duration;

use super::rounds::Plan;

const USAGE: &str = "usage: cargo bench --bench <name> -- [--json] [--quick] [--hooks <number>] [row or peer ...]";

/// What the caller asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// One JSON object a line in place of a table.
    pub(crate) json: bool,
    /// Fewer and shorter rounds: the whole run in well under two minutes.
    pub(crate) quick: bool,
    /// So many hooks at each of millpond's pools.
    pub(crate) hooks: usize,
    /// Only rows whose name or peer contains one of these; all rows if empty.
    only: Vec<String>,
}

impl Options {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--hooks" => {
                    let number = arguments.next().and_then(|number| number.parse().ok());
                    options.hooks = number.ok_or_else(|| format!("--hooks: how many?\n{USAGE}"))?;
                }
                // Cargo tells every benchmark that it is one.
                "--bench" => {}
                flag if flag.starts_with('-') => return Err(format!("{flag}: no such option\n{USAGE}")),
                name => options.only.push(name.to_owned()),
            }
        }
        Ok(options)
    }

    /// Whether a row is wanted, given what names it.
    pub(crate) fn wants(&self, names: &[&str]) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| names.iter().any(|name| name.contains(part.as_str())))
    }

    /// How often and for how long each side of a row runs.
    pub(crate) fn plan(&self) -> Plan {
        if self.quick {
            Plan { rounds: 11, in_a_pass: 5, round: Duration::from_millis(100) }
        } else {
            Plan { rounds: 31, in_a_pass: 11, round: Duration::from_millis(250) }
        }
    }
}
