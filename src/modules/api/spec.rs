//! What a module says of itself: specifications, identities, features.

/// A specification and how far it is implemented.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// An RFC with its section, or a XEP.
    pub name: &'static str,
    /// The version read while writing, for XEPs.
    pub version: &'static str,
    /// How far.
    pub state: State,
    /// The test that shows it: a file under `tests/`, or one under `src/` with tests of its own.
    pub test: &'static str,
}

impl Spec {
    /// A specification that is there whole, as far as it concerns a server.
    pub const fn whole(name: &'static str, version: &'static str, test: &'static str) -> Self {
        Self { name, version, state: State::Complete, test }
    }

    /// One of which `missing` is missing.
    pub const fn partial(
        name: &'static str,
        version: &'static str,
        missing: &'static str,
        test: &'static str,
    ) -> Self {
        Self { name, version, state: State::Partial(missing), test }
    }
}

/// How far a specification is implemented on the server's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything that concerns a server.
    Complete,
    /// The rest is named in docs/specs.md.
    Partial(&'static str),
}

/// Where a disco feature is shown.
#[derive(Debug, Clone, Copy)]
pub enum On {
    /// On a hosted domain.
    Server(&'static str),
    /// On an account's bare JID.
    Account(&'static str),
    /// On the domain of every service.
    Service(&'static str),
}

impl On {
    /// The feature, if hosted domains have it.
    pub const fn server(self) -> Option<&'static str> {
        match self {
            Self::Server(feature) => Some(feature),
            Self::Account(_) | Self::Service(_) => None,
        }
    }

    /// The feature, if accounts have it.
    pub const fn account(self) -> Option<&'static str> {
        match self {
            Self::Account(feature) => Some(feature),
            Self::Server(_) | Self::Service(_) => None,
        }
    }

    /// The feature, if services have it.
    pub const fn service(self) -> Option<&'static str> {
        match self {
            Self::Service(feature) => Some(feature),
            Self::Server(_) | Self::Account(_) => None,
        }
    }
}

/// What an entity is (XEP-0030 §3.1). Sorts as XEP-0115 §5.1 wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// `server`, `account`, …
    pub category: &'static str,
    /// `im`, `registered`, …
    pub ty: &'static str,
    /// For people.
    pub name: Option<&'static str>,
}
