//! A stream with another server: its machine on its connection, with what it receives and what it sends.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep_until};

use super::clock::{now, wall};
use super::dial::Step;
use super::federation::Federation;
use super::guests::Guest;
use super::machine::{Act, Acts, Input, Machine};
use super::receiving::Receiving;
use super::sending::{PeerWire, Sending, Woken};
use super::streams::{Direction, Listed, StreamFacts};
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
    /// Queues that ask for a place on it, and those of them for which the peer was asked.
    pub(super) guests: Option<mpsc::Receiver<Guest>>,
    pub(super) asking: Vec<Guest>,
    /// Until when the peer must answer what was asked of XEP-0198.
    pub(super) manage_by: Option<Instant>,
    /// Since when nothing is read.
    pub(super) deaf: Option<Instant>,
    /// Until when the peer must be authenticated.
    pub(super) deadline: Option<Instant>,
    /// Its place among those that are not authenticated.
    pub(super) stranger: Option<Guard>,
    /// When anything last came, and when anything was last sent.
    pub(super) heard: Instant,
    pub(super) used: Instant,
    /// When anything was last taken from a queue, and when that is due again, if not at once.
    pub(super) filled: Instant,
    pub(super) fills_at: Option<Instant>,
    pub(super) timer: Pin<Box<Sleep>>,
    /// The server stops; while sessions say that they end, that still goes out.
    pub(super) stops: watch::Receiver<bool>,
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
    /// The peer resumes it, by this SM-ID. Somebody else who resumes it ends this connection.
    Theirs(String, Arc<Notify>),
    /// We resume it, by the SM-ID.
    Ours(String),
}

/// A former stream that the peer wants to resume: the SM-ID, the peer's count, and ours; or what is known of that if the
/// stream cannot be resumed.
pub(super) type Resumed = (String, u32, Result<Arc<HandledCount>, Option<u32>>);

pub(super) type Resuming = Pin<Box<dyn Future<Output = Resumed> + Send>>;

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

/// What came first.
#[allow(clippy::large_enum_variant)] // lives for one turn, on the stack
pub(super) enum Occurred {
    Io(std::io::Result<Io>),
    Eased,
    Sending(Woken),
    Verified(Option<Input>),
    Failed,
    Reached,
    Resumed(Resumed),
    Taken,
    Asked(Option<Guest>),
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
        let context = &federation.context;
        let stops = if machine.is_outgoing() { &context.saving } else { &context.stopping };
        let stops = stops.clone();
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
            guests: None,
            asking: Vec::new(),
            manage_by: None,
            deaf: None,
            deadline: Some(since + router.limits.unauthenticated_time),
            stranger,
            heard: now,
            used: now,
            filled: now,
            fills_at: None,
            timer: Box::pin(sleep_until(now.into())),
            stops,
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
        if self.fills_at.is_none_or(|at| at <= now) {
            self.fill(now);
        }
        let too_large = self.sending.take_too_large();
        if !too_large.is_empty() {
            self.bounce(too_large, "the other server takes no stanza of this size");
        }
        if self.wire.queued() > 0 {
            self.used = now;
        }
        // Usually the connection takes everything at once, and the turn continues.
        if self.wire.write_now().await.is_err() {
            return self.lost().await;
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
                if matches!(woken, Woken::Queue) {
                    self.queued().await;
                }
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
            Occurred::Asked(Some(guest)) => self.invite(guest).await,
            Occurred::Asked(None) => self.guests = None,
            Occurred::Taken => self.ending = Some(Ended::Lost),
            Occurred::Dismissed => self.dismiss().await,
            Occurred::Timer => self.timer().await,
            Occurred::Stop => {
                self.fill(super::clock::now());
                self.stop().await;
            }
        }
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
    pub(super) fn is_choked(&self) -> bool {
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
        self.receiving.turn_begins();
        self.read_pieces_in_order().await;
        self.receiving.turn_ends();
    }

    async fn read_pieces_in_order(&mut self) {
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
                self.receiving.turn_ends();
                yield_now().await;
                self.receiving.turn_begins();
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
                Act::Unpaired { local, remote, why } => self.unpaired(&local, &remote, why),
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
