//! What another server sends us: its stanzas are routed like a client's, and slow their stream like a client's.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep_until, timeout};

use super::clock::{now, wall};
use super::paces::DomainPace;
use super::patience::Patience;
use crate::jid::Jid;
use crate::modules::Sender;
use crate::modules::api::Requester;
use crate::router::handled_count::HandledCount;
use crate::router::outbox::{Outbox, slow_down};
use crate::router::{Calls, Origin, Routed, Router};
use crate::session::Context;
use crate::session::pace::Pace;
use crate::stanza::iq::Iq;
use crate::stanza::{Frame, Kind, Stanza, StanzaError, claims, error_reply};
use crate::xml::element::Element;

/// The stanzas of one stream, in order.
pub(super) struct Receiving {
    context: Arc<Context>,
    /// How many of them are handled (promise.md 4).
    pub(super) handled_count: Arc<HandledCount>,
    /// Where errors come when a commit fails.
    outbox: Arc<Outbox>,
    /// Reading pauses until this is done.
    work: Option<Work>,
    /// Sessions that got something in this turn, if there is one.
    calls: Calls,
    in_turn: bool,
    pace: Pace,
    /// What its domains may send, by all of their streams.
    paces: Vec<DomainPace>,
    patience: Patience,
    /// Since when an addressee is waited for who does not read.
    slowed: Option<Instant>,
    paused_until: Option<Instant>,
    /// The stream's language (RFC 6120 §4.7.4).
    lang: Option<Arc<str>>,
    /// Of a component: how many of its requests in the name of accounts are under way.
    privileged: Option<Arc<Semaphore>>,
}

/// Ends with an addressee that is to be waited for.
type Work = Pin<Box<dyn Future<Output = Option<Slow>> + Send>>;

/// An account whose client does not read, by its bare JID.
struct Slow {
    to: String,
    outbox: Arc<Outbox>,
}

impl Slow {
    fn of(stanza: &Stanza, outbox: Arc<Outbox>) -> Self {
        let to = stanza.to().map(Jid::bare_str).unwrap_or_default();
        Self { to: to.to_owned(), outbox }
    }
}

impl Receiving {
    pub(super) fn new(context: Arc<Context>, pace: Pace) -> Self {
        let limits = &context.router.limits;
        Self {
            handled_count: Arc::new(HandledCount::new(limits)),
            outbox: Arc::new(Outbox::new(limits.outbox_bytes_max)),
            context,
            work: None,
            calls: Calls::default(),
            in_turn: false,
            pace,
            paces: Vec::new(),
            patience: Patience::new(now()),
            slowed: None,
            paused_until: None,
            lang: None,
            privileged: None,
        }
    }

    /// The same for a component, which may do more than another server (XEP-0356): so many requests at a time.
    pub(super) fn of_component(context: Arc<Context>, pace: Pace, requests_max: usize) -> Self {
        let privileged = Some(Arc::new(Semaphore::new(requests_max)));
        Self { privileged, ..Self::new(context, pace) }
    }

    /// Goes on with the count of a former stream (XEP-0198 §5).
    pub(super) fn resume(&mut self, handled_count: Arc<HandledCount>) {
        self.handled_count = handled_count;
    }

    /// Nothing of a former stream counts.
    pub(super) fn begin_anew(&mut self) {
        self.handled_count = Arc::new(HandledCount::new(&self.context.router.limits));
    }

    pub(super) fn speak(&mut self, lang: Option<&str>) {
        self.lang = lang.map(Into::into);
    }

    /// Whether the next piece may be handled.
    pub(super) fn may_read(&self) -> bool {
        self.work.is_none() && self.paused_until.is_none()
    }

    /// Several stanzas come: sessions are called when the turn ends.
    pub(super) fn turn_begins(&mut self) {
        self.in_turn = true;
    }

    /// Calls sessions that got something.
    pub(super) fn turn_ends(&mut self) {
        self.in_turn = false;
        self.calls.call();
    }

    /// So many bytes came.
    pub(super) fn came(&mut self, bytes: usize, now: Instant) {
        let wait = self.pace.count(bytes, 0, now);
        self.pause(wait, now);
    }

    /// The stream is authenticated for one more domain.
    pub(super) fn speaks_for(&mut self, pace: DomainPace) {
        if self.paces.iter().all(|known| known.domain() != pace.domain()) {
            self.paces.push(pace);
        }
    }

    /// What came is counted for the stream, and for the domain that sent it.
    fn pass(&mut self, bytes: usize, from: Option<&str>, now: Instant) {
        let of_stream = self.pace.count(0, 1, now);
        let its = self.paces.iter().find(|pace| Some(pace.domain()) == from);
        let of_domain = its.or(self.paces.first()).map(|pace| pace.count(bytes, 1, now));
        self.pause(of_stream.max(of_domain.unwrap_or_default()), now);
    }

    /// Waits for an addressee that does not read, as long as others can bear it.
    fn slow(&mut self, slow: Slow) {
        let now = now();
        let patience = self.patience.for_one(&slow.to, now);
        if patience.is_zero() {
            return;
        }
        self.slowed = Some(now);
        self.work = Some(Box::pin(async move {
            // It ends by itself, later.
            let _ = timeout(patience, slow_down(vec![slow.outbox])).await;
            None
        }));
    }

    fn pause(&mut self, wait: Duration, now: Instant) {
        if !wait.is_zero() {
            self.paused_until = Some(self.paused_until.unwrap_or(now).max(now + wait));
        }
    }

    /// Waits until reading goes on; for ever if it does already. Cancel-safe.
    pub(super) async fn eased(&mut self) {
        match (&mut self.work, self.paused_until) {
            (Some(work), _) => {
                let slow = work.await;
                self.work = None;
                if let Some(since) = self.slowed.take() {
                    let now = now();
                    self.patience.waited(now.saturating_duration_since(since), now);
                }
                if let Some(slow) = slow {
                    self.slow(slow);
                }
            }
            (None, Some(until)) => {
                sleep_until(until.into()).await;
                self.paused_until = None;
            }
            (None, None) => pending().await,
        }
    }

    /// The box that is ready when a message could not be stored.
    pub(super) fn outbox(&self) -> Arc<Outbox> {
        self.outbox.clone()
    }

    /// Sends these errors on their way.
    pub(super) fn send_failed(&self) {
        for item in self.outbox.take(usize::MAX, usize::MAX).batch {
            if let Some(error) = Stanza::ours(item.frame.to_vec().into()) {
                put(&self.context.router, &error);
            }
        }
    }

    /// Takes a stanza whose domains the peer may use: see [`crate::stream::s2s::pairs`].
    pub(super) fn stanza(&mut self, element: Element, now: Instant) {
        let Some(kind) = Kind::of(&element) else { return };
        let bytes = element.raw().len();
        let Some(stanza) = Stanza::from_peer(kind, element, self.lang.as_ref()) else {
            self.pass(bytes, None, now);
            // A malformed address of one user ends nobody else's stream; there is nobody to tell.
            tracing::debug!("a stanza with a malformed address was dropped");
            return self.handled_count.pass();
        };
        self.pass(bytes, Some(stanza.from().domain()), now);
        if let Some(to) = stanza.to() {
            self.patience.came(to.bare_str(), now);
        }
        let stanza = self.own_words(kind, stanza);
        if kind == Kind::Iq
            && let Err(error) = Iq::request(&stanza)
        {
            self.handled_count.pass();
            return self.bounce(stanza, error);
        }
        if self.privileged.is_some() && self.privileged(&stanza) {
            return;
        }
        let mut origin = Origin::peer(&self.handled_count, &self.outbox, None);
        if self.in_turn {
            origin = origin.calling(&mut self.calls);
        }
        let routed = self.context.router.route(&stanza, wall(), &mut origin);
        if let Routed::Load(_) | Routed::Crowded | Routed::Handle(_) = routed {
            let ticket = origin.into_ticket(&self.handled_count);
            let cx = self.context.cx(Requester::Entity(stanza.from().clone()));
            let sender = Sender {
                handled_count: self.handled_count.clone(),
                outbox: self.outbox.clone(),
                account: None,
                foreign: true,
            };
            let work = async move {
                let mut answers = stanza.kind() == Kind::Iq;
                let count = &sender.handled_count;
                let earlier = (!count.is_enabled()).then(|| ticket.clone());
                let driven = cx.drive(&stanza, Some(&sender), Some(routed), Some(ticket)).await;
                answers |= matches!(driven.routed, Routed::Bounce(_));
                // To a peer without XEP-0198 an answer says that all before it arrived: so the messages before
                // it are durable first (promise.md 1).
                if let Some(earlier) = earlier.filter(|it| answers && it.has_predecessors()) {
                    cx.router.flush_deferred();
                    earlier.predecessors().await;
                }
                for made in driven.made {
                    cx.send_as(&made, driven.ticket.clone()).await;
                }
                drop(driven.ticket);
                let slow = ended(&cx.router, &stanza, driven.routed);
                if driven.full {
                    cx.store.hurry();
                    sender.handled_count.eased().await;
                }
                slow
            };
            return self.begin(work);
        }
        let full = origin.finish();
        match routed {
            Routed::Slow(outbox) => self.slow(Slow::of(&stanza, outbox)),
            Routed::Bounce(error) => self.bounce(stanza, error),
            Routed::Done | Routed::Load(_) | Routed::Crowded | Routed::Handle(_) => {}
        }
        if full && self.work.is_none() {
            self.ease();
        }
    }

    /// Takes nothing more until less waits to be written.
    fn ease(&mut self) {
        self.context.router.store.hurry();
        let handled_count = self.handled_count.clone();
        self.work = Some(Box::pin(async move {
            handled_count.eased().await;
            None
        }));
    }

    /// Tells the sender of a stanza that went nowhere, which is counted already. To a peer without XEP-0198 that, too,
    /// says that all before it arrived.
    fn bounce(&mut self, stanza: Stanza, error: StanzaError) {
        let (router, count) = (self.context.router.clone(), self.handled_count.clone());
        if count.is_enabled() || count.is_settled() {
            return bounce(&router, &stanza, &error);
        }
        let came = count.issued();
        self.begin(async move {
            router.flush_deferred();
            count.reached(came).await;
            bounce(&router, &stanza, &error);
            None
        });
    }

    /// Has it done in a task of its own: it is done to its end though the stream end, as the stanza counts as handled
    /// when its ticket is gone (promise.md 4); and one that panics ends no stream.
    fn begin(&mut self, work: impl Future<Output = Option<Slow>> + Send + 'static) {
        let (done, ended) = oneshot::channel();
        self.context.router.tasks.spawn("stanza", async move {
            // The stream may be gone.
            let _ = done.send(work.await);
        });
        // Without an answer, too, it ends with the task.
        self.work = Some(Box::pin(async move { ended.await.ok().flatten() }));
    }

    /// Waits until all that came is handled and durable, for a while. False if that took too long.
    pub(super) async fn settled(&mut self, patience: Duration) -> bool {
        self.turn_ends();
        let issued = self.handled_count.issued();
        if self.work.is_none() && self.handled_count.is_settled() {
            return true;
        }
        self.context.router.flush_deferred();
        timeout(patience, self.handled_count.reached(issued)).await.is_ok()
    }

    /// What a component may do beyond others. False if the stanza is like any.
    fn privileged(&mut self, stanza: &Stanza) -> bool {
        let cx = self.context.cx(Requester::Entity(stanza.from().clone()));
        let Some(done) = cx.server.from_component(&cx, stanza) else { return false };
        let (ticket, asked) = (self.handled_count.issue(), stanza.clone());
        let router = cx.router.clone();
        let work = async move {
            match done.await {
                Ok(made) => {
                    for made in made {
                        cx.send_as(&made, Some(ticket.clone())).await;
                    }
                }
                Err(error) => bounce(&cx.router, &asked, &error),
            }
        };
        let slots = self.privileged.clone().filter(|_| stanza.kind() == Kind::Iq);
        match slots.map(Semaphore::try_acquire_owned) {
            // In order with what comes behind it.
            None => self.begin(async move {
                work.await;
                None
            }),
            // The answer may take long, and may have to come by this very stream.
            Some(Ok(slot)) => router.tasks.spawn("privileged", async move {
                work.await;
                drop(slot);
            }),
            Some(Err(_)) => {
                let error = StanzaError::resource_constraint().text("too many requests at a time");
                bounce(&router, stanza, &error);
            }
        }
        true
    }

    /// Without what only this server says. An IQ's payload is between the two who exchange it.
    fn own_words(&self, kind: Kind, stanza: Stanza) -> Stanza {
        let router = &self.context.router;
        let forged = (kind != Kind::Iq)
            .then(|| claims::stripped(&stanza, |domain| router.serves(domain)))
            .flatten();
        forged.unwrap_or(stanza)
    }
}

/// Who is to be waited for.
fn ended(router: &Router, stanza: &Stanza, routed: Routed) -> Option<Slow> {
    match routed {
        Routed::Slow(outbox) => return Some(Slow::of(stanza, outbox)),
        Routed::Bounce(error) => bounce(router, stanza, &error),
        Routed::Done | Routed::Load(_) | Routed::Crowded | Routed::Handle(_) => {}
    }
    None
}

/// Tells the sender of a peer's stanza what became of it.
fn bounce(router: &Router, stanza: &Stanza, error: &StanzaError) {
    let from = stanza.to().map(Jid::as_str);
    let reply = error_reply(stanza.element(), from, stanza.from(), error);
    if let (Some(reply), Some(local)) = (reply, stanza.to().map(Jid::domain)) {
        // A peer that cannot be reached hears of no error.
        let _ = router.peers.send(local, stanza.from().domain(), Frame::whole(reply));
    }
}

fn put(router: &Router, stanza: &Stanza) {
    if let Some(to) = stanza.to() {
        let _ = router.peers.send(stanza.from().domain(), to.domain(), stanza.frame());
    }
}
