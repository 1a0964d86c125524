//! Both halves of a subscription stanza in one transaction: the sender's, the contact's if it lives
//! here, and the automatic answer of the contact's server.

use super::circumstances::Circumstances;
use crate::base::id::{OsRng, short};
use crate::jid::BareJid;
use crate::router::registry::RosterChange;
use crate::router::subscription::{self, Audience, Inbound, Outbound, PresenceToContact, Verb};
use crate::stanza::presence::PresenceType;
use crate::stanza::{Frame, Stanza};
use crate::store::accounts;
use crate::store::ids::AccountId;
use crate::store::roster::{self, Item, Subscription};
use crate::store::tx::{StoreError, Tx};
use crate::xml::writer::Xml;

/// A stanza that an account sends.
#[derive(Debug)]
pub(in crate::modules) struct Half {
    /// The sender.
    pub owner: BareJid,
    /// Its account.
    pub account: AccountId,
    /// The contact.
    pub peer: BareJid,
    /// The type of the stanza.
    pub verb: Verb,
    /// Bare JID to bare JID.
    pub frame: Frame,
}

/// A stanza that comes to a local address.
#[derive(Debug)]
pub(super) struct Arriving {
    pub owner: BareJid,
    pub peer: BareJid,
    pub verb: Verb,
    pub frame: Frame,
}

/// The effect on one account, to be carried out after the commit.
#[derive(Debug)]
pub(in crate::modules) struct Step {
    /// The owner of the roster.
    pub owner: BareJid,
    /// Its account.
    pub account: AccountId,
    /// The contact.
    pub peer: BareJid,
    /// The change of the roster, if any.
    pub change: Option<RosterChange>,
    /// The stanza, and which of the account's resources get it.
    pub deliver: Option<(Audience, Frame)>,
    /// The account's presence for the contact.
    pub presence: Option<PresenceToContact>,
    /// A stanza for a contact that lives elsewhere.
    pub leaves: Option<Frame>,
}

/// Why nothing was written.
#[derive(Debug)]
pub(in crate::modules) enum Refused {
    /// The roster is full.
    Full,
    /// The server gives the contact in this group, and the account cannot change that.
    Given(String),
}

/// Appendix A.2 for the sender, then A.3 for the contact.
pub(in crate::modules) fn outbound(
    tx: &mut dyn Tx,
    half: Half,
    circumstances: &Circumstances,
) -> Result<Result<Vec<Step>, Refused>, StoreError> {
    let Half { owner, account, peer, verb, frame } = half;
    let item = roster::item(tx, account, peer.as_str())?;
    let item = item.unwrap_or_else(|| unknown(&peer));
    let ends = matches!(verb, Verb::Unsubscribe | Verb::Unsubscribed);
    if ends && let Some(given) = item.given.first() {
        return Ok(Err(Refused::Given(given.group.clone())));
    }
    let Outbound { route, next, push, send_presence, forget_request } =
        subscription::outbound(state(&item), verb);
    // The stanza makes the item listed, whether the contact is new or has sent a request before.
    if push && !item.listed && circumstances.is_full(tx, account)? {
        return Ok(Err(Refused::Full));
    }
    if forget_request {
        roster::remove_request(tx, account, peer.as_str())?;
    }
    let change = change(tx, account, item, next, push)?;
    let local = circumstances.is_local(&peer);
    let leaves = (route && !local && !circumstances.parted).then(|| frame.clone());
    let (to, from) = (peer.clone(), owner.clone());
    let step =
        Step { owner, account, peer, change, deliver: None, presence: send_presence, leaves };
    let mut steps = vec![step];
    // A parted contact gets nothing. But the end of a subscription reaches both sides; otherwise it
    // would live on in one roster.
    if route && local && (ends || !circumstances.parted) {
        steps.extend(inbound(tx, Arriving { owner: to, peer: from, verb, frame }, circumstances)?);
    }
    Ok(Ok(steps))
}

/// Appendix A.3 for the contact, then the automatic answer for the sender if it lives here. An answer
/// never triggers another (tested with the table).
pub(super) fn inbound(
    tx: &mut dyn Tx,
    arriving: Arriving,
    circumstances: &Circumstances,
) -> Result<Vec<Step>, StoreError> {
    let mut steps = Vec::new();
    let mut next = Some(arriving);
    while let Some(arriving) = next.take() {
        let (owner, peer) = (arriving.owner.clone(), arriving.peer.clone());
        let id = Stanza::ours(arriving.frame.to_vec().into())
            .and_then(|stanza| stanza.id().map(std::borrow::Cow::into_owned));
        let Some((mut step, reply)) = receive(tx, arriving, circumstances)? else { break };
        if let Some(verb) = reply {
            let frame = stanza(&owner, &peer, verb, id);
            if circumstances.is_local(&peer) {
                next = Some(Arriving { owner: peer, peer: owner, verb, frame });
            } else {
                step.leaves = Some(frame);
            }
        }
        steps.push(step);
    }
    Ok(steps)
}

/// Writes one side of a subscription as it is to be, where nobody has to be asked: the contact is in the
/// roster then, and what it asked is answered. Whether the roster has room is for [`has_room`] to say.
pub(in crate::modules) fn settle(
    tx: &mut dyn Tx,
    owner: &BareJid,
    account: AccountId,
    peer: &BareJid,
    next: Subscription,
) -> Result<Step, StoreError> {
    let item = roster::item(tx, account, peer.as_str())?.unwrap_or_else(|| unknown(peer));
    roster::remove_request(tx, account, peer.as_str())?;
    let shows = next.shows_presence() && !item.state.shows_presence();
    let next = subscription::State { subscription: next, approved: item.approved };
    Ok(Step {
        change: change(tx, account, item, next, true)?,
        owner: owner.clone(),
        account,
        peer: peer.clone(),
        deliver: None,
        presence: shows.then_some(PresenceToContact::Available),
        leaves: None,
    })
}

/// Whether this contact is in the roster, or has room there.
pub(in crate::modules) fn has_room(
    tx: &mut dyn Tx,
    account: AccountId,
    peer: &BareJid,
    circumstances: &Circumstances,
) -> Result<bool, StoreError> {
    let item = roster::item(tx, account, peer.as_str())?;
    Ok(item.is_some_and(|item| item.listed) || !circumstances.is_full(tx, account)?)
}

/// `None` when there is no such account. RFC 6121 §8.5.1 ignores the stanza silently, although §3.1.2
/// mentions an error for a local contact. With an error anyone could find out who has an account here;
/// a contact that never answers looks the same.
fn receive(
    tx: &mut dyn Tx,
    arriving: Arriving,
    circumstances: &Circumstances,
) -> Result<Option<(Step, Option<Verb>)>, StoreError> {
    let Arriving { owner, peer, verb, frame } = arriving;
    let Some(local) = owner.local() else { return Ok(None) };
    let Some(account) = accounts::find(tx, local, owner.domain())?.map(|account| account.id) else {
        return Ok(None);
    };
    let item = roster::item(tx, account, peer.as_str())?.unwrap_or_else(|| unknown(&peer));
    let Inbound { deliver, next, push, auto_reply, send_presence, keep_request, forget_request } =
        subscription::inbound(state(&item), verb);
    if keep_request {
        if circumstances.is_flooded(tx, account, &peer)? {
            // The sender gets no answer, as from a contact that never answers or does not exist.
            tracing::debug!(
                account = owner.as_str(),
                "too many subscription requests wait: one was dropped"
            );
            return Ok(None);
        }
        roster::put_request(tx, account, peer.as_str(), &frame.to_vec(), circumstances.at)?;
    }
    if forget_request {
        roster::remove_request(tx, account, peer.as_str())?;
    }
    let step = Step {
        change: change(tx, account, item, next, push)?,
        owner,
        account,
        peer,
        deliver: deliver.map(|audience| (audience, frame)),
        presence: send_presence,
        leaves: None,
    };
    Ok(Some((step, auto_reply)))
}

/// Writes the new state; `None` if nothing changes.
fn change(
    tx: &mut dyn Tx,
    account: AccountId,
    before: Item,
    next: subscription::State,
    push: bool,
) -> Result<Option<RosterChange>, StoreError> {
    // What is given stays as it is. Contacts that are given have each other, so neither ends it.
    if state(&before) == next || !before.given.is_empty() {
        return Ok(None);
    }
    let mut item = Item {
        state: next.subscription,
        approved: next.approved,
        listed: before.listed || push,
        ..before
    };
    let jid = item.jid.clone();
    if !item.listed && !item.approved && item.state == Subscription::None {
        let ver = roster::remove(tx, account, &jid)?;
        return Ok(Some(RosterChange { ver, jid, item: None, push: false }));
    }
    item.ver = roster::put(tx, account, &item)?;
    Ok(Some(RosterChange { ver: item.ver, jid, item: Some(item), push }))
}

fn state(item: &Item) -> subscription::State {
    subscription::State { subscription: item.state, approved: item.approved }
}

/// An item for a contact that is not in the roster yet.
fn unknown(peer: &BareJid) -> Item {
    Item { jid: peer.as_str().to_owned(), ..Item::default() }
}

impl Half {
    /// A stanza that the server sends on behalf of the account.
    pub(in crate::modules) fn made(
        owner: BareJid,
        account: AccountId,
        peer: BareJid,
        verb: Verb,
    ) -> Self {
        let frame = stanza(&owner, &peer, verb, None);
        Self { owner, account, peer, verb, frame }
    }
}

/// RFC 6121 §3.1.3 shows an automatic answer with the request's `id`.
fn stanza(from: &BareJid, to: &BareJid, verb: Verb, id: Option<String>) -> Frame {
    let ty = match verb {
        Verb::Subscribe => PresenceType::Subscribe,
        Verb::Subscribed => PresenceType::Subscribed,
        Verb::Unsubscribe => PresenceType::Unsubscribe,
        Verb::Unsubscribed => PresenceType::Unsubscribed,
    };
    let mut xml = Xml::new();
    xml.start("presence")
        .attr("from", from.as_str())
        .attr("to", to.as_str())
        .attr("id", &id.unwrap_or_else(|| short(&mut OsRng)))
        .attr_opt("type", ty.as_str())
        .end();
    Frame::whole(xml.finish())
}
