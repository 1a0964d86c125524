//! From one occupant to another (XEP-0045 §7.5, §17.4): messages and requests, under their nicknames.

use std::sync::Arc;

use super::names::VCARD;
use super::outputs::Outputs;
use super::room::{Occupant, Room};
use crate::jid::Jid;
use crate::router::rules::StanzaClass;
use crate::stanza::message::MessageType;
use crate::stanza::{Stanza, StanzaError};
use crate::xml::ns;

impl Room {
    /// A private message: to all sessions of the occupant (§7.2.8). The first one's takes the way of every message,
    /// through the archive of its account; the others have the text, and no second row.
    pub fn whisper(&self, message: &Stanza, out: &mut Outputs) -> Result<(), StanzaError> {
        let (from, to) = self.pair(message)?;
        if message.ty().as_deref() == Some("groupchat") {
            return Err(StanzaError::bad_request().text("one occupant gets no groupchat message"));
        }
        if !self.settings.may_whisper(from.role) {
            return Err(StanzaError::forbidden().text("private messages are not for you here"));
        }
        // §7.5: "the service SHOULD add the <x/>". What it says in ours is not for its sender to say.
        let id = self.occupant_id(from.bare());
        let marked = message.with_own(ns::MUC_USER, "x", MARK);
        let own = format!("<occupant-id xmlns='{}' id='{id}'/>", super::names::OCCUPANT_ID);
        let marked = marked.with_own(super::names::OCCUPANT_ID, "occupant-id", own.as_bytes());
        let Some((first, others)) = to.seats.split_first() else { return Ok(()) };
        let others: Arc<[Jid]> = others.iter().map(|seat| seat.jid.clone()).collect();
        let class = StanzaClass::Message(MessageType::parse(message.ty().as_deref()));
        out.tell(others, &from.jid, class, marked.frame_from(from.jid.as_str(), b""));
        out.route(Some(marked.readdressed(&from.jid, &first.jid)));
        Ok(())
    }

    /// A request, or its answer, to another occupant's client; the room takes no part in it (§17.4 rules 2 and 3).
    pub fn relay(&self, iq: &Stanza, out: &mut Outputs) -> Result<(), StanzaError> {
        let (from, to) = match self.answerer(iq) {
            Some(from) => (from, self.target(iq)?),
            None => self.pair(iq)?,
        };
        // One session answers, the one that the others see. Which one asked is not known: an answer that it did not
        // ask for is nothing to a client.
        let ty = iq.ty();
        let is_request = matches!(ty.as_deref(), Some("get" | "set"));
        let of_account = ty.as_deref() == Some("get") && iq.element().has_child(VCARD, "vCard");
        let first = if is_request { to.seats.len().saturating_sub(1) } else { 0 };
        for seat in to.seats.iter().skip(first) {
            // XEP-0054 §3.2: a vCard is the account's, and the account's server answers for it.
            let to = if of_account { seat.jid.bare().into() } else { seat.jid.clone() };
            out.route(Some(iq.readdressed(&from.jid, &to)));
        }
        Ok(())
    }

    /// Whose account answers, where it was asked for an occupant.
    fn answerer(&self, iq: &Stanza) -> Option<&Occupant> {
        let is_answer = matches!(iq.ty().as_deref(), Some("result" | "error"));
        let bare = iq.from().is_bare() && is_answer;
        self.occupants().find(|one| bare && one.bare() == iq.from().bare_str())
    }

    fn pair(&self, stanza: &Stanza) -> Result<(&Occupant, &Occupant), StanzaError> {
        Ok((self.speaker(stanza.from())?, self.target(stanza)?))
    }

    fn target(&self, stanza: &Stanza) -> Result<&Occupant, StanzaError> {
        let nick = stanza.to().and_then(Jid::resource).unwrap_or_default();
        self.occupant(nick)
            .ok_or_else(|| StanzaError::item_not_found().text("nobody has this nickname here"))
    }
}

const MARK: &[u8] = b"<x xmlns='http://jabber.org/protocol/muc#user'/>";
