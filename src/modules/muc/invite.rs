//! Messages to the room that are not for everybody (XEP-0045 §7.8.2, §7.13, §8.6, §9.9): invitations, declines, asking
//! for voice, and what moderators and admins answer to requests. Direct invitations (XEP-0249) go between users.

use std::sync::Arc;
use std::time::SystemTime;

use super::changes::{Changes, Reserved, Wanted};
use super::deliver::{Plan, change_for, run};
use super::letters::{Invitation, Open, bounce, decline, short};
use super::outputs::Outputs;
use super::register::{self, Approval, REGISTER};
use super::rights::Affiliation;
use super::room::Room;
use super::rooms::Hold;
use super::standing::By;
use super::voice::{REQUEST, Voice};
use crate::jid::{BareJid, Jid};
use crate::modules::api::Cx;
use crate::router::handled_count::Ticket;
use crate::stanza::form::Form;
use crate::stanza::message::MessageType;
use crate::stanza::{Stanza, StanzaError};
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::view::Node;

type Made = Result<Vec<Stanza>, StanzaError>;

/// What such a message says.
#[derive(Debug)]
enum Said {
    Invites(Vec<Invite>),
    Decline {
        to: Jid,
        reason: Option<String>,
    },
    Voice(Voice),
    Approval(Approval),
    /// A form was put aside (§8.6: "to skip this request, click the cancel button").
    Nothing,
}

/// One invitation.
#[derive(Debug, Clone)]
struct Invite {
    to: BareJid,
    reason: Option<String>,
    thread: Option<Option<String>>,
}

/// A message to a room that is no groupchat message.
pub(super) async fn message(
    cx: Cx,
    hold: Arc<Hold>,
    stanza: Stanza,
    ticket: Option<Ticket>,
) -> Made {
    let from = stanza.from().clone();
    {
        let room = hold.lock();
        if room.is_locked() && room.occupant_of(&from).is_none() {
            // §17.2 rule 3
            return Err(StanzaError::item_not_found());
        }
    }
    let said = read(&cx, &stanza)?;
    let id = stanza.id().map(|id| id.into_owned());
    match said {
        Said::Invites(invites) => invite(&cx, (&hold, ticket), from, id, invites).await,
        Said::Approval(approval) => register::approve(&cx, (&hold, ticket), from, approval).await,
        Said::Decline { to, reason } => happen(&cx, &hold, |room, out| {
            room.declined((&from, cx.now), &to, (reason.as_deref(), id.as_deref()), out)
        }),
        Said::Voice(Voice::Asked) => {
            happen(&cx, &hold, |room, out| room.ask_for_voice(&from, id.as_deref(), cx.now, out))
        }
        Said::Voice(Voice::Answered { nick, jid, allows }) => {
            happen(&cx, &hold, |room, out| room.answer_for_voice(&from, (&nick, &jid, allows), out))
        }
        Said::Nothing => Ok(Vec::new()),
    }
}

fn happen(
    cx: &Cx,
    hold: &Arc<Hold>,
    event: impl FnOnce(&mut Room, &mut Outputs) -> Result<(), StanzaError>,
) -> Made {
    let (done, delivered) = run(cx, hold, event);
    delivered.charge(cx);
    done.map(|()| delivered.routed)
}

fn read(cx: &Cx, stanza: &Stanza) -> Result<Said, StanzaError> {
    if MessageType::parse(stanza.ty().as_deref()) != MessageType::Normal {
        // §17.2 rule 1
        return Err(bad("messages to a room are of type groupchat"));
    }
    let doc = stanza.element().view();
    let root = doc.root();
    if let Some(x) = root.child(ns::MUC_USER, "x") {
        if let Some(decline) = x.child(ns::MUC_USER, "decline") {
            let to = decline.attr("to").ok_or_else(|| bad("whom is it for?"))?;
            let to = Jid::parse(to).map_err(|_| StanzaError::jid_malformed())?;
            let reason = short(decline.child_text(ns::MUC_USER, "reason"))?;
            return Ok(Said::Decline { to, reason });
        }
        let invites = x.children().filter(|child| child.is(ns::MUC_USER, "invite"));
        let invites: Vec<Invite> = invites.map(Invite::read).collect::<Result<_, _>>()?;
        if !invites.is_empty() {
            return Ok(Said::Invites(invites));
        }
    }
    let form = root.child(ns::DATA_FORM, "x");
    if form.is_some_and(|form| form.attr("type") == Some("cancel")) {
        return Ok(Said::Nothing);
    }
    let form = Form::submitted(root)?;
    let form = form.ok_or_else(|| bad("messages to a room are of type groupchat"))?;
    match form.form_type() {
        Some(REQUEST) => Voice::read(&form).map(Said::Voice),
        Some(REGISTER) => Approval::read(&form, cx.config.muc.nick_bytes_max).map(Said::Approval),
        _ => Err(bad("the room does not know this form")),
    }
}

impl Invite {
    fn read(invite: Node<'_>) -> Result<Self, StanzaError> {
        let to = invite.attr("to").ok_or_else(|| bad("whom is it for?"))?;
        let to = Jid::parse(to).map_err(|_| StanzaError::jid_malformed())?.bare();
        let reason = short(invite.child_text(ns::MUC_USER, "reason"))?;
        let thread = match invite.child(ns::MUC_USER, "continue") {
            Some(it) => Some(short(it.attr("thread"))?),
            None => None,
        };
        Ok(Self { to, reason, thread })
    }
}

/// §7.8.2. In a room for members only, who is invited becomes a member (§9.5), before it hears of it.
async fn invite(
    cx: &Cx,
    (hold, ticket): (&Arc<Hold>, Option<Ticket>),
    from: Jid,
    id: Option<String>,
    invites: Vec<Invite>,
) -> Made {
    let admits = {
        let mut room = hold.lock();
        room.may_invite(&from, &invites)?;
        let bounds = room.bounds;
        if invites.len() > bounds.invites_max {
            let text = format!("one message invites {} people at most", bounds.invites_max);
            return Err(StanzaError::policy_violation().text(text));
        }
        room.letters.count(from.bare_str(), invites.len(), cx.now, bounds.invites_per_minute)?;
        room.settings.members_only
    };
    if !admits {
        return happen(cx, hold, |room, out| {
            room.invite(&from, id.as_deref(), invites, out);
            Ok(())
        });
    }
    change_for(cx, hold, ticket, move |room| {
        room.may_invite(&from, &invites)?;
        let actor = room.occupant_of(&from).map(|occupant| occupant.nick.text.to_string());
        let strangers =
            invites.iter().filter(|one| room.affiliation(one.to.as_str()) < Affiliation::Member);
        let wanted = strangers.map(|one| Wanted {
            jid: one.to.clone(),
            affiliation: Affiliation::Member,
            nick: Reserved::Keep,
            by: By { actor: actor.clone(), ..By::default() },
        });
        let changes = Changes::of(room, wanted.collect())?;
        let (key, written) = (room.id, changes.clone());
        let write = move |tx: &mut dyn Tx| written.write(tx, key);
        let apply = move |room: &mut Room, (), out: &mut Outputs| {
            changes.apply(room, out);
            room.invite(&from, id.as_deref(), invites, out);
            Vec::new()
        };
        Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
    })
    .await
}

impl Room {
    /// §7.8.2, §9.5: an occupant; an admin, unless all may.
    fn may_invite(&self, from: &Jid, invites: &[Invite]) -> Result<(), StanzaError> {
        let rank = self.rank(from);
        if self.occupant_of(from).is_none() {
            // §17.2 rule 2
            return Err(StanzaError::forbidden().text("you are not in this room"));
        }
        let is_admin = rank.affiliation >= Affiliation::Admin;
        if !self.settings.invites && !is_admin {
            return Err(StanzaError::forbidden().text("only admins invite to this room"));
        }
        // A ban is an admin's to lift (§5.2.2), and an invitation does so where it gives membership.
        let lifts = is_admin && self.settings.members_only;
        let is_banned = |one: &Invite| self.effective(&one.to) == Affiliation::Outcast;
        match !lifts && invites.iter().any(is_banned) {
            true => Err(StanzaError::forbidden().text("this address is banned from the room")),
            false => Ok(()),
        }
    }

    fn invite(&mut self, from: &Jid, id: Option<&str>, invites: Vec<Invite>, out: &mut Outputs) {
        for Invite { to, reason, thread } in invites {
            let invitation = Invitation {
                from: from.bare_str().to_owned(),
                reason,
                thread,
                password: self.settings.password.clone(),
                id: id.map(str::to_owned),
            };
            out.route(invitation.to(&self.jid, &to));
            let id = id.map(str::to_owned);
            self.letters.invited(Open { invitee: to, inviter: from.clone(), id });
        }
    }

    /// §7.8.2: to who invited, and to nobody else; so that nobody writes to people in the room's name.
    fn declined(
        &mut self,
        (from, now): (&Jid, SystemTime),
        to: &Jid,
        (reason, id): (Option<&str>, Option<&str>),
        out: &mut Outputs,
    ) -> Result<(), StanzaError> {
        let is_its = |open: &Open| open.inviter.bare_str() == to.bare_str();
        let inviter = match self.letters.answered(from.bare_str(), is_its) {
            Some(open) => open.inviter.bare(),
            // The room was out of memory meanwhile; among members there is trust.
            None if self.affiliation(from.bare_str()) >= Affiliation::Member
                && self.affiliation(to.bare_str()) >= Affiliation::Member =>
            {
                to.bare()
            }
            None => {
                let text = "no invitation of this kind is known to the room";
                return Err(StanzaError::item_not_found().text(text));
            }
        };
        // Strangers, who have nothing to decline, take nobody's place among those who are counted.
        self.letters.count(from.bare_str(), 1, now, self.bounds.invites_per_minute)?;
        out.route(decline(&self.jid, &inviter, (from.bare_str(), reason, id)));
        Ok(())
    }

    /// §7.8.2: an invitation came back: "If the inviter supplies a non-existent JID".
    pub fn invitation_failed(&mut self, error: &Stanza, out: &mut Outputs) {
        let id = error.id();
        let is_its = |open: &Open| open.id.as_deref() == id.as_deref();
        let open = self.letters.answered(error.from().bare_str(), is_its);
        if let Some(Open { inviter, id, .. }) = open
            && self.occupant_of(&inviter).is_some()
        {
            let error = StanzaError::item_not_found().text("the invitation did not arrive");
            out.route(bounce(&self.jid, &inviter, id.as_deref(), &error));
        }
    }
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::bad_request().text(text)
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::super::settings::Settings;
    use super::*;

    #[test]
    fn strangers_who_decline_keep_nobody_from_writing() {
        let jid = BareJid::parse("hall@rooms.x").unwrap();
        let bounds = Config::default().bounds();
        let mut room = Room::new(jid, Settings::default(), [0; 32], bounds);
        let (ann, now) = (Jid::parse("ann@x/r").unwrap(), SystemTime::UNIX_EPOCH);
        let mut out = Outputs::default();
        for n in 0..2_000 {
            let from = Jid::parse(&format!("u{n}@x/r")).unwrap();
            assert!(room.declined((&from, now), &ann, (None, None), &mut out).is_err());
        }
        assert!(room.letters.count(ann.bare_str(), 1, now, bounds.invites_per_minute).is_ok());
        assert!(out.routed.is_empty());
    }
}
