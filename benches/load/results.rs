//! Figures: one a line in a file, several runs each; the table takes medians.

use super::fault::Res;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// The figures of one run of one row.
#[derive(Debug, Default, Clone)]
pub struct Row(pub Vec<(&'static str, f64)>);

impl Row {
    /// Without figures yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    #[must_use]
    pub fn with(mut self, metric: &'static str, value: f64) -> Self {
        self.0.push((metric, value));
        self
    }

    /// The same as text for a person.
    pub fn told(&self) -> String {
        let told: Vec<_> = self.0.iter().map(|(key, value)| format!("{key} {value:.5}")).collect();
        told.join("  ")
    }
}

/// All figures of a run: by row, server and metric, the values of all rounds.
#[derive(Debug, Default)]
pub struct Results(BTreeMap<(String, String, String), Vec<f64>>);

impl Results {
    /// Reads a file; none means no figures.
    pub fn read(path: &Path) -> Self {
        let mut results = Self::default();
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            if let [row, name, metric, value] = fields.as_slice()
                && let Ok(value) = value.parse()
            {
                let key = ((*row).to_owned(), (*name).to_owned(), (*metric).to_owned());
                results.0.entry(key).or_default().push(value);
            }
        }
        results
    }

    /// The median of the rounds, and how far they lie apart (as a share of it); a single one says
    /// nothing of that.
    pub fn median(&self, row: &str, name: &str, metric: &str) -> Option<(f64, Option<f64>)> {
        let key = (row.to_owned(), name.to_owned(), metric.to_owned());
        let mut values = self.0.get(&key)?.clone();
        values.sort_by(f64::total_cmp);
        let median = *values.get(values.len() / 2)?;
        let spread = (values.last()? - values.first()?) / median;
        Some((median, (values.len() > 1).then_some(spread)))
    }

    /// One row's median over another's.
    pub fn ratio(
        &self,
        row: &str,
        under: &str,
        name: &str,
        metric: &str,
    ) -> Option<(f64, Option<f64>)> {
        let (over, under) = (self.median(row, name, metric)?, self.median(under, name, metric)?);
        Some((over.0 / under.0, over.1.zip(under.1).map(|(over, under)| over.max(under))))
    }

    /// The servers measured, in the order of their names.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.keys().map(|(_, name, _)| name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Appends the figures to the file.
pub fn append(path: &Path, row: &str, name: &str, figures: &Row) -> Res<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    for (metric, value) in &figures.0 {
        writeln!(file, "{row}\t{name}\t{metric}\t{value}")?;
    }
    Ok(())
}
