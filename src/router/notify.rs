//! Notifications from an account to sessions that want them, one text for all of them: the only other file
//! than `presence` that hands something of one account to another without a passage. They are made for
//! those who are there at that moment, and wait for nobody.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Router;
use super::account::{AccountEntry, Resource};
use super::contacts::Contacts;
use super::outbox::{Level, Outbox};
use super::passage::{GuardQuery, Side};
use super::rules::StanzaClass;
use crate::jid::{BareJid, FullJid, Jid};
use crate::stanza::Frame;
use crate::stanza::message::MessageType;

/// What they are to guards.
const CLASS: StanzaClass = StanzaClass::Message(MessageType::Headline);

/// Resources of one account that want to hear something: there are hundreds of accounts, and most have one.
type Wanting = SmallVec<[(FullJid, Arc<Outbox>); 2]>;

/// Who got a notification.
#[derive(Debug, Default)]
pub struct Notified {
    /// The resources.
    pub to: Vec<FullJid>,
    /// The boxes of those that have little room left: whoever causes more should wait for them.
    pub slow: Vec<Arc<Outbox>>,
}

impl Router {
    /// Gives a notification of `from` to the available resources of an account of this server that `wants`
    /// chooses, each under its full JID. `frame` has no `to`. Asks the guards of the addressee; those of
    /// `from` are for the caller ([`Router::notifiable`]). Adds to `notified` who got it.
    pub fn notify(
        &self,
        from: &BareJid,
        to: &str,
        frame: &Frame,
        wants: impl Fn(&Resource) -> bool,
        notified: &mut Notified,
    ) {
        let found = self.registry.look(to, |entry| {
            let wanting = entry.available().filter(|resource| wants(resource));
            let found: Wanting = wanting.map(|one| (one.jid.clone(), one.outbox.clone())).collect();
            match found.is_empty() || self.lets_in_notification(entry, to, from) {
                true => found,
                false => Wanting::new(),
            }
        });
        for (jid, outbox) in found.unwrap_or_default() {
            // A box that is full or closed belongs to a session that ends.
            if let Ok(level) = outbox.push(frame.addressed(jid.as_str())) {
                notified.to.push(jid);
                notified.slow.extend((level == Level::OverHalf).then_some(outbox));
            }
        }
    }

    /// Those of these addresses to whom the account's own guards let notifications go; none if the account
    /// is not in memory ([`Router::load`]).
    pub fn notifiable(&self, own: &BareJid, mut to: Vec<Jid>) -> Vec<Jid> {
        let asked = self.registry.look(own.as_str(), |entry| {
            to.retain(|peer| {
                let (side, kind, own) = (Side::Outgoing, CLASS, own.as_str());
                let query = GuardQuery { side, kind, own, peer };
                self.features.guard(entry, &query).ended().is_ok()
            });
        });
        if asked.is_some() { to } else { Vec::new() }
    }

    /// Whether notifications from this address come to the account, for its own guards.
    pub fn hears(&self, own: &BareJid, from: &BareJid) -> bool {
        let of = |entry: &AccountEntry| self.lets_in_notification(entry, own.as_str(), from);
        self.registry.look(own.as_str(), of).unwrap_or(false)
    }

    /// The roster of an account of this server, for whoever acts on its behalf; an empty one if it is not in
    /// memory.
    pub fn roster(&self, own: &BareJid) -> Arc<Contacts> {
        self.registry.look(own.as_str(), |entry| entry.roster.clone()).unwrap_or_default()
    }

    /// Whether an account of this server has this resource, available, and `fits` takes it.
    pub fn is_there(&self, jid: &Jid, fits: impl Fn(&Resource) -> bool) -> bool {
        let is_there = |entry: &AccountEntry| {
            let resource = entry.resource(jid).filter(|resource| resource.presence.is_some());
            resource.is_some_and(&fits)
        };
        self.registry.look(jid.bare_str(), is_there).unwrap_or(false)
    }

    /// What `look` says of each available resource of an account of this server.
    pub fn resources<T>(&self, bare: &BareJid, look: impl Fn(&Resource) -> Option<T>) -> Vec<T> {
        let all = |entry: &AccountEntry| entry.available().filter_map(&look).collect();
        self.registry.look(bare.as_str(), all).unwrap_or_default()
    }

    fn lets_in_notification(&self, entry: &AccountEntry, own: &str, from: &BareJid) -> bool {
        let query = GuardQuery { side: Side::Incoming, kind: CLASS, own, peer: from };
        own == from.as_str() || self.features.guard(entry, &query).ended().is_ok()
    }
}
