//! What verbs over certificates give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The certificates in use, and how ordering stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertList {
    /// One for each host.
    pub certificates: Vec<CertLine>,
    /// How ordering stands; none: nothing is ordered.
    pub orders: Option<CertOrders>,
}

/// A certificate in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertLine {
    /// The host.
    pub domain: String,
    /// Until when it is good.
    pub until: String,
    /// Whole days until then; 0 if it has expired.
    pub days: u64,
    /// This server made it itself.
    pub own: bool,
    /// Who signed it.
    pub issuer: String,
    /// For which names, such as `DNS:example.org`.
    pub names: Vec<String>,
    /// The file with it, and those that it is signed with.
    pub file: String,
}

/// How ordering of a certificate stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertOrders {
    /// The authority.
    pub directory: String,
    /// Until when the ordered certificate is good; none: there is none yet.
    pub until: Option<String>,
    /// About when it is renewed.
    pub renewed: Option<String>,
    /// Names that the authority refused.
    pub refused: Vec<String>,
    /// The last order, if it failed.
    pub failure: Option<OrderFailure>,
}

/// An order that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderFailure {
    /// When.
    pub at: String,
    /// How many failed in a row.
    pub failures: u32,
    /// Why, and what to do.
    pub why: String,
    /// When it is tried again.
    pub next_try: String,
}

/// What came of renewing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertRenewed {
    /// Until when the new certificate is good; none: none was due.
    pub until: Option<String>,
    /// About when the next one is due; none: one was ordered now.
    pub due: Option<String>,
}
