//! Entering a room (XEP-0045 §7.2), and presence from those who are in it: another nickname (§7.6), another
//! availability (§7.7).

use std::time::{Duration, SystemTime};

use super::judge::Rank;
use super::leave::Gone;
use super::nick::Nick;
use super::outputs::Outputs;
use super::rights::Affiliation;
use super::room::{Room, Seat};
use super::settings::Whois;
use super::show::{self, Form, Item, NEW_NICK, Own};
use super::versions::Asked;
use crate::base::time::{self, from_micros};
use crate::jid::Jid;
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::xml::ns;
use crate::xml::view::Node;

/// The `<x/>` of who enters (§7.2.1).
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// For a room that has one (§7.2.5).
    pub password: Option<String>,
    /// How much of what was said it wants (§7.2.14).
    pub history: Wanted,
    /// The changes of affiliations that it asks for (XEP-0463).
    pub affiliations: Option<Asked>,
}

/// §7.2.14; what is not given bounds nothing.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Characters in all.
    pub chars: Option<usize>,
    /// Messages.
    pub stanzas: Option<usize>,
    /// Not before this.
    pub since: Option<SystemTime>,
}

impl Entry {
    /// Reads it, if the presence has one.
    pub fn read(presence: &Stanza, now: SystemTime) -> Option<Self> {
        let doc = presence.element().view();
        let x = doc.root().child(ns::MUC, "x")?;
        let history = x.child(ns::MUC, "history");
        let password = x.child_text(ns::MUC, "password").map(str::to_owned);
        Some(Self {
            password,
            history: history.map(|it| Wanted::read(it, now)).unwrap_or_default(),
            affiliations: Asked::read(x),
        })
    }
}

impl Wanted {
    /// What is no number or no date bounds nothing.
    fn read(history: Node<'_>, now: SystemTime) -> Self {
        let number = |name: &str| history.attr(name)?.parse::<u64>().ok();
        let ago =
            number("seconds").and_then(|seconds| now.checked_sub(Duration::from_secs(seconds)));
        let since = history.attr("since").and_then(time::parse);
        Self {
            chars: number("maxchars").and_then(|n| usize::try_from(n).ok()),
            stanzas: number("maxstanzas").and_then(|n| usize::try_from(n).ok()),
            since: ago.into_iter().chain(since).max(),
        }
    }
}

impl Room {
    /// Somebody enters with this nickname, or comes again after it has lost its bearings (§7.2.1).
    pub fn enter(
        &mut self,
        presence: &Stanza,
        entry: &Entry,
        who: &Entering,
        out: &mut Outputs,
    ) -> Result<(), StanzaError> {
        let session = presence.from();
        let asked = presence.to().and_then(Jid::resource).unwrap_or_default();
        let nick = self.admit(session, asked, entry, who)?;
        let shown = show::payloads(presence, self.bounds.presence_bytes_max)?;
        if self.sessions.get(session).is_some_and(|key| **key != *nick.key) {
            // It thinks that it is not in the room yet: the nickname that it has is left behind.
            let _ = self.leave(session, &Gone::default(), out);
        }
        let affiliation = self.affiliation(session.bare_str());
        let known = self.occupants.get(&*nick.key);
        let role = known
            .map_or_else(|| affiliation.first_role(self.settings.moderated), |known| known.role);
        let jid = self.jid.with_resource(&nick.text).map_err(|_| StanzaError::not_acceptable())?;
        let is_other_spelling = jid.resource() != asked;
        let jid = known.map_or_else(|| jid.into(), |known| known.jid.clone());
        if let Some(asked) = &entry.affiliations {
            let id = presence.id();
            self.tell_affiliations(
                (session, id.as_deref()),
                Rank { affiliation, role },
                (asked, who.fits),
                out,
            );
        }
        self.tell_avatar(session, out);
        self.present(session, out);
        let seat = Seat { jid: session.clone(), shown };
        self.seat(nick.clone(), jid, role, seat.clone());
        let mut codes = Vec::new();
        if self.settings.whois == Whois::Anyone {
            codes.push(100);
        }
        // Of a room that is new, too: it is kept as soon as it is configured.
        if self.settings.archive {
            codes.push(170);
        }
        if who.is_new {
            codes.push(201);
        }
        if is_other_spelling {
            codes.push(210);
        }
        self.announce(
            &nick.key,
            &seat,
            Own { id: presence.id().as_deref(), codes: &codes, ..Own::default() },
            out,
        );
        self.recall(session, &entry.history, out);
        self.tell_subject(session, out);
        Ok(())
    }

    /// Whether somebody may enter with this nickname: the checks of §7.2, the most telling last.
    fn admit(
        &self,
        session: &Jid,
        asked: &str,
        entry: &Entry,
        who: &Entering,
    ) -> Result<Nick, StanzaError> {
        let affiliation = self.effective(session);
        if affiliation == Affiliation::Outcast {
            return Err(StanzaError::forbidden().text("you are banned from this room"));
        }
        if self.is_locked() && !who.is_new && affiliation != Affiliation::Owner {
            return Err(StanzaError::item_not_found().text("this room is not configured yet"));
        }
        let is_in = self.occupant_of(session).is_some();
        if self.settings.members_only && affiliation < Affiliation::Member && !is_in {
            return Err(StanzaError::registration_required().text("this room is for members only"));
        }
        if let Some(password) = self.settings.password.as_deref()
            && affiliation < Affiliation::Owner
            && !is_in
            && !entry.password.as_deref().is_some_and(|said| {
                crate::base::hash::same_secret(said.as_bytes(), password.as_bytes())
            })
        {
            return Err(StanzaError::not_authorized().text("this room needs a password"));
        }
        let nick = self.free_nick(session, asked)?;
        let is_there = self.occupants.contains_key(&*nick.key);
        if !is_in && !is_there && self.len() >= self.seats(affiliation) {
            return Err(StanzaError::service_unavailable()
                .kind(crate::stanza::ErrorType::Wait)
                .text("this room is full"));
        }
        if who.from_elsewhere && !is_in && !is_there && self.is_crowded_by(session.domain(), affiliation)
        {
            return Err(StanzaError::service_unavailable()
                .kind(crate::stanza::ErrorType::Wait)
                .text("this room has as many people of that server as it can"));
        }
        if !is_in && self.sessions.len() >= self.bounds.sessions_max() {
            return Err(StanzaError::service_unavailable()
                .kind(crate::stanza::ErrorType::Wait)
                .text("this room has as many sessions as it can"));
        }
        Ok(nick)
    }

    /// §7.2.9: an admin enters a room that is full, up to a bound.
    fn seats(&self, affiliation: Affiliation) -> usize {
        let own = usize::try_from(self.settings.occupants_max).unwrap_or(usize::MAX);
        let max =
            if own == 0 { self.bounds.occupants_max } else { own.min(self.bounds.occupants_max) };
        if affiliation >= Affiliation::Admin { max.saturating_add(ADMIN_SEATS) } else { max }
    }

    /// Another server, whose people are as many as it likes, has a quarter of the seats; in a small room some. For
    /// members there are those that are left.
    fn is_crowded_by(&self, domain: &str, affiliation: Affiliation) -> bool {
        let is_of_it = |bare: &str| bare.rsplit('@').next() == Some(domain);
        let max = self.seats(affiliation).div_ceil(4).max(SEATS_OF_DOMAIN_MIN);
        affiliation < Affiliation::Member
            && self.occupants.values().filter(|one| is_of_it(one.bare())).count() >= max
    }

    /// §7.2.8: a nickname is free if nobody has it or has reserved it but the account itself.
    fn free_nick(&self, session: &Jid, asked: &str) -> Result<Nick, StanzaError> {
        let nick = Nick::of(asked, self.bounds.nick_bytes_max)?;
        let own = session.bare_str();
        let taken = self.occupants.get(&*nick.key).is_some_and(|known| known.bare() != own);
        let reserved = self.reserved_by(&nick.key).is_some_and(|by| by.as_str() != own);
        match taken || reserved {
            true => Err(StanzaError::conflict().text("this nickname is somebody else's here")),
            false => Ok(nick),
        }
    }

    /// §7.2.2: the others' presence, before one's own.
    pub(super) fn present(&self, session: &Jid, out: &mut Outputs) {
        let own = self.sessions.get(session);
        let viewer = own.and_then(|key| self.occupants.get(key)).map_or_else(
            || self.affiliation(session.bare_str()).first_role(self.settings.moderated),
            |known| known.role,
        );
        let form = Form { address: self.settings.shows_addresses(viewer), ..Form::default() };
        for occupant in self.occupants.values() {
            if !self.settings.broadcast.shows(occupant.role) {
                continue;
            }
            let item = self.item(occupant);
            for seat in occupant.seats.iter().filter(|seat| seat.jid != *session) {
                let frame = self.presence(occupant, seat, &item, form);
                out.tell_one(session, &occupant.jid, show::AVAILABLE, frame);
            }
        }
    }

    /// Shows a session of an occupant as it is now, by its nickname's key.
    pub(super) fn announce(&self, key: &str, seat: &Seat, own: Own<'_>, out: &mut Outputs) {
        if let Some(occupant) = self.occupants.get(key) {
            self.show(occupant, seat, &self.item(occupant), own, out);
        }
    }

    /// Available presence without `<x/>`: from an occupant a change; from anybody else a mistake.
    pub fn update(&mut self, presence: &Stanza, out: &mut Outputs) -> Result<(), StanzaError> {
        let session = presence.from();
        let asked = presence.to().and_then(Jid::resource).unwrap_or_default();
        let Some(key) = self.sessions.get(session).cloned() else {
            not_here(presence, out);
            return Ok(());
        };
        let Some(known) = self.occupants.get(&key) else { return Ok(()) };
        if known.jid.resource() != Some(asked) {
            let nick = Nick::of(asked, self.bounds.nick_bytes_max)?;
            if nick.text != known.nick.text {
                return self.rename(presence, out);
            }
        }
        let shown = show::payloads(presence, self.bounds.presence_bytes_max)?;
        let seat = Seat { jid: session.clone(), shown };
        if let Some(known) = self.occupants.get_mut(&key) {
            known.seats.retain(|other| other.jid != seat.jid);
            known.seats.push(seat.clone());
        }
        let id = presence.id();
        self.announce(&key, &seat, Own { id: id.as_deref(), ..Own::default() }, out);
        Ok(())
    }

    /// §7.6
    fn rename(&mut self, presence: &Stanza, out: &mut Outputs) -> Result<(), StanzaError> {
        let session = presence.from();
        let asked = presence.to().and_then(Jid::resource).unwrap_or_default();
        let nick = self.free_nick(session, asked)?;
        let shown = show::payloads(presence, self.bounds.presence_bytes_max)?;
        let jid = self.jid.with_resource(&nick.text).map_err(|_| StanzaError::not_acceptable())?;
        let jid: Jid = jid.into();
        let Some((old, _)) = self.unseat(session) else { return Ok(()) };
        let seat = Seat { jid: session.clone(), shown };
        // The old nickname's other sessions keep it.
        let item = Item { nick: Some(&nick.text), codes: &[NEW_NICK], ..self.item(&old) };
        let own_seat = old.seats.first().cloned().unwrap_or_else(|| seat.clone());
        let bare = Seat { shown: bytes::Bytes::new(), ..own_seat };
        // It sees its own old nickname go, too, though it has none at this moment.
        self.show(&old, &bare, &item, Own::default(), out);
        if let Some(rest) = self.occupants.get(&*old.nick.key).and_then(|rest| rest.seat().cloned())
        {
            let key = old.nick.key.clone();
            self.announce(&key, &rest, Own { silent: true, ..Own::default() }, out);
        }
        let spelled = jid.resource() != Some(asked);
        let role = old.role;
        self.seat(nick.clone(), jid, role, seat.clone());
        let codes: &[u16] = if spelled { &[210] } else { &[] };
        let id = presence.id();
        self.announce(&nick.key, &seat, Own { id: id.as_deref(), codes, ..Own::default() }, out);
        Ok(())
    }

    /// §7.2.13, §7.2.14
    fn recall(&self, session: &Jid, wanted: &Wanted, out: &mut Outputs) {
        let max = usize::try_from(self.settings.history).unwrap_or(usize::MAX);
        let max = wanted.stanzas.map_or(max, |stanzas| stanzas.min(max));
        let mut chars = wanted.chars;
        let mut frames = Vec::new();
        for kept in self.history.iter().rev().take(max) {
            let at = from_micros(kept.at);
            if wanted.since.is_some_and(|since| at < since) {
                break;
            }
            let frame = kept.frame.with(&crate::stanza::delay::delay(self.jid.as_str(), at));
            if let Some(left) = &mut chars {
                // "the characters of the complete XML stanzas"
                let own = characters(&frame.addressed(session.as_str()));
                let Some(rest) = left.checked_sub(own) else { break };
                *left = rest;
            }
            frames.push(frame);
        }
        for frame in frames.into_iter().rev() {
            out.tell_one(session, &Jid::from(self.jid.clone()), super::say::GROUPCHAT, frame);
        }
    }

    /// §7.2.15
    fn tell_subject(&self, session: &Jid, out: &mut Outputs) {
        let frame = match &self.subject {
            Some(subject) => {
                let delay = crate::stanza::delay::delay(self.jid.as_str(), from_micros(subject.at));
                subject.frame.with(&delay)
            }
            None => {
                let from = crate::xml::writer::escape_attr(self.jid.as_str()).into_owned();
                let head = format!("<message from=\"{from}\" type=\"groupchat\"");
                Frame::of(head, "><subject/></message>")
            }
        };
        out.tell_one(session, &Jid::from(self.jid.clone()), super::say::GROUPCHAT, frame);
    }
}

/// Characters, which are no bytes.
fn characters(frame: &Frame) -> usize {
    let begins = |byte: &&u8| **byte & 0b1100_0000 != 0b1000_0000;
    let bytes = [&frame.head, &frame.tail, &frame.end].into_iter().flat_map(|part| part.iter());
    bytes.filter(begins).count()
}

/// §7.2.18: who is not in the room, and thinks that it is, is told.
pub(super) fn not_here(presence: &Stanza, out: &mut Outputs) {
    let Some(to) = presence.to() else { return };
    let mut xml = crate::xml::writer::Xml::new();
    xml.start("presence").attr("from", to.as_str()).attr("to", presence.from().as_str());
    xml.attr("type", "unavailable").start("x").attr("xmlns", ns::MUC_USER);
    let item = Item { reason: Some("You are not in the room."), ..Item::default() };
    item.write(&mut xml, None);
    for code in ["110", "307", "333"] {
        xml.start("status").attr("code", code).end();
    }
    xml.end().end();
    out.route(Stanza::ours(xml.finish()));
}

/// Who enters, beside what its stanza says.
#[derive(Debug, Clone, Copy)]
pub struct Entering {
    /// The room was made for it just now (§10.1.1).
    pub is_new: bool,
    /// It comes from another server.
    pub from_elsewhere: bool,
    /// Bytes of a list that may be put into its box.
    pub fits: usize,
}

/// §7.2.9: "up to some reasonable number of additional occupants".
const ADMIN_SEATS: usize = 10;
/// Seats that people of one other server may have in any room.
const SEATS_OF_DOMAIN_MIN: usize = 20;

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::super::room::Kept;
    use super::super::settings::Settings;
    use super::*;
    use crate::jid::BareJid;

    /// §7.2.14: "the largest number of complete stanzas that results in a number of characters less than or equal to
    /// the maxchars value", with all that is on the wire.
    #[test]
    fn history_is_counted_as_it_is_sent() {
        let jid = BareJid::parse("hall@rooms.x").unwrap();
        let bounds = Config::default().bounds();
        let mut room = Room::new(jid, Settings::default(), [0; 32], bounds);
        let head = "<message from=\"hall@rooms.x/Ann\" type=\"groupchat\"";
        for at in 0..2 {
            let frame = Frame::of(head, "><body>für dich</body></message>");
            room.keep(Kept { frame, at, seq: 0 });
        }
        let bob = Jid::parse("bob@x/r").unwrap();
        let told = |chars| {
            let mut out = Outputs::default();
            let wanted = Wanted { chars, ..Wanted::default() };
            room.recall(&bob, &wanted, &mut out);
            let wire = |frame: &Frame| frame.addressed("bob@x/r").to_vec();
            let texts = out.sent.iter().map(|sent| String::from_utf8(wire(&sent.frame)).unwrap());
            texts.map(|text| text.chars().count()).collect::<Vec<_>>()
        };
        let all = told(None);
        let (one, both) = (all[1], all[0] + all[1]);
        for (chars, count) in [(one - 1, 0), (one, 1), (both - 1, 1), (both, 2)] {
            assert_eq!(told(Some(chars)).len(), count, "{chars} of {both}");
        }
    }

    #[test]
    fn one_other_server_leaves_seats() {
        let jid = BareJid::parse("hall@rooms.x").unwrap();
        let settings = Settings { occupants_max: 100, ..Settings::default() };
        let mut room = Room::new(jid, settings, [0; 32], Config::default().bounds());
        let mut enters = |user: &str, from_elsewhere| {
            let nick = user.replace('@', " of ");
            let xml = format!("<presence from='{user}/r' to='hall@rooms.x/{nick}'/>");
            let presence = Stanza::ours(xml.into()).unwrap();
            let who = Entering { is_new: true, from_elsewhere, fits: usize::MAX };
            room.enter(&presence, &Entry::default(), &who, &mut Outputs::default()).is_ok()
        };
        for n in 0..25 {
            assert!(enters(&format!("u{n}@far.example"), true), "{n}");
        }
        assert!(!enters("u25@far.example", true), "a quarter is taken");
        assert!(enters("u0@far.example", true), "who is in stays");
        assert!(enters("u@other.example", true) && enters("u@x", false));
    }
}
