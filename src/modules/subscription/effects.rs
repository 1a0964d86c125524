//! What others notice of a committed change, in the order that RFC 6121 §3 asks for.

use super::pair::Step;
use super::push::push;
use crate::router::{Router, presence};
use crate::router::registry::{Resource, User};
use crate::router::subscription::{Audience, PresenceToContact};
use crate::stanza::{Frame, Stanza};

/// Delivers, pushes, and shows or withdraws presence. Answers the stanzas that leave this server.
pub(in crate::modules) fn carry_out(router: &Router, steps: &[Step]) -> Vec<Stanza> {
    for step in steps {
        // §3.1.6, §3.2.3, §3.3.3: the stanza MUST come before the push.
        if let Some((Audience::Interested, frame)) = &step.deliver {
            deliver(router, step, frame, |resource| resource.interested);
        }
        if let Some(change) = &step.change {
            let owner = step.owner.as_str();
            let account = step.account;
            router.roster_changed(owner, change.clone(), |change, to| push(account, change, to));
        }
        // A resource that becomes available just now reads the waiting requests of the roster it
        // sees: so this comes after the change, lest the request reach it neither way.
        if let Some((Audience::Available, frame)) = &step.deliver {
            deliver(router, step, frame, |resource| resource.presence.is_some());
        }
        // §3.2.2: while the contact is still subscribed, so before its step.
        if step.presence == Some(PresenceToContact::Unavailable) {
            presence::withdraw_from_contact(router, step.owner.as_str(), step.peer.as_str());
        }
    }
    // §3.1.5: after the contact has the `subscribed` and the push that it brings.
    for step in steps {
        if step.presence == Some(PresenceToContact::Available) {
            presence::show_to_contact(router, step.owner.as_str(), step.peer.as_str());
        }
    }
    let leaving = steps.iter().filter_map(|step| step.leaves.as_ref());
    leaving.filter_map(|frame| Stanza::ours(frame.to_vec().into())).collect()
}

fn deliver(router: &Router, step: &Step, frame: &Frame, to: impl Fn(&Resource) -> bool) {
    let choose = |user: &mut User| {
        let chosen = user.resources.iter().filter(|resource| to(resource));
        chosen.map(|resource| resource.outbox.clone()).collect::<Vec<_>>()
    };
    for outbox in router.registry.with(step.owner.as_str(), choose).unwrap_or_default() {
        // A box that refuses belongs to a session that ends; a request waits for the next one.
        let _ = outbox.push(frame.clone());
    }
}
