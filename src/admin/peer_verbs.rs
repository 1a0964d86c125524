//! The operator's verbs over other servers, and what can be wrong with them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::jid::BareJid;

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
        #[serde(default)]
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
    /// Its name in [`super::VERBS`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::List => "s2s.list",
            Self::Why { .. } => "s2s.why",
            Self::Test { .. } => "s2s.test",
            Self::Retry { .. } => "s2s.retry",
            Self::Drop { .. } => "s2s.drop",
            Self::Allow { .. } => "s2s.allow",
            Self::Deny { .. } => "s2s.deny",
            Self::Forget { .. } => "s2s.forget",
            Self::Rules => "s2s.rules",
        }
    }

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
    pub(super) fn prepared(self) -> Result<Self, PeerError> {
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

fn normal(text: &str) -> Result<String, PeerError> {
    let wrong = |why: String| PeerError::Domain(text.to_owned(), why);
    let jid = BareJid::parse(text).map_err(|error| wrong(error.to_string()))?;
    match jid.local() {
        None => Ok(jid.domain().to_owned()),
        Some(_) => Err(wrong("it is an account's address".to_owned())),
    }
}

/// In the rules: all that are named nowhere.
pub(super) const EVERYBODY: &str = "*";

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
