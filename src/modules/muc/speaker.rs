//! Who said something, as the archive of a room keeps it: an element of our own in the stored message, which nobody is
//! shown as it is. Who may know a real address is judged when the archive is read (XEP-0313 §6.1.2).

use bytes::Bytes;

use super::rights::{Affiliation, Role};
use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Its namespace: what comes in with it is taken out.
pub const NS: &str = "urn:x-stonechat:speaker:0";
const NAME: &str = "speaker";

/// The element for what a session says; whether everybody sees who it is.
pub fn mark(session: &Jid, affiliation: Affiliation, role: Role, known: bool) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start(NAME).attr("xmlns", NS).attr("jid", session.as_str());
    xml.attr("affiliation", affiliation.as_str()).attr("role", role.as_str());
    xml.attr_opt("known", known.then_some("1")).end();
    xml.finish().to_vec()
}

/// Who said a stored message.
pub fn of(stored: &Stanza) -> Option<Jid> {
    let doc = stored.element().view();
    Jid::parse(doc.root().child(NS, NAME)?.attr("jid")?).ok()
}

/// A stored message as it was sent; `None` if it would be no message.
pub fn unmarked(stored: &Stanza) -> Option<Stanza> {
    if stored.element().has_child(NS, NAME) || stored.element().has_child(ns::MUC_USER, "x") {
        stored.without_payloads(|child| matches!(child.ns, NS | ns::MUC_USER))
    } else {
        Some(stored.clone())
    }
}

/// For who may see no real addresses.
pub fn hidden(stored: &Stanza) -> Bytes {
    unmarked(stored).map_or_else(Bytes::new, |plain| plain.element().raw().clone())
}

/// For everybody in a room that is not anonymous now: of what was said when it was, the addresses stay hidden.
pub fn known(stored: &Stanza) -> Bytes {
    shown(stored, false)
}

/// For moderators.
pub fn revealed(stored: &Stanza) -> Bytes {
    shown(stored, true)
}

/// XEP-0313 §6.1.2: `<x/>` with the speaker's real address.
fn shown(stored: &Stanza, all: bool) -> Bytes {
    let Some(plain) = unmarked(stored) else { return Bytes::new() };
    let doc = stored.element().view();
    let mark = doc.root().child(NS, NAME).filter(|mark| all || mark.attr("known").is_some());
    let Some(mark) = mark else { return plain.element().raw().clone() };
    let mut xml = Xml::new();
    xml.start("x").attr("xmlns", ns::MUC_USER).start("item");
    for name in ["affiliation", "jid", "role"] {
        xml.attr_opt(name, mark.attr(name));
    }
    xml.end().end();
    plain.with_own(ns::MUC_USER, "x", &xml.finish()).element().raw().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_address_is_for_those_who_may_know_it() {
        for open in [false, true] {
            let who = Jid::parse("ann@x/r").unwrap();
            let mark = mark(&who, Affiliation::Member, Role::Participant, open);
            let mark = String::from_utf8(mark).unwrap();
            let text = |mark: &str| {
                format!(
                    "<message from='hall@rooms.x/Ann' type='groupchat'><body>a</body>{mark}</message>"
                )
            };
            let stored = Stanza::ours(text(&mark).into()).unwrap();
            let x = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='member' \
                jid='ann@x/r' role='participant'/></x>";
            assert_eq!(hidden(&stored), text(""));
            assert_eq!(known(&stored), text(if open { x } else { "" }));
            assert_eq!(revealed(&stored), text(x));
        }
    }
}
