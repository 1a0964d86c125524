//! Where presence goes: the only file that hands somebody's presence to somebody else.
//!
//! Two registry locks are never held together, so what is read of one account may be old when it
//! reaches another; [`show`] looks again until what it said last is true.

use std::sync::Arc;

use crate::jid::{FullJid, Jid};
use crate::router::Router;
use crate::router::contacts::Contacts;
use crate::router::outbox::Outbox;
use crate::router::registry::User;
use crate::stanza::Frame;
use crate::xml::writer::escape_attr;

/// Pushes a frame. A box that is closed or full belongs to a session that ends: it needs none.
pub(super) fn push(frame: &Frame, targets: &[impl AsRef<Outbox>]) {
    for outbox in targets {
        let _ = outbox.as_ref().push(frame.clone());
    }
}

/// To every contact that may see it (RFC 6121 §4.2.2, §4.4.2, §4.5.2).
pub(super) fn to_contacts(router: &Router, roster: &Contacts, frame: &Frame) {
    for contact in roster.iter().filter(|item| item.state.shows_presence()) {
        to_bare(router, contact.jid, frame);
    }
}

/// RFC 6121 §4.6.1: `entity` hears that `from` is unavailable, so it need not be told any more when
/// its own directed presence to that resource ends.
pub(super) fn unlist(router: &Router, entity: &Jid, from: &FullJid) {
    let hears = |jid: &FullJid| entity.is_bare() || jid.as_str() == entity.as_str();
    router.registry.with(entity.bare_str(), |user| {
        for resource in user.resources.iter_mut().filter(|resource| hears(&resource.jid)) {
            resource.directed.retain(|jid| jid.as_str() != from.as_str());
        }
    });
}

/// To who got directed presence: a bare JID's available resources, or one session.
pub(super) fn to_entity(router: &Router, entity: &Jid, frame: &Frame) {
    if entity.is_bare() {
        return to_bare(router, entity.as_str(), frame);
    }
    let session = router.registry.with(entity.bare_str(), |user| {
        user.resource(entity).map(|resource| resource.outbox.clone())
    });
    if let Some(Some(outbox)) = session {
        push(&frame.addressed(entity.as_str()), &[outbox]);
    }
}

/// To the available resources of a bare JID. The frame is addressed once for all of them.
/// Federation sends to remote domains from here and from [`to_entity`]; until then nobody is there.
fn to_bare(router: &Router, contact: &str, frame: &Frame) {
    let targets = router.registry.with(contact, |user| super::outboxes(user));
    if let Some(targets) = targets
        && !targets.is_empty()
    {
        push(&frame.addressed(contact), &targets);
    }
}

/// RFC 6121 §3.1.5: a contact was approved and gets the current presence of every available
/// resource. Nothing, if the approval was taken back meanwhile.
pub(in crate::modules) fn show_to_contact(router: &Router, owner: &str, contact: &str) {
    let targets = router.registry.with(contact, |user| super::outboxes(user));
    if let Some(targets) = targets
        && !targets.is_empty()
    {
        show(router, owner, contact, &targets, None);
    }
}

/// RFC 6121 §3.2.2 and §3.3.3: a contact may no longer see the account, and gets unavailable
/// presence from every resource that it saw. To be called when the roster says so already, lest
/// a broadcast follow. A cancellation takes precedence over directed presence (§4.6.1).
pub(in crate::modules) fn withdraw_from_contact(router: &Router, owner: &str, contact: &str) {
    let seen = router.registry.with(owner, |user| forget_directed(user, contact));
    for jid in seen.unwrap_or_default() {
        to_bare(router, contact, &super::unavailable_of(&jid));
    }
}

fn forget_directed(user: &mut User, contact: &str) -> Vec<FullJid> {
    let mut seen = Vec::new();
    for resource in &mut user.resources {
        let before = resource.directed.len();
        resource.directed.retain(|jid| jid.bare_str() != contact);
        if resource.presence.is_some() || resource.directed.len() != before {
            seen.push(resource.jid.clone());
        }
    }
    seen
}

/// A resource as somebody else may see it.
struct Seen {
    session: u64,
    jid: FullJid,
    frame: Frame,
}

/// Tells `targets`, all of them `viewer`'s, about each available resource of `owner` that
/// `viewer` may see, and looks again: a change in between may have been broadcast before this
/// got there, and what comes last must be the latest.
pub(super) fn show(
    router: &Router,
    owner: &str,
    viewer: &str,
    targets: &[Arc<Outbox>],
    except: Option<u64>,
) {
    let mut told: Vec<Seen> = Vec::new();
    for _ in 0..LOOKS {
        let now = visible(router, owner, viewer, except);
        let left = told.iter().filter(|old| now.iter().all(|new| new.jid != old.jid));
        let news = now.iter().filter(|new| !told.iter().any(|old| same(old, new)));
        let frames: Vec<Frame> = left
            .map(|old| super::unavailable_of(&old.jid))
            .chain(news.map(|new| new.frame.clone()))
            .collect();
        if frames.is_empty() {
            return;
        }
        frames.iter().for_each(|frame| push(&frame.addressed(viewer), targets));
        told = now;
    }
}

/// The one question whether presence may be seen: by the account itself, and by a contact whose
/// subscription is `from` or `both`.
fn visible(router: &Router, owner: &str, viewer: &str, except: Option<u64>) -> Vec<Seen> {
    let look = |user: &mut User| {
        if owner != viewer && !user.subscription(viewer).shows_presence() {
            return Vec::new();
        }
        let others = user.available().filter(|resource| Some(resource.session) != except);
        let seen = others.filter_map(|r| {
            let frame = r.presence.as_ref()?.frame.clone();
            Some(Seen { session: r.session, jid: r.jid.clone(), frame })
        });
        seen.collect()
    };
    router.registry.with(owner, look).unwrap_or_default()
}

fn same(a: &Seen, b: &Seen) -> bool {
    a.session == b.session && a.frame.head == b.frame.head && a.frame.tail == b.frame.tail
}

/// An empty presence stanza without `to`, for [`Frame::addressed`].
pub(super) fn open(from: &str, ty: Option<&str>) -> Frame {
    let mut head = format!("<presence from=\"{}\"", escape_attr(from));
    if let Some(ty) = ty {
        head.push_str(&format!(" type=\"{ty}\""));
    }
    Frame::of(head, "/>")
}

/// A contact that changes its presence more often than this between two looks, each a few
/// microseconds, is told about the rest by its own broadcasts.
const LOOKS: usize = 4;
