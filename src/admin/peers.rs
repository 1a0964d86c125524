//! The operator's verbs over what is between this server and others. The rules are in the store; the running server
//! does the rest.

use std::time::SystemTime;

use super::Doing;
use super::accounts::AdminError;
use super::peer_verbs::{EVERYBODY, PeerError, PeerVerb};
use crate::base::time::{from_micros, micros, stamp};
use crate::store::Store;
use crate::store::peer_rules::{self, PeerRule, RULES_MAX};

/// What an operator asks of the streams between the running server and others.
pub trait Peering: Send + Sync {
    /// Carries out a verb whose domain is in normal form; returns lines for people. What changes the rules is in the
    /// store already.
    fn run<'a>(&'a self, verb: &'a PeerVerb) -> Doing<'a, Vec<String>>;

    /// How many streams there are and how much waits, in lines for people.
    fn status(&self) -> Vec<String>;
}

/// Carries out one.
pub(super) async fn run(
    store: &Store,
    peering: Option<&dyn Peering>,
    verb: PeerVerb,
) -> Result<Vec<String>, AdminError> {
    let verb = verb.prepared()?;
    let mut lines = match &verb {
        PeerVerb::Allow { domain } => vec![set(store, domain, true).await?],
        PeerVerb::Deny { domain } => vec![set(store, domain, false).await?],
        PeerVerb::Forget { domain } => vec![forget(store, domain).await?],
        PeerVerb::Rules => rules_of(store).await?.iter().map(line).collect(),
        PeerVerb::List
        | PeerVerb::Why { .. }
        | PeerVerb::Test { .. }
        | PeerVerb::Retry { .. }
        | PeerVerb::Drop { .. } => {
            return peering.ok_or(PeerError::NotRunning)?.run(&verb).await;
        }
    };
    if let Some(peering) = peering {
        lines.extend(peering.run(&verb).await?);
    }
    Ok(lines)
}

/// The rules that are kept, by domain.
pub async fn rules_of(store: &Store) -> Result<Vec<PeerRule>, AdminError> {
    Ok(store.read(peer_rules::all).await?)
}

/// `spam.example  denied since 2026-01-02T03:04:05Z`
fn line(rule: &PeerRule) -> String {
    let said = if rule.allowed { "allowed" } else { "denied" };
    format!("{}  {said} since {}", rule.domain, stamp(from_micros(rule.at)))
}

#[allow(clippy::disallowed_methods)] // the wall clock, for the operator's own commands
async fn set(store: &Store, domain: &str, allowed: bool) -> Result<String, AdminError> {
    let rule = PeerRule { domain: domain.to_owned(), allowed, at: micros(SystemTime::now()) };
    if !store.write(move |tx| peer_rules::set(tx, &rule)).await? {
        return Err(PeerError::TooManyRules(RULES_MAX).into());
    }
    Ok(match (domain, allowed) {
        (EVERYBODY, _) => "whoever is named neither here nor in s2s.allow is kept out".to_owned(),
        (domain, true) => format!("{domain} is let in, unless s2s.deny names it"),
        (domain, false) => format!("{domain} is kept out"),
    })
}

async fn forget(store: &Store, domain: &str) -> Result<String, AdminError> {
    let of = domain.to_owned();
    match store.write(move |tx| peer_rules::forget(tx, &of)).await? {
        true => Ok(format!("nothing is said about {domain} any more; the configuration decides")),
        false => Err(PeerError::NoRule(domain.to_owned()).into()),
    }
}
