//! What a room writes to single people on behalf of others (XEP-0045 §7.8.2, §8.6, §9.9): invitations, declines, forms
//! to be approved. Bounded for each who causes it: so nobody sends a flood in the room's name.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use crate::base::time::micros;
use crate::jid::{BareJid, Jid};
use crate::stanza::{ErrorType, Stanza, StanzaError};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Who has caused how much lately, and which invitations are open.
#[derive(Debug, Default)]
pub struct Letters {
    /// When this minute began, in microseconds since 1970.
    began: i64,
    written: HashMap<Box<str>, usize>,
    /// The oldest first.
    open: VecDeque<Open>,
}

/// An invitation that was not declined yet.
#[derive(Debug, Clone)]
pub struct Open {
    /// Who was invited.
    pub invitee: BareJid,
    /// By which session.
    pub inviter: Jid,
    /// The id of its message.
    pub id: Option<String>,
}

impl Letters {
    /// Counts so many letters of somebody, if they may be written.
    pub fn count(
        &mut self,
        by: &str,
        letters: usize,
        now: SystemTime,
        max: usize,
    ) -> Result<(), StanzaError> {
        let now = micros(now);
        if !(0..MINUTE).contains(&now.saturating_sub(self.began)) {
            self.began = now;
            self.written.clear();
        }
        let refuse = || {
            let text = format!("rooms send {max} messages a minute for one person");
            StanzaError::policy_violation().kind(ErrorType::Wait).text(text)
        };
        if !self.written.contains_key(by) && self.written.len() >= PEOPLE_MAX {
            return Err(refuse());
        }
        let written = self.written.entry(by.into()).or_default();
        let after = written.saturating_add(letters);
        if after > max {
            return Err(refuse());
        }
        *written = after;
        Ok(())
    }

    /// An invitation is sent.
    pub fn invited(&mut self, open: Open) {
        self.open.retain(|other| other.invitee != open.invitee || other.inviter != open.inviter);
        if self.open.len() >= OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back(open);
    }

    /// The open invitation of somebody that fits; it is open no more.
    pub fn answered(&mut self, invitee: &str, fits: impl Fn(&Open) -> bool) -> Option<Open> {
        let is_it = |one: &Open| one.invitee == *invitee && fits(one);
        let at = self.open.iter().rposition(is_it)?;
        self.open.remove(at)
    }
}

/// An invitation (§7.8.2), as the room passes it on.
#[derive(Debug, Clone, Default)]
pub struct Invitation {
    /// Whose it is: a bare JID.
    pub from: String,
    /// What its author says.
    pub reason: Option<String>,
    /// It continues a conversation of two (§7.9); perhaps with the thread's id.
    pub thread: Option<Option<String>>,
    /// The room's, if it has one.
    pub password: Option<String>,
    /// The message's.
    pub id: Option<String>,
}

impl Invitation {
    /// The message.
    pub fn to(&self, room: &BareJid, to: &BareJid) -> Option<Stanza> {
        letter(room, to, self.id.as_deref(), |xml| {
            xml.start("x").attr("xmlns", ns::MUC_USER).start("invite").attr("from", &self.from);
            if let Some(reason) = &self.reason {
                xml.element("reason", None, reason);
            }
            if let Some(thread) = &self.thread {
                xml.start("continue").attr_opt("thread", thread.as_deref()).end();
            }
            xml.end();
            if let Some(password) = &self.password {
                xml.element("password", None, password);
            }
            xml.end();
        })
    }
}

/// That somebody does not come (§7.8.2).
pub fn decline(
    room: &BareJid,
    to: &BareJid,
    (from, reason, id): (&str, Option<&str>, Option<&str>),
) -> Option<Stanza> {
    letter(room, to, id, |xml| {
        xml.start("x").attr("xmlns", ns::MUC_USER).start("decline").attr("from", from);
        if let Some(reason) = reason {
            xml.element("reason", None, reason);
        }
        xml.end().end();
    })
}

/// A message from the room to one address.
pub fn letter(
    room: &BareJid,
    to: &Jid,
    id: Option<&str>,
    payload: impl FnOnce(&mut Xml),
) -> Option<Stanza> {
    let mut xml = Xml::new();
    xml.start("message").attr("from", room.as_str()).attr("to", to.as_str()).attr_opt("id", id);
    payload(&mut xml);
    xml.end();
    Stanza::ours(xml.finish())
}

/// That a message to somebody else did not arrive.
pub fn bounce(room: &BareJid, to: &Jid, id: Option<&str>, error: &StanzaError) -> Option<Stanza> {
    let mut xml = Xml::new();
    xml.start("message").attr("from", room.as_str()).attr("to", to.as_str());
    let error = error.clone().by(room.clone());
    xml.attr("type", "error").attr_opt("id", id).raw(error.to_xml().as_bytes()).end();
    Stanza::ours(xml.finish())
}

/// A text that somebody wrote for others, if it is not too long.
pub fn short(text: Option<&str>) -> Result<Option<String>, StanzaError> {
    match text {
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            let text = format!("a reason may have {TEXT_BYTES_MAX} bytes");
            Err(StanzaError::not_acceptable().text(text))
        }
        text => Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())),
    }
}

const MINUTE: i64 = 60_000_000;
/// People of whom is known how much they wrote in this minute.
const PEOPLE_MAX: usize = 1_024;
/// Invitations of one room that can be declined.
const OPEN_MAX: usize = 256;
/// Bytes of a reason.
const TEXT_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_is_bounded_for_each_who_makes_it() {
        let mut letters = Letters::default();
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        for (by, count, seconds, fine) in [
            ("ann", 3, 0_u64, true),
            ("ann", 2, 1, true),
            ("ann", 1, 2, false),
            ("bob", 5, 3, true),
            ("bob", 6, 70, false),
            ("ann", 5, 71, true),
            // A clock that goes back begins anew.
            ("ann", 5, 0, true),
        ] {
            let counted = letters.count(by, count, at(seconds), 5);
            assert_eq!(counted.is_ok(), fine, "{by} {count} {seconds}");
        }
        for n in 0..3_000 {
            let _ = letters.count(&format!("u{n}"), 1, at(200), 5);
        }
        assert_eq!(letters.written.len(), PEOPLE_MAX);
        for n in 0..1_000 {
            let invitee = BareJid::parse(&format!("u{n}@a.example")).unwrap();
            let inviter = Jid::parse("ann@a.example/r").unwrap();
            letters.invited(Open { invitee, inviter, id: None });
        }
        assert_eq!(letters.open.len(), OPEN_MAX);
        assert!(letters.answered("u999@a.example", |_| true).is_some());
        assert!(letters.answered("u999@a.example", |_| true).is_none(), "once");
        assert!(letters.answered("u0@a.example", |_| true).is_none(), "long ago");
    }

    #[test]
    fn reasons_have_a_bound() {
        assert_eq!(short(Some("  why ")).unwrap().as_deref(), Some("why"));
        assert_eq!(short(Some(" ")).unwrap(), None);
        assert!(short(Some(&"x".repeat(1_025))).is_err());
    }
}
