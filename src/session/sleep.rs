//! XEP-0198 §5: a session that lost its connection sleeps until it is resumed, until its time is
//! over, or over a restart of the server.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::timeout;

use super::bound::Session;
use super::clock::now;
use super::context::named;
use super::door::{Connection, Knock};
use super::ending::{Ending, GOODBYE};
use super::link::Link;
use crate::base::credential::AgentId;
use crate::modules::api::Channel;
use crate::router::outbox::End;
use crate::router::registry::User;
use crate::stream::error::StreamError;
use crate::stream::framing::Item;
use crate::stream::sm;

impl Session {
    /// The client may come back to it.
    pub(super) fn is_resumable(&self) -> bool {
        self.resumption.is_some()
    }

    /// When its time is over.
    pub(super) fn asleep_until(&self) -> Option<Instant> {
        self.resumption.as_ref()?.asleep_until()
    }

    /// True once all that could be sent to a stopping server's sessions was.
    pub(super) fn lies_down(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.resumption.as_ref().filter(|resumption| resumption.is_parked())?;
        let mut saving = self.binding.context().saving.clone();
        Some(Box::pin(async move { drop(saving.wait_for(|saving| *saving).await) }))
    }

    /// The stream ended. True when the session goes on without a connection.
    pub(super) fn fall_asleep(&mut self) -> bool {
        let stops = matches!(self.ending, Some(Ending::Stop));
        if !self.is_resumable() || !(stops || matches!(self.ending, Some(Ending::Cut))) {
            return false;
        }
        let context = self.binding.context().clone();
        let bed = context.doors.bed(&context.router.limits).filter(|_| !stops);
        if bed.is_none() && !stops {
            tracing::info!(
                jid = named(&self.binding.client.jid),
                "too many sessions wait to be resumed"
            );
            return false;
        }
        let Some(resumption) = &mut self.resumption else { return false };
        let parked = stops.then(|| context.router.tasks.park());
        resumption.sleep(now() + resumption.time(), bed, parked);
        self.ending = None;
        self.link.cut();
        self.forget_connection();
        self.sleeps(true);
        if !stops {
            tracing::info!(
                jid = named(&self.binding.client.jid),
                "connection lost; the session can be resumed"
            );
        }
        self.stir();
        true
    }

    /// Others see whether it sleeps, and wake it with what they send.
    fn sleeps(&self, asleep: bool) {
        self.outbox.watch(asleep);
        let who = &self.binding.client;
        self.binding.cx.own(|user| {
            if let Some(resource) = user.session_mut(who.session) {
                resource.asleep = asleep;
            }
        });
    }

    /// Something was sent to a sleeping session, or it is to end.
    pub(super) fn stir(&mut self) {
        let context = self.binding.context().clone();
        let waiting = self.outbox.bytes();
        let ending = self.outbox.ending();
        let unacked = self.sm.as_ref().map_or(0, |sm| sm.unacked_bytes());
        let resumption = self.resumption.as_mut().filter(|resumption| resumption.is_asleep());
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
    pub(super) async fn say_last(&mut self) {
        if self.is_asleep() || !self.is_resumable() {
            return;
        }
        let _ = timeout(GOODBYE, self.settle()).await;
        self.link.wire.queue(sm::ack(self.ledger.h()));
        let cut = async {
            self.link.wire.flush().await?;
            self.link.wire.shutdown().await
        };
        // A client that hears nothing counts by the answer to its <resume/>.
        let _ = timeout(GOODBYE, cut).await;
    }

    /// Looks whether somebody wants to go on with this session on another connection.
    pub(super) fn somebody_knocks(&mut self) {
        let (Some(sm), Some(resumption)) = (&mut self.sm, &mut self.resumption) else { return };
        let Some(knock) = resumption.knock() else { return };
        match sm.acknowledge(knock.h) {
            Err(lie) => knock.refuse(Some(lie)),
            Ok(items) => {
                resumption.hand_over(knock);
                self.acknowledged(&items);
                // What came on the old connection is handled before it is counted; most often it is.
                if !self.flow.is_pending() && self.ledger.is_settled() {
                    self.reached();
                }
            }
        }
    }

    /// The connection is this session's from now on.
    pub(super) fn resume(&mut self, knock: Knock) {
        let Knock { connection, previd, success, answer, .. } = knock;
        let Connection { link, peer, secure, agent, by_token } = connection;
        let slept = self.resumption.as_mut().is_some_and(|resumption| resumption.wake());
        self.forget_connection();
        let old = std::mem::replace(&mut self.link, link);
        if slept {
            self.sleeps(false);
        } else {
            self.dismiss(old);
        }
        let now = now();
        self.binding.reconnected(Channel { peer, secure, by_token });
        self.goes_on_at(agent);
        (self.heard, self.ping) = (now, None);
        self.flow.reconnected();
        tracing::info!(jid = named(&self.binding.client.jid), %peer, secure, slept, "session resumed");
        let resumed = sm::resumed(&previd, self.ledger.h());
        self.link.wire.queue(match success {
            // XEP-0198 §9.2: no features follow.
            Some(success) => success.with(&self.binding.client.jid, &resumed).into(),
            None => resumed,
        });
        self.resend();
        // The connection knows that it is bound.
        let _ = answer.send(Ok(()));
        self.flow.wake();
        self.give_back_uncounted();
        let who = &self.binding.client;
        let waits = self
            .binding
            .cx
            .own(|user| user.non_negative().any(|resource| resource.session == who.session));
        if waits == Some(true) {
            // What other sleepers hold, this one was not meant to see, or has seen.
            self.begin_drain(User::claim_waiting);
        }
    }

    /// Who revokes the device that the client is at now finds the session by it.
    fn goes_on_at(&self, agent: Option<AgentId>) {
        let (Some(agent), who) = (agent, &self.binding.client) else { return };
        self.binding.cx.own(|user| {
            if let Some(resource) = user.session_mut(who.session) {
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
        self.binding.cx.own(|user| {
            for seq in uncounted {
                user.owed.release(seq, who.session);
            }
        });
        self.binding.cx.router.ended(who.jid.bare_str());
    }

    /// XEP-0198 §5: what the client did not handle comes again, in its order.
    fn resend(&mut self) {
        let Some(sm) = self.sm.take() else { return };
        for item in sm.unacked() {
            let stamped = self.stamped(item);
            self.link.wire.queue_frame(stamped.unwrap_or_else(|| item.frame.clone()));
        }
        self.sm.insert(sm).reconnected();
    }

    /// XEP-0198 §5: a stream that is still open gets `conflict`.
    fn dismiss(&self, mut old: Link) {
        self.binding.cx.router.tasks.spawn("dismissed", async move {
            let why = StreamError::Conflict.text("the session was resumed on another connection");
            old.wire.say(Item::Failure(why));
            old.wire.say(Item::Close);
            let goodbye = async {
                old.wire.flush().await?;
                old.wire.shutdown().await?;
                // Closed with input unread, TCP would take the words back.
                old.wire.linger().await
            };
            // It is most likely half open: nobody hears this.
            let _ = timeout(GOODBYE, goodbye).await;
        });
    }
}
