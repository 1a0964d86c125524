//! Changes of affiliations that were judged right (XEP-0045 §5.2.2): what they come to together, how they are written,
//! and how they are done.

use std::collections::BTreeMap;

use super::nick::Nick;
use super::outputs::Outputs;
use super::rights::Affiliation;
use super::room::{Room, Standing};
use super::rows;
use super::standing::By;
use crate::jid::BareJid;
use crate::stanza::StanzaError;
use crate::store::StoreError;
use crate::store::ids::RoomId;
use crate::store::tx::Tx;
use crate::xml::writer::escape_attr;

/// What somebody is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whom it is about.
    pub jid: BareJid,
    /// What it is to be.
    pub affiliation: Affiliation,
    /// The nickname that is kept for it.
    pub nick: Reserved,
    /// Whose doing, and why.
    pub by: By,
}

/// What becomes of the nickname that is kept for somebody (§9.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// As it was.
    Keep,
    /// This one.
    Set(Nick),
    /// None.
    Unset,
}

/// Changes that are written together.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    list: Vec<(BareJid, Standing, By)>,
    /// People who are not listed any more, of whom not even that is remembered.
    forget: Vec<BareJid>,
    /// The version up to which people were forgotten.
    forgotten: i64,
    /// Who had no affiliation and is a member now.
    pub newcomers: Vec<BareJid>,
}

impl Changes {
    /// What these come to, one after the other: each that changes a list, be it a nickname in it, has a version of its
    /// own (XEP-0463 §5.2.2). All or nothing.
    pub fn of(room: &Room, wanted: Vec<Wanted>) -> Result<Self, StanzaError> {
        let mut after: BTreeMap<BareJid, Standing> = BTreeMap::new();
        let mut made = Self { forgotten: room.forgotten, ..Self::default() };
        let (mut version, mut nicks) = (room.version, Nicks::new());
        for Wanted { jid, affiliation, nick, by } in wanted {
            let had = after.get(&jid).or_else(|| room.standing.get(&jid)).cloned();
            let had = had.unwrap_or_default();
            let mut now = had.clone();
            now.affiliation = affiliation;
            let kept = had.nick.clone();
            now.nick = nick_of((room, &nicks), &jid, affiliation, (kept, nick))?;
            now.reason = by.reason.clone().filter(|_| affiliation == Affiliation::Outcast);
            if (now.affiliation, &now.nick) != (had.affiliation, &had.nick) {
                version += 1;
                now.version = version;
            }
            if now == had {
                continue;
            }
            if had.affiliation == Affiliation::None && affiliation == Affiliation::Member {
                made.newcomers.push(jid.clone());
            }
            for (nick, owner) in [(&had.nick, None), (&now.nick, Some(jid.clone()))] {
                let nick = nick.as_deref().and_then(|nick| Nick::of(nick, usize::MAX).ok());
                nicks.extend(nick.map(|nick| (nick.key, owner)));
            }
            after.insert(jid.clone(), now.clone());
            made.list.push((jid, now, by));
        }
        made.newcomers
            .retain(|jid| after.get(jid).is_some_and(|now| now.affiliation >= Affiliation::Member));
        is_owned(room, &after)?;
        is_bounded(room, &after)?;
        made.forget(room, &after);
        Ok(made)
    }

    /// Of those who are not listed any more only the last ones are remembered.
    fn forget(&mut self, room: &Room, after: &BTreeMap<BareJid, Standing>) {
        let mut unlisted: Vec<(i64, &BareJid)> = whole(room, after)
            .filter(|(_, one)| !is_listed(one))
            .map(|(jid, one)| (one.version, jid))
            .collect();
        let Some(over) = unlisted.len().checked_sub(UNLISTED_MAX) else { return };
        unlisted.sort_unstable();
        for (version, jid) in unlisted.into_iter().take(over) {
            self.forgotten = self.forgotten.max(version);
            self.forget.push(jid.clone());
        }
    }

    /// Written; a room that is not stored yet keeps them in memory until it is.
    pub fn write(&self, tx: &mut dyn Tx, room: Option<RoomId>) -> Result<(), StoreError> {
        let Some(room) = room else { return Ok(()) };
        for (jid, standing, _) in &self.list {
            rows::stand(tx, room, jid.as_str(), standing)?;
        }
        for jid in &self.forget {
            rows::unlist(tx, room, jid.as_str(), self.forgotten)?;
        }
        Ok(())
    }

    /// Committed: done, and told.
    pub fn apply(self, room: &mut Room, out: &mut Outputs) {
        for (jid, standing, by) in self.list {
            room.stand(&jid, standing, &by, out);
        }
        for jid in &self.forget {
            room.unlist(jid);
        }
        room.forgotten = room.forgotten.max(self.forgotten);
    }
}

/// Nicknames that these changes give and take, by their keys.
type Nicks = BTreeMap<Box<str>, Option<BareJid>>;

/// §9.1, §9.4: who is banned or no member any more has no nickname of its own. §7.10: nobody gets another's.
fn nick_of(
    (room, nicks): (&Room, &Nicks),
    jid: &BareJid,
    affiliation: Affiliation,
    (had, wanted): (Option<String>, Reserved),
) -> Result<Option<String>, StanzaError> {
    if affiliation < Affiliation::Member {
        return Ok(None);
    }
    let nick = match wanted {
        Reserved::Keep => return Ok(had),
        Reserved::Unset => return Ok(None),
        Reserved::Set(nick) => nick,
    };
    let owner = match nicks.get(&nick.key) {
        Some(owner) => owner.as_ref(),
        None => room.reserved_by(&nick.key),
    };
    match owner {
        Some(other) if other != jid => {
            Err(StanzaError::conflict().text("this nickname is somebody else's here"))
        }
        _ => Ok(Some(nick.text.into())),
    }
}

/// §10.4, §10.5: the last owner stays one.
pub fn is_owned(room: &Room, after: &BTreeMap<BareJid, Standing>) -> Result<(), StanzaError> {
    match whole(room, after).any(|(_, one)| one.affiliation == Affiliation::Owner) {
        true => Ok(()),
        false => Err(StanzaError::conflict().text("a room needs an owner")),
    }
}

/// There may be so many, and their lists so long: they are read in one answer, which has to fit into an outbox. A room
/// that has more already may have as much.
pub fn is_bounded(room: &Room, after: &BTreeMap<BareJid, Standing>) -> Result<(), StanzaError> {
    let now = whole(room, after).filter(|(_, one)| is_listed(one)).count();
    let max = room.bounds.affiliations_max;
    if now > max && now > listed(room) {
        let text = format!("a room may have {max} people with an affiliation");
        return Err(StanzaError::resource_constraint().text(text));
    }
    let bytes = weigh(whole(room, after));
    let max = room.bounds.affiliations_bytes_max;
    if bytes > max && bytes > weigh(room.standing.iter()) {
        let text = format!("the lists of a room may have {max} bytes, with nicknames and reasons");
        return Err(StanzaError::resource_constraint().text(text));
    }
    Ok(())
}

/// What the lists take that these people are in, as they are sent.
fn weigh<'a>(people: impl Iterator<Item = (&'a BareJid, &'a Standing)>) -> usize {
    let text = |text: &Option<String>| text.as_deref().map_or(0, |text| escape_attr(text).len());
    let weight = |(jid, one): (&BareJid, &Standing)| {
        ITEM_BYTES + jid.as_str().len() + text(&one.nick) + text(&one.reason)
    };
    people.filter(|(_, one)| is_listed(one)).map(weight).sum()
}

/// How many there are.
pub fn listed(room: &Room) -> usize {
    room.standing.values().filter(|one| is_listed(one)).count()
}

/// Everybody of whom the room knows something, after these changes.
fn whole<'a>(
    room: &'a Room,
    after: &'a BTreeMap<BareJid, Standing>,
) -> impl Iterator<Item = (&'a BareJid, &'a Standing)> {
    let same = room.standing.iter().filter(|(jid, _)| !after.contains_key(*jid));
    same.chain(after)
}

fn is_listed(standing: &Standing) -> bool {
    standing.affiliation != Affiliation::None || standing.nick.is_some()
}

/// `<item affiliation='outcast' jid='' nick=''><reason></reason></item>`
const ITEM_BYTES: usize = 68;
/// People of whom a room remembers that they were listed once.
const UNLISTED_MAX: usize = 1_000;
