//! What the router says of a stanza is done: its addressee is read from the store, room is waited for, a
//! handler answers. One way for sessions, for handlers, and for whatever sends stanzas later.

use std::collections::VecDeque;
use std::sync::Arc;

use super::api::{Cx, Requester};
use crate::jid::Jid;
use crate::router::handled_count::{HandledCount, Ticket};
use crate::router::outbox::Outbox;
use crate::router::{Handler, Leads, Mailbox, Origin, Routed};
use crate::stanza::{Stanza, StanzaError, error_reply};
use crate::store::Grant;
use crate::store::ids::AccountId;

/// The session that sent a stanza, over a wait.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Its count.
    pub handled_count: Arc<HandledCount>,
    /// The way to it.
    pub outbox: Arc<Outbox>,
    /// Its account, unless it owns nothing.
    pub account: Option<AccountId>,
}

/// Where a stanza ended.
#[derive(Debug)]
pub struct Driven {
    /// What the router said last: nothing that calls for more.
    pub routed: Routed,
    /// Enough of the sender's stream is on its way to the disk.
    pub full: bool,
    /// Answers that go their own ways.
    pub made: Vec<Stanza>,
    /// The stanza's; still held if a handler had it.
    pub ticket: Option<Ticket>,
}

impl Driven {
    fn at(routed: Routed, ticket: Option<Ticket>) -> Self {
        Self { routed, full: false, made: Vec::new(), ticket }
    }
}

impl Cx {
    /// Takes a stanza to its end. `begun` is what the router said already, with the stanza's ticket.
    pub async fn drive(
        &self,
        stanza: &Stanza,
        sender: Option<&Sender>,
        begun: Option<(Routed, Ticket)>,
    ) -> Driven {
        let (mut begun, mut ticket) = match begun {
            Some((routed, ticket)) => (Some(routed), Some(ticket)),
            None => (None, None),
        };
        let mut room: Option<Grant> = None;
        loop {
            let routed = match begun.take() {
                Some(routed) => routed,
                None => {
                    let mut origin = origin(sender, ticket.take());
                    origin.has_room = room.is_some();
                    let routed = self.router.route(stanza, self.now, &mut origin);
                    if let Routed::Done | Routed::Slow(_) | Routed::Bounce(_) = routed {
                        return Driven { full: origin.finish(), ..Driven::at(routed, None) };
                    }
                    ticket = sender.map(|sender| origin.into_ticket(&sender.handled_count));
                    routed
                }
            };
            let done = match routed {
                Routed::Load(bare) => self.router.load(&bare).await,
                Routed::Crowded => {
                    // Whoever waits again holds up nobody meanwhile.
                    room = None;
                    self.store.room(stanza.len()).await.map(|it| room = Some(it))
                }
                Routed::Handle(handler) => {
                    return match self.asked_by(sender, stanza).handle(handler, stanza).await {
                        Ok(made) => Driven { made, ..Driven::at(Routed::Done, ticket) },
                        Err(error) => Driven::at(Routed::Bounce(error), ticket),
                    };
                }
                routed => return Driven::at(routed, ticket),
            };
            if sender.is_some_and(|sender| sender.handled_count.is_over()) {
                // What was not routed yet does not count as handled: its client keeps it (promise.md 6).
                ticket.into_iter().for_each(Ticket::abandon);
                return Driven::at(Routed::Done, None);
            }
            if let Err(error) = done {
                if sender.is_none() {
                    tracing::error!(%error, "an account could not be read");
                }
                return Driven::at(Routed::Bounce(error.into()), ticket);
            }
        }
    }

    /// For the handler: what no session sends has no more rights than its address.
    fn asked_by(&self, sender: Option<&Sender>, stanza: &Stanza) -> Self {
        let mut cx = self.clone();
        if sender.is_none() {
            cx.who = Requester::Entity(stanza.from().clone());
        }
        cx
    }

    async fn handle(self, handler: Handler, stanza: &Stanza) -> Result<Vec<Stanza>, StanzaError> {
        let server = self.server.clone();
        match handler {
            Handler::Subscription => server.subscription_in(self, stanza.clone()).await,
            Handler::Probe => server.probe(self, stanza.clone()).await,
            Handler::Iq => server.serve_iq(self, stanza).await,
            Handler::Service(service) => server.serve(self, service, stanza.clone()).await,
        }
    }

    /// Routes a stanza that a handler made, and what comes of it. A service hears of its errors; others
    /// that no session waits for are dropped.
    pub async fn send(&self, stanza: &Stanza) {
        let mut waiting = VecDeque::from([stanza.clone()]);
        // An answer may cause one more; nothing goes back and forth for longer.
        for _ in 0..SENDS_MAX {
            let Some(stanza) = waiting.pop_front() else { return };
            let driven = self.drive(&stanza, None, None).await;
            waiting.extend(driven.made);
            if let Routed::Bounce(error) = driven.routed {
                waiting.extend(self.returned(&stanza, &error));
            }
        }
    }

    fn returned(&self, stanza: &Stanza, error: &StanzaError) -> Option<Stanza> {
        let Leads::Service(_) = self.router.leads(stanza.from()) else { return None };
        let from = stanza.to().map(Jid::as_str);
        Stanza::ours(error_reply(stanza.element(), from, stanza.from(), error)?)
    }
}

/// Handles what is put into the mailboxes of services, each in order. `cx` gives what handlers see.
pub async fn attend(cx: impl Fn(Requester) -> Cx, mut mailbox: Mailbox) {
    while let Some(stanza) = mailbox.recv().await {
        let cx = cx(Requester::Entity(stanza.from().clone()));
        let sending = cx.clone();
        // In a task of its own, so that a handler that panics ends no service.
        let sent = async move {
            sending.send(&stanza).await;
            Ok(())
        };
        let _ = cx.finish("service", sent).await;
    }
}

fn origin(sender: Option<&Sender>, ticket: Option<Ticket>) -> Origin<'_> {
    match sender {
        Some(Sender { handled_count, outbox, account }) => {
            Origin::session(handled_count, outbox, ticket, *account)
        }
        None => Origin::server(),
    }
}

/// Steps that one stanza of ours may take.
const SENDS_MAX: usize = 8;
