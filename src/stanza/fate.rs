//! What becomes of a message beside its delivery: one table for archive, offline storage and copies.

use super::message::MessageType;
use super::{Kind, Stanza};
use crate::xml::ns;

/// What the server does with a message beside delivering it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// It goes into the archives of its sender and of its addressee (XEP-0313 §3).
    pub archived: bool,
    /// The server must keep it until the addressee's account has it (promise.md 1; XEP-0160).
    pub owed: bool,
    /// Other resources of sender and addressee get a copy (XEP-0280 §6.1).
    pub copied: bool,
}

/// Reads the table.
pub fn fate(stanza: &Stanza) -> Fate {
    if stanza.kind() != Kind::Message {
        return Fate::default();
    }
    let ty = MessageType::parse(stanza.ty().as_deref());
    let mut seen = Seen::default();
    for child in stanza.element().children() {
        seen.note(child.ns, child.name);
    }
    let personal = matches!(ty, MessageType::Chat | MessageType::Normal);
    let worthy = seen.worthy || seen.store;
    Fate {
        // XEP-0334 §4.4: a headline is kept too if its sender asks so, but it is owed to nobody.
        archived: !seen.no_store
            && !seen.no_archive
            && ((personal && worthy) || (ty == MessageType::Headline && seen.store)),
        owed: personal && worthy && !seen.no_store,
        // XEP-0280 §6.1: every chat; normal ones that say something.
        copied: !seen.no_copy && (ty == MessageType::Chat || (personal && worthy)),
    }
}

#[derive(Default)]
struct Seen {
    worthy: bool,
    store: bool,
    no_store: bool,
    no_archive: bool,
    no_copy: bool,
}

impl Seen {
    fn note(&mut self, ns: &str, name: &str) {
        match (ns, name) {
            // XEP-0334 §4
            (ns::HINTS, "store") => self.store = true,
            (ns::HINTS, "no-store") => self.no_store = true,
            (ns::HINTS, "no-permanent-store") => self.no_archive = true,
            // XEP-0280 §9: the older way to say the same.
            (ns::HINTS, "no-copy") | (ns::CARBONS, "private") => self.no_copy = true,
            _ => self.worthy |= !is_chatter(ns, name),
        }
    }
}

/// Payloads that say nothing by themselves: with nothing else beside them, a message is worth no
/// row. What is not listed here is somebody's content, also where we do not know it: encrypted
/// payloads of any kind, receipts, markers, reactions, corrections, retractions, call invites.
fn is_chatter(ns: &str, name: &str) -> bool {
    CHATTER.iter().any(|(known, names)| *known == ns && (names.is_empty() || names.contains(&name)))
}

/// Namespace, and names in it; none: all.
const CHATTER: &[(&str, &[&str])] = &[
    (ns::CLIENT, &["thread"]),
    (ns::HINTS, &[]),
    (ns::CHAT_STATES, &[]),
    (ns::DELAY, &[]),
    (ns::STANZA_ID, &[]),
    // They ask for something, and answer nothing (XEP-0184 §5.1, XEP-0333 §4).
    ("urn:xmpp:receipts", &["request"]),
    ("urn:xmpp:chat-markers:0", &["markable"]),
    // They describe what stands beside them (XEP-0380, 0428, 0172, 0071).
    ("urn:xmpp:eme:0", &[]),
    ("urn:xmpp:fallback:0", &[]),
    ("http://jabber.org/protocol/nick", &[]),
    ("http://jabber.org/protocol/xhtml-im", &[]),
    // States of the moment, which their service tells again (XEP-0060, 0047).
    ("http://jabber.org/protocol/pubsub#event", &[]),
    ("http://jabber.org/protocol/ibb", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters: a(rchived) o(wed) c(opied).
    fn check(ty: &str, payloads: &str, expected: &str) {
        let ty = if ty.is_empty() { String::new() } else { format!(" type='{ty}'") };
        let xml = format!("<message from='a@x/r' to='b@x'{ty}>{payloads}</message>");
        let fate = fate(&Stanza::ours(xml.clone().into()).unwrap());
        let letters = [(fate.archived, 'a'), (fate.owed, 'o'), (fate.copied, 'c')];
        let got: String = letters.iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect();
        assert_eq!(got, expected, "{xml}");
    }

    fn payload(ns: &str, name: &str) -> String {
        format!("<{name} xmlns='{ns}'/>")
    }

    fn hint(name: &str) -> String {
        payload(ns::HINTS, name)
    }

    const BODY: &str = "<body>x</body>";

    #[test]
    fn what_says_something_is_kept() {
        for (ns, name) in [
            ("eu.siacs.conversations.axolotl", "encrypted"),
            ("urn:xmpp:omemo:2", "encrypted"),
            ("urn:xmpp:openpgp:0", "openpgp"),
            ("jabber:x:encrypted", "x"),
            ("urn:xmpp:receipts", "received"),
            ("urn:xmpp:chat-markers:0", "displayed"),
            ("urn:xmpp:reactions:0", "reactions"),
            ("urn:xmpp:message-correct:0", "replace"),
            ("urn:xmpp:message-retract:1", "retract"),
            ("urn:xmpp:reply:0", "reply"),
            ("urn:xmpp:jingle-message:0", "propose"),
            ("urn:xmpp:call-invites:0", "invite"),
            ("jabber:x:conference", "x"),
            ("jabber:x:oob", "x"),
            ("urn:example:unknown", "x"),
        ] {
            check("chat", &payload(ns, name), "aoc");
            check("", &payload(ns, name), "aoc");
        }
        check("chat", BODY, "aoc");
        check("normal", "<subject>x</subject>", "aoc");
        check("unheard-of", BODY, "aoc");
    }

    #[test]
    fn what_says_nothing_is_not() {
        for (ns, names) in CHATTER {
            let names = if names.is_empty() { &["any"][..] } else { names };
            for name in names {
                check("chat", &payload(ns, name), "c");
                check("normal", &payload(ns, name), "");
                check("chat", &(payload(ns, name) + BODY), "aoc");
            }
        }
        check("chat", "", "c");
        check("normal", "", "");
    }

    #[test]
    fn other_types_are_delivered_and_no_more() {
        for ty in ["groupchat", "headline", "error"] {
            check(ty, BODY, "");
        }
    }

    #[test]
    fn hints_are_heard() {
        check("chat", &(BODY.to_owned() + &hint("no-store")), "c");
        check("chat", &(BODY.to_owned() + &hint("no-permanent-store")), "oc");
        check("chat", &(BODY.to_owned() + &hint("no-copy")), "ao");
        check("chat", &(BODY.to_owned() + &payload(ns::CARBONS, "private")), "ao");
        check("chat", &(payload(ns::CHAT_STATES, "active") + &hint("store")), "aoc");
        check("headline", &(BODY.to_owned() + &hint("store")), "a");
        check("error", &(BODY.to_owned() + &hint("store")), "");
        check("groupchat", &(BODY.to_owned() + &hint("store")), "");
        // Contradictions are settled for the sender's privacy.
        check("chat", &(hint("store") + &hint("no-store")), "c");
    }
}
