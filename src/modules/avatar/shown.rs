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

/// The presence of a session, to be sent again.
struct Again {
    jid: FullJid,
    outbox: Arc<Outbox>,
    /// `None`: it is unavailable.
    frame: Option<Frame>,
}

/// Sends the presence of the account's sessions again, if it shows another image now; and once more if a session
/// said something else meanwhile, which may have come before this: what comes last must be the latest.
pub(super) async fn show(cx: &Cx, owner: BareJid, image: Current) {
    let change = move |account: &mut AccountEntry| renewed(account, image);
    // Nothing is written; the change comes in its place among those that are.
    let found = cx.router.change(owner.clone(), |_| Ok(()), change).await;
    let Ok(Some(Some((mut again, own, roster)))) = found else { return };
    for _ in 0..LOOKS {
        for Again { jid, outbox, frame } in &again {
            let frame = frame.clone().unwrap_or_else(|| presence::unavailable_of(jid));
            presence::push(&frame.addressed(owner.as_str()), &own);
            presence::to_contacts(&cx.router, (jid, outbox), &roster, &frame);
            // All contacts of all sessions are a lot: others get their turns in between.
            tokio::task::yield_now().await;
        }
        let said = Arc::new(again);
        let seen = said.clone();
        let look = move |account: &mut AccountEntry| overtaken(&account.resources, &seen);
        again = match cx.router.change(owner.clone(), |_| Ok(()), look).await {
            Ok(Some(left)) => left,
            // All sessions are gone.
            Ok(None) => overtaken(&[], &said),
            Err(_) => return,
        };
        if again.is_empty() {
            return;
        }
    }
}

type Renewed = (Vec<Again>, Vec<Arc<Outbox>>, Arc<Contacts>);

fn renewed(account: &mut AccountEntry, image: Current) -> Option<Renewed> {
    let before = AccountState::of(account).map(|state| &state.avatar);
    if before.unwrap_or(&Current::default()) == &image {
        return None;
    }
    let payload = update(image.0.as_deref());
    AccountState::change(account, |state| state.avatar = image);
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
    Some(Again { jid, outbox, frame: Some(frame) })
}

/// Those of whom something else is true by now.
fn overtaken(resources: &[Resource], said: &[Again]) -> Vec<Again> {
    let now = |said: &Again| {
        let same_jid = |resource: &&Resource| resource.jid == said.jid;
        let presence = resources.iter().find(same_jid).and_then(|one| one.presence.as_ref());
        let frame = presence.map(|presence| presence.frame.clone());
        let bytes = |frame: &Option<Frame>| frame.as_ref().map(Frame::to_vec);
        let is_same = bytes(&frame) == bytes(&said.frame);
        (!is_same).then(|| Again { jid: said.jid.clone(), outbox: said.outbox.clone(), frame })
    };
    said.iter().filter_map(now).collect()
}

/// A session that says something else more often than this meanwhile is heard by its own broadcasts.
const LOOKS: usize = 4;
const UPDATE: &str = "vcard-temp:x:update";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::registry::Available;

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

    /// What a session says while its image is told of comes last, or it would be seen as it was.
    #[test]
    fn who_was_overtaken_is_told_of_again() {
        let outbox = Arc::new(Outbox::new(1 << 10));
        let jid = |name: &str| FullJid::parse(&format!("a@x/{name}")).unwrap();
        let said = |text: &str| Frame::whole(text.to_owned().into());
        let resource = |name: &str, presence: Option<&str>| Resource {
            presence: presence.map(|text| Available { priority: 0, frame: said(text) }),
            ..Resource::new(jid(name), 1, outbox.clone())
        };
        let again = |name: &str, text: Option<&str>| Again {
            jid: jid(name),
            outbox: outbox.clone(),
            frame: text.map(said),
        };
        let told = ["same", "away", "unavailable", "gone", "knew"];
        let told: Vec<_> =
            told.iter().map(|name| again(name, (*name != "knew").then_some("<old/>"))).collect();
        let now = [
            resource("same", Some("<old/>")),
            resource("away", Some("<new/>")),
            resource("unavailable", None),
            resource("other", Some("<new/>")),
        ];
        let left: Vec<_> = overtaken(&now, &told)
            .iter()
            .map(|one| (one.jid.resource().to_owned(), one.frame.as_ref().map(Frame::to_vec)))
            .collect();
        let want = [("away", Some(b"<new/>".to_vec())), ("unavailable", None), ("gone", None)];
        assert_eq!(left, want.map(|(name, frame)| (name.to_owned(), frame)));
    }
}
