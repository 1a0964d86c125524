//! `[[component]]` and `[components]`: components (XEP-0114) and where they connect.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::domains::prepared_domain;
use super::faults::Faults;
use super::{Config, Problem};
use crate::admin::Secret;
use crate::modules::api::{Delegate, PresenceAccess, Privileges};
use crate::modules::{self, api};
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

impl Config {
    /// The components, as those who serve them see them. The secrets of files were read by [`read_secrets`].
    pub fn component_places(&self) -> Vec<Place> {
        let place = |one: &Component| Place {
            domain: prepared_domain(&one.domain).unwrap_or_default(),
            secret: one.secret.clone(),
            conflict: one.conflict,
        };
        self.component.iter().map(place).collect()
    }

    /// The components, as modules see them.
    pub(super) fn module_components(&self) -> Vec<api::Component> {
        let of = |one: &Component| api::Component {
            domain: prepared_domain(&one.domain).unwrap_or_default(),
            name: one.name.clone(),
            listed: one.listed,
            privileges: one.privileges.clone(),
            delegate: one.delegate.clone(),
        };
        self.component.iter().map(of).collect()
    }

    /// What an operator should read of components.
    pub(super) fn component_warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for one in self.component.iter().filter(|one| is_weak(&one.secret.0)) {
            lines.push(format!(
                "the secret of the component {} is short or well known: whoever guesses it speaks for the \
                 component; make one with `openssl rand -hex 24`",
                one.domain
            ));
        }
        let open = |address: &&SocketAddr| !address.ip().is_loopback();
        if !self.component.is_empty()
            && let Some(address) = self.components.listen.iter().find(open)
        {
            lines.push(format!(
                "components connect to {address} without encryption, from other machines, too: use \
                 components.listen_tls for these"
            ));
        }
        lines
    }
}

/// Too short, or what examples have.
fn is_weak(secret: &str) -> bool {
    let well_known = ["secret", "password", "changeme", "change-me", "change_me", "xxx", "example"];
    let lower = secret.to_ascii_lowercase();
    secret.len() < SECRET_BYTES_MIN || well_known.iter().any(|word| lower.starts_with(word))
}

/// Reads the secrets that are in files.
pub(super) fn read_secrets(config: &mut Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for one in &mut config.component {
        let Some(path) = &one.secret_file else { continue };
        let fix = "put the secret into this file, on one line, readable for the server";
        let problem = |why: &str| Problem {
            what: format!("the secret of the component `{}` cannot be read: {why}", one.domain),
            place: path.display().to_string(),
            fix: fix.to_owned(),
        };
        match std::fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => problems.push(problem("the file is empty")),
            Ok(text) => one.secret = Secret(text.trim().to_owned()),
            Err(error) => problems.push(problem(&error.to_string())),
        }
    }
    problems
}

/// All faults of the components.
pub(super) fn components(config: &Config, faults: &mut Faults<'_>) {
    let served = served(config);
    let mut seen = Vec::new();
    for one in &config.component {
        let domain = match prepared_domain(&one.domain) {
            Ok(domain) => domain,
            Err(why) => {
                let what = format!("`{}` is no domain of a component: {why}", one.domain);
                faults.add(KEY, what, "write it as \"irc.example.org\"");
                continue;
            }
        };
        if served.contains(&domain) {
            let what = format!("`{domain}` cannot be a component: this server has it already");
            faults.add(KEY, what, "give the component a domain of its own");
        }
        if seen.contains(&domain) {
            let what = format!("the component `{domain}` is there twice");
            faults.add(KEY, what, "remove one of the two [[component]] sections");
        }
        match (one.secret.0.is_empty(), &one.secret_file) {
            (true, None) => {
                let what = format!("the component `{domain}` has no secret: nobody could connect");
                faults.add(KEY, what, "write secret = \"…\" or secret_file = \"…\" in its section");
            }
            (false, Some(_)) => {
                let what = format!("the component `{domain}` has a secret and a file with one");
                faults.add(KEY, what, "keep one of secret and secret_file");
            }
            _ => {}
        }
        rights(one, &domain, faults);
        seen.push(domain);
    }
    let twice = delegated_twice(config);
    for namespace in twice {
        let what = format!("the namespace `{namespace}` is delegated to two components");
        faults.add(KEY, what, "keep one of them (or give them attributes that differ)");
    }
    let wide = |value: usize| u128::try_from(value).unwrap_or(u128::MAX);
    let requests = wide(config.components.privileged_requests_max);
    faults.at_least("components.privileged_requests_max", requests, 1, "none could be sent");
    if !config.component.is_empty()
        && config.components.listen.is_empty()
        && config.components.listen_tls.is_empty()
    {
        let what = "components have no address to connect to";
        faults.add("components.listen", what, "set components.listen or components.listen_tls");
    }
}

fn rights(one: &Component, domain: &str, faults: &mut Faults<'_>) {
    let Privileges { presence, roster, iq, .. } = &one.privileges;
    if *presence == PresenceAccess::Roster && !roster.gets() {
        // XEP-0356 §7.4
        let what = format!("`{domain}` may see the presence of contacts, but not read rosters");
        faults.add(
            KEY,
            what,
            "set roster = \"get\" or \"both\", too, or presence = \"managed_entity\"",
        );
    }
    let namespaces = iq.iter().map(|one| &one.namespace);
    for namespace in namespaces.chain(one.delegate.iter().map(|one| &one.namespace)) {
        if namespace.is_empty() || namespace.len() > NAMESPACE_BYTES_MAX {
            let what = format!("`{domain}` has a namespace that is empty or too long");
            faults.add(KEY, what, "write the namespace as its specification does");
        }
    }
}

fn delegated_twice(config: &Config) -> Vec<String> {
    let all = config.component.iter().flat_map(|one| &one.delegate);
    let all: Vec<&Delegate> = all.collect();
    let same = |(at, one): (usize, &&Delegate)| {
        let earlier = all.get(..at).unwrap_or_default();
        earlier.contains(one).then(|| one.namespace.clone())
    };
    all.iter().enumerate().filter_map(same).collect()
}

/// All domains that are served here already.
fn served(config: &Config) -> Vec<String> {
    let hosts = config.host.iter().filter_map(|host| prepared_domain(&host.domain).ok());
    let hosts: Vec<String> = hosts.collect();
    let services = modules::ALL.iter().filter_map(|module| module.service);
    let labels = services.filter_map(|service| (service.label)(&config.modules));
    let below: Vec<String> =
        labels.flat_map(|label| hosts.iter().map(move |host| format!("{label}.{host}"))).collect();
    hosts.into_iter().chain(below).collect()
}

const KEY: &str = "component";
/// 128 bits, written in hexadecimal digits or better.
const SECRET_BYTES_MIN: usize = 16;
const NAMESPACE_BYTES_MAX: usize = 1_024;
