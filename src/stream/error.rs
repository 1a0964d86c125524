//! Stream errors (RFC 6120 §4.9): the 25 defined conditions and their wire form. Every one of them
//! is fatal to the stream (RFC 6120 §4.9.1.1).

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::xml::escape::escape_text;

/// Why a stream is closed, with details that help a person to understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFailure {
    /// The condition, as the RFC names it.
    pub error: StreamError,
    /// For a person who debugs; programs never interpret it (RFC 6120 §4.9.2).
    pub text: Option<Cow<'static, str>>,
    /// An extension's own condition, as an element (RFC 6120 §4.9.4).
    pub application: Option<String>,
}

impl StreamFailure {
    /// Adds an extension's own condition: a whole element.
    #[must_use]
    pub fn application(mut self, element: String) -> Self {
        self.application = Some(element);
        self
    }

    /// Adds a text for a person who debugs: lower case, no secrets, nothing of the peer's data.
    #[must_use]
    pub fn text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// The content of the `<error/>` element; the framing writes the element around it.
    pub(super) fn children(&self) -> String {
        let mut out = String::with_capacity(160);
        let name = self.error.condition();
        if let StreamError::SeeOtherHost(host) = &self.error {
            let _ = write!(out, "<{name} xmlns='{NS}'>");
            out.push_str(&escape_text(host));
            let _ = write!(out, "</{name}>");
        } else {
            let _ = write!(out, "<{name} xmlns='{NS}'/>");
        }
        if let Some(text) = &self.text {
            let _ = write!(out, "<text xmlns='{NS}' xml:lang='en'>");
            out.push_str(&escape_text(text));
            out.push_str("</text>");
        }
        out.push_str(self.application.as_deref().unwrap_or_default());
        out
    }
}

impl From<StreamError> for StreamFailure {
    fn from(error: StreamError) -> Self {
        Self { error, text: None, application: None }
    }
}

impl fmt::Display for StreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error.condition())?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StreamFailure {}

impl StreamError {
    /// The failure of this condition, with a text for a person who debugs.
    pub fn text(self, text: impl Into<Cow<'static, str>>) -> StreamFailure {
        StreamFailure::from(self).text(text)
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition())
    }
}

impl std::error::Error for StreamError {}

/// Makes the enum and the names in both directions from one list.
macro_rules! conditions {
    ($($(#[$doc:meta])* $variant:ident $(($content:ty))?, $name:literal;)*) => {
        /// The defined conditions of RFC 6120 §4.9.3.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum StreamError {
            $($(#[$doc])* $variant $(($content))?,)*
        }

        impl StreamError {
            /// The name of the condition's element.
            pub const fn condition(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name,)* }
            }

            /// The reverse of [`Self::condition`]; `content` is the element's character data,
            /// which only `see-other-host` has. An unknown name MUST be treated as
            /// `undefined-condition` (RFC 6120 §4.9.2).
            pub fn parse(name: &str, content: &str) -> Self {
                match name {
                    $($name => Self::$variant $((<$content>::from(content.trim().to_owned())))?,)*
                    _ => Self::UndefinedCondition,
                }
            }
        }
    };
}

conditions! {
    /// RFC 6120 §4.9.3.1: XML that cannot be processed.
    BadFormat, "bad-format";
    /// RFC 6120 §4.9.3.2: a prefix that is unsupported, or missing where one is needed.
    BadNamespacePrefix, "bad-namespace-prefix";
    /// RFC 6120 §4.9.3.3: a newer stream replaces this one, or an older one stands in its way.
    Conflict, "conflict";
    /// RFC 6120 §4.9.3.4: the peer seems to be lost for good.
    ConnectionTimeout, "connection-timeout";
    /// RFC 6120 §4.9.3.5: the domain of 'to' is no longer served here.
    HostGone, "host-gone";
    /// RFC 6120 §4.9.3.6: the domain of 'to' is not served here.
    HostUnknown, "host-unknown";
    /// RFC 6120 §4.9.3.7: a stanza between servers without a proper 'to' or 'from'.
    ImproperAddressing, "improper-addressing";
    /// RFC 6120 §4.9.3.8: the server's own fault.
    InternalServerError, "internal-server-error";
    /// RFC 6120 §4.9.3.9: a 'from' that the peer may not use.
    InvalidFrom, "invalid-from";
    /// RFC 6120 §4.9.3.10: a stream or content namespace that the server does not support.
    InvalidNamespace, "invalid-namespace";
    /// RFC 6120 §4.9.3.11: XML that breaks a schema that the server validates.
    InvalidXml, "invalid-xml";
    /// RFC 6120 §4.9.3.12: data before authentication, or an action that is not permitted.
    NotAuthorized, "not-authorized";
    /// RFC 6120 §4.9.3.13: XML that breaks well-formedness or namespace well-formedness.
    NotWellFormed, "not-well-formed";
    /// RFC 6120 §4.9.3.14: a local policy, such as a size limit.
    PolicyViolation, "policy-violation";
    /// RFC 6120 §4.9.3.15: a remote entity needed for authentication cannot be reached.
    RemoteConnectionFailed, "remote-connection-failed";
    /// RFC 6120 §4.9.3.16: new features or keys ask for a new stream and a new connection.
    Reset, "reset";
    /// RFC 6120 §4.9.3.17: the server lacks the resources for this stream.
    ResourceConstraint, "resource-constraint";
    /// RFC 6120 §4.9.3.18: a comment, processing instruction, DTD subset or entity reference.
    RestrictedXml, "restricted-xml";
    /// RFC 6120 §4.9.3.19: another host serves this: `domainpart` or `domainpart:port`, an IPv6
    /// address in brackets.
    SeeOtherHost(Cow<'static, str>), "see-other-host";
    /// RFC 6120 §4.9.3.20: the server is going down.
    SystemShutdown, "system-shutdown";
    /// RFC 6120 §4.9.3.21: none of the others.
    UndefinedCondition, "undefined-condition";
    /// RFC 6120 §4.9.3.22: not UTF-8.
    UnsupportedEncoding, "unsupported-encoding";
    /// RFC 6120 §4.9.3.23: the peer cannot do what the server requires (sent by the initiating entity).
    UnsupportedFeature, "unsupported-feature";
    /// RFC 6120 §4.9.3.24: a first-level child of the stream that the server does not understand.
    UnsupportedStanzaType, "unsupported-stanza-type";
    /// RFC 6120 §4.9.3.25: an unsupported version of XMPP.
    UnsupportedVersion, "unsupported-version";
}

const NS: &str = "urn:ietf:params:xml:ns:xmpp-streams";

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6120 §4.9.3.1 to §4.9.3.25, in order.
    const TABLE: [(&str, StreamError); 25] = [
        ("bad-format", StreamError::BadFormat),
        ("bad-namespace-prefix", StreamError::BadNamespacePrefix),
        ("conflict", StreamError::Conflict),
        ("connection-timeout", StreamError::ConnectionTimeout),
        ("host-gone", StreamError::HostGone),
        ("host-unknown", StreamError::HostUnknown),
        ("improper-addressing", StreamError::ImproperAddressing),
        ("internal-server-error", StreamError::InternalServerError),
        ("invalid-from", StreamError::InvalidFrom),
        ("invalid-namespace", StreamError::InvalidNamespace),
        ("invalid-xml", StreamError::InvalidXml),
        ("not-authorized", StreamError::NotAuthorized),
        ("not-well-formed", StreamError::NotWellFormed),
        ("policy-violation", StreamError::PolicyViolation),
        ("remote-connection-failed", StreamError::RemoteConnectionFailed),
        ("reset", StreamError::Reset),
        ("resource-constraint", StreamError::ResourceConstraint),
        ("restricted-xml", StreamError::RestrictedXml),
        ("see-other-host", StreamError::SeeOtherHost(Cow::Borrowed("[2001:db8::1]:9222"))),
        ("system-shutdown", StreamError::SystemShutdown),
        ("undefined-condition", StreamError::UndefinedCondition),
        ("unsupported-encoding", StreamError::UnsupportedEncoding),
        ("unsupported-feature", StreamError::UnsupportedFeature),
        ("unsupported-stanza-type", StreamError::UnsupportedStanzaType),
        ("unsupported-version", StreamError::UnsupportedVersion),
    ];

    fn written(failure: &StreamFailure) -> String {
        ["<stream:error>", &failure.children(), "</stream:error>"].concat()
    }

    #[test]
    fn every_condition_of_rfc_6120_4_9_3_goes_both_ways() {
        for (name, error) in TABLE {
            assert_eq!(error.condition(), name);
            assert_eq!(StreamError::parse(name, " [2001:db8::1]:9222\n"), error);
            let xml = written(&error.text("x < y"));
            let text = format!("<text xmlns='{NS}' xml:lang='en'>x &lt; y</text></stream:error>");
            assert!(xml.starts_with(&format!("<stream:error><{name} xmlns='{NS}'")), "{xml}");
            assert!(xml.ends_with(&text), "{xml}");
            let whole = format!("<a xmlns:stream='http://etherx.jabber.org/streams'>{xml}</a>");
            assert!(roxmltree::Document::parse(&whole).is_ok(), "{xml}");
        }
    }

    #[test]
    fn an_unknown_condition_is_undefined_as_rfc_6120_4_9_2_demands() {
        assert_eq!(StreamError::parse("no-such", ""), StreamError::UndefinedCondition);
    }

    #[test]
    fn a_failure_without_text_is_the_condition_alone() {
        let reset = StreamFailure::from(StreamError::Reset);
        assert_eq!(written(&reset), format!("<stream:error><reset xmlns='{NS}'/></stream:error>"));
        assert_eq!(reset.to_string(), "reset");
        let moved = StreamFailure::from(StreamError::parse("see-other-host", "b.example:5222"));
        assert_eq!(
            written(&moved),
            format!(
                "<stream:error><see-other-host xmlns='{NS}'>b.example:5222</see-other-host>\
                 </stream:error>"
            )
        );
    }
}
