//! What an operator sets for certificates by ACME.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the authority is shown that a name is ours (RFC 8555 §8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Challenge {
    /// A page on port 80 (RFC 8555 §8.3).
    #[default]
    #[serde(rename = "http-01")]
    Http01,
    /// A handshake on port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A record in the DNS (RFC 8555 §8.4), set by a command.
    #[serde(rename = "dns-01")]
    Dns01,
}

impl Challenge {
    /// As ACME calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        }
    }
}

/// The names of the certificate, as they stand in it: A-labels, or addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Without these it is of no use: the hosts.
    pub hosts: Vec<String>,
    /// These are left out as long as the authority refuses them: services, and what the operator adds.
    pub others: Vec<String>,
}

impl Names {
    /// All of them, the hosts first.
    pub fn all(&self) -> Vec<String> {
        self.hosts.iter().chain(&self.others).cloned().collect()
    }
}

/// The settings, in normal form.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the authority says what it can do (RFC 8555 §7.1.1).
    pub directory: String,
    /// Where the authority may write to; empty for nowhere.
    pub email: String,
    /// PEM file of whoever signs the certificate of the directory itself; none: the system's authorities.
    pub authority: Option<PathBuf>,
    /// How names are proved.
    pub challenge: Challenge,
    /// The command that changes the DNS, with its first arguments.
    pub dns_command: Vec<String>,
    /// How long one run of it may take.
    pub dns_command_time: Duration,
    /// How long a record takes until all see it.
    pub dns_wait: Duration,
    /// For which names.
    pub names: Names,
    /// The folder that has the keys, the certificate and the memory.
    pub folder: PathBuf,
}
