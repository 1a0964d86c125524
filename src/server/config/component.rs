//! `[[component]]` and `[components]`: components (XEP-0114) and where they connect.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::domains::prepared_domain;
use crate::admin::Secret;
use crate::modules::api::{self, Delegate, Privileges};
use crate::peer::component::{Conflict, Place};

/// One component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its domain, as it stands in addresses.
    pub domain: String,
    /// What it shares with this server.
    #[serde(default = "nothing")]
    pub secret: Secret,
    /// A file with that, in place of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// For people who look for services.
    #[serde(default)]
    pub name: String,
    /// Whether hosted domains list it.
    #[serde(default = "yes")]
    pub listed: bool,
    /// What becomes of a second connection for the domain.
    #[serde(default)]
    pub conflict: Conflict,
    /// What it may do for accounts (XEP-0356).
    #[serde(default)]
    pub privileges: Privileges,
    /// What it answers in place of this server (XEP-0355).
    #[serde(default)]
    pub delegate: Vec<Delegate>,
}

fn nothing() -> Secret {
    Secret(String::new())
}

const fn yes() -> bool {
    true
}

/// `[components]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Components {
    /// Addresses for streams without TLS. Nothing is listened on without a component.
    pub listen: Vec<SocketAddr>,
    /// Addresses for streams that are TLS from the first byte.
    pub listen_tls: Vec<SocketAddr>,
    /// Bytes per second of one component; 0: no bound.
    pub bytes_per_second: u32,
    /// Stanzas per second of one component; 0: no bound.
    pub stanzas_per_second: u32,
    /// Requests that one component has under way in the name of accounts.
    pub privileged_requests_max: usize,
}

impl Default for Components {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5347))],
            listen_tls: Vec::new(),
            bytes_per_second: 4_194_304,
            stanzas_per_second: 4_000,
            privileged_requests_max: 100,
        }
    }
}

/// The components, as those who serve them see them.
pub fn places(components: &[Component]) -> Vec<Place> {
    let place = |one: &Component| Place {
        domain: prepared_domain(&one.domain).unwrap_or_default(),
        secret: one.secret.clone(),
        conflict: one.conflict,
    };
    components.iter().map(place).collect()
}

/// The components, as modules see them.
pub(super) fn for_modules(components: &[Component]) -> Arc<[api::Component]> {
    let of = |one: &Component| api::Component {
        domain: prepared_domain(&one.domain).unwrap_or_default(),
        name: one.name.clone(),
        listed: one.listed,
        privileges: one.privileges.clone(),
        delegate: one.delegate.clone(),
    };
    components.iter().map(of).collect()
}

/// What an operator should read of components.
pub(super) fn warnings(all: &[Component], at: &Components) -> Vec<String> {
    let mut lines = Vec::new();
    for one in all.iter().filter(|one| is_weak(&one.secret.0)) {
        lines.push(format!(
            "the secret of the component {} is short or well known: whoever guesses it speaks for the \
             component; make one with `openssl rand -hex 24`",
            one.domain
        ));
    }
    let open = |address: &&SocketAddr| !address.ip().is_loopback();
    if let Some(address) = at.listen.iter().find(open).filter(|_| !all.is_empty()) {
        lines.push(format!(
            "components connect to {address} without encryption, from other machines, too: use \
             components.listen_tls for these"
        ));
    }
    lines
}

/// Too short, or what examples have.
fn is_weak(secret: &str) -> bool {
    let well_known = ["secret", "password", "changeme", "change-me", "change_me", "xxx", "example"];
    let lower = secret.to_ascii_lowercase();
    secret.len() < SECRET_BYTES_MIN || well_known.iter().any(|word| lower.starts_with(word))
}

/// 128 bits, written in hexadecimal digits or better.
const SECRET_BYTES_MIN: usize = 16;
