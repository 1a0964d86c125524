//! XEP-0424: Message Retraction: finding the retracted message, and its tombstone in the archive.

use std::borrow::Cow;

use super::message::MessageType;
use super::{Kind, Stanza};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// A retraction in a message between two accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retraction {
    /// The `id` of the message to retract (§5.1).
    pub target: String,
    /// The `id` of the retraction itself.
    pub id: String,
}

/// How an archived message relates to a retraction that names its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// It is the message to retract.
    Meant,
    /// It was retracted before.
    Retracted,
    /// Another sender's message, or one that may not be retracted.
    Other,
}

impl Retraction {
    /// Returns the retraction in a message, if there is one. Ignores retractions by a moderator, which belong
    /// in rooms (XEP-0425 §4), and those without an id, to which a tombstone could not refer (§4).
    pub fn of(stanza: &Stanza) -> Option<Self> {
        let named = |stanza: &Stanza| has(stanza, ns::RETRACT, "retract");
        if stanza.kind() != Kind::Message || !named(stanza) {
            return None;
        }
        let ty = MessageType::parse(stanza.ty().as_deref());
        let id = some(stanza.id()).filter(|_| is_personal(ty))?;
        let doc = stanza.element().view();
        let retract = doc.root().child(ns::RETRACT, "retract")?;
        let target = retract.attr("id").filter(|target| !target.is_empty())?;
        let moderated = retract.children().any(|child| child.ns() == MODERATE);
        (!moderated).then(|| Self { target: target.to_owned(), id })
    }

    /// Returns how an archived message relates to this retraction, which `stanza` carries. §5: only the
    /// sender may retract a message: the same bare JID, or in a room the same occupant.
    pub fn names(&self, stanza: &Stanza, archived: &Stanza) -> Named {
        let (from, author) = (stanza.from(), archived.from());
        let of_room = has(stanza, MUC_USER, "x") || has(archived, MUC_USER, "x");
        let same = if of_room { from == author } else { from.bare_str() == author.bare_str() };
        if !same || some(archived.id()).as_deref() != Some(&self.target) {
            Named::Other
        } else if has(archived, ns::RETRACT, "retracted") {
            Named::Retracted
        } else if has(archived, ns::RETRACT, "retract") {
            // §4: a retraction must stay, for clients that were offline.
            Named::Other
        } else {
            Named::Meant
        }
    }

    /// Returns the tombstone that replaces a message retracted at `stamp` (XEP-0082).
    pub fn tombstone(&self, archived: &Stanza, stamp: &str) -> Vec<u8> {
        let mut xml = Xml::new();
        xml.start("message").attr("from", archived.from().as_str());
        xml.attr_opt("to", archived.to().map(crate::jid::Jid::as_str));
        xml.attr_opt("type", archived.ty().as_deref());
        xml.attr_opt("id", archived.id().as_deref());
        xml.start("retracted").attr("xmlns", ns::RETRACT).attr("id", &self.id);
        xml.attr("stamp", stamp).end().end();
        xml.finish().to_vec()
    }
}

fn has(stanza: &Stanza, ns: &str, name: &str) -> bool {
    stanza.element().children().any(|child| child.ns == ns && child.name == name)
}

fn is_personal(ty: MessageType) -> bool {
    matches!(ty, MessageType::Chat | MessageType::Normal)
}

fn some(id: Option<Cow<'_, str>>) -> Option<String> {
    id.filter(|id| !id.is_empty()).map(Cow::into_owned)
}

const MODERATE: &str = "urn:xmpp:message-moderate:1";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attrs: &str, payload: &str) -> Stanza {
        Stanza::ours(format!("<message {attrs}>{payload}</message>").into()).unwrap()
    }

    const RETRACT: &str = "<retract xmlns='urn:xmpp:message-retract:1' id='m&amp;1'/>";

    #[test]
    fn a_retraction_is_between_two_and_has_an_id() {
        let moderated =
            RETRACT.replace("/>", "><moderated xmlns='urn:xmpp:message-moderate:1'/></retract>");
        for (attrs, payload, target) in [
            ("from='a@x/r' to='b@x' type='chat' id='r'", RETRACT, Some("m&1")),
            ("from='a@x/r' to='b@x' id='r'", RETRACT, Some("m&1")),
            ("from='a@x/r' to='b@x' type='chat'", RETRACT, None),
            ("from='a@x/r' to='b@x' type='chat' id=''", RETRACT, None),
            ("from='a@x/r' to='b@x' type='groupchat' id='r'", RETRACT, None),
            ("from='a@x/r' to='b@x' type='error' id='r'", RETRACT, None),
            ("from='a@x/r' to='b@x' id='r'", moderated.as_str(), None),
            ("from='a@x/r' to='b@x' id='r'", "<retract xmlns='urn:xmpp:message-retract:1'/>", None),
            ("from='a@x/r' to='b@x' id='r'", "<retract xmlns='urn:other' id='m'/>", None),
            ("from='a@x/r' to='b@x' id='r'", "<body>x</body>", None),
        ] {
            let found = Retraction::of(&message(attrs, payload));
            assert_eq!(found.map(|found| found.target).as_deref(), target, "{attrs} {payload}");
        }
    }

    #[test]
    fn only_its_sender_retracts_a_message() {
        let room = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
        let tombstone = "<retracted xmlns='urn:xmpp:message-retract:1' id='r'/>";
        for (from, id, payload, expected) in [
            ("a@x/r", "m&amp;1", "<body>x</body>", Named::Meant),
            ("a@x/other", "m&amp;1", "<body>x</body>", Named::Meant),
            ("a@x", "m&amp;1", "", Named::Meant),
            ("b@x/r", "m&amp;1", "<body>x</body>", Named::Other),
            ("a@y/r", "m&amp;1", "<body>x</body>", Named::Other),
            ("a@x/r", "m", "<body>x</body>", Named::Other),
            ("a@x/r", "m&amp;1", room, Named::Meant),
            ("a@x/other", "m&amp;1", room, Named::Other),
            ("a@x/r", "m&amp;1", tombstone, Named::Retracted),
            ("b@x/r", "m&amp;1", tombstone, Named::Other),
            ("a@x/r", "m&amp;1", RETRACT, Named::Other),
        ] {
            let stanza = message("from='a@x/r' to='b@x' id='r'", RETRACT);
            let archived = message(&format!("from='{from}' to='b@x' id='{id}'"), payload);
            let retraction = Retraction::of(&stanza).unwrap();
            assert_eq!(retraction.names(&stanza, &archived), expected, "{from} {id} {payload}");
        }
    }

    #[test]
    fn a_tombstone_has_nothing_of_what_was_said() {
        let archived = message(
            "from='a@x/r' to='b@x' type='chat' id='m&amp;1' xml:lang='it' p:a='1' xmlns:p='urn:p'",
            "<body>secret</body><thread>secret</thread>",
        );
        let retraction = Retraction { target: "m&1".to_owned(), id: "r'".to_owned() };
        let tombstone = retraction.tombstone(&archived, "2019-09-20T23:09:32Z");
        assert_eq!(
            String::from_utf8(tombstone.clone()).unwrap(),
            "<message from='a@x/r' to='b@x' type='chat' id='m&amp;1'><retracted \
             xmlns='urn:xmpp:message-retract:1' id='r&apos;' stamp='2019-09-20T23:09:32Z'/></message>"
        );
        assert!(Stanza::ours(tombstone.into()).is_some());
    }
}
