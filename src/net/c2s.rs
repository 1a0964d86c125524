//! Client streams over TCP: STARTTLS inside, or TLS from the first byte.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::acceptor::{Accepted, Protocol};
use super::proxies::Proxies;
use super::tcp::{Secured, Socket};
use super::tls::{Kind, Tls};
use crate::base::id::{self, OsRng};
use crate::modules::api::Via;
use crate::session::link::Guard;
use crate::session::{self, Context, NewConnection, Ports};
use crate::stream::error::StreamError;
use crate::stream::framing::{Framing, Greeting, Item};
use crate::stream::sasl::ChannelBindings;
use crate::xml::ns;

/// How the connections of a listener begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// XMPP, with STARTTLS inside.
    StartTls,
    /// TLS (XEP-0368).
    Direct,
}

/// The client streams of a listener.
#[derive(Clone)]
pub struct ClientStreams {
    context: Arc<Context>,
    tls: Tls,
    ports: Ports,
    kind: ListenerKind,
    proxies: Proxies,
}

impl ClientStreams {
    /// The streams of all listeners of this kind; `ports` are those that clients connect to.
    pub const fn new(
        context: Arc<Context>,
        tls: Tls,
        ports: Ports,
        kind: ListenerKind,
        proxies: Proxies,
    ) -> Self {
        Self { context, tls, ports, kind, proxies }
    }

    fn framing(&self) -> Framing {
        Framing::tcp(ns::CLIENT, &self.context.router.limits)
    }

    /// Logs a failed handshake. A client that begins without TLS here has probably mistaken this port
    /// for the STARTTLS port.
    fn log_handshake(&self, peer: IpAddr, error: &io::Error) {
        match self.ports.starttls {
            Some(port) if is_no_tls(error) => tracing::info!(
                %peer,
                "this is no TLS, which begins with the first byte here; STARTTLS is on port {port}"
            ),
            _ => tracing::info!(%peer, %error, "TLS handshake failed"),
        }
    }
}

impl ClientStreams {
    /// Serves the stream on a connection to its end; with bindings if TLS is there already.
    pub async fn serve_on(
        &self,
        socket: Socket,
        bindings: Option<ChannelBindings>,
        caller: Caller,
    ) {
        let Caller { peer, since, guard } = caller;
        let via = if bindings.is_some() { Via::Tls } else { Via::Tcp };
        let connection = NewConnection {
            transport: Box::new(socket),
            framing: self.framing(),
            peer,
            direct_tls: bindings,
            since,
            ports: self.ports,
            via,
        };
        session::serve(self.context.clone(), connection, guard).await;
    }
}

/// Who connects.
pub struct Caller {
    /// The client's address.
    pub peer: IpAddr,
    /// When: the deadline of negotiation counts from here.
    pub since: Instant,
    /// Held as long as the stream has its connection.
    pub guard: Guard,
}

impl Protocol for ClientStreams {
    fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        // A proxy that ends TLS is no reason to let passwords pass without: `secured` is for the web.
        let Accepted { stream, peer, since, counted, .. } = accepted;
        let caller = Caller { peer, since, guard: Box::new(counted) };
        let limits = &self.context.router.limits;
        let (limit, ping_timeout) = (limits.unauthenticated_time, limits.ping_timeout);
        if self.kind == ListenerKind::StartTls {
            let socket = Socket::plain(stream, self.tls.clone(), ping_timeout);
            return self.serve_on(socket, None, caller).await;
        }
        let mut stopping = self.context.stopping.clone();
        let secured = Socket::secure(stream, self.tls.clone(), Kind::Direct, ping_timeout);
        let secured = tokio::select! {
            secured = timeout(limit, secured) => secured,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match secured {
            Ok(Ok(Secured { socket, bindings, .. })) => {
                self.serve_on(socket, Some(bindings), caller).await;
            }
            Ok(Err(error)) => self.log_handshake(peer, &error),
            Err(_) => tracing::info!(%peer, "TLS handshake took too long"),
        }
    }

    /// RFC 6120 §4.9.3.14. With direct TLS there is no error, because a handshake is the cost that the
    /// bound protects from.
    async fn refuse(self: Arc<Self>, mut stream: TcpStream) {
        if self.kind == ListenerKind::StartTls {
            let failure = StreamError::PolicyViolation.text("too many streams from your address");
            let host = self.context.policy.hosts.first().map_or("", String::as_str);
            let id = id::random(&mut OsRng);
            let header = Item::Header(Greeting { id, from: host.to_owned(), to: None });
            let (mut framing, mut text) = (self.framing(), Vec::new());
            for item in [header, Item::Failure(failure), Item::Close] {
                framing.write(item, |bytes| text.extend_from_slice(&bytes));
            }
            // The connection ends whether the error is read or not.
            let _ = stream.write_all(&text).await;
        }
    }
}

/// Whether the first byte begins no TLS record.
fn is_no_tls(error: &io::Error) -> bool {
    use rustls::{Error, InvalidMessage};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}
