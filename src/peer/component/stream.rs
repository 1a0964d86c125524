//! The stream of one component: its machine on its connection, with what it receives and what it sends.

use std::collections::VecDeque;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout};

use super::{Components, Entered, away};
use crate::base::id::OsRng;
use crate::base::time::micros;
use crate::jid::Jid;
use crate::modules::api::Requester;
use crate::peer::clock::{now, wall};
use crate::peer::dial::PeerTransport;
use crate::peer::receiving::Receiving;
use crate::peer::rows::give_up;
use crate::peer::sending::{Confirms, PeerWire, Sending, Woken};
use crate::peer::streams::{Direction, Failed, Listed, StreamFacts};
use crate::router::task::Parked;
use crate::session::link::Guard;
use crate::session::pace::Pace;
use crate::session::wire::Io;
use crate::stream::component::{Component, Input, Output};
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::framing::{Event, Framing};
use crate::stream::sm::{self, Bounds};
use crate::xml::ns;

/// A connection that somebody opened who says that it is a component.
pub struct NewComponent {
    /// The connection, on which nothing was read yet, but for TLS.
    pub transport: Box<dyn PeerTransport>,
    /// Where it comes from.
    pub peer: IpAddr,
    /// Such as `TLSv1.3`; empty without TLS.
    pub tls: &'static str,
    /// When it was accepted: the deadline of the handshake counts from here.
    pub since: Instant,
    /// Its place among those that are not authenticated: dropped as soon as it is.
    pub stranger: Guard,
}

struct Stream {
    components: Arc<Components>,
    wire: PeerWire,
    machine: Component,
    receiving: Receiving,
    sending: Sending,
    address: IpAddr,
    tls: &'static str,
    listed: Option<Listed>,
    /// Its place in line, once it is authenticated.
    entered: Option<Entered>,
    /// Until when it must be.
    deadline: Option<Instant>,
    stranger: Option<Guard>,
    /// When anything last came.
    heard: Instant,
    /// When the ping that ends at this byte of the connection had left.
    pinged: Option<(u64, Instant)>,
    /// It answers no pings: what its system took counts as acknowledged.
    no_answers: bool,
    /// The server stops: nothing is read any more, but what is said at the end still goes out.
    parked: Option<Parked>,
    /// What is for the domain goes out here.
    holds: bool,
    ended: bool,
}

enum Occurred {
    Io(std::io::Result<Io>),
    Eased,
    Sending(Woken),
    Failed,
    Replaced,
    Turn,
    Timer,
    Stopping,
    Saving,
}

/// Serves a stream to its end. `guard` is dropped when it ends (it counts streams per address).
pub async fn serve(components: Arc<Components>, connection: NewComponent, guard: Guard) {
    let mut stream = Stream::new(components, connection);
    Box::pin(stream.run()).await;
    Box::pin(stream.end()).await;
    drop(guard);
}

impl Stream {
    fn new(components: Arc<Components>, connection: NewComponent) -> Self {
        let NewComponent { transport, peer, tls, since, stranger } = connection;
        let context = components.context.clone();
        let (router, limits) = (context.router.clone(), context.router.limits.clone());
        let now = now();
        let asker = router.hosts().first().cloned().unwrap_or_default();
        let bounds = Bounds {
            stanzas: UNCONFIRMED_STANZAS,
            bytes: UNCONFIRMED_BYTES,
            answers_within: limits.ping_timeout * 3 / 2,
            asks_after: sm::ASK_STANZAS,
        };
        let of = |per_second: u32| (per_second, per_second.saturating_mul(BURST_SECONDS));
        let settings = components.settings;
        let pace = Pace::of(of(settings.bytes_per_second), of(settings.stanzas_per_second), now);
        Self {
            wire: PeerWire::new(transport, Framing::tcp(ns::COMPONENT, &limits)),
            machine: Component::new(),
            receiving: Receiving::of_component(context, pace, settings.privileged_requests_max),
            sending: Sending::new(router, bounds).asking_as(&asker),
            address: peer,
            tls,
            listed: None,
            entered: None,
            deadline: Some(since + limits.unauthenticated_time),
            stranger: Some(stranger),
            heard: now,
            pinged: None,
            no_answers: false,
            parked: None,
            holds: false,
            ended: false,
            components,
        }
    }

    async fn run(&mut self) {
        while !self.ended {
            self.read_pieces().await;
            if !self.ended {
                self.write_and_wait().await;
            }
        }
    }

    async fn read_pieces(&mut self) {
        let mut pieces = 0;
        while self.receiving.may_read() && !self.ended {
            let input = match self.wire.piece() {
                Ok(None) => return,
                Ok(Some(Event::Whitespace)) => continue,
                Ok(Some(Event::Open(header))) => {
                    self.receiving.speak(header.lang.as_deref());
                    Input::Open(header)
                }
                Ok(Some(Event::Element(element))) => Input::Element(element),
                Ok(Some(Event::Close | Event::Gone)) => Input::Close,
                Err(error) => return self.fail(error.into()).await,
            };
            self.feed(input).await;
            pieces += 1;
            if pieces == TURN_PIECES {
                // Others have their turn.
                tokio::task::yield_now().await;
                pieces = 0;
            }
        }
    }

    async fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let components = self.components.clone();
            for output in self.machine.feed(input, &*components, &mut OsRng) {
                match output {
                    Output::Write(item) => self.wire.say(item),
                    Output::Handshake { domain, right } => {
                        let judged = self.judge(&domain, right).await;
                        inputs.push_back(Input::Judged(judged));
                    }
                    Output::Ready => self.ready(),
                    Output::Stanza(element) => self.receiving.stanza(element, self.heard),
                    Output::PeerFailed(failure) => {
                        tracing::info!(component = self.machine.domain(), address = %self.address, %failure, "a component ended its stream");
                    }
                    Output::End => self.ended = true,
                }
            }
        }
    }

    async fn judge(&mut self, domain: &str, right: bool) -> Result<(), StreamFailure> {
        if !right {
            let why = "the handshake is wrong";
            tracing::info!(component = domain, address = %self.address, why, "a component was refused");
            self.note(domain, why);
        }
        self.wire.give_back();
        let components = self.components.clone();
        let mut stopping = components.context.stopping.clone();
        tokio::select! {
            () = components.judge(self.address, right) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {
                return Err(StreamError::SystemShutdown.into());
            }
        }
        if right {
            let entered = components.enter(domain).await.inspect_err(|failure| {
                tracing::info!(component = domain, address = %self.address, %failure, "a component was refused");
            })?;
            self.entered = Some(entered);
        }
        Ok(())
    }

    fn note(&self, domain: &str, why: &str) {
        let (local, why) = (String::new(), why.to_owned());
        let failed = Failed {
            at: wall(),
            local,
            direction: Direction::Component,
            why,
            advice: "compare the component's secret with the one in its [[component]]",
            steps: Vec::new(),
        };
        self.components.streams.failed(domain, failed);
    }

    fn ready(&mut self) {
        (self.deadline, self.stranger) = (None, None);
        let domain = self.machine.domain().to_owned();
        let context = self.components.context.clone();
        self.wire.authenticated(&context.router.limits, false);
        tracing::info!(component = domain, address = %self.address, tls = self.tls, "a component is connected");
        self.listed = Some(self.components.streams.list(StreamFacts {
            direction: Direction::Component,
            pairs: vec![(String::new(), domain.clone(), "handshake")],
            address: self.address,
            tls: self.tls,
            since: wall(),
            bidi: true,
            managed: false,
        }));
        // What modules ask it now waits behind what they say first.
        self.hold();
        // XEP-0355 §4.2, XEP-0356 §4.2
        let cx = context.cx(Requester::Entity(Jid::normal(&domain)));
        for frame in context.pipeline.component_connected(&cx, &domain) {
            self.wire.queue_frame(frame);
        }
    }

    /// What is for the domain goes out here from now on.
    fn hold(&mut self) {
        let Some(entered) = &self.entered else { return };
        if self.holds {
            return;
        }
        for queue in self.components.queues(self.machine.domain(), entered.number) {
            self.sending.add(queue);
            self.holds = true;
        }
        if self.holds {
            self.sending.confirmed_by(Confirms::Pings);
        }
    }

    async fn write_and_wait(&mut self) {
        self.wire.give_back();
        let now = now();
        if self.no_answers && !self.sending.is_answered() {
            self.sending.assume_half();
        }
        self.sending.fill(&mut self.wire, now, micros(wall()));
        match self.wait(now).await {
            Occurred::Io(Ok(Io::Read(0)) | Err(_)) => self.ended = true,
            Occurred::Io(Ok(Io::Read(bytes))) => {
                self.heard = crate::peer::clock::now();
                self.receiving.came(bytes, self.heard);
            }
            Occurred::Io(Ok(Io::Written)) | Occurred::Eased => {}
            Occurred::Sending(woken) => {
                if !self.sending.on(woken) && self.parked.is_none() {
                    self.silent().await;
                }
            }
            Occurred::Failed => self.receiving.send_failed(),
            Occurred::Replaced => {
                let failure =
                    StreamError::Conflict.text("another connection of the component came");
                self.fail(failure).await;
            }
            Occurred::Turn => self.hold(),
            Occurred::Timer => self.timer().await,
            Occurred::Stopping => self.parked = Some(self.components.context.router.tasks.park()),
            Occurred::Saving => self.fail(StreamError::SystemShutdown.into()).await,
        }
        self.see_ping_leave();
    }

    /// A ping counts as sent when its last byte is with the system.
    fn see_ping_leave(&mut self) {
        let now = now();
        if let Some((_, end)) = self.sending.asked(now)
            && self.pinged.is_none_or(|(seen, _)| seen != end)
            && self.wire.is_flushed_to(end)
        {
            self.pinged = Some((end, now));
        }
    }

    /// How long the system takes at most to say that a connection is broken, and a half more (promise.md 2).
    fn patience(&self) -> Duration {
        self.components.context.router.limits.ping_timeout * 3 / 2
    }

    async fn wait(&mut self, now: Instant) -> Occurred {
        let reading = self.receiving.may_read() && self.parked.is_none();
        let writing = self.wire.is_writing();
        let due = self.due(now);
        let failures = self.receiving.outbox();
        let signs = self.entered.as_ref().map(|entered| entered.signs.clone());
        let context = self.components.context.clone();
        let (mut stopping, mut saving) = (context.stopping.clone(), context.saving.clone());
        let is_parked = self.parked.is_some();
        let is_open = self.entered.is_some();
        let Self { wire, receiving, sending, .. } = self;
        tokio::select! {
            biased;
            () = async { match &signs { Some(signs) => signs.turn.notified().await, None => pending().await } }
                => Occurred::Turn,
            woken = sending.wait() => Occurred::Sending(woken),
            io = wire.io(reading), if writing || reading => Occurred::Io(io),
            () = receiving.eased() => Occurred::Eased,
            () = failures.ready() => Occurred::Failed,
            () = async { match &signs { Some(signs) => signs.end.notified().await, None => pending().await } }
                => Occurred::Replaced,
            _ = saving.wait_for(|saving| *saving) => Occurred::Saving,
            // What sessions say as they end still goes out.
            _ = stopping.wait_for(|stopping| *stopping), if !is_parked => {
                if is_open { Occurred::Stopping } else { Occurred::Saving }
            }
            () = async { match due { Some(due) => sleep_until(due.into()).await, None => pending().await } }
                => Occurred::Timer,
        }
    }

    /// The nearest deadline.
    fn due(&self, now: Instant) -> Option<Instant> {
        let deadlines = [self.deadline, self.sending.asks_at(now), self.unanswered_at(now)];
        deadlines.into_iter().flatten().min()
    }

    /// When a ping without an answer has a meaning: for who has answered before, that it hangs; for others, that
    /// they answer none, and have what their system took. As long as the ping has not left, the system says whether
    /// somebody is there.
    fn unanswered_at(&self, now: Instant) -> Option<Instant> {
        let (until, end) = self.sending.asked(now)?;
        if self.sending.is_answered() {
            return Some(until);
        }
        let (_, gone) = self.pinged.filter(|(seen, _)| *seen == end)?;
        Some(gone + self.patience())
    }

    async fn timer(&mut self) {
        let now = now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let failure = StreamError::ConnectionTimeout.text("not authenticated in time");
            return self.fail(failure).await;
        }
        if self.unanswered_at(now).is_none_or(|at| at > now) {
            return;
        }
        if !self.sending.is_answered() {
            self.no_answers = true;
            self.sending.assume_pinged();
        } else if self.sending.is_overdue(self.heard, true, now) {
            self.silent().await;
        }
    }

    /// It has answered before, and does not any more.
    async fn silent(&mut self) {
        let failure = StreamError::ConnectionTimeout
            .text("stanzas are not acknowledged: no ping is answered");
        self.fail(failure).await;
    }

    async fn fail(&mut self, failure: StreamFailure) {
        let domain = match self.machine.domain() {
            "" => "?",
            domain => domain,
        };
        tracing::info!(component = domain, address = %self.address, %failure, "a component's stream is ended");
        self.feed(Input::Fail(failure)).await;
        self.ended = true;
        if self.entered.is_some() {
            // If it closes the stream, too, it has taken all that was sent before (RFC 6120 §4.4).
            let closed = timeout(CLOSE_TIME, self.until_closed()).await;
            if closed == Ok(true) {
                self.sending.closed_by_peer();
            }
        }
    }

    async fn until_closed(&mut self) -> bool {
        loop {
            match self.wire.piece() {
                Ok(Some(Event::Close)) => return true,
                Ok(Some(_)) => {}
                Ok(None) => match self.wire.io(true).await {
                    Ok(Io::Read(0)) | Err(_) => return false,
                    Ok(_) => {}
                },
                Err(_) => return false,
            }
        }
    }

    /// Gives the queues back, and the component a moment to read the last output.
    async fn end(&mut self) {
        let domain = self.machine.domain().to_owned();
        if let Some(entered) = self.entered.take() {
            tracing::info!(component = domain, address = %self.address, "a component is gone");
            let router = self.components.context.router.clone();
            let bounds = Bounds { stanzas: 0, bytes: 0, answers_within: CLOSE_TIME, asks_after: 0 };
            let unused = Sending::new(router, bounds);
            let sending = std::mem::replace(&mut self.sending, unused);
            let (_, requests) = sending.end();
            let given_up = self.components.leave(&domain, entered.number);
            let cx = self.components.cx(&domain);
            give_up(&cx, given_up.into_iter().chain(requests), &away(&domain)).await;
        }
        self.listed = None;
        let closing = async {
            self.wire.flush().await?;
            self.wire.shutdown().await?;
            self.wire.linger().await
        };
        // The connection ends whether the last output is read or not.
        let _ = timeout(CLOSE_TIME, closing).await;
    }
}

/// Stanzas that a component is sent without having acknowledged any of them.
const UNCONFIRMED_STANZAS: usize = 4_000;
/// Their bytes.
const UNCONFIRMED_BYTES: usize = 4 << 20;
/// A burst above the average, in seconds of it.
const BURST_SECONDS: u32 = 5;
/// Pieces that are handled before others have a turn.
const TURN_PIECES: usize = 64;
/// How long a component may take to close its stream.
const CLOSE_TIME: Duration = Duration::from_secs(2);
