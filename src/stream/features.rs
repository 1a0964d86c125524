//! The features that each phase of a stream offers (RFC 6120 §4.3.2): the children of `<features/>`.

use bytestring::ByteString;

use super::sasl::ht::HtMechanism;
use super::sasl::upgrade::Task;
use super::sasl::{Offer, channel_binding_types};
use crate::base::hash::{base64, sha256};
use crate::base::limits::Limits;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Before TLS: STARTTLS, and SASL only if the operator allows it unencrypted.
pub fn secure(required: bool, rest: &str) -> ByteString {
    let mut xml = Xml::new();
    xml.start("starttls").attr("xmlns", ns::TLS);
    if required {
        xml.start("required").end();
    }
    xml.end().raw(rest.as_bytes());
    xml.into_string().into()
}

/// What a client can ask for together with a login (XEP-0388 §2.1).
#[derive(Debug, Clone, Default)]
pub struct Inline {
    /// The features that a client can enable while it binds a resource (XEP-0386 §3.1).
    pub bind: Vec<&'static str>,
    /// Whether the server issues and accepts tokens (XEP-0484).
    pub fast: bool,
    /// Whether the server accepts keys that an account lacks (XEP-0480).
    pub upgrade: bool,
}

/// The offer of a stream under TLS: all its features, and a version that stands for their exact text.
#[derive(Debug, Clone)]
pub struct OverTls {
    /// The features.
    pub features: ByteString,
    /// The `value` of `<config-version/>` (XEP-0509 §2.3).
    pub version: String,
}

/// SASL in both profiles, for a stream under TLS: XEP-0388 §3 allows its own profile only there.
pub fn over_tls(offer: &Offer, inline: &Inline, modules: &str, limits: &Limits) -> OverTls {
    let mut parts = authenticate(offer, modules, limits);
    parts.push_str(&sasl2(offer, inline));
    let digest = sha256(parts.as_bytes());
    let version = base64(digest.first_chunk::<VERSION_BYTES>().unwrap_or(&[0; VERSION_BYTES]));
    let mut xml = Xml::new();
    xml.raw(parts.as_bytes());
    xml.start("config-version").attr("xmlns", ns::IAP).attr("scheme", "opaque");
    xml.attr("value", &version).end();
    OverTls { features: xml.into_string().into(), version }
}

/// XEP-0388 §2.1
fn sasl2(offer: &Offer, inline: &Inline) -> String {
    let mut xml = Xml::new();
    xml.start("authentication").attr("xmlns", ns::SASL2);
    mechanisms(&mut xml, offer);
    xml.start("inline");
    // XEP-0198 §9.2
    xml.start("sm").attr("xmlns", ns::SM).end();
    xml.start("bind").attr("xmlns", ns::BIND2).start("inline");
    for feature in [ns::SM].iter().chain(&inline.bind) {
        xml.start("feature").attr("var", feature).end();
    }
    xml.end().end();
    if inline.fast {
        xml.start("fast").attr("xmlns", ns::FAST);
        for mechanism in HtMechanism::offered(&offer.bindings) {
            xml.start("mechanism").text(mechanism.as_str()).end();
        }
        xml.end();
    }
    xml.end();
    if inline.upgrade {
        for task in Task::ALL {
            xml.element("upgrade", ns::SASL_UPGRADE, task.as_str());
        }
    }
    xml.end();
    xml.into_string()
}

fn mechanisms(xml: &mut Xml, offer: &Offer) {
    for mechanism in &offer.mechanisms {
        xml.start("mechanism").text(mechanism.as_str()).end();
    }
}

/// SASL mechanisms and channel bindings (RFC 6120 §6.4.1, XEP-0440), and what modules offer.
pub fn authenticate(offer: &Offer, modules: &str, limits: &Limits) -> String {
    let mut xml = Xml::new();
    xml.start("mechanisms").attr("xmlns", ns::SASL);
    mechanisms(&mut xml, &offer.clone().of_sasl());
    xml.end();
    let mut types = channel_binding_types(&offer.bindings).peekable();
    if types.peek().is_some() {
        xml.start("sasl-channel-binding").attr("xmlns", ns::SASL_CB);
        for ty in types {
            xml.start("channel-binding").attr("type", ty).end();
        }
        xml.end();
    }
    xml.raw(modules.as_bytes());
    advertise(&mut xml, limits.stanza_bytes_max_unauthenticated, limits);
    xml.into_string()
}

/// After SASL: resource binding (RFC 6120 §7.4), stream management, and what modules offer.
pub fn bind(modules: &str, limits: &Limits) -> ByteString {
    let mut xml = Xml::new();
    xml.start("bind").attr("xmlns", ns::BIND).start("required").end().end();
    // XEP-0198 §2
    xml.start("sm").attr("xmlns", ns::SM).end();
    xml.raw(modules.as_bytes());
    advertise(&mut xml, limits.stanza_bytes_max, limits);
    xml.into_string().into()
}

/// When a resource is already bound (XEP-0386): the features that are left.
pub fn bound(modules: &str, limits: &Limits, sm_enabled: bool) -> ByteString {
    let mut xml = Xml::new();
    if !sm_enabled {
        xml.start("sm").attr("xmlns", ns::SM).end();
    }
    xml.raw(modules.as_bytes());
    advertise(&mut xml, limits.stanza_bytes_max, limits);
    xml.into_string().into()
}

/// XEP-0478: Stream Limits Advertisement.
fn advertise(xml: &mut Xml, bytes: usize, limits: &Limits) {
    xml.start("limits").attr("xmlns", ns::STREAM_LIMITS);
    xml.start("max-bytes").text(&bytes.to_string()).end();
    // The server pings a silent client before it gives it up, so this much silence is always safe.
    let idle = limits.ping_after + limits.ping_timeout;
    if !limits.ping_after.is_zero() {
        xml.start("idle-seconds").text(&idle.as_secs().to_string()).end();
    }
    xml.end();
}

/// Bytes of a hash that tells two offers apart; nobody gains anything by forging one.
const VERSION_BYTES: usize = 12;
