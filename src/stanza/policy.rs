//! The server's policy for a message besides its delivery: one table for archive, offline storage and copies.

use super::message::MessageType;
use super::{Kind, Stanza};
use crate::xml::ns;

/// What the server does with a message besides delivering it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessagePolicy {
    /// Whether the archives of its sender and its addressee store it (XEP-0313 §3).
    pub archived: bool,
    /// Whether the server must store it until the addressee's account has it (promise.md 1; XEP-0160).
    pub owed: bool,
    /// Which other resources get a copy (XEP-0280 §6.1).
    pub copied: Copied,
}

/// Which resources get copies of a message, if they have enabled them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copied {
    /// None.
    #[default]
    Nobody,
    /// The sender's other resources only: the room sends it to each of the addressee's clients itself.
    Sender,
    /// The other resources of the sender and of the addressee.
    Both,
    /// For an error: the resources that could see the message it answers.
    AsAnswered,
}

/// Returns the policy for a stanza, from the table below.
pub fn policy_of(stanza: &Stanza) -> MessagePolicy {
    if stanza.kind() != Kind::Message {
        return MessagePolicy::default();
    }
    let ty = MessageType::parse(stanza.ty().as_deref());
    let mut seen = Seen::default();
    for child in stanza.element().children() {
        seen.note(child.ns, child.name);
    }
    let personal = matches!(ty, MessageType::Chat | MessageType::Normal);
    let worthy = seen.worthy || seen.store;
    MessagePolicy {
        // XEP-0334 §4.4: a headline is archived if its sender asks for it, but it is never owed.
        archived: !seen.no_store
            && !seen.no_archive
            && ((personal && worthy) || (ty == MessageType::Headline && seen.store)),
        owed: personal && worthy && !seen.no_store,
        copied: copied(stanza, ty, &seen),
    }
}

/// Applies XEP-0280 §6.1, as `urn:xmpp:carbons:rules:0` promises, and §9.
fn copied(stanza: &Stanza, ty: MessageType, seen: &Seen) -> Copied {
    use MessageType::{Chat, Error, Groupchat, Headline, Normal};
    let invites = seen.muc_user && invites(stanza);
    let eligible = match ty {
        _ if seen.private => false,
        Groupchat => false,
        // XEP-0334 §5: its hints may come from the message that it answers.
        Error => return Copied::AsAnswered,
        _ if seen.no_copy => false,
        Chat => true,
        // Also without a body: encrypted messages have content, in whatever element.
        Normal => seen.worthy || seen.store || seen.instant,
        Headline => seen.instant || invites,
    };
    match eligible {
        false => Copied::Nobody,
        // A room's private message: the room sends it to each client of its occupant.
        true if seen.muc_user && !invites && !stanza.from().is_bare() => Copied::Sender,
        true => Copied::Both,
    }
}

/// XEP-0045 §7.8.2
fn invites(stanza: &Stanza) -> bool {
    let doc = stanza.element().view();
    doc.root()
        .child(ns::MUC_USER, "x")
        .is_some_and(|x| x.children().any(|child| child.is(ns::MUC_USER, "invite")))
}

#[derive(Default)]
struct Seen {
    worthy: bool,
    /// XEP-0280 §6.1: "payload elements typically used in IM", and direct invitations.
    instant: bool,
    muc_user: bool,
    store: bool,
    no_store: bool,
    no_archive: bool,
    no_copy: bool,
    private: bool,
}

impl Seen {
    fn note(&mut self, ns: &str, name: &str) {
        match (ns, name) {
            // XEP-0334 §4
            (ns::HINTS, "store") => self.store = true,
            (ns::HINTS, "no-store") => self.no_store = true,
            (ns::HINTS, "no-permanent-store") => self.no_archive = true,
            (ns::HINTS, "no-copy") => self.no_copy = true,
            (ns::CARBONS, "private") => self.private = true,
            _ => {
                self.worthy |= !is_chatter(ns, name);
                self.instant |= INSTANT.contains(&ns);
                self.muc_user |= (ns, name) == (ns::MUC_USER, "x");
            }
        }
    }
}

/// Whether these payloads contain a chat state and nothing else (XEP-0085 §5.1).
pub fn is_chat_state<'a>(payloads: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
    let mut state = false;
    for (ns, name) in payloads {
        if !is_chatter(ns, name) {
            return false;
        }
        state |= ns == ns::CHAT_STATES;
    }
    state
}

/// XEP-0184, XEP-0085, XEP-0333, XEP-0249
const INSTANT: &[&str] = &[ns::CHAT_STATES, ns::RECEIPTS, ns::MARKERS, ns::CONFERENCE];

/// Whether a payload has no content of its own: a message with no other payloads is not stored. Every payload
/// not listed here counts as content, even if we do not know it: encrypted payloads of any kind, receipts,
/// markers, reactions, corrections, retractions, call invites.
fn is_chatter(ns: &str, name: &str) -> bool {
    CHATTER.iter().any(|(known, names)| *known == ns && (names.is_empty() || names.contains(&name)))
}

/// Namespaces, and names in them; an empty list means all names.
const CHATTER: &[(&str, &[&str])] = &[
    (ns::CLIENT, &["thread"]),
    (ns::HINTS, &[]),
    (ns::CHAT_STATES, &[]),
    (ns::DELAY, &[]),
    (ns::STANZA_ID, &[]),
    // Requests, not answers (XEP-0184 §5.1, XEP-0333 §4).
    (ns::RECEIPTS, &["request"]),
    (ns::MARKERS, &["markable"]),
    // Descriptions of other payloads (XEP-0380, 0428, 0172, 0071).
    ("urn:xmpp:eme:0", &[]),
    ("urn:xmpp:fallback:0", &[]),
    ("http://jabber.org/protocol/nick", &[]),
    ("http://jabber.org/protocol/xhtml-im", &[]),
    // Momentary states, which their service sends again (XEP-0060, 0047).
    ("http://jabber.org/protocol/pubsub#event", &[]),
    ("http://jabber.org/protocol/ibb", &[]),
    // Of another archive, a room's for instance, for the session that asked (XEP-0313 §4.2).
    (ns::MAM, &["result"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters: a(rchived), o(wed); for copies c: both sides, s: the sender's only, e: as answered.
    fn check_from(from: &str, ty: &str, payloads: &str, expected: &str) {
        let ty = if ty.is_empty() { String::new() } else { format!(" type='{ty}'") };
        let xml = format!("<message from='{from}' to='b@x'{ty}>{payloads}</message>");
        let policy = policy_of(&Stanza::ours(xml.clone().into()).unwrap());
        let copied = policy.copied;
        let letters = [
            (policy.archived, 'a'),
            (policy.owed, 'o'),
            (copied == Copied::Both, 'c'),
            (copied == Copied::Sender, 's'),
            (copied == Copied::AsAnswered, 'e'),
        ];
        let got: String = letters.iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect();
        assert_eq!(got, expected, "{xml}");
    }

    fn check(ty: &str, payloads: &str, expected: &str) {
        check_from("a@x/r", ty, payloads, expected);
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
            // Encrypted messages of any kind (XEP-0384, XEP-0373, XEP-0027).
            ("eu.siacs.conversations.axolotl", "encrypted"),
            ("urn:xmpp:omemo:2", "encrypted"),
            ("urn:xmpp:openpgp:0", "openpgp"),
            ("jabber:x:encrypted", "x"),
            // XEP-0184
            ("urn:xmpp:receipts", "received"),
            // XEP-0333
            ("urn:xmpp:chat-markers:0", "received"),
            ("urn:xmpp:chat-markers:0", "displayed"),
            ("urn:xmpp:chat-markers:0", "acknowledged"),
            // XEP-0444, XEP-0308, XEP-0424, XEP-0461
            ("urn:xmpp:reactions:0", "reactions"),
            ("urn:xmpp:message-correct:0", "replace"),
            ("urn:xmpp:message-retract:1", "retract"),
            ("urn:xmpp:reply:0", "reply"),
            // XEP-0353
            ("urn:xmpp:jingle-message:0", "propose"),
            ("urn:xmpp:jingle-message:0", "ringing"),
            ("urn:xmpp:jingle-message:0", "proceed"),
            ("urn:xmpp:jingle-message:0", "reject"),
            ("urn:xmpp:jingle-message:0", "retract"),
            ("urn:xmpp:jingle-message:0", "finish"),
            ("urn:xmpp:call-invites:0", "invite"),
            // XEP-0249, XEP-0066
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
                let copied = if INSTANT.contains(ns) { "c" } else { "" };
                check("normal", &payload(ns, name), copied);
                check("chat", &(payload(ns, name) + BODY), "aoc");
            }
        }
        check("chat", "", "c");
        check("normal", "", "");
    }

    #[test]
    fn other_types_are_delivered_and_no_more() {
        check("groupchat", BODY, "");
        check("headline", BODY, "");
        check("error", BODY, "e");
    }

    /// XEP-0280 §6.1: payloads typical of instant messaging, whatever the message type.
    #[test]
    fn instant_messages_are_copied_whatever_their_type() {
        for ns in INSTANT {
            check("headline", &payload(ns, "x"), "c");
            check("groupchat", &payload(ns, "x"), "");
            check("headline", &(payload(ns, "x") + &payload(ns::CARBONS, "private")), "");
        }
    }

    #[test]
    fn what_a_room_sends_to_each_client_itself_is_copied_to_the_senders_only() {
        let x = |inner: &str| format!("<x xmlns='{}'>{inner}</x>", ns::MUC_USER);
        let pm = x("") + BODY;
        check_from("room@muc/nick", "chat", &pm, "aos");
        check_from("a@x/r", "chat", &pm, "aos");
        check_from("room@muc/nick", "", &x("<item/>"), "aos");
        check_from("room@muc/nick", "groupchat", &pm, "");
        check_from("room@muc/nick", "error", &pm, "e");
        // A mediated invitation comes from the room, and goes to it.
        let invitation = x("<invite from='c@x'/>");
        check_from("room@muc", "", &invitation, "aoc");
        check_from("room@muc", "headline", &invitation, "c");
        check_from("a@x/r", "", &x("<invite to='c@x'/>"), "aoc");
        check_from("room@muc/nick", "chat", &x("<invite xmlns='u'/>"), "aos");
    }

    #[test]
    fn a_chat_state_alone_is_known() {
        let state = (ns::CHAT_STATES, "composing");
        assert!(is_chat_state([state]));
        assert!(is_chat_state([(ns::CLIENT, "thread"), state, (ns::HINTS, "no-store")]));
        assert!(!is_chat_state([state, (ns::CLIENT, "body")]));
        assert!(!is_chat_state([(ns::CLIENT, "thread")]));
        assert!(!is_chat_state([]));
    }

    #[test]
    fn hints_are_heard() {
        check("chat", &(BODY.to_owned() + &hint("no-store")), "c");
        check("chat", &(BODY.to_owned() + &hint("no-permanent-store")), "oc");
        check("chat", &(BODY.to_owned() + &hint("no-copy")), "ao");
        check("chat", &(BODY.to_owned() + &payload(ns::CARBONS, "private")), "ao");
        check("chat", &(payload(ns::CHAT_STATES, "active") + &hint("store")), "aoc");
        check("headline", &(BODY.to_owned() + &hint("store")), "a");
        // XEP-0334 §5: hints in errors are ignored, because they may come from the message that the error
        // answers.
        check("error", &(BODY.to_owned() + &hint("store") + &hint("no-copy")), "e");
        check("error", &payload(ns::CARBONS, "private"), "");
        check("groupchat", &(BODY.to_owned() + &hint("store")), "");
        // Contradictions are settled for the sender's privacy.
        check("chat", &(hint("store") + &hint("no-store")), "c");
    }
}
