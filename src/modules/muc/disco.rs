//! Service discovery of rooms (XEP-0045 §6.3 to §6.6, §7.12): which there are, what they are, and who is in them.

use std::sync::Arc;

use super::names::{HATS, INFO, ITEMS, MODERATE, MODERATE_OLD, OCCUPANT_ID, VCARD, identity};
use super::rights::{Affiliation, Role};
use super::room::Room;
use super::rooms::Hold;
use super::route::Route;
use super::settings::{Pm, Settings, Whois};
use super::versions::MAV;
use super::{Rooms, hats, rows};
use crate::jid::{BareJid, Jid};
use crate::modules::api::{Cx, Reply};
use crate::modules::mam;
use crate::stanza::StanzaError;
use crate::stanza::form::{Written, field, start};
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::rsm::{Rsm, Set};
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Questions to rooms.
pub(super) const ROUTES: &[Route] = &[
    Route {
        ty: IqType::Get,
        ns: INFO,
        name: "query",
        handler: |cx, hold, iq| Box::pin(async move { info(&cx, &hold, &iq) }),
    },
    Route {
        ty: IqType::Get,
        ns: ITEMS,
        name: "query",
        handler: |cx, hold, iq| Box::pin(async move { items(&cx, &hold, &iq) }),
    },
];

/// §7.12
const RESERVED: &str = "x-roomuser-item";
/// §18.1.1
const TRAFFIC: &str = "http://jabber.org/protocol/muc#traffic";
const ROOM_INFO: &str = "http://jabber.org/protocol/muc#roominfo";

/// What every room can.
const FEATURES: &[&str] = &[
    ns::MUC,
    "http://jabber.org/protocol/muc#stable_id",
    "http://jabber.org/protocol/muc#self-ping-optimization",
    "http://jabber.org/protocol/muc#register",
    "jabber:iq:register",
    INFO,
    ITEMS,
    ns::PING,
    ns::COMMANDS,
    ns::STANZA_ID,
    OCCUPANT_ID,
    HATS,
    VCARD,
    MAV,
];

/// What it can with an archive. XEP-0425 goes by the ids in it.
const ARCHIVE_FEATURES: &[&str] =
    &[MODERATE, MODERATE_OLD, ns::RETRACT, "urn:xmpp:message-retract:1#tombstone"];

impl Room {
    /// Whether somebody may see what the room is about: who may enter, and everybody of a room that can be found.
    pub(super) fn may_see(&self, who: &Jid) -> Result<(), StanzaError> {
        let is_banned = self.effective(who) == Affiliation::Outcast;
        match self.settings.public && !is_banned && !self.is_locked() {
            true => Ok(()),
            false => self.may_look(who),
        }
    }
}

fn node(iq: &Iq) -> Option<String> {
    let doc = iq.stanza().element().view();
    let node = doc.root().first_child()?.attr("node")?;
    (!node.is_empty()).then(|| node.to_owned())
}

/// §6.4
fn info(cx: &Cx, hold: &Hold, iq: &Iq) -> Result<Reply, StanzaError> {
    let room = hold.lock();
    let asker = cx.jid();
    // §10.1.1: until it is configured it is nobody else's business.
    if room.is_locked() {
        room.may_look(asker)?;
    }
    let node = node(iq);
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", INFO).attr_opt("node", node.as_deref());
    match node.as_deref() {
        None => {
            let sees = room.may_see(asker).is_ok();
            write_info(cx, &room, sees, &mut xml);
        }
        Some(RESERVED) => {
            let standing = room.standing.get(asker.bare_str());
            if let Some(nick) = standing.and_then(|standing| standing.nick.as_deref()) {
                identity(&mut xml, "conference", "text", Some(nick));
            }
        }
        // §18.1.1: nothing is taken out that others may say.
        Some(TRAFFIC) => return Err(StanzaError::service_unavailable()),
        Some(node) => hats::write_info(&room, asker, node, &mut xml)?,
    }
    xml.end();
    Ok(Reply::payload(xml.finish()))
}

/// §6.4. Whoever may neither find it nor enter it learns what its own way in would need, and no more.
fn write_info(cx: &Cx, room: &Room, sees: bool, xml: &mut Xml) {
    let name = Some(room.settings.name.as_str()).filter(|name| sees && !name.is_empty());
    identity(xml, "conference", "text", name);
    let mut features: Vec<&str> = FEATURES.to_vec();
    if room.archive().is_some() {
        features.extend(ARCHIVE_FEATURES);
        features.extend(mam::features(cx));
    }
    features.extend(configured(&room.settings));
    for feature in features {
        xml.start("feature").attr("var", feature).end();
    }
    if sees {
        write_form(room, xml);
    }
}

/// §16.3: what the configuration makes of it.
fn configured(settings: &Settings) -> [&'static str; 6] {
    let one_of = |is: bool, yes, no| if is { yes } else { no };
    [
        one_of(settings.public, "muc_public", "muc_hidden"),
        one_of(settings.persistent, "muc_persistent", "muc_temporary"),
        one_of(settings.members_only, "muc_membersonly", "muc_open"),
        one_of(settings.moderated, "muc_moderated", "muc_unmoderated"),
        one_of(settings.whois == Whois::Anyone, "muc_nonanonymous", "muc_semianonymous"),
        one_of(settings.password.is_some(), "muc_passwordprotected", "muc_unsecured"),
    ]
}

/// §6.4, §16.5.4, XEP-0486 §3.3, XEP-0317 §2, XEP-0500 §5.2. There are no logs and no groups of a directory to name.
fn write_form(room: &Room, xml: &mut Xml) {
    let now = &room.settings;
    start(xml, Written::Result, ROOM_INFO);
    let mut one = |ty: &str, var: &str, value: &str| field(xml, ty, var, &[value]);
    let flag = |value: bool| if value { "1" } else { "0" };
    one("text-single", "muc#roomconfig_roomname", &now.name);
    one("text-single", "muc#roominfo_description", &now.description);
    one(
        "text-single",
        "muc#roominfo_subject",
        room.subject.as_ref().map_or("", |subject| &subject.text),
    );
    one("boolean", "muc#roominfo_subjectmod", flag(now.change_subject));
    one("boolean", "muc#roomconfig_changesubject", flag(now.change_subject));
    one("boolean", "muc#roomconfig_allowinvites", flag(now.invites));
    one("list-single", "muc#roomconfig_allowpm", whom(now.private_messages));
    one("text-single", "muc#roominfo_occupants", &room.len().to_string());
    one("text-single", "muc#roominfo_lang", &now.language);
    one("text-single", "muc#maxhistoryfetch", &now.history.to_string());
    one("text-single", "muc#roominfo_slow_mode_duration", &now.slow_mode.to_string());
    if let Some(hash) = now.looks.hash() {
        one("text-single", "hats#hash", &hash);
    }
    let contacts: Vec<&str> = now.contacts.iter().map(String::as_str).collect();
    let avatar: Vec<&str> = now.looks.avatar.iter().map(String::as_str).collect();
    for (ty, var, values) in [
        ("jid-multi", "muc#roominfo_contactjid", contacts),
        ("text-multi", "muc#roominfo_avatarhash", avatar),
    ] {
        if !values.is_empty() {
            field(xml, ty, var, &values);
        }
    }
    xml.end();
}

fn whom(pm: Pm) -> &'static str {
    match pm {
        Pm::Anyone => "anyone",
        Pm::Participants => "participants",
        Pm::Moderators => "moderators",
        Pm::None => "none",
    }
}

/// §6.5: who is in it, for those who are in it, too, and see them.
fn items(cx: &Cx, hold: &Hold, iq: &Iq) -> Result<Reply, StanzaError> {
    let room = hold.lock();
    if room.is_locked() {
        room.may_look(cx.jid())?;
    }
    let node = node(iq);
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ITEMS).attr_opt("node", node.as_deref());
    match node.as_deref() {
        None => {
            let viewer = room.occupant_of(cx.jid());
            let shown = room.occupants().filter(|one| {
                viewer.is_some_and(|viewer| {
                    viewer.jid == one.jid
                        || viewer.role == Role::Moderator
                        || room.settings.broadcast.shows(one.role)
                })
            });
            for occupant in shown {
                xml.start("item").attr("jid", occupant.jid.as_str()).end();
            }
        }
        Some(node) => hats::write_items(&room, cx.jid(), node, &mut xml)?,
    }
    xml.end();
    Ok(Reply::payload(xml.finish()))
}

/// §6.6: a question to an occupant from somebody who is not in the room.
pub(super) fn asks_occupant(iq: &Iq) -> bool {
    matches!(iq.payload(), (INFO | ITEMS, "query"))
}

/// §6.3: the rooms that can be found, in the order of their addresses.
pub(super) async fn rooms(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    if node(&iq).is_some() {
        return Err(StanzaError::item_not_found());
    }
    let rsm = {
        let doc = iq.stanza().element().view();
        Rsm::read(doc.root().first_child().ok_or_else(StanzaError::bad_request)?)?
    };
    if rsm.index.is_some() {
        // XEP-0059 §2.6
        return Err(StanzaError::feature_not_implemented().text("pages are asked for by addresses"));
    }
    let domain = iq.to().map_or("", |to| to.domain()).to_owned();
    let asked = rsm.clone();
    let max = rsm.max.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let read = move |tx: &mut dyn Tx| {
        let page = match &asked.before {
            Some(before) => rows::public_before(tx, &domain, before, max + 1)?,
            None => rows::public_after(tx, &domain, asked.after.as_deref().unwrap_or(""), max + 1)?,
        };
        Ok((page, rows::public_count(tx, &domain)?))
    };
    let (mut page, count) = cx.store.read(read).await?;
    let more = page.len() > max;
    if more && rsm.before.is_some() {
        page.remove(0);
    }
    page.truncate(max);
    Ok(listed(&cx, page, count, more || rsm != Rsm::default()))
}

fn listed(cx: &Cx, page: Vec<(String, Settings)>, count: usize, is_page: bool) -> Reply {
    let edges =
        page.first().zip(page.last()).map(|(first, last)| (first.0.clone(), last.0.clone()));
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ITEMS);
    for (jid, settings) in page {
        if cx.rooms().is_there(&jid, &settings) {
            let name = Some(settings.name.as_str()).filter(|name| !name.is_empty());
            xml.start("item").attr("jid", &jid).attr_opt("name", name).end();
        }
    }
    if is_page {
        let edges = edges.as_ref().map(|(first, last)| (first.as_str(), last.as_str()));
        Set { edges, index: None, count: Some(count) }.write(&mut xml);
    }
    xml.end();
    Reply::payload(xml.finish())
}

impl Rooms {
    /// A room that does not stay is there while somebody is in it; a crash may have left its row.
    pub(super) fn is_there(&self, jid: &str, settings: &Settings) -> bool {
        settings.public && (settings.persistent || self.size(jid) > 0)
    }

    /// How many are in it now.
    pub(super) fn size(&self, jid: &str) -> usize {
        let hold = BareJid::parse(jid).ok().and_then(|jid| self.find(&jid));
        hold.map_or(0, |hold: Arc<Hold>| hold.lock().len())
    }
}

/// Rooms in one answer.
const PAGE_MAX: usize = 250;
