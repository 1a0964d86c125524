//! Clients of the test's server that consist of an outbox: for rosters, subscriptions and presence.

use std::sync::Arc;

use super::{Server, answer};
use crate::modules::api::{Cx, PresenceEffect, Requester};
use crate::router::Router;
use crate::stanza::{Stanza, StanzaError};
use crate::xml::ns;
use crate::xml::view::{Doc, Node};

/// One connected resource.
pub(in crate::modules) struct Client {
    pub cx: Cx,
}

impl Server {
    /// Binds a session; it is not available yet.
    pub async fn connect(&self, jid: &str) -> Client {
        Client { cx: self.bound(jid, false).await }
    }

    /// A session that has read the roster and sent initial presence; the stanzas it got so far are
    /// discarded.
    pub async fn online(&self, jid: &str) -> Client {
        let mut client = self.connect(jid).await;
        client.roster().await;
        client.presence("<presence/>").unwrap();
        client.taken().await;
        client
    }

    /// Like [`Server::online`], with each subscribed to the other.
    pub async fn friends(&self, a: &str, b: &str) -> (Client, Client) {
        let (one, two) = (self.online(a).await, self.online(b).await);
        befriend(&one, &two).await;
        befriend(&two, &one).await;
        one.taken().await;
        two.taken().await;
        (one, two)
    }
}

/// Subscribes `user` to the presence of `contact`.
pub(in crate::modules) async fn befriend(user: &Client, contact: &Client) {
    user.subscription(contact.cx.jid().bare_str(), "subscribe").await.unwrap();
    contact.subscription(user.cx.jid().bare_str(), "subscribed").await.unwrap();
}

impl Client {
    /// The stanza that the session makes of its client's bytes.
    pub fn stanza(&self, xml: &str) -> Stanza {
        super::stanza(&self.cx, xml.to_owned())
    }

    pub fn presence(&mut self, xml: &str) -> Result<PresenceEffect, StanzaError> {
        let stanza = self.stanza(xml);
        self.cx.server.clone().broadcast(&self.cx, &stanza)
    }

    /// Sends directed presence on to its recipient.
    pub fn directed(&self, xml: &str) -> Result<(), StanzaError> {
        let stanza = self.stanza(xml);
        self.cx.server.directed(&self.cx, &stanza)?;
        let mut origin = crate::router::Origin::server();
        self.router().route(&stanza, self.cx.now, &mut origin);
        Ok(())
    }

    pub async fn subscription(&self, to: &str, ty: &str) -> Result<(), StanzaError> {
        self.subscribe_with(&format!("<presence to='{to}' type='{ty}' id='s'/>")).await
    }

    pub async fn subscribe_with(&self, xml: &str) -> Result<(), StanzaError> {
        let out = self.cx.server.subscription_out(self.cx.clone(), self.stanza(xml)).await?;
        for stanza in out {
            self.cx.send(&stanza).await;
        }
        Ok(())
    }

    /// The answer's payload.
    pub async fn iq(&self, ty: &str, to: &str, payload: &str) -> Result<String, StanzaError> {
        let reply = answer(&self.cx, ty, to, payload).await?;
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
        let answers = self.cx.server.probe(self.cx.clone(), stanza).await.unwrap();
        let text = |stanza: &Stanza| String::from_utf8(stanza.frame().to_vec()).unwrap();
        answers.iter().map(text).collect()
    }

    /// Cuts the stream.
    pub fn cut(self) {
        let who = self.cx.client().unwrap();
        let resource = self.router().registry.unbind(who.jid.bare_str(), who.session).unwrap();
        self.cx.server.resource_removed(&self.cx, &resource);
    }

    /// The stanzas received since the last call, in short form: see [`short`].
    pub async fn taken(&self) -> Vec<String> {
        self.raw().await.iter().map(|xml| short(xml)).collect()
    }

    /// Like [`Client::taken`], but as sent on the wire.
    pub async fn raw(&self) -> Vec<String> {
        self.router().tasks.drained().await;
        let batch = self.cx.client().unwrap().outbox.take(usize::MAX, usize::MAX).batch;
        batch.iter().map(|out| String::from_utf8(out.frame.to_vec()).unwrap()).collect()
    }

    /// Turns it into an anonymous user, who owns no rows.
    pub fn is_anonymous(&mut self) {
        if let Requester::Client(client) = &mut self.cx.who {
            Arc::make_mut(client).account = None;
        }
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
