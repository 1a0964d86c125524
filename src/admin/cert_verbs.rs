//! The operator's verbs over certificates, and what can be wrong with them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Its name in [`super::VERBS`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::List => "cert.list",
            Self::Renew { .. } => "cert.renew",
        }
    }

    /// For the log: what it does; `None` if it changes nothing.
    pub fn changes(&self) -> Option<&'static str> {
        match self {
            Self::List => None,
            Self::Renew { .. } => Some("ordered a certificate"),
        }
    }
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
