//! The operator's verbs over certificates. A running server does them.

use serde::{Deserialize, Serialize};

use super::Doing;
use super::accounts::AdminError;

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum CertVerb {
    /// Lists the certificates in use, and how ordering stands.
    List,
    /// Orders a new one if one is due, without waiting for its turn after failures.
    Renew {
        /// Although none is due.
        #[serde(default)]
        now: bool,
    },
}

impl CertVerb {
    /// For the log: what it does; `None` if it changes nothing.
    pub fn changes(&self) -> Option<&'static str> {
        match self {
            Self::List => None,
            Self::Renew { .. } => Some("ordered a certificate"),
        }
    }
}

/// What an operator asks of the running server's certificates.
pub trait Certificates: Send + Sync {
    /// Carries out a verb; returns lines for people.
    fn run<'a>(&'a self, verb: &'a CertVerb) -> Doing<'a, Vec<String>>;

    /// How ordering stands, in lines for people; none if nothing is ordered.
    fn status(&self) -> Vec<String>;
}

/// Why a verb over certificates failed; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// Only a running server has certificates in use.
    #[error("no server is running on this data: it is the one that could do that; start it first")]
    NotRunning,
    /// The configuration has none ordered.
    #[error(
        "this server orders no certificates; set acme.agree = true in the configuration (docs/operations.md), and \
         restart it"
    )]
    Off,
    /// The order failed.
    #[error("no new certificate: {0}")]
    Failed(String),
}

/// Carries out one.
pub(super) async fn run(
    certificates: Option<&dyn Certificates>,
    verb: CertVerb,
) -> Result<Vec<String>, AdminError> {
    certificates.ok_or(CertError::NotRunning)?.run(&verb).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Request;

    #[test]
    fn a_verb_is_one_line() {
        let request = Request::Certificates(CertVerb::Renew { now: true });
        let line = r#"{"verb":"certificates","do":"renew","now":true}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
    }
}
