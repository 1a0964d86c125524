//! Components (XEP-0114): who has which domain at this moment, and what waits for those that are away.
//!
//! A component's domain is reached as another server's is, but nobody is dialled: its queue is in the care of
//! this file from the start, and lent to the stream that has the domain.

mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::clock::now;
use super::link::expire;
use super::streams::Streams;
use crate::admin::Secret;
use crate::jid::Jid;
use crate::modules::api::{Cx, Requester};
use crate::router::peer_queue::PeerQueue;
use crate::session::Context;
use crate::stanza::error::ErrorType;
use crate::stanza::{Frame, StanzaError};
use crate::stream::component::Secrets;
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::sasl::throttle::Throttle;

pub use stream::{NewComponent, serve};

/// A component that may connect.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its domain, in normal form.
    pub domain: String,
    /// What it shares with this server.
    pub secret: Secret,
    /// What becomes of a second connection.
    pub conflict: Conflict,
}

/// What becomes of a second connection for one domain. XEP-0114 leaves it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflict {
    /// The first one ends: most likely nobody is there any more.
    #[default]
    Replace,
    /// The second one ends.
    Refuse,
    /// Both may send. The first gets what is for the domain, in order; when it goes, the next one does.
    Share,
}

/// Bounds for each component.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes per second that are read on average; 0: no bound.
    pub bytes_per_second: u32,
    /// Stanzas per second that are read on average; 0: no bound.
    pub stanzas_per_second: u32,
    /// Requests under way in the name of accounts (XEP-0356).
    pub privileged_requests_max: usize,
    /// How long a message waits for its component.
    pub message_time: Duration,
}

/// All components of one server.
pub struct Components {
    context: Arc<Context>,
    settings: Settings,
    streams: Arc<Streams>,
    places: BTreeMap<String, Standing>,
    /// Failed handshakes, by address.
    failures: Mutex<Throttle>,
}

struct Standing {
    place: Place,
    /// What waits for the domain. One, but for what is left of the time when it was another server's.
    queues: Mutex<Vec<Arc<PeerQueue>>>,
    line: Mutex<Line>,
    /// Somebody left the line.
    left: Notify,
}

/// The streams of one domain, in the order in which they came.
#[derive(Default)]
struct Line {
    next: u64,
    streams: Vec<Waiting>,
    /// Who has the queues.
    holder: Option<u64>,
}

struct Waiting {
    number: u64,
    signs: Arc<Signs>,
}

/// What a stream is told by others of its domain.
#[derive(Debug, Default)]
struct Signs {
    /// Another one replaces it.
    end: Notify,
    /// The queues are its own now.
    turn: Notify,
}

/// A stream's place in line.
struct Entered {
    number: u64,
    signs: Arc<Signs>,
}

impl Secrets for Components {
    fn secret(&self, domain: &str) -> Option<&str> {
        self.places.get(domain).map(|standing| standing.place.secret.0.as_str())
    }
}

impl Components {
    /// The components of this configuration; none is connected.
    pub fn new(
        context: Arc<Context>,
        settings: Settings,
        streams: Arc<Streams>,
        places: Vec<Place>,
    ) -> Self {
        let standing = |place: Place| {
            let (queues, line, left) = (Mutex::default(), Mutex::default(), Notify::new());
            (place.domain.clone(), Standing { place, queues, line, left })
        };
        let places = places.into_iter().map(standing).collect();
        let failures = Throttle::new(ADDRESSES_MAX).with_delays(FIRST_DELAY, DELAY_MAX);
        Self { context, settings, streams, places, failures: Mutex::new(failures) }
    }

    /// Takes the queues of components into its care; to be called before anything is put there. Gives back those
    /// that are for other servers.
    pub fn begin(self: &Arc<Self>, restored: Vec<Arc<PeerQueue>>) -> Vec<Arc<PeerQueue>> {
        let router = &self.context.router;
        let mut others = Vec::new();
        for (domain, standing) in &self.places {
            locked(&standing.queues).push(router.peers.of_pair("", domain));
        }
        for queue in restored {
            match self.places.get(&*queue.pair.remote) {
                Some(_) if queue.pair.local.is_empty() => {}
                Some(standing) => locked(&standing.queues).push(queue),
                None if queue.pair.local.is_empty() => self.abandon(queue),
                None => others.push(queue),
            }
        }
        for standing in self.places.values() {
            for queue in locked(&standing.queues).iter() {
                // Nobody else looks after it: see the head of this file.
                queue.claim();
                queue.lost(Some(away(&standing.place.domain)));
            }
        }
        if !self.places.is_empty() {
            let components = self.clone();
            router.tasks.spawn("components", async move {
                let mut stopping = components.context.stopping.clone();
                tokio::select! {
                    () = components.expire_again_and_again() => {}
                    _ = stopping.wait_for(|stopping| *stopping) => {}
                }
            });
        }
        others
    }

    /// The component is not configured any more: what waits for it goes back to its senders.
    fn abandon(self: &Arc<Self>, queue: Arc<PeerQueue>) {
        let components = self.clone();
        self.context.router.tasks.spawn("components", async move {
            queue.claim();
            let cx = components.cx(&queue.pair.remote);
            let gone = StanzaError::remote_server_not_found()
                .text(format!("there is no component {} any more", queue.pair.remote));
            expire(&cx, &queue, i64::MAX, &gone).await;
            queue.release();
            cx.router.peers.forget(&queue);
        });
    }

    /// Gives up what has waited too long for components that are away.
    async fn expire_again_and_again(&self) {
        loop {
            sleep(EXPIRY_STEP).await;
            for (domain, standing) in &self.places {
                self.drop_if_told(domain, standing).await;
                if locked(&standing.line).holder.is_some() {
                    continue;
                }
                let (cx, queues) = (self.cx(domain), locked(&standing.queues).clone());
                let late = StanzaError::remote_server_timeout()
                    .text(format!("the component {domain} was not connected for too long"));
                for queue in queues {
                    let before = super::waits::before(self.settings.message_time);
                    expire(&cx, &queue, before, &late).await;
                }
            }
        }
    }

    /// Gives up all that waits, if an operator wants that.
    async fn drop_if_told(&self, domain: &str, standing: &Standing) {
        let queues = locked(&standing.queues).clone();
        for queue in queues {
            if let Some((why, done)) = queue.gives_up() {
                let messages = queue.load().messages;
                expire(&self.cx(domain), &queue, i64::MAX, &why).await;
                tracing::info!(
                    component = domain,
                    messages,
                    "what waited for a component is given up"
                );
                // Whoever wants it may have gone.
                let _ = done.send(messages);
            }
        }
    }

    fn cx(&self, domain: &str) -> Cx {
        self.context.cx(Requester::Entity(Jid::normal(domain)))
    }

    /// A stream proved that it is this component: it stands in line, or hears why not.
    async fn enter(&self, domain: &str) -> Result<Entered, StreamFailure> {
        let Some(standing) = self.places.get(domain) else {
            return Err(StreamError::HostUnknown.into());
        };
        let conflict = standing.place.conflict;
        let earlier = {
            let mut line = locked(&standing.line);
            match conflict {
                Conflict::Refuse if !line.streams.is_empty() => {
                    return Err(StreamError::Conflict.text("the component is connected already"));
                }
                Conflict::Share if line.streams.len() >= STREAMS_MAX => {
                    return Err(StreamError::Conflict.text("too many connections of the component"));
                }
                Conflict::Replace => {
                    line.streams.iter().for_each(|one| one.signs.end.notify_one());
                }
                Conflict::Refuse | Conflict::Share => {}
            }
            line.next += 1;
            let (number, signs) = (line.next, Arc::new(Signs::default()));
            line.streams.push(Waiting { number, signs: signs.clone() });
            if line.holder.is_none() {
                line.holder = Some(number);
                signs.turn.notify_one();
            }
            Entered { number, signs }
        };
        if conflict == Conflict::Replace {
            // Those before it give the queues back first, so that one stream alone has them.
            let first = timeout(REPLACE_TIME, self.until_first(standing, earlier.number)).await;
            if first.is_err() {
                self.leave(domain, earlier.number);
                return Err(StreamError::Conflict.text("the former connection does not end"));
            }
        }
        Ok(earlier)
    }

    async fn until_first(&self, standing: &Standing, number: u64) {
        loop {
            let left = standing.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if locked(&standing.line).streams.first().is_none_or(|one| one.number >= number) {
                return;
            }
            left.await;
        }
    }

    /// The queues, if they are this stream's.
    fn queues(&self, domain: &str, number: u64) -> Vec<Arc<PeerQueue>> {
        let Some(standing) = self.places.get(domain) else { return Vec::new() };
        match locked(&standing.line).holder == Some(number) {
            true => locked(&standing.queues).clone(),
            false => Vec::new(),
        }
    }

    /// A stream is over, and has given its queues back. What has no row and waits for nobody is returned.
    fn leave(&self, domain: &str, number: u64) -> Vec<Frame> {
        let Some(standing) = self.places.get(domain) else { return Vec::new() };
        let mut line = locked(&standing.line);
        line.streams.retain(|one| one.number != number);
        let mut given_up = Vec::new();
        if line.holder == Some(number) {
            line.holder = line.streams.first().map(|next| {
                next.signs.turn.notify_one();
                next.number
            });
            if line.holder.is_none() {
                // Under the lock: whoever comes next opens them again.
                for queue in locked(&standing.queues).iter() {
                    given_up.extend(queue.lost(Some(away(domain))).stanzas);
                }
            }
        }
        drop(line);
        standing.left.notify_waiters();
        given_up
    }

    /// Waits as long as failed handshakes of this address ask for; what is right is not held against it.
    async fn judge(&self, address: std::net::IpAddr, right: bool) {
        use crate::stream::sasl::throttle::{How, Key};
        let key = Key::from(address);
        let counted = locked(&self.failures).failed(&key, How::default(), now());
        sleep(counted.wait).await;
        if right {
            locked(&self.failures).take_back(&key, counted);
        }
    }
}

/// For whoever waits for an answer of a component that is not there.
fn away(domain: &str) -> StanzaError {
    StanzaError::service_unavailable()
        .kind(ErrorType::Wait)
        .text(format!("the component {domain} is not connected"))
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Addresses whose failed handshakes are remembered.
const ADDRESSES_MAX: usize = 1_000;
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// A component with the right secret waits no longer than this, whoever else guesses at its address.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// Connections that share one domain.
const STREAMS_MAX: usize = 16;
/// How long a former stream may take to end.
const REPLACE_TIME: Duration = Duration::from_secs(8);
const EXPIRY_STEP: Duration = Duration::from_secs(5);
