//! Stream headers (RFC 6120 §4.7): checks the client's.

use super::error::{StreamError, StreamFailure};
use crate::base::limits::LANG_BYTES_MAX;
use crate::jid::prep;
use crate::xml::error::XmlError;
use crate::xml::header::Header;
use crate::xml::ns;

/// What a valid client header determines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The hosted domain, in normal form.
    pub host: String,
    /// The stream's default language (RFC 6120 §4.7.4).
    pub lang: Option<String>,
}

/// Judges a client's header (RFC 6120 §4.7, §4.8, §4.9.3).
pub fn judge(
    header: &Header,
    is_host: impl Fn(&str) -> bool,
    only: Option<&str>,
) -> Result<Opened, StreamFailure> {
    is_stream(header)?;
    // RFC 6120 §4.8.2: without the content namespace as the default, each stanza names it itself.
    if !matches!(header.default_ns.as_deref(), None | Some(ns::CLIENT | ns::STREAM | "")) {
        return Err(
            StreamError::InvalidNamespace.text("the default namespace is not jabber:client")
        );
    }
    if !header.version.as_deref().is_some_and(speaks_xmpp_1) {
        // RFC 6120 §4.7.5 and §4.9.3.25: without 1.0 there is neither TLS nor SASL.
        return Err(StreamError::UnsupportedVersion.into());
    }
    if header.lang.as_ref().is_some_and(|lang| lang.len() > LANG_BYTES_MAX) {
        return Err(StreamError::BadFormat.text("xml:lang is too long"));
    }
    // §4.7.2: a client must name the domain it wants; COMPAT: with a single domain there is no doubt.
    let host = match (header.to.as_deref(), only) {
        (Some(to), _) => {
            prep::domainpart(to).ok().map(|to| to.into_owned()).filter(|to| is_host(to))
        }
        (None, only) => only.map(ToOwned::to_owned),
    };
    let host = host.ok_or(StreamError::HostUnknown)?;
    Ok(Opened { host, lang: header.lang.clone() })
}

/// Whether the root is that of an XMPP stream (RFC 6120 §4.8.1), of clients or of servers.
pub(super) fn is_stream(header: &Header) -> Result<(), StreamFailure> {
    if header.prefix.is_some() && header.ns.is_empty() {
        // RFC 6120 §4.9.3.13: XML that breaks the rules of namespaces.
        return Err(
            StreamError::NotWellFormed.text("the prefix of the root element is not declared")
        );
    }
    if header.ns != ns::STREAM {
        return Err(StreamError::InvalidNamespace
            .text("the stream's namespace is not that of XMPP streams"));
    }
    if header.local != "stream" {
        return Err(StreamError::BadFormat.text("the root element is not a stream"));
    }
    Ok(())
}

/// Whether the version is `1.0` or later; a missing or older one is not XMPP as RFC 6120 defines it.
pub(super) fn speaks_xmpp_1(version: &str) -> bool {
    let mut parts = version.splitn(2, '.').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(_))) if major >= 1)
}

impl From<XmlError> for StreamFailure {
    fn from(error: XmlError) -> Self {
        let condition = match error {
            XmlError::NotWellFormed(_) => StreamError::NotWellFormed,
            XmlError::RestrictedXml(_) => StreamError::RestrictedXml,
            XmlError::UnsupportedEncoding(_) => StreamError::UnsupportedEncoding,
            XmlError::BadNamespacePrefix(_) => StreamError::BadNamespacePrefix,
            XmlError::InvalidNamespace(_) => StreamError::InvalidNamespace,
            XmlError::BadFormat(_) => StreamError::BadFormat,
            XmlError::TooLarge { .. }
            | XmlError::TooDeep { .. }
            | XmlError::TooManyAttributes { .. }
            | XmlError::TooManyChildren { .. } => StreamError::PolicyViolation,
        };
        condition.text(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Header {
        Header {
            to: Some("Localhost".into()),
            version: Some("1.0".into()),
            ns: ns::STREAM.into(),
            local: "stream".into(),
            prefix: Some("stream".into()),
            default_ns: Some(ns::CLIENT.into()),
            ..Header::default()
        }
    }

    fn condition(change: impl FnOnce(&mut Header)) -> &'static str {
        let mut header = good();
        change(&mut header);
        match judge(&header, |host| host == "localhost", None) {
            Ok(_) => "ok",
            Err(failure) => failure.error.condition(),
        }
    }

    #[test]
    fn a_header_is_judged_as_the_rfc_says() {
        assert_eq!(condition(|_| ()), "ok");
        assert_eq!(condition(|h| h.version = Some("1.7".into())), "ok");
        assert_eq!(condition(|h| h.version = Some("12.0".into())), "ok");
        assert_eq!(condition(|h| h.default_ns = Some(ns::STREAM.into())), "ok");
        for bad in [None, Some("0.9"), Some("1"), Some("x.y")] {
            assert_eq!(
                condition(|h| h.version = bad.map(Into::into)),
                "unsupported-version",
                "{bad:?}"
            );
        }
        assert_eq!(condition(|h| h.ns = "http://wrong".into()), "invalid-namespace");
        assert_eq!(condition(|h| h.ns = String::new()), "not-well-formed");
        assert_eq!(condition(|h| h.default_ns = Some(ns::SERVER.into())), "invalid-namespace");
        assert_eq!(condition(|h| h.default_ns = None), "ok");
        assert_eq!(condition(|h| h.default_ns = Some(String::new())), "ok");
        assert_eq!(condition(|h| h.local = "flood".into()), "bad-format");
        assert_eq!(condition(|h| h.to = Some("elsewhere.example".into())), "host-unknown");
        assert_eq!(condition(|h| h.to = None), "host-unknown");
        assert_eq!(condition(|h| h.lang = Some("x".repeat(36))), "bad-format");
    }
}
