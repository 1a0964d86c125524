//! What a certificate says (RFC 5280): names, dates, and its hash for channel binding.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::signature_algorithm::{RsaSsaPssParams, SignatureAlgorithm};
use x509_parser::time::ASN1Time;

/// The facts of one certificate that the server acts on or shows.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) names: Vec<Name>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// `tls-server-end-point`; `None` where RFC 5929 §4.1 leaves it undefined.
    pub(crate) end_point: Option<Vec<u8>>,
    pub(crate) fingerprint_sha256: String,
}

/// One subjectAltName of a kind that can identify an XMPP server (RFC 6120 §13.7.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Dns(String),
    Ip(IpAddr),
    /// id-on-xmppAddr
    Xmpp(String),
    /// id-on-dnsSRV (RFC 4985), `_service.domain`
    Srv(String),
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Ip(ip) => write!(f, "IP:{ip}"),
            Self::Xmpp(jid) => write!(f, "xmppAddr:{jid}"),
            Self::Srv(name) => write!(f, "SRV:{name}"),
        }
    }
}

impl Facts {
    /// Reads the DER of one certificate; the error is a phrase for people.
    pub(crate) fn read(der: &[u8]) -> Result<Self, String> {
        let (_, cert) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        Ok(Self {
            subject: cert.subject().to_string(),
            issuer: cert.issuer().to_string(),
            names: names(&cert),
            not_before: system_time(cert.validity().not_before),
            not_after: system_time(cert.validity().not_after),
            end_point: end_point(&cert, der),
            fingerprint_sha256: fingerprint(der),
        })
    }

    /// Whether a client that wants to reach `domain` (any form) may accept this certificate.
    /// The common name does not count (RFC 6120 §13.7.1.2.1 speaks of subjectAltName only).
    pub(crate) fn covers(&self, domain: &str) -> bool {
        let domain = ascii(domain);
        self.names.iter().any(|name| match name {
            Name::Dns(pattern) => dns_matches(&ascii(pattern), &domain),
            Name::Ip(ip) => bare_ip(&domain) == Some(*ip),
            Name::Xmpp(jid) => ascii(jid) == domain,
            // RFC 6125 §6.5.1: service and domain must both match.
            Name::Srv(srv) => srv.split_once('.').is_some_and(|(service, name)| {
                service.eq_ignore_ascii_case("_xmpp-client") && ascii(name) == domain
            }),
        })
    }

    /// The names that a TLS client compares with its SNI.
    pub(crate) fn covers_host_name(&self, host: &str) -> bool {
        let host = ascii(host);
        self.names
            .iter()
            .any(|name| matches!(name, Name::Dns(pattern) if dns_matches(&ascii(pattern), &host)))
    }
}

/// The form in which domains are compared: A-labels, lower case, no final dot.
pub(crate) fn ascii(domain: &str) -> String {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    // A wildcard label is no valid domain, so it goes around the conversion.
    let (star, rest) = match domain.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", domain),
    };
    let rest = idna::domain_to_ascii(rest).unwrap_or_else(|_| rest.to_ascii_lowercase());
    format!("{star}{rest}")
}

/// The address in a domainpart that is an IP literal (RFC 7622 §3.2: IPv6 in brackets).
pub(crate) fn bare_ip(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')).unwrap_or(domain);
    inner.parse().ok()
}

/// RFC 6125 §6.4.3: the wildcard is the whole left-most label and stands for exactly one.
fn dns_matches(pattern: &str, domain: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern == domain,
        Some(parent) => domain
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent && rest.contains('.')),
    }
}

fn names(cert: &X509Certificate<'_>) -> Vec<Name> {
    let Ok(Some(san)) = cert.subject_alternative_name() else { return Vec::new() };
    san.value.general_names.iter().filter_map(name).collect()
}

fn name(general: &GeneralName<'_>) -> Option<Name> {
    match general {
        GeneralName::DNSName(name) => Some(Name::Dns((*name).to_owned())),
        GeneralName::IPAddress(bytes) => ip(bytes).map(Name::Ip),
        GeneralName::OtherName(oid, value) => match oid.to_id_string().as_str() {
            ID_ON_XMPP_ADDR => other_name(value).map(Name::Xmpp),
            ID_ON_DNS_SRV => other_name(value).map(Name::Srv),
            _ => None,
        },
        _ => None,
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// `value [0] EXPLICIT ANY` of an otherName, where the inner value is a string of some type.
fn other_name(value: &[u8]) -> Option<String> {
    let (_, explicit) = Any::from_der(value).ok()?;
    let (_, inner) = Any::from_der(explicit.data).ok()?;
    std::str::from_utf8(inner.data).ok().map(str::to_owned)
}

fn system_time(time: ASN1Time) -> SystemTime {
    let secs = Duration::from_secs(time.timestamp().unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let at = if time.timestamp() < 0 { epoch.checked_sub(secs) } else { epoch.checked_add(secs) };
    at.unwrap_or(epoch)
}

/// As `openssl x509 -fingerprint -sha256` writes it.
fn fingerprint(der: &[u8]) -> String {
    let pairs: Vec<String> = Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// RFC 5929 §4.1: the hash of the signature algorithm, SHA-256 in place of MD5 and SHA-1,
/// undefined where there is no hash (Ed25519) or more than one.
fn end_point(cert: &X509Certificate<'_>, der: &[u8]) -> Option<Vec<u8>> {
    let hash = match SignatureAlgorithm::try_from(&cert.signature_algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(params)) => pss_hash(&params)?,
        _ => cert.signature_algorithm.algorithm.to_id_string(),
    };
    match hash.as_str() {
        MD5_RSA | SHA1_RSA | SHA1_ECDSA | SHA1 | SHA256_RSA | SHA256_ECDSA | SHA256 => {
            Some(Sha256::digest(der).to_vec())
        }
        SHA224_RSA | SHA224_ECDSA | SHA224 => Some(Sha224::digest(der).to_vec()),
        SHA384_RSA | SHA384_ECDSA | SHA384 => Some(Sha384::digest(der).to_vec()),
        SHA512_RSA | SHA512_ECDSA | SHA512 => Some(Sha512::digest(der).to_vec()),
        _ => None,
    }
}

/// PSS names a hash for the message and one for the mask: "a single hash" only if they agree.
fn pss_hash(params: &RsaSsaPssParams<'_>) -> Option<String> {
    let message = params.hash_algorithm_oid().to_id_string();
    let mask = params.mask_gen_algorithm().ok()?.hash.to_id_string();
    (message == mask).then_some(message)
}

/// RFC 6120 §13.7.1.4
const ID_ON_XMPP_ADDR: &str = "1.3.6.1.5.5.7.8.5";
/// RFC 4985 §2
const ID_ON_DNS_SRV: &str = "1.3.6.1.5.5.7.8.7";

// Signature algorithms (RFC 8017 appendix C, RFC 5758 §3.2) and hash functions (RFC 5754 §2).
const MD5_RSA: &str = "1.2.840.113549.1.1.4";
const SHA1_RSA: &str = "1.2.840.113549.1.1.5";
const SHA256_RSA: &str = "1.2.840.113549.1.1.11";
const SHA384_RSA: &str = "1.2.840.113549.1.1.12";
const SHA512_RSA: &str = "1.2.840.113549.1.1.13";
const SHA224_RSA: &str = "1.2.840.113549.1.1.14";
const SHA1_ECDSA: &str = "1.2.840.10045.4.1";
const SHA224_ECDSA: &str = "1.2.840.10045.4.3.1";
const SHA256_ECDSA: &str = "1.2.840.10045.4.3.2";
const SHA384_ECDSA: &str = "1.2.840.10045.4.3.3";
const SHA512_ECDSA: &str = "1.2.840.10045.4.3.4";
const SHA1: &str = "1.3.14.3.2.26";
const SHA256: &str = "2.16.840.1.101.3.4.2.1";
const SHA384: &str = "2.16.840.1.101.3.4.2.2";
const SHA512: &str = "2.16.840.1.101.3.4.2.3";
const SHA224: &str = "2.16.840.1.101.3.4.2.4";
