//! One axis of growth: sizes, the figures of each, and how they are printed.

use crate::harness::figures::median;
use crate::harness::report::grouped;

/// Something that a pool can have more of.
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    /// What each figure is, its unit last.
    pub(crate) columns: &'static [&'static str],
    /// Smallest first.
    pub(crate) sizes: &'static [usize],
    /// One figure a column.
    pub(crate) measure: fn(usize) -> Vec<f64>,
}

impl Axis {
    /// The median figures of each size.
    pub(crate) fn run(&self, turns: usize) -> Vec<Vec<f64>> {
        let taken: Vec<Vec<Vec<f64>>> =
            (0..turns).map(|_| self.sizes.iter().map(|size| (self.measure)(*size)).collect()).collect();
        let figure = |size: usize, column: usize| {
            let values: Vec<f64> = taken.iter().map(|turn| turn[size][column]).collect();
            median(&values)
        };
        (0..self.sizes.len()).map(|size| (0..self.columns.len()).map(|column| figure(size, column)).collect()).collect()
    }

    /// As a table, a column for each size.
    pub(crate) fn print(&self, figures: &[Vec<f64>]) {
        let sizes: String = self.sizes.iter().map(|size| format!("{:>12}", grouped(*size as f64))).collect();
        let heading = format!("{:<24}{sizes}{:>10}", self.name, "growth");
        println!("{heading}\n{}", "-".repeat(heading.len()));
        for (column, name) in self.columns.iter().enumerate() {
            let values: String = figures.iter().map(|size| format!("{:>12}", grouped(size[column]))).collect();
            let growth = figures[figures.len() - 1][column] / figures[0][column];
            println!("{name:<24}{values}{growth:>9.2}x");
        }
        println!();
    }

    /// As one object a size.
    pub(crate) fn print_json(&self, figures: &[Vec<f64>]) {
        for (size, values) in self.sizes.iter().zip(figures) {
            let fields: String =
                self.columns.iter().zip(values).map(|(name, value)| format!(r#", "{name}": {value:.4}"#)).collect();
            println!(r#"{{"axis": "{}", "size": {size}{fields}}}"#, self.name);
        }
    }
}
