//! Collects what is wrong with a configuration.

use super::Problem;
use super::origins::Origins;

/// What was found so far.
pub(super) struct Faults<'a> {
    origins: &'a Origins,
    pub(super) found: Vec<Problem>,
}

impl<'a> Faults<'a> {
    /// None yet.
    pub(super) fn new(origins: &'a Origins) -> Self {
        Self { origins, found: Vec::new() }
    }

    pub(super) fn add(&mut self, key: &str, what: impl Into<String>, fix: &str) {
        let place = self.origins.of(key);
        self.found.push(Problem { what: what.into(), place, fix: fix.to_owned() });
    }

    /// Of two keys that do not go together, the one that somebody set: the other is a default.
    pub(super) fn either(&self, one: &'static str, other: &'static str) -> &'static str {
        if self.origins.is_default(one) { other } else { one }
    }

    pub(super) fn at_least(&mut self, key: &str, value: impl Into<u128>, least: u128, why: &str) {
        let value = value.into();
        if value < least {
            let what = format!("`{key}` is {value}, which is too little: {why}");
            self.add(
                key,
                what,
                &format!("set it to {least} or more, or remove it for the default"),
            );
        }
    }

    pub(super) fn at_most(&mut self, key: &str, value: impl Into<u128>, most: u128, why: &str) {
        let value = value.into();
        if value > most {
            let what = format!("`{key}` is {value}, which is too much: {why}");
            self.add(key, what, &format!("set it to {most} or less, or remove it for the default"));
        }
    }
}
