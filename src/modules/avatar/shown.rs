//! XEP-0153: the hash of the account's image in presence, which the server puts there (XEP-0398 §4).

use std::sync::Arc;

use super::super::api::{Client, Cx, PresenceEffect, PresencePayload};
use super::super::{AccountState, ResourceState};
use super::stored::Current;
use crate::jid::{BareJid, FullJid};
use crate::router::contacts::Contacts;
use crate::router::outbox::Outbox;
use crate::router::presence;
use crate::router::registry::{AccountEntry, Resource};
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// What a client says of its image.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Nothing.
    Nothing,
    /// That it knows of images, and no more.
    Unknown,
    /// That it shows none.
    None,
    /// A hash.
    Some,
}

fn said(presence: &Stanza) -> Said {
    if !presence.element().has_child(UPDATE, "x") {
        return Said::Nothing;
    }
    let doc = presence.element().view();
    let photo = doc.root().child(UPDATE, "x").and_then(|x| x.child(UPDATE, "photo"));
    match photo.map(Node::text).map(str::trim) {
        None => Said::Unknown,
        Some("") => Said::None,
        Some(_) => Said::Some,
    }
}

/// Takes note of what a client said, for when the image changes.
pub(super) fn note(
    cx: &Cx,
    client: &Client,
    presence: &Stanza,
) -> Result<PresenceEffect, StanzaError> {
    let declines = said(presence) == Said::None;
    cx.own(|account| {
        let Some(resource) = account.session_mut(client.session) else { return };
        // Made only for those that have something to say.
        let state = match declines || ResourceState::of(resource).is_some() {
            true => ResourceState::made(resource),
            false => None,
        };
        if let Some(state) = state {
            state.avatar.declines = declines;
        }
    });
    Ok(PresenceEffect::default())
}

/// XEP-0398 §4: in every available presence, but where the client shows none. An empty element MUST be
/// overwritten; another hash may be.
pub(super) fn stamp(account: &AccountEntry, presence: &Stanza) -> Option<PresencePayload> {
    if presence.ty().is_some() {
        return None;
    }
    let image = AccountState::of(account).and_then(|state| state.avatar.0.as_deref());
    match (said(presence), image) {
        (Said::None, _) | (Said::Nothing | Said::Some, None) => None,
        (_, image) => Some(PresencePayload { ns: UPDATE, name: "x", payload: update(image) }),
    }
}

/// XEP-0153 §3.1; §4.1 rule 3 without an image.
fn update(image: Option<&str>) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("x").attr("xmlns", UPDATE).element("photo", None, image.unwrap_or_default()).end();
    xml.finish().to_vec()
}

/// A session whose presence changed.
struct Again {
    jid: FullJid,
    outbox: Arc<Outbox>,
    frame: Frame,
}

/// Sends the presence of the account's sessions again, if it shows another image now.
pub(super) async fn show(cx: &Cx, owner: BareJid, image: Option<Box<str>>) {
    let change = move |account: &mut AccountEntry| renewed(account, image);
    // Nothing is written; the change comes in its place among those that are.
    let found = cx.router.change(owner.clone(), |_| Ok(()), change).await;
    let Ok(Some(Some((again, own, roster)))) = found else { return };
    for Again { jid, outbox, frame } in again {
        presence::push(&frame.addressed(owner.as_str()), &own);
        presence::to_contacts(&cx.router, (&jid, &outbox), &roster, &frame);
    }
}

type Renewed = (Vec<Again>, Vec<Arc<Outbox>>, Arc<Contacts>);

fn renewed(account: &mut AccountEntry, image: Option<Box<str>>) -> Option<Renewed> {
    let before = AccountState::of(account).and_then(|state| state.avatar.0.clone());
    if before == image {
        return None;
    }
    let payload = update(image.as_deref());
    AccountState::change(account, |state| state.avatar = Current(image));
    let again = account.resources.iter_mut().filter_map(|resource| renew(resource, &payload));
    let again: Vec<_> = again.collect();
    let own = account.available().map(|resource| resource.outbox.clone()).collect();
    Some((again, own, account.roster.clone()))
}

fn renew(resource: &mut Resource, payload: &[u8]) -> Option<Again> {
    if ResourceState::of(resource).is_some_and(|state| state.avatar.declines) {
        return None;
    }
    let presence = resource.presence.as_mut()?;
    let stanza = Stanza::ours(presence.frame.to_vec().into())?;
    let frame = stanza.with_own(UPDATE, "x", payload).frame();
    presence.frame = frame.clone();
    let (jid, outbox) = (resource.jid.clone(), resource.outbox.clone());
    Some(Again { jid, outbox, frame })
}

const UPDATE: &str = "vcard-temp:x:update";

#[cfg(test)]
mod tests {
    use super::*;

    /// XEP-0153 §4.1
    #[test]
    fn what_a_client_says_of_its_image() {
        for (inner, meant) in [
            ("", Said::Nothing),
            ("<x xmlns='other'><photo/></x>", Said::Nothing),
            ("<x xmlns='vcard-temp:x:update'/>", Said::Unknown),
            ("<x xmlns='vcard-temp:x:update'><photo/></x>", Said::None),
            ("<x xmlns='vcard-temp:x:update'><photo> </photo></x>", Said::None),
            ("<x xmlns='vcard-temp:x:update'><photo>01b8</photo></x>", Said::Some),
        ] {
            let xml = format!("<presence from='a@x/r'>{inner}</presence>");
            assert_eq!(said(&Stanza::ours(xml.into()).unwrap()), meant, "{inner}");
        }
    }
}
