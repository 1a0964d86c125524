//! XEP-0280: Message Carbons: what an account hears and says on one device reaches its others. Who
//! asked for copies is noted in the account's entry; for an account where nobody did, a message costs
//! one look at it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use smallvec::SmallVec;

use super::hop::Hop;
use super::outbox::{Level, Outbox, Outgoing};
use super::registry::{Resource, User};
use super::{Origin, Routed, Router};
use crate::base::time::micros;
use crate::jid::{FullJid, Jid};
use crate::stanza::fate::{Copied, Fate, fate};
use crate::stanza::forward::forwarded;
use crate::stanza::ids::stanza_id;
use crate::stanza::{Frame, Kind, Stanza};
use crate::xml::ns;
use crate::xml::writer::escape_attr;

/// Kept for an account of which some session wants copies.
#[derive(Debug, Default)]
pub struct Copies {
    /// Marks of messages that could be copied, newest last: an error that answers one is, too
    /// (XEP-0280 §6.1).
    recent: VecDeque<u64>,
}

impl Copies {
    fn remember(&mut self, mark: u64) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(mark);
    }
}

/// Sessions that get a copy: their address, and the way to them.
pub(super) type Readers = Vec<(FullJid, Hop)>;

/// On which side of a message the account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Received,
    Sent,
}

/// Who of the addressee's account may get a copy.
#[derive(Clone, Copy)]
pub(super) struct Whom<'a> {
    /// Not those that get the message itself.
    pub but: &'a [Hop],
    /// It waits for a device of non-negative priority (RFC 6121 §8.5.2.2.1). A session that has sent no
    /// presence may be that device: it gets the message in its turn, behind what waits already.
    pub waits: bool,
}

/// Who of the addressee's account gets a copy: those that want one and do not get the message itself
/// (XEP-0280 §7), nor sent it.
pub(super) fn readers(
    router: &Router,
    user: &mut User,
    stanza: &Stanza,
    fate: Fate,
    whom: Whom<'_>,
    origin: &Origin<'_>,
) -> Readers {
    if user.copies.is_none() || !is_eligible(router, user, stanza, fate, Side::Received) {
        return Readers::new();
    }
    let sender = origin.sender.map(|(_, outbox)| outbox);
    let gets = |resource: &Resource| {
        whom.but.iter().any(|hop| hop.session() == Some(resource.session))
            || sender.is_some_and(|sender| Arc::ptr_eq(sender, &resource.outbox))
    };
    let wanting = user.resources.iter().filter(|resource| resource.carbons);
    let may = |resource: &&Resource| !whom.waits || resource.presence.is_some();
    wanting.filter(may).filter(|resource| !gets(resource)).map(reader).collect()
}

/// The addressee's copy of what its other session got as `frame`; each reader's is this one, addressed.
pub(super) fn received(stanza: &Stanza, to: &Jid, frame: &Frame) -> Frame {
    wrapped(Side::Received, to.bare_str(), stanza.ty().as_deref(), frame)
}

/// Copies for the sender's other sessions (XEP-0280 §8), wherever the message went.
pub(super) fn sent(
    router: &Router,
    stanza: &Stanza,
    fate: Fate,
    now: SystemTime,
    origin: &Origin<'_>,
    routed: Routed,
) -> Routed {
    let Some((_, outbox)) = origin.sender.filter(|(_, outbox)| outbox.copies_sent()) else {
        return routed;
    };
    if fate.copied == Copied::Nobody || is_to_self(stanza) {
        // What goes to the own account is copied, if at all, as what it receives: once for each device.
        return routed;
    }
    let from = stanza.from();
    let slow = hand_out(router, from, micros(now), |user| {
        if !is_eligible(router, user, stanza, fate, Side::Sent) {
            return None;
        }
        let readers = some(others(user, stanza, fate, outbox))?;
        let frame = match origin.kept {
            Some((account, seq)) => {
                let id = router.store.ids().seal(account.0, seq);
                stanza.frame_with(&stanza_id(from.bare_str(), &id))
            }
            None => stanza.frame(),
        };
        let copy = wrapped(Side::Sent, from.bare_str(), stanza.ty().as_deref(), &frame);
        Some((copy, readers))
    });
    match (routed, slow) {
        (Routed::Done, Some(slow)) => Routed::Slow(slow),
        (routed, _) => routed,
    }
}

/// The server's own error to a message that a session sent: whoever got a copy of the message learns
/// what became of it.
pub(super) fn bounced(
    router: &Router,
    stanza: &Stanza,
    reply: &Bytes,
    outbox: &Arc<Outbox>,
    now: SystemTime,
) {
    if stanza.kind() != Kind::Message || !outbox.copies_sent() || is_to_self(stanza) {
        return;
    }
    let fate = fate(stanza);
    if !matches!(fate.copied, Copied::Both | Copied::Sender) {
        return;
    }
    let from = stanza.from();
    hand_out(router, from, micros(now), |user| {
        // Of what was never copied, as it failed before that, nobody else has heard.
        let mark = mark(router, stanza, Side::Sent)?;
        user.copies.as_deref().filter(|copies| copies.recent.contains(&mark))?;
        let readers = some(others(user, stanza, fate, outbox))?;
        let reply = Frame::whole(reply.clone());
        let copy = wrapped(Side::Received, from.bare_str(), Some("error"), &reply);
        Some((copy, readers))
    });
}

/// Puts copies into the boxes of sessions of the account; one that is over half full comes back.
fn hand_out(
    router: &Router,
    account: &Jid,
    at: i64,
    copy: impl FnOnce(&mut User) -> Option<(Frame, Readers)>,
) -> Option<Arc<Outbox>> {
    let mut slow = None;
    let mut wake: SmallVec<[Arc<Outbox>; 2]> = SmallVec::new();
    router.registry.with(account.bare_str(), |user| {
        let (copy, readers) = copy(user)?;
        for (jid, hop) in readers {
            let item = Outgoing { frame: copy.addressed(jid.as_str()), owed: None, at };
            // Whose box is full or closed ends, or has ended; the archive has the message.
            let (Ok(put), Hop::Session { outbox, .. }) = (hop.put(item), hop) else { continue };
            if put.level == Level::OverHalf {
                slow = Some(outbox.clone());
            }
            if put.wake {
                wake.push(outbox);
            }
        }
        Some(())
    });
    wake.iter().for_each(|outbox| outbox.nudge());
    slow
}

/// The table of XEP-0280 §6.1, for one side. What passes is remembered, as an error may answer it.
fn is_eligible(router: &Router, user: &mut User, stanza: &Stanza, fate: Fate, side: Side) -> bool {
    let Some(copies) = user.copies.as_deref_mut() else { return false };
    let mark = || mark(router, stanza, side);
    match (fate.copied, side) {
        (Copied::Nobody, _) => false,
        // An account is no room, whatever its messages say: it cannot keep them from devices.
        (Copied::Sender, Side::Received) if !is_account(router, stanza.from()) => false,
        (Copied::AsAnswered, _) => mark().is_some_and(|mark| copies.recent.contains(&mark)),
        (Copied::Both | Copied::Sender, _) => {
            mark().into_iter().for_each(|mark| copies.remember(mark));
            true
        }
    }
}

/// By which an error that answers the message is known. Of the bare JID: the answer may come from a
/// resource that the message did not name.
fn mark(router: &Router, stanza: &Stanza, side: Side) -> Option<u64> {
    let peer = match side {
        Side::Received => Some(stanza.from()),
        Side::Sent => stanza.to(),
    };
    let (peer, id) = peer.zip(stanza.id())?;
    Some(router.registry.mark(peer.bare_str(), &id))
}

fn is_account(router: &Router, jid: &Jid) -> bool {
    jid.local().is_some() && router.is_local(jid.domain())
}

fn some(readers: Readers) -> Option<Readers> {
    (!readers.is_empty()).then_some(readers)
}

/// Sessions of the sender's account that want copies, but for the sending one. Of a room's private
/// message, only those that are in the room under the same name, as far as that is known (XEP-0280
/// §6.1, footnote).
fn others(user: &User, stanza: &Stanza, fate: Fate, sender: &Arc<Outbox>) -> Readers {
    let is_sender = |resource: &Resource| Arc::ptr_eq(sender, &resource.outbox);
    let room = stanza.to().filter(|_| fate.copied == Copied::Sender);
    let occupant = room.and_then(|room| {
        let sender = user.resources.iter().find(|resource| is_sender(resource))?;
        sender.directed.iter().find(|known| known.bare_str() == room.bare_str())
    });
    let joined = |resource: &Resource| {
        occupant.is_none_or(|occupant| resource.directed.iter().any(|known| known == occupant))
    };
    let wanting = user.resources.iter().filter(|resource| resource.carbons);
    wanting.filter(|resource| !is_sender(resource) && joined(resource)).map(reader).collect()
}

fn reader(resource: &Resource) -> (FullJid, Hop) {
    (resource.jid.clone(), Hop::to(resource))
}

fn is_to_self(stanza: &Stanza) -> bool {
    stanza.to().is_none_or(|to| to.bare_str() == stanza.from().bare_str())
}

/// The copy without its 'to': made once for all who get one. The 'from' is the account's bare JID,
/// by which clients know that it is ours (XEP-0280 §11).
fn wrapped(side: Side, own: &str, ty: Option<&str>, frame: &Frame) -> Frame {
    let mut head = String::with_capacity(own.len() + 32);
    for (name, value) in [(" from=\"", Some(own)), (" type=\"", ty)] {
        if let Some(value) = value {
            head.push_str(name);
            head.push_str(&escape_attr(value));
            head.push('"');
        }
    }
    let name = match side {
        Side::Received => "received",
        Side::Sent => "sent",
    };
    let inner = forwarded(b"", &frame.to_vec());
    let mut tail = Vec::with_capacity(inner.len() + 80);
    tail.extend_from_slice(format!("><{name} xmlns='{}'>", ns::CARBONS).as_bytes());
    tail.extend_from_slice(&inner);
    tail.extend_from_slice(format!("</{name}></message>").as_bytes());
    Frame::of(format!("<message{head}"), tail)
}

/// Messages of an account that an error may still answer: a kilobyte, where copies are wanted.
const RECENT_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_from_the_account_and_holds_the_message_as_it_came() {
        let xml = "<message from='j@x/1' to='r@y/2' type='chat' id='a'><body>&lt;</body></message>";
        let stanza = Stanza::ours(xml.into()).unwrap();
        let copy = wrapped(Side::Received, "r@y", stanza.ty().as_deref(), &stanza.frame());
        let bytes = copy.addressed("r@y/3'\"").to_vec();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "<message from=\"r@y\" type=\"chat\" to=\"r@y/3&apos;&quot;\">\
             <received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='j@x/1' to='r@y/2' type='chat' id='a'>\
             <body>&lt;</body></message></forwarded></received></message>"
        );
        // A late one gets its stamp outside (XEP-0203 §4).
        let late = String::from_utf8(copy.with(b"<delay/>").to_vec()).unwrap();
        assert!(late.ends_with("</forwarded></received><delay/></message>"), "{late}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut copies = Copies::default();
        (0..1_000).for_each(|mark| copies.remember(mark));
        assert_eq!(copies.recent.len(), RECENT_MAX);
        assert!(copies.recent.contains(&999) && !copies.recent.contains(&1));
    }
}
