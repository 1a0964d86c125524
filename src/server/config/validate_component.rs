//! What is wrong with components, and the secrets that are in files.

use super::component::Component;
use super::domains::prepared_domain;
use super::faults::Faults;
use super::{Config, Problem};
use crate::admin::Secret;
use crate::modules;
use crate::modules::api::{Delegate, PresenceAccess, Privileges};

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
const NAMESPACE_BYTES_MAX: usize = 1_024;
