//! The features of streams between servers (RFC 6120 §4.3.2): writes ours, and reads those of peers.

use bytestring::ByteString;

use crate::base::limits::PEER_BYTES_MAX_UNAUTHENTICATED;
use crate::stream::features;
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// What one side is willing to accept (XEP-0478 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerLimits {
    /// Bytes of one first-level element.
    pub max_bytes: Option<u64>,
    /// Seconds of silence after which the stream may be closed.
    pub idle_seconds: Option<u64>,
}

impl PeerLimits {
    /// What is accepted of whoever may be anybody.
    pub(super) fn to_strangers(self) -> Self {
        let most = u64::try_from(PEER_BYTES_MAX_UNAUTHENTICATED).unwrap_or(u64::MAX);
        Self { max_bytes: self.max_bytes.map(|bytes| bytes.min(most)), ..self }
    }
}

/// What we offer once the stream is under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Offer {
    pub external: bool,
    pub dialback: bool,
    pub bidi: bool,
    pub sm: bool,
    pub limits: PeerLimits,
}

/// What a peer offers, as far as it is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerFeatures {
    /// STARTTLS (RFC 6120 §5), whether or not it is required.
    pub starttls: bool,
    /// SASL EXTERNAL (XEP-0178 §3).
    pub external: bool,
    /// Dialback (XEP-0220 §2.4.2).
    pub dialback: bool,
    /// Dialback with errors, so that one pair's failure does not end the stream.
    pub dialback_errors: bool,
    /// Stanzas both ways (XEP-0288 §2.1).
    pub bidi: bool,
    /// Stream management (XEP-0198 §2).
    pub sm: bool,
    /// What it accepts (XEP-0478 §3.1).
    pub limits: Option<PeerLimits>,
}

/// Before TLS: nothing else (RFC 6120 §5.3.1).
pub(super) fn before_tls() -> ByteString {
    features::secure(true, "")
}

impl Offer {
    /// The children of `<features/>`.
    pub(super) fn to_xml(self) -> ByteString {
        let mut xml = Xml::new();
        if self.external {
            xml.start("mechanisms").attr("xmlns", ns::SASL);
            xml.start("mechanism").text(EXTERNAL).end().end();
        }
        if self.dialback {
            xml.start("dialback").attr("xmlns", ns::DIALBACK_FEATURE).start("errors").end().end();
        }
        if self.bidi {
            xml.start("bidi").attr("xmlns", ns::BIDI_FEATURE).end();
        }
        if self.sm {
            xml.start("sm").attr("xmlns", ns::SM).end();
        }
        self.limits.write(&mut xml);
        xml.into_string().into()
    }
}

impl PeerFeatures {
    /// Reads `<features/>`; what it does not know is nothing to it.
    pub fn read(features: &Element) -> Self {
        let mut read = Self::default();
        for child in features.view().root().children() {
            match (child.ns(), child.name()) {
                (ns::TLS, "starttls") => read.starttls = true,
                (ns::SASL, "mechanisms") => {
                    let mut names = child.children().filter(|one| one.is(ns::SASL, "mechanism"));
                    read.external |= names.any(|name| name.text().trim() == EXTERNAL);
                }
                (ns::DIALBACK_FEATURE, "dialback") => {
                    read.dialback = true;
                    read.dialback_errors |= child.child(ns::DIALBACK_FEATURE, "errors").is_some();
                }
                (ns::BIDI_FEATURE, "bidi") => read.bidi = true,
                (ns::SM, "sm") => read.sm = true,
                (ns::STREAM_LIMITS, "limits") => read.limits = Some(PeerLimits::read(child)),
                _ => {}
            }
        }
        read
    }
}

impl PeerLimits {
    /// Reads `<limits/>`. What is no number is not said.
    pub(super) fn read(limits: Node<'_>) -> Self {
        let number = |name| {
            limits.child_text(ns::STREAM_LIMITS, name).and_then(|text| text.trim().parse().ok())
        };
        Self { max_bytes: number("max-bytes"), idle_seconds: number("idle-seconds") }
    }

    /// Writes `<limits/>`, if there are any.
    pub(super) fn write(self, xml: &mut Xml) {
        if self == Self::default() {
            return;
        }
        xml.start("limits").attr("xmlns", ns::STREAM_LIMITS);
        for (name, value) in [("max-bytes", self.max_bytes), ("idle-seconds", self.idle_seconds)] {
            if let Some(value) = value {
                xml.start(name).text(&value.to_string()).end();
            }
        }
        xml.end();
    }
}

/// XEP-0178
pub(super) const EXTERNAL: &str = "EXTERNAL";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::gate::{self, Rules};

    fn read(children: &str) -> PeerFeatures {
        let rules =
            Rules { content_ns: ns::CLIENT, depth_max: 9, attributes_max: 9, children_max: 99 };
        let xml = format!("<stream:features>{children}</stream:features>");
        PeerFeatures::read(&gate::check(xml.into(), &rules).unwrap())
    }

    /// RFC 6120 §4.3.2, XEP-0178, XEP-0198, XEP-0220 §2.4.2, XEP-0288 §2.1, XEP-0478
    #[test]
    fn what_is_offered_is_read() {
        let limits = PeerLimits { max_bytes: Some(262_144), idle_seconds: Some(360) };
        let all = Offer { external: true, dialback: true, bidi: true, sm: true, limits };
        let want = PeerFeatures {
            starttls: false,
            external: true,
            dialback: true,
            dialback_errors: true,
            bidi: true,
            sm: true,
            limits: Some(limits),
        };
        assert_eq!(read(&all.to_xml()), want);
        assert_eq!(read(&Offer::default().to_xml()), PeerFeatures::default());
        assert_eq!(read(&before_tls()), PeerFeatures { starttls: true, ..PeerFeatures::default() });
    }

    #[test]
    fn what_is_unknown_is_nothing() {
        for nothing in [
            "",
            "<starttls/><bidi/><sm/>",
            "<x xmlns='urn:x'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></x>",
            "<bidi xmlns='urn:xmpp:bidi'/><sm xmlns='urn:xmpp:sm:2'/>",
            "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
             </mechanisms>",
            "<dialback xmlns='jabber:server:dialback'/>",
        ] {
            assert_eq!(read(nothing), PeerFeatures::default(), "{nothing}");
        }
        let old = read("<dialback xmlns='urn:xmpp:features:dialback'/>");
        assert!(old.dialback && !old.dialback_errors);
        let odd = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes> 9 </max-bytes>\
                   <idle-seconds>-1</idle-seconds></limits>";
        let odd_limits = PeerLimits { max_bytes: Some(9), idle_seconds: None };
        assert_eq!(read(odd).limits, Some(odd_limits));
    }
}
