//! What TLSA records that DNSSEC vouches for say of a certificate (RFC 6698, RFC 7671, RFC 7673): DANE-EE and
//! DANE-TA. The other two usages, which ask for a trusted authority besides, are passed over as unusable, as mail
//! servers do (RFC 7672 §3.1.3).

use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha512};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

use super::facts::Facts;
use super::verdict::prove;
use crate::net::dns::Tlsa;
use crate::stream::s2s::certificate::Trust;

/// The records of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dane {
    /// The target's name, which is one that a DANE-TA certificate may be for (RFC 7673 §4.1).
    pub host: String,
    /// Validated by DNSSEC.
    pub records: Vec<Tlsa>,
}

/// What the records say of a chain; `None` if there is none that can be used: then authorities decide.
pub(super) fn judge(
    dane: &Dane,
    chain: &[CertificateDer<'_>],
    domain: &str,
    now: SystemTime,
    provider: &CryptoProvider,
) -> Option<Trust> {
    let usable =
        |one: &&Tlsa| matches!(one.usage, EE | TA) && one.selector <= KEY && one.matching <= SHA512;
    let mut usable = dane.records.iter().filter(usable).peekable();
    usable.peek()?;
    let proves = |one: &Tlsa| match one.usage {
        // RFC 7671 §5.1: neither names nor dates count.
        EE => chain.first().is_some_and(|own| matches(one, own)),
        _ => is_below(one, chain, now, provider) && is_for(chain, domain, &dane.host),
    };
    Some(match usable.any(proves) {
        true => Trust::Dane,
        false => Trust::Untrusted(format!(
            "the certificate is not the one that the TLSA records of {} name (DANE)",
            dane.host
        )),
    })
}

/// RFC 7671 §5.2: whether the chain leads to the authority that the record names, which is part of it.
fn is_below(
    one: &Tlsa,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
    provider: &CryptoProvider,
) -> bool {
    let above = chain.iter().skip(1).filter(|certificate| matches(one, certificate));
    above.take(ANCHORS_MAX).any(|anchor| {
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone().into_owned()).is_ok()
            && prove(chain, &roots, now, provider).is_ok()
    })
}

/// RFC 7673 §4.1, where the SRV records are validated, too.
fn is_for(chain: &[CertificateDer<'_>], domain: &str, host: &str) -> bool {
    let facts = chain.first().and_then(|own| Facts::read(own).ok());
    facts.is_some_and(|facts| facts.covers_host_name(domain) || facts.covers_host_name(host))
}

fn matches(one: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let is = |selected: &[u8]| match one.matching {
        SHA256 => Sha256::digest(selected).as_slice() == one.data,
        SHA512 => Sha512::digest(selected).as_slice() == one.data,
        _ => selected == one.data,
    };
    match one.selector {
        KEY => X509Certificate::from_der(certificate)
            .is_ok_and(|(_, parsed)| is(parsed.public_key().raw)),
        _ => is(certificate),
    }
}

const TA: u8 = 2;
const EE: u8 = 3;
const KEY: u8 = 1;
const SHA256: u8 = 1;
const SHA512: u8 = 2;
const ANCHORS_MAX: usize = 4;
