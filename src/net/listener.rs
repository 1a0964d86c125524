//! Accepting client connections: a bound per address, back-off when the system is out of files.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket as Socket2, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::arrivals::Arrivals;
use super::tcp::Socket;
use super::tls::Tls;
use crate::base::id::{self, OsRng};
use crate::session::{self, Arrival, Context, Ports};
use crate::stream::error::StreamError;
use crate::stream::open;
use crate::stream::sasl::throttle::Key;

/// What the first byte of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// XMPP, with STARTTLS inside.
    StartTls,
    /// TLS (XEP-0368).
    Direct,
}

/// What all listeners of one server share.
pub struct Hall {
    context: Arc<Context>,
    tls: Tls,
    ports: Ports,
    streams: Mutex<HashMap<Key, Streams>>,
    arrivals: Mutex<Arrivals>,
}

/// Of one address.
#[derive(Debug, Default)]
struct Streams {
    count: u32,
    /// The log says that there were too many. Once until all have ended: who is refused must not
    /// fill the log instead.
    told: bool,
}

impl Hall {
    /// For client streams, which come to these ports.
    pub fn new(context: Arc<Context>, tls: Tls, ports: Ports) -> Arc<Self> {
        let limits = &context.router.limits;
        let arrivals = Arrivals::new(limits.connections_per_second, limits.connections_burst);
        let (streams, arrivals) = (Mutex::default(), Mutex::new(arrivals));
        Arc::new(Self { context, tls, ports, streams, arrivals })
    }

    /// Accepts until the server stops.
    pub async fn accept(self: Arc<Self>, listener: TcpListener, door: Door) {
        let mut stopping = self.context.stopping.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.clone().arrived(stream, peer.ip().to_canonical(), door),
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    // Out of files or memory: existing sessions go on, new ones wait.
                    tracing::error!(%error, "cannot accept connections; trying again in a moment");
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    #[allow(clippy::disallowed_methods)] // the monotonic clock, at the floor that has one
    fn arrived(self: Arc<Self>, stream: TcpStream, peer: IpAddr, door: Door) {
        let since = Instant::now();
        // Small stanzas must not wait for each other (Nagle); a socket that refuses still works.
        let _ = stream.set_nodelay(true);
        let tasks = self.context.router.tasks.clone();
        match self.clone().count(peer) {
            Some(guard) => tasks
                .spawn("stream", async move { self.serve(stream, peer, door, since, guard).await }),
            None => {
                tasks.spawn("refuse", async move { self.refuse(stream, door).await });
            }
        }
    }

    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        door: Door,
        since: Instant,
        guard: Counted,
    ) {
        let limits = &self.context.router.limits;
        let (limit, ping_timeout) = (limits.unauthenticated_time, limits.ping_timeout);
        let wait = self.arrivals().delay(Key::from(peer), since);
        if !wait.is_zero() {
            let mut stopping = self.context.stopping.clone();
            tokio::select! {
                () = sleep(wait) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
        let (socket, direct_tls) = match door {
            Door::StartTls => (Socket::plain(stream, self.tls.clone(), ping_timeout), None),
            Door::Direct => {
                let mut stopping = self.context.stopping.clone();
                let direct = Socket::direct(stream, self.tls.clone(), ping_timeout);
                let accepted = tokio::select! {
                    accepted = timeout(limit, direct) => accepted,
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                };
                match accepted {
                    Ok(Ok((socket, bindings))) => (socket, Some(bindings)),
                    Ok(Err(error)) => return self.log_handshake(peer, &error),
                    Err(_) => return tracing::info!(%peer, "TLS handshake took too long"),
                }
            }
        };
        let (transport, ports) = (Box::new(socket), self.ports);
        let arrival = Arrival { transport, peer, direct_tls, since, ports };
        session::serve(self.context.clone(), arrival, guard).await;
    }

    /// Whoever begins in the clear here, took this port for the other.
    fn log_handshake(&self, peer: IpAddr, error: &io::Error) {
        match self.ports.starttls {
            Some(port) if is_no_tls(error) => tracing::info!(
                %peer,
                "this is no TLS, which begins with the first byte here; STARTTLS is on port {port}"
            ),
            _ => tracing::info!(%peer, %error, "TLS handshake failed"),
        }
    }

    /// RFC 6120 §4.9.3.14; behind direct TLS a handshake would be what the bound protects.
    async fn refuse(&self, mut stream: TcpStream, door: Door) {
        if door == Door::StartTls {
            let failure = StreamError::PolicyViolation.text("too many streams from your address");
            let host = self.context.policy.hosts.first().map_or("", String::as_str);
            let header = open::header(&id::random(&mut OsRng), host, None);
            let text = format!("{header}{}{}", failure.to_xml(), open::CLOSE);
            // Whether it is read or not: the connection ends.
            let _ = timeout(BACK_OFF, stream.write_all(text.as_bytes())).await;
        }
    }

    /// Counts a stream of this address; `None` beyond `limits.streams_per_ip`.
    fn count(self: Arc<Self>, peer: IpAddr) -> Option<Counted> {
        let max = self.context.router.limits.streams_per_ip;
        let key = Key::from(peer);
        {
            let mut streams = self.streams();
            let held = streams.entry(key.clone()).or_default();
            if max > 0 && held.count >= max {
                if !std::mem::replace(&mut held.told, true) {
                    tracing::info!(%peer, max, "too many streams from this address");
                }
                return None;
            }
            held.count += 1;
        }
        Some(Counted { hall: self, key })
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<Key, Streams>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held as long as a stream lives.
struct Counted {
    hall: Arc<Hall>,
    key: Key,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut streams = self.hall.streams();
        if let Some(held) = streams.get_mut(&self.key) {
            held.count = held.count.saturating_sub(1);
            if held.count == 0 {
                streams.remove(&self.key);
            }
        }
    }
}

/// One error's own connection; the listener is fine.
fn is_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The first byte is that of no record of TLS.
fn is_no_tls(error: &io::Error) -> bool {
    use rustls::{Error, InvalidMessage};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Binds a listener beside the others of `all`. `[::]` serves IPv4 too, unless `0.0.0.0` stands beside it
/// with the same port; where the system has no IPv6, IPv4 alone.
pub async fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let any4 = SocketAddr::from(([0; 4], address.port()));
    if address == any_of_ipv6(address.port()) && address.port() != 0 && all.contains(&any4) {
        return bind_ipv6_only(address);
    }
    match TcpListener::bind(address).await {
        Err(error) if falls_back(address, &error) => TcpListener::bind(any4).await,
        bound => bound,
    }
}

/// The system would take the port for IPv4 too, and the other listener could not have it.
fn bind_ipv6_only(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket2::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(true)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether all addresses are wanted and the system has those of IPv4 only.
pub fn falls_back(address: SocketAddr, error: &io::Error) -> bool {
    // EAFNOSUPPORT, EADDRNOTAVAIL
    address == any_of_ipv6(address.port()) && matches!(error.raw_os_error(), Some(97 | 99))
}

fn any_of_ipv6(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}

/// As tokio's own.
const BACKLOG: i32 = 1_024;

const BACK_OFF: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    /// Both families on one port, in whatever order they stand.
    #[tokio::test]
    async fn all_of_ipv4_and_all_of_ipv6_stand_together() {
        let any4 = |port| SocketAddr::from(([0; 4], port));
        for ipv6_first in [true, false] {
            // A port that is free for both now; another test may take it in between.
            let bound = async || -> io::Result<()> {
                let port = TcpListener::bind(any_of_ipv6(0)).await?.local_addr()?.port();
                let mut all = [any4(port), any_of_ipv6(port)];
                if ipv6_first {
                    all.reverse();
                }
                let first = bind(all[0], &all).await?;
                let second = bind(all[1], &all).await?;
                for ip in [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()] {
                    TcpStream::connect((ip, port)).await?;
                }
                drop((first, second));
                // Alone it serves both.
                let alone = bind(any_of_ipv6(port), &[any_of_ipv6(port)]).await?;
                TcpStream::connect(any4(port)).await?;
                drop(alone);
                Ok(())
            };
            let mut done = bound().await;
            for _ in 0..5 {
                if done.is_err() {
                    done = bound().await;
                }
            }
            done.unwrap();
        }
    }
}
