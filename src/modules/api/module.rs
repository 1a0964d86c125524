//! What a module is, what its hooks are given, and what all of them are made into: types that lead to each
//! other, and so stand in one file.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::pubsub::request::Request;
use super::super::pubsub::service::Service as NodeService;
use super::super::{Config, SessionState, Shared};
use super::command::{Answers, StageOutcome};
use super::moves::Moves;
use super::reply::{ClientDelivery, PresenceEffect, Reply, SessionEnd};
use super::requester::{Client, Requester};
use super::spec::{Identity, InfoForm, On, Spec};
use crate::base::figures::Figures;
use crate::jid::{BareJid, Jid};
use crate::router::handled_count::Ticket;
use crate::router::held::Asks;
use crate::router::outbox;
use crate::router::passage::{GuardQuery, Passage, Phase, Verdict};
use crate::router::registry::{AccountEntry, Resource, RosterChange};
use crate::router::{Router, ServiceId};
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::rsm::Rsm;
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::ids::AccountId;
use crate::store::invitations::Invitation;
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
    /// Whether its hooks on stanzas see presence of contacts of accounts without sessions, too, with these settings.
    /// Each such account is read from the store then.
    pub follows_presence: Option<fn(&Config) -> bool>,
    /// What it implements.
    pub specs: &'static [Spec],
    /// What hosted domains are through it (XEP-0030 §3.1).
    pub identities: &'static [Identity],
    /// What accounts are through it, beside being accounts (XEP-0030 §3.1).
    pub account_identities: &'static [Identity],
    /// What service discovery says of it (XEP-0030).
    pub features: &'static [On],
    /// Nodes of accounts that it knows (XEP-0030 §3.2).
    pub nodes: Option<AccountNodes>,
    /// Nodes of its service's domain (XEP-0030 §3.2).
    pub service_nodes: Option<AccountNodes>,
    /// Nodes of accounts whose changes it takes note of.
    pub watches: &'static [NodeWatch],
    /// What hosted domains say of themselves beyond that.
    pub info_form: Option<fn(&Config) -> Option<InfoForm>>,
    /// Nodes of accounts that others follow, in the same transaction.
    pub mirrors: &'static [NodeMirror],
    /// Elements of private XML (XEP-0049) that are another form of something else.
    pub private_xml: &'static [PrivateXml],
    /// What people can do through forms (XEP-0050).
    pub commands: &'static [Command],
    /// The same, offered by hosted domains alone.
    pub server_commands: &'static [Command],
    /// Requests it answers.
    pub iqs: &'static [IqRoute],
    /// Answers requests in place of whoever would; the first one by name does.
    pub instead: Option<Instead>,
    /// More that a hosted domain names among its items (XEP-0030 §4): addresses, and names for people.
    pub items: Option<Items>,
    /// Changes what a hosted domain or an account says of itself (XEP-0030 §3).
    pub nested: Option<Nested>,
    /// A component is connected: what it is told before anything else.
    pub component_connected: Option<ComponentConnected>,
    /// What a component may do that others may not. The first one by name that returns something does it.
    pub from_component: Option<FromComponent>,
    /// A domain of its own.
    pub service: Option<Service>,
    /// What the service's domain says of itself beyond its features (XEP-0128).
    pub service_forms: Option<fn(&Config) -> Vec<InfoForm>>,
    /// Features of the service's domain that are there with some settings only.
    pub service_features: Option<fn(&Config) -> &'static [&'static str]>,
    /// Its paths on the web door.
    pub web: Option<WebRoutes>,
    /// What is measured of it.
    pub figures: Option<Measure>,
    /// Stream features it offers (RFC 6120 §4.3.2).
    pub stream_features: Option<StreamFeature>,
    /// What a client may switch on while it binds a resource (XEP-0386 §3.1).
    pub inline: &'static [Inline],
    /// What each client that binds so is told, asked or not.
    pub bound: Option<OnBound>,
    /// Whether an account and somebody else may reach each other: asked before any stanza passes, and
    /// before presence is shown. What its sessions send is looked at if `sessions` asked for it.
    pub guard: Option<Guard>,
    /// Payloads of messages that are for the sender's own server.
    pub instructions: &'static [Instruction],
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
    /// Whether the client says that nobody looks at it. Others see it in its resource.
    pub quiet: Option<Quiet>,
    /// A session that can be resumed lost its connection, or has another one.
    pub disconnected: Option<Release>,
    /// A session lost its connection and waits to be resumed.
    pub hibernates: Option<Hibernates>,
    /// A session ended, for whatever reason.
    pub session_ended: Option<SessionEnded>,
    /// Presence from a session to nobody in particular.
    pub broadcast: Option<Broadcast>,
    /// What the server says in a session's available presence, broadcast or directed, in place of its client.
    pub stamp: Option<PresenceStamp>,
    /// The same, when it has taken effect: the session's entry has it.
    pub presence_changed: Option<PresenceChanged>,
    /// The nodes whose news a session wants have become known, or changed.
    pub wanted_changed: Option<WantedChanged>,
    /// Presence from a session to somebody (RFC 6121 §4.6).
    pub directed: Option<Directed>,
    /// A session is gone (closed, cut or replaced); its entry is out of the registry already.
    pub resource_removed: Option<ResourceRemoved>,
    /// A session is gone, and its client has not taken these.
    pub undelivered: Option<Undelivered>,
    /// Subscription stanzas that a session sends: the sender's half of RFC 6121 appendix A, and
    /// on to the contact.
    pub subscription_out: Option<OnStanza>,
    /// Subscription stanzas to a local account, from anywhere: the contact's half.
    pub subscription_in: Option<OnStanza>,
    /// A contact of a local account was let see its presence (RFC 6121 §3.1.5), after it was shown.
    pub approved: Option<Approved>,
    /// An item of the roster of a local account changed, in a way that clients see.
    pub roster_changed: Option<RosterChanged>,
    /// What the roster of a local account says of a contact changed, or says no longer: it is committed.
    pub contact_changed: Option<ContactChanged>,
    /// Presence probes to a local account, from anywhere.
    pub probe: Option<OnStanza>,
    /// The statements on its tables: a `CATALOGUE` for each file of it that has some (`store::sql!`).
    pub sql: &'static [&'static [(&'static str, &'static str)]],
    /// For the quota: bytes and rows of an account in its tables.
    pub weights: &'static [&'static str],
    /// How its data moves in from other servers and out to them.
    pub moves: Moves,
    /// A client made an account: writes what it is to have, in the same transaction.
    pub account_created: Option<AccountCreated>,
    /// Somebody is being blocked (XEP-0191 §3.3): what else the request asks to be written.
    pub blocks: Option<Blocks>,
    /// Rows of its tables go with the account, in the same transaction.
    pub account_deleted: Option<AccountDeleted>,
    /// An account is shut, or about to be deleted; or it is open again.
    pub account_turned: Option<AccountTurned>,
    /// Work to be done again and again while the server runs, and how often.
    pub every: Option<(Duration, Every)>,
    /// Work that goes on while the server runs, from the start; `now` is that of the start.
    pub background: Option<Every>,
    /// Work at the end of the server: all sessions have ended or are saved, and the store takes writes still. The
    /// time is that of the stop (promise.md 11).
    pub stopped: Option<Every>,
}

impl Module {
    /// Nothing; a module names what it has and takes the rest from here.
    pub const EMPTY: Self = Self {
        name: "",
        serves: None,
        shown: None,
        active: None,
        follows_presence: None,
        specs: &[],
        identities: &[],
        account_identities: &[],
        features: &[],
        nodes: None,
        service_nodes: None,
        watches: &[],
        info_form: None,
        mirrors: &[],
        private_xml: &[],
        commands: &[],
        server_commands: &[],
        iqs: &[],
        instead: None,
        items: None,
        nested: None,
        component_connected: None,
        from_component: None,
        service: None,
        service_forms: None,
        service_features: None,
        web: None,
        figures: None,
        stream_features: None,
        inline: &[],
        bound: None,
        guard: None,
        instructions: &[],
        incoming: &[],
        outgoing: &[],
        sessions: None,
        to_client: &[],
        nonzas: &[],
        quiet: None,
        disconnected: None,
        hibernates: None,
        session_ended: None,
        broadcast: None,
        stamp: None,
        presence_changed: None,
        wanted_changed: None,
        directed: None,
        resource_removed: None,
        undelivered: None,
        subscription_out: None,
        subscription_in: None,
        approved: None,
        roster_changed: None,
        contact_changed: None,
        probe: None,
        sql: &[],
        weights: &[],
        moves: Moves::NONE,
        account_created: None,
        blocks: None,
        account_deleted: None,
        account_turned: None,
        every: None,
        background: None,
        stopped: None,
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

/// A payload of a message that tells the sender's own server to do something. It is taken out before anything
/// else sees the message.
#[derive(Debug, Clone, Copy)]
pub struct Instruction {
    /// The payload's namespace.
    pub ns: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it does, before the message goes on. It gets the message as it was sent.
    pub handler: OnInstruction,
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
/// Makes what is served at the module's paths; each begins with the module's name.
pub type WebRoutes = fn(&WebCx) -> axum::Router;
/// Says what is measured of the module, as of now: whoever watches the server asks every few seconds.
pub type Measure = fn(WebCx) -> Answer<Figures>;
/// A handler's future.
pub type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// What somebody may be told, if there is something.
pub type Found<T> = Answer<Result<Option<T>, StanzaError>>;
/// Answers one request.
pub type IqHandler = fn(Cx, Iq) -> Answer<Result<Reply, StanzaError>>;
/// What answers a request in place of whoever would, if something does.
pub type Instead = fn(&Cx, &Iq, Target) -> Option<IqHandler>;
/// Addresses, and names for people, that a hosted domain has among its items.
pub type Items = fn(&Config, host: &str) -> Vec<(String, Option<String>)>;
/// Changes identities, features and forms (XEP-0030 §3, XEP-0128) without waiting.
pub type Nested = fn(&Cx, Target, &mut Described);
/// Whole stanzas for the component at this domain, in order.
pub type ComponentConnected = fn(&Cx, domain: &str) -> Vec<Frame>;
/// Does what a component's stanza asks for; what it answers goes out after that, and an error to the component.
/// Nothing is awaited before it returns. What it does with requests may take long and may need the component; all
/// else is done in order.
pub type FromComponent = fn(&Cx, &Stanza) -> Option<Answer<Result<Vec<Stanza>, StanzaError>>>;
/// Handles a stanza to an account or a service; what it answers goes out after it has committed.
pub type OnStanza = fn(Cx, Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>>;
/// Handles a message to a service. What is written for it holds its ticket, if a session that counts sent it
/// (promise.md 4).
pub type OnMessage = fn(Cx, Stanza, Option<Ticket>) -> Answer<Result<Vec<Stanza>, StanzaError>>;
/// Does what a message of a session tells its server; what fails is not told.
pub type OnInstruction = fn(Cx, Stanza) -> Answer<()>;
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
/// Whether nobody looks at a session's client, as far as it says.
pub type Quiet = fn(&SessionState) -> bool;
/// Takes note of a session that hibernates. What its client has not acknowledged is copied when asked for.
pub type Hibernates = fn(&Cx, &dyn Fn() -> Vec<outbox::Outgoing>);
/// A session ended; its last status text, if its client gave one.
pub type SessionEnded = fn(&Cx, &SessionEnd);
/// Handles a session's own broadcast presence. Runs in its task, without waiting.
pub type Broadcast = fn(&Cx, &Client, &Stanza) -> Result<PresenceEffect, StanzaError>;
/// Makes what is added to presence that a session sends, from what is kept for its account; nothing
/// where the client's own word stands. Takes no lock.
pub type PresenceStamp = fn(&AccountEntry, &Stanza) -> Option<PresencePayload>;
/// Takes note that the second, a contact, sees the presence of the first, an account of this server.
pub type Approved = fn(&Cx, &BareJid, &BareJid);
/// Takes note of a committed change of an account's roster, in the order of commits as far as clients hear of them;
/// who asks is the account. Runs without a lock, and must not wait.
pub type RosterChanged = fn(&Cx, AccountId, &RosterChange);
/// Takes note that what an account's roster says of a contact changed; who asks is the account. Runs without a
/// lock, and must not wait.
pub type ContactChanged = fn(&Cx, AccountId, contact: &BareJid);
/// Takes note of a session's broadcast presence, available or not, after all modules have accepted it. Runs in
/// the session's task, without waiting.
pub type PresenceChanged = fn(&Cx, &Client, &Stanza);
/// Takes note of the nodes whose news (XEP-0163 §4.2: `NODE+notify`) a session's client wants: those of
/// before, and those of now, each sorted. Before its initial presence it wants none. Runs without the account's
/// lock, perhaps in the session's task, and must not wait.
pub type WantedChanged = fn(&Cx, before: &[Arc<str>], now: &[Arc<str>]);
/// Handles a session's directed presence before it is routed.
pub type Directed = fn(&Cx, &Client, &Stanza) -> Result<(), StanzaError>;
/// Takes note that a session's resource is out of the registry.
pub type ResourceRemoved = fn(&Cx, &Resource);
/// Takes note of what a session that is out of the registry has left: what is owed of it is in the store.
pub type Undelivered = fn(&Cx, &Resource, &[outbox::Outgoing]);
/// Makes a stream feature, or none for this stage.
pub type StreamFeature = fn(&Config, Stage) -> Option<String>;
/// Writes what a new account is to have; returns what follows the commit.
pub type AccountCreated =
    fn(&Cx, &mut dyn Tx, &NewAccount) -> Result<Option<AfterCommit>, StoreError>;
/// What is done after a commit, without waiting.
pub type AfterCommit = Box<dyn FnOnce(&Cx) + Send>;
/// Makes what is written in the transaction that blocks an address, of the request's item for it. Whatever the
/// item says, the address is blocked.
pub type Blocks = fn(&Cx, &Jid, Node<'_>) -> Option<Write>;
/// A write in a transaction of somebody else's. It may run more than once.
pub type Write = Box<dyn FnMut(&mut dyn Tx) -> Result<(), StoreError> + Send>;
/// Deletes what the module keeps of an account.
pub type AccountDeleted = fn(&mut dyn Tx, AccountId) -> Result<(), StoreError>;
/// Does what it means to others that an account is shut or open again.
pub type AccountTurned = fn(AccountTurn) -> Answer<Result<(), StoreError>>;

/// A payload of the server's in presence; it replaces those of its name.
#[derive(Debug)]
pub struct PresencePayload {
    /// The payload's namespace.
    pub ns: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The whole payload.
    pub payload: Vec<u8>,
}

/// Answers service discovery for nodes of accounts, or of a service. An asker may see less than there is, or nothing: then the
/// answer has to be the same as for nobody.
#[derive(Debug, Clone, Copy)]
pub struct AccountNodes {
    /// What a node is; `None` if the asker sees no such node.
    pub info: fn(Cx, BareJid, String) -> Found<NodeInfo>,
    /// What is in a node, or which nodes there are; `None` if the asker sees no such node.
    pub items: fn(Cx, BareJid, Option<String>, Rsm) -> Found<NodeItems>,
}

/// A node of accounts that a module watches.
#[derive(Debug, Clone, Copy)]
pub struct NodeWatch {
    /// The node.
    pub node: &'static str,
    /// Called after each commit that may have changed it, in their order, before others are told. What it
    /// publishes itself at the same account is told later.
    pub changed: NodeChanged,
}

/// A node of accounts with something that has another form in other nodes.
#[derive(Debug, Clone, Copy)]
pub struct NodeMirror {
    /// The node.
    pub node: &'static str,
    /// Called after each request that may have changed it, before it is committed.
    pub follow: Follow,
}

/// Says what is to be done, as the account itself, so that other nodes follow one that was written to. That is not
/// followed in turn. An error is that of the request, and takes it back.
pub type Follow = fn(&mut dyn Tx, &NodeService, &Request) -> Result<Followed, StoreError>;
/// What a [`Follow`] says.
pub type Followed = Result<Vec<Request>, StanzaError>;

/// An element in private XML that is stored elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct PrivateXml {
    /// Its namespace.
    pub ns: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Gives it, if there is one.
    pub get: fn(Cx) -> Found<Vec<u8>>,
    /// Replaces it.
    pub set: fn(Cx, Vec<u8>) -> Answer<Result<(), StanzaError>>,
}

/// Takes note that a node of this account may have changed.
pub type NodeChanged = fn(Cx, AccountId, BareJid) -> Answer<()>;

/// What an entity says of itself (XEP-0030 §3.1), as it goes out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Described {
    /// Category, type and name of each.
    pub identities: Vec<(String, String, Option<String>)>,
    /// Their names.
    pub features: Vec<String>,
    /// Whole forms.
    pub forms: Vec<u8>,
}

/// A node in service discovery (XEP-0030 §3.2).
#[derive(Debug, Default)]
pub struct NodeInfo {
    /// What it is.
    pub identities: Vec<Identity>,
    /// What it can.
    pub features: Vec<&'static str>,
    /// More of it, in forms (XEP-0128).
    pub forms: Vec<u8>,
}

/// What is at a node in service discovery (XEP-0030 §4).
#[derive(Debug, Default)]
pub struct NodeItems {
    /// Node and name of each; the address is the account's.
    pub items: Vec<(Option<String>, Option<String>)>,
    /// `<set/>`, if they are a page (XEP-0059).
    pub set: Vec<u8>,
}

/// Does this account have the module?
pub type Serves = fn(&Config, &BareJid) -> bool;
/// Does what is due. Dropped between two awaits when the server stops.
pub type Every = fn(PeriodicJob) -> Answer<()>;

/// An account that a client makes.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its key.
    pub id: AccountId,
    /// Its address.
    pub jid: BareJid,
    /// The invitation that it was made with.
    pub invitation: Option<Invitation>,
}

/// An account that nobody can log in to any more, or somebody can again.
#[derive(Debug, Clone)]
pub struct AccountTurn {
    /// Its key.
    pub account: AccountId,
    /// Whether it is open.
    pub open: bool,
    /// Who is where.
    pub router: Arc<Router>,
}

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

/// What handlers of HTTP requests see, and whoever measures. Who asks is in the request.
#[derive(Debug, Clone)]
pub struct WebCx {
    /// The wall clock.
    pub clock: fn() -> SystemTime,
    /// All modules' settings; a module reads its own.
    pub config: Arc<Config>,
    /// Everything durable.
    pub store: Store,
    /// Who is where, and the server's tasks.
    pub router: Arc<Router>,
    /// What modules share.
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
    pub message: OnMessage,
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
    pub(in crate::modules) instead: Vec<Instead>,
    pub(in crate::modules) to_client: Vec<(Phase, &'static str, ToClient)>,
    pub(in crate::modules) quiet: Vec<Quiet>,
    pub(in crate::modules) hibernates: Vec<Hibernates>,
    pub(in crate::modules) instructions: Vec<Instruction>,
    pub(in crate::modules) session_ended: Vec<SessionEnded>,
    pub(in crate::modules) broadcast: Vec<Broadcast>,
    pub(in crate::modules) stamps: Vec<PresenceStamp>,
    pub(in crate::modules) presence_changed: Vec<PresenceChanged>,
    pub(in crate::modules) wanted_changed: Vec<WantedChanged>,
    pub(in crate::modules) directed: Vec<Directed>,
    pub(in crate::modules) resource_removed: Vec<ResourceRemoved>,
    pub(in crate::modules) undelivered: Vec<Undelivered>,
    pub(in crate::modules) subscription_out: Vec<OnStanza>,
    pub(in crate::modules) subscription_in: Vec<OnStanza>,
    pub(in crate::modules) approved: Vec<Approved>,
    pub(in crate::modules) contact_changed: Vec<ContactChanged>,
    pub(in crate::modules) probe: Vec<OnStanza>,
    pub(in crate::modules) services: Vec<Serving>,
    pub(in crate::modules) modules: &'static [&'static Module],
    pub(in crate::modules) authenticate_features: String,
    pub(in crate::modules) bind_features: String,
    pub(in crate::modules) started: SystemTime,
    pub(in crate::modules) shared: Shared,
}
