//! What a module is, what its hooks are given, and what all of them are made into: types that lead to each
//! other, and so stand in one file.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::{Config, SessionState, Shared};
use super::command::{Answers, StageOutcome};
use super::reply::{ClientDelivery, PresenceEffect, Reply, SessionEnd};
use super::requester::{Client, Requester};
use super::spec::{Identity, On, Spec};
use crate::jid::BareJid;
use crate::router::held::Asks;
use crate::router::outbox;
use crate::router::passage::{GuardQuery, Passage, Phase, Verdict};
use crate::router::registry::{AccountEntry, Resource};
use crate::router::{Router, ServiceId};
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Stanza, StanzaError};
use crate::store::ids::AccountId;
use crate::store::tx::Tx;
use crate::store::{Store, StoreError};
use crate::xml::view::Node;

/// One feature of the server: one file, one line in [`crate::modules::ALL`].
#[derive(Debug)]
pub struct Module {
    /// As in the config and the docs; the file's name.
    pub name: &'static str,
    /// Which accounts have it; none: all. For the others it is as though it were not there.
    pub serves: Option<Serves>,
    /// Whether hosted domains show its features; none: always.
    pub shown: Option<fn(&Config) -> bool>,
    /// Whether its hooks on stanzas have anything to do with these settings; none: always. The others are not
    /// called at all.
    pub active: Option<fn(&Config) -> bool>,
    /// What it implements.
    pub specs: &'static [Spec],
    /// What hosted domains are through it (XEP-0030 §3.1).
    pub identities: &'static [Identity],
    /// What service discovery says of it (XEP-0030).
    pub features: &'static [On],
    /// What people can do through forms (XEP-0050).
    pub commands: &'static [Command],
    /// Requests it answers.
    pub iqs: &'static [IqRoute],
    /// A domain of its own.
    pub service: Option<Service>,
    /// Stream features it offers (RFC 6120 §4.3.2).
    pub stream_features: Option<StreamFeature>,
    /// What a client may switch on while it binds a resource (XEP-0386 §3.1).
    pub inline: &'static [Inline],
    /// What each client that binds so is told, asked or not.
    pub bound: Option<OnBound>,
    /// Whether an account and somebody else may reach each other: asked before any stanza passes, and
    /// before presence is shown. What its sessions send is looked at if `sessions` asked for it.
    pub guard: Option<Guard>,
    /// Its part in what an account is sent, under the account's lock.
    pub incoming: &'static [(Phase, Incoming)],
    /// Its part in what an account's sessions send, under the account's lock if `sessions` asked for it.
    pub outgoing: &'static [(Phase, Outgoing)],
    /// Sessions of an account came, went, or changed what is kept for them.
    pub sessions: Option<Sessions>,
    /// Hooks on what is on its way to a session's client, in that session's task.
    pub to_client: &'static [(Phase, ToClient)],
    /// Elements that are no stanzas, from bound streams.
    pub nonzas: &'static [Nonza],
    /// A session that can be resumed lost its connection, or has another one.
    pub disconnected: Option<Release>,
    /// A session ended, for whatever reason.
    pub session_ended: Option<SessionEnded>,
    /// Presence from a session to nobody in particular.
    pub broadcast: Option<Broadcast>,
    /// Presence from a session to somebody (RFC 6121 §4.6).
    pub directed: Option<Directed>,
    /// A session is gone (closed, cut or replaced); its entry is out of the registry already.
    pub resource_removed: Option<ResourceRemoved>,
    /// Subscription stanzas that a session sends: the sender's half of RFC 6121 appendix A, and
    /// on to the contact.
    pub subscription_out: Option<OnStanza>,
    /// Subscription stanzas to a local account, from anywhere: the contact's half.
    pub subscription_in: Option<OnStanza>,
    /// Presence probes to a local account, from anywhere.
    pub probe: Option<OnStanza>,
    /// The statements on its tables: a `CATALOGUE` for each file of it that has some (`store::sql!`).
    pub sql: &'static [&'static [(&'static str, &'static str)]],
    /// For the quota: bytes and rows of an account in its tables.
    pub weights: &'static [&'static str],
    /// Rows of its tables go with the account, in the same transaction.
    pub account_deleted: Option<AccountDeleted>,
    /// Work to be done again and again while the server runs, and how often.
    pub every: Option<(Duration, Every)>,
}

impl Module {
    /// Nothing; a module names what it has and takes the rest from here.
    pub const EMPTY: Self = Self {
        name: "",
        serves: None,
        shown: None,
        active: None,
        specs: &[],
        identities: &[],
        features: &[],
        commands: &[],
        iqs: &[],
        service: None,
        stream_features: None,
        inline: &[],
        bound: None,
        guard: None,
        incoming: &[],
        outgoing: &[],
        sessions: None,
        to_client: &[],
        nonzas: &[],
        disconnected: None,
        session_ended: None,
        broadcast: None,
        directed: None,
        resource_removed: None,
        subscription_out: None,
        subscription_in: None,
        probe: None,
        sql: &[],
        weights: &[],
        account_deleted: None,
        every: None,
    };
}

/// An element at the top of a bound stream that is no stanza.
#[derive(Debug, Clone, Copy)]
pub struct Nonza {
    /// Its namespace.
    pub ns: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it does, before anything behind it is read.
    pub handler: Release,
}

/// Which addressee an IQ route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A hosted domain.
    Server,
    /// The sender's own account: no `to`, or its own bare JID.
    Own,
    /// Another account's bare JID, which may or may not exist.
    Other,
    /// The domain of a service: the module's own if it has one, else whichever it is.
    Service,
    /// The stream itself, before it is authenticated (XEP-0077).
    Stream,
}

/// A request that a module answers.
#[derive(Debug, Clone, Copy)]
pub struct IqRoute {
    /// get or set
    pub ty: IqType,
    /// Namespace of the payload.
    pub ns: &'static str,
    /// Name of the payload.
    pub name: &'static str,
    /// Addressees.
    pub targets: &'static [Target],
    /// The handler.
    pub handler: IqHandler,
}

/// A feature that is switched on by an element of a bind request (XEP-0386 §3.2).
#[derive(Debug, Clone, Copy)]
pub struct Inline {
    /// What it is offered as; the namespace of its elements.
    pub ns: &'static str,
    /// The handler.
    pub handler: OnInline,
}

/// Handles an element of a bind request, when the session is bound and before anything is sent to it.
/// What it gives, if anything, stands in `<bound/>`. Runs in the session's task, without waiting.
pub type OnInline = fn(&Cx, &mut SessionState, Node<'_>) -> Vec<u8>;
/// Makes what stands in `<bound/>`, as of a moment after binding; nothing where it fails.
pub type OnBound = fn(Cx) -> Answer<Vec<u8>>;
/// A handler's future.
pub type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// Answers one request.
pub type IqHandler = fn(Cx, Iq) -> Answer<Result<Reply, StanzaError>>;
/// Handles a stanza to an account or a service; what it answers goes out after it has committed.
pub type OnStanza = fn(Cx, Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>>;
/// Lets one reach the other, or not. Takes no lock.
pub type Guard = fn(&AccountEntry, &GuardQuery<'_>) -> Verdict;
/// Adds to what is done with a stanza that an account is sent. Takes no other lock.
pub type Incoming = fn(&Config, &mut AccountEntry, &mut Passage<'_>) -> Verdict;
/// The same for one that a session of the account sends. Without the account where nobody asked for it.
pub type Outgoing = fn(&Config, Option<&mut AccountEntry>, &mut Passage<'_>) -> Verdict;
/// Adds what the account is asked about each session's stanzas: one entry for each resource.
pub type Sessions = fn(&mut AccountEntry, &mut [Asks]);
/// Looks at, and may keep, a stanza that is on its way to a session's client. Never what is owed.
pub type ToClient = fn(&Config, &mut SessionState, &outbox::Outgoing) -> ClientDelivery;
/// Changes what is kept for a session; gives out what goes to its client now.
pub type Release = fn(&mut SessionState) -> Vec<outbox::Outgoing>;
/// A session ended; its last status text, if its client gave one.
pub type SessionEnded = fn(&Cx, &SessionEnd);
/// Handles a session's own broadcast presence. Runs in its task, without waiting.
pub type Broadcast = fn(&Cx, &Client, &Stanza) -> Result<PresenceEffect, StanzaError>;
/// Handles a session's directed presence before it is routed.
pub type Directed = fn(&Cx, &Client, &Stanza) -> Result<(), StanzaError>;
/// Takes note that a session's resource is out of the registry.
pub type ResourceRemoved = fn(&Cx, &Resource);
/// Makes a stream feature, or none for this stage.
pub type StreamFeature = fn(&Config, Stage) -> Option<String>;
/// Deletes what the module keeps of an account.
pub type AccountDeleted = fn(&mut dyn Tx, AccountId) -> Result<(), StoreError>;

/// Does this account have the module?
pub type Serves = fn(&Config, &BareJid) -> bool;
/// Does what is due. Dropped between two awaits when the server stops.
pub type Every = fn(PeriodicJob) -> Answer<()>;

/// What work without a session sees.
#[derive(Debug, Clone)]
pub struct PeriodicJob {
    /// Why it runs.
    pub cause: Cause,
    /// The wall clock, as far as it is believed: what is old may be deleted by it.
    pub now: SystemTime,
    /// All modules' settings; a module reads its own.
    pub config: Arc<Config>,
    /// Everything durable.
    pub store: Store,
    /// Who is where, and `route`.
    pub router: Arc<Router>,
    /// What modules share.
    pub server: Arc<Pipeline>,
}

/// Why [`Module::every`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its time has come.
    Due,
    /// An account was deleted: what it left, too much for one transaction, may be deleted now.
    AccountDeleted,
    /// An archive has grown much: the store says whose ([`Store::take_grown`]).
    Grown,
}

/// The two moments at which stream features are offered after TLS (RFC 6120 §4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before SASL.
    Authenticate,
    /// After it.
    Bind,
}

/// What handlers see. It may never gain a field that is a module.
#[derive(Debug, Clone)]
pub struct Cx {
    /// Who asks.
    pub who: Requester,
    /// By which what is old is judged: the wall clock, but for a day after it leapt far ahead.
    pub now: SystemTime,
    /// All modules' settings; a module reads its own.
    pub config: Arc<Config>,
    /// Everything durable.
    pub store: Store,
    /// Who is where, and `route`.
    pub router: Arc<Router>,
    /// What the server says of itself.
    pub server: Arc<Pipeline>,
}

/// The IQ index, built once: by namespace, then the few routes in it, each for whom its module is.
pub type IqIndex = HashMap<&'static str, Vec<Answerer>>;

/// A route, for one of its targets.
#[derive(Debug, Clone, Copy)]
pub struct Answerer {
    /// For whom.
    pub target: Target,
    /// Which request, and what answers it.
    pub route: IqRoute,
    /// Which accounts have the module.
    pub serves: Option<Serves>,
    /// The module's own service: a route with [`Target::Service`] is for that one alone.
    pub service: Option<ServiceId>,
}

/// A command of XEP-0050, offered by hosted domains and by accounts to themselves.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Its id among all.
    pub node: &'static str,
    /// For people.
    pub name: &'static str,
    /// Who may run it; for others it is not there.
    pub allowed: fn(&Cx) -> bool,
    /// Runs it with what was filled in so far: a function of the stages, so that a client may go back.
    pub run: RunCommand,
}

/// Runs one stage of a command.
pub type RunCommand = fn(Cx, Vec<Answers>) -> Answer<Result<StageOutcome, StanzaError>>;

/// A service, at a domain below each hosted one. What it keeps is in the module's part of
/// [`crate::modules::Shared`], behind a lock of its own: handlers of different senders run side by side,
/// those of one sender in order. Handlers answer with what is to be sent; what they send under their lock
/// must be routed and not awaited. A session may have ended while its stanza was handled: whoever lists it
/// looks afterwards whether it is there still ([`Cx::own`]).
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// What stands in front of each hosted domain; none: it is switched off.
    pub label: fn(&Config) -> Option<&str>,
    /// What it is (XEP-0030 §3.1).
    pub identity: Identity,
    /// Features of its domain, beside those that all services have.
    pub features: &'static [&'static str],
    /// Messages for any of its addresses.
    pub message: OnStanza,
    /// Presence of any type for any of its addresses: from sessions, and on their behalf when they end.
    pub presence: OnStanza,
    /// IQs for any of its addresses, answers too; but requests to its domain that a route with
    /// [`Target::Service`] answers.
    pub iq: OnStanza,
}

/// A service that is switched on.
#[derive(Debug)]
pub struct Serving {
    /// Whose it is.
    pub module: &'static str,
    /// What it does.
    pub service: Service,
    /// What stands in front of each hosted domain.
    pub label: String,
}

impl Serving {
    /// Its domain below a hosted one.
    pub fn domain(&self, host: &str) -> String {
        format!("{}.{host}", self.label)
    }
}

/// What `Pipeline::build` makes of the module table. Shared by all sessions.
#[derive(Debug)]
pub struct Pipeline {
    pub(in crate::modules) iqs: IqIndex,
    pub(in crate::modules) to_client: Vec<(Phase, &'static str, ToClient)>,
    pub(in crate::modules) session_ended: Vec<SessionEnded>,
    pub(in crate::modules) broadcast: Vec<Broadcast>,
    pub(in crate::modules) directed: Vec<Directed>,
    pub(in crate::modules) resource_removed: Vec<ResourceRemoved>,
    pub(in crate::modules) subscription_out: Vec<OnStanza>,
    pub(in crate::modules) subscription_in: Vec<OnStanza>,
    pub(in crate::modules) probe: Vec<OnStanza>,
    pub(in crate::modules) services: Vec<Serving>,
    pub(in crate::modules) modules: &'static [&'static Module],
    pub(in crate::modules) authenticate_features: String,
    pub(in crate::modules) bind_features: String,
    pub(in crate::modules) started: SystemTime,
    pub(in crate::modules) shared: Shared,
}
