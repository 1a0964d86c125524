//! What another server's certificate is worth, in words that its operator and ours can act on.

use std::time::{Duration, SystemTime};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use super::facts::{Facts, Name};
use super::roots::Roots;
use crate::base::time::stamp;
use crate::stream::s2s::certificate::{CertName, PeerCertificate, Trust};

/// Looks at a chain, the server's own certificate first; `None` if it is empty. A server that connects shows the
/// certificate that it has as a server, so that the usage "server authentication" alone is right for both sides.
pub(super) fn judge(
    chain: &[CertificateDer<'_>],
    roots: &Roots,
    now: SystemTime,
    provider: &CryptoProvider,
) -> Option<PeerCertificate> {
    let own = chain.first()?;
    if chain.len() > CHAIN_MAX {
        let trust = Trust::Untrusted(format!("the chain has more than {CHAIN_MAX} certificates"));
        return Some(PeerCertificate { trust, names: Vec::new() });
    }
    let facts = match Facts::read(own) {
        Ok(facts) => facts,
        Err(why) => {
            let trust = Trust::Untrusted(format!("the certificate cannot be read ({why})"));
            return Some(PeerCertificate { trust, names: Vec::new() });
        }
    };
    let proved = match roots.named.iter().any(|named| named == own) {
        true => in_time(&facts, now),
        false => prove(chain, &roots.store, now, provider).map_err(|error| told(&error, &facts)),
    };
    let trust = match proved {
        Ok(()) => Trust::Valid,
        Err(why) => Trust::Untrusted(why),
    };
    Some(of_facts(&facts, trust))
}

/// A chain whose worth was found out otherwise.
pub(super) fn with_trust(chain: &[CertificateDer<'_>], trust: Trust) -> PeerCertificate {
    let facts = chain.first().and_then(|own| Facts::read(own).ok());
    match facts {
        Some(facts) => of_facts(&facts, trust),
        None => PeerCertificate { trust, names: Vec::new() },
    }
}

fn of_facts(facts: &Facts, trust: Trust) -> PeerCertificate {
    // Of what is not believed, people are told and no more.
    let is_believed = !matches!(trust, Trust::Untrusted(_));
    let names = names(facts, if is_believed { NAMES_MAX } else { NAMES_SHOWN_MAX });
    PeerCertificate { trust, names }
}

/// Whether a chain leads to one of these roots (RFC 5280 §6); names are not looked at.
pub(super) fn prove(
    chain: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: SystemTime,
    provider: &CryptoProvider,
) -> Result<(), Error> {
    let (own, above) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    verify_server_cert_signed_by_trust_anchor(
        &ParsedCertificate::try_from(own)?,
        roots,
        above,
        UnixTime::since_unix_epoch(since),
        provider.signature_verification_algorithms.all,
    )
}

fn in_time(facts: &Facts, now: SystemTime) -> Result<(), String> {
    if now < facts.not_before {
        return Err(too_early(facts.not_before));
    }
    if facts.not_after < now {
        return Err(too_late(facts.not_after));
    }
    Ok(())
}

fn too_early(from: SystemTime) -> String {
    format!("the certificate is valid only from {}", stamp(from))
}

fn too_late(until: SystemTime) -> String {
    format!("the certificate expired on {}", stamp(until))
}

/// Why a chain is not believed.
fn told(error: &Error, facts: &Facts) -> String {
    use CertificateError as Wrong;
    let Error::InvalidCertificate(wrong) = error else {
        return format!("the certificate cannot be used ({error})");
    };
    let at =
        |time: &UnixTime| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    match wrong {
        Wrong::ExpiredContext { not_after, .. } => {
            too_late(at(not_after).unwrap_or(facts.not_after))
        }
        Wrong::Expired => too_late(facts.not_after),
        Wrong::NotValidYetContext { not_before, .. } => {
            too_early(at(not_before).unwrap_or(facts.not_before))
        }
        Wrong::NotValidYet => too_early(facts.not_before),
        // Before anything else: what is wrong with such a certificate besides does not matter.
        _ if facts.subject == facts.issuer => {
            "the certificate is signed by itself: no authority vouches for it".to_owned()
        }
        Wrong::UnknownIssuer => format!(
            "the certificate was issued by {}, whom this server does not know: either that authority is not \
             trusted here, or certificates between are missing",
            shown(&facts.issuer)
        ),
        Wrong::BadSignature => "the certificate's signature is wrong".to_owned(),
        Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => {
            "the certificate is not made for servers (its extended key usage)".to_owned()
        }
        other => format!("the certificate cannot be used ({other})"),
    }
}

/// A peer's text of any length and content, for a line of the log.
fn shown(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let short: String = plain.take(SHOWN_MAX).collect();
    format!("\"{short}\"")
}

/// The names that can be an XMPP server's (RFC 6120 §13.7.1.2), bounded.
fn names(facts: &Facts, max: usize) -> Vec<CertName> {
    let named = facts.names.iter().filter_map(|name| match name {
        Name::Dns(name) => Some(CertName::Dns(name.to_ascii_lowercase())),
        Name::Srv(name) => Some(CertName::Srv(name.clone())),
        Name::Xmpp(jid) => Some(CertName::XmppAddr(jid.clone())),
        Name::Ip(_) => None,
    });
    named.take(max).collect()
}

/// Authorities put at most a hundred into one certificate.
const NAMES_MAX: usize = 100;
const NAMES_SHOWN_MAX: usize = 5;
/// Certificates of one chain: two or three are usual, and each is a signature to look at.
pub(super) const CHAIN_MAX: usize = 8;
const SHOWN_MAX: usize = 200;
