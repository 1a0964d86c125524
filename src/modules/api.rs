//! What a module is: plain data that the server reads at start. `docs/modules.md` shows by example
//! how to add one.

mod command;
mod requester;
mod service;

pub use command::{Answers, Command, Note, RunCommand, Said};
pub use requester::{Channel, Client, Guest, Requester};
pub use service::{Service, Serving};

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Config, SessionState};
use crate::jid::{BareJid, Jid};
use crate::router::features::Asks;
use crate::router::home::{Glance, Glanced};
use crate::router::outbox;
pub use crate::router::passage::{Meeting, Passage, Phase, Verdict};
use crate::router::registry::{Resource, User};
use crate::router::{Leads, Router};
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Stanza, StanzaError};
use crate::store::ids::AccountId;
use crate::store::tx::Tx;
use crate::store::{Store, StoreError};
use crate::xml::view::Node;

/// One feature of the server: one file, one line in [`super::ALL`].
#[derive(Debug)]
pub struct Module {
    /// As in the config and the docs; the file's name.
    pub name: &'static str,
    /// Which accounts have it; none: all. For the others it is as though it were not there.
    pub serves: Option<Serves>,
    /// Whether hosted domains show its features; none: always.
    pub shown: Option<fn(&Config) -> bool>,
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
    /// Whether an account meets somebody: asked before any stanza passes, and before presence is shown. What
    /// its sessions send is looked at if `sessions` asked for it.
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
    pub unbound: Option<Unbound>,
    /// Presence from a session to nobody in particular.
    pub broadcast: Option<Broadcast>,
    /// Presence from a session to somebody (RFC 6121 §4.6).
    pub directed: Option<Directed>,
    /// A session is gone (closed, cut or replaced); its entry is out of the registry already.
    pub gone: Option<Gone>,
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
        unbound: None,
        broadcast: None,
        directed: None,
        gone: None,
        subscription_out: None,
        subscription_in: None,
        probe: None,
        sql: &[],
        weights: &[],
        account_deleted: None,
        every: None,
    };
}

/// A specification and how far it is implemented.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// `RFC 6121 §2` or `XEP-0199`
    pub name: &'static str,
    /// The version read while writing, for XEPs.
    pub version: &'static str,
    /// How far.
    pub state: State,
    /// The test that shows it: a file under `tests/`, or one under `src/` with tests of its own.
    pub test: &'static str,
}

impl Spec {
    /// A specification that is there whole, as far as it concerns a server.
    pub const fn whole(name: &'static str, version: &'static str, test: &'static str) -> Self {
        Self { name, version, state: State::Complete, test }
    }

    /// One of which `missing` is missing.
    pub const fn partial(
        name: &'static str,
        version: &'static str,
        missing: &'static str,
        test: &'static str,
    ) -> Self {
        Self { name, version, state: State::Partial(missing), test }
    }
}

/// How far a specification is implemented on the server's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything that concerns a server.
    Complete,
    /// The rest is named in docs/specs.md.
    Partial(&'static str),
}

/// Where a disco feature is shown.
#[derive(Debug, Clone, Copy)]
pub enum On {
    /// On a hosted domain.
    Server(&'static str),
    /// On an account's bare JID.
    Account(&'static str),
    /// On the domain of every service.
    Service(&'static str),
}

impl On {
    /// The feature, if hosted domains have it.
    pub const fn server(self) -> Option<&'static str> {
        match self {
            Self::Server(feature) => Some(feature),
            Self::Account(_) | Self::Service(_) => None,
        }
    }

    /// The feature, if accounts have it.
    pub const fn account(self) -> Option<&'static str> {
        match self {
            Self::Account(feature) => Some(feature),
            Self::Server(_) | Self::Service(_) => None,
        }
    }

    /// The feature, if services have it.
    pub const fn service(self) -> Option<&'static str> {
        match self {
            Self::Service(feature) => Some(feature),
            Self::Server(_) | Self::Account(_) => None,
        }
    }
}

/// What an entity is (XEP-0030 §3.1). Sorts as XEP-0115 §5.1 wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// `server`, `account`, …
    pub category: &'static str,
    /// `im`, `registered`, …
    pub ty: &'static str,
    /// For people.
    pub name: Option<&'static str>,
}

/// What a module keeps for a session, over a restart of the server (promise.md 11).
pub trait Keep: Sized {
    /// Rises with every change of what [`Keep::save`] writes.
    const VERSION: u16;
    /// As bytes.
    fn save(&self) -> Vec<u8>;
    /// From bytes of this version; `None` when they cannot be read.
    fn load(bytes: &[u8]) -> Option<Self>;
}

/// What is kept, to be saved under this name.
pub fn saved<T: Keep>(name: &str, state: &T) -> super::Saved {
    (name.to_owned(), T::VERSION, state.save())
}

/// What was saved under this name; a module that is new since then begins afresh.
pub fn restore<T: Keep + Default>(name: &str, saved: &[(String, u16, Vec<u8>)]) -> Option<T> {
    match saved.iter().find(|(known, ..)| known == name) {
        None => Some(T::default()),
        Some((_, version, bytes)) if *version == T::VERSION => T::load(bytes),
        Some(_) => None,
    }
}

/// What a module keeps for an account, in the router's entry.
pub trait OfAccount: Sized {
    /// Reads it with the account.
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError>;
    /// Bytes that it takes outside itself.
    fn bytes(&self) -> usize;
    /// As though there were none.
    fn is_nothing(&self) -> bool;
}

/// What happens to a stanza on its way to a session's client.
#[derive(Debug)]
pub struct Turn {
    /// What was kept and goes out now, before it.
    pub before: Vec<outbox::Outgoing>,
    /// It goes out, too; else the hook keeps it.
    pub now: bool,
}

impl Turn {
    /// It goes on its way.
    pub const NOW: Self = Self { before: Vec::new(), now: true };
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
    /// The domain of a service, whichever it is.
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
/// Lets a meeting be, or not. Takes no lock.
pub type Guard = fn(&User, &Meeting<'_>) -> Verdict;
/// Adds to what is done with a stanza that an account is sent. Takes no other lock.
pub type Incoming = fn(&Config, &mut User, &mut Passage<'_>) -> Verdict;
/// The same for one that a session of the account sends. Without the account where nobody asked for it.
pub type Outgoing = fn(&Config, Option<&mut User>, &mut Passage<'_>) -> Verdict;
/// Adds what the account is asked about each session's stanzas: one entry for each resource.
pub type Sessions = fn(&mut User, &mut [Asks]);
/// Looks at, and may keep, a stanza that is on its way to a session's client. Never what is owed.
pub type ToClient = fn(&Config, &mut SessionState, &outbox::Outgoing) -> Turn;
/// Changes what is kept for a session; gives out what goes to its client now.
pub type Release = fn(&mut SessionState) -> Vec<outbox::Outgoing>;
/// A session is gone; its status text, if it said goodbye with one.
pub type Unbound = fn(&Cx, &Goodbye);
/// Handles a session's own broadcast presence. Runs in its task, without waiting.
pub type Broadcast = fn(&Cx, &Client, &Stanza) -> Result<Presented, StanzaError>;
/// Handles a session's directed presence before it is routed.
pub type Directed = fn(&Cx, &Client, &Stanza) -> Result<(), StanzaError>;
/// Tells the world that a session is gone.
pub type Gone = fn(&Cx, &Resource);
/// Makes a stream feature, or none for this stage.
pub type StreamFeature = fn(&Config, Stage) -> Option<String>;
/// Deletes what the module keeps of an account.
pub type AccountDeleted = fn(&mut dyn Tx, AccountId) -> Result<(), StoreError>;

/// Does this account have the module?
pub type Serves = fn(&Config, &BareJid) -> bool;
/// Does what is due. Dropped between two awaits when the server stops.
pub type Every = fn(Chore) -> Answer<()>;

/// What work without a session sees.
#[derive(Debug, Clone)]
pub struct Chore {
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
    pub about: Arc<super::Pipeline>,
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

/// How a session ended.
#[derive(Debug, Clone, Default)]
pub struct Goodbye {
    /// `<status/>` of its last unavailable presence.
    pub status: Option<String>,
}

/// What broadcast presence did to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presented {
    /// It may take messages from now on, and owed ones wait: they come first.
    pub drain: bool,
    /// It takes no messages to the account from now on: what it delivers of the owed ones stops.
    pub refuses: bool,
    /// Contacts that it was or might have been sent to: what the stanza cost.
    pub looked_at: usize,
}

impl Presented {
    /// With what another module made of the same presence.
    pub fn and(self, other: Self) -> Self {
        Self {
            drain: self.drain || other.drain,
            refuses: self.refuses || other.refuses,
            looked_at: self.looked_at + other.looked_at,
        }
    }
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
    pub about: Arc<super::Pipeline>,
}

/// A successful answer to a request.
#[derive(Debug, Default)]
pub struct Reply {
    /// The payload of the result; empty for a bare acknowledgement.
    pub payload: Vec<u8>,
    /// Whole stanzas that the asking session gets before the result (XEP-0313 §4).
    pub ahead: Vec<Bytes>,
    /// Stanzas to send after the result.
    pub out: Vec<Stanza>,
    /// What changes for the asking session after the result is written.
    pub effect: Option<Effect>,
}

/// Something that a handler asks the session's task to do after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The account is gone: end the stream with `not-authorized` (XEP-0077 §3.2.1).
    AccountRemoved,
    /// The device that the session is of was revoked: end the stream.
    DeviceRevoked,
}

impl Reply {
    /// `<iq type='result'/>`
    pub const fn empty() -> Self {
        Self { payload: Vec::new(), ahead: Vec::new(), out: Vec::new(), effect: None }
    }

    /// A result with this payload.
    pub fn payload(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), ..Self::empty() }
    }

    /// With a stanza to send afterwards.
    pub fn and(mut self, effect: Effect) -> Self {
        self.effect = Some(effect);
        self
    }
}

impl Cx {
    /// The address that asks.
    pub fn jid(&self) -> &Jid {
        self.who.jid()
    }

    /// The asking account's address.
    pub fn bare(&self) -> BareJid {
        self.jid().bare()
    }

    /// The asking session, if it is one of this server.
    pub fn client(&self) -> Option<&Client> {
        self.who.client()
    }

    /// Its number in the registry; 0 for whoever is no session.
    pub fn session(&self) -> u64 {
        self.client().map_or(0, |client| client.session)
    }

    /// The asking account, or `not-allowed` for whoever owns nothing: anonymous users, other entities.
    pub fn account(&self) -> Result<AccountId, StanzaError> {
        self.client().and_then(|client| client.account).ok_or_else(StanzaError::not_allowed)
    }

    /// Which [`Target`] an address is for this session; `None` when it is not the server's to answer.
    pub fn target(&self, to: Option<&Jid>) -> Option<Target> {
        let Some(to) = to else { return self.client().map(|_| Target::Own) };
        match self.router.leads(to) {
            Leads::Server => Some(Target::Server),
            Leads::Service(_) if to.is_domain() && to.is_bare() => Some(Target::Service),
            Leads::Account if to.is_bare() => {
                let own = self.client().is_some_and(|client| to.as_str() == client.jid.bare_str());
                Some(if own { Target::Own } else { Target::Other })
            }
            Leads::Account | Leads::Service(_) | Leads::Elsewhere => None,
        }
    }

    /// Runs `look` on the entry of the asking account; none for whoever has none, and when it is gone.
    pub fn own<T>(&self, look: impl FnOnce(&mut User) -> T) -> Option<T> {
        self.router.own(&self.client()?.home, look)
    }

    /// The same for changes of what modules keep for the account or its sessions.
    pub fn own_sessions<T>(&self, change: impl FnOnce(&mut User) -> T) -> Option<T> {
        self.router.own_sessions(&self.client()?.home, change)
    }

    /// Looks at another local account as one of its subscribers may. `None` for a stranger and for
    /// an account that does not exist, so that nobody can tell one from the other.
    pub async fn look(&self, at: &Jid) -> Result<Option<Glance>, StanzaError> {
        match self.router.glance(at, self.jid().bare_str()).await? {
            Glanced::Done(seen) => Ok(seen),
            Glanced::Loading => {
                Err(StanzaError::resource_constraint().text("the account is being loaded"))
            }
        }
    }

    /// Runs `work` to its end, also when the session that asked goes away meanwhile.
    pub async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, StanzaError>> + Send + 'static,
    ) -> Result<T, StanzaError> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.router.tasks.spawn(name, async move {
            let _ = done.send(work.await);
        });
        outcome.await.unwrap_or_else(|_| Err(StanzaError::internal_server_error()))
    }
}

/// The IQ index, built once: by namespace, then the few routes in it, each for whom its module is.
pub type IqIndex = HashMap<&'static str, Vec<(Target, IqRoute, Option<Serves>)>>;
