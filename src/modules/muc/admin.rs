//! What moderators and admins do (XEP-0045 §8.2 to §8.5, §9, §10.3 to §10.8): kicks, voice, bans, members, moderators,
//! admins, owners. The items of one request happen all or not at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use super::changes::{Changes, Reserved, Wanted};
use super::deliver::{Plan, change, run};
use super::judge;
use super::leave::Gone;
use super::letters::{Invitation, short};
use super::lists::{self, ADMIN};
use super::nick::Nick;
use super::outputs::{Outputs, Sent};
use super::rights::{Affiliation, Role};
use super::room::Room;
use super::rooms::Hold;
use super::route::Route;
use super::standing::By;
use crate::jid::{BareJid, Jid};
use crate::modules::api::Cx;
use crate::router::outbox::slow_down;
use crate::router::rules::StanzaClass;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{ErrorType, Frame, Stanza, StanzaError};
use crate::store::tx::Tx;
use crate::xml::view::Node;
use crate::xml::writer::escape_attr;

/// Requests in the namespace of admins.
pub(super) const ROUTES: &[Route] = &[Route {
    ty: IqType::Get,
    ns: ADMIN,
    name: "query",
    handler: |cx, hold, iq| Box::pin(async move { lists::show(&cx, &hold, &iq) }),
}];

/// Whether it is for [`set`], which gives its result itself.
pub(super) fn changes(iq: &Iq) -> bool {
    iq.ty() == IqType::Set && iq.payload() == (ADMIN, "query")
}

/// One item of a request.
#[derive(Debug, Clone)]
enum Item {
    /// §17.4 rule 5
    Role { nick: String, role: Role, reason: Option<String> },
    /// §17.4 rule 6
    Affiliation { whom: Whom, affiliation: Affiliation, nick: Reserved, reason: Option<String> },
}

/// Whom an item is about.
#[derive(Debug, Clone)]
enum Whom {
    /// The bare JID.
    Jid(BareJid),
    /// Some clients name an occupant only.
    Nick(String),
}

fn read(query: Node<'_>, nick_bytes_max: usize) -> Result<Vec<Item>, StanzaError> {
    let items = query.children().filter(|child| child.is(ADMIN, "item"));
    let items: Vec<Item> =
        items.map(|item| Item::read(item, nick_bytes_max)).collect::<Result<_, _>>()?;
    match items.len() {
        0 => Err(bad("nothing is asked for")),
        // Each is told to everybody.
        1..=ITEMS_MAX => Ok(items),
        _ => {
            let text = format!("one request changes {ITEMS_MAX} people at most");
            Err(StanzaError::policy_violation().text(text))
        }
    }
}

impl Item {
    fn read(item: Node<'_>, nick_bytes_max: usize) -> Result<Self, StanzaError> {
        let reason = short(item.child_text(ADMIN, "reason"))?;
        let nick = item.attr("nick");
        match (item.attr("affiliation"), item.attr("role")) {
            (None, Some(role)) => {
                let role = Role::parse(role).ok_or_else(|| bad("there is no such role"))?;
                let nick = nick.ok_or_else(|| bad("a role is an occupant's: a nick is missing"))?;
                Ok(Self::Role { nick: nick.to_owned(), role, reason })
            }
            (Some(affiliation), None) => {
                let affiliation = Affiliation::parse(affiliation)
                    .ok_or_else(|| bad("there is no such affiliation"))?;
                // §10.3: "a service SHOULD use the bare JID representation".
                let jid = item.attr("jid").map(Jid::parse).transpose();
                let jid = jid.map_err(|_| StanzaError::jid_malformed())?.map(|jid| jid.bare());
                let (whom, nick) = match (jid, nick) {
                    (Some(jid), None) => (Whom::Jid(jid), Reserved::Keep),
                    (Some(jid), Some("")) => (Whom::Jid(jid), Reserved::Unset),
                    (Some(jid), Some(nick)) => {
                        (Whom::Jid(jid), Reserved::Set(Nick::of(nick, nick_bytes_max)?))
                    }
                    (None, Some(nick)) => (Whom::Nick(nick.to_owned()), Reserved::Keep),
                    (None, None) => {
                        return Err(bad("an affiliation is a bare JID's: it is missing"));
                    }
                };
                Ok(Self::Affiliation { whom, affiliation, nick, reason })
            }
            // §17.4 rule 4
            _ => Err(bad("either an affiliation or a role")),
        }
    }

    fn is_role(&self) -> bool {
        matches!(self, Self::Role { .. })
    }
}

/// A request that was judged right.
#[derive(Debug, Clone)]
struct Decided {
    changes: Changes,
    roles: Vec<NewRole>,
    /// Who asked, and when, for invitations.
    by: (String, SystemTime),
}

#[derive(Debug, Clone)]
struct NewRole {
    /// The nickname's key, and whose it was when it was judged.
    key: Box<str>,
    bare: String,
    role: Role,
    by: By,
}

impl Decided {
    /// Judges all items by what the room is now.
    fn of(
        room: &Room,
        (actor, now): (&Jid, SystemTime),
        items: &[Item],
    ) -> Result<Self, StanzaError> {
        let rank = room.rank(actor);
        let name = room.occupant_of(actor).map(|occupant| occupant.nick.text.to_string());
        let by = |reason: &Option<String>| By {
            actor: name.clone(),
            reason: reason.clone(),
            ..By::default()
        };
        let (mut wanted, mut roles) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Role { nick, role, reason } => {
                    if !rank.moderates() {
                        // The same.
                        return Err(StanzaError::forbidden().text("only moderators may do this"));
                    }
                    let target = room.occupant(nick).ok_or_else(unknown_nick)?;
                    let bare = target.bare().to_owned();
                    let affiliation = room.affiliation(&bare);
                    let own = judge::Rank { affiliation, role: target.role };
                    judge::role(rank, own, *role, bare == actor.bare_str())?;
                    if *role != target.role {
                        let key = target.nick.key.clone();
                        roles.push(NewRole { key, bare, role: *role, by: by(reason) });
                    }
                }
                Item::Affiliation { whom, affiliation, nick, reason } => {
                    // Who may not do it does not hear who is there.
                    let nobody = Affiliation::None;
                    judge::affiliation(rank.affiliation, nobody, nobody, false)?;
                    let jid = match whom {
                        Whom::Jid(jid) => jid.clone(),
                        Whom::Nick(nick) => {
                            let target = room.occupant(nick).ok_or_else(unknown_nick)?;
                            target.seat().map(|seat| seat.jid.bare()).ok_or_else(unknown_nick)?
                        }
                    };
                    let is_self = jid.as_str() == actor.bare_str();
                    let had = room.affiliation(jid.as_str());
                    judge::affiliation(rank.affiliation, had, *affiliation, is_self)?;
                    let (affiliation, nick) = (*affiliation, nick.clone());
                    wanted.push(Wanted { jid, affiliation, nick, by: by(reason) });
                }
            }
        }
        let people: BTreeSet<&str> = wanted.iter().map(|one| one.jid.as_str()).collect();
        if roles.iter().any(|one| people.contains(&*one.bare)) {
            // §17.4 rule 4
            return Err(bad("an affiliation and a role of one person at once"));
        }
        is_heard_by_few(room, items.len())?;
        let changes = Changes::of(room, wanted)?;
        Ok(Self { changes, roles, by: (actor.bare_str().to_owned(), now) })
    }

    /// Done, and told.
    fn apply(self, room: &mut Room, out: &mut Outputs) {
        let newcomers = self.changes.newcomers.clone();
        self.changes.apply(room, out);
        for NewRole { key, bare, role, by } in self.roles {
            // Somebody else may have the nickname by now.
            if room.occupants.get(&*key).is_none_or(|occupant| occupant.bare() != bare) {
                continue;
            }
            if role != Role::None {
                room.change_role(&key, role, &by, &[], out);
                continue;
            }
            let gone =
                Gone { codes: vec![307], actor: by.actor, reason: by.reason, ..Gone::default() };
            room.remove(&key, &gone, out);
        }
        room.welcome(&newcomers, (&self.by.0, self.by.1), out);
    }
}

impl Room {
    /// §9.5: who becomes a member of a room that is for members only is invited.
    pub(super) fn welcome(
        &mut self,
        newcomers: &[BareJid],
        (by, now): (&str, SystemTime),
        out: &mut Outputs,
    ) {
        if !self.settings.members_only {
            return;
        }
        let max = self.bounds.invites_per_minute;
        let password = self.settings.password.clone();
        let invitation = Invitation { from: by.to_owned(), password, ..Invitation::default() };
        for jid in newcomers {
            let is_here = self.of_account(jid.as_str()).next().is_some();
            // Over the bound they are members all the same.
            if !is_here && self.letters.count(by, 1, now, max).is_ok() {
                out.route(invitation.to(&self.jid, jid));
            }
        }
    }
}

/// §8.2 to §9.9, §10.3 to §10.8: the service informs who asked of success, and then the occupants. So its result is put
/// where what they are told is put, in front of that: when it is done, and durable if it is to last.
pub(super) async fn set(cx: Cx, hold: Arc<Hold>, iq: Iq) -> Result<Vec<Stanza>, StanzaError> {
    let items = {
        let doc = iq.stanza().element().view();
        let query = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        read(query, cx.config.muc.nick_bytes_max)?
    };
    let (by, now) = (cx.jid().clone(), cx.now);
    if !items.iter().all(Item::is_role) {
        let planned = move |room: &Room| {
            let decided = Decided::of(room, (&by, now), &items)?;
            let (id, changes) = (room.id, decided.changes.clone());
            let write = move |tx: &mut dyn Tx| changes.write(tx, id);
            let apply = move |room: &mut Room, (), out: &mut Outputs| {
                decided.apply(room, out);
                succeeded(room, &iq, 0, out);
            };
            Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
        };
        return change(&cx, &hold, planned).await.map(|()| Vec::new());
    }
    // Roles last as long as somebody is there: nothing is written.
    let (done, delivered) = run(&cx, &hold, |room, out| {
        if room.is_gone {
            return Err(StanzaError::item_not_found());
        }
        Decided::of(room, (&by, now), &items)?.apply(room, out);
        // Whoever kicked itself is out before it hears of success.
        let is_out = room.occupant_of(iq.from()).is_none();
        succeeded(room, &iq, if is_out { out.sent.len() } else { 0 }, out);
        Ok(())
    });
    delivered.charge(&cx);
    done?;
    slow_down(delivered.slow).await;
    Ok(delivered.routed)
}

/// Puts the result among what comes of it.
fn succeeded(room: &Room, iq: &Iq, at: usize, out: &mut Outputs) {
    let mut head = format!("<iq type=\"result\" from=\"{}\"", escape_attr(room.jid.as_str()));
    if let Some(id) = iq.stanza().id() {
        head.push_str(&format!(" id=\"{}\"", escape_attr(&id)));
    }
    let to = Arc::from([iq.from().clone()]);
    let from = Jid::from(room.jid.clone());
    let result = Sent { from, class: StanzaClass::IqReply, frame: Frame::of(head, "/>"), to };
    out.sent.insert(at, result);
}

/// Each change may be told to everybody who is there.
fn is_heard_by_few(room: &Room, items: usize) -> Result<(), StanzaError> {
    let max = TOLD_MAX.checked_div(room.sessions.len()).unwrap_or(ITEMS_MAX).max(1);
    if items > max && !room.sessions.is_empty() {
        let text = format!("with so many in the room, one request changes {max} people at most");
        return Err(StanzaError::policy_violation().kind(ErrorType::Wait).text(text));
    }
    Ok(())
}

fn unknown_nick() -> StanzaError {
    StanzaError::item_not_found().text("nobody has this nickname here")
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::bad_request().text(text)
}

/// People in one request.
const ITEMS_MAX: usize = 500;
/// Changes in one request, for each session that may hear of them.
const TOLD_MAX: usize = 50_000;

#[cfg(test)]
mod model;
