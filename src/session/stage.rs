//! The stages of a client's negotiation. Each stage has only what is known by then.

use super::binding::Binding;
use crate::base::credential::{AgentId, ScramKeys};
use crate::jid::{BareJid, FullJid};
use crate::modules::SessionState;
use crate::store::AccessVersion;
use crate::store::devices::Seen;
use crate::store::ids::AccountId;
use crate::store::tokens::Token;

/// The client's stage.
#[allow(clippy::large_enum_variant)] // one a stream, and only until it is bound
pub(super) enum Stage {
    /// The client is not logged in.
    Stranger {
        /// The account whose keys were returned last, or whose token matched.
        asked: Option<Box<Asked>>,
    },
    /// The login was admitted.
    Admitted(Admitted),
    /// It has its resource in the registry; dropping the binding gives it back.
    Bound {
        /// The resource in the registry.
        binding: Binding,
        /// The features that the bind request enabled, if one came with the login.
        switched: Option<Box<Switched>>,
    },
}

/// An account as it was when its keys were looked up.
pub(super) struct Asked {
    pub(super) bare: String,
    pub(super) id: AccountId,
    pub(super) epoch: i64,
    pub(super) disabled: bool,
    /// The store's access version, taken before.
    pub(super) version: AccessVersion,
    /// The keys; none if the registry had them.
    pub(super) keys: Option<ScramKeys>,
    /// The token that matched, for a login by token.
    pub(super) token: Option<Token>,
}

/// A client that is logged in.
pub(super) struct Admitted {
    pub(super) bare: BareJid,
    /// None for an anonymous user.
    pub(super) login: Option<Login>,
    /// Which installation of a client it is.
    pub(super) agent: Option<AgentId>,
}

/// How an account was opened.
pub(super) struct Login {
    /// The account, with its keys or token.
    pub(super) by: Box<Asked>,
    /// What the client sent about its device; none without an id.
    pub(super) seen: Option<Box<Seen>>,
}

/// The features that modules enabled for a bind request, before the session exists.
#[derive(Default)]
pub(super) struct Switched {
    pub(super) state: SessionState,
    /// The answers to each of their elements, in order.
    pub(super) answers: Vec<Vec<u8>>,
}

impl Stage {
    /// A client that is not logged in and has given no name.
    pub(super) const fn stranger() -> Self {
        Self::Stranger { asked: None }
    }

    /// The client if it is logged in and not bound yet.
    pub(super) const fn admitted(&self) -> Option<&Admitted> {
        match self {
            Self::Admitted(admitted) => Some(admitted),
            Self::Stranger { .. } | Self::Bound { .. } => None,
        }
    }

    /// Enters the last stage: the admitted client belongs to a session from here on.
    pub(super) fn bind(&mut self, binding: Binding, switched: Option<Box<Switched>>) -> FullJid {
        let full = binding.client.jid.clone();
        *self = Self::Bound { binding, switched };
        full
    }

    /// Takes the account of the login under way: it opens an account only once.
    pub(super) fn take_asked(&mut self) -> Option<Box<Asked>> {
        match self {
            Self::Stranger { asked } => asked.take(),
            Self::Admitted(_) | Self::Bound { .. } => None,
        }
    }
}

impl Admitted {
    /// None for an anonymous user.
    pub(super) fn account(&self) -> Option<AccountId> {
        self.login.as_ref().map(|login| login.by.id)
    }

    /// Whether the login was by token.
    pub(super) fn is_by_token(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.by.token.is_some())
    }
}
