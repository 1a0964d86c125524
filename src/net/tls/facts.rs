//! The contents of a certificate (RFC 5280): names, dates, and its hash for channel binding.

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

    /// Whether a client that wants to reach `domain` (any form) may accept this certificate. The common
    /// name does not count (RFC 6120 §13.7.1.2.1 mentions subjectAltName only).
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
pub fn ascii(domain: &str) -> String {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    // A wildcard label is not a valid domain label, so it bypasses the conversion.
    let (star, rest) = match domain.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", domain),
    };
    let rest = idna::domain_to_ascii(rest).unwrap_or_else(|_| rest.to_ascii_lowercase());
    format!("{star}{rest}")
}

/// The address in a domainpart that is an IP literal (RFC 7622 §3.2: IPv6 in brackets).
pub fn bare_ip(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')).unwrap_or(domain);
    inner.parse().ok()
}

/// RFC 6125 §6.4.3: the wildcard is the whole left-most label and matches exactly one label.
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

/// In the format of `openssl x509 -fingerprint -sha256`.
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

/// PSS names one hash for the message and one for the mask; they are "a single hash" only if they
/// agree.
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    fn facts(pem: &str) -> Facts {
        Facts::read(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
    }

    fn named(names: &[Name]) -> Facts {
        Facts { names: names.to_vec(), ..facts(NAMES_AND_SHA1) }
    }

    #[test]
    fn a_domain_is_covered_by_each_kind_of_name() {
        let dns = |name: &str| named(&[Name::Dns(name.to_owned())]);
        let cases = [
            // RFC 6125 §6.4.1, §6.4.2, §6.4.3
            (dns("example.org"), "example.org", true),
            (dns("EXAMPLE.org"), "example.ORG", true),
            (dns("example.org"), "im.example.org", false),
            (dns("example.org"), "example.org.", true),
            (dns("*.example.org"), "im.example.org", true),
            (dns("*.example.org"), "example.org", false),
            (dns("*.example.org"), "a.im.example.org", false),
            (dns("*.example.org"), ".example.org", false),
            (dns("i*.example.org"), "im.example.org", false),
            (dns("im.*.org"), "im.example.org", false),
            (dns("*.org"), "example.org", false),
            (dns("*"), "localhost", false),
            (dns("xn--bcher-kva.example"), "bücher.example", true),
            (dns("*.xn--bcher-kva.example"), "im.bücher.example", true),
            (named(&[Name::Xmpp("bücher.example".to_owned())]), "xn--bcher-kva.example", true),
            (named(&[Name::Ip("::1".parse().unwrap())]), "[::1]", true),
            (named(&[Name::Ip("192.0.2.1".parse().unwrap())]), "192.0.2.1", true),
            (named(&[Name::Ip("192.0.2.1".parse().unwrap())]), "192.0.2.2", false),
            (named(&[]), "cn.example", false),
            // Names in a real certificate; RFC 6125 §6.5.1: the service of an SRV-ID counts.
            (facts(NAMES_AND_SHA1), "im.example", true),
            (facts(NAMES_AND_SHA1), "srv.example", true),
            (facts(NAMES_AND_SHA1), "peer.example", false),
            (facts(NAMES_AND_SHA1), "a.wild.example", true),
            (facts(NAMES_AND_SHA1), "192.0.2.1", true),
            (facts(NAMES_AND_SHA1), "cn.example", false),
        ];
        for (facts, domain, expected) in cases {
            assert_eq!(facts.covers(domain), expected, "{domain} by {:?}", facts.names);
        }
    }

    /// RFC 5929 §4.1; the openssl command line made the expected digests.
    #[test]
    fn the_end_point_hash_follows_the_signature() {
        let hex = |facts: Facts| {
            facts.end_point.map(|hash| hash.iter().map(|b| format!("{b:02x}")).collect::<String>())
        };
        let sha1 = "a8d85553c531e990743c725fc096b2dcc6480a66d128777cff7d884e64febcb6";
        assert_eq!(hex(facts(NAMES_AND_SHA1)).as_deref(), Some(sha1), "SHA-256 for SHA-1");
        let pss = "63b8d1ec8bf6d1e19acd0e554a589eb863b9f457053b8a975070161139bfd94a\
                   f7a4c2ce14b830e5576e63c35bd41b32";
        assert_eq!(hex(facts(PSS_SHA384)).as_deref(), Some(pss));
        assert_eq!(hex(facts(PSS_TWO_HASHES)), None, "more than one hash");
    }

    #[test]
    fn the_end_point_hash_of_made_certificates() {
        use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
        for (algorithm, len) in [
            (&PKCS_ECDSA_P256_SHA256, Some(32)),
            (&PKCS_ECDSA_P384_SHA384, Some(48)),
            (&PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let cert = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            let facts = Facts::read(cert.der()).unwrap();
            assert_eq!(facts.end_point.map(|hash| hash.len()), len);
        }
    }

    #[test]
    fn the_facts_are_read() {
        let facts = facts(NAMES_AND_SHA1);
        assert_eq!(facts.subject, "CN=cn.example");
        assert_eq!(crate::base::time::stamp(facts.not_before), "2026-11-22T07:51:35Z");
        assert_eq!(crate::base::time::stamp(facts.not_after), "2036-11-19T07:51:35Z");
        assert!(
            facts.fingerprint_sha256.starts_with("A8:D8:55:53:"),
            "{}",
            facts.fingerprint_sha256
        );
        assert_eq!(facts.names[1].to_string(), "SRV:_xmpp-client.srv.example");
        assert!(Facts::read(b"\x30\x03abc").is_err());
    }

    /// `ecdsa-with-SHA1`; xmppAddr im.example, SRVNames, `*.wild.example`, 192.0.2.1.
    const NAMES_AND_SHA1: &str = "\
-----BEGIN CERTIFICATE-----
MIIB6TCCAZGgAwIBAgIURquXHuGhfK4Hz/OQdHAwHvcwFCgwCQYHKoZIzj0EATAV
MRMwEQYDVQQDDApjbi5leGFtcGxlMB4XDTI2MTEyMjA3NTEzNVoXDTM2MTExOTA3
NTEzNVowFTETMBEGA1UEAwwKY24uZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABPhULLDLCFNZ4Jadh5tjyF4i7nqIXJQ7DDGEZEbmDdYLks7EDIUKEvlv
xZplGZsIomR7+lfYn+lHonjVkVcrQZujgb8wgbwwDAYDVR0TAQH/BAIwADCBjAYD
VR0RBIGEMIGBoBgGCCsGAQUFBwgFoAwMCmltLmV4YW1wbGWgJgYIKwYBBQUHCAeg
GhYYX3htcHAtY2xpZW50LnNydi5leGFtcGxloCcGCCsGAQUFBwgHoBsWGV94bXBw
LXNlcnZlci5wZWVyLmV4YW1wbGWCDioud2lsZC5leGFtcGxlhwTAAAIBMB0GA1Ud
DgQWBBSFMUjcO9B3c207efhhRdj5iUnZFDAJBgcqhkjOPQQBA0cAMEQCIHRyCCxE
vvKHm2dnt6edmIUAZDfC4nxBtEU2oX8oehrJAiBcF7HOXliAdoM3DEnPmbyVI9TP
B4XrHDNw13cYZNhQ4A==
-----END CERTIFICATE-----
";

    /// RSASSA-PSS, SHA-384 for the message and the mask.
    const PSS_SHA384: &str = "\
-----BEGIN CERTIFICATE-----
MIICBjCCATsCFEd93iLx1kQh9xLjHpUZlEyzi+iuMEEGCSqGSIb3DQEBCjA0oA8w
DQYJYIZIAWUDBAICBQChHDAaBgkqhkiG9w0BAQgwDQYJYIZIAWUDBAICBQCiAwIB
TjAOMQwwCgYDVQQDDANwc3MwHhcNMjYxMTIyMDc1MTM1WhcNMzYxMTE5MDc1MTM1
WjAOMQwwCgYDVQQDDANwc3MwgZ8wDQYJKoZIhvcNAQEBBQADgY0AMIGJAoGBAJsQ
5aoiqHlwYwzeqK3x0Kr/IgV2pAKtP3ST8mmPSuhIXCC40qMgI/AYKpZigfqeqlcp
qVMX6PHqq5o494w46ubE5McJ6JOYKSfwMIk/8PSbxMoQfx22+H44e6M5xoyDwSnB
lS4zWJYbIxnJuOsuY99V9iESb+1YPWxnJ3ecyP2pAgMBAAEwQQYJKoZIhvcNAQEK
MDSgDzANBglghkgBZQMEAgIFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgIF
AKIDAgFOA4GBADdMw7hui9Royih5sJLfTD6peV8yQnZwtQVW0j6Y5kQGAfRCxHh4
s3BDZaIUPqYenZ4Kf+ZtSaTfCfZWFpENlkOBUAUfmoLW0Xth19hzUiqiTrPjoLJE
W4FVF/eFE1QRWCNvnc/v1mTV/hG8VgmSV2qcB4KUyXB+nOvrZgSpRXia
-----END CERTIFICATE-----
";

    /// RSASSA-PSS, SHA-384 for the message and SHA-256 for the mask.
    const PSS_TWO_HASHES: &str = "\
-----BEGIN CERTIFICATE-----
MIICBjCCATsCFCypLrroa+Bj0VuUXzriFYRiJuW2MEEGCSqGSIb3DQEBCjA0oA8w
DQYJYIZIAWUDBAICBQChHDAaBgkqhkiG9w0BAQgwDQYJYIZIAWUDBAIBBQCiAwIB
TjAOMQwwCgYDVQQDDANwc3MwHhcNMjYxMTIyMDc1MTM1WhcNMzYxMTE5MDc1MTM1
WjAOMQwwCgYDVQQDDANwc3MwgZ8wDQYJKoZIhvcNAQEBBQADgY0AMIGJAoGBAJsQ
5aoiqHlwYwzeqK3x0Kr/IgV2pAKtP3ST8mmPSuhIXCC40qMgI/AYKpZigfqeqlcp
qVMX6PHqq5o494w46ubE5McJ6JOYKSfwMIk/8PSbxMoQfx22+H44e6M5xoyDwSnB
lS4zWJYbIxnJuOsuY99V9iESb+1YPWxnJ3ecyP2pAgMBAAEwQQYJKoZIhvcNAQEK
MDSgDzANBglghkgBZQMEAgIFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgEF
AKIDAgFOA4GBAGWBIqL6EVuwbZ6OmD1rYoe4DsD0V38AH93fRPwdxAz/GdRzcnQb
qYKzhCv1IuDie8LqpTCAO/PXuI/v7UZOZmJbjbiAq/AudgtGyZbD1TYbODhqaXdL
mw7krDkmZbvM8enAiLecPiDj9bdCEkGl0Cg5Q8JVqmOaKcZKLvo0lbCB
-----END CERTIFICATE-----
";
}
