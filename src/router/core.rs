//! What the router of a server has.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::domains::{Domains, Leads, Served, ServiceId};
use super::fates::Fates;
use super::features::{Features, NoFeatures};
use super::mailbox::Mailbox;
use super::marks::Marks;
use super::passage::{Event, Passed};
use super::peers::Peers;
use super::questions::Questions;
use super::registry::{Registry, RosterChange};
use super::task::Tasks;
use crate::base::limits::Limits;
use crate::jid::{BareJid, Jid};
use crate::stanza::Frame;
use crate::store::Store;
use crate::store::ids::AccountId;

/// What the floor above does when a stanza has passed and no lock is held.
pub trait Afterwards: Debug + Send + Sync {
    /// Runs what features asked for, without waiting.
    fn passed(&self, router: &Arc<Router>, passed: Passed, events: Vec<Event>);

    /// A contact was let see the presence of an account of this server, and was shown it.
    fn approved(&self, router: &Arc<Router>, owner: &BareJid, contact: &BareJid);

    /// An item of the roster of an account of this server changed, after the commit.
    fn roster_changed(
        &self,
        router: &Arc<Router>,
        account: AccountId,
        owner: &BareJid,
        change: &RosterChange,
    );

    /// What the roster of an account of this server says of a contact changed, after the commit.
    fn contact_changed(
        &self,
        router: &Arc<Router>,
        account: AccountId,
        owner: &BareJid,
        contact: &BareJid,
    );
}

/// The router of one server. Shared as `Arc`; holds no session.
#[derive(Debug)]
pub struct Router {
    /// Accounts and sessions in memory.
    pub registry: Registry,
    /// Everything durable.
    pub store: Store,
    /// Bounds.
    pub limits: Arc<Limits>,
    /// Background work of this server.
    pub tasks: Tasks,
    /// What the server itself asks.
    pub questions: Questions,
    /// What waits for other servers and for components.
    pub peers: Peers,
    /// What this server answers for.
    pub(super) domains: Domains,
    /// Of messages, for features.
    pub(super) marks: Marks,
    /// What the floor above does to stanzas and accounts.
    pub(super) features: Arc<dyn Features>,
    /// What became of messages.
    pub(super) fates: Fates,
    afterwards: Option<Arc<dyn Afterwards>>,
    sessions: AtomicU64,
}

impl Router {
    /// A router for these domains, which must be in normal form.
    pub fn new(hosts: impl IntoIterator<Item = String>, store: Store, limits: Arc<Limits>) -> Self {
        Self {
            registry: Registry::default(),
            store,
            limits,
            tasks: Tasks::default(),
            questions: Questions::default(),
            peers: Peers::default(),
            domains: Domains::of_accounts(hosts),
            marks: Marks::default(),
            features: Arc::new(NoFeatures),
            fates: Fates::default(),
            afterwards: None,
            sessions: AtomicU64::new(1),
        }
    }

    /// True for a domain whose addresses are accounts of this server.
    pub fn has_accounts(&self, domain: &str) -> bool {
        self.domains.served(domain) == Some(Served::Accounts)
    }

    /// The domains whose addresses are accounts of this server.
    pub fn hosts(&self) -> Vec<String> {
        self.domains.hosts()
    }

    /// All domains that this server answers for, in order.
    pub fn domains(&self) -> Vec<String> {
        self.domains.all()
    }

    /// True for a domain that this server answers for.
    pub fn serves(&self, domain: &str) -> bool {
        self.domains.served(domain).is_some()
    }

    /// Where an address leads.
    pub fn leads(&self, to: &Jid) -> Leads {
        self.domains.leads(to)
    }

    /// One more service at these domains, before the router is shared.
    pub fn add_service(&mut self, domains: impl IntoIterator<Item = String>) -> ServiceId {
        let Limits { service_queue_max, service_queue_bytes_max, .. } = *self.limits;
        self.domains.add(domains, Mailbox::new(service_queue_max, service_queue_bytes_max))
    }

    /// The way to a service for those who cannot wait for it.
    pub fn mailbox(&self, service: ServiceId) -> Option<&Arc<Mailbox>> {
        self.domains.mailbox(service)
    }

    pub(super) fn put(&self, service: ServiceId, to: &str, frame: Frame) {
        if let Some(mailbox) = self.mailbox(service) {
            mailbox.put(to, frame);
        }
    }

    /// A contact was let see the account's presence, and was shown it.
    pub fn approved(self: &Arc<Self>, owner: &BareJid, contact: &BareJid) {
        if let Some(afterwards) = &self.afterwards {
            afterwards.approved(self, owner, contact);
        }
    }

    /// An item of an account's roster changed in a way that clients see.
    pub fn roster_told(
        self: &Arc<Self>,
        account: AccountId,
        owner: &BareJid,
        change: &RosterChange,
    ) {
        if let Some(afterwards) = &self.afterwards {
            afterwards.roster_changed(self, account, owner, change);
        }
    }

    /// What the account's roster says of a contact changed: it is committed.
    pub fn contact_changed(
        self: &Arc<Self>,
        account: AccountId,
        owner: &BareJid,
        contact: &BareJid,
    ) {
        if let Some(afterwards) = &self.afterwards {
            afterwards.contact_changed(self, account, owner, contact);
        }
    }

    /// With these, instead of none.
    #[must_use]
    pub fn with_features(mut self, features: Arc<dyn Features>) -> Self {
        self.registry = Registry::new(features.clone());
        self.features = features;
        self
    }

    /// With queues for whoever is beyond this server, instead of none.
    #[must_use]
    pub fn with_peers(mut self, peers: Peers) -> Self {
        self.peers = peers;
        self
    }

    /// Runs the events of features with this, instead of dropping them.
    #[must_use]
    pub fn with_afterwards(mut self, afterwards: Arc<dyn Afterwards>) -> Self {
        self.afterwards = Some(afterwards);
        self
    }

    /// The lock of the account is free: what features wanted to do then. Mostly nothing.
    pub(super) fn passed(self: &Arc<Self>, events: Vec<Event>, passed: impl FnOnce() -> Passed) {
        if let (false, Some(afterwards)) = (events.is_empty(), &self.afterwards) {
            afterwards.passed(self, passed(), events);
        }
    }

    /// A number for a new session.
    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// What a passage must know of the server.
    pub(super) fn here(&self) -> (&Domains, &Marks) {
        (&self.domains, &self.marks)
    }
}
