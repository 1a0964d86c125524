//! Who is where, and the one verb: [`Router::route`].

pub mod contacts;
pub mod features;
pub mod home;
pub mod idle;
pub mod outbox;
pub mod owed;
pub mod passage;
pub mod presence;
pub mod registry;
pub mod rules;
pub mod subscription;
pub mod task;
pub mod ticket;

mod access;
mod append;
mod cached;
mod change;
mod confirm;
mod domains;
mod incoming;
mod outgoing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

use crate::base::credential::AgentId;
use crate::base::limits::Limits;
use crate::jid::{BareJid, Jid};
use crate::stanza::fate::{Fate, fate};
use crate::stanza::{Kind, Stanza, StanzaError};
use crate::store::ids::{AccountId, ArchiveId};
use crate::store::{Store, StoreError, accounts, mailbox, roster};
use crate::stream::error::{StreamError, StreamFailure};
use append::Sent;
use domains::Domains;
pub use domains::{Leads, Served, ServiceId};
use features::{Features, Plain};
use outbox::Outbox;
use owed::Owed;
use passage::{Passage, Stamp};
use registry::{Account, Loaded, Registry, Replaced, Resource, RosterChange};
use task::Tasks;
use ticket::{Ledger, Ticket};

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
    domains: Domains,
    /// What the floor above does to stanzas and accounts.
    features: Arc<dyn Features>,
    sessions: AtomicU64,
}

/// Stanzas for a service from those who cannot wait for it.
pub type Mailbox = tokio::sync::mpsc::Receiver<Stanza>;

/// What came of routing one stanza.
#[derive(Debug)]
pub enum Routed {
    /// On its way, or rightly dropped.
    Done,
    /// As `Done`, but this box is over half full: stop reading for a moment.
    Slow(Arc<Outbox>),
    /// The sender gets this error.
    Bounce(StanzaError),
    /// The addressee must be read from the store first: [`Router::load`], then route again.
    Load(BareJid),
    /// Its row would be one too many for now: [`Store::room`], then route again.
    Crowded,
    /// Not the router's to answer: a handler of the floor above does.
    Handle(Handler),
}

/// Stanzas that a module handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// Subscription stanzas (RFC 6121 §3).
    Subscription,
    /// Presence probes (RFC 6121 §4.3).
    Probe,
    /// IQ requests that the server answers for a domain or an account.
    Iq,
    /// All that is for a service.
    Service(ServiceId),
}

/// Whose stanza is routed: where failures go, and the ticket its writes hold.
#[derive(Debug)]
pub struct Origin<'a> {
    sender: Option<(&'a Arc<Ledger>, &'a Arc<Outbox>)>,
    ticket: Option<Ticket>,
    /// The sender's account.
    account: Option<AccountId>,
    /// The row of its sender's, not queued yet.
    sent: Option<Sent>,
    /// What frames get that go to others of the sender's account.
    stamp: Option<Stamp>,
    /// Where it is kept as sent.
    kept: Option<(ArchiveId, i64)>,
    /// It has waited for room in the store's queue, and has it.
    pub has_room: bool,
    /// Enough of the stream is on its way to the disk.
    full: bool,
}

impl<'a> Origin<'a> {
    /// A stanza read from a session's stream; `ticket` if it has one already. `account` is the
    /// session's, unless it owns nothing.
    pub fn session(
        ledger: &'a Arc<Ledger>,
        outbox: &'a Arc<Outbox>,
        ticket: Option<Ticket>,
        account: Option<AccountId>,
    ) -> Self {
        let sender = Some((ledger, outbox));
        Self { sender, ticket, account, ..Self::server() }
    }

    /// A stanza that the server itself made: nobody waits for it, nobody is told.
    pub fn server() -> Self {
        Self {
            sender: None,
            ticket: None,
            account: None,
            sent: None,
            stamp: None,
            kept: None,
            has_room: false,
            full: false,
        }
    }

    /// What the sender's account keeps of it. Who owns no rows keeps nothing.
    fn keep(&mut self, passage: Passage<'_>) {
        let kept = self.account.zip(passage.archive);
        self.stamp = kept.map(|(_, stamp)| stamp);
        self.sent = kept.map(|(account, _)| Sent { account, seq: 0, beside: passage.beside });
    }

    /// Whether its writes may wait for a need: the stream's count, which later writes carry, does not
    /// cover them (promise.md 6).
    fn may_idle(&self) -> bool {
        self.sender.is_none_or(|(ledger, _)| !ledger.is_managed())
    }

    /// The stanza's ticket, issued at first need.
    pub fn ticket(&mut self) -> Option<Ticket> {
        let (ledger, _) = self.sender?;
        let ticket = self.ticket.get_or_insert_with(|| {
            let (ticket, full) = ledger.issue_and_look();
            self.full |= full;
            ticket
        });
        Some(ticket.clone())
    }

    /// Who writes for others waits while the store has more than enough to do, and is told before
    /// anything happens when it can write nothing. What the server says itself does neither.
    fn held_up(&self, store: &Store) -> Option<Routed> {
        self.sender?;
        if store.is_refusing() {
            store.count_refused();
            return Some(Routed::Bounce(not_stored()));
        }
        (!self.has_room && store.is_crowded()).then_some(Routed::Crowded)
    }

    /// The stanza is not done with: its ticket goes to whoever goes on.
    pub fn into_ticket(self, ledger: &Arc<Ledger>) -> Ticket {
        self.ticket.unwrap_or_else(|| ledger.issue())
    }

    /// All writes of the stanza are queued; one that queued none counts as handled. True when enough
    /// of the stream is on its way to the disk: see [`Ledger::eased`].
    pub fn finish(self) -> bool {
        if let (Some((ledger, _)), None) = (self.sender, &self.ticket) {
            ledger.pass();
        }
        self.full
    }

    fn outbox(&self) -> Option<Arc<Outbox>> {
        self.sender.map(|(_, outbox)| outbox.clone())
    }
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
            features: Arc::new(Plain),
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

    /// The one way a stanza with an addressee travels. Never waits.
    pub fn route(
        self: &Arc<Self>,
        stanza: &Stanza,
        now: SystemTime,
        origin: &mut Origin<'_>,
    ) -> Routed {
        let fate = fate(stanza);
        if (fate.owed || fate.archived)
            && let Some(held_up) = origin.held_up(&self.store)
        {
            return held_up;
        }
        if let Err(routed) = outgoing::begin(self, stanza, fate, origin) {
            return routed;
        }
        let routed = self.route_on(stanza, fate, now, origin);
        if matches!(routed, Routed::Load(_) | Routed::Crowded) {
            return routed;
        }
        match incoming::keep_sent(self, stanza, now, origin) {
            Ok(()) => outgoing::end(self, stanza, fate, now, origin, routed),
            Err(error) => Routed::Bounce(error.into()),
        }
    }

    fn route_on(
        self: &Arc<Self>,
        stanza: &Stanza,
        fate: Fate,
        now: SystemTime,
        origin: &mut Origin<'_>,
    ) -> Routed {
        let Some(to) = stanza.to() else { return Routed::Handle(Handler::Iq) };
        match self.leads(to) {
            Leads::Account => incoming::pass(self, stanza, to, fate, now, origin),
            Leads::Server => to_domain(stanza),
            Leads::Service(service) => Routed::Handle(Handler::Service(service)),
            Leads::Elsewhere => to_remote(stanza),
        }
    }

    /// The session that sent the stanza gets this error of the server's own: others of its account may
    /// hear of it, too.
    pub fn bounced(&self, stanza: &Stanza, reply: &Bytes, sender: &Arc<Outbox>, now: SystemTime) {
        outgoing::returned(self, stanza, reply, sender, now);
    }

    /// Reads an account into the registry (existence, roster, what it is owed), if it is not there.
    pub async fn load(&self, bare: &BareJid) -> Result<(), StoreError> {
        if !self.registry.begin_load(bare) {
            return Ok(());
        }
        // promise.md 7: rows may be queued from when the entry was last in memory. Idle ones are of
        // accounts whose sessions hold them: these are in memory.
        self.store.begun().await?;
        let local = bare.local().unwrap_or_default().to_owned();
        let host = bare.domain().to_owned();
        let (store, placings) = (self.store.clone(), self.store.placings());
        let features = self.features.clone();
        let read = self.store.read(move |tx| {
            let Some(account) = accounts::find(tx, &local, &host)? else { return Ok(None) };
            let behind = store.is_behind(ArchiveId::of(account.id), placings);
            let owed = Owed::stored(mailbox::owed(tx, account.id, behind)?);
            let roster = roster::load(tx, account.id)?;
            let features = features.load(tx, account.id)?;
            let loaded = Loaded { roster, owed, features };
            Ok(Some((account.id, loaded)))
        });
        let (account, loaded) = match read.await {
            Ok(Some((id, loaded))) => (Account::Stored(id), loaded),
            Ok(None) => (Account::Missing, Loaded::default()),
            Err(error) => {
                self.registry.load_failed(bare.as_str());
                return Err(error);
            }
        };
        self.registry.end_load(bare, account, loaded);
        Ok(())
    }

    /// Makes a committed roster change visible and hands the pushes to `push`, in version order.
    pub fn roster_changed(
        &self,
        bare: &str,
        change: RosterChange,
        push: impl Fn(&RosterChange, &registry::Push),
    ) {
        for (change, targets) in self.registry.roster_changed(bare, change) {
            targets.iter().for_each(|target| push(&change, target));
        }
    }

    /// Somebody waits for the account's rows: those that idle are queued for writing. False when some
    /// could not be, as the store has too much to do.
    pub fn begin_idle_of(&self, bare: &str) -> bool {
        let begun = self.registry.with(bare, |user| {
            let untaken = user.idle.begin(&self.store);
            (untaken, user.idle.is_empty())
        });
        begun.is_none_or(|(untaken, all)| {
            untaken.settle();
            all
        })
    }

    /// The same for those of all accounts.
    pub fn begin_idle(&self) {
        self.registry.begin_idle(&self.store).settle();
    }

    /// The same, and waits until the store has taken all of them: before it is closed.
    pub async fn write_idle(&self) {
        loop {
            self.begin_idle();
            if !self.registry.has_idle() || self.store.barrier().await.is_err() {
                return;
            }
        }
    }

    /// After a session ended: owed rows that nobody holds go to another resource, if there is one.
    pub fn ended(&self, bare: &str) {
        incoming::redeliver(self, bare);
    }

    /// Ends a session that lost its resource to a newer one (RFC 6120 §7.7.2.2).
    pub fn replaced(self: &Arc<Self>, replaced: &Replaced) {
        let why = StreamError::Conflict.text("replaced by a new session with this resource");
        self.superseded(replaced, why);
    }

    /// Ends a session that is out of the registry already.
    pub fn superseded(&self, replaced: &Replaced, why: StreamFailure) {
        replaced.resource.outbox.end(outbox::End::Failure(why));
    }

    /// Ends all sessions of an account.
    pub fn end_sessions(&self, bare: &str, why: &StreamFailure) {
        let outboxes = self.registry.with(bare, |user| {
            user.resources.iter().map(|resource| resource.outbox.clone()).collect::<Vec<_>>()
        });
        for outbox in outboxes.into_iter().flatten() {
            outbox.end(outbox::End::Failure(why.clone()));
        }
    }

    /// Ends all sessions of one device of an account; `but` goes on, for it ends itself.
    pub fn end_device(&self, bare: &str, device: &AgentId, but: u64, why: &StreamFailure) {
        let outboxes = self.registry.with(bare, |user| {
            let of = |one: &&Resource| one.agent.as_ref() == Some(device) && one.session != but;
            let found = user.resources.iter().filter(of);
            found.map(|resource| resource.outbox.clone()).collect::<Vec<_>>()
        });
        for outbox in outboxes.into_iter().flatten() {
            outbox.end(outbox::End::Failure(why.clone()));
        }
    }

    /// The rows were confirmed by a session of the account: they are owed no longer.
    pub fn confirm(self: &Arc<Self>, bare: &str, seqs: &[i64]) {
        confirm::confirm(self, bare, seqs);
    }
}

/// To the sender of a message while the disk takes no writes (promise.md 5).
fn not_stored() -> StanzaError {
    StanzaError::resource_constraint().text("the server cannot store messages now")
}

/// RFC 6120 §10.4: without federation every remote domain is not found. Errors and results
/// are dropped, as no error may answer them, and so is presence, which nobody awaits.
fn to_remote(stanza: &Stanza) -> Routed {
    let answerable = match stanza.kind() {
        Kind::Message => stanza.ty().as_deref() != Some("error"),
        Kind::Iq => !matches!(stanza.ty().as_deref(), Some("error" | "result")),
        Kind::Presence => !matches!(stanza.ty().as_deref(), Some("error" | "unavailable")),
    };
    if answerable { Routed::Bounce(StanzaError::remote_server_not_found()) } else { Routed::Done }
}

fn to_domain(stanza: &Stanza) -> Routed {
    match (stanza.kind(), stanza.ty().as_deref()) {
        (Kind::Iq, Some("get" | "set")) => Routed::Handle(Handler::Iq),
        // RFC 6121 §8.4 leaves messages to the domain open; nobody reads them here.
        (Kind::Message, ty) if ty != Some("error") => {
            Routed::Bounce(StanzaError::service_unavailable())
        }
        _ => Routed::Done,
    }
}
