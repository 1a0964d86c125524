//! What owners do (XEP-0045 §10): configure a room, for the first time or again, and destroy it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::changes::{is_bounded, is_owned};
use super::deliver::{Plan, change};
use super::form::{self, Wanted};
use super::leave::Gone;
use super::letters::short;
use super::outputs::Outputs;
use super::rights::Affiliation;
use super::room::{Room, Standing};
use super::rooms::Hold;
use super::route::Route;
use super::rows;
use super::settings::{Settings, Whois};
use super::show::{Form as Shown, Item};
use super::standing::By;
use crate::base::time::micros;
use crate::jid::{BareJid, Jid};
use crate::modules::api::{Cx, Reply};
use crate::stanza::form::Form;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Stanza, StanzaError};
use crate::store::ids::RoomId;
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

const OWNER: &str = "http://jabber.org/protocol/muc#owner";

/// Requests in the namespace of owners.
pub(super) const ROUTES: &[Route] = &[
    Route {
        ty: IqType::Get,
        ns: OWNER,
        name: "query",
        handler: |cx, hold, _| Box::pin(async move { show(&cx, &hold) }),
    },
    Route {
        ty: IqType::Set,
        ns: OWNER,
        name: "query",
        handler: |cx, hold, iq| Box::pin(set(cx, hold, iq)),
    },
];

pub(super) fn only_owners(room: &Room, jid: &Jid) -> Result<(), StanzaError> {
    match room.affiliation(jid.bare_str()) {
        Affiliation::Owner => Ok(()),
        _ => Err(StanzaError::forbidden().text("only owners of the room may do this")),
    }
}

/// §10.1.3, §10.2: the form.
fn show(cx: &Cx, hold: &Hold) -> Result<Reply, StanzaError> {
    let room = hold.lock();
    only_owners(&room, cx.jid())?;
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", OWNER);
    form::write(&mut xml, &room);
    xml.end();
    Ok(Reply::payload(xml.finish()))
}

async fn set(cx: Cx, hold: Arc<Hold>, iq: Iq) -> Result<Reply, StanzaError> {
    only_owners(&hold.lock(), cx.jid())?;
    let asked = {
        let doc = iq.stanza().element().view();
        let query = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        Asked::read(query)?
    };
    match asked {
        Asked::Configure => configure(&cx, &hold, move |room| read(&iq, room)).await,
        Asked::Cancel => {
            let is_locked = hold.lock().is_locked();
            // §10.1.2: a room that was never configured is none; one that was stays as it is.
            if is_locked { destroy(&cx, &hold, Venue::default()).await } else { Ok(Reply::empty()) }
        }
        Asked::Destroy(venue) => destroy(&cx, &hold, venue).await,
    }
}

enum Asked {
    Configure,
    Cancel,
    Destroy(Venue),
}

/// Where the room's occupants may go, and why.
#[derive(Debug, Clone, Default)]
pub(super) struct Venue {
    pub(super) jid: Option<String>,
    pub(super) password: Option<String>,
    pub(super) reason: Option<String>,
}

impl Asked {
    fn read(query: Node<'_>) -> Result<Self, StanzaError> {
        if let Some(destroy) = query.child(OWNER, "destroy") {
            let jid = destroy.attr("jid").map(BareJid::parse).transpose();
            // Each occupant gets a copy: neither may be long.
            let reason = short(destroy.child_text(OWNER, "reason"))?;
            let password = destroy.child_text(OWNER, "password");
            short(password)?;
            return Ok(Self::Destroy(Venue {
                jid: jid.map_err(|_| StanzaError::jid_malformed())?.map(|jid| jid.to_string()),
                password: password.map(str::to_owned),
                reason,
            }));
        }
        let x = query.child(ns::DATA_FORM, "x").ok_or_else(StanzaError::bad_request)?;
        if x.attr("type") == Some("cancel") {
            return Ok(Self::Cancel);
        }
        Ok(Self::Configure)
    }
}

/// What a form comes to, now: it may leave out what another owner changes at this moment.
fn read(iq: &Iq, room: &Room) -> Result<Wanted, StanzaError> {
    let doc = iq.stanza().element().view();
    let query = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
    let form = Form::submitted(query)?.ok_or_else(StanzaError::bad_request)?;
    form::read(&form, room, room.bounds)
}

/// §10.1.3, §10.2: durable before it is in force.
pub(super) async fn configure(
    cx: &Cx,
    hold: &Arc<Hold>,
    wanted: impl FnOnce(&Room) -> Result<Wanted, StanzaError> + Send + 'static,
) -> Result<Reply, StanzaError> {
    let (by, at) = (cx.jid().clone(), micros(cx.now));
    change(cx, hold, move |room| {
        only_owners(room, &by)?;
        let wanted = wanted(room)?;
        let standings = standings(room, &wanted)?;
        // These have requests of their own.
        let looks = room.settings.looks.clone();
        let new = Settings { looks, ..wanted.settings };
        let actor = room.occupant_of(&by).map(|occupant| occupant.nick.text.to_string());
        let (settings, changes) = (new.clone(), standings.clone());
        let (id, jid, secret) = (room.id, room.jid.clone(), room.secret);
        // All that are known when it is first stored, its creator before the others.
        let known = room.standing.clone();
        let write = move |tx: &mut dyn Tx| {
            let id = match id {
                Some(id) => {
                    rows::configure(tx, id, &settings)?;
                    id
                }
                None => {
                    let id = rows::create(tx, jid.as_str(), by.bare_str(), &settings, &secret, at)?;
                    for (jid, standing) in &known {
                        rows::stand(tx, id, jid.as_str(), standing)?;
                    }
                    id
                }
            };
            for (jid, standing) in &changes {
                rows::stand(tx, id, jid.as_str(), standing)?;
            }
            Ok(id)
        };
        let apply = move |room: &mut Room, id: RoomId, out: &mut Outputs| {
            let by = By { actor, ..By::default() };
            // Who becomes an admin is none of those who leave a room that is for members only now.
            for (jid, standing) in standings {
                room.stand(&jid, standing, &by, out);
            }
            let out = room.configured(id, new, out);
            Reply { out, ..Reply::empty() }
        };
        Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
    })
    .await
}

/// What the lists of owners and admins in the form change. §10.2: the last owner stays.
fn standings(room: &Room, wanted: &Wanted) -> Result<BTreeMap<BareJid, Standing>, StanzaError> {
    let mut after: BTreeMap<BareJid, Affiliation> = BTreeMap::new();
    for (list, affiliation) in
        [(&wanted.admins, Affiliation::Admin), (&wanted.owners, Affiliation::Owner)]
    {
        let Some(list) = list else { continue };
        let had = room.standing.iter().filter(|(_, had)| had.affiliation == affiliation);
        // Who is struck off a list is a member (§10.7); an owner an admin (§10.2), unless the list of admins is there,
        // too, and does without.
        let next = match affiliation {
            Affiliation::Owner if wanted.admins.is_none() => Affiliation::Admin,
            _ => Affiliation::Member,
        };
        let off = had.filter(|(jid, _)| !list.contains(jid));
        // An owner who is among the admins now is one.
        for (jid, _) in off {
            after.entry(jid.clone()).or_insert(next);
        }
        after.extend(list.iter().map(|jid| (jid.clone(), affiliation)));
    }
    after.retain(|jid, affiliation| room.affiliation(jid.as_str()) != *affiliation);
    // XEP-0463: each change has a version of its own.
    let changed = after.into_iter().zip(room.version + 1..).map(|((jid, affiliation), version)| {
        let had = room.standing.get(&jid).cloned().unwrap_or_default();
        (jid, Standing { affiliation, reason: None, version, ..had })
    });
    let changed = changed.collect();
    is_owned(room, &changed)?;
    is_bounded(room, &changed)?;
    Ok(changed)
}

impl Room {
    /// The configuration is committed; what follows the answer.
    fn configured(&mut self, id: RoomId, new: Settings, out: &mut Outputs) -> Vec<Stanza> {
        let is_first = self.id.is_none();
        self.id = Some(id);
        let old = std::mem::replace(&mut self.settings, new);
        if !self.settings.archive {
            // What is not kept any more is not shown to newcomers as though it were.
            self.history.iter_mut().for_each(|kept| kept.seq = 0);
        }
        let codes = codes(&old, &self.settings);
        let behind = match is_first {
            _ if codes.is_empty() => Vec::new(),
            true => self.announced_first(&codes),
            false => {
                self.announce_codes(&codes, out);
                Vec::new()
            }
        };
        if self.settings.members_only && !old.members_only {
            self.expel_strangers(out);
        }
        if self.settings.whois == Whois::Anyone && old.whois != Whois::Anyone {
            self.show_addresses(out);
        }
        behind
    }

    /// §10.2: who is no member leaves a room that is for members only now.
    fn expel_strangers(&mut self, out: &mut Outputs) {
        let strangers = self
            .occupants
            .iter()
            .filter(|(_, occupant)| self.affiliation(occupant.bare()) < Affiliation::Member);
        let keys: Vec<Arc<str>> = strangers.map(|(key, _)| key.clone()).collect();
        for key in keys {
            let gone = Gone { codes: vec![322], ..Gone::default() };
            self.remove(&key, &gone, out);
        }
    }

    /// Everybody is shown anew to those who did not see real addresses until now.
    fn show_addresses(&self, out: &mut Outputs) {
        let viewers = self.those(|one| one.role < super::rights::Role::Moderator);
        for viewer in viewers.iter() {
            self.present(viewer, out);
        }
    }
}

/// §10.2.1
fn codes(old: &Settings, new: &Settings) -> Vec<u16> {
    let mut codes = Vec::new();
    if new.archive != old.archive {
        codes.push(if new.archive { 170 } else { 171 });
    }
    if new.whois != old.whois {
        codes.push(if new.whois == Whois::Anyone { 172 } else { 173 });
    }
    let (archive, whois) = (new.archive, new.whois);
    if (Settings { archive, whois, ..old.clone() }) != *new {
        codes.push(104);
    }
    codes
}

/// §10.9
pub(super) async fn destroy(cx: &Cx, hold: &Arc<Hold>, venue: Venue) -> Result<Reply, StanzaError> {
    let by = cx.jid().clone();
    change(cx, hold, move |room| {
        only_owners(room, &by)?;
        let id = room.id;
        let write = move |tx: &mut dyn Tx| match id {
            Some(id) => rows::destroy(tx, id),
            None => Ok(()),
        };
        let apply = move |room: &mut Room, (), out: &mut Outputs| {
            room.destroyed(&venue, out);
            Reply::empty()
        };
        Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
    })
    .await
}

impl Room {
    /// §10.9: each occupant hears of its own end alone.
    fn destroyed(&mut self, venue: &Venue, out: &mut Outputs) {
        let mut xml = Xml::new();
        xml.start("destroy").attr_opt("jid", venue.jid.as_deref());
        for (name, text) in [("password", &venue.password), ("reason", &venue.reason)] {
            if let Some(text) = text {
                xml.element(name, None, text);
            }
        }
        xml.end();
        let more = xml.finish();
        for occupant in self.occupants.values() {
            let item = Item { more: &more, ..Item::default() };
            for seat in &occupant.seats {
                let seat = super::room::Seat { jid: seat.jid.clone(), shown: bytes::Bytes::new() };
                let form =
                    Shown { address: true, id: None, codes: &[super::show::SELF], more: &[] };
                let frame = self.presence(occupant, &seat, &item, form);
                out.tell_one(&seat.jid, &occupant.jid, super::show::UNAVAILABLE, frame);
            }
        }
        self.clear();
        self.is_gone = true;
        self.id = None;
        out.vanished = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Bounds;
    use super::*;
    use crate::modules::testing::Server;
    use crate::stanza::Stanza;
    use crate::store::testing;

    /// A form that leaves a field out does not undo what another owner sets at the same time.
    #[tokio::test]
    async fn two_owners_configure_at_once() {
        let server = Server::with(&["ann"]).await;
        let cx = server.session("ann@x/r").await;
        let jid = BareJid::parse("hall@rooms.x").unwrap();
        let (hold, _) =
            cx.rooms().create(&jid, cx.bare(), Settings::default(), [0; 32], Bounds::default());
        let ask = |field: &str, value: &str| {
            let xml = format!(
                "<iq type='set' id='1' from='ann@x/r' to='hall@rooms.x'><query xmlns='{OWNER}'>\
                 <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                 <value>{}</value></field><field var='muc#roomconfig_{field}'>\
                 <value>{value}</value></field></x></query></iq>",
                form::CONFIG
            );
            let iq = Iq::request(&Stanza::ours(xml.into()).unwrap()).unwrap().unwrap();
            set(cx.clone(), hold.clone(), iq)
        };
        ask("roomname", "Hall").await.unwrap();
        let held = testing::hold(&cx.store);
        let release = async { drop(held) };
        let (text, name, ()) =
            tokio::join!(ask("roomdesc", "fish"), ask("roomname", "Hut"), release);
        assert!(text.is_ok() && name.is_ok());
        let settings = hold.lock().settings.clone();
        assert_eq!((settings.name.as_str(), settings.description.as_str()), ("Hut", "fish"));
    }
}
