//! What is offered when (RFC 6120 §4.3.2).

use super::sasl::{Offer, channel_binding_types};
use crate::base::limits::Limits;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Before TLS: STARTTLS, and SASL only where the operator allows it in the clear.
pub fn secure(required: bool, rest: &str) -> String {
    let mut xml = open();
    xml.start("starttls").attr("xmlns", ns::TLS);
    if required {
        xml.start("required").end();
    }
    xml.end().raw(rest.as_bytes());
    close(xml)
}

/// SASL mechanisms and channel bindings (RFC 6120 §6.4.1, XEP-0440), and what modules offer.
pub fn authenticate(offer: &Offer, modules: &str, limits: &Limits) -> String {
    let mut xml = Xml::new();
    xml.start("mechanisms").attr("xmlns", ns::SASL);
    for mechanism in &offer.mechanisms {
        xml.start("mechanism").text(mechanism.as_str()).end();
    }
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
pub fn bind(modules: &str, limits: &Limits) -> String {
    let mut xml = open();
    xml.start("bind").attr("xmlns", ns::BIND).start("required").end().end();
    // XEP-0198 §2
    xml.start("sm").attr("xmlns", ns::SM).end();
    xml.raw(modules.as_bytes());
    advertise(&mut xml, limits.stanza_bytes_max, limits);
    close(xml)
}

/// The features element around parts made by the functions above.
pub fn wrap(parts: &str) -> String {
    let mut xml = open();
    xml.raw(parts.as_bytes());
    close(xml)
}

/// XEP-0478: Stream Limits Advertisement.
fn advertise(xml: &mut Xml, bytes: usize, limits: &Limits) {
    xml.start("limits").attr("xmlns", ns::STREAM_LIMITS);
    xml.start("max-bytes").text(&bytes.to_string()).end();
    // We ping a silent client before we give it up, so this much silence is always safe.
    let idle = limits.ping_after + limits.ping_timeout;
    if !limits.ping_after.is_zero() {
        xml.start("idle-seconds").text(&idle.as_secs().to_string()).end();
    }
    xml.end();
}

fn open() -> Xml {
    let mut xml = Xml::new();
    xml.start("stream:features");
    xml
}

fn close(mut xml: Xml) -> String {
    xml.end();
    xml.into_string()
}
