//! What the streams between servers have in common: settings, and who may talk.

use super::dialback::{Content, Dialback, DialbackSecret, Kind, Outcome};
use super::features::PeerLimits;
use crate::stanza::StanzaError;

/// Settings that are the same for all streams between servers, in both directions.
pub struct Policy {
    /// All served domains in normal form, those of services included, in order.
    pub domains: Vec<String>,
    /// What dialback keys are made of.
    pub secret: DialbackSecret,
    /// What a peer must prove.
    pub certificates: Certificates,
    /// Domains that may use dialback without a valid certificate all the same, in order.
    pub dialback_domains: Vec<String>,
    /// With whom we talk at all.
    pub admission: Box<dyn Admission>,
    /// Maximum number of pairs of domains on one stream, those that are being verified included.
    pub domains_per_stream_max: usize,
    /// Whether we have certificates to offer ourselves, so that EXTERNAL may be tried.
    pub external: bool,
    /// Whether streams may carry stanzas both ways (XEP-0288).
    pub bidi: bool,
    /// Whether stream management is offered and wanted (XEP-0198).
    pub sm: bool,
    /// What we announce of authenticated streams (XEP-0478).
    pub limits: PeerLimits,
    /// What we announce before, when the peer may be anybody.
    pub limits_unauthenticated: PeerLimits,
}

/// With whom we talk.
pub trait Admission: Send + Sync {
    /// Whether the operator lets this domain, which is in normal form, talk to us, and us to it.
    fn admits(&self, domain: &str) -> bool;
}

/// What a peer must prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certificates {
    /// A valid certificate (RFC 6120 §13.7.2).
    #[default]
    Require,
    /// Dialback is enough (XEP-0220 §3: that is weak).
    Dialback,
}

/// How a pair of domains was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// SASL EXTERNAL (XEP-0178 §3).
    External,
    /// Dialback to the authoritative server (XEP-0220 §2).
    Dialback,
    /// Dialback without dialling back, by the certificate (XEP-0344 §2.4).
    DialbackByCertificate,
}

impl How {
    /// For the log and for figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Dialback => "dialback",
            Self::DialbackByCertificate => "dialback-by-certificate",
        }
    }
}

impl Policy {
    /// Whether this domain, which is in normal form, is served here.
    pub fn is_ours(&self, domain: &str) -> bool {
        self.domains.binary_search_by(|ours| ours.as_str().cmp(domain)).is_ok()
    }

    /// Whether this peer needs no valid certificate.
    pub fn is_exempt(&self, domain: &str) -> bool {
        let listed =
            || self.dialback_domains.binary_search_by(|one| one.as_str().cmp(domain)).is_ok();
        self.certificates == Certificates::Dialback || listed()
    }

    /// Answers `<db:verify/>` as the authoritative server (XEP-0220 §2.2.2); `None` if it is no request.
    pub(super) fn verify(&self, request: &Dialback) -> Option<Dialback> {
        let Dialback { kind: Kind::Verify, from, to, id, content: Content::Key(key) } = request
        else {
            return None;
        };
        Some(request.answer(match self.is_ours(to) {
            false => Outcome::Error(StanzaError::item_not_found()),
            true if self.secret.is_key(key, from, to, id) => Outcome::Valid,
            true => Outcome::Invalid,
        }))
    }
}
