//! Presence as the room shows it (XEP-0045 §7.2.2): who sees which form of it.

use bytes::Bytes;

use super::outputs::Outputs;
use super::rights::{Affiliation, Role};
use super::room::{Occupant, Room, Seat};
use crate::jid::Jid;
use crate::router::rules::StanzaClass;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// A client's presence.
pub const AVAILABLE: StanzaClass = StanzaClass::Presence(PresenceType::Available);
/// The end of it.
pub const UNAVAILABLE: StanzaClass = StanzaClass::Presence(PresenceType::Unavailable);

/// What the room says of an occupant, beside what its client says.
#[derive(Debug, Clone, Default)]
pub struct Item<'a> {
    /// The affiliation.
    pub affiliation: Affiliation,
    /// The role; none for who is gone.
    pub role: Role,
    /// The new nickname (§7.6), or that of whose affiliation changed outside the room.
    pub nick: Option<&'a str>,
    /// Whose doing it is.
    pub actor: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
    /// Status codes (§16.6), for everybody.
    pub codes: &'a [u16],
    /// Another child of the extension: `<destroy/>`.
    pub more: &'a [u8],
}

/// §17.3 rules 6 and 7: a client's presence without what only the room may say. Payloads stand for themselves.
pub fn payloads(presence: &Stanza, bytes_max: usize) -> Result<Bytes, StanzaError> {
    let doc = presence.element().view();
    let mut kept = String::new();
    for child in doc.root().children() {
        let claims = matches!(
            child.ns(),
            ns::MUC | ns::MUC_USER | super::names::OCCUPANT_ID | super::names::HATS
        );
        if !claims && let Some(whole) = child.standalone() {
            kept.push_str(&whole);
        }
    }
    if kept.len() > bytes_max {
        let text = format!("presence in rooms may have {bytes_max} bytes of content");
        return Err(StanzaError::policy_violation().text(text));
    }
    Ok(kept.into())
}

impl Room {
    /// What the room says of an occupant now.
    pub(super) fn item(&self, occupant: &Occupant) -> Item<'static> {
        let affiliation = self.affiliation(occupant.bare());
        Item { affiliation, role: occupant.role, ..Item::default() }
    }

    /// A session's presence, in the form that shows the real address or the one that does not.
    pub(super) fn presence(
        &self,
        occupant: &Occupant,
        seat: &Seat,
        item: &Item<'_>,
        form: Form<'_>,
    ) -> Frame {
        let gone = item.role == Role::None || item.codes.contains(&NEW_NICK);
        let mut head = String::from("<presence");
        let mut attr = |name: &str, value: &str| {
            head.push(' ');
            head.push_str(name);
            head.push_str("=\"");
            head.push_str(&crate::xml::writer::escape_attr(value));
            head.push('"');
        };
        attr("from", occupant.jid.as_str());
        if let Some(id) = form.id {
            attr("id", id);
        }
        if gone {
            attr("type", "unavailable");
        }
        let mut end = Xml::new();
        let id = self.occupant_id(seat.jid.bare_str());
        end.start("occupant-id").attr("xmlns", super::names::OCCUPANT_ID).attr("id", &id).end();
        if !gone {
            self.settings.looks.write_worn(seat.jid.bare_str(), &mut end);
        }
        end.start("x").attr("xmlns", ns::MUC_USER);
        let jid = form.address.then(|| seat.jid.as_str());
        item.write(&mut end, jid);
        for code in item.codes.iter().chain(form.codes) {
            end.start("status").attr("code", &code.to_string()).end();
        }
        end.raw(item.more).raw(form.more).end();
        let mut end = end.into_string();
        end.push_str("</presence>");
        let mut tail = Vec::with_capacity(seat.shown.len() + 1);
        tail.push(b'>');
        tail.extend_from_slice(&seat.shown);
        Frame { head: head.into(), tail: tail.into(), end: end.into() }
    }

    /// Shows a session's presence to all who may see it but itself, and to itself in its own form, last (§7.1).
    pub(super) fn show(
        &self,
        occupant: &Occupant,
        seat: &Seat,
        item: &Item<'_>,
        own: Own<'_>,
        out: &mut Outputs,
    ) {
        let class = if item.role == Role::None || item.codes.contains(&NEW_NICK) {
            UNAVAILABLE
        } else {
            AVAILABLE
        };
        if self.settings.broadcast.shows(own.was.unwrap_or(item.role).max(item.role)) {
            let settings = &self.settings;
            let sees = |one: &Occupant| settings.shows_addresses(one.role);
            let other = |jids: std::sync::Arc<[Jid]>| -> std::sync::Arc<[Jid]> {
                if !jids.contains(&seat.jid) {
                    return jids;
                }
                jids.iter().filter(|jid| **jid != seat.jid).cloned().collect()
            };
            for (address, to) in [(true, self.those(sees)), (false, self.those(|one| !sees(one)))] {
                let to = other(to);
                if !to.is_empty() {
                    let form = Form { address, ..Form::default() };
                    out.tell(to, &occupant.jid, class, self.presence(occupant, seat, item, form));
                }
            }
        }
        if !own.silent {
            // Its own address is nothing new to it.
            let mut codes = vec![SELF];
            codes.extend_from_slice(own.codes);
            codes.sort_unstable();
            // XEP-0463 §5.2.1: a client that sees itself without a version takes what it knows for outdated.
            let says = item.more.is_empty() && class == AVAILABLE;
            let mav = if says { self.mav(None, self.version) } else { Vec::new() };
            let form = Form { address: true, id: own.id, codes: &codes, more: &mav };
            let frame = self.presence(occupant, seat, item, form);
            out.tell_one(&seat.jid, &occupant.jid, class, frame);
        }
    }
}

/// Which form of a presence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Form<'a> {
    /// With the real address.
    pub address: bool,
    /// The stanza's id.
    pub id: Option<&'a str>,
    /// Status codes for this form alone.
    pub codes: &'a [u16],
    /// Another child of the extension for this form alone.
    pub more: &'a [u8],
}

/// How a session sees its own presence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Own<'a> {
    /// The id of the presence that it answers.
    pub id: Option<&'a str>,
    /// Status codes beside 110.
    pub codes: &'a [u16],
    /// The role that it had before.
    pub was: Option<Role>,
    /// It is not told: it is gone.
    pub silent: bool,
}

impl Item<'_> {
    pub(super) fn write(&self, xml: &mut Xml, jid: Option<&str>) {
        xml.start("item").attr("affiliation", self.affiliation.as_str());
        xml.attr_opt("jid", jid).attr_opt("nick", self.nick);
        xml.attr("role", self.role.as_str());
        if let Some(actor) = self.actor {
            xml.start("actor").attr("nick", actor).end();
        }
        if let Some(reason) = self.reason {
            xml.start("reason").text(reason).end();
        }
        xml.end();
    }
}

/// §16.6: this is the addressee's own presence.
pub const SELF: u16 = 110;
/// §16.6: the occupant has another nickname now.
pub const NEW_NICK: u16 = 303;
