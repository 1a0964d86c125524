//! A session's resource in the registry. Dropping it takes the session out, whatever ended it: a
//! closing tag, a cut, a panic.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{self, Waker};

use super::clock::wall;
use super::context::{Context, named};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::modules::api::{Channel, Client, Cx, Requester, SessionEnd};
use crate::router::outbox::Outgoing;
use crate::stanza::{Kind, Stanza, StanzaError, error_reply};
use crate::store::devices::Touch;

/// Held by the session's task while it is bound.
pub struct Binding {
    context: Arc<Context>,
    /// Who asks in its handlers.
    pub client: Arc<Client>,
    /// What they see; `now` is stale here.
    pub cx: Cx,
    /// How it ended.
    pub session_end: SessionEnd,
    /// What its client did not acknowledge (XEP-0198 §4).
    pub unacked: Vec<Outgoing>,
    /// It goes on after a restart of the server: others are not told.
    kept: bool,
}

impl Binding {
    /// For a session that was just put into the registry.
    pub fn new(context: Arc<Context>, client: Client) -> Self {
        let client = Arc::new(client);
        let cx = context.cx(Requester::Client(client.clone()));
        let (session_end, unacked) = (SessionEnd::default(), Vec::new());
        Self { context, client, cx, session_end, unacked, kept: false }
    }

    /// Its client is connected so from now on.
    pub fn reconnected(&mut self, channel: Channel) {
        Arc::make_mut(&mut self.client).channel = channel;
        self.cx.who = Requester::Client(self.client.clone());
    }

    /// The session is saved over a restart of the server.
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
        if self.kept {
            return;
        }
        // It may be a panic that ends the session: another one on the way out would end the server.
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
        let session_end = std::mem::take(&mut self.session_end);
        if let Some(resource) = &resource {
            // Before others are told, who may ask at once since when it is so.
            self.context.pipeline.session_ended(&cx, &session_end);
            if let (Some(account), Some(agent)) = (self.client.account, resource.agent) {
                let at = micros(cx.now);
                router.store.write_behind(Box::new(Touch { account, agent, at }));
            }
            self.context.pipeline.resource_removed(&cx, resource);
        }
        let mut left = std::mem::take(&mut self.unacked);
        left.extend(self.client.outbox.close());
        router.redeliver(bare.as_str());
        router.registry.trim(bare.as_str());
        let mut last = Box::pin(async move {
            for reply in left.iter().filter_map(undelivered) {
                cx.send(&reply).await;
            }
        });
        // Most often nothing of it has to wait: then it needs no task.
        let done = last.as_mut().poll(&mut task::Context::from_waker(Waker::noop()));
        if done.is_pending() {
            router.tasks.spawn("unbound", last);
        }
    }
}

/// promise.md 10: an IQ request that was never handled gets the answer of an absent resource (RFC
/// 6121 §8.5.3.2.3), a room learns that its occupant is gone; owed messages are in the store; the
/// rest had no claim.
fn undelivered(item: &Outgoing) -> Option<Stanza> {
    if item.owed.is_some() {
        return None;
    }
    let stanza = Stanza::ours(item.frame.to_vec().into())?;
    let error = match (stanza.kind(), stanza.ty().as_deref()) {
        (Kind::Iq, _) => StanzaError::service_unavailable(),
        (Kind::Message, Some("groupchat")) => StanzaError::recipient_unavailable(),
        _ => return None,
    };
    let from = stanza.to().map(Jid::as_str);
    Stanza::ours(error_reply(stanza.element(), from, stanza.from(), &error)?)
}
