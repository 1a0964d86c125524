//! What verbs over other servers give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The streams with other servers, and what waits for those without one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerList {
    /// A line for each pair of domains on each stream.
    pub streams: Vec<StreamLine>,
    /// Pairs without a stream for which something waits.
    pub waiting: Vec<WaitingLine>,
}

/// A pair of domains on a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamLine {
    /// Who opened it: in, out or component.
    pub direction: String,
    /// Our domain; none: not authenticated yet.
    pub local: Option<String>,
    /// Theirs.
    pub remote: Option<String>,
    /// The other end.
    pub address: String,
    /// Such as `TLSv1.3`; empty before TLS.
    pub tls: String,
    /// How they are known; empty before they are.
    pub authenticated: String,
    /// Stanzas go both ways (XEP-0288).
    pub bidi: bool,
    /// Stanzas are acknowledged (XEP-0198).
    pub managed: bool,
    /// For how long it stands.
    pub seconds: u64,
    /// What waits.
    pub waits: Waits,
}

/// A pair of domains for which something waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingLine {
    /// Our domain.
    pub local: String,
    /// Theirs.
    pub remote: String,
    /// What waits.
    pub waits: Waits,
}

/// What waits for a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// Messages that it has not acknowledged.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// When the oldest came.
    pub oldest: Option<String>,
    /// In how many seconds it is tried again.
    pub next_try_seconds: Option<u64>,
}

/// What is between this server and a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerShown {
    /// The domain.
    pub domain: String,
    /// What keeps it out; none: it is let in.
    pub kept_out: Option<String>,
    /// What failed lately, the oldest first.
    pub failures: Vec<FailureLine>,
    /// What waits for it.
    pub waiting: Vec<WaitingLine>,
    /// Streams that stand.
    pub streams: usize,
    /// What to do, if something failed and is known.
    pub advice: String,
}

/// What failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureLine {
    /// When.
    pub at: String,
    /// Who opened the stream.
    pub direction: String,
    /// Our domain.
    pub local: String,
    /// Why.
    pub why: String,
    /// What was done before.
    pub steps: Vec<StepLine>,
}

/// A step on the way to a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepLine {
    /// What was done.
    pub what: String,
    /// How long it took.
    pub milliseconds: u64,
    /// It led nowhere.
    pub failed: bool,
}

/// What came of trying a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerTest {
    /// Both talk to each other.
    pub reached: bool,
    /// Each step.
    pub steps: Vec<StepLine>,
    /// What came of it, in words.
    pub verdict: String,
}

/// Who is let in, and who is kept out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerRules {
    /// The rules that were said, by domain; then those of the configuration.
    pub rules: Vec<RuleLine>,
}

/// What is said of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleLine {
    /// The domain; `*`: all that are named nowhere.
    pub domain: String,
    /// It is let in.
    pub allowed: bool,
    /// Since when; none: the configuration says so.
    pub since: Option<String>,
}

/// How much goes on with other servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServersLoad {
    /// Streams that they opened.
    pub incoming: u64,
    /// Streams that we opened.
    pub outgoing: u64,
    /// Streams of components.
    pub components: u64,
    /// Messages that wait.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// For how many pairs of domains.
    pub pairs: usize,
}
