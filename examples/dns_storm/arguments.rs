//! What the program was asked for.

use std::net::IpAddr;
use std::sync::Arc;

use crate::storm::Names;

pub(crate) const USAGE: &str = "\
usage: dns_storm [--json] [NAME]...

  NAME     a name to look up; several are looked up in turn (default: localhost)
  --json   print one JSON object as the last line";

pub(crate) struct Arguments {
    pub(crate) json: bool,
    pub(crate) names: Names,
}

impl Arguments {
    /// `None` if help was asked for.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut json = false;
        let mut names = Vec::new();
        for argument in arguments {
            match argument.as_str() {
                "--json" => json = true,
                "--help" | "-h" => return Ok(None),
                option if option.starts_with('-') => return Err(format!("unknown option `{option}`")),
                // An address is parsed and never reaches the resolver: nothing would be measured.
                name if name.parse::<IpAddr>().is_ok() => {
                    return Err(format!("`{name}` is an address already; give a name"));
                }
                name => names.push(Arc::from(name)),
            }
        }
        if names.is_empty() {
            names.push(Arc::from("localhost"));
        }
        Ok(Some(Self { json, names: names.into() }))
    }
}
