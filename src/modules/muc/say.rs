//! What is said in a room (XEP-0045 §7.4, §8.1): to all, in one order, under the speaker's nickname.

use std::time::{Duration, SystemTime};

use super::burial::Burial;
use super::names;
use super::outputs::Outputs;
use super::rights::{Affiliation, Role};
use super::room::{Kept, Room, Subject};
use super::settings::Whois;
use super::speaker;
use crate::base::time::micros;
use crate::jid::Jid;
use crate::router::rules::StanzaClass;
use crate::stanza::message::MessageType;
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::ids::ArchiveId;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// What a notice of the room is to guards.
pub const NORMAL: StanzaClass = StanzaClass::Message(MessageType::Normal);
/// What it is to guards.
pub const GROUPCHAT: StanzaClass = StanzaClass::Message(MessageType::Groupchat);

/// A message that the room lets pass, not sent yet.
#[derive(Debug)]
pub struct Said {
    /// Under the occupant's address, without 'to', and with what only the room says but its position.
    pub frame: Frame,
    /// The occupant.
    pub from: Jid,
    /// It sets the subject.
    pub is_subject: bool,
    /// Its archive, if it goes there.
    pub archive: Option<ArchiveId>,
    /// Newcomers get it.
    pub is_kept: bool,
    /// Its id, by which it may be referred to.
    pub id: Option<String>,
    /// Who said it, for the archive alone.
    pub speaker: Vec<u8>,
    /// The message that it retracts.
    pub burial: Option<Burial>,
    /// Whose time runs from it in slow mode, and since when.
    pub spoke: Option<(Box<str>, i64)>,
}

impl Room {
    /// Judges a groupchat message to the room; changes nothing.
    pub fn hear(&self, message: &Stanza, now: SystemTime) -> Result<Said, StanzaError> {
        let speaker = self.speaker(message.from())?;
        let (role, from) = (speaker.role, speaker.jid.clone());
        let session = message.from();
        let is_subject = is_subject(message);
        if is_subject && !self.settings.may_change_subject(role) {
            return Err(StanzaError::forbidden().text("you may not change the subject here"));
        }
        if role < Role::Participant {
            return Err(StanzaError::forbidden().text("you have no voice in this room"));
        }
        let is_kept = !is_subject && is_worth_keeping(message);
        // XEP-0500 §6: "only messages containing at least one body", whatever hints they have.
        let counts = !is_subject && message.element().has_child(ns::CLIENT, "body");
        let spoke = self.slow(session.bare_str(), counts, now)?;
        let speaker = {
            let known = self.settings.whois == Whois::Anyone;
            speaker::mark(session, self.affiliation(session.bare_str()), role, known)
        };
        let id = self.occupant_id(session.bare_str());
        let mut own = Xml::new();
        own.start("occupant-id").attr("xmlns", super::names::OCCUPANT_ID).attr("id", &id).end();
        let cleaned = honest(message)?;
        let message = cleaned.as_ref().unwrap_or(message);
        let frame = message.frame_from(from.as_str(), own.into_string().as_bytes());
        // XEP-0313 §6.1.2: subject changes, too.
        let archive = self.archive().filter(|_| is_kept || is_subject);
        let burial = archive.and_then(|_| Burial::by_author(message, id));
        let id = message.id().map(std::borrow::Cow::into_owned);
        Ok(Said { frame, from, is_subject, archive, is_kept, id, speaker, burial, spoke })
    }

    /// XEP-0500 §5.1: "the duration, in seconds, users must wait between two messages", under whatever nickname. §6: all but "Room administrators and owners"; gives what is
    /// to be noted once the message is accepted.
    fn slow(
        &self,
        bare: &str,
        counts: bool,
        now: SystemTime,
    ) -> Result<Option<(Box<str>, i64)>, StanzaError> {
        let seconds = self.settings.slow_mode;
        if seconds == 0 || self.affiliation(bare) >= Affiliation::Admin || !counts {
            return Ok(None);
        }
        let now = micros(now);
        if !self.spoken.may(bare, now, self.apart()) {
            let text = format!("this room is slow: one message in {seconds} seconds");
            return Err(StanzaError::policy_violation()
                .kind(crate::stanza::ErrorType::Wait)
                .text(text));
        }
        Ok(Some((bare.into(), now)))
    }

    /// Microseconds between two messages of one person.
    pub(super) fn apart(&self) -> i64 {
        i64::from(self.settings.slow_mode).saturating_mul(1_000_000)
    }

    /// How long it is to be remembered when people spoke.
    pub(super) fn waits(&self) -> Duration {
        let seconds = if self.spoken.is_empty() { 0 } else { self.settings.slow_mode };
        Duration::from_secs(seconds.into())
    }

    /// Sends it to all. `seq`: its position in the archive; `stamp` what its frames get for it.
    pub fn say(&mut self, said: Said, (at, seq): (i64, i64), stamp: &[u8], out: &mut Outputs) {
        if let Some(burial) = &said.burial {
            self.bury(burial);
        }
        if let Some((bare, at)) = &said.spoke {
            self.spoken.note(bare, *at, self.apart());
        }
        let frame = if stamp.is_empty() { said.frame } else { said.frame.with(stamp) };
        if said.is_subject {
            self.subject = Some(Subject::of(frame.clone(), at));
        } else if said.is_kept {
            self.keep(Kept { frame: frame.clone(), at, seq });
        }
        let everyone = self.everyone();
        out.tell(everyone, &said.from, GROUPCHAT, frame);
    }

    pub(super) fn keep(&mut self, kept: Kept) {
        let max = usize::try_from(self.settings.history).unwrap_or(usize::MAX);
        self.history.push_back(kept);
        let mut bytes: usize = self.history.iter().map(|kept| kept.frame.len()).sum();
        while self.history.len() > max.min(self.bounds.history_max)
            || bytes > self.bounds.history_bytes_max
        {
            let Some(oldest) = self.history.pop_front() else { break };
            bytes = bytes.saturating_sub(oldest.frame.len());
        }
    }
}

/// §8.1: a subject without a body and without a thread.
pub fn is_subject(message: &Stanza) -> bool {
    let element = message.element();
    element.has_child(ns::CLIENT, "subject")
        && !element.has_child(ns::CLIENT, "body")
        && !element.has_child(ns::CLIENT, "thread")
}

/// Whether it goes into the archive and to newcomers: not chat states, receipts and the like alone (XEP-0313
/// §6.1.2), but all that a hint says so of (XEP-0334 §4), whatever else it has.
pub fn is_worth_keeping(message: &Stanza) -> bool {
    let mut worthy = false;
    for child in message.element().children() {
        match (child.ns, child.name) {
            (ns::HINTS, "no-store" | "no-permanent-store") => return false,
            (ns::HINTS, "store") => worthy = true,
            (ns::CLIENT, "thread") | (ns::HINTS, _) => {}
            (ns::CHAT_STATES | ns::MARKERS | ns::RECEIPTS, _) => {}
            (super::names::ORIGIN_ID, _) => {}
            _ => worthy = true,
        }
    }
    worthy
}

/// The message without what only the room says; nothing if there is none of it.
fn honest(message: &Stanza) -> Result<Option<Stanza>, StanzaError> {
    // XEP-0425 §5: only the room says that a moderator retracts something.
    let moderates = moderates(message);
    let claims = |ns: &str, name: &str| match (ns, name) {
        (ns::MUC | ns::MUC_USER, "x") => true,
        (super::names::OCCUPANT_ID | super::names::HATS | speaker::NS, _) => true,
        (ns::RETRACT, "retracted") => true,
        (ns::RETRACT, "retract") | (names::FASTEN, "apply-to") => moderates,
        (names::MODERATE | names::MODERATE_OLD, _) => true,
        _ => false,
    };
    let mut children = message.element().children();
    if !children.any(|child| claims(child.ns, child.name)) {
        return Ok(None);
    }
    let cleaned = message.without_payloads(|child| claims(child.ns, child.name));
    cleaned.map(Some).ok_or_else(StanzaError::bad_request)
}

fn moderates(message: &Stanza) -> bool {
    let may =
        |ns, name| matches!((ns, name), (ns::RETRACT, "retract") | (names::FASTEN, "apply-to"));
    if !message.element().children().any(|child| may(child.ns, child.name)) {
        return false;
    }
    let doc = message.element().view();
    let mut all = doc.root().children().filter(|child| may(child.ns(), child.name()));
    all.any(|child| {
        let mut inner = child.children();
        inner.any(|one| matches!(one.ns(), names::MODERATE | names::MODERATE_OLD))
    })
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::super::nick::Nick;
    use super::super::room::{Seat, Standing};
    use super::super::settings::Settings;
    use super::*;
    use crate::jid::BareJid;

    /// XEP-0500 §6: "server MUST NOT accept two consecutive messages": what is not accepted takes nobody's time. "Room
    /// administrators and owners MUST NOT be rate limited"; who is a moderator without being one of them is.
    #[test]
    fn what_is_accepted_takes_time() {
        let jid = BareJid::parse("hall@rooms.x").unwrap();
        let settings = Settings { slow_mode: 60, ..Settings::default() };
        let mut room = Room::new(jid.clone(), settings, [0; 32], Config::default().bounds());
        let admin = Standing { affiliation: Affiliation::Admin, ..Standing::default() };
        room.list(BareJid::parse("ann@x").unwrap(), admin);
        for name in ["ann", "bob"] {
            let real = Jid::parse(&format!("{name}@x/r")).unwrap();
            let seat = Seat { jid: real, shown: bytes::Bytes::new() };
            let own = jid.with_resource(name).unwrap().into();
            room.seat(Nick::of(name, 99).unwrap(), own, Role::Moderator, seat);
        }
        let message = |name: &str| {
            let body = "type='groupchat'><body>hi</body></message>";
            let xml = format!("<message from='{name}@x/r' to='hall@rooms.x' {body}");
            Stanza::ours(xml.into()).unwrap()
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        for (name, is_slow) in [("ann", false), ("bob", true)] {
            // Nobody got the first one.
            assert!(room.hear(&message(name), now).is_ok(), "{name}");
            let said = room.hear(&message(name), now).unwrap();
            room.say(said, (0, 0), b"", &mut Outputs::default());
            assert_eq!(room.hear(&message(name), now).is_err(), is_slow, "{name}");
            assert!(room.hear(&message(name), now + Duration::from_secs(60)).is_ok(), "{name}");
        }
    }
}
