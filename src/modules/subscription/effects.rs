//! What others notice of a committed change, in the order that RFC 6121 §3 asks for.

use std::sync::Arc;

use super::pair::Step;
use super::push::push;
use crate::jid::Jid;
use crate::router::registry::RosterChange;
use crate::router::subscription::{Audience, PresenceToContact};
use crate::router::{Router, presence};
use crate::store::StoreError;

/// Waits until what leaves for other servers is as durable as the rosters: the stanza that caused it is not
/// acknowledged before (promise.md 1).
pub(in crate::modules) async fn durable(router: &Router, steps: &[Step]) -> Result<(), StoreError> {
    match steps.iter().any(|step| step.leaves.is_some()) {
        true => router.store.barrier().await,
        false => Ok(()),
    }
}

/// Delivers, pushes, hands on, and shows or withdraws presence.
pub(in crate::modules) fn carry_out(router: &Arc<Router>, steps: &[Step]) {
    let mut waited = Vec::new();
    for step in steps {
        // What ends, ends on both sides; but the stanza does not pass the guards of either.
        let (owner, peer) = (Jid::from(step.owner.clone()), Jid::from(step.peer.clone()));
        let meet = |_: &&_| {
            router.lets_in(step.owner.as_str(), &peer)
                && router.lets_out(step.peer.as_str(), &owner)
        };
        let deliver = step.deliver.as_ref().filter(meet);
        // §3.1.6, §3.2.3, §3.3.3: the stanza MUST come before the push.
        if let Some((Audience::Interested, frame)) = deliver {
            presence::deliver_to(router, step.owner.as_str(), frame, Audience::Interested);
        }
        if let Some(change) = &step.change {
            let owner = step.owner.as_str();
            let account = step.account;
            let push = |change: &RosterChange, to: &_| push(account, change, to);
            let seen = |change: &RosterChange| {
                change.item.as_ref().is_some_and(|item| item.state.shows_presence())
            };
            let earlier = router.roster_changed(owner, change.clone(), push);
            if change.push {
                router.roster_told(account, &step.owner, change);
            }
            waited.extend(earlier.into_iter().filter(seen).map(|change| (owner, change.jid)));
            router.contact_changed(account, &step.owner, &step.peer);
        }
        // A resource that becomes available just now reads the waiting requests of the roster it
        // sees: so this comes after the change, lest the request reach it neither way.
        if let Some((Audience::Available, frame)) = deliver {
            presence::deliver_to(router, step.owner.as_str(), frame, Audience::Available);
        }
        // §3.2.2: while the contact is still subscribed, so before its step.
        if step.presence == Some(PresenceToContact::Unavailable) {
            presence::withdraw_from_contact(router, step.owner.as_str(), step.peer.as_str());
        }
        if let Some(frame) = &step.leaves {
            router.hand_over(&owner, &peer, frame.clone());
        }
    }
    // §3.1.5: after the contact has the `subscribed` and the push that it brings.
    for step in steps {
        if step.presence == Some(PresenceToContact::Available) {
            presence::show_to_contact(router, step.owner.as_str(), step.peer.as_str());
            router.approved(&step.owner, &step.peer);
        }
    }
    // Whoever carried these out was told that nobody is shown yet, as their rosters were behind.
    for (owner, contact) in waited {
        presence::show_to_contact(router, owner, &contact);
    }
}
