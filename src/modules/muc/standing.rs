//! What changes when somebody's affiliation changes (XEP-0045 §5.2.2, §9, §10): the role, who is told, and whether it
//! may stay.

use std::sync::Arc;

use super::leave::Gone;
use super::outputs::Outputs;
use super::rights::{Affiliation, Role};
use super::room::{Occupant, Room, Standing};
use super::say::GROUPCHAT;
use super::show::{Item, Own};
use crate::jid::{BareJid, Jid};
use crate::stanza::{Frame, Stanza};
use crate::xml::ns;
use crate::xml::writer::{Xml, escape_attr};

/// Whose doing a change is, and why.
#[derive(Debug, Clone, Default)]
pub struct By {
    /// The actor's nickname, if it is in the room.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Another child of what is said of it: `<mav/>` (XEP-0463).
    pub more: bytes::Bytes,
}

impl Room {
    /// A change that is committed: done, and told.
    pub fn stand(&mut self, jid: &BareJid, standing: Standing, by: &By, out: &mut Outputs) {
        let before = self.affiliation(jid.as_str());
        let (since, after) = (self.version, standing.affiliation);
        self.version = self.version.max(standing.version);
        self.list(jid.clone(), standing);
        if self.version == since {
            return;
        }
        let by = By { more: self.mav(Some(since), self.version).into(), ..by.clone() };
        let keys: Vec<Arc<str>> = self.keys_of(jid, after);
        if keys.is_empty() || before == after {
            // Of a nickname that is kept for somebody, presence says nothing.
            return self.tell_of_list(jid, after, (&by, &[]), out);
        }
        let mut is_shown = false;
        for key in &keys {
            let role = |room: &Self| room.occupants.get(key).map_or(Role::None, |one| one.role);
            let was = role(self);
            self.restand(key, (before, after), &by, out);
            is_shown |= self.settings.broadcast.shows(was.max(role(self)));
        }
        if !is_shown {
            // XEP-0463 §5.2.2: no link of the chain is missing where others do not see their presence.
            self.tell_of_list(jid, after, (&by, &keys), out);
        }
    }

    /// The nicknames' keys of those whom an affiliation of this address concerns: an account, or for a ban a whole
    /// domain (§9.2).
    fn keys_of(&self, jid: &BareJid, after: Affiliation) -> Vec<Arc<str>> {
        let is = |bare: &str| {
            bare == jid.as_str()
                || (after == Affiliation::Outcast
                    && jid.local().is_none()
                    && bare.split_once('@').is_some_and(|(_, domain)| domain == jid.as_str())
                    && self.affiliation(bare) == Affiliation::None)
        };
        let fits = self.occupants.iter().filter(|(_, occupant)| is(occupant.bare()));
        fits.map(|(key, _)| key.clone()).collect()
    }

    fn restand(
        &mut self,
        key: &str,
        (before, after): (Affiliation, Affiliation),
        by: &By,
        out: &mut Outputs,
    ) {
        let Some(occupant) = self.occupants.get(key) else { return };
        // Whom nothing keeps in a room that has banned its domain is out, too (§9.2).
        let effective = occupant.seat().map_or(after, |seat| self.effective(&seat.jid));
        let code = match effective {
            Affiliation::Outcast => Some(301),
            Affiliation::None if self.settings.members_only => Some(321),
            _ => None,
        };
        if let Some(code) = code {
            let (actor, reason) = (by.actor.clone(), by.reason.clone());
            let more = by.more.clone();
            let gone = Gone { codes: vec![code], actor, reason, more, ..Gone::default() };
            return self.remove(key, &gone, out);
        }
        let was = occupant.role;
        let first = after.first_role(self.settings.moderated);
        let role = match after {
            // §5.1.3: an admin is a moderator; who is no admin any more is none at once. Who was made one without
            // being an admin stays it.
            Affiliation::Admin | Affiliation::Owner => Role::Moderator,
            _ if before >= Affiliation::Admin => first,
            _ => was.max(first),
        };
        self.change_role(key, role, by, &[], out);
    }

    /// Gives a role, and shows it, though it be the same: with it the affiliation.
    pub fn change_role(
        &mut self,
        key: &str,
        role: Role,
        by: &By,
        codes: &[u16],
        out: &mut Outputs,
    ) {
        let Some(occupant) = self.occupants.get_mut(key) else { return };
        let was = std::mem::replace(&mut occupant.role, role);
        let Some(occupant) = self.occupants.get(key) else { return };
        let (actor, reason) = (by.actor.as_deref(), by.reason.as_deref());
        let item = Item { actor, reason, codes, more: &by.more, ..self.item(occupant) };
        for seat in &occupant.seats {
            self.show(occupant, seat, &item, Own { was: Some(was), ..Own::default() }, out);
        }
        // Who becomes a moderator may see now what it did not see before.
        if self.settings.shows_addresses(role) && !self.settings.shows_addresses(was) {
            for seat in &occupant.seats {
                self.present(&seat.jid, out);
            }
        }
    }

    /// §9.3, §10.3: of somebody who is not in the room, those who see real addresses are told by a message; and of
    /// what nobody sees of those who are. `knowing`: who has heard of it by its own presence.
    fn tell_of_list(
        &self,
        jid: &BareJid,
        affiliation: Affiliation,
        (by, knowing): (&By, &[Arc<str>]),
        out: &mut Outputs,
    ) {
        let hears = |one: &Occupant| {
            self.settings.shows_addresses(one.role)
                && !knowing.iter().any(|key| **key == *one.nick.key)
        };
        let to = self.those(hears);
        let role = self.of_account(jid.as_str()).map(|one| one.role).max();
        // Whose presence is not shown is not said to be there.
        let role = role.filter(|role| self.settings.broadcast.shows(*role)).unwrap_or_default();
        let nick = self.standing.get(jid).and_then(|one| one.nick.as_deref());
        let mut xml = Xml::new();
        xml.start("x").attr("xmlns", ns::MUC_USER).raw(&by.more);
        Item { affiliation, role, nick, ..Item::default() }.write(&mut xml, Some(jid.as_str()));
        xml.end();
        out.tell(
            to,
            &Jid::from(self.jid.clone()),
            super::say::NORMAL,
            self.notice(None, &xml.finish()),
        );
    }

    /// A message of the room's own, without 'to'.
    pub(super) fn notice(&self, ty: Option<&str>, payload: &[u8]) -> Frame {
        let mut head = format!("<message from=\"{}\"", escape_attr(self.jid.as_str()));
        if let Some(ty) = ty {
            head.push_str(&format!(" type=\"{ty}\""));
        }
        let tail = [b">", payload, b"</message>"].concat();
        Frame::of(head, tail)
    }

    /// §10.2.1: the configuration changed.
    pub(super) fn announce_codes(&mut self, codes: &[u16], out: &mut Outputs) {
        let frame = self.codes_notice(codes);
        let everyone = self.everyone();
        out.tell(everyone, &Jid::from(self.jid.clone()), GROUPCHAT, frame);
    }

    /// The same, for the sessions of a room that was configured for the first time: behind the result (§10.1.2).
    pub(super) fn announced_first(&mut self, codes: &[u16]) -> Vec<Stanza> {
        let frame = self.codes_notice(codes);
        let of = |session: &Jid| Stanza::ours(frame.addressed(session.as_str()).to_vec().into());
        self.everyone().iter().filter_map(of).collect()
    }

    fn codes_notice(&self, codes: &[u16]) -> Frame {
        let mut xml = Xml::new();
        xml.start("x").attr("xmlns", ns::MUC_USER);
        for code in codes {
            xml.start("status").attr("code", &code.to_string()).end();
        }
        xml.end();
        self.notice(Some("groupchat"), &xml.finish())
    }
}
