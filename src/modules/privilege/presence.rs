//! Who is there, for components (XEP-0356 §7).

use super::super::api::{Client, Cx, PresenceAccess, Verdict, later};
use super::super::{Config, ResourceState};
use crate::jid::{FullJid, Jid};
use crate::router::outbox::slow_down;
use crate::router::passage::Passage;
use crate::router::presence::unavailable_of;
use crate::router::registry::{AccountEntry, Resource};
use crate::stanza::{Frame, Kind, Stanza};

/// Whom presence of accounts is told.
fn watchers(config: &Config, least: PresenceAccess) -> impl Iterator<Item = &str> {
    let all = config.components.iter().filter(move |one| one.privileges.presence >= least);
    all.map(|one| one.domain.as_str())
}

/// §7.1: initial presence, and the end of it.
pub(super) fn changed(cx: &Cx, client: &Client, stanza: &Stanza) {
    if watchers(&cx.config, PresenceAccess::ManagedEntity).next().is_none() {
        return;
    }
    let there = stanza.ty().is_none();
    let news = cx.own(|entry| {
        let resource = entry.session_mut(client.session)?;
        let state = ResourceState::made(resource)?;
        (std::mem::replace(&mut state.privilege.told, there) != there).then_some(())
    });
    if news.flatten().is_some() {
        tell(cx, &client.jid, &stanza.frame());
    }
}

/// The same for a session that is gone without a word.
pub(super) fn removed(cx: &Cx, resource: &Resource) {
    if ResourceState::of(resource).is_some_and(|state| state.privilege.told) {
        tell(cx, &resource.jid, &unavailable_of(&resource.jid));
    }
}

fn tell(cx: &Cx, who: &FullJid, frame: &Frame) {
    for domain in watchers(&cx.config, PresenceAccess::ManagedEntity) {
        // Whom the account hides from does not see it by a privilege (§9 rule 4).
        if cx.router.lets_out(who.bare_str(), &Jid::normal(domain)) {
            let _ = cx.router.peers.send(who.domain(), domain, frame.addressed(domain));
        }
    }
}

/// §8 rule 1: what the component would have been told.
pub(super) fn tell_all(cx: &Cx, domain: &str) {
    let (cx, domain) = (cx.clone(), domain.to_owned());
    let router = cx.router.clone();
    router.tasks.clone().spawn("presence for a component", async move {
        for present in router.online() {
            if !router.lets_out(present.bare.as_str(), &Jid::normal(&domain)) {
                continue;
            }
            for (_, frame) in present.resources {
                let Some(frame) = frame else { continue };
                let addressed = frame.addressed(&domain);
                let Some(stanza) = Stanza::ours(addressed.to_vec().into()) else { continue };
                let slow = cx.send_watched(&stanza, None).await;
                if !slow.is_empty() {
                    slow_down(slow).await;
                }
            }
        }
    });
}

/// Whether a component is told of contacts.
pub(super) fn of_contacts(config: &Config) -> bool {
    watchers(config, PresenceAccess::Roster).next().is_some()
}

/// §7.4: what a contact that lives elsewhere shows an account, though that have no session. Accounts of this server
/// show themselves.
pub(super) fn of_contact(
    config: &Config,
    account: &mut AccountEntry,
    passage: &mut Passage<'_>,
) -> Verdict {
    let stanza = passage.stanza;
    let from = stanza.from();
    if stanza.kind() != Kind::Presence
        || !matches!(stanza.ty().as_deref(), None | Some("unavailable"))
        || passage.is_account(from)
        || !account.subscription(from.bare_str()).sees_presence()
        || watchers(config, PresenceAccess::Roster).all(|domain| domain == from.domain())
    {
        return Verdict::Continue;
    }
    let stanza = stanza.clone();
    later(passage, move |cx, _| {
        for domain in watchers(&cx.config, PresenceAccess::Roster) {
            if domain != stanza.from().domain() {
                let frame = stanza.frame_as(stanza.from().as_str(), &Jid::normal(domain));
                let _ = cx.router.peers.send(cx.jid().domain(), domain, frame);
            }
        }
    });
    Verdict::Continue
}
