//! What the steps of every request need: who asks whom, when, and the look-ups before anything is written.

use std::sync::Arc;

use bytes::Bytes;

use super::access::{Affiliation, Asker, Standing, SubState};
use super::config::{Bound, NodeConfig};
use super::errors::{self, Step};
use super::event::{self, Audience, Event, EventKind, To};
use super::rows::{self, NodeRow};
use super::service::{Kind, Service};
use crate::jid::Jid;
use crate::stanza::StanzaError;
use crate::store::tx::Tx;

/// One request in its transaction.
pub(super) struct Work<'a> {
    pub(super) tx: &'a mut dyn Tx,
    pub(super) service: &'a Service,
    pub(super) asker: &'a Asker,
    /// In microseconds since 1970.
    pub(super) now: i64,
}

impl Work<'_> {
    /// The node; `item-not-found` if there is none of this name.
    pub(super) fn node(&mut self, name: &str) -> Step<NodeRow> {
        let found = rows::find(self.tx, self.service.key, name)?;
        found.ok_or_else(|| StanzaError::item_not_found().into())
    }

    /// What the asker is to a node.
    pub(super) fn standing(&mut self, node: i64) -> Step<Standing> {
        let bare = self.asker.jid.bare_str();
        let affiliation = match self.asker.is_owner {
            true => Affiliation::Owner,
            false => rows::affiliation(self.tx, node, bare)?,
        };
        let states = rows::subscriptions_of(self.tx, node, bare)?;
        let subscription = event::best(states.into_iter().map(|(_, state)| state));
        Ok(Standing { affiliation, subscription })
    }

    /// The node, if the asker owns it; else `forbidden` (§8.2.3.2 and all of §8).
    pub(super) fn owned(&mut self, name: &str) -> Step<NodeRow> {
        let node = self.node(name)?;
        match self.standing(node.id)?.owns() {
            true => Ok(node),
            false => Err(StanzaError::forbidden().text("only owners of the node may do this").into()),
        }
    }

    /// Refuses what would be more than the service may store (`more` bytes of it), or whoever created the node.
    pub(super) fn has_room(&mut self, creator: &str, more: u64) -> Step<()> {
        if more == 0 {
            return Ok(());
        }
        let limits = &self.service.limits;
        let (_, bytes) = rows::totals(self.tx, self.service.key)?;
        let mut is_full = bytes.saturating_add(more) > limits.bytes;
        if !is_full && limits.creator_bytes < limits.bytes {
            let (_, bytes) = rows::totals_of(self.tx, self.service.key, creator)?;
            is_full = bytes.saturating_add(more) > limits.creator_bytes;
        }
        match is_full {
            true => Err(errors::storage_full().into()),
            false => Ok(()),
        }
    }

    /// Refuses an address with which a node's list could become too long to be sent.
    pub(super) fn fits_in_list(&self, jid: &Jid) -> Step<()> {
        match event::written(jid.as_str()) > ENTRY_BYTES {
            true => Err(StanzaError::policy_violation().text("the address is too long").into()),
            false => Ok(()),
        }
    }

    /// Whoever is told of what happens at a node now.
    pub(super) fn audience(&mut self, node: &NodeRow) -> Step<Arc<Audience>> {
        Ok(Arc::new(Audience {
            config: node.config.clone(),
            affiliations: rows::affiliations(self.tx, node.id)?,
            subscribers: rows::subscriptions(self.tx, node.id)?,
        }))
    }

    /// The owners of a node: an account first of all owns its own.
    pub(super) fn owners(&mut self, node: i64) -> Step<Vec<Jid>> {
        let listed = rows::affiliations(self.tx, node)?.into_iter();
        let listed = listed.filter(|(_, of)| *of == Affiliation::Owner).map(|(jid, _)| jid);
        let account = (self.service.kind == Kind::Pep).then(|| Jid::from(&self.service.jid));
        let mut owners: Vec<Jid> = account.into_iter().chain(listed).collect();
        owners.dedup();
        Ok(owners)
    }

    /// The time from which items of a node are there still.
    pub(super) fn alive(&self, config: &NodeConfig) -> i64 {
        match config.item_expire {
            Bound::Max => i64::MIN,
            Bound::Of(seconds) => self.now.saturating_sub(i64::from(seconds) * 1_000_000),
        }
    }

    /// Tells one address that its subscription is another (§12.14).
    pub(super) fn tell_subscription(&self, node: &NodeRow, jid: &Jid, state: SubState) -> Event {
        let content = event::subscription(&node.name, jid, state);
        notice(node, EventKind::Subscription, content, To::Only(vec![jid.clone()]))
    }

    /// The last item for a new subscriber, if it gets one (§6.1.7).
    pub(super) fn last_for(&mut self, node: &NodeRow, jid: &Jid) -> Step<Option<Event>> {
        let config = &node.config;
        if !config.deliver_notifications || config.send_last == super::config::SendLast::Never {
            return Ok(None);
        }
        let after = self.alive(config);
        let Some(item) = rows::newest(self.tx, node.id, after)? else { return Ok(None) };
        let content = event::last(self.service.jid.as_str(), &node.name, config, &item);
        Ok(Some(notice(node, EventKind::Last, content, To::Only(vec![jid.clone()]))))
    }
}

/// Bytes of an entry in a list of a node, as it is written.
const ENTRY_BYTES: usize = 512;

/// A message about a node.
pub(super) fn notice(node: &NodeRow, kind: EventKind, content: Bytes, to: To) -> Event {
    // What an owner is asked waits for them (§8.6): a headline does not.
    let headline = kind != EventKind::Request && event::is_headline(&node.config);
    Event { node: node.name.clone(), kind, content, headline, to }
}

/// The node's name and a subscription's or affiliation's change, if owners want to know (`notify_sub`).
pub(super) fn tell_owners(
    work: &mut Work<'_>,
    node: &NodeRow,
    jid: &Jid,
    state: SubState,
) -> Step<Option<Event>> {
    if !node.config.notify_sub {
        return Ok(None);
    }
    let to = To::Only(work.owners(node.id)?);
    let content = event::subscription(&node.name, jid, state);
    Ok(Some(notice(node, EventKind::Subscription, content, to)))
}
