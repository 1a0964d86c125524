//! Accepting connections, whatever the protocol: a bound for each address, also where a proxy is in between, a
//! rate, back-off when the system is out of files, and an end when the server stops.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::proxies::Proxies;
use super::proxy_protocol;
use super::rate::ConnectionRate;
use crate::base::limits::Limits;
use crate::router::task::Tasks;
use crate::stream::sasl::throttle::Key;

/// The protocol on the connections of a listener.
pub trait Protocol: Send + Sync + 'static {
    /// The proxies before it.
    fn proxies(&self) -> &Proxies;

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
    /// The client's address, or that of a proxy that carries the requests of others; an IPv4 address in its
    /// IPv4 form.
    pub peer: IpAddr,
    /// Whether the client speaks TLS with a proxy that ends it and says so.
    pub secured: bool,
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
    connections: Mutex<HashMap<Whose, Connections>>,
    rate: Mutex<ConnectionRate>,
}

/// Whose connections are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    /// Those of one address.
    Address(Key),
    /// Those of all proxies, as long as nobody behind them is counted for them.
    Proxies,
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

    fn accepted<P: Protocol>(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: IpAddr,
        protocol: Arc<P>,
    ) {
        let since = now();
        // Small stanzas must not wait for each other (Nagle); a socket that refuses the option still
        // works.
        let _ = stream.set_nodelay(true);
        if !protocol.proxies().announces(peer) {
            return self.admit(stream, Origin { peer, secured: false, since }, protocol);
        }
        let Some(held) = self.clone().count(Whose::Proxies, peer) else { return };
        let tasks = self.tasks.clone();
        tasks.spawn("stream", async move {
            let Some(announced) = self.announced(&mut stream, peer).await else { return };
            let secured = announced.secured;
            match announced.client {
                Some(client) => {
                    drop(held);
                    self.admit(stream, Origin { peer: client, secured, since }, protocol);
                }
                // The proxy itself, or somebody whom it cannot name: one of its address.
                None => {
                    drop(held);
                    self.admit(stream, Origin { peer, secured, since }, protocol);
                }
            }
        });
    }

    /// What a proxy says of a connection; none if it says nothing that can be believed.
    async fn announced(
        &self,
        stream: &mut TcpStream,
        proxy: IpAddr,
    ) -> Option<proxy_protocol::Announced> {
        let mut stopping = self.stopping.clone();
        let said = tokio::select! {
            said = timeout(ANNOUNCEMENT_TIME, proxy_protocol::read(stream)) => said,
            _ = stopping.wait_for(|stopping| *stopping) => return None,
        };
        match said {
            Ok(Ok(announced)) => return Some(announced),
            // It looked whether the port is open.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::debug!(%proxy, "a proxy's connection without a word");
            }
            Ok(Err(error)) => tracing::warn!(
                %proxy, %error,
                "a connection of a proxy that `proxy_protocol` names does not begin with the PROXY protocol: \
                 switch it on there (HAProxy: send-proxy-v2), or take the address out here"
            ),
            Err(_) => tracing::info!(%proxy, "a proxy did not say in time who connects"),
        }
        None
    }

    /// Serves a connection if there may be one more.
    fn admit<P: Protocol>(self: Arc<Self>, stream: TcpStream, from: Origin, protocol: Arc<P>) {
        let Origin { peer, secured, since } = from;
        let tasks = self.tasks.clone();
        let carries = protocol.proxies().carries(peer);
        let whose = if carries { Whose::Proxies } else { Whose::Address(Key::from(peer)) };
        match self.clone().count(whose, peer) {
            Some(counted) => tasks.spawn("stream", async move {
                // Whoever is behind a proxy waits when it is known who that is.
                if carries || self.wait_its_turn(peer, since).await {
                    protocol.serve(Accepted { stream, peer, secured, since, counted }).await;
                }
            }),
            None => {
                tasks.spawn("refuse", async move {
                    let _ = timeout(BACK_OFF, protocol.refuse(stream)).await;
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

    /// Counts a connection; `None` beyond `limits.streams_per_ip`, or `limits.proxy_connections_max`.
    fn count(self: Arc<Self>, whose: Whose, peer: IpAddr) -> Option<Counted> {
        let (max, what) = match whose {
            Whose::Address(_) => (self.limits.streams_per_ip, "too many streams from this address"),
            Whose::Proxies => {
                (self.limits.proxy_connections_max, "too many connections of proxies")
            }
        };
        {
            let mut connections = self.connections();
            let held = connections.entry(whose.clone()).or_default();
            if max > 0 && held.count >= max {
                if !std::mem::replace(&mut held.told, true) {
                    tracing::info!(%peer, max, "{what}");
                }
                return None;
            }
            held.count += 1;
        }
        Some(Counted { acceptor: self, whose })
    }

    fn rate(&self) -> MutexGuard<'_, ConnectionRate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<Whose, Connections>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a connection comes from.
struct Origin {
    peer: IpAddr,
    secured: bool,
    since: Instant,
}

/// Held as long as a connection lives.
pub struct Counted {
    acceptor: Arc<Acceptor>,
    whose: Whose,
}

impl Counted {
    /// Whether it is a connection of a proxy, which is counted for nobody.
    pub fn is_proxys(&self) -> bool {
        self.whose == Whose::Proxies
    }

    /// Counts another stream, of this address, that is no connection; `None` beyond `limits.streams_per_ip`.
    pub fn another(&self, peer: IpAddr) -> Option<Self> {
        self.acceptor.clone().count(Whose::Address(Key::from(peer)), peer)
    }

    /// Waits until an address may open one more stream. Returns false if the server stops meanwhile.
    pub async fn wait_its_turn(&self, peer: IpAddr) -> bool {
        self.acceptor.wait_its_turn(peer, now()).await
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut connections = self.acceptor.connections();
        if let Some(held) = connections.get_mut(&self.whose) {
            held.count = held.count.saturating_sub(1);
            if held.count == 0 {
                connections.remove(&self.whose);
            }
        }
    }
}

/// Whether the error concerns one connection only; the listener is fine.
fn is_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[allow(clippy::disallowed_methods)] // the monotonic clock, at the floor that has one
fn now() -> Instant {
    Instant::now()
}

/// How long a proxy may take to say who connects; the protocol asks for three seconds at least, in which a lost
/// packet is sent again.
const ANNOUNCEMENT_TIME: Duration = Duration::from_secs(5);
const BACK_OFF: Duration = Duration::from_millis(200);
