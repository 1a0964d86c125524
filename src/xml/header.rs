//! The content of a stream header (RFC 6120 §4.7); the stream floor decides whether to accept it.

use super::escape::decode_attr;
use super::ns;
use super::scan::{Attr, QName, declared_prefix};

/// The content of the root's open tag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// `from`, decoded.
    pub from: Option<String>,
    /// `to`, decoded.
    pub to: Option<String>,
    /// `id`, decoded.
    pub id: Option<String>,
    /// `version`, decoded.
    pub version: Option<String>,
    /// `xml:lang`, decoded.
    pub lang: Option<String>,
    /// The namespace of the root element; empty when its prefix (or the default) is not bound.
    pub ns: String,
    /// The root's name without its prefix.
    pub local: String,
    /// The root's prefix as written.
    pub prefix: Option<String>,
    /// The namespace declared as the default.
    pub default_ns: Option<String>,
    /// The prefix that it binds to `jabber:server:dialback` (XEP-0220 §2.4.1).
    pub dialback: Option<String>,
}

impl Header {
    pub(super) fn new(
        name: &QName<'_>,
        root_ns: Option<&str>,
        default_ns: Option<&str>,
        attrs: &[Attr<'_>],
    ) -> Self {
        let attr = |wanted: &str| {
            let found = attrs.iter().find(|attr| attr.name.whole == wanted);
            found.map(|attr| decode_attr(attr.value).into_owned())
        };
        let dialback = attrs.iter().filter(|attr| attr.value == ns::DIALBACK);
        let dialback = dialback.filter_map(|attr| declared_prefix(&attr.name));
        Self {
            from: attr("from"),
            to: attr("to"),
            id: attr("id"),
            version: attr("version"),
            lang: attr("xml:lang"),
            ns: root_ns.unwrap_or_default().to_owned(),
            local: name.local.to_owned(),
            prefix: (!name.prefix.is_empty()).then(|| name.prefix.to_owned()),
            default_ns: default_ns.map(ToOwned::to_owned),
            dialback: dialback.map(ToOwned::to_owned).find(|prefix| !prefix.is_empty()),
        }
    }
}
