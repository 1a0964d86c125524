//! What is found in the DNS, and why nothing is.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Why the DNS gave no servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsError {
    /// The name is there, but not with records of this type.
    Absent {
        /// Whether DNSSEC vouches for that.
        secure: bool,
    },
    /// There is no such name (NXDOMAIN), or it cannot be one.
    NoDomain,
    /// The domain says that it has no XMPP servers (a target of `.`, RFC 2782).
    NotOffered,
    /// There are records, but none of them leads anywhere.
    Useless,
    /// Nobody answered in time.
    Timeout,
    /// The signatures of DNSSEC are wrong.
    Bogus,
    /// The DNS server refuses or fails.
    Failed(String),
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { .. } => f.write_str("no records"),
            Self::NoDomain => f.write_str("there is no such name"),
            Self::NotOffered => f.write_str("the domain says that it has no XMPP server"),
            Self::Useless => f.write_str("the records lead nowhere"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Bogus => f.write_str("the DNSSEC signatures are wrong"),
            Self::Failed(why) => write!(f, "the DNS server failed ({why})"),
        }
    }
}

/// The addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// At most [`ADDRESSES_MAX`], those of IPv6 and IPv4 in turns, IPv6 first (RFC 8305 §4).
    pub all: Vec<IpAddr>,
    /// Whether DNSSEC vouches for them.
    pub secure: bool,
}

/// One TLSA record (RFC 6698 §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE.
    pub usage: u8,
    /// 0 the certificate, 1 its public key.
    pub selector: u8,
    /// 0 as it is, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
    /// What must match.
    pub data: Vec<u8>,
}

/// One question, and what came of it, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Such as `SRV _xmpp-server._tcp.example.org: 2 records`.
    pub what: String,
    /// How long it took.
    pub took: Duration,
    /// Whether there was no use in it.
    pub failed: bool,
}

/// Addresses of one host that are tried.
pub const ADDRESSES_MAX: usize = 8;
