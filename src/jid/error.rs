//! Why a text is not an address.

use std::fmt;

/// Why a text is not an address; the peer gets `jid-malformed` (RFC 6120 §8.3.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JidError {
    /// The part is empty, or nothing is left of it after mapping.
    #[error("the {0} is empty")]
    Empty(Part),
    /// More than 1023 bytes after preparation (RFC 7622 §3.1).
    #[error("the {0} is too long")]
    TooLong(Part),
    /// A character, or a sequence of characters, that the part's profile does not allow.
    #[error("the {0} has characters that are not allowed there")]
    Forbidden(Part),
    /// A resourcepart where none is allowed.
    #[error("the address has a resourcepart")]
    HasResource,
    /// No resourcepart where one is required.
    #[error("the address has no resourcepart")]
    NoResource,
}

/// The parts of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// RFC 7622 §3.3
    Local,
    /// RFC 7622 §3.2
    Domain,
    /// RFC 7622 §3.4
    Resource,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "localpart",
            Self::Domain => "domainpart",
            Self::Resource => "resourcepart",
        })
    }
}
