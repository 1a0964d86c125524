//! Rooms as they move: XEP-0227 has none, so these are the elements with which rooms are configured and asked.

use std::time::SystemTime;

use super::form;
use super::lists::ADMIN;
use super::names::VCARD;
use super::nick::Nick;
use super::rights::Affiliation;
use super::room::{Room, Standing};
use super::rows::{self, Stored};
use super::settings::{Preset, Settings};
use super::vcard;
use crate::base::id::{OsRng, Rng};
use crate::base::time::{exact, micros, parse};
use crate::jid::{BareJid, Jid};
use crate::modules::Config;
use crate::modules::api::{
    Giving, Holder, Moved, MovedRooms, Moves, Opened, Tag, Take, Taken, Taking, Untaken,
};
use crate::modules::mam::moves::{archived, give_archive, stored, take_message};
use crate::stanza::form::Form;
use crate::store::ids::RoomId;
use crate::store::tx::{StoreError, Tx, query_all, query_one, query_optional};
use crate::xml::ns;
use crate::xml::view::{Doc, Node};
use crate::xml::writer::Xml;

const OWNER: &str = "http://jabber.org/protocol/muc#owner";

/// What rooms have.
pub(super) const MOVES: Moves = Moves {
    takes: &[
        part("room configurations", &[(OWNER, "query")], ns::DATA_FORM, "x", configure),
        part("room affiliations", &[(ADMIN, "query")], ADMIN, "item", affiliate),
        part("room subjects", &[], ns::CLIENT, "message", subject),
        part("room vCards", &[], VCARD, "vCard", take_vcard),
        archived(Holder::Room, "room messages", take_message),
    ],
    settle: Some(settle),
    gives: &[(Holder::Room, give)],
    rooms: Some(MovedRooms { open, list }),
};

const fn part(
    what: &'static str,
    within: &'static [(&'static str, &'static str)],
    ns: &'static str,
    name: &'static str,
    take: Take,
) -> Moved {
    Moved { what, of: Holder::Room, within, ns, name, take }
}

/// A room that is made here is closed until its configuration says otherwise.
const CLOSED: Preset = Preset::Private;

fn open(tx: &mut dyn Tx, _: &Config, jid: &BareJid, now: SystemTime) -> Opened {
    let there = query_optional(tx, ID, &[jid.as_str().into()], |row| row.int(0))?;
    if let Some(id) = there {
        return Ok(Ok((id, false)));
    }
    if jid.local().is_none() {
        return Ok(Err("this is no address of a room".to_owned()));
    }
    let mut secret = [0; 32];
    OsRng.fill(&mut secret);
    let id = rows::create(tx, jid.as_str(), "", &CLOSED.settings(), &secret, micros(now))?;
    Ok(Ok((id.0, true)))
}

fn list(tx: &mut dyn Tx, after: &str) -> Result<Vec<(BareJid, i64)>, StoreError> {
    let rows = query_all(tx, LIST, &[after.into()], |row| Ok((row.text(0)?, row.int(1)?)))?;
    let read = |(jid, id): (String, i64)| Some((BareJid::parse(&jid).ok()?, id));
    Ok(rows.into_iter().filter_map(read).collect())
}

fn loaded(taking: &mut Taking<'_>) -> Result<Option<Stored>, StoreError> {
    rows::load(taking.tx, taking.owner.jid.as_str())
}

fn configure(taking: &mut Taking<'_>, _: &[Tag], element: Node<'_>) -> Result<Taken, StoreError> {
    let own = taking.owner.jid.to_string();
    let Some(there) = loaded(taking)? else { return Ok(Taken::not(own, "the room is gone")) };
    let looks = there.settings.looks.clone();
    if there.settings != (Settings { looks, ..CLOSED.settings() }) {
        return Ok(Taken::There);
    }
    let Ok(form) = Form::moved_form(element) else {
        return Ok(Taken::not(own, "its form cannot be read; it is members-only now"));
    };
    let bounds = taking.config.muc.bounds();
    let room = Room::new(taking.owner.jid.clone(), there.settings, there.secret, bounds);
    let wanted = match form::read(&form, &room, bounds) {
        Ok(wanted) => wanted.settings,
        Err(error) => {
            let text = error.text.unwrap_or_default();
            return Ok(Taken::not(own, format!("{text}; it is members-only now")));
        }
    };
    if wanted == room.settings {
        return Ok(Taken::There);
    }
    rows::configure(taking.tx, RoomId(taking.owner.key), &wanted)?;
    Ok(Taken::New)
}

fn affiliate(taking: &mut Taking<'_>, _: &[Tag], item: Node<'_>) -> Result<Taken, StoreError> {
    let which = item.attr("jid").unwrap_or_default().to_owned();
    let Ok(jid) = Jid::parse(&which) else { return Ok(Taken::not(which, "this is no address")) };
    let jid = jid.bare();
    let affiliation = item.attr("affiliation").unwrap_or("none");
    let Some(affiliation) = Affiliation::parse(affiliation) else {
        return Ok(Taken::not(which, format!("there is no affiliation `{affiliation}`")));
    };
    let bounds = taking.config.muc.bounds();
    let nick = match item.attr("nick").filter(|nick| !nick.is_empty()) {
        Some(nick) => match Nick::of(nick, bounds.nick_bytes_max) {
            Ok(nick) => Some(nick.text.into_string()),
            Err(error) => return Ok(Taken::not(which, error.text.unwrap_or_default())),
        },
        None => None,
    };
    if affiliation == Affiliation::None && nick.is_none() {
        return Ok(Taken::There);
    }
    let key = taking.owner.key;
    let there =
        query_optional(taking.tx, IS_LISTED, &[key.into(), jid.as_str().into()], |row| row.int(0))?;
    if there.is_some() {
        return Ok(Taken::There);
    }
    let (version, count) =
        query_one(taking.tx, VERSION, &[key.into()], |row| Ok((row.int(0)?, row.int(1)?)))?;
    let most = bounds.affiliations_max;
    if usize::try_from(count).is_ok_and(|count| count >= most) {
        let why = format!("{most} people are listed already (modules.muc.affiliations_max)");
        return Ok(Taken::not(which, why));
    }
    let reason = item.child_text(ADMIN, "reason").filter(|text| !text.is_empty());
    let reason = reason.filter(|text| text.len() <= REASON_MAX).map(str::to_owned);
    let standing = Standing { affiliation, nick, reason, version: version.saturating_add(1) };
    rows::stand(taking.tx, RoomId(key), jid.as_str(), &standing)?;
    if affiliation == Affiliation::Owner {
        taking.tx.execute(CREATOR, &[key.into(), jid.as_str().into()])?;
    }
    Ok(Taken::New)
}

fn subject(taking: &mut Taking<'_>, _: &[Tag], message: Node<'_>) -> Result<Taken, StoreError> {
    let own = taking.owner.jid.to_string();
    let Some(there) = loaded(taking)? else { return Ok(Taken::not(own, "the room is gone")) };
    if there.subject.is_some() {
        return Ok(Taken::There);
    }
    let stamp = message.child(ns::DELAY, "delay").and_then(|delay| parse(delay.attr("stamp")?));
    let at = micros(stamp.unwrap_or(taking.now).min(taking.now));
    let stanza = match stored(message, taking.owner) {
        Ok(stanza) => stanza,
        Err(why) => return Ok(Taken::not(own, why)),
    };
    let from = stanza.from();
    if from.bare_str() != own {
        return Ok(Taken::not(own, format!("it is from {from}, which is not in this room")));
    }
    let Some(text) = stanza.element().child_text(ns::CLIENT, "subject") else {
        return Ok(Taken::not(own, "there is no subject in it"));
    };
    // The room says it to whoever enters, with its time: nothing else that stood in the message is said in its name.
    let mut plain = Xml::new();
    plain.start("message").attr("type", "groupchat").attr("from", &from.to_string());
    plain.element("subject", None, &text).end();
    rows::subject(taking.tx, there.id, &plain.finish(), at)?;
    Ok(Taken::New)
}

fn take_vcard(taking: &mut Taking<'_>, _: &[Tag], vcard: Node<'_>) -> Result<Taken, StoreError> {
    let own = taking.owner.jid.to_string();
    let id = RoomId(taking.owner.key);
    if rows::vcard(taking.tx, id)?.is_some() {
        return Ok(Taken::There);
    }
    let (Some(there), max) = (loaded(taking)?, taking.config.muc.vcard_bytes_max) else {
        return Ok(Taken::not(own, "the room is gone"));
    };
    match vcard::read(vcard, max) {
        Ok((None, _)) => Ok(Taken::There),
        Ok((Some(text), avatar)) => {
            let mut settings = there.settings;
            settings.looks.avatar = avatar;
            rows::set_vcard(taking.tx, id, Some(&text))?;
            rows::configure(taking.tx, id, &settings)?;
            Ok(Taken::New)
        }
        Err(error) => Ok(Taken::not(own, error.text.unwrap_or_default())),
    }
}

/// A room that nobody owns can be changed by nobody but the operator.
fn settle(taking: &mut Taking<'_>) -> Result<Vec<Untaken>, StoreError> {
    if taking.owner.holder != Holder::Room {
        return Ok(Vec::new());
    }
    let params = [taking.owner.key.into(), Affiliation::Owner.number().into()];
    let owned = query_optional(taking.tx, OWNED, &params, |row| row.int(0))?.is_some();
    let which = taking.owner.jid.to_string();
    let why = format!(
        "nobody owns it: `stonechat room affiliation {which} ADDRESS owner` makes somebody its owner"
    );
    Ok(if owned { Vec::new() } else { vec![Untaken { what: "owners of rooms", which, why }] })
}

fn give(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let Some(stored) = rows::load(giving.tx, giving.owner.jid.as_str())? else { return Ok(()) };
    let Stored { id, settings, secret, subject, standing, .. } = stored;
    let jid = giving.owner.jid.clone();
    let mut room = Room::new(jid, settings, secret, giving.config.muc.bounds());
    room.id = Some(id);
    let mut xml = Xml::new();
    form::write(&mut xml, &room);
    (giving.out)(&[Tag::new(OWNER, "query")], &xml.finish())?;
    for (jid, standing) in &standing {
        (giving.out)(&[Tag::new(ADMIN, "query")], &listed(jid, standing))?;
    }
    if let Some((message, at)) = subject
        && let Some(message) = dated(&message, at)
    {
        (giving.out)(&[], &message)?;
    }
    if let Some(vcard) = rows::vcard(giving.tx, id)? {
        (giving.out)(&[], &vcard)?;
    }
    give_archive(giving)
}

fn listed(jid: &BareJid, standing: &Standing) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("item").attr("xmlns", ADMIN).attr("jid", jid.as_str());
    xml.attr("affiliation", standing.affiliation.as_str());
    xml.attr_opt("nick", standing.nick.as_deref());
    if let Some(reason) = &standing.reason {
        xml.element("reason", None, reason);
    }
    xml.end();
    xml.finish().to_vec()
}

/// The message that set the subject, with its time.
fn dated(message: &[u8], at: i64) -> Option<Vec<u8>> {
    let stanza = crate::stanza::Stanza::ours(message.to_vec().into())?;
    let mut delay = Xml::new();
    delay.start("delay").attr("xmlns", ns::DELAY).attr("stamp", &exact(at)).end();
    let whole = stanza.frame_with(&delay.finish()).to_vec();
    let inside = crate::stanza::forward::forwarded(b"", &whole);
    let doc = Doc::of(&inside, ns::CLIENT).ok()?;
    Some(doc.root().first_child()?.raw().as_bytes().to_vec())
}

/// Bytes of a reason; one that is longer is left out.
const REASON_MAX: usize = 1_024;

crate::store::sql! {
    ID = "SELECT id FROM room WHERE jid = $1";
    LIST = "SELECT jid, id FROM room WHERE jid > $1 ORDER BY jid LIMIT 200";
    IS_LISTED = "SELECT 1 FROM room_affiliation WHERE room = $1 AND jid = $2";
    VERSION = "SELECT version, (SELECT COUNT(*) FROM room_affiliation WHERE room = $1)
        FROM room WHERE id = $1";
    CREATOR = "UPDATE room SET creator = $2 WHERE id = $1 AND creator = ''";
    OWNED = "SELECT 1 FROM room_affiliation WHERE room = $1 AND affiliation = $2 LIMIT 1";
}
