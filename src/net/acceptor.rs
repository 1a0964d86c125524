//! Accepting connections, whatever the protocol: a bound for each address, a rate, back-off when the
//! system is out of files, and an end when the server stops.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::rate::ConnectionRate;
use crate::base::limits::Limits;
use crate::router::task::Tasks;
use crate::stream::sasl::throttle::Key;

/// The protocol on the connections of a listener.
pub trait Protocol: Send + Sync + 'static {
    /// Serves a connection to its end.
    fn serve(self: Arc<Self>, accepted: Accepted) -> impl Future<Output = ()> + Send;

    /// Refuses a connection because there are too many from its address. A client that does not soon
    /// read the refusal is cut off.
    fn refuse(self: Arc<Self>, stream: TcpStream) -> impl Future<Output = ()> + Send;
}

/// A connection that may be served.
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// The client's address; an IPv4 address in its IPv4 form.
    pub peer: IpAddr,
    /// When it was accepted.
    pub since: Instant,
    /// Held as long as the connection lives.
    pub counted: Counted,
}

/// State that all listeners of one server share, so that an address is counted once on all of them.
#[derive(Debug)]
pub struct Acceptor {
    limits: Arc<Limits>,
    tasks: Tasks,
    stopping: watch::Receiver<bool>,
    connections: Mutex<HashMap<Key, Connections>>,
    rate: Mutex<ConnectionRate>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Connections {
    count: u32,
    /// Whether the log says that there are too many. Logged once until all have ended: refused clients
    /// must not fill the log.
    told: bool,
}

impl Acceptor {
    /// An acceptor that works until `stopping` is true.
    pub fn new(limits: Arc<Limits>, tasks: Tasks, stopping: watch::Receiver<bool>) -> Arc<Self> {
        let rate = ConnectionRate::new(limits.connections_per_second, limits.connections_burst);
        let (connections, rate) = (Mutex::default(), Mutex::new(rate));
        Arc::new(Self { limits, tasks, stopping, connections, rate })
    }

    /// Accepts until the server stops.
    pub async fn accept<P: Protocol>(self: Arc<Self>, listener: TcpListener, protocol: Arc<P>) {
        let mut stopping = self.stopping.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.clone().accepted(stream, peer.ip().to_canonical(), protocol.clone());
                }
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    // Out of files or memory: existing sessions continue, new ones wait.
                    tracing::error!(%error, "cannot accept connections; trying again in a moment");
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    #[allow(clippy::disallowed_methods)] // the monotonic clock, at the floor that has one
    fn accepted<P: Protocol>(self: Arc<Self>, stream: TcpStream, peer: IpAddr, protocol: Arc<P>) {
        let since = Instant::now();
        // Small stanzas must not wait for each other (Nagle); a socket that refuses the option still
        // works.
        let _ = stream.set_nodelay(true);
        let tasks = self.tasks.clone();
        match self.clone().count(peer) {
            Some(counted) => tasks.spawn("stream", async move {
                if self.wait_its_turn(peer, since).await {
                    protocol.serve(Accepted { stream, peer, since, counted }).await;
                }
            }),
            None => {
                tasks.spawn("refuse", async move {
                    let _ = tokio::time::timeout(BACK_OFF, protocol.refuse(stream)).await;
                });
            }
        }
    }

    /// Delays a client that connects too fast. Returns false if the server stops meanwhile.
    async fn wait_its_turn(&self, peer: IpAddr, since: Instant) -> bool {
        let wait = self.rate().delay(Key::from(peer), since);
        if wait.is_zero() {
            return true;
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = sleep(wait) => true,
            _ = stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    /// Counts a connection of this address; `None` beyond `limits.streams_per_ip`.
    fn count(self: Arc<Self>, peer: IpAddr) -> Option<Counted> {
        let max = self.limits.streams_per_ip;
        let key = Key::from(peer);
        {
            let mut connections = self.connections();
            let held = connections.entry(key.clone()).or_default();
            if max > 0 && held.count >= max {
                if !std::mem::replace(&mut held.told, true) {
                    tracing::info!(%peer, max, "too many streams from this address");
                }
                return None;
            }
            held.count += 1;
        }
        Some(Counted { acceptor: self, key })
    }

    fn rate(&self) -> MutexGuard<'_, ConnectionRate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<Key, Connections>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held as long as a connection lives.
pub struct Counted {
    acceptor: Arc<Acceptor>,
    key: Key,
}

impl Counted {
    /// Counts another stream, of this address, that is no connection; `None` beyond `limits.streams_per_ip`.
    pub fn another(&self, peer: IpAddr) -> Option<Self> {
        self.acceptor.clone().count(peer)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut connections = self.acceptor.connections();
        if let Some(held) = connections.get_mut(&self.key) {
            held.count = held.count.saturating_sub(1);
            if held.count == 0 {
                connections.remove(&self.key);
            }
        }
    }
}

/// Whether the error concerns one connection only; the listener is fine.
fn is_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

const BACK_OFF: Duration = Duration::from_millis(200);
