//! The one kind of failure: a sentence for the person who runs the bench.

use std::fmt;

/// What went wrong.
#[derive(Debug, Clone)]
pub struct Fault(pub String);

/// A result of the bench.
pub type Res<T> = Result<T, Fault>;

impl Fault {
    /// With what was being done.
    #[must_use]
    pub fn during(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A failure in these words.
pub fn fault<T>(what: impl Into<String>) -> Res<T> {
    Err(Fault(what.into()))
}
