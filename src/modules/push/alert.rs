//! Which messages are worth waking somebody: those that say something to a person.

use crate::jid::Jid;
use crate::stanza::message::MessageType;
use crate::stanza::{Kind, Stanza};
use crate::xml::ns;
use crate::xml::view::Node;

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alert {
    /// To a room, for all who are there.
    Room,
    /// To the user.
    Message,
    /// A call, or a mention in a room: it cannot wait.
    Urgent,
}

/// What the message is to its addressee; `None` for what nobody is woken for: chat states, receipts, markers,
/// reactions, whatever has no words. `nick` is the addressee's in the room that it comes from.
pub fn alert(stanza: &Stanza, nick: Option<&str>) -> Option<Alert> {
    if stanza.kind() != Kind::Message {
        return None;
    }
    let doc = stanza.element().view();
    let own = stanza.to().map_or("", Jid::bare_str);
    match MessageType::parse(stanza.ty().as_deref()) {
        MessageType::Error | MessageType::Headline => None,
        MessageType::Groupchat => in_room(stanza.from(), own, doc.root(), nick),
        MessageType::Chat | MessageType::Normal => personal(doc.root()),
    }
}

/// Whether somebody wrote this at a device of theirs, and so is there.
pub fn is_written(message: Node<'_>) -> bool {
    message.children().any(has_words)
}

/// Whether it says that its sender has seen the conversation with its addressee (XEP-0333), or took or declined a
/// call (XEP-0353 §3.4, §3.5).
pub fn is_seen(message: Node<'_>) -> bool {
    let answers = |name| message.child(CALLS, name).is_some();
    message.child(ns::MARKERS, "displayed").is_some()
        || ["proceed", "reject"].into_iter().any(answers)
}

fn personal(message: Node<'_>) -> Option<Alert> {
    if message.children().any(is_call) {
        return Some(Alert::Urgent);
    }
    // Its fallback body (XEP-0428) is for those who do not know it.
    let retracts = message.child(ns::RETRACT, "retract").is_some();
    let speaks = message.children().any(|child| has_words(child) || invites(child));
    (speaks && !retracts).then_some(Alert::Message)
}

fn in_room(from: &Jid, own: &str, message: Node<'_>, nick: Option<&str>) -> Option<Alert> {
    // Its history, and the user's own words.
    let is_old = message.child(ns::DELAY, "delay").is_some();
    // As with people: the fallback body of a retraction is no news.
    let is_old = is_old || message.child(ns::RETRACT, "retract").is_some();
    if is_old || (nick.is_some() && from.resource() == nick) || !is_written(message) {
        return None;
    }
    let room = from.bare_str();
    let named = nick.is_some_and(|nick| {
        let body = message.child_text(ns::CLIENT, "body").unwrap_or_default();
        let is = |jid: &Jid| {
            jid.as_str() == own || (jid.bare_str() == room && jid.resource() == Some(nick))
        };
        Mentions::of(message).jids.iter().any(is) || names(body, nick)
    });
    Some(if named { Alert::Urgent } else { Alert::Room })
}

/// XEP-0353 §3.1, XEP-0482 §3.1
fn is_call(child: Node<'_>) -> bool {
    child.is(CALLS, "propose") || child.is("urn:xmpp:call-invites:0", "invite")
}

/// The namespace of XEP-0353.
const CALLS: &str = "urn:xmpp:jingle-message:0";

fn has_words(child: Node<'_>) -> bool {
    match (child.ns(), child.name()) {
        (ns::CLIENT, "body") => !child.text().is_empty(),
        // XEP-0384: without a payload it only carries keys.
        ("eu.siacs.conversations.axolotl" | "urn:xmpp:omemo:1" | "urn:xmpp:omemo:2", _) => {
            child.name() == "encrypted" && child.child(child.ns(), "payload").is_some()
        }
        // XEP-0373, XEP-0027
        ("urn:xmpp:openpgp:0", "openpgp") | ("jabber:x:encrypted", "x") => true,
        _ => false,
    }
}

/// XEP-0249, XEP-0045 §7.8.2
fn invites(child: Node<'_>) -> bool {
    child.is(ns::CONFERENCE, "x")
        || (child.is(ns::MUC_USER, "x") && child.child(ns::MUC_USER, "invite").is_some())
}

/// Whether words of it are encrypted.
pub fn is_sealed(message: Node<'_>) -> bool {
    message.children().any(|child| has_words(child) && !child.is(ns::CLIENT, "body"))
}

/// Whom a message mentions in so many words: users, or the occupants that they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Addresses, of accounts or of occupants.
    pub jids: Vec<Jid>,
    /// Ids of occupants (XEP-0421).
    pub occupants: Vec<String>,
}

impl Mentions {
    /// Reads them; of very many the first ones.
    pub fn of(message: Node<'_>) -> Self {
        let mut all = Self::default();
        for child in message.children().filter(|child| is_mention(*child)).take(MENTIONS_MAX) {
            let jid = match child.name() {
                // XEP-0372 §3.2
                "reference" => child.attr("uri").and_then(|uri| uri.strip_prefix("xmpp:")),
                // XEP-0513 §3.1
                "mention" => child.attr("jid"),
                // XEP-0461 §3.1: whose message is answered (XEP-0492 §3).
                _ => child.attr("to"),
            };
            all.jids.extend(jid.and_then(|jid| Jid::parse(jid).ok()));
            let occupant = child.attr("occupantid").filter(|_| child.name() == "mention");
            all.occupants.extend(occupant.map(str::to_owned));
        }
        all
    }
}

/// One that mentions somebody to have it told: not a group (XEP-0513 §3.2), not only those who are active (§3.5.1),
/// and not nobody (§3.5.2).
fn is_mention(child: Node<'_>) -> bool {
    let modified =
        || child.children().any(|one| one.is(MENTION, "active") || one.is(MENTION, "noping"));
    match (child.ns(), child.name()) {
        ("urn:xmpp:reference:0", "reference") => child.attr("type") == Some("mention"),
        (MENTION, "mention") => child.attr("mentions").is_none() && !modified(),
        ("urn:xmpp:reply:0", "reply") => true,
        _ => false,
    }
}

/// The namespace of XEP-0513.
const MENTION: &str = "urn:xmpp:mentions:0";
/// Of one message.
const MENTIONS_MAX: usize = 50;

/// Whether a text has the nickname in it, as words of their own.
fn names(text: &str, nick: &str) -> bool {
    let (text, nick) = (text.to_lowercase(), nick.trim().to_lowercase());
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut rest = Some(text.as_str());
    let mut before = None;
    while let Some(here) = rest.filter(|_| !nick.is_empty()) {
        let Some((skipped, after)) = here.split_once(nick.as_str()) else { return false };
        let previous = skipped.chars().next_back().or(before);
        if !inside(previous) && !inside(after.chars().next()) {
            return true;
        }
        (before, rest) = (nick.chars().next_back(), Some(after));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ty: &str, from: &str, nick: Option<&str>, payload: &str) -> Option<Alert> {
        let xml = format!("<message type='{ty}' from='{from}' to='b@x'>{payload}</message>");
        alert(&Stanza::ours(xml.into()).unwrap(), nick)
    }

    #[test]
    fn only_what_says_something_wakes() {
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let omemo = |inner: &str| {
            format!("<encrypted xmlns='eu.siacs.conversations.axolotl'>{inner}</encrypted>")
        };
        for (ty, payload, expected) in [
            ("chat", "<body>x</body>".to_owned(), Some(Alert::Message)),
            ("normal", "<body>x</body>".to_owned(), Some(Alert::Message)),
            ("chat", format!("<body>x</body>{state}"), Some(Alert::Message)),
            ("chat", omemo("<header/><payload>x</payload>"), Some(Alert::Message)),
            ("chat", omemo("<header/>"), None),
            ("chat", "<openpgp xmlns='urn:xmpp:openpgp:0'/>".to_owned(), Some(Alert::Message)),
            (
                "normal",
                "<x xmlns='jabber:x:conference' jid='r@y'/>".to_owned(),
                Some(Alert::Message),
            ),
            (
                "normal",
                "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@x'/></x>"
                    .to_owned(),
                Some(Alert::Message),
            ),
            (
                "chat",
                "<propose xmlns='urn:xmpp:jingle-message:0'/>".to_owned(),
                Some(Alert::Urgent),
            ),
            ("chat", "<retract xmlns='urn:xmpp:jingle-message:0'/>".to_owned(), None),
            ("chat", "<invite xmlns='urn:xmpp:call-invites:0'/>".to_owned(), Some(Alert::Urgent)),
            ("chat", "<body/>".to_owned(), None),
            ("chat", state.to_owned(), None),
            ("chat", "<received xmlns='urn:xmpp:receipts' id='1'/>".to_owned(), None),
            ("chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>".to_owned(), None),
            ("chat", "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>".to_owned(), None),
            (
                "chat",
                "<retract xmlns='urn:xmpp:message-retract:1' id='1'/><body>old</body>".to_owned(),
                None,
            ),
            ("headline", "<body>x</body>".to_owned(), None),
            ("error", "<body>x</body>".to_owned(), None),
        ] {
            assert_eq!(of(ty, "a@x/1", None, &payload), expected, "{ty} {payload}");
        }
    }

    #[test]
    fn in_rooms_mentions_are_urgent() {
        let reference = |uri: &str| {
            format!(
                "<body>x</body><reference xmlns='urn:xmpp:reference:0' type='mention' uri='{uri}'/>"
            )
        };
        let body = |text: &str| format!("<body>{text}</body>");
        let mention =
            |rest: &str| format!("<body>x</body><mention xmlns='urn:xmpp:mentions:0' {rest}");
        for (payload, expected) in [
            (body("hello"), Some(Alert::Room)),
            (body("Bob: hello"), Some(Alert::Urgent)),
            (body("I mean @bob, of course"), Some(Alert::Urgent)),
            (body("bobby bobbob bob"), Some(Alert::Urgent)),
            (body("bobby kebob"), Some(Alert::Room)),
            (reference("xmpp:b@x"), Some(Alert::Urgent)),
            (reference("xmpp:r@y/bob"), Some(Alert::Urgent)),
            (reference("xmpp:r@y/rob"), Some(Alert::Room)),
            (reference("b@x"), Some(Alert::Room)),
            (mention("jid='b@x'/>"), Some(Alert::Urgent)),
            (
                mention("jid='r@y/bob'><noping xmlns='urn:xmpp:mentions:0'/></mention>"),
                Some(Alert::Room),
            ),
            (mention("jid='b@x' mentions='urn:xmpp:mentions:0#channel'/>"), Some(Alert::Room)),
            (
                body("x</body><reply xmlns='urn:xmpp:reply:0' to='r@y/bob' id='1'/><body>"),
                Some(Alert::Urgent),
            ),
            (body("x</body><retract xmlns='urn:xmpp:message-retract:1' id='1'/><body>bob"), None),
            ("<subject>x</subject>".to_owned(), None),
            (format!("{}<delay xmlns='urn:xmpp:delay' stamp='x'/>", body("bob")), None),
        ] {
            assert_eq!(of("groupchat", "r@y/a", Some("bob"), &payload), expected, "{payload}");
        }
        assert_eq!(of("groupchat", "r@y/bob", Some("bob"), "<body>bob</body>"), None, "own words");
        assert_eq!(of("groupchat", "r@y/a", None, "<body>b</body>"), Some(Alert::Room));
        assert_eq!(of("groupchat", "r@y/a", Some(" "), "<body>a  b</body>"), Some(Alert::Room));
    }
}
