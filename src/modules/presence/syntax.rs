//! The children of presence that the server reads (RFC 6121 §4.7.2).

use crate::stanza::{Stanza, StanzaError};
use crate::xml::ns;
use crate::xml::view::Node;

/// Checks `<show/>` and `<priority/>` of available presence; returns the priority.
pub(super) fn check(stanza: &Stanza) -> Result<i8, StanzaError> {
    let names = |name| stanza.element().has_child(ns::CLIENT, name);
    if !names("show") && !names("priority") {
        return Ok(0);
    }
    let doc = stanza.element().view();
    // RFC 6121 §4.7.2.1
    if let Some(show) = only(doc.root(), "show")?
        // RFC 6121 §4.7.2.1. An empty one means the same as none: go-xmpp always sends one.
        && !matches!(show.text().trim(), "" | "away" | "chat" | "dnd" | "xa")
    {
        return Err(StanzaError::bad_request().text("unknown value of show"));
    }
    match only(doc.root(), "priority")? {
        Some(node) => priority(node.text())
            .ok_or_else(|| StanzaError::bad_request().text("priority is not from -128 to 127")),
        // RFC 6121 §4.7.2.3
        None => Ok(0),
    }
}

/// The text of the first `<status/>`.
pub(super) fn status(stanza: &Stanza) -> Option<String> {
    let status = stanza.element().child_text(ns::CLIENT, "status")?;
    (!status.is_empty()).then(|| status.into_owned())
}

/// The child of this name, which MUST NOT be there twice (RFC 6121 §4.7.2.1, §4.7.2.3).
fn only<'d>(root: Node<'d>, name: &'static str) -> Result<Option<Node<'d>>, StanzaError> {
    let mut found = root.children().filter(|child| child.is(ns::CLIENT, name));
    let first = found.next();
    match found.next() {
        Some(_) => Err(StanzaError::bad_request().text(format!("more than one {name}"))),
        None => Ok(first),
    }
}

/// An xs:byte, white space around it collapsed.
fn priority(text: &str) -> Option<i8> {
    text.trim_matches([' ', '\t', '\r', '\n']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::Condition;

    fn presence(children: &str) -> Stanza {
        let xml = format!("<presence from='a@b/c'>{children}</presence>");
        Stanza::ours(xml.into_bytes().into()).unwrap()
    }

    #[test]
    fn priorities_are_bytes_as_rfc_6121_4_7_2_3_says() {
        for (children, expected) in [
            ("", Some(0)),
            ("<status>x</status>", Some(0)),
            ("<priority>5</priority>", Some(5)),
            ("<priority>+5</priority>", Some(5)),
            ("<priority> -128\n</priority>", Some(-128)),
            ("<priority>127</priority>", Some(127)),
            ("<priority>128</priority>", None),
            ("<priority>-129</priority>", None),
            ("<priority/>", None),
            ("<priority>1.5</priority>", None),
            ("<priority>1</priority><priority>1</priority>", None),
            ("<priority xmlns='urn:x'>high</priority>", Some(0)),
            ("<show>away</show>", Some(0)),
            ("<show>xa</show><priority>1</priority>", Some(1)),
            ("<show>online</show>", None),
            ("<show/>", Some(0)),
            ("<show>dnd</show><show>dnd</show>", None),
        ] {
            let checked = check(&presence(children));
            let condition = checked.as_ref().err().map(|error| error.condition.clone());
            assert_eq!(checked.ok(), expected, "{children}");
            let bad = expected.is_none().then_some(Condition::BadRequest);
            assert_eq!(condition, bad, "{children}");
        }
    }

    #[test]
    fn the_first_status_is_read() {
        assert_eq!(status(&presence("<status>a</status><status>b</status>")), Some("a".to_owned()));
        assert_eq!(status(&presence("<status/>")), None);
        assert_eq!(status(&presence("")), None);
    }
}
