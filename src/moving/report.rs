//! What became of an import, by kinds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The report of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    kinds: BTreeMap<String, Kind>,
}

/// What became of the things of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kind {
    /// They are written.
    pub new: u64,
    /// They were there.
    pub there: u64,
    /// They could not be taken.
    pub not: u64,
    /// Some of those, each with its owner and the reason; at most [`NAMED_MAX`].
    pub named: Vec<String>,
}

impl Report {
    /// Some are written.
    pub fn wrote(&mut self, what: &str) {
        self.kind(what).new += 1;
    }

    /// One was there.
    pub fn there(&mut self, what: &str) {
        self.kind(what).there += 1;
    }

    /// One could not be taken: whose, which, why.
    pub fn not(&mut self, what: &str, owner: &str, which: &str, why: &str) {
        let kind = self.kind(what);
        kind.not += 1;
        if kind.named.len() < NAMED_MAX {
            let (owner, which) = (short(owner), short(which));
            let whose = if owner.is_empty() || owner == which { "" } else { &owner };
            let space = if whose.is_empty() { "" } else { ": " };
            kind.named.push(format!("{whose}{space}{which}: {}", short(why)));
        }
    }

    /// The kinds by name.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.kinds.iter().map(|(what, kind)| (what.as_str(), kind))
    }

    /// What became of one kind.
    pub fn of(&self, what: &str) -> Kind {
        self.kinds.get(what).cloned().unwrap_or_default()
    }

    /// Whether everything could be taken.
    pub fn is_whole(&self) -> bool {
        self.kinds.values().all(|kind| kind.not == 0)
    }

    /// Adds what another part of the import did.
    pub fn add(&mut self, other: Self) {
        for (what, more) in other.kinds {
            let kind = self.kind(&what);
            (kind.new, kind.there, kind.not) =
                (kind.new + more.new, kind.there + more.there, kind.not + more.not);
            let room = NAMED_MAX.saturating_sub(kind.named.len());
            kind.named.extend(more.named.into_iter().take(room));
        }
    }

    /// For people: a line for each kind, then what could not be taken, by name.
    pub fn lines(&self, dry: bool) -> Vec<String> {
        let written = if dry { "would be new" } else { "new" };
        let mut lines = Vec::new();
        for (what, Kind { new, there, not, .. }) in self.kinds() {
            let mut line = format!("{what}: {new} {written}, {there} there already");
            if *not > 0 {
                let _ = write!(line, ", {not} NOT taken");
            }
            lines.push(line);
        }
        if lines.is_empty() {
            lines.push("there was nothing to take".to_owned());
        }
        for (what, kind) in self.kinds().filter(|(_, kind)| kind.not > 0) {
            lines.push(format!("not taken of {what}:"));
            lines.extend(kind.named.iter().map(|one| format!("  {one}")));
            let more = kind.not.saturating_sub(kind.named.len() as u64);
            if more > 0 {
                lines.push(format!("  and {more} more"));
            }
        }
        lines
    }

    fn kind(&mut self, what: &str) -> &mut Kind {
        // Their number is bounded, as a source may make up names.
        let full = self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(what);
        let what = if full { "other things" } else { what };
        self.kinds.entry(what.to_owned()).or_default()
    }
}

/// What a line has room for, without what would disturb a terminal.
fn short(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut all: String = clean.take(TEXT_MAX + 1).collect();
    if all.chars().count() > TEXT_MAX {
        all.pop();
        all.push('…');
    }
    all
}

/// How many of each kind are named.
pub const NAMED_MAX: usize = 200;
const KINDS_MAX: usize = 100;
const TEXT_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_is_named_within_bounds() {
        let mut report = Report::default();
        report.wrote("roster items");
        report.there("roster items");
        assert!(report.is_whole());
        for n in 0..300 {
            report.not("roster items", "a\u{7}@x", &format!("{n}\u{1b}[1m"), "why");
        }
        let lines = report.lines(false);
        assert_eq!(lines[0], "roster items: 1 new, 1 there already, 300 NOT taken");
        assert_eq!(lines[2], "  a\u{fffd}@x: 0\u{fffd}[1m: why");
        assert_eq!(lines.last().unwrap(), "  and 100 more");
        for n in 0..200 {
            report.wrote(&n.to_string());
        }
        assert_eq!(report.kinds().count(), KINDS_MAX + 1);
        let mut twice = report.clone();
        twice.add(report);
        assert_eq!(twice.of("roster items").not, 600);
        assert_eq!(twice.of("roster items").named.len(), NAMED_MAX);
    }
}
