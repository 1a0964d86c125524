//! What verbs over the server itself give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CertOrders, ServersLoad};
use crate::admin::Rank;

/// The load of the running server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The disk takes writes.
    pub writable: bool,
    /// Writes on the way.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Tasks in line behind them.
    pub waiting: usize,
    /// Since the start, writes that stood in line.
    pub waited: u64,
    /// Since the start, messages refused as the disk took no writes.
    pub refused: u64,
    /// Since the start, work left undone as too much waited.
    pub full: u64,
    /// Other servers; none: no server runs.
    pub servers: Option<ServersLoad>,
    /// How ordering of a certificate stands; none: nothing is ordered.
    pub certificates: Option<CertOrders>,
}

/// A backup was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupMade {
    /// The file with the database.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// The uploaded files beside it.
    pub uploads: Option<UploadsKept>,
}

/// Uploaded files beside a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadsKept {
    /// The folder.
    pub folder: String,
    /// Files that the database speaks of.
    pub files: usize,
    /// Those of them that are not there.
    pub missing: usize,
    /// Bytes of those that are.
    pub bytes: u64,
}

/// The configuration that is in force, defaults too, without secrets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigShown {
    /// By key, as in the file: `{"key": "web.idle_secs", "value": 60}`.
    pub settings: Vec<Setting>,
}

/// A key of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its path.
    pub key: String,
    /// Its value; a secret is `(secret)`.
    pub value: serde_json::Value,
}

/// The newest lines of the log, the oldest of them first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLines {
    /// These.
    pub lines: Vec<String>,
}

/// What operators did, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditList {
    /// These.
    pub acts: Vec<ActLine>,
    /// There are more: ask for those `after` this number.
    pub next: Option<i64>,
}

/// What somebody did, or was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActLine {
    /// Its number; they rise.
    pub id: i64,
    /// When.
    pub at: String,
    /// Who: an account's address, a token, or the command line.
    pub actor: String,
    /// By which way: command line, client, api or page.
    pub via: String,
    /// From which network address.
    pub address: Option<String>,
    /// The verb.
    pub verb: String,
    /// To whom or what.
    pub target: Option<String>,
    /// Why it was not done; none: it was.
    pub failure: Option<String>,
}

/// A token was made. No `Debug` of its own: whoever has it may use it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenMade {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub role: Rank,
    /// From when on it is not good any more.
    pub until: String,
    /// For `Authorization: Bearer …`; it is shown this once.
    pub token: String,
}

impl std::fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenMade({})", self.name)
    }
}

/// The tokens, the oldest first; ended ones stay a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    /// These.
    pub tokens: Vec<TokenLine>,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenLine {
    /// What it is called.
    pub name: String,
    /// What it may do; none: nothing.
    pub role: Option<Rank>,
    /// When it was made.
    pub made: String,
    /// From when on it is not good any more.
    pub until: String,
    /// When it was last used, to the minute.
    pub used: Option<String>,
    /// good, expired or revoked.
    pub state: String,
}
