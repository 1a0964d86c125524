//! Registering with a room (XEP-0045 §7.10, XEP-0077): whoever may enter an open room may become a member of it, and
//! keep a nickname; where admins decide who is in, or who speaks, they are asked (§9.9).

use std::sync::Arc;

use super::changes::{Changes, Reserved, Wanted, listed};
use super::deliver::{Plan, change, change_for};
use super::letters::letter;
use super::nick::Nick;
use super::outputs::Outputs;
use super::rights::Affiliation;
use super::room::Room;
use super::rooms::Hold;
use super::route::Route;
use super::standing::By;
use crate::jid::{BareJid, Jid};
use crate::modules::api::{Cx, Reply};
use crate::router::handled_count::Ticket;
use crate::stanza::form::{self, Form, Written};
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Stanza, StanzaError};
use crate::store::tx::Tx;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

const NS: &str = "jabber:iq:register";
/// FORM_TYPE of registering.
pub const REGISTER: &str = "http://jabber.org/protocol/muc#register";
const NICK: &str = "muc#register_roomnick";
const ALLOW: &str = "muc#register_allow";
/// §9.9: "or supplement the following form with additional fields".
const WHO: &str = "{https://stonechat.im/muc}jid";

/// Requests to register.
pub(super) const ROUTES: &[Route] = &[
    Route {
        ty: IqType::Get,
        ns: NS,
        name: "query",
        handler: |cx, hold, _| Box::pin(async move { show(&cx, &hold) }),
    },
    Route {
        ty: IqType::Set,
        ns: NS,
        name: "query",
        handler: |cx, hold, iq| Box::pin(set(cx, hold, iq)),
    },
];

/// §7.12: the nickname that is kept for somebody, for `x-roomuser-item`.
pub fn reserved_nick(room: &Room, jid: &Jid) -> Option<String> {
    room.standing.get(jid.bare_str())?.nick.clone()
}

/// §7.10: who may not register hears `not-allowed`.
fn may_register(cx: &Cx, room: &Room) -> Result<(), StanzaError> {
    let own = room.effective(cx.jid());
    if room.is_locked() && own != Affiliation::Owner {
        // §7.2.10: it is none yet.
        return Err(StanzaError::item_not_found());
    }
    // Of an anonymous user nothing is left when it goes.
    let is_anonymous = cx.client().is_some() && cx.account().is_err();
    match own == Affiliation::Outcast || is_anonymous {
        true => Err(StanzaError::not_allowed().text("you may not register with this room")),
        false => Ok(()),
    }
}

fn show(cx: &Cx, hold: &Hold) -> Result<Reply, StanzaError> {
    let room = hold.lock();
    may_register(cx, &room)?;
    let nick = reserved_nick(&room, cx.jid());
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", NS);
    if room.affiliation(cx.jid().bare_str()) >= Affiliation::Member {
        xml.start("registered").end();
        if let Some(nick) = &nick {
            xml.element("username", None, nick);
        }
    }
    form::titled(&mut xml, Written::Form, &format!("Registration with {}", room.jid));
    form::field(&mut xml, "hidden", "FORM_TYPE", &[REGISTER]);
    xml.start("field").attr("type", "text-single").attr("var", NICK);
    xml.attr("label", "Desired nickname").start("required").end();
    if let Some(nick) = &nick {
        xml.element("value", None, nick);
    }
    xml.end().end().end();
    Ok(Reply::payload(xml.finish()))
}

enum Asked {
    Nick(Nick),
    /// XEP-0077 §3.2
    Remove,
}

impl Asked {
    fn read(query: Node<'_>, nick_bytes_max: usize) -> Result<Self, StanzaError> {
        if query.child(NS, "remove").is_some() {
            return match query.children().count() {
                1 => Ok(Self::Remove),
                _ => Err(bad("remove stands alone")),
            };
        }
        let form = Form::submitted(query)?.ok_or_else(|| bad("a form is missing"))?;
        if form.form_type() != Some(REGISTER) {
            return Err(bad("this is another form"));
        }
        let nick = form.value(NICK)?.ok_or_else(|| bad("a nickname is missing"))?;
        Nick::of(nick, nick_bytes_max).map(Self::Nick)
    }
}

async fn set(cx: Cx, hold: Arc<Hold>, iq: Iq) -> Result<Reply, StanzaError> {
    let asked = {
        let doc = iq.stanza().element().view();
        let query = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        Asked::read(query, cx.config.muc.nick_bytes_max)?
    };
    let jid = cx.bare();
    match asked {
        Asked::Remove => {
            may_register(&cx, &hold.lock())?;
            let is = hold.lock().affiliation(jid.as_str());
            match is {
                Affiliation::Owner | Affiliation::Admin => {
                    Err(StanzaError::not_allowed()
                        .text("owners decide who is an owner or an admin"))
                }
                Affiliation::Member => stand(&cx, &hold, leaving(jid)).await,
                _ => Err(StanzaError::registration_required()
                    .text("you are not registered with this room")),
            }
        }
        Asked::Nick(nick) => {
            let asks = {
                let room = hold.lock();
                may_register(&cx, &room)?;
                is_free(&room, &jid, &nick)?;
                // Nobody gets in, or gets voice, by registering where that is for others to give.
                let is_closed = room.settings.members_only || room.settings.moderated;
                // Members read the archive: who does not know the password does not become one by itself.
                let is_outside = room.settings.password.is_some()
                    && room.of_account(jid.as_str()).next().is_none();
                let is_closed = is_closed || is_outside;
                is_closed && room.affiliation(jid.as_str()) < Affiliation::Member
            };
            if asks {
                return ask_admins(&cx, &hold, &nick);
            }
            stand(&cx, &hold, joining(&hold, jid, nick)).await
        }
    }
}

fn leaving(jid: BareJid) -> Wanted {
    Wanted { jid, affiliation: Affiliation::None, nick: Reserved::Unset, by: By::default() }
}

/// Who is more than a member stays it.
fn joining(hold: &Hold, jid: BareJid, nick: Nick) -> Wanted {
    let affiliation = hold.lock().affiliation(jid.as_str()).max(Affiliation::Member);
    Wanted { jid, affiliation, nick: Reserved::Set(nick), by: By::default() }
}

/// §7.10: reserved, or in use by somebody else now.
fn is_free(room: &Room, jid: &BareJid, nick: &Nick) -> Result<(), StanzaError> {
    let reserved = room.reserved_by(&nick.key).is_some_and(|by| by != jid);
    let used = room.occupants.get(&*nick.key).is_some_and(|one| one.bare() != jid.as_str());
    match reserved || used {
        true => Err(StanzaError::conflict().text("this nickname is somebody else's here")),
        false => Ok(()),
    }
}

async fn stand(cx: &Cx, hold: &Arc<Hold>, wanted: Wanted) -> Result<Reply, StanzaError> {
    let is_leaving = wanted.affiliation == Affiliation::None;
    {
        // It is written, and everybody hears of it.
        let mut room = hold.lock();
        let max = room.bounds.invites_per_minute;
        room.letters.count(wanted.jid.as_str(), 1, cx.now, max)?;
    }
    let is_elsewhere = !cx.router.serves(wanted.jid.domain());
    change(cx, hold, move |room| {
        let now = room.effective(&wanted.jid);
        // What was seen before may be no more: a ban stays one, an owner an owner.
        let is_same = match is_leaving {
            true => now == Affiliation::Member,
            false => {
                now != Affiliation::Outcast && now.max(Affiliation::Member) == wanted.affiliation
            }
        };
        if !is_same {
            return Err(StanzaError::not_allowed().text("your affiliation has changed meanwhile"));
        }
        if now == Affiliation::None && !is_leaving {
            has_place(room, is_elsewhere.then(|| wanted.jid.domain()))?;
        }
        let changes = Changes::of(room, vec![wanted])?;
        let (id, written) = (room.id, changes.clone());
        let write = move |tx: &mut dyn Tx| written.write(tx, id);
        let apply = move |room: &mut Room, (), out: &mut Outputs| {
            changes.apply(room, out);
            Reply::empty()
        };
        Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
    })
    .await
}

/// Whoever registers leaves admins places for those whom they list or ban; and people of another server, who may be as
/// many as it likes, leave places for others.
fn has_place(room: &Room, elsewhere: Option<&str>) -> Result<(), StanzaError> {
    let max = room.bounds.affiliations_max;
    let neighbours = |domain| room.standing.keys().filter(|jid| jid.domain() == domain).count();
    let is_crowded = elsewhere.is_some_and(|domain| neighbours(domain) >= max / 4);
    match listed(room) < max.saturating_sub(max / 10) && !is_crowded {
        true => Ok(()),
        false => {
            let text = "so many have registered with this room that no more may";
            Err(StanzaError::resource_constraint().text(text))
        }
    }
}

/// §9.9: the form for admins, be they in the room or not.
fn ask_admins(cx: &Cx, hold: &Hold, nick: &Nick) -> Result<Reply, StanzaError> {
    let mut room = hold.lock();
    let max = room.bounds.invites_per_minute;
    let from = cx.jid().bare_str();
    room.letters.count(from, 1, cx.now, max)?;
    let admins = room.standing.iter().filter(|(_, one)| one.affiliation >= Affiliation::Admin);
    let out = admins.take(ADMINS_ASKED).filter_map(|(admin, _)| {
        letter(&room.jid, admin, None, |xml| approval(xml, from, &nick.text))
    });
    Ok(Reply { out: out.collect(), ..Reply::empty() })
}

fn approval(xml: &mut Xml, jid: &str, nick: &str) {
    form::titled(xml, Written::Form, "Registration request");
    form::field(xml, "hidden", "FORM_TYPE", &[REGISTER]);
    xml.element(
        "instructions",
        None,
        "To approve this registration request, select the \"Allow this person to register with the \
         room?\" checkbox and click OK. To skip this request, click the cancel button.",
    );
    for (ty, var, label, value) in [
        ("jid-single", WHO, "User ID", jid),
        ("text-single", NICK, "Desired nickname", nick),
        ("boolean", ALLOW, "Allow this person to register with the room?", "0"),
    ] {
        xml.start("field").attr("type", ty).attr("var", var).attr("label", label);
        xml.element("value", None, value).end();
    }
    xml.end();
}

/// What an admin says to a request to register.
#[derive(Debug)]
pub struct Approval {
    jid: BareJid,
    nick: Nick,
    allows: bool,
}

impl Approval {
    /// Reads the form that an admin sent back.
    pub fn read(form: &Form<'_>, nick_bytes_max: usize) -> Result<Self, StanzaError> {
        let one = |var| form.value(var)?.ok_or_else(|| bad("a field is missing"));
        let jid = Jid::parse(one(WHO)?).map_err(|_| StanzaError::jid_malformed())?.bare();
        let nick = Nick::of(one(NICK)?, nick_bytes_max)?;
        let allows = form.value(ALLOW)?.is_some_and(|allows| matches!(allows, "1" | "true"));
        Ok(Self { jid, nick, allows })
    }
}

/// §9.9: the admin gives membership, as it may do at any time (§9.3).
pub(super) async fn approve(
    cx: &Cx,
    (hold, ticket): (&Arc<Hold>, Option<Ticket>),
    by: Jid,
    approval: Approval,
) -> Result<Vec<Stanza>, StanzaError> {
    if hold.lock().affiliation(by.bare_str()) < Affiliation::Admin {
        return Err(StanzaError::forbidden().text("only admins of the room may do this"));
    }
    if !approval.allows {
        return Ok(Vec::new());
    }
    let now = cx.now;
    change_for(cx, hold, ticket, move |room| {
        let Approval { jid, nick, .. } = approval;
        if room.affiliation(by.bare_str()) < Affiliation::Admin {
            return Err(StanzaError::forbidden());
        }
        is_free(room, &jid, &nick)?;
        let had = room.affiliation(jid.as_str());
        if had == Affiliation::Outcast {
            // Between the request and the approval it was banned.
            return Err(StanzaError::not_allowed().text("this address is banned from the room"));
        }
        let actor = room.occupant_of(&by).map(|occupant| occupant.nick.text.to_string());
        let author = By { actor, ..By::default() };
        let affiliation = had.max(Affiliation::Member);
        let wanted = Wanted { jid, affiliation, nick: Reserved::Set(nick), by: author };
        let changes = Changes::of(room, vec![wanted])?;
        let (id, written) = (room.id, changes.clone());
        let write = move |tx: &mut dyn Tx| written.write(tx, id);
        let apply = move |room: &mut Room, (), out: &mut Outputs| {
            let newcomers = changes.newcomers.clone();
            changes.apply(room, out);
            room.welcome(&newcomers, (by.bare_str(), now), out);
            Vec::new()
        };
        Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
    })
    .await
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::bad_request().text(text)
}

/// Admins who are asked.
const ADMINS_ASKED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::muc::Config;
    use crate::modules::muc::room::Standing;
    use crate::modules::muc::settings::Settings;

    /// §7.12
    #[test]
    fn a_nickname_is_found_by_whom_it_is_kept_for() {
        let room = BareJid::parse("hall@rooms.example").unwrap();
        let bounds = Config::default().bounds();
        let mut room = Room::new(room, Settings::default(), [0; 32], bounds);
        for (jid, nick) in [("ann@a.example", Some("Ann  B")), ("bob@a.example", None)] {
            let nick = nick.map(str::to_owned);
            let standing =
                Standing { affiliation: Affiliation::Member, nick, ..Standing::default() };
            room.list(BareJid::parse(jid).unwrap(), standing);
        }
        for (jid, nick) in [
            ("ann@a.example/r", Some("Ann  B")),
            ("ann@a.example", Some("Ann  B")),
            ("bob@a.example/r", None),
            ("eve@a.example/r", None),
        ] {
            assert_eq!(reserved_nick(&room, &Jid::parse(jid).unwrap()).as_deref(), nick, "{jid}");
        }
    }
}
