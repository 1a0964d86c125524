//! A session's resource in the registry. Dropping it removes the session, whatever ended it: a closing tag,
//! a cut, a panic.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{self, Waker};

use super::clock::wall;
use super::context::{Context, named};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::modules::api::{Channel, Client, Cx, Requester, SessionEnd, Via};
use crate::router::outbox::Outgoing;
use crate::stanza::{Kind, Stanza, StanzaError, error_reply};
use crate::store::devices::Touch;

/// Held by the session's task while it is bound.
pub struct Binding {
    context: Arc<Context>,
    /// The client of this session, for its handlers.
    pub client: Arc<Client>,
    /// What handlers get; `now` is stale here.
    pub cx: Cx,
    /// How it ended.
    pub session_end: SessionEnd,
    /// What its client did not acknowledge (XEP-0198 §4).
    pub unacked: Vec<Outgoing>,
    /// Saved for a restart of the server, so others are not notified of its end.
    kept: bool,
    /// The connection that is counted, if it has one.
    counted: Option<Via>,
}

impl Binding {
    /// Makes the binding of a session that was just put into the registry.
    pub fn new(context: Arc<Context>, client: Client) -> Self {
        let client = Arc::new(client);
        let cx = context.cx(Requester::Client(client.clone()));
        let (session_end, unacked) = (SessionEnd::default(), Vec::new());
        Self { context, client, cx, session_end, unacked, kept: false, counted: None }
    }

    /// Counts its connection.
    pub fn connected(&mut self) {
        self.disconnected();
        let via = self.client.channel.via;
        self.context.counts.connected(via);
        self.counted = Some(via);
    }

    /// It has none any more.
    pub fn disconnected(&mut self) {
        if let Some(via) = self.counted.take() {
            self.context.counts.disconnected(via);
        }
    }

    /// Sets how the client is connected from now on.
    pub fn reconnected(&mut self, channel: Channel) {
        Arc::make_mut(&mut self.client).channel = channel;
        self.cx.who = Requester::Client(self.client.clone());
        self.connected();
    }

    /// Marks the session as saved for a restart of the server.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// All that sessions share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.disconnected();
        if self.kept {
            return;
        }
        // A panic may be ending the session: a second one while it unwinds would end the server.
        if catch_unwind(AssertUnwindSafe(|| self.unbind())).is_err() {
            tracing::error!(jid = named(&self.client.jid), "a session did not take leave");
        }
    }
}

impl Binding {
    fn unbind(&mut self) {
        let mut cx = self.cx.clone();
        cx.now = wall();
        let router = &self.context.router;
        let bare = cx.bare();
        let resource = router.registry.unbind(bare.as_str(), self.client.session);
        if resource.is_some() {
            router.questions.gone(&self.client.jid.clone().into());
        }
        let session_end = std::mem::take(&mut self.session_end);
        if let Some(resource) = &resource {
            // Before contacts are notified: they may ask at once for the time of the last activity.
            self.context.pipeline.session_ended(&cx, &session_end);
            if let (Some(account), Some(agent)) = (self.client.account, resource.agent) {
                let at = micros(cx.now);
                router.store.write_behind(Box::new(Touch { account, agent, at }));
            }
            self.context.pipeline.resource_removed(&cx, resource);
        }
        // Who was replaced has its address no longer: an error from it would be taken for its successor's.
        let is_replaced = resource.is_none();
        let mut left = std::mem::take(&mut self.unacked);
        left.extend(self.client.outbox.close());
        if let Some(resource) = resource.as_ref().filter(|_| !left.is_empty()) {
            self.context.pipeline.undelivered(&cx, resource, &left);
        }
        router.redeliver(bare.as_str());
        router.registry.trim(bare.as_str());
        let mut last = Box::pin(async move {
            for reply in left.iter().filter_map(|item| undelivered(item, is_replaced)) {
                cx.send(&reply).await;
            }
        });
        // Mostly nothing of this has to wait, and then it needs no task.
        let done = last.as_mut().poll(&mut task::Context::from_waker(Waker::noop()));
        if done.is_pending() {
            router.tasks.spawn("unbound", last);
        }
    }
}

/// promise.md 10: an IQ request that was never handled gets the answer of an absent resource (RFC 6121
/// §8.5.3.2.3), and a room gets an error, as its occupant is gone. Owed messages are in the store; nothing
/// is due for the rest.
fn undelivered(item: &Outgoing, is_replaced: bool) -> Option<Stanza> {
    if item.owed.is_some() {
        return None;
    }
    let stanza = Stanza::ours(item.frame.to_vec().into())?;
    let error = match (stanza.kind(), stanza.ty().as_deref()) {
        (Kind::Iq, _) => StanzaError::service_unavailable(),
        (Kind::Message, Some("groupchat")) if !is_replaced => StanzaError::recipient_unavailable(),
        _ => return None,
    };
    let from = stanza.to().map(Jid::as_str);
    Stanza::ours(error_reply(stanza.element(), from, stanza.from(), &error)?)
}
