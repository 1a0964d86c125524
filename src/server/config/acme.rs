//! `[acme]`: certificates by themselves.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::sections::optional_path;
use crate::net::acme::{Challenge, LETS_ENCRYPT};

/// `[acme]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// Whether certificates are ordered, and the authority's terms agreed to.
    pub agree: bool,
    /// Where the authority may write to.
    pub email: String,
    /// The authority.
    pub directory: String,
    /// PEM file of whoever signs the certificate of the directory itself. Empty: the system's authorities.
    #[serde(with = "optional_path")]
    pub authority: Option<PathBuf>,
    /// How names are proved.
    pub challenge: Challenge,
    /// Addresses for plain HTTP, where an authority finds the proofs of http-01.
    pub listen: Vec<SocketAddr>,
    /// The command that changes the DNS for dns-01, and its first arguments.
    pub dns_command: Vec<String>,
    /// How long one run of it may take.
    pub dns_command_secs: u64,
    /// How long a record takes until all see it.
    pub dns_wait_secs: u64,
    /// Whether the certificate is for services, too.
    pub services: bool,
    /// More names.
    pub names: Vec<String>,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            agree: false,
            email: String::new(),
            directory: LETS_ENCRYPT.to_owned(),
            authority: None,
            challenge: Challenge::default(),
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80))],
            dns_command: Vec::new(),
            dns_command_secs: 120,
            dns_wait_secs: 30,
            services: true,
            names: Vec::new(),
        }
    }
}

impl Acme {
    /// The addresses that are listened on.
    pub fn listeners(&self) -> &[SocketAddr] {
        match self.agree && self.challenge == Challenge::Http01 {
            true => &self.listen,
            false => &[],
        }
    }
}
