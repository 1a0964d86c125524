//! How far a client has come on its stream: each stage has what is known by then, and no more.

use super::binding::Binding;
use crate::base::credential::{AgentId, ScramKeys};
use crate::jid::{BareJid, FullJid};
use crate::modules::SessionState;
use crate::store::AccessVersion;
use crate::store::devices::Seen;
use crate::store::ids::AccountId;
use crate::store::tokens::Token;

/// Where the client stands.
#[allow(clippy::large_enum_variant)] // one a stream, and only until it is bound
pub(super) enum Stage {
    /// Nobody is logged in.
    Stranger {
        /// The account whose keys were given out last, or whose token fitted.
        asked: Option<Box<Asked>>,
    },
    /// The one gate let it in.
    Admitted(Admitted),
    /// It has its place in the registry; dropping that gives it back.
    Bound {
        /// The place.
        binding: Binding,
        /// What the bind request switched on, where one came with the login.
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
    /// The keys; none if they were at hand in the registry.
    pub(super) keys: Option<ScramKeys>,
    /// The token that fitted, where it was one.
    pub(super) token: Option<Token>,
}

/// Who is logged in.
pub(super) struct Admitted {
    pub(super) bare: BareJid,
    /// None for who is anonymous.
    pub(super) login: Option<Login>,
    /// Which installation of a client it is.
    pub(super) agent: Option<AgentId>,
}

/// What opened an account.
pub(super) struct Login {
    /// The account, and by what.
    pub(super) by: Box<Asked>,
    /// What the client told of its device; none without an id.
    pub(super) seen: Option<Box<Seen>>,
}

/// What the modules switched on for a bind request, before the session is there.
#[derive(Default)]
pub(super) struct Switched {
    pub(super) state: SessionState,
    /// To each element of theirs, in order.
    pub(super) answers: Vec<Vec<u8>>,
}

impl Stage {
    /// Nobody, of whom nothing is known.
    pub(super) const fn stranger() -> Self {
        Self::Stranger { asked: None }
    }

    /// Who is logged in, and not bound yet.
    pub(super) const fn admitted(&self) -> Option<&Admitted> {
        match self {
            Self::Admitted(admitted) => Some(admitted),
            Self::Stranger { .. } | Self::Bound { .. } => None,
        }
    }

    /// Who was admitted is a session's client from here on.
    pub(super) fn bind(&mut self, binding: Binding, switched: Option<Box<Switched>>) -> FullJid {
        let full = binding.client.jid.clone();
        *self = Self::Bound { binding, switched };
        full
    }

    /// What a login was begun with: it opens an account once.
    pub(super) fn take_asked(&mut self) -> Option<Box<Asked>> {
        match self {
            Self::Stranger { asked } => asked.take(),
            Self::Admitted(_) | Self::Bound { .. } => None,
        }
    }
}

impl Admitted {
    /// None for who is anonymous.
    pub(super) fn account(&self) -> Option<AccountId> {
        self.login.as_ref().map(|login| login.by.id)
    }

    /// A token opened the account.
    pub(super) fn is_by_token(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.by.token.is_some())
    }
}
