//! A stream with another server: its machine on its connection, with what it receives and what it sends.

use std::future::{Future, pending};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc};
use tokio::time::sleep_until;

use super::clock::{now, wall};
use super::dial::Step;
use super::federation::Federation;
use super::machine::{Act, Acts, Input, Machine};
use super::receiving::Receiving;
use super::sending::{Confirms, PeerWire, Sending, Woken};
use super::streams::{Direction, Listed, StreamFacts};
use crate::base::time::micros;
use crate::router::handled_count::HandledCount;
use crate::session::link::Guard;
use crate::session::transport::PeerSecured;
use crate::session::wire::Io;
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::framing::{Event, Item};
use crate::stream::s2s::outgoing::Ready;
use crate::stream::s2s::{Failure, Outcome};
use crate::xml::element::Element;

/// One stream, from its first byte to its last.
pub(super) struct Stream {
    pub(super) federation: Arc<Federation>,
    pub(super) wire: PeerWire,
    pub(super) machine: Machine,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    pub(super) managed: Managed,
    /// The domains of an outgoing stream; of an incoming one they are the machine's.
    pub(super) names: (String, String),
    pub(super) address: IpAddr,
    pub(super) listed: Listed,
    pub(super) pairs: Vec<(String, String)>,
    pub(super) bidi: bool,
    /// Until when the peer must answer what was asked of XEP-0198.
    pub(super) manage_by: Option<Instant>,
    /// Since when nothing is read.
    deaf: Option<Instant>,
    /// Until when the peer must be authenticated.
    pub(super) deadline: Option<Instant>,
    /// Its place among those that are not authenticated.
    stranger: Option<Guard>,
    /// When anything last came, and when anything was last sent.
    pub(super) heard: Instant,
    used: Instant,
    /// Answers of dialback, once something was asked: most streams never ask.
    pub(super) verified: Option<(mpsc::Sender<Input>, mpsc::Receiver<Input>)>,
    pub(super) resuming: Option<Resuming>,
    pub(super) ready: Option<Ready>,
    pub(super) answered: Option<Outcome>,
    pub(super) ending: Option<Ended>,
    /// What was done before it was ready, if we opened it.
    pub(super) steps: Vec<Step>,
}

/// The state of XEP-0198.
#[derive(Debug, Default)]
pub(super) enum Managed {
    #[default]
    Off,
    /// We asked for it, or to resume a former stream.
    Asked {
        /// The latter.
        resuming: bool,
    },
    /// Both count. With what is needed to resume, if that was agreed on.
    On(Option<Resumption>),
}

impl Managed {
    /// Whether both count.
    pub(super) fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }
}

/// How a stream may be resumed.
#[derive(Debug)]
pub(super) enum Resumption {
    /// The peer resumes it: by the hash of the SM-ID. Somebody else who resumes it ends this connection.
    Theirs([u8; 32], Arc<Notify>),
    /// We resume it, by the SM-ID.
    Ours(String),
}

pub(super) type Resuming =
    Pin<Box<dyn Future<Output = (String, u32, Option<Arc<HandledCount>>)> + Send>>;

/// How a stream ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// The peer closed it, or we did: in good order.
    Closed,
    /// The connection is gone.
    Lost,
    /// For this reason, before it was of any use.
    Failed(Failure),
    /// The peer is somewhere else.
    Elsewhere(String),
}

#[allow(clippy::large_enum_variant)] // lives for one turn, on the stack
enum Occurred {
    Io(std::io::Result<Io>),
    Eased,
    Sending(Woken),
    Verified(Option<Input>),
    Failed,
    Reached,
    Resumed((String, u32, Option<Arc<HandledCount>>)),
    Taken,
    Dismissed,
    Timer,
    Stop,
}

/// A connection on which a stream begins.
pub(super) struct Begun {
    pub(super) wire: PeerWire,
    pub(super) machine: Machine,
    /// Ours and the peer's, where we know them.
    pub(super) names: (String, String),
    pub(super) address: IpAddr,
    pub(super) since: Instant,
    pub(super) secured: Option<PeerSecured>,
    pub(super) stranger: Option<Guard>,
}

impl Stream {
    pub(super) fn new(federation: Arc<Federation>, begun: Begun) -> Self {
        let Begun { wire, machine, names, address, since, secured, stranger } = begun;
        let direction = if machine.is_outgoing() { Direction::Out } else { Direction::In };
        let listed = federation.streams.list(StreamFacts {
            direction,
            pairs: Vec::new(),
            address,
            tls: secured.as_ref().map_or("", |secured| secured.version),
            since: wall(),
            bidi: false,
            managed: false,
        });
        let router = federation.context.router.clone();
        let now = now();
        Self {
            receiving: Receiving::new(federation.context.clone(), federation.paces.of_stream(now)),
            sending: Sending::new(router.clone(), federation.sent_bounds()),
            managed: Managed::Off,
            names,
            address,
            listed,
            pairs: Vec::new(),
            bidi: false,
            manage_by: None,
            deaf: None,
            deadline: Some(since + router.limits.unauthenticated_time),
            stranger,
            heard: now,
            used: now,
            verified: None,
            resuming: None,
            ready: None,
            answered: None,
            ending: None,
            steps: Vec::new(),
            federation,
            wire,
            machine,
        }
    }

    /// Runs it until it is ready for stanzas, has its answer, or is over.
    pub(super) async fn until_ready(&mut self) {
        let acts = self.machine.feed(Input::Connected);
        self.perform(acts).await;
        loop {
            self.read_pieces().await;
            if self.ready.is_some() || self.answered.is_some() || self.ending.is_some() {
                return;
            }
            self.write_and_wait().await;
        }
    }

    /// Runs it to its end.
    pub(super) async fn run(&mut self) {
        loop {
            self.read_pieces().await;
            if self.ending.is_some() {
                return;
            }
            self.write_and_wait().await;
        }
    }

    /// Writes what waits, and waits for more.
    async fn write_and_wait(&mut self) {
        self.wire.give_back();
        let now = now();
        self.sending.fill(&mut self.wire, now, micros(wall()));
        self.federation.counts.went(self.sending.sent_since());
        let too_large = self.sending.take_too_large();
        if !too_large.is_empty() {
            self.bounce(too_large, "the other server takes no stanza of this size");
        }
        if self.wire.queued() > 0 {
            self.used = now;
        }
        match self.wait(now).await {
            Occurred::Io(Ok(Io::Read(0)) | Err(_)) => self.lost().await,
            Occurred::Io(Ok(Io::Read(bytes))) => {
                self.heard = super::clock::now();
                self.receiving.came(bytes, self.heard);
            }
            Occurred::Io(Ok(Io::Written)) => {}
            Occurred::Eased => {
                if let Some(since) = self.deaf.take() {
                    self.sending.management().unheard(since, super::clock::now());
                }
            }
            Occurred::Sending(woken) => {
                if !self.sending.on(woken) {
                    self.silent().await;
                }
            }
            Occurred::Verified(Some(input)) => {
                let acts = self.machine.feed(input);
                self.perform(acts).await;
            }
            Occurred::Verified(None) => {}
            Occurred::Failed => self.receiving.send_failed(),
            Occurred::Reached => {
                if self.sending.management().reached() {
                    self.say_count();
                }
            }
            Occurred::Resumed(resumed) => {
                self.resuming = None;
                self.resume_theirs(resumed);
            }
            Occurred::Taken => self.ending = Some(Ended::Lost),
            Occurred::Dismissed => self.dismiss().await,
            Occurred::Timer => self.timer().await,
            Occurred::Stop => self.stop().await,
        }
    }

    async fn wait(&mut self, now: Instant) -> Occurred {
        let reading = self.receiving.may_read() && self.resuming.is_none() && !self.is_choked();
        if !self.receiving.may_read() {
            self.deaf.get_or_insert(now);
        }
        let writing = self.wire.is_writing();
        let awaits = self.sending.management().awaits();
        let due = self.due(now);
        let handled_count = self.receiving.handled_count.clone();
        let failures = self.receiving.outbox();
        let end = match &self.managed {
            Managed::On(Some(Resumption::Theirs(_, end))) => Some(end.clone()),
            _ => None,
        };
        let outgoing = self.machine.is_outgoing();
        let (mut stopping, mut saving) =
            (self.federation.context.stopping.clone(), self.federation.context.saving.clone());
        let Self { wire, receiving, sending, verified, resuming, listed, .. } = self;
        tokio::select! {
            biased;
            woken = sending.wait() => Occurred::Sending(woken),
            io = wire.io(reading), if writing || reading => Occurred::Io(io),
            () = receiving.eased() => Occurred::Eased,
            input = async { match verified { Some((_, input)) => input.recv().await, None => pending().await } }
                => Occurred::Verified(input),
            () = failures.ready() => Occurred::Failed,
            () = async { match awaits { Some(stanzas) => handled_count.reached(stanzas).await, None => pending().await } }
                => Occurred::Reached,
            resumed = async { match resuming { Some(resuming) => resuming.await, None => pending().await } }
                => Occurred::Resumed(resumed),
            () = async { match &end { Some(end) => end.notified().await, None => pending().await } }
                => Occurred::Taken,
            () = listed.dismissed() => Occurred::Dismissed,
            // What sessions say as they end still goes out.
            _ = stopping.wait_for(|stopping| *stopping), if !outgoing => Occurred::Stop,
            _ = saving.wait_for(|saving| *saving), if outgoing => Occurred::Stop,
            () = sleep_until(due.into()) => Occurred::Timer,
        }
    }

    /// The nearest deadline.
    fn due(&self, now: Instant) -> Instant {
        let idle = self.federation.settings.idle;
        let quiet =
            self.heard.max(self.used) + if self.machine.is_outgoing() { idle } else { idle * 2 };
        let sending = self.sending.due(self.receiving.may_read(), now);
        let deadlines = [self.deadline, self.manage_by, sending];
        deadlines.into_iter().flatten().fold(quiet, Instant::min)
    }

    async fn timer(&mut self) {
        let now = now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return self
                .fail(StreamError::ConnectionTimeout.text("not authenticated in time"))
                .await;
        }
        if self.sending.management().answer_is_due(now) {
            self.say_count();
        }
        if self.manage_by.is_some_and(|until| until <= now) {
            self.unmanaged().await;
        }
        if self.sending.is_overdue(self.heard, self.receiving.may_read(), now) {
            return self.silent().await;
        }
        let idle = self.federation.settings.idle;
        let quiet = now.saturating_duration_since(self.heard.max(self.used));
        if quiet >= idle && self.machine.is_outgoing() {
            return self.leave().await;
        }
        if quiet >= idle * 2 {
            self.fail(StreamError::ConnectionTimeout.text("nothing was said for long")).await;
        }
    }

    /// The peer does not read what it is answered, so it is not read from either.
    fn is_choked(&self) -> bool {
        let most = if self.deadline.is_some() { STRANGERS_BYTES } else { PEERS_BYTES };
        self.wire.queued() > most
    }

    async fn lost(&mut self) {
        self.ending = Some(match self.deadline {
            Some(_) => Ended::Failed(Failure::Closed),
            None => Ended::Lost,
        });
    }

    async fn read_pieces(&mut self) {
        let mut pieces = 0;
        while self.receiving.may_read()
            && self.resuming.is_none()
            && self.ending.is_none()
            && !self.is_choked()
        {
            let input = match self.wire.piece() {
                Ok(None) => return,
                Ok(Some(Event::Whitespace)) => continue,
                Ok(Some(Event::Open(header))) => {
                    self.receiving.speak(header.lang.as_deref());
                    Input::Open(header)
                }
                Ok(Some(Event::Element(element))) => Input::Element(element),
                Ok(Some(Event::Close | Event::Gone)) => Input::Close,
                Err(error) => Input::Fail(error.into()),
            };
            let acts = self.machine.feed(input);
            self.perform(acts).await;
            pieces += 1;
            if pieces == TURN_PIECES {
                // Others have their turn.
                tokio::task::yield_now().await;
                pieces = 0;
            }
        }
    }

    /// Who the peer is, or says it is.
    pub(super) fn name(&self) -> String {
        let said = self.machine.remote().unwrap_or(&self.names.1);
        if said.is_empty() { "?".to_owned() } else { said.to_owned() }
    }

    pub(super) async fn perform(&mut self, acts: Acts) {
        for act in acts {
            match act {
                Act::Write(Item::Close) => self.say_close().await,
                Act::Write(item) => {
                    if let Item::Failure(failure) = &item {
                        tracing::info!(peer = %self.name(), address = %self.address, %failure, "a server's stream is ended");
                    }
                    self.wire.say(item);
                }
                Act::StartTls => Box::pin(self.start_tls()).await,
                Act::Verify { local, remote, stream_id, key } => {
                    self.verify(local, remote, stream_id, key);
                }
                Act::Authenticated { restart } => {
                    let limits = self.federation.context.router.limits.clone();
                    self.wire.authenticated(&limits, restart);
                    if !self.machine.is_outgoing() {
                        self.authenticated();
                    }
                }
                Act::Paired { local, remote, how } => self.paired(local, remote, how),
                Act::Refused { remote, why } if self.machine.is_outgoing() => {
                    let pair = (&*self.names.0, &*remote);
                    self.federation.note(pair, Direction::Out, why, "", Vec::new());
                }
                Act::Refused { remote, why } => {
                    let local = self.machine.local().unwrap_or(&self.names.0);
                    self.federation.refuse((local, &remote), self.address, &why);
                }
                Act::Ready(ready) => {
                    self.authenticated();
                    let (local, remote) = self.names.clone();
                    let what = format!("authenticated by {}", ready.how.as_str());
                    self.step(what, self.heard);
                    self.paired(local, remote, ready.how.as_str());
                    self.bidi = ready.bidi;
                    if let Some(most) = ready.limits.and_then(|limits| limits.max_bytes) {
                        self.sending.bound(most);
                    }
                    self.ready = Some(ready);
                }
                Act::Bidi => {
                    self.bidi = true;
                    self.listed.change(|facts| facts.bidi = true);
                    self.pairs
                        .clone()
                        .into_iter()
                        .for_each(|(local, remote)| self.attach(&local, &remote));
                }
                Act::Stanza(element) => {
                    self.federation.counts.came();
                    self.receiving.stanza(element, self.heard);
                }
                Act::Managed(element) => self.managed(&element).await,
                Act::Answered(outcome) => self.answered = Some(outcome),
                Act::PeerFailed(failure) => {
                    tracing::info!(peer = %self.name(), address = %self.address, %failure, "a server ended its stream");
                }
                Act::Failed(failure) => self.ending = Some(Ended::Failed(failure)),
                Act::Elsewhere(host) => self.ending = Some(Ended::Elsewhere(host)),
                Act::End => {
                    self.ending.get_or_insert(Ended::Closed);
                }
            }
        }
    }

    fn authenticated(&mut self) {
        (self.deadline, self.stranger) = (None, None);
    }

    fn paired(&mut self, local: String, remote: String, how: &'static str) {
        let direction = if self.machine.is_outgoing() { "out" } else { "in" };
        tracing::info!(local, peer = %remote, address = %self.address, direction, how, "a server is connected");
        self.listed.change(|facts| facts.pairs.push((local.clone(), remote.clone(), how)));
        self.pairs.push((local.clone(), remote.clone()));
        let pace = self.federation.paces.of_domain(&remote, now());
        self.receiving.speaks_for(pace);
        if self.machine.is_outgoing() {
            return;
        }
        self.federation.context.router.peers.heard_of(&local, &remote);
        if self.bidi {
            self.attach(&local, &remote);
        }
    }

    /// What is for this pair goes by this stream, unless it has one already (XEP-0288).
    fn attach(&mut self, local: &str, remote: &str) {
        let queue = self.federation.context.router.peers.of_pair(local, remote);
        if queue.claim() {
            self.sending.add(queue);
            if matches!(self.managed, Managed::Off) {
                self.sending.confirmed_by(Confirms::Pings);
            }
        }
    }

    /// Ends the stream with an error.
    pub(super) async fn fail(&mut self, failure: StreamFailure) {
        let acts = self.machine.feed(Input::Fail(failure));
        Box::pin(self.perform(acts)).await;
        self.ending.get_or_insert(Ended::Lost);
    }

    async fn managed(&mut self, element: &Element) {
        if let Err(failure) = self.manage(element) {
            self.fail(failure).await;
        }
    }
}

/// Bytes that may wait to be written to a peer that is not authenticated, and to one that is, before it is not read
/// from any more.
const STRANGERS_BYTES: usize = 4_096;
const PEERS_BYTES: usize = 131_072;
/// Pieces that are handled before others have a turn.
const TURN_PIECES: usize = 64;
