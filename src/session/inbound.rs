//! One element from the client: stamp, then the IQ index, presence, or the router.

use super::bound::Session;
use super::clock::{now, wall};
use super::ending::Ending;
use super::handled::{Handled, Outcome};
use crate::jid::Jid;
use crate::modules::Sender;
use crate::modules::api::{Answer, Cx, Effect};
use crate::router::handled_count::Ticket;
use crate::router::registry::AccountEntry;
use crate::router::{Origin, Routed};
use crate::stanza::iq::Iq;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Frame, Kind, Stanza, StanzaError, claims, error_reply};
use crate::stream::error::StreamError;
use crate::xml::element::Element;
use crate::xml::ns;

impl Session {
    /// Handles one proved element.
    pub(super) fn element(&mut self, element: Element) {
        let Some(kind) = Kind::of(&element) else { return self.no_stanza(&element) };
        self.binding.context().counts.stanza_in(kind);
        if !self.may_say_from(&element) {
            // RFC 6120 §8.1.2.1 and §4.9.3.9
            self.fail(StreamError::InvalidFrom.into());
            return;
        }
        self.binding.cx.now = wall();
        let jid = &self.binding.client.jid;
        let (lang, last_to) = (self.link.lang.as_ref(), self.last_to.as_ref());
        let stanza = match Stanza::from_client(kind, element, jid, lang, last_to) {
            Ok(stanza) => stanza,
            Err(refused) => {
                self.handled_count.pass();
                let to = Jid::from(jid.clone());
                self.queue_error(error_reply(&refused.element, None, &to, &refused.error));
                return;
            }
        };
        let stanza = self.own_words(kind, stanza);
        match kind {
            Kind::Message => self.message(stanza),
            Kind::Presence => self.presence(stanza),
            Kind::Iq => self.iq(stanza),
        }
    }

    /// RFC 6120 §4.8.3, §4.8.4, §4.9.1.1
    fn no_stanza(&mut self, element: &Element) {
        match (element.ns(), element.name()) {
            (ns::SM, _) => self.command(element),
            (ns::STREAM, "error") => self.ending = Some(Ending::GivenUp),
            (ns::SERVER, _) => self.fail(StreamError::InvalidNamespace.into()),
            (ns, name) => match self.binding.context().pipeline.nonza(ns, name) {
                Some(handle) => {
                    handle(&mut self.state).into_iter().for_each(|item| self.send(item));
                    self.show_quiet();
                }
                None => self.fail(StreamError::UnsupportedStanzaType.into()),
            },
        }
    }

    /// A client that writes `from` must write its own account's address; its own resource is written over it in any
    /// case (RFC 6120 §8.1.2.1). COMPAT(Converse.js): a page that is loaded anew and resumes its session goes on
    /// speaking as the resource that it would have bound.
    fn may_say_from(&self, element: &Element) -> bool {
        let Some(from) = element.attr("from") else { return true };
        let jid = &self.binding.client.jid;
        from == jid.as_str()
            || Jid::parse(&from).is_ok_and(|from| from.bare_str() == jid.bare_str())
    }

    /// Without what only the server says. An IQ's payload is between the two who exchange it.
    fn own_words(&self, kind: Kind, stanza: Stanza) -> Stanza {
        let router = &self.binding.cx.router;
        let forged = (kind != Kind::Iq)
            .then(|| claims::stripped(&stanza, |domain| router.serves(domain)))
            .flatten();
        forged.unwrap_or(stanza)
    }

    fn iq(&mut self, stanza: Stanza) {
        let iq = match Iq::request(&stanza) {
            Ok(Some(iq)) => iq,
            Ok(None) if self.is_ours(stanza.to()) => {
                self.handled_count.pass();
                if !self.binding.cx.router.questions.take(&stanza) {
                    self.reply_to_us(stanza.id().as_deref());
                }
                return;
            }
            Ok(None) => return self.route(stanza),
            Err(error) => {
                self.handled_count.pass();
                return self.bounce(&stanza, &error);
            }
        };
        if self.binding.context().pipeline.answers(&self.binding.cx, &iq) {
            let answer =
                self.binding.context().pipeline.answer(self.binding.cx.clone(), iq.clone());
            let ticket = self.handled_count.issue();
            let router = self.binding.cx.router.clone();
            let earlier = self.sm.is_none().then(|| ticket.clone());
            self.await_handler(ticket, async move {
                let answer = answer.await;
                // To a client without XEP-0198 an answer says that all before it arrived: so the
                // messages before it are durable first (promise.md 1).
                if let Some(earlier) = earlier.filter(Ticket::has_predecessors) {
                    router.flush_deferred();
                    earlier.predecessors().await;
                }
                Outcome::Reply(iq, answer)
            });
        } else {
            self.route(stanza);
        }
    }

    fn presence(&mut self, stanza: Stanza) {
        use PresenceType as P;
        let ty = match PresenceType::parse(stanza.ty().as_deref()) {
            Ok(ty) => ty,
            Err(error) => {
                self.handled_count.pass();
                return self.bounce(&stanza, &error);
            }
        };
        let pipeline = self.binding.context().pipeline.clone();
        match (ty, stanza.to().is_some()) {
            (P::Available | P::Unavailable, false) => {
                self.handled_count.pass();
                let said = stanza.element().child_text(ns::CLIENT, "status");
                let said = said.map(|status| status.to_string());
                self.binding.session_end.status = said.filter(|_| ty == P::Unavailable);
                match pipeline.broadcast(&self.binding.cx, &stanza) {
                    Ok(effect) => {
                        // One stanza that becomes thousands is not one stanza.
                        self.charge(effect.looked_at / CONTACTS_PER_STANZA);
                        if effect.redelivery {
                            for item in self.outbox.take_before_owed(self.room()) {
                                self.pass(item);
                            }
                            self.begin_redelivery(AccountEntry::claim);
                        } else if effect.refuses {
                            self.stop_redelivery();
                        }
                    }
                    Err(error) => self.bounce(&stanza, &error),
                }
            }
            (P::Subscribe | P::Subscribed | P::Unsubscribe | P::Unsubscribed, true) => {
                let cx = self.binding.cx.clone();
                let answer = pipeline.subscription_out(cx.clone(), stanza.clone());
                let ticket = self.handled_count.issue();
                self.await_handler(ticket, async move {
                    Outcome::Stanza(stanza, send_all(cx, answer.await).await)
                });
            }
            (P::Available | P::Unavailable, true) => {
                match pipeline.directed(&self.binding.cx, &stanza) {
                    Ok(()) => {
                        let cx = &self.binding.cx;
                        let stamped = cx.own(|entry| pipeline.stamped(entry, &stanza));
                        self.route(stamped.unwrap_or(stanza));
                    }
                    Err(error) => {
                        self.handled_count.pass();
                        self.bounce(&stanza, &error);
                    }
                }
            }
            (P::Probe | P::Error, true) => self.route(stanza),
            (_, false) => {
                self.handled_count.pass();
                self.bounce(
                    &stanza,
                    &StanzaError::bad_request().text("this presence needs a 'to'"),
                );
            }
        }
    }

    /// What a message tells the server is done before the message goes on.
    fn message(&mut self, stanza: Stanza) {
        let pipeline = &self.binding.context().pipeline;
        match pipeline.instructed(&self.binding.cx, &stanza) {
            None => self.route(stanza),
            Some((stanza, instructed)) => {
                let ticket = self.handled_count.issue();
                self.drive(stanza, Some(instructed), None, ticket);
            }
        }
    }

    fn route(&mut self, stanza: Stanza) {
        let cx = &self.binding.cx;
        if self.last_to.as_ref() != stanza.to() {
            self.last_to = stanza.to().cloned();
        }
        let mut origin =
            Origin::session(&self.handled_count, &self.outbox, None, self.binding.client.account);
        let routed = cx.router.route(&stanza, cx.now, &mut origin);
        if let Routed::Load(_) | Routed::Crowded | Routed::Handle(_) = routed {
            let ticket = origin.into_ticket(&self.handled_count);
            return self.drive(stanza, None, Some(routed), ticket);
        }
        let full = origin.finish();
        self.routed(&stanza, routed, full);
    }

    /// The router has done what it could for the stanza.
    fn routed(&mut self, stanza: &Stanza, routed: Routed, full: bool) {
        match routed {
            Routed::Slow(outbox) => self.flow.slow_down(outbox, now()),
            Routed::Bounce(error) if self.sm.is_none() && !self.handled_count.is_settled() => {
                self.bounce_in_turn(stanza.clone(), error);
            }
            Routed::Bounce(error) => self.bounce_routed(stanza, &error),
            Routed::Done | Routed::Load(_) | Routed::Crowded | Routed::Handle(_) => {}
        }
        if full && !self.flow.is_pending() {
            let handled_count = self.handled_count.clone();
            self.flow.await_handler(Box::pin(async move {
                handled_count.eased().await;
                Handled { outcome: Outcome::Eased, _ticket: None }
            }));
        }
    }

    /// To a client without XEP-0198 an error, too, says that all before it arrived: so the messages before it are
    /// durable first (promise.md 1).
    fn bounce_in_turn(&mut self, stanza: Stanza, error: StanzaError) {
        let (router, count) = (self.binding.cx.router.clone(), self.handled_count.clone());
        let came = count.issued();
        self.flow.await_handler(Box::pin(async move {
            router.flush_deferred();
            count.reached(came).await;
            Handled { outcome: Outcome::Bounced(stanza, error), _ticket: None }
        }));
    }

    /// The addressee is read from the store first, or a handler answers for it, or something is done before.
    fn drive(
        &mut self,
        stanza: Stanza,
        before: Option<Answer<()>>,
        begun: Option<Routed>,
        ticket: Ticket,
    ) {
        let cx = self.binding.cx.clone();
        let (handled_count, outbox) = (self.handled_count.clone(), self.outbox.clone());
        let account = self.binding.client.account;
        let sender = Sender { handled_count, outbox, account, foreign: false };
        // As with what the server itself answers.
        let says = self.sm.is_none() && stanza.kind() == Kind::Iq;
        let earlier = says.then(|| ticket.clone());
        self.flow.await_handler(Box::pin(async move {
            if let Some(before) = before {
                before.await;
            }
            let mut driven = cx.drive(&stanza, Some(&sender), begun, Some(ticket)).await;
            if let Some(earlier) = earlier.filter(Ticket::has_predecessors) {
                cx.router.flush_deferred();
                earlier.predecessors().await;
            }
            for made in std::mem::take(&mut driven.made) {
                cx.send_as(&made, driven.ticket.clone()).await;
            }
            let ticket = driven.ticket.take();
            Handled { outcome: Outcome::Driven(stanza, driven), _ticket: ticket }
        }));
    }

    /// Pauses reading until the handler is done; the stanza's ticket is held as long.
    fn await_handler(
        &mut self,
        ticket: Ticket,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        self.flow.await_handler(Box::pin(async move {
            Handled { outcome: work.await, _ticket: Some(ticket) }
        }));
    }

    /// A handler is done: answer, and go on.
    pub(super) fn handled(&mut self, handled: Handled) {
        if matches!(handled.outcome, Outcome::Reply(..)) {
            // A message before the request may have failed at its commit: its error goes first.
            self.take_all();
        }
        match handled.outcome {
            Outcome::Reply(iq, Ok(reply)) => {
                reply.ahead.into_iter().for_each(|stanza| self.answer(stanza));
                self.answer(iq.result(&reply.payload));
                let cx = self.binding.cx.clone();
                if !reply.out.is_empty() {
                    let router = cx.router.clone();
                    router.tasks.spawn("reply", async move {
                        for stanza in reply.out {
                            cx.send(&stanza).await;
                        }
                    });
                }
                match reply.effect {
                    // XEP-0077 §3.2.1
                    Some(Effect::AccountRemoved) => {
                        self.fail(StreamError::NotAuthorized.text("the account was removed"))
                    }
                    Some(Effect::DeviceRevoked) => {
                        self.fail(StreamError::NotAuthorized.text("the device was revoked"))
                    }
                    None => {}
                }
            }
            Outcome::Reply(iq, Err(error)) => self.answer(iq.error(&error)),
            Outcome::Stanza(_, Ok(())) => {}
            Outcome::Stanza(stanza, Err(error)) => self.bounce(&stanza, &error),
            Outcome::Bounced(stanza, error) => self.bounce_routed(&stanza, &error),
            Outcome::Driven(stanza, driven) => {
                self.charge(self.outbox.take_charge() / CONTACTS_PER_STANZA);
                self.routed(&stanza, driven.routed, driven.full);
            }
            Outcome::Eased => {}
        }
    }

    /// Queues an answer behind everything that others sent before it.
    fn answer(&mut self, reply: bytes::Bytes) {
        self.take_all();
        // Taking it may have begun a redelivery, or filled what the client may have.
        if self.flow.may_answer(self.seen()) {
            self.pass(Frame::whole(reply).into());
        } else {
            // A full box ends the session by itself.
            let _ = self.outbox.push(Frame::whole(reply));
        }
    }

    fn take_all(&mut self) {
        if self.flow.may_take_all(self.seen()) {
            let taken = self.outbox.take(usize::MAX, self.room());
            self.take(taken);
        }
    }

    fn bounce(&mut self, stanza: &Stanza, error: &StanzaError) {
        let to = Jid::from(self.binding.client.jid.clone());
        let from = stanza.to().map(Jid::as_str);
        self.queue_error(error_reply(stanza.element(), from, &to, error));
    }

    /// Others of the account may have got a copy of the message, and learn of its error, too.
    fn bounce_routed(&mut self, stanza: &Stanza, error: &StanzaError) {
        let cx = &self.binding.cx;
        let to = cx.jid().clone();
        let from = stanza.to().map(Jid::as_str);
        let reply = error_reply(stanza.element(), from, &to, error);
        if let Some(reply) = &reply {
            cx.router.bounced(stanza, reply, &self.outbox, cx.now);
        }
        self.queue_error(reply);
    }

    fn queue_error(&mut self, reply: Option<bytes::Bytes>) {
        if let Some(reply) = reply {
            self.answer(reply);
        }
    }
}

async fn send_all(cx: Cx, made: Result<Vec<Stanza>, StanzaError>) -> Result<(), StanzaError> {
    for stanza in made? {
        cx.send(&stanza).await;
    }
    Ok(())
}

/// Contacts, or occupants of a room, that hear of a presence at the price of one stanza.
const CONTACTS_PER_STANZA: usize = 50;
