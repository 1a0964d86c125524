//! The mechanisms and channel bindings that the server offers.

use std::fmt;

use crate::base::credential::HashName;

/// The mechanisms that the server implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// draft-melnikov-scram-sha-512 with channel binding
    ScramSha512Plus,
    /// RFC 7677 with channel binding
    ScramSha256Plus,
    /// RFC 5802 with channel binding
    ScramSha1Plus,
    /// draft-melnikov-scram-sha-512
    ScramSha512,
    /// RFC 7677
    ScramSha256,
    /// RFC 5802
    ScramSha1,
    /// RFC 4616
    Plain,
    /// RFC 4505
    Anonymous,
}

impl Mechanism {
    /// All of them, in the order of our preference (RFC 6120 §6.4.1).
    pub const ALL: [Self; 8] = [
        Self::ScramSha512Plus,
        Self::ScramSha256Plus,
        Self::ScramSha1Plus,
        Self::ScramSha512,
        Self::ScramSha256,
        Self::ScramSha1,
        Self::Plain,
        Self::Anonymous,
    ];

    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScramSha512Plus => "SCRAM-SHA-512-PLUS",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    /// The reverse of [`Self::as_str`]; names are upper case only (RFC 4422 §3.1).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str() == name)
    }

    /// Whether it binds the exchange to the TLS channel.
    pub const fn is_plus(self) -> bool {
        matches!(self, Self::ScramSha512Plus | Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    /// The hash of a SCRAM mechanism.
    pub const fn hash(self) -> Option<HashName> {
        match self {
            Self::ScramSha512Plus | Self::ScramSha512 => Some(HashName::Sha512),
            Self::ScramSha256Plus | Self::ScramSha256 => Some(HashName::Sha256),
            Self::ScramSha1Plus | Self::ScramSha1 => Some(HashName::Sha1),
            Self::Plain | Self::Anonymous => None,
        }
    }
}

/// The data that identifies this TLS channel at both ends; `None` for types that it does not have.
#[derive(Clone, Default)]
pub struct ChannelBindings {
    /// RFC 9266
    pub tls_exporter: Option<Vec<u8>>,
    /// RFC 5929 §4
    pub tls_server_end_point: Option<Vec<u8>>,
    /// Whether the default binding is missing, to which a client binds that reads no list (RFC 5802 §6.1,
    /// RFC 9266 §3). So it is with TLS 1.2, where the default is `tls-unique`, and on WebSockets, whose clients
    /// are mostly pages, which know none.
    pub lacks_default: bool,
}

impl ChannelBindings {
    /// The data of one type, by its registered name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match name {
            TLS_EXPORTER => self.tls_exporter.as_deref(),
            TLS_SERVER_END_POINT => self.tls_server_end_point.as_deref(),
            _ => None,
        }
    }

    /// Whether there is nothing to bind to.
    pub fn is_empty(&self) -> bool {
        self.tls_exporter.is_none() && self.tls_server_end_point.is_none()
    }
}

/// The types to advertise (XEP-0440), the stronger ones first. XEP-0474 hashes this very list, so a stream
/// that offers any mechanism to [`super::Exchange`] must advertise the whole list, and no list only if it
/// is empty.
pub fn channel_binding_types(bindings: &ChannelBindings) -> impl Iterator<Item = &'static str> {
    let exporter = bindings.tls_exporter.as_ref().map(|_| TLS_EXPORTER);
    let end_point = bindings.tls_server_end_point.as_ref().map(|_| TLS_SERVER_END_POINT);
    exporter.into_iter().chain(end_point)
}

/// What the features of one stream offered: SASL and SASL2 make one each (XEP-0474 §6.1).
#[derive(Clone, Default)]
pub struct Offer {
    /// The advertised mechanisms: those of SASL2, unless [`Offer::of_sasl`] was applied.
    pub mechanisms: Vec<Mechanism>,
    /// The advertised channel bindings, with their data.
    pub bindings: ChannelBindings,
}

impl Offer {
    /// The enabled mechanisms in our order, without -PLUS if there is nothing to bind to.
    pub fn new(enabled: &[Mechanism], bindings: ChannelBindings) -> Self {
        let fits = |m: &Mechanism| enabled.contains(m) && !(m.is_plus() && bindings.is_empty());
        Self { mechanisms: Mechanism::ALL.into_iter().filter(fits).collect(), bindings }
    }

    /// The offer for RFC 6120's own profile. RFC 5802 §6.1: no -PLUS without the default channel binding,
    /// which its clients use unasked. Clients of SASL2 read the list (XEP-0440 §3).
    pub fn of_sasl(mut self) -> Self {
        let lacks = self.bindings.lacks_default;
        self.mechanisms.retain(|mechanism| !(lacks && mechanism.is_plus()));
        self
    }

    /// Whether the client was told that we can bind to the channel (RFC 5802 §6).
    pub(super) fn binds(&self) -> bool {
        self.mechanisms.iter().any(|mechanism| mechanism.is_plus())
    }

    /// The string S of XEP-0474 §6.1.
    pub(super) fn protected_text(&self) -> String {
        let mut names: Vec<_> = self.mechanisms.iter().map(|m| m.as_str()).collect();
        names.sort_unstable();
        let mut text = names.join("\x1e");
        let mut types: Vec<_> = channel_binding_types(&self.bindings).collect();
        if !types.is_empty() {
            types.sort_unstable();
            text.push('\x1f');
            text.push_str(&types.join("\x1e"));
        }
        text
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("mechanisms", &self.mechanisms).finish_non_exhaustive()
    }
}

const TLS_EXPORTER: &str = "tls-exporter";
const TLS_SERVER_END_POINT: &str = "tls-server-end-point";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::parse(mechanism.as_str()), Some(mechanism));
            assert_eq!(mechanism.is_plus(), mechanism.as_str().ends_with("-PLUS"));
            if let Some(hash) = mechanism.hash() {
                assert!(mechanism.as_str()["SCRAM-".len()..].starts_with(hash.as_str()));
            }
        }
        assert_eq!(Mechanism::parse("plain"), None);
        assert_eq!(Mechanism::parse("SCRAM-MD5"), None);
    }

    #[test]
    fn plus_needs_something_to_bind_to() {
        let offer = Offer::new(&Mechanism::ALL, ChannelBindings::default());
        assert_eq!(offer.mechanisms.len(), 5);
        assert!(!offer.binds());
        let bindings = ChannelBindings { tls_exporter: Some(vec![1]), ..Default::default() };
        let offer = Offer::new(&Mechanism::ALL, bindings);
        assert_eq!(offer.mechanisms, Mechanism::ALL);
        assert!(offer.binds());
        assert_eq!(offer.bindings.get("tls-exporter"), Some(&[1][..]));
        for none in ["tls-server-end-point", "tls-unique", ""] {
            assert_eq!(offer.bindings.get(none), None);
        }
    }

    /// RFC 5802 §6.1, RFC 9266 §3; XEP-0440 §4 describes the clients that know only `tls-unique`.
    #[test]
    fn plus_needs_the_default_binding_where_nobody_reads_what_there_is() {
        for (lacks_default, plus) in [(false, 3), (true, 0)] {
            let tls_exporter = Some(vec![1]);
            let bindings = ChannelBindings { tls_exporter, lacks_default, ..Default::default() };
            let offer = Offer::new(&Mechanism::ALL, bindings);
            assert!(offer.binds() && offer.mechanisms.len() == 8);
            let offer = offer.of_sasl();
            assert_eq!((offer.binds(), offer.mechanisms.len()), (plus > 0, 5 + plus));
            let text = offer.protected_text();
            assert_eq!(text.contains("-PLUS"), plus > 0);
            assert!(text.ends_with("\x1ftls-exporter"), "as it is advertised");
        }
    }

    #[test]
    fn the_protected_text_is_sorted() {
        let none = ChannelBindings::default();
        let offer = Offer::new(&[Mechanism::ScramSha1, Mechanism::Plain], none.clone());
        assert_eq!(offer.protected_text(), "PLAIN\x1eSCRAM-SHA-1");
        let bindings = ChannelBindings {
            tls_exporter: Some(vec![]),
            tls_server_end_point: Some(vec![]),
            ..none
        };
        let offer = Offer::new(&[Mechanism::ScramSha1, Mechanism::ScramSha1Plus], bindings);
        // XEP-0474 §6.3
        let want = "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1ftls-exporter\x1etls-server-end-point";
        assert_eq!(offer.protected_text(), want);
    }
}
