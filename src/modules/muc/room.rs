//! A room in memory (XEP-0045): who is in it, what they are to it, and what was said last. No I/O: what happens is
//! put in, and what is to be sent comes out ([`Outputs`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use smallvec::SmallVec;

use super::absent::Absent;
use super::called::Called;
use super::config::Bounds;
use super::letters::Letters;
use super::members::occupant_id;
use super::nick::Nick;
use super::outputs::Outputs;
use super::rights::{Affiliation, Role};
use super::settings::Settings;
use super::spoken::Spoken;
use crate::jid::{BareJid, Jid};
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::ids::{ArchiveId, RoomId};
use crate::xml::ns;

/// A room.
#[derive(Debug)]
pub struct Room {
    /// Its address.
    pub jid: BareJid,
    /// Its key in the store; none until its creator has configured it.
    pub id: Option<RoomId>,
    /// What owners decided.
    pub settings: Settings,
    /// What people are to it, by bare JID; `None` is not listed.
    pub standing: BTreeMap<BareJid, Standing>,
    /// Rises with each change of the affiliations (XEP-0463).
    pub version: i64,
    /// The version up to which people who are not listed any more were forgotten: what changed since an earlier one
    /// is not known.
    pub forgotten: i64,
    /// Who has which nickname to itself, by the nickname's key.
    pub(super) reserved: BTreeMap<Box<str>, BareJid>,
    /// What it wrote to single people lately.
    pub letters: Letters,
    /// Its subject, if somebody has ever set one.
    pub subject: Option<Subject>,
    /// What was said last, oldest first.
    pub history: VecDeque<Kept>,
    /// Who is in it, by nickname key.
    pub(super) occupants: BTreeMap<Arc<str>, Occupant>,
    /// The nickname key of each session.
    pub(super) sessions: HashMap<Jid, Arc<str>>,
    /// All sessions, for what goes to everybody; made anew when somebody came or went.
    everyone: Option<Arc<[Jid]>>,
    /// How members were called last.
    pub(super) called: Called,
    /// When people spoke, where there is slow mode.
    pub(super) spoken: Spoken,
    /// Those who are not in it, and what they are to be told.
    pub(super) absent: Absent,
    /// It was destroyed, or left by the last occupant: whoever still holds it looks for it anew.
    pub is_gone: bool,
    /// When somebody was last in it, or looked at it.
    pub used: SystemTime,
    /// Makes occupant ids (XEP-0421).
    pub secret: [u8; 32],
    /// What the service allows.
    pub bounds: Bounds,
}

/// What somebody is to a room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its affiliation; `None` only with a nickname or hats.
    pub affiliation: Affiliation,
    /// The nickname that nobody else may use (§7.10).
    pub nick: Option<String>,
    /// Why: of a ban.
    pub reason: Option<String>,
    /// The room's version when it was set.
    pub version: i64,
}

/// The subject of a room.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The message that set it, without 'to'.
    pub frame: Frame,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Its text: many ask for that and few set it.
    pub text: Box<str>,
}

impl Subject {
    /// The subject that a message sets.
    pub fn of(frame: Frame, at: i64) -> Self {
        let message = Stanza::ours(frame.to_vec().into());
        let text = message.as_ref().and_then(|one| one.element().child_text(ns::CLIENT, "subject"));
        let text = text.map(Into::into).unwrap_or_default();
        Self { frame, at, text }
    }
}

/// A message that newcomers get.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The message, without 'to'.
    pub frame: Frame,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Its position in the archive, or 0.
    pub seq: i64,
}

/// Somebody in a room: one nickname, perhaps with several sessions (§7.2.8).
#[derive(Debug)]
pub struct Occupant {
    /// The nickname.
    pub nick: Nick,
    /// The occupant's address.
    pub jid: Jid,
    /// What it may do.
    pub role: Role,
    /// Its sessions, the last one to speak or to enter at the end; never empty.
    pub seats: SmallVec<[Seat; 1]>,
}

/// A session of an occupant.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Its real address.
    pub jid: Jid,
    /// The payloads of its last presence, without what only the room says.
    pub shown: Bytes,
}

impl Occupant {
    /// The real bare JID.
    pub fn bare(&self) -> &str {
        self.seats.first().map_or("", |seat| seat.jid.bare_str())
    }

    /// The session that the others see.
    pub fn seat(&self) -> Option<&Seat> {
        self.seats.last()
    }
}

impl Room {
    /// A room that nobody has ever entered; its creator's configuration is awaited.
    pub fn new(jid: BareJid, settings: Settings, secret: [u8; 32], bounds: Bounds) -> Self {
        Self {
            jid,
            id: None,
            settings,
            standing: BTreeMap::new(),
            version: 0,
            forgotten: 0,
            reserved: BTreeMap::new(),
            letters: Letters::default(),
            subject: None,
            history: VecDeque::new(),
            occupants: BTreeMap::new(),
            sessions: HashMap::new(),
            everyone: None,
            called: Called::default(),
            spoken: Spoken::default(),
            absent: Absent::default(),
            is_gone: false,
            used: SystemTime::UNIX_EPOCH,
            secret,
            bounds,
        }
    }

    /// §10.1.1: nobody but the owner may enter before it is configured.
    pub fn is_locked(&self) -> bool {
        self.id.is_none()
    }

    /// Its archive, if it has one.
    pub fn archive(&self) -> Option<ArchiveId> {
        self.id.filter(|_| self.settings.archive).map(ArchiveId::of_room)
    }

    /// What a bare JID is to the room.
    pub fn affiliation(&self, bare: &str) -> Affiliation {
        self.standing.get(bare).map_or(Affiliation::None, |standing| standing.affiliation)
    }

    /// The affiliation that counts for an address: its own, or a ban of its domain (§9.2).
    pub fn effective(&self, jid: &Jid) -> Affiliation {
        match self.affiliation(jid.bare_str()) {
            Affiliation::None if self.affiliation(jid.domain()) == Affiliation::Outcast => {
                Affiliation::Outcast
            }
            own => own,
        }
    }

    /// The occupant behind a session.
    pub fn occupant_of(&self, session: &Jid) -> Option<&Occupant> {
        self.occupants.get(self.sessions.get(session)?)
    }

    /// The same, or the error for whoever is not in the room (§7.4, §7.5).
    pub fn speaker(&self, session: &Jid) -> Result<&Occupant, StanzaError> {
        self.occupant_of(session).ok_or_else(|| match self.is_locked() {
            // §17.2 rule 3: for others it is none yet.
            true => StanzaError::item_not_found(),
            false => StanzaError::not_acceptable().text("you are not in this room"),
        })
    }

    /// The occupant with this nickname, in any spelling.
    pub fn occupant(&self, nick: &str) -> Option<&Occupant> {
        let nick = Nick::of(nick, usize::MAX).ok()?;
        self.occupants.get(&*nick.key)
    }

    /// All occupants, in the order of their nicknames.
    pub fn occupants(&self) -> impl Iterator<Item = &Occupant> {
        self.occupants.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.occupants.len()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.occupants.is_empty()
    }

    /// The occupants of an account, which may have several nicknames.
    pub fn of_account<'a>(&'a self, bare: &'a str) -> impl Iterator<Item = &'a Occupant> {
        self.occupants.values().filter(move |occupant| occupant.bare() == bare)
    }

    /// The sessions of everybody.
    pub fn everyone(&mut self) -> Arc<[Jid]> {
        let all = || {
            let seats = self.occupants.values().flat_map(|occupant| &occupant.seats);
            seats.map(|seat| seat.jid.clone()).collect()
        };
        let everyone = self.everyone.take().unwrap_or_else(all);
        self.everyone = Some(everyone.clone());
        everyone
    }

    /// The sessions of occupants that fit.
    pub fn those(&self, fits: impl Fn(&Occupant) -> bool) -> Arc<[Jid]> {
        let fitting = self.occupants.values().filter(|occupant| fits(occupant));
        fitting.flat_map(|occupant| &occupant.seats).map(|seat| seat.jid.clone()).collect()
    }

    /// Who has reserved this nickname (§7.10), by its key.
    pub fn reserved_by(&self, key: &str) -> Option<&BareJid> {
        self.reserved.get(key)
    }

    /// Lists what somebody is to it, with its nickname.
    pub(super) fn list(&mut self, jid: BareJid, standing: Standing) {
        self.strike(&jid);
        if standing.affiliation < Affiliation::Member {
            self.called.forget(&jid);
        }
        if let Some(nick) = standing.nick.as_deref()
            && let Ok(nick) = Nick::of(nick, usize::MAX)
        {
            self.reserved.insert(nick.key, jid.clone());
        }
        self.standing.insert(jid, standing);
    }

    /// Knows nothing of somebody any more.
    pub(super) fn unlist(&mut self, jid: &BareJid) {
        self.strike(jid);
        self.called.forget(jid);
    }

    fn strike(&mut self, jid: &BareJid) {
        let had = self.standing.remove(jid);
        if let Some(nick) = had.and_then(|had| had.nick)
            && let Ok(nick) = Nick::of(&nick, usize::MAX)
            && self.reserved.get(&nick.key) == Some(jid)
        {
            self.reserved.remove(&nick.key);
        }
    }

    /// XEP-0421: the same for an account in this room whatever its nickname, and another one in each room.
    pub fn occupant_id(&self, bare: &str) -> String {
        occupant_id(&self.secret, bare)
    }

    /// A member has this nickname now.
    pub(super) fn call(&mut self, bare: &str, name: &str) {
        if self.affiliation(bare) >= Affiliation::Member {
            self.called.call(bare, name);
        }
    }

    /// Lists an occupant that has entered.
    pub(super) fn seat(&mut self, nick: Nick, jid: Jid, role: Role, seat: Seat) {
        self.call(seat.jid.bare_str(), &nick.text);
        let key: Arc<str> = Arc::from(&*nick.key);
        self.sessions.insert(seat.jid.clone(), key.clone());
        let seats = SmallVec::new();
        let occupant = self.occupants.entry(key).or_insert(Occupant { nick, jid, role, seats });
        occupant.seats.retain(|other| other.jid != seat.jid);
        occupant.seats.push(seat);
        self.everyone = None;
    }

    /// Takes a session out; whether its occupant is gone with it.
    pub(super) fn unseat(&mut self, session: &Jid) -> Option<(Occupant, bool)> {
        let key = self.sessions.remove(session)?;
        self.everyone = None;
        let occupant = self.occupants.get_mut(&key)?;
        let at = occupant.seats.iter().position(|seat| seat.jid == *session)?;
        let seat = occupant.seats.remove(at);
        if occupant.seats.is_empty() {
            let mut gone = self.occupants.remove(&key)?;
            // It may be a member since it entered.
            self.call(session.bare_str(), &gone.nick.text);
            gone.seats.push(seat);
            return Some((gone, true));
        }
        let (nick, jid, role) = (occupant.nick.clone(), occupant.jid.clone(), occupant.role);
        let seats = SmallVec::from_iter([seat]);
        Some((Occupant { nick, jid, role, seats }, false))
    }

    /// Nobody is in it any more.
    pub(super) fn clear(&mut self) {
        self.occupants.clear();
        self.sessions.clear();
        self.everyone = None;
    }

    /// Called when anything was done in it: a room that nobody is left in and that does not stay is gone.
    pub(super) fn settle(&mut self, now: SystemTime, out: &mut Outputs) {
        self.used = now;
        if self.is_empty() && !self.is_gone && (self.is_locked() || !self.settings.persistent) {
            self.is_gone = true;
            out.vanished = true;
        }
    }
}
