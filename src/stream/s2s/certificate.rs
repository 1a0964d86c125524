//! For which domains a peer's certificate is (RFC 6120 §13.7.1.2, RFC 6125 §6, XEP-0178 §3).

use std::borrow::Cow;
use std::net::IpAddr;

/// What is known of a peer's certificate after the TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whether it can be believed.
    pub trust: Trust,
    /// The names of its subject that mean something here.
    pub names: Vec<CertName>,
}

/// A TLS handshake that is done, with the peer's certificate if it sent one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secured(pub Option<PeerCertificate>);

impl Secured {
    /// Like [`PeerCertificate::proves`]; without a certificate nothing is proved.
    pub fn proves(&self, domain: &str) -> Result<(), String> {
        match &self.0 {
            Some(certificate) => certificate.proves(domain),
            None => Err(NO_CERTIFICATE.to_owned()),
        }
    }

    /// Like [`Self::proves`], but for a domain that was not called: what DANE proved counts by its names only.
    pub fn proves_by_name(&self, domain: &str) -> Result<(), String> {
        match &self.0 {
            Some(dane) if dane.trust == Trust::Dane && !dane.names(domain) => {
                Err(dane.other_names(domain))
            }
            Some(certificate) => certificate.proves(domain),
            None => Err(NO_CERTIFICATE.to_owned()),
        }
    }
}

/// Whether a certificate can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The chain leads to a trusted root, and the times are right.
    Valid,
    /// Why not, for people.
    Untrusted(String),
    /// DANE (RFC 7673) proved it for the domain that was called.
    Dane,
}

/// A name in a certificate (RFC 6120 §13.7.1.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertName {
    /// A dNSName in lower case, which may begin with `*.`.
    Dns(String),
    /// An id-on-dnsSRV (RFC 4985), e.g. `_xmpp-server.example.org`.
    Srv(String),
    /// An id-on-xmppAddr (RFC 6120 §13.7.1.4).
    XmppAddr(String),
}

impl PeerCertificate {
    /// Whether this is a trusted certificate for this domain, which is in normal form; else why not, for people.
    /// What DANE proved needs no name (RFC 7671 §5.1), but it is proved for the domain that was called only: see
    /// [`Secured::proves_by_name`].
    pub fn proves(&self, domain: &str) -> Result<(), String> {
        match &self.trust {
            Trust::Untrusted(why) => Err(why.clone()),
            Trust::Dane => Ok(()),
            Trust::Valid if self.names(domain) => Ok(()),
            Trust::Valid => Err(self.other_names(domain)),
        }
    }

    /// Whether one of its names is this domain's, whoever says so.
    pub fn names(&self, domain: &str) -> bool {
        let Some(wanted) = ascii(domain) else { return false };
        self.names.iter().any(|name| name.is_for(&wanted))
    }

    fn other_names(&self, domain: &str) -> String {
        let shown: Vec<_> = self.names.iter().take(NAMES_SHOWN_MAX).map(CertName::text).collect();
        match (shown.as_slice(), self.names.len() > NAMES_SHOWN_MAX) {
            ([], _) => "the certificate names no domain".to_owned(),
            (some, false) => {
                format!("the certificate is not for {domain}, but for {}", some.join(", "))
            }
            (some, true) => {
                format!("the certificate is not for {domain}, but for {}, …", some.join(", "))
            }
        }
    }
}

impl CertName {
    /// Whether it stands for this domain, which is in A-labels.
    fn is_for(&self, wanted: &str) -> bool {
        match self {
            Self::Dns(name) => match name.strip_prefix("*.") {
                Some(parent) => is_below(wanted, parent),
                None => same(name, wanted),
            },
            // RFC 4985 §2: the service, then the domain. XEP-0178's servers are `_xmpp-server`; RFC 6125
            // §6.4.3 knows no wildcards here.
            Self::Srv(name) => match name.split_once('.') {
                Some((service, domain)) => {
                    service.eq_ignore_ascii_case(SERVICE) && same(domain, wanted)
                }
                None => false,
            },
            Self::XmppAddr(name) => same(name, wanted),
        }
    }

    fn text(&self) -> &str {
        let (Self::Dns(text) | Self::Srv(text) | Self::XmppAddr(text)) = self;
        text
    }
}

/// Whether a presented name without a wildcard is the wanted one.
fn same(presented: &str, wanted: &str) -> bool {
    ascii(presented).is_some_and(|presented| presented == wanted)
}

/// RFC 6125 §6.4.3: the wildcard is the whole leftmost label, and stands for one label. What it covers must have
/// two labels at least, as in web browsers: nobody answers for all of `.org`.
fn is_below(wanted: &str, parent: &str) -> bool {
    let Some(parent) = ascii(parent).filter(|parent| parent.contains('.')) else { return false };
    let rest = wanted.split_once('.').filter(|(label, _)| !label.is_empty());
    rest.is_some_and(|(_, rest)| rest == parent) && !is_address(wanted)
}

/// RFC 6125 §6.4.2: names are compared as A-labels in lower case, without a final dot. A wildcard has none.
fn ascii(name: &str) -> Option<Cow<'_, str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    if name.is_empty() || name.contains('*') {
        return None;
    }
    if name.bytes().all(plain) {
        return Some(Cow::Borrowed(name));
    }
    idna::domain_to_ascii(name).ok().filter(|name| !name.is_empty()).map(Cow::Owned)
}

/// An address is no name, and no wildcard stands for a part of it.
fn is_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

const NO_CERTIFICATE: &str = "the server sent no certificate";
const SERVICE: &str = "_xmpp-server";
/// More names than this help nobody who reads the log.
const NAMES_SHOWN_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[CertName]) -> PeerCertificate {
        PeerCertificate { trust: Trust::Valid, names: names.to_vec() }
    }

    fn dns(name: &str) -> CertName {
        CertName::Dns(name.to_owned())
    }

    fn srv(name: &str) -> CertName {
        CertName::Srv(name.to_owned())
    }

    fn addr(name: &str) -> CertName {
        CertName::XmppAddr(name.to_owned())
    }

    /// RFC 6125 §6.4, RFC 6120 §13.7.1.2.1
    #[test]
    fn names_are_compared_as_the_rfcs_say() {
        for (name, domain, fits) in [
            (dns("example.org"), "example.org", true),
            (dns("EXAMPLE.org"), "example.org", true),
            (dns("example.org."), "example.org", true),
            (dns("example.org"), "a.example.org", false),
            (dns("a.example.org"), "example.org", false),
            (dns("*.example.org"), "a.example.org", true),
            (dns("*.Example.ORG"), "a.example.org", true),
            (dns("*.example.org"), "example.org", false),
            (dns("*.example.org"), "b.a.example.org", false),
            (dns("a*.example.org"), "ab.example.org", false),
            (dns("*a.example.org"), "ba.example.org", false),
            (dns("a.*.org"), "a.example.org", false),
            (dns("*.*.org"), "a.example.org", false),
            (dns("*.org"), "example.org", false),
            (dns("*"), "example.org", false),
            (dns("*"), "localhost", false),
            (dns(""), "example.org", false),
            (dns("*.0.0.1"), "127.0.0.1", false),
            // §6.4.2: A-labels; an A-label is a label like others for a wildcard.
            (dns("xn--bcher-kva.example"), "bücher.example", true),
            (dns("XN--BCHER-KVA.example"), "bücher.example", true),
            (dns("*.bücher.example"), "a.bücher.example", true),
            (dns("*.xn--bcher-kva.example"), "a.bücher.example", true),
            (dns("*.example.org"), "bücher.example.org", true),
            (dns("bucher.example"), "bücher.example", false),
            (srv("_xmpp-server.example.org"), "example.org", true),
            (srv("_XMPP-Server.Example.org"), "example.org", true),
            (srv("_xmpp-server.xn--bcher-kva.example"), "bücher.example", true),
            (srv("_xmpp-client.example.org"), "example.org", false),
            (srv("_xmpp-server.*.org"), "example.org", false),
            (srv("_xmpp-server.*.example.org"), "a.example.org", false),
            (srv("example.org"), "example.org", false),
            (srv("_xmpp-server"), "example.org", false),
            (addr("example.org"), "example.org", true),
            (addr("Bücher.example"), "bücher.example", true),
            (addr("*.example.org"), "a.example.org", false),
            (addr("juliet@example.org"), "example.org", false),
        ] {
            assert_eq!(
                of(std::slice::from_ref(&name)).proves(domain).is_ok(),
                fits,
                "{name:?} {domain}"
            );
        }
    }

    #[test]
    fn what_is_not_proved_says_why() {
        let two = of(&[dns("a.example"), srv("_xmpp-server.b.example")]);
        assert!(two.proves("a.example").is_ok() && two.proves("b.example").is_ok());
        let why = two.proves("c.example").unwrap_err();
        assert!(
            why.contains("c.example") && why.contains("a.example, _xmpp-server.b.example"),
            "{why}"
        );
        assert!(of(&[]).proves("a.example").unwrap_err().contains("names no domain"));
        let expired = Trust::Untrusted("it expired yesterday".to_owned());
        let expired = PeerCertificate { trust: expired, ..two.clone() };
        assert_eq!(expired.proves("a.example").unwrap_err(), "it expired yesterday");
        let dane = PeerCertificate { trust: Trust::Dane, ..two };
        assert!(dane.proves("c.example").is_ok() && !dane.names("c.example"));
        let dane = Secured(Some(dane));
        assert!(
            dane.proves_by_name("a.example").is_ok() && dane.proves_by_name("c.example").is_err()
        );
        assert!(Secured(None).proves("a.example").is_err());
    }
}
