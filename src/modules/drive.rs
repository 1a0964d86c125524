//! What the router says of a stanza is done: its addressee is read from the store, room is waited for, a
//! handler answers. One way for sessions, for handlers, and for whatever sends stanzas later.

use std::collections::VecDeque;
use std::sync::Arc;

use super::api::{Cx, Requester};
use crate::jid::Jid;
use crate::router::handled_count::{HandledCount, Ticket};
use crate::router::outbox::Outbox;
use crate::router::{Handler, Leads, Mailbox, Origin, Routed, ServiceId};
use crate::stanza::{Stanza, StanzaError, error_reply};
use crate::store::Grant;
use crate::store::ids::AccountId;

/// The stream that a stanza came by, over a wait: a client's, another server's or a component's.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Its count.
    pub handled_count: Arc<HandledCount>,
    /// The way to it.
    pub outbox: Arc<Outbox>,
    /// Its account, unless it owns nothing.
    pub account: Option<AccountId>,
    /// It is no client's.
    pub foreign: bool,
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
    /// Takes a stanza to its end. `begun` is what the router said already; `ticket` the stanza's, or that of
    /// the one that it was made of.
    pub async fn drive(
        &self,
        stanza: &Stanza,
        sender: Option<&Sender>,
        mut begun: Option<Routed>,
        mut ticket: Option<Ticket>,
    ) -> Driven {
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
                    ticket = match sender {
                        Some(sender) => Some(origin.into_ticket(&sender.handled_count)),
                        None => origin.take_ticket(),
                    };
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
                    let asked = self.asked_by(sender, stanza);
                    let waits = sender.is_some();
                    let done = asked.handle(handler, stanza, ticket.clone(), waits).await;
                    let full = sender.is_some_and(|sender| sender.handled_count.is_full());
                    return match done {
                        Ok(made) => Driven { made, full, ..Driven::at(Routed::Done, ticket) },
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

    async fn handle(
        self,
        handler: Handler,
        stanza: &Stanza,
        ticket: Option<Ticket>,
        waits: bool,
    ) -> Result<Vec<Stanza>, StanzaError> {
        let server = self.server.clone();
        match handler {
            Handler::Subscription => server.subscription_in(self, stanza.clone()).await,
            Handler::Probe => server.probe(self, stanza.clone()).await,
            Handler::Iq => server.serve_iq(self, stanza).await,
            Handler::Service(service) => self.handle_service(service, stanza, ticket, waits).await,
        }
    }

    /// A stream's stanza is handled now, behind what was put for the service before: so its sender is slowed
    /// and gets the answer. All others, for which nobody waits, are put there, too.
    async fn handle_service(
        self,
        service: ServiceId,
        stanza: &Stanza,
        ticket: Option<Ticket>,
        waits: bool,
    ) -> Result<Vec<Stanza>, StanzaError> {
        let Some(mailbox) = self.router.mailbox(service) else {
            return Err(StanzaError::service_unavailable());
        };
        if !waits {
            mailbox.put(stanza.to().map_or("", Jid::as_str), stanza.frame());
            return Ok(Vec::new());
        }
        mailbox.caught_up().await;
        self.server.clone().serve(self, service, stanza.clone(), ticket).await
    }

    /// Routes a stanza that a handler made, and what comes of it. Whoever is no account of this server hears
    /// of its errors; others that no session waits for are dropped.
    pub async fn send(&self, stanza: &Stanza) {
        self.send_as(stanza, None).await;
    }

    /// The same for what was made of a stanza with this ticket: it is not acknowledged before what is written
    /// here is durable (promise.md 4).
    pub async fn send_as(&self, stanza: &Stanza, ticket: Option<Ticket>) {
        self.send_watched(stanza, ticket).await;
    }

    /// The same; gives the boxes that have little room now: whoever causes more should wait for them.
    pub async fn send_watched(&self, stanza: &Stanza, ticket: Option<Ticket>) -> Vec<Arc<Outbox>> {
        let mut slow = Vec::new();
        let mut waiting = VecDeque::from([(stanza.clone(), 0)]);
        while let Some((stanza, depth)) = waiting.pop_front() {
            if depth == DEPTH_MAX {
                let (from, to) = (stanza.from(), stanza.to().map(tracing::field::display));
                tracing::warn!(%from, to, "stanzas of the server's own cause each other without end");
                continue;
            }
            let driven = self.drive(&stanza, None, None, ticket.clone()).await;
            waiting.extend(driven.made.into_iter().map(|made| (made, depth + 1)));
            match driven.routed {
                Routed::Bounce(error) => {
                    waiting.extend(self.returned(&stanza, &error).map(|error| (error, depth + 1)));
                }
                Routed::Slow(outbox) => slow.push(outbox),
                _ => {}
            }
        }
        slow
    }

    fn returned(&self, stanza: &Stanza, error: &StanzaError) -> Option<Stanza> {
        match self.router.leads(stanza.from()) {
            Leads::Account | Leads::Server => None,
            Leads::Service(_) | Leads::Elsewhere => error_to_sender(stanza, error),
        }
    }

    /// Handles what was put into a service's mailbox.
    async fn attended(self, service: ServiceId, stanza: Stanza) {
        match self.server.serve(self.clone(), service, stanza.clone(), None).await {
            Ok(made) => {
                for made in made {
                    self.send(&made).await;
                }
            }
            Err(error) => {
                if let Some(reply) = error_to_sender(&stanza, &error) {
                    self.send(&reply).await;
                }
            }
        }
    }
}

fn error_to_sender(stanza: &Stanza, error: &StanzaError) -> Option<Stanza> {
    let from = stanza.to().map(Jid::as_str);
    Stanza::ours(error_reply(stanza.element(), from, stanza.from(), error)?)
}

/// Handles what is put into the mailbox of a service, in order, until it is closed. `cx` gives what handlers
/// see.
pub async fn attend(service: ServiceId, mailbox: Arc<Mailbox>, cx: impl Fn(Requester) -> Cx) {
    while let Some(frame) = mailbox.next().await {
        if let Some(stanza) = Stanza::ours(frame.to_vec().into()) {
            let cx = cx(Requester::Entity(stanza.from().clone()));
            let work = cx.clone();
            // In a task of its own, so that a handler that panics ends no service.
            let attended = async move {
                work.attended(service, stanza).await;
                Ok(())
            };
            let _ = cx.finish("service", attended).await;
        }
        mailbox.done();
    }
}

fn origin(sender: Option<&Sender>, ticket: Option<Ticket>) -> Origin<'_> {
    match sender {
        Some(Sender { handled_count, outbox, foreign: true, .. }) => {
            Origin::peer(handled_count, outbox, ticket)
        }
        Some(Sender { handled_count, outbox, account, .. }) => {
            Origin::session(handled_count, outbox, ticket, *account)
        }
        None => Origin::made(ticket),
    }
}

/// Stanzas of the server's own that one may cause after the other.
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::{Duration, SystemTime};

    use super::super::api::{Answer, Identity, IqRoute, Module, Service, Target};
    use super::super::testing::Server;
    use super::super::{Config, Pipeline};
    use super::*;
    use crate::base::limits::Limits;
    use crate::stanza::iq::IqType;

    /// What the service was sent: `kind type from`.
    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    const HALL: Module = Module {
        name: "hall",
        service: Some(Service {
            label: |_| Some("hall"),
            identity: Identity { category: "conference", ty: "text", name: None },
            features: &[],
            message: |_, stanza, _| hear(stanza),
            presence: |_, stanza| hear(stanza),
            iq: |_, stanza| hear(stanza),
        }),
        ..Module::EMPTY
    };
    /// Panics where it is asked to; answers pings in its own way.
    const ROUGH: Module = Module {
        name: "rough",
        service: Some(Service {
            label: |_| Some("rough"),
            identity: Identity { category: "conference", ty: "text", name: None },
            features: &[],
            message: |_, stanza, _| hear(stanza),
            presence: |_, stanza| match stanza.ty().as_deref() {
                Some("unavailable") => panic!("it was asked to"),
                _ => hear(stanza),
            },
            iq: |_, stanza| hear(stanza),
        }),
        iqs: &[IqRoute {
            ty: IqType::Get,
            ns: crate::xml::ns::PING,
            name: "ping",
            targets: &[Target::Service],
            handler: |_, _| Box::pin(std::future::ready(Err(StanzaError::gone()))),
        }],
        ..Module::EMPTY
    };
    const MODULES: &[&Module] =
        &[&super::super::disco::MODULE, &HALL, &super::super::ping::MODULE, &ROUGH];

    /// Whoever leaves is announced to many, one of whom is nobody.
    fn hear(stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
        let ty = stanza.ty().unwrap_or_default().into_owned();
        let kind = stanza.kind().as_str();
        HEARD.lock().unwrap().push(format!("{kind} {ty} {}", stanza.from()));
        let to = |to: String| {
            let xml =
                format!("<message from='r@hall.x' to='{to}' type='headline'><body/></message>");
            Stanza::ours(xml.into())
        };
        let nobody = || {
            let xml =
                "<message from='r@hall.x/n' to='nobody@x' type='chat'><body>x</body></message>";
            Stanza::ours(xml.into())
        };
        let announced = (0..20).filter_map(|_| to("b@x/1".to_owned())).chain(nobody());
        Box::pin(std::future::ready(Ok(match ty.as_str() {
            "unavailable" => announced.collect(),
            _ => Vec::new(),
        })))
    }

    /// A service's sends are all sent; errors to them, and answers to what it asks, come to it behind what
    /// came before; a session that sends directly waits its turn.
    #[tokio::test]
    async fn a_service_sends_and_hears_in_order() {
        let mut server = Server::with(&["a", "b"]).await;
        let router = Arc::get_mut(&mut server.cx.router).unwrap();
        let hall = router.add_service(["hall.x".to_owned()]);
        server.cx.server = Pipeline::build(MODULES, &Config::default(), SystemTime::UNIX_EPOCH);
        let cx = server.session("a@x/1").await;
        let other = server.session("b@x/1").await;
        let mailbox = cx.router.mailbox(hall).unwrap().clone();
        let base = cx.clone();
        let of = move |who| Cx { who, ..base.clone() };
        let attending = attend(hall, mailbox.clone(), of);
        let gone = "<presence from='a@x/9' to='r@hall.x' type='unavailable'/>";
        let gone = Stanza::ours(gone.into()).unwrap();
        let asking = async {
            cx.router.hand_over(gone.from(), gone.to().unwrap(), gone.frame());
            let outbox = cx.client().unwrap().outbox.clone();
            let handled_count = Arc::new(HandledCount::new(&Limits::default()));
            let sender = Sender { handled_count, outbox, account: None, foreign: false };
            let said = "<message from='a@x/1' to='r@hall.x'><body/></message>";
            let said = Stanza::ours(said.into()).unwrap();
            cx.drive(&said, Some(&sender), None, None).await;
            for (to, payload) in [
                ("x", "<ping xmlns='urn:xmpp:ping'/>"),
                ("b@x", "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
                ("nobody@x", "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
            ] {
                let iq = format!("<iq id='1' type='get' from='hall.x' to='{to}'>{payload}</iq>");
                cx.send(&Stanza::ours(iq.into()).unwrap()).await;
            }
            mailbox.caught_up().await;
        };
        tokio::select! {
            () = attending => {}
            done = tokio::time::timeout(Duration::from_secs(10), asking) => done.unwrap(),
        }
        let announced = other.client().unwrap().outbox.take(usize::MAX, 99).batch.len();
        assert_eq!(announced, 20);
        let heard = [
            "presence unavailable a@x/9",
            "message error nobody@x",
            "message  a@x/1",
            "iq result x",
            // Of who exists it tells nothing (XEP-0030 §8).
            "iq error b@x",
            "iq error nobody@x",
        ];
        let mut found = HEARD.lock().unwrap().clone();
        found.retain(|heard| !heard.ends_with("rough-test@x"));
        let place = |of: &str| found.iter().position(|heard| heard == of).expect(of);
        assert_eq!(found.len(), heard.len(), "{found:?}");
        assert!(place("presence unavailable a@x/9") < place("message  a@x/1"), "{found:?}");
        assert!(heard.iter().all(|heard| place(heard) < found.len()));
    }

    /// A handler that panics costs one stanza; a service's own route goes before that for all of them, and is
    /// for no other service.
    #[tokio::test]
    async fn a_service_is_its_own() {
        let mut server = Server::with(&["a"]).await;
        let router = Arc::get_mut(&mut server.cx.router).unwrap();
        router.add_service(["hall.x".to_owned()]);
        let rough = router.add_service(["rough.x".to_owned()]);
        server.cx.server = Pipeline::build(MODULES, &Config::default(), SystemTime::UNIX_EPOCH);
        let cx = server.session("a@x/1").await;
        for (to, answer) in [("hall.x", ""), ("rough.x", "gone"), ("x", "")] {
            let ping = "<ping xmlns='urn:xmpp:ping'/>";
            assert_eq!(super::super::testing::ask(&cx, "get", to, ping).await, answer, "{to}");
        }
        let mailbox = cx.router.mailbox(rough).unwrap().clone();
        for (ty, from) in [("unavailable", "a@x/2"), ("subscribe", "rough-test@x")] {
            let said = format!("<presence from='{from}' to='r@rough.x' type='{ty}'/>");
            let said = Stanza::ours(said.into()).unwrap();
            cx.router.hand_over(said.from(), said.to().unwrap(), said.frame());
        }
        mailbox.close();
        let base = cx.clone();
        attend(rough, mailbox, move |who| Cx { who, ..base.clone() }).await;
        let heard = HEARD.lock().unwrap().clone();
        assert!(heard.iter().any(|heard| heard == "presence subscribe rough-test@x"), "{heard:?}");
    }
}
