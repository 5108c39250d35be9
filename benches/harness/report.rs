//! What a row measured, as a line of a table or of JSON.

use super::figures::{median, quantile};

/// Both sides of a row.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    unit: &'static str,
    millpond: f64,
    peer: Option<f64>,
    /// Above 1 when millpond is ahead, whichever way the unit points.
    ratio: Option<f64>,
    /// The quartiles of the ratios of single rounds.
    quartiles: Option<(f64, f64)>,
    /// Of a row that is measured in passes: both sides' values so far.
    rounds: Option<(Vec<f64>, Vec<f64>)>,
}

impl Measured {
    /// From both sides' values of each round, where more is better.
    pub(crate) fn higher_is_better(unit: &'static str, rounds: (Vec<f64>, Vec<f64>)) -> Self {
        let ratios = rounds.0.iter().zip(&rounds.1).map(|(millpond, peer)| millpond / peer).collect();
        Self { rounds: Some(rounds.clone()), ..Self::of_rounds(unit, &rounds, ratios) }
    }

    /// True if another pass adds rounds.
    pub(crate) fn goes_on(&self) -> bool {
        self.rounds.is_some()
    }

    /// The same with the rounds of another pass.
    pub(crate) fn with(mut self, pass: Self) -> Self {
        let (Some(mut rounds), Some(more)) = (self.rounds.take(), pass.rounds) else { return self };
        rounds.0.extend(more.0);
        rounds.1.extend(more.1);
        Self::higher_is_better(self.unit, rounds)
    }

    /// From both sides' values of each round, where less is better.
    pub(crate) fn lower_is_better(unit: &'static str, rounds: (Vec<f64>, Vec<f64>)) -> Self {
        let ratios = rounds.0.iter().zip(&rounds.1).map(|(millpond, peer)| peer / millpond).collect();
        Self::of_rounds(unit, &rounds, ratios)
    }

    fn of_rounds(unit: &'static str, (millpond, peer): &(Vec<f64>, Vec<f64>), ratios: Vec<f64>) -> Self {
        Self {
            unit,
            millpond: median(millpond),
            peer: Some(median(peer)),
            ratio: Some(median(&ratios)),
            quartiles: Some((quantile(&ratios, 0.25), quantile(&ratios, 0.75))),
            rounds: None,
        }
    }

    /// From one figure of each side, where less is better: for sides whose figures are different statistics.
    pub(crate) fn against(unit: &'static str, millpond: f64, peer: f64) -> Self {
        Self { unit, millpond, peer: Some(peer), ratio: Some(peer / millpond), quartiles: None, rounds: None }
    }

    /// A figure that no peer has.
    pub(crate) fn alone(unit: &'static str, millpond: f64) -> Self {
        Self { unit, millpond, peer: None, ratio: None, quartiles: None, rounds: None }
    }

    /// The table's head.
    pub(crate) fn heading() -> String {
        let line = format!(
            "{:<16} {:<16} {:>12} {:>12} {:<7} {:>7}  {}",
            "row", "peer", "millpond", "peer", "unit", "ratio", "quartiles"
        );
        format!("{line}\n{}", "-".repeat(line.len()))
    }

    /// As a line of the table.
    pub(crate) fn line(&self, row: &str, peer: &str) -> String {
        let value = |value: Option<f64>| value.map_or("-".to_owned(), grouped);
        let ratio = self.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}x"));
        let quartiles = self.quartiles.map_or(String::new(), |(low, high)| format!("{low:.2}-{high:.2}"));
        format!(
            "{row:<16} {peer:<16} {:>12} {:>12} {:<7} {ratio:>7}  {quartiles}",
            grouped(self.millpond),
            value(self.peer),
            self.unit
        )
        .trim_end()
        .to_owned()
    }

    /// As a JSON object.
    pub(crate) fn json(&self, row: &str, peer: &str, hooks: usize) -> String {
        let number = |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value:.4}"));
        format!(
            r#"{{"row": "{row}", "peer": "{peer}", "hooks": {hooks}, "millpond": {}, "peer_value": {}, "unit": "{}", "ratio": {}}}"#,
            number(Some(self.millpond)),
            number(self.peer),
            self.unit,
            number(self.ratio),
        )
    }
}

/// A number for people: three figures at least, thousands apart.
pub(crate) fn grouped(value: f64) -> String {
    let text = match value.abs() {
        size if size < 10.0 => return format!("{value:.2}"),
        size if size < 1_000.0 => return format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    let mut out = String::with_capacity(text.len() + text.len() / 3);
    for (place, digit) in text.char_indices() {
        if place > 0 && (text.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
