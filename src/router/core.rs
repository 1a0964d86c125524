//! What the router of a server has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::domains::{Domains, Leads, Mailbox, Served};
use super::features::{Features, NoFeatures};
use super::marks::Marks;
use super::registry::Registry;
use super::task::Tasks;
use crate::base::limits::Limits;
use crate::jid::Jid;
use crate::store::Store;

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
    /// What this server answers for.
    pub(super) domains: Domains,
    /// Of messages, for features.
    pub(super) marks: Marks,
    /// What the floor above does to stanzas and accounts.
    pub(super) features: Arc<dyn Features>,
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
            domains: Domains::of_accounts(hosts),
            marks: Marks::default(),
            features: Arc::new(NoFeatures),
            sessions: AtomicU64::new(1),
        }
    }

    /// True for a domain whose addresses are accounts of this server.
    pub fn has_accounts(&self, domain: &str) -> bool {
        self.domains.served(domain) == Some(Served::Accounts)
    }

    /// True for a domain that this server answers for.
    pub fn serves(&self, domain: &str) -> bool {
        self.domains.served(domain).is_some()
    }

    /// Where an address leads.
    pub fn leads(&self, to: &Jid) -> Leads {
        self.domains.leads(to)
    }

    /// One more service at these domains; what comes back is what it has to handle beside stanzas that
    /// are driven to it. In the order of their [`ServiceId`]s, before the router is shared.
    pub fn add_service(&mut self, domains: impl IntoIterator<Item = String>) -> Mailbox {
        self.domains.add(domains, self.limits.service_queue_max)
    }

    /// With these, instead of none.
    #[must_use]
    pub fn with_features(mut self, features: Arc<dyn Features>) -> Self {
        self.registry = Registry::new(features.clone());
        self.features = features;
        self
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
