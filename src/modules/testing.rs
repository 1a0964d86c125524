//! A server without sockets for tests of modules, and requests to it.

pub(super) mod client;

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::api::{
    Admission, Cause, Channel, Client, Cx, Effect, Guest, PeriodicJob, Reply, Requester, Via, after,
};
use super::{ALL, Config, Pipeline, features};
use crate::base::limits::Limits;
use crate::jid::FullJid;
use crate::router::Router;
use crate::router::outbox::Outbox;
use crate::router::registry::{Available, BindOutcome, Conflict, Resource};
use crate::stanza::iq::Iq;
use crate::stanza::{Frame, Kind, Stanza, StanzaError};
use crate::store::accounts::{self, Creation};
use crate::store::archive::{self, Direction, Entry, Filter};
use crate::store::ids::{AccountId, ArchiveId};
use crate::store::roster::{self, Item, Subscription};
use crate::store::{Store, Tx, testing};
use crate::xml::gate::{self, Rules};
use crate::xml::ns;

/// A server that hosts one domain, with its store in a folder of its own.
pub(super) struct Server {
    _folder: tempfile::TempDir,
    domain: &'static str,
    pub(super) cx: Cx,
}

impl Server {
    /// `montague.example`, with no accounts.
    pub(super) fn new(config: Config) -> Self {
        Self::hosting("montague.example", config, Limits::default())
    }

    /// `x`, with these accounts.
    pub(super) async fn with(names: &[&'static str]) -> Self {
        Self::bounded(names, Limits::default()).await
    }

    /// Like [`Self::with`], but with other limits.
    pub(super) async fn bounded(names: &[&'static str], limits: Limits) -> Self {
        let server = Self::hosting("x", Config::default(), limits);
        for name in names {
            server.account(name, &[]).await;
        }
        server
    }

    fn hosting(domain: &'static str, config: Config, limits: Limits) -> Self {
        let (folder, store) = testing::store();
        let config = Arc::new(config);
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let server = Pipeline::build(ALL, &config, started);
        let router = Router::new([domain.to_owned()], store.clone(), Arc::new(limits))
            .with_features(features(ALL, config.clone()))
            .with_afterwards(after(config.clone(), server.clone(), || SystemTime::UNIX_EPOCH));
        let jid = FullJid::parse(&format!("{domain}/unauthenticated")).unwrap();
        let cx = Cx {
            who: Requester::Guest(Guest { jid, channel: CHANNEL, admission: Admission::default() }),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            server,
            config,
            store,
            router: Arc::new(router),
        };
        Self { _folder: folder, domain, cx }
    }

    /// Makes an account and gives its contacts these subscriptions.
    pub(super) async fn account(
        &self,
        local: &'static str,
        contacts: &'static [(&'static str, Subscription)],
    ) -> AccountId {
        let domain = self.domain;
        let made = self.store().write(move |tx| {
            let Creation::Created(id) = accounts::create(tx, local, domain, &[], 500_000_000_000)?
            else {
                panic!("{local} exists")
            };
            for (jid, state) in contacts {
                let jid = (*jid).to_owned();
                let item = Item { jid, state: *state, listed: true, ..Item::default() };
                roster::put(tx, id, &item)?;
            }
            Ok(id)
        });
        made.await.unwrap()
    }

    /// The context that handlers of an available session of the account get; of an anonymous user if
    /// there is no such account.
    pub(super) async fn session(&self, jid: &str) -> Cx {
        self.bound(jid, true).await
    }

    async fn bound(&self, jid: &str, is_available: bool) -> Cx {
        let jid = FullJid::parse(jid).unwrap();
        let (bare, router) = (jid.bare(), &self.cx.router);
        let (local, host) = (bare.local().unwrap().to_owned(), bare.domain().to_owned());
        let found = self.store().read(move |tx| accounts::find(tx, &local, &host)).await.unwrap();
        if found.is_some() {
            router.load(&bare).await.unwrap();
        }
        let outbox = Arc::new(Outbox::new(1 << 20));
        let session = router.next_session();
        let presence = format!("<presence from='{}'/>", jid.as_str());
        let presence = Available { priority: 0, frame: Frame::whole(presence.into()) };
        let resource = Resource {
            presence: is_available.then_some(presence),
            interested: is_available,
            ..Resource::new(jid.clone(), session, outbox.clone())
        };
        let bound = router.registry.bind(resource, found.is_none(), Conflict::Replace, 10);
        let BindOutcome::Done(home, None) = bound else { panic!("{bound:?}") };
        let mut cx = self.cx.clone();
        let account = found.map(|account| account.id);
        let client = Client { jid, account, session, outbox, home, channel: CHANNEL };
        cx.who = Requester::Client(Arc::new(client));
        cx
    }

    /// The context of recurring work.
    pub(super) fn job(&self, cause: Cause) -> PeriodicJob {
        let Cx { now, config, store, router, server, .. } = self.cx.clone();
        PeriodicJob { cause, now, config, store, router, server }
    }

    pub(super) fn store(&self) -> &Store {
        &self.cx.store
    }

    /// Puts messages of one kind into an account's archive.
    pub(super) async fn put(
        &self,
        account: AccountId,
        seqs: Range<i64>,
        kind: archive::RowKind,
        stanza: &'static [u8],
    ) {
        let archive = ArchiveId::of(account);
        let write = self.store().write(move |tx| {
            for seq in seqs {
                let (at, peer, resource) = (seq, "a@x", "");
                archive::append(tx, &Entry { seq, at, archive, peer, resource, kind, stanza })?;
            }
            Ok(())
        });
        write.await.unwrap();
    }

    /// The positions of the rows that are still in it.
    pub(super) async fn left(&self, account: AccountId) -> Vec<i64> {
        let archive = ArchiveId::of(account);
        let all = move |tx: &mut dyn Tx| {
            archive::page(tx, archive, &Filter::ALL, Direction::Forward, 9_999, usize::MAX)
        };
        self.store().read(all).await.unwrap().rows.into_iter().map(|row| row.seq).collect()
    }
}

/// Defines a module that counts, in a static of the test, how often the rows of an account were
/// deleted.
macro_rules! keeps_rows {
    ($module:ident, $erased:ident) => {
        static $erased: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

        const $module: $crate::modules::api::Module = $crate::modules::api::Module {
            account_deleted: Some(|_, _| {
                $erased.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(())
            }),
            ..$crate::modules::api::Module::EMPTY
        };
    };
}
pub(crate) use keeps_rows;

/// The result of a request: the payload, or the name of the error's condition.
pub(super) async fn ask(cx: &Cx, ty: &str, to: &str, payload: &str) -> String {
    ask_for_effect(cx, ty, to, payload).await.0
}

/// Like [`ask`], but also returns the effect on the session.
pub(super) async fn ask_for_effect(
    cx: &Cx,
    ty: &str,
    to: &str,
    payload: &str,
) -> (String, Option<Effect>) {
    match answer(cx, ty, to, payload).await {
        Ok(reply) => (String::from_utf8(reply.payload).unwrap(), reply.effect),
        Err(error) => (error.condition.as_str().to_owned(), None),
    }
}

/// Like [`ask`], but also returns the stanzas that come before the answer.
pub(super) async fn ask_all(cx: &Cx, ty: &str, to: &str, payload: &str) -> (Vec<String>, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match answer(cx, ty, to, payload).await {
        Ok(reply) => {
            (reply.ahead.iter().map(|stanza| text(stanza)).collect(), text(&reply.payload))
        }
        Err(error) => (Vec::new(), error.condition.as_str().to_owned()),
    }
}

async fn answer(cx: &Cx, ty: &str, to: &str, payload: &str) -> Result<Reply, StanzaError> {
    let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
    let xml = format!("<iq id='1' type='{ty}'{to}>{payload}</iq>");
    let iq = Iq::request(&stanza(cx, xml)).unwrap().unwrap();
    match cx.jid().local().is_none() {
        true => cx.server.answer_stream(cx.clone(), iq).await,
        false => cx.server.answer(cx.clone(), iq).await,
    }
}

/// The stanza that a session makes of its client's bytes.
fn stanza(cx: &Cx, xml: String) -> Stanza {
    let rules =
        Rules { content_ns: ns::CLIENT, depth_max: 100, attributes_max: 64, children_max: 256 };
    let element = gate::check(xml.into(), &rules).unwrap();
    let kind = Kind::of(&element).unwrap();
    let jid = cx.jid().clone().to_full().unwrap();
    Stanza::from_client(kind, element, &jid, None, None).unwrap()
}

/// How the clients of tests are connected.
pub(super) const CHANNEL: Channel =
    Channel { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), secure: true, by_token: false, via: Via::Tcp };

/// Changes how the asker is connected.
pub(super) fn connected(cx: &mut Cx, change: impl FnOnce(&mut Channel)) {
    match &mut cx.who {
        Requester::Client(client) => change(&mut Arc::make_mut(client).channel),
        Requester::Guest(guest) => change(&mut guest.channel),
        Requester::Entity(_) => {}
    }
}
