//! The faults that a peer's XML can have, named as in RFC 6120 §4.9.3.

use thiserror::Error;

/// Why bytes from a peer were refused. The detail is a short static text, fit for logs and `<text/>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum XmlError {
    /// RFC 6120 §4.9.3.13: neither well-formed nor namespace-well-formed XML.
    #[error("not well-formed: {0}")]
    NotWellFormed(&'static str),
    /// RFC 6120 §4.9.3.18: a comment, processing instruction, DTD or foreign entity reference.
    #[error("restricted XML: {0}")]
    RestrictedXml(&'static str),
    /// RFC 6120 §4.9.3.22: another encoding than UTF-8, or broken UTF-8.
    #[error("unsupported encoding: {0}")]
    UnsupportedEncoding(&'static str),
    /// RFC 6120 §4.9.3.2 and §4.8.5: a prefix where the content namespace allows none.
    #[error("bad namespace prefix: {0}")]
    BadNamespacePrefix(&'static str),
    /// RFC 6120 §4.9.3.10 and §4.8.5: a namespace that must not be used here.
    #[error("invalid namespace: {0}")]
    InvalidNamespace(&'static str),
    /// RFC 6120 §4.9.3.1: XML that cannot be processed for another reason.
    #[error("bad format: {0}")]
    BadFormat(&'static str),
    /// RFC 6120 §4.9.3.14 (policy): more bytes than one top-level element may have.
    #[error("larger than {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// RFC 6120 §4.9.3.14 (policy): elements nested deeper than allowed.
    #[error("nested deeper than {max} elements")]
    TooDeep {
        /// The limit in elements, the top-level element included.
        max: usize,
    },
    /// RFC 6120 §4.9.3.14 (policy): too many attributes on one element, or bindings in scope.
    #[error("more than {max} attributes or namespace declarations")]
    TooManyAttributes {
        /// The limit in attributes.
        max: usize,
    },
    /// RFC 6120 §4.9.3.14 (policy): too many top-level payloads.
    #[error("more than {max} child elements")]
    TooManyChildren {
        /// The limit in child elements.
        max: usize,
    },
}

impl XmlError {
    /// The static text without the condition's name, for `<text/>`.
    pub fn detail(&self) -> &'static str {
        match self {
            Self::NotWellFormed(text)
            | Self::RestrictedXml(text)
            | Self::UnsupportedEncoding(text)
            | Self::BadNamespacePrefix(text)
            | Self::InvalidNamespace(text)
            | Self::BadFormat(text) => text,
            Self::TooLarge { .. } => "element too large",
            Self::TooDeep { .. } => "elements nested too deep",
            Self::TooManyAttributes { .. } => "too many attributes",
            Self::TooManyChildren { .. } => "too many child elements",
        }
    }
}
