//! The operator's verbs over what is between this server and others. The rules are in the store; the running server
//! does the rest.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Doing;
use super::accounts::AdminError;
use crate::base::time::{from_micros, micros, stamp};
use crate::jid::BareJid;
use crate::store::Store;
use crate::store::peer_rules::{self, PeerRule, RULES_MAX};

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum PeerVerb {
    /// Lists the streams, and what waits.
    List,
    /// Says what failed lately with a domain, and what waits for it.
    Why {
        /// The domain.
        domain: String,
    },
    /// Tries to reach a domain, and says each step.
    Test {
        /// The domain.
        domain: String,
        /// The domain of ours; none: the first.
        from: Option<String>,
    },
    /// Tries to reach a domain now for which something waits.
    Retry {
        /// The domain.
        domain: String,
    },
    /// Gives up what waits for a domain: its senders get errors.
    Drop {
        /// The domain.
        domain: String,
    },
    /// Lets a domain in.
    Allow {
        /// The domain.
        domain: String,
    },
    /// Keeps a domain out.
    Deny {
        /// The domain, or `*` for all that are named nowhere.
        domain: String,
    },
    /// Takes back what was said of a domain.
    Forget {
        /// The domain.
        domain: String,
    },
    /// Lists the rules.
    Rules,
}

impl PeerVerb {
    /// The domain that it is about.
    pub fn about(&self) -> Option<&str> {
        match self {
            Self::List | Self::Rules => None,
            Self::Why { domain }
            | Self::Test { domain, .. }
            | Self::Retry { domain }
            | Self::Drop { domain }
            | Self::Allow { domain }
            | Self::Deny { domain }
            | Self::Forget { domain } => Some(domain),
        }
    }

    /// For the log: what it does; `None` if it changes nothing.
    pub fn changes(&self) -> Option<&'static str> {
        Some(match self {
            Self::Drop { .. } => "gave up what waited for a server",
            Self::Allow { .. } => "let a server in",
            Self::Deny { .. } => "keeps a server out",
            Self::Forget { .. } => "took back what was said of a server",
            Self::Retry { .. } => "had a server tried at once",
            Self::List | Self::Why { .. } | Self::Test { .. } | Self::Rules => return None,
        })
    }

    /// With its domain in normal form.
    fn prepared(self) -> Result<Self, PeerError> {
        Ok(match self {
            Self::Why { domain } => Self::Why { domain: normal(&domain)? },
            Self::Test { domain, from } => {
                let from = from.as_deref().map(normal).transpose()?;
                Self::Test { domain: normal(&domain)?, from }
            }
            Self::Retry { domain } => Self::Retry { domain: normal(&domain)? },
            Self::Drop { domain } => Self::Drop { domain: normal(&domain)? },
            Self::Allow { domain } => Self::Allow { domain: normal(&domain)? },
            Self::Deny { domain } if domain == EVERYBODY => Self::Deny { domain },
            Self::Deny { domain } => Self::Deny { domain: normal(&domain)? },
            Self::Forget { domain } if domain == EVERYBODY => Self::Forget { domain },
            Self::Forget { domain } => Self::Forget { domain: normal(&domain)? },
            Self::List | Self::Rules => self,
        })
    }
}

/// Why a verb over other servers failed; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The text is no domain.
    #[error("`{0}` is no domain ({1}); write it as it stands after the @ in addresses")]
    Domain(String, String),
    /// The domain is one of ours.
    #[error("{0} is served here; name another server's domain")]
    Ours(String),
    /// The domain is none of ours.
    #[error("{0} is not served here, only: {1}; give one of these with --from")]
    NotOurs(String, String),
    /// There is no rule for the domain.
    #[error("nothing was said about {0}; `stonechat s2s rules` shows all rules")]
    NoRule(String),
    /// Too many rules.
    #[error("{0} rules are kept, and no more; forget some first (`stonechat s2s rules` shows all)")]
    TooManyRules(usize),
    /// Nothing waits for the domain.
    #[error("nothing waits for {0}; `stonechat s2s list` shows what waits")]
    NothingWaits(String),
    /// Only a running server has streams.
    #[error("no server is running on this data: it is the one that could do that; start it first")]
    NotRunning,
}

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

fn normal(text: &str) -> Result<String, PeerError> {
    let wrong = |why: String| PeerError::Domain(text.to_owned(), why);
    let jid = BareJid::parse(text).map_err(|error| wrong(error.to_string()))?;
    match jid.local() {
        None => Ok(jid.domain().to_owned()),
        Some(_) => Err(wrong("it is an account's address".to_owned())),
    }
}

/// In the rules: all that are named nowhere.
const EVERYBODY: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_prepared() {
        let deny = |domain: &str| PeerVerb::Deny { domain: domain.to_owned() };
        assert_eq!(deny("Spam.Example").prepared().unwrap(), deny("spam.example"));
        assert_eq!(deny("*").prepared().unwrap(), deny("*"));
        let told = deny("a@b").prepared().unwrap_err().to_string();
        assert!(told.contains("account") && told.contains("after the @"), "{told}");
        let allow = PeerVerb::Allow { domain: "*".to_owned() };
        assert!(allow.prepared().is_err());
    }

    #[test]
    fn a_verb_is_one_line() {
        let request = crate::admin::Request::Peers(PeerVerb::Why { domain: "a".to_owned() });
        let line = r#"{"verb":"peers","do":"why","domain":"a"}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        assert_eq!(serde_json::from_str::<crate::admin::Request>(line).unwrap(), request);
    }
}
