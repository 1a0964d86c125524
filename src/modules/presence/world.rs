//! A server without sockets for the tests of rosters, subscriptions and presence: a store in a
//! temporary folder, a router, and clients that are an outbox each.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::base::limits::Limits;
use crate::jid::FullJid;
use crate::modules::api::{self, Cx, Presented, Requester};
use crate::modules::testing::CHANNEL;
use crate::modules::{ALL, Config, Pipeline, features};
use crate::router::Router;
use crate::router::outbox::Outbox;
use crate::router::registry::{Account, Bound, Conflict, Resource};
use crate::stanza::iq::Iq;
use crate::stanza::{Kind, Stanza, StanzaError};
use crate::store::accounts::{self, Creation};
use crate::store::{Options, Store, Synchronous};
use crate::xml::gate::{self, Rules};
use crate::xml::ns;
use crate::xml::view::{Doc, Node};

/// The server `x` with some accounts.
pub(in crate::modules) struct World {
    pub router: Arc<Router>,
    about: Arc<Pipeline>,
    _folder: tempfile::TempDir,
}

/// One connected resource.
pub(in crate::modules) struct Client {
    pub cx: Cx,
    outbox: Arc<Outbox>,
}

impl World {
    pub async fn new(names: &[&'static str]) -> Self {
        Self::with(names, Limits::default()).await
    }

    pub async fn with(names: &[&'static str], limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(folder.path().join("stonechat.db"));
        options.synchronous = Synchronous::Off;
        let store = Store::open(options).unwrap();
        for name in names {
            let made = store.write(|tx| accounts::create(tx, name, "x", &[], 0)).await.unwrap();
            assert!(matches!(made, Creation::Created(_)));
        }
        let router = Router::new(["x".to_owned()], store, Arc::new(limits))
            .with_features(features(ALL, Arc::default()));
        let router = Arc::new(router);
        let about = Pipeline::build(ALL, &Config::default(), std::time::SystemTime::UNIX_EPOCH);
        Self { router, about, _folder: folder }
    }

    /// Binds a session; it is not available yet.
    pub async fn connect(&self, jid: &str) -> Client {
        let jid = FullJid::parse(jid).unwrap();
        self.router.load(&jid.bare()).await.unwrap();
        let outbox = Arc::new(Outbox::new(1 << 20));
        let session = self.router.next_session();
        let resource = Resource::new(jid.clone(), session, outbox.clone());
        let bound = self.router.registry.bind(resource, false, Conflict::Replace, 9);
        let Bound::Done(home, None) = bound else { panic!("{bound:?}") };
        let account = self.router.own(&home, |user| match user.account {
            Account::Stored(id) => id,
            other => panic!("{other:?}"),
        });
        let outbox_of = outbox.clone();
        let client =
            api::Client { jid, account, session, outbox: outbox_of, home, channel: CHANNEL };
        let cx = Cx {
            who: Requester::Client(Arc::new(client)),
            now: SystemTime::UNIX_EPOCH,
            config: Arc::default(),
            store: self.router.store.clone(),
            router: self.router.clone(),
            about: self.about.clone(),
        };
        Client { cx, outbox }
    }

    /// A session with the roster read and initial presence sent; what it heard is taken.
    pub async fn online(&self, jid: &str) -> Client {
        let mut client = self.connect(jid).await;
        client.roster().await;
        client.presence("<presence/>").unwrap();
        client.taken().await;
        client
    }

    /// As [`World::online`], each subscribed to the other.
    pub async fn friends(&self, a: &str, b: &str) -> (Client, Client) {
        let (one, two) = (self.online(a).await, self.online(b).await);
        befriend(&one, &two).await;
        befriend(&two, &one).await;
        one.taken().await;
        two.taken().await;
        (one, two)
    }
}

/// `user` comes to see `contact`.
pub(in crate::modules) async fn befriend(user: &Client, contact: &Client) {
    user.subscription(contact.cx.jid().bare_str(), "subscribe").await.unwrap();
    contact.subscription(user.cx.jid().bare_str(), "subscribed").await.unwrap();
}

impl Client {
    /// What the session makes of its client's bytes.
    pub fn stanza(&self, xml: &str) -> Stanza {
        let rules =
            Rules { content_ns: ns::CLIENT, depth_max: 100, attributes_max: 64, children_max: 256 };
        let element = gate::check(Bytes::from(xml.to_owned()), &rules).unwrap();
        let kind = Kind::of(&element).unwrap();
        let jid = &self.cx.client().unwrap().jid;
        Stanza::from_client(kind, element, jid, None, None).unwrap()
    }

    pub fn presence(&mut self, xml: &str) -> Result<Presented, StanzaError> {
        let stanza = self.stanza(xml);
        self.cx.about.clone().broadcast(&self.cx, &stanza)
    }

    /// Directed presence, on to whom it is for.
    pub fn directed(&self, xml: &str) -> Result<(), StanzaError> {
        let stanza = self.stanza(xml);
        self.cx.about.directed(&self.cx, &stanza)?;
        let mut origin = crate::router::Origin::server();
        self.router().route(&stanza, self.cx.now, &mut origin);
        Ok(())
    }

    pub async fn subscription(&self, to: &str, ty: &str) -> Result<(), StanzaError> {
        self.subscribe_with(&format!("<presence to='{to}' type='{ty}' id='s'/>")).await
    }

    pub async fn subscribe_with(&self, xml: &str) -> Result<(), StanzaError> {
        let out = self.cx.about.subscription_out(self.cx.clone(), self.stanza(xml)).await?;
        for stanza in out {
            self.cx.send(&stanza).await;
        }
        Ok(())
    }

    /// The answer's payload.
    pub async fn iq(&self, ty: &str, to: &str, payload: &str) -> Result<String, StanzaError> {
        let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
        let stanza = self.stanza(&format!("<iq id='1' type='{ty}'{to}>{payload}</iq>"));
        let iq = Iq::request(&stanza).unwrap().unwrap();
        let reply = self.cx.about.answer(self.cx.clone(), iq).await?;
        Ok(String::from_utf8(reply.payload).unwrap())
    }

    pub async fn roster(&self) -> String {
        self.iq("get", "", "<query xmlns='jabber:iq:roster'/>").await.unwrap()
    }

    pub async fn set(&self, item: &str) -> Result<String, StanzaError> {
        self.iq("set", "", &format!("<query xmlns='jabber:iq:roster'>{item}</query>")).await
    }

    pub async fn probe(&self, to: &str) -> Vec<String> {
        let stanza = self.stanza(&format!("<presence to='{to}' type='probe' id='p'/>"));
        let answers = self.cx.about.probe(self.cx.clone(), stanza).await.unwrap();
        let text = |stanza: &Stanza| String::from_utf8(stanza.frame().to_vec()).unwrap();
        answers.iter().map(text).collect()
    }

    /// The stream is cut.
    pub fn cut(self) {
        let who = self.cx.client().unwrap();
        let resource = self.router().registry.unbind(who.jid.bare_str(), who.session).unwrap();
        self.cx.about.gone(&self.cx, &resource);
    }

    /// What it heard since the last look, in short: see [`short`].
    pub async fn taken(&self) -> Vec<String> {
        self.raw().await.iter().map(|xml| short(xml)).collect()
    }

    /// The same as it travels.
    pub async fn raw(&self) -> Vec<String> {
        self.router().tasks.drained().await;
        let batch = self.outbox.take(usize::MAX, usize::MAX).batch;
        batch.iter().map(|out| String::from_utf8(out.frame.to_vec()).unwrap()).collect()
    }

    fn router(&self) -> &Arc<Router> {
        &self.cx.router
    }
}

/// `subscribe a@x`, `available a@x/1`, `push a@x both`.
fn short(xml: &str) -> String {
    let doc = Doc::of(xml.as_bytes(), ns::CLIENT).unwrap();
    let root = doc.root();
    let text = |node: Node<'_>, name| node.attr(name).unwrap_or_default().to_owned();
    if root.name() == "presence" {
        assert!(root.attr("to").is_some(), "{xml}");
        return format!("{} {}", root.attr("type").unwrap_or("available"), text(root, "from"));
    }
    let query = root.child(ns::ROSTER, "query").unwrap();
    assert!(query.attr("ver").is_some() && root.attr("id").is_some(), "{xml}");
    let item = query.first_child().unwrap();
    let mut short = format!("push {} {}", text(item, "jid"), text(item, "subscription"));
    for flag in ["ask", "approved"] {
        if item.attr(flag).is_some() {
            short.push(' ');
            short.push_str(flag);
        }
    }
    short
}

impl Client {
    /// It owns no rows.
    pub fn is_anonymous(&mut self) {
        if let Requester::Client(client) = &mut self.cx.who {
            Arc::make_mut(client).account = None;
        }
    }
}
