//! XEP-0198 §5: a session that lost its connection hibernates until it is resumed, until its time is
//! over, or over a restart of the server.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::timeout;

use super::bound::Session;
use super::clock::now;
use super::context::named;
use super::ending::{CLOSE_TIMEOUT, Ending};
use super::link::Link;
use super::resume_table::{Connection, ResumeRequest};
use crate::base::credential::AgentId;
use crate::modules::api::Channel;
use crate::router::outbox::End;
use crate::router::registry::AccountEntry;
use crate::stream::error::StreamError;
use crate::stream::framing::Item;
use crate::stream::sm;

impl Session {
    /// The client may come back to it.
    pub(super) fn is_resumable(&self) -> bool {
        self.resumption.is_some()
    }

    /// When its time is over.
    pub(super) fn hibernates_until(&self) -> Option<Instant> {
        self.resumption.as_ref()?.hibernates_until()
    }

    /// True once all that could be sent to a stopping server's sessions was.
    pub(super) fn until_saving(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.resumption.as_ref().filter(|resumption| resumption.is_parked())?;
        let mut saving = self.binding.context().saving.clone();
        Some(Box::pin(async move { drop(saving.wait_for(|saving| *saving).await) }))
    }

    /// The stream ended. True when the session goes on without a connection.
    pub(super) fn hibernate(&mut self) -> bool {
        let stops = matches!(self.ending, Some(Ending::Stop));
        if !self.is_resumable() || !(stops || matches!(self.ending, Some(Ending::Cut))) {
            return false;
        }
        let context = self.binding.context().clone();
        let quota = context.resume_table.quota(&context.router.limits).filter(|_| !stops);
        if quota.is_none() && !stops {
            tracing::info!(
                jid = named(&self.binding.client.jid),
                "too many sessions wait to be resumed"
            );
            return false;
        }
        let Some(resumption) = &mut self.resumption else { return false };
        let parked = stops.then(|| context.router.tasks.park());
        resumption.hibernate(now() + resumption.time(), quota, parked);
        self.ending = None;
        self.count_written();
        self.link.cut();
        self.binding.disconnected();
        self.forget_connection();
        self.show_hibernating(true);
        if !stops {
            self.tell_of_hibernation();
            tracing::info!(
                jid = named(&self.binding.client.jid),
                "connection lost; the session can be resumed"
            );
        }
        self.check_hibernation();
        true
    }

    /// Others see whether it hibernates, and wake it with what they send.
    fn show_hibernating(&self, hibernating: bool) {
        self.outbox.watch(hibernating);
        let who = &self.binding.client;
        self.binding.cx.own(|entry| {
            if let Some(resource) = entry.session_mut(who.session) {
                // Without a connection nobody says more.
                (resource.hibernating, resource.quiet) = (hibernating, false);
            }
        });
    }

    /// Modules hear of what the client does not have.
    fn tell_of_hibernation(&self) {
        let unacked = || {
            let sent = self.sm.iter().flat_map(|sm| sm.unacked()).cloned();
            sent.chain(self.outbox.waiting()).collect()
        };
        let context = self.binding.context();
        let cx = context.cx(self.binding.cx.who.clone());
        context.pipeline.hibernates(&cx, &unacked);
    }

    /// Others see whether somebody looks at the client.
    pub(super) fn show_quiet(&self) {
        let quiet = self.binding.context().pipeline.is_quiet(&self.state);
        let who = &self.binding.client;
        self.binding.cx.own(|entry| {
            if let Some(resource) = entry.session_mut(who.session) {
                resource.quiet = quiet;
            }
        });
    }

    /// Something was sent to a hibernating session, or it is to end.
    pub(super) fn check_hibernation(&mut self) {
        let context = self.binding.context().clone();
        let waiting = self.outbox.bytes();
        let ending = self.outbox.ending();
        let unacked = self.sm.as_ref().map_or(0, |sm| sm.unacked_bytes());
        let resumption = self.resumption.as_mut().filter(|resumption| resumption.is_hibernating());
        let Some(resumption) = resumption else { return };
        let light = resumption.weigh(unacked + waiting, &context.router.limits);
        match ending {
            Some(End::Failure(failure)) => self.fail(failure),
            Some(End::Shutdown) => resumption.park(|| context.router.tasks.park()),
            None if !light => {
                let why = "too much waits for sessions without a connection";
                self.fail(StreamError::ResourceConstraint.text(why));
            }
            None => {}
        }
    }

    /// promise.md 11: the last count, then the connection is cut, with neither stream error nor
    /// closing tag, either of which would end the session.
    pub(super) async fn send_last_ack(&mut self) {
        if self.is_hibernating() || !self.is_resumable() {
            return;
        }
        let _ = timeout(CLOSE_TIMEOUT, self.settle()).await;
        self.link.wire.queue(sm::ack(self.handled_count.h()));
        let cut = async {
            self.link.wire.flush().await?;
            self.link.wire.shutdown().await
        };
        // A client that hears nothing counts by the answer to its <resume/>.
        let _ = timeout(CLOSE_TIMEOUT, cut).await;
    }

    /// Looks whether a client wants to go on with this session on another connection.
    pub(super) fn look_for_resume_request(&mut self) {
        let (Some(sm), Some(resumption)) = (&mut self.sm, &mut self.resumption) else { return };
        let Some(request) = resumption.take_request() else { return };
        match sm.acknowledge(request.h) {
            Err(too_high) => request.refuse(Some(too_high)),
            Ok(items) => {
                resumption.hand_over(request);
                self.acknowledged(&items);
                // What came on the old connection is handled before it is counted; most often it is.
                if !self.flow.is_pending() && self.handled_count.is_settled() {
                    self.reached();
                }
            }
        }
    }

    /// The connection is this session's from now on.
    pub(super) fn resume(&mut self, request: ResumeRequest) {
        let ResumeRequest { connection, previd, success, answer, .. } = request;
        let Connection { link, peer, secure, agent, by_token, via } = connection;
        let slept = self.resumption.as_mut().is_some_and(|resumption| resumption.reconnect());
        self.forget_connection();
        let old = std::mem::replace(&mut self.link, link);
        if slept {
            self.show_hibernating(false);
        } else {
            self.close_old_connection(old);
            self.show_quiet();
        }
        let now = now();
        self.binding.reconnected(Channel { peer, secure, by_token, via });
        self.binding.context().counts.resumed();
        self.goes_on_at(agent);
        (self.heard, self.ping) = (now, None);
        self.flow.reconnected();
        tracing::info!(jid = named(&self.binding.client.jid), %peer, secure, slept, "session resumed");
        let resumed = sm::resumed(&previd, self.handled_count.h());
        self.link.wire.queue(match success {
            // XEP-0198 §9.2: no features follow.
            Some(success) => success.with(&self.binding.client.jid, &resumed).into(),
            None => resumed,
        });
        self.resend();
        // The connection knows that it is bound.
        let _ = answer.send(Ok(()));
        self.flow.reconnect();
        self.give_back_uncounted();
        let who = &self.binding.client;
        let waits = self
            .binding
            .cx
            .own(|entry| entry.non_negative().any(|resource| resource.session == who.session));
        if waits == Some(true) {
            // What other hibernating sessions hold, this one was not meant to see, or has seen.
            self.begin_redelivery(AccountEntry::claim_waiting);
        }
    }

    /// Who revokes the device that the client is at now finds the session by it.
    fn goes_on_at(&self, agent: Option<AgentId>) {
        let (Some(agent), who) = (agent, &self.binding.client) else { return };
        self.binding.cx.own(|entry| {
            if let Some(resource) = entry.session_mut(who.session) {
                resource.agent = Some(agent);
            }
        });
    }

    /// What was written before the stream counted is in neither count: whether it arrived nobody knows,
    /// and an answer on this connection would not say so. It is owed still (promise.md 2).
    fn give_back_uncounted(&mut self) {
        let uncounted = std::mem::take(&mut self.delivery).take_unconfirmed();
        if uncounted.is_empty() {
            return;
        }
        let who = &self.binding.client;
        self.binding.cx.own(|entry| {
            for seq in uncounted {
                entry.owed.release(seq, who.session);
            }
        });
        self.binding.cx.router.redeliver(who.jid.bare_str());
    }

    /// XEP-0198 §5: what the client did not handle comes again, in its order.
    fn resend(&mut self) {
        let Some(sm) = self.sm.take() else { return };
        for item in sm.unacked() {
            let stamped = self.stamped(item);
            let frame = stamped.unwrap_or_else(|| item.frame.clone());
            self.binding.context().counts.stanza_out(&frame);
            self.link.wire.queue_frame(frame);
        }
        self.sm.insert(sm).reconnected();
    }

    /// XEP-0198 §5: a stream that is still open gets `conflict`.
    fn close_old_connection(&self, old: Link) {
        self.binding.cx.router.tasks.spawn("dismissed", async move {
            // It counts for its address until it is closed.
            let Link { guard: _guard, mut wire, .. } = old;
            let why = StreamError::Conflict.text("the session was resumed on another connection");
            wire.say(Item::Failure(why));
            wire.say(Item::Close);
            let closing = async {
                wire.flush().await?;
                wire.shutdown().await?;
                // Closed with input unread, TCP would take the words back.
                wire.linger().await
            };
            // It is most likely half open: nobody hears this.
            let _ = timeout(CLOSE_TIMEOUT, closing).await;
        });
    }
}
