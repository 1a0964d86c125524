//! XEP-0359: ids that this server gives to stanzas, and those that pretend to be its own.

use std::ops::Range;

use super::Stanza;
use crate::jid::Jid;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// `<stanza-id/>`, given by an account's archive.
pub fn stanza_id(by: &str, id: &str) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("stanza-id").attr("xmlns", ns::STANZA_ID).attr("by", by).attr("id", id).end();
    xml.finish().to_vec()
}

/// The stanza without ids that claim to be given by one of our domains, in any spelling
/// (XEP-0359 §3 rule 2), and without those that name nobody; `None` when there are none.
pub fn stripped(stanza: &Stanza, is_local: impl Fn(&str) -> bool) -> Option<Stanza> {
    let claims = |child: &crate::xml::element::Child<'_>| {
        child.ns == ns::STANZA_ID && child.name == "stanza-id"
    };
    if !stanza.element().children().any(|child| claims(&child)) {
        return None;
    }
    let doc = stanza.element().view();
    let by = doc.root().children().map(|node| node.attr("by").and_then(|by| Jid::parse(by).ok()));
    let forged: Vec<Range<usize>> = stanza
        .element()
        .children()
        .zip(by)
        .filter(|(child, by)| claims(child) && by.as_ref().is_none_or(|by| is_local(by.domain())))
        .map(|(child, _)| child.span)
        .collect();
    if forged.is_empty() { None } else { stanza.without(&forged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payloads: &str, left: &str) {
        let of = |payloads: &str| {
            let xml = format!("<message from='a@x/r' to='b@x'>{payloads}</message>");
            Stanza::ours(xml.into()).unwrap()
        };
        let stanza = of(payloads);
        let kept = stripped(&stanza, |domain| domain == "x").unwrap_or(stanza);
        assert_eq!(kept.frame().to_vec(), of(left).frame().to_vec());
        assert_eq!(kept.element().children().count(), of(left).element().children().count());
    }

    #[test]
    fn what_claims_to_be_ours_goes_in_any_spelling() {
        let id = |by: &str| format!("<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='{by}'/>");
        for by in ["b@x", "B@X", "b@x/phone", "x", "anyone@x", "&#98;@x", "", "@", "a@@x", "ｂ@x"]
        {
            check(&id(by), "");
            check(
                &format!("<body>1</body>{}<body>2</body>", id(by)),
                "<body>1</body><body>2</body>",
            );
        }
        check("<s:stanza-id xmlns:s='urn:xmpp:sid:0' id='1' by='b@x'>t</s:stanza-id>", "");
        check("<stanza-id xmlns='urn:xmpp:sid:0' id='1'/>", "");
        check(&(id("b@x") + &id("b@y") + &id("x")), &id("b@y"));
    }

    #[test]
    fn what_is_anothers_stays() {
        for kept in [
            "<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='b@y'/>",
            "<stanza-id xmlns='urn:other' id='1' by='b@x'/>",
            "<origin-id xmlns='urn:xmpp:sid:0' id='1' by='b@x'/>",
            "<wrap xmlns='u'><stanza-id xmlns='urn:xmpp:sid:0' id='1' by='b@x'/></wrap>",
        ] {
            check(kept, kept);
        }
    }
}
