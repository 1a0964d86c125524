//! Leaving a room (XEP-0045 §7.14), of one's own will or not: kicked, banned, gone without a word.

use super::outputs::Outputs;
use super::rights::{Affiliation, Role};
use super::room::{Occupant, Room, Seat};
use super::show::{self, Item, Own};
use crate::jid::Jid;
use crate::stanza::{Stanza, StanzaError};

/// Why somebody leaves.
#[derive(Debug, Clone, Default)]
pub struct Gone {
    /// What its client said at last: payloads of its unavailable presence.
    pub said: bytes::Bytes,
    /// Status codes for everybody (§16.6).
    pub codes: Vec<u16>,
    /// Whose doing it is: a nickname.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// `<destroy/>`, or `<mav/>` of XEP-0463.
    pub more: bytes::Bytes,
    /// The id of the presence with which it leaves.
    pub id: Option<String>,
    /// Nobody reads what it is told.
    pub is_lost: bool,
    /// Its session ended without a word to the room: what was said last may have reached nobody.
    pub is_cut: bool,
}

impl Gone {
    /// §11.1: it cannot be reached any more.
    pub fn lost() -> Self {
        Self { codes: vec![333], is_lost: true, ..Self::default() }
    }
}

impl Room {
    /// Unavailable presence: one session leaves; its occupant is gone with the last one. §17.3 rule 5: of somebody
    /// who is not in the room it means nothing. `is_cut`: its session is no more.
    pub fn quit(
        &mut self,
        presence: &Stanza,
        is_cut: bool,
        out: &mut Outputs,
    ) -> Result<(), StanzaError> {
        let said = show::payloads(presence, self.bounds.presence_bytes_max).unwrap_or_default();
        let id = presence.id().map(std::borrow::Cow::into_owned);
        self.leave(presence.from(), &Gone { said, id, is_cut, ..Gone::default() }, out);
        Ok(())
    }

    /// A session leaves; whether it was here.
    pub fn leave(&mut self, session: &Jid, gone: &Gone, out: &mut Outputs) -> bool {
        let Some((occupant, is_last)) = self.unseat(session) else { return false };
        let Some(seat) = occupant.seats.first() else { return false };
        let seat = Seat { jid: seat.jid.clone(), shown: gone.said.clone() };
        let affiliation = self.affiliation(occupant.bare());
        self.note_left(session, gone);
        if !is_last {
            self.part(&occupant, &seat, affiliation, gone, out);
            return true;
        }
        let item = item(affiliation, gone);
        let id = gone.id.as_deref();
        let own = Own { id, was: Some(occupant.role), silent: gone.is_lost, ..Own::default() };
        self.show(&occupant, &seat, &item, own, out);
        true
    }

    /// XEP-0437 §4: up to now its account has seen what was said, if it was there to the end.
    fn note_left(&mut self, session: &Jid, gone: &Gone) {
        let bare = session.bare_str();
        let is_seen = !gone.is_lost && !gone.is_cut;
        if is_seen
            && self.affiliation(bare) >= Affiliation::Member
            && self.of_account(bare).next().is_none()
        {
            self.called.left(session.bare());
        }
    }

    /// All sessions of an occupant leave, by its nickname's key.
    pub fn remove(&mut self, key: &str, gone: &Gone, out: &mut Outputs) {
        let Some(occupant) = self.occupants.get(key) else { return };
        let sessions: Vec<Jid> = occupant.seats.iter().map(|seat| seat.jid.clone()).collect();
        for (left, session) in (0..sessions.len()).rev().zip(&sessions) {
            match left {
                0 => drop(self.leave(session, gone, out)),
                _ => self.dismiss(session, gone, out),
            }
        }
    }

    /// A session that shares its nickname is told that it is out; the others see no difference.
    fn dismiss(&mut self, session: &Jid, gone: &Gone, out: &mut Outputs) {
        let Some((occupant, _)) = self.unseat(session) else { return };
        self.note_left(session, gone);
        let affiliation = self.affiliation(occupant.bare());
        if let Some(seat) = occupant.seats.first() {
            self.farewell(&occupant, seat, affiliation, gone, out);
        }
    }

    /// One of several sessions leaves: it alone hears so; the others see the session that is left (§7.2.8).
    fn part(
        &mut self,
        occupant: &Occupant,
        seat: &Seat,
        affiliation: Affiliation,
        gone: &Gone,
        out: &mut Outputs,
    ) {
        self.farewell(occupant, seat, affiliation, gone, out);
        let rest = self.occupants.get(&*occupant.nick.key).and_then(|rest| rest.seat().cloned());
        if let Some(rest) = rest {
            self.announce(&occupant.nick.key, &rest, Own::default(), out);
        }
    }

    fn farewell(
        &self,
        occupant: &Occupant,
        seat: &Seat,
        affiliation: Affiliation,
        gone: &Gone,
        out: &mut Outputs,
    ) {
        if gone.is_lost {
            return;
        }
        let item = item(affiliation, gone);
        let form =
            show::Form { address: true, id: gone.id.as_deref(), codes: &[show::SELF], more: &[] };
        let frame = self.presence(occupant, seat, &item, form);
        out.tell_one(&seat.jid, &occupant.jid, show::UNAVAILABLE, frame);
    }
}

fn item(affiliation: Affiliation, gone: &Gone) -> Item<'_> {
    Item {
        affiliation,
        role: Role::None,
        nick: None,
        actor: gone.actor.as_deref(),
        reason: gone.reason.as_deref(),
        codes: &gone.codes,
        more: &gone.more,
    }
}
