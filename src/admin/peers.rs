//! The operator's verbs over what is between this server and others. The rules are in the store; the running server
//! does the rest.

use std::time::SystemTime;

use super::accounts::AdminError;
use super::peer_verbs::{EVERYBODY, PeerError, PeerVerb};
use super::told::{Done, RuleLine, ServerRules, ServersLoad};
use super::{Doing, Outcome};
use crate::base::time::{from_micros, micros, stamp};
use crate::store::Store;
use crate::store::peer_rules::{self, PeerRule, RULES_MAX};

/// What an operator asks of the streams between the running server and others.
pub trait Peering: Send + Sync {
    /// Carries out a verb whose domain is in normal form. What changes the rules is in the store already: it says what
    /// else came of that. Of the rules it says those of the configuration.
    fn run<'a>(&'a self, verb: &'a PeerVerb) -> Doing<'a, Outcome>;

    /// How many streams there are and how much waits.
    fn status(&self) -> ServersLoad;
}

/// Carries out one.
pub(super) async fn run(
    store: &Store,
    peering: Option<&dyn Peering>,
    verb: PeerVerb,
) -> Result<Outcome, AdminError> {
    let verb = verb.prepared()?;
    let said = match &verb {
        PeerVerb::Allow { domain } => set(store, domain, true).await?,
        PeerVerb::Deny { domain } => set(store, domain, false).await?,
        PeerVerb::Forget { domain } => forget(store, domain).await?,
        PeerVerb::Rules => return rules(store, peering).await,
        PeerVerb::List
        | PeerVerb::Why { .. }
        | PeerVerb::Test { .. }
        | PeerVerb::Retry { .. }
        | PeerVerb::Drop { .. } => {
            return peering.ok_or(PeerError::NotRunning)?.run(&verb).await;
        }
    };
    let mut told = vec![said];
    if let Some(peering) = peering
        && let Outcome::Done(done) = peering.run(&verb).await?
    {
        told.extend(done.told);
    }
    Ok(Done { told }.into())
}

async fn rules(store: &Store, peering: Option<&dyn Peering>) -> Result<Outcome, AdminError> {
    let mut rules: Vec<_> = rules_of(store).await?.iter().map(line).collect();
    if let Some(peering) = peering
        && let Outcome::ServerRules(more) = peering.run(&PeerVerb::Rules).await?
    {
        rules.extend(more.rules);
    }
    Ok(ServerRules { rules }.into())
}

/// The rules that are kept, by domain.
pub async fn rules_of(store: &Store) -> Result<Vec<PeerRule>, AdminError> {
    Ok(store.read(peer_rules::all).await?)
}

fn line(rule: &PeerRule) -> RuleLine {
    let PeerRule { domain, allowed, at } = rule;
    let since = Some(stamp(from_micros(*at)));
    RuleLine { domain: domain.clone(), allowed: *allowed, since }
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
