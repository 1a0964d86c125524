//! Client streams over TCP: STARTTLS inside, or TLS from the first byte.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::acceptor::{Accepted, Protocol};
use super::tcp::Socket;
use super::tls::Tls;
use crate::base::id::{self, OsRng};
use crate::session::{self, Context, NewConnection, Ports};
use crate::stream::error::StreamError;
use crate::stream::framing::{Framing, Greeting, Item};
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
}

impl ClientStreams {
    /// The streams of all listeners of this kind; `ports` are those that clients connect to.
    pub const fn new(context: Arc<Context>, tls: Tls, ports: Ports, kind: ListenerKind) -> Self {
        Self { context, tls, ports, kind }
    }

    fn framing(&self) -> Framing {
        Framing::new(ns::CLIENT, &self.context.router.limits)
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

impl Protocol for ClientStreams {
    async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, since, counted } = accepted;
        let limits = &self.context.router.limits;
        let (limit, ping_timeout) = (limits.unauthenticated_time, limits.ping_timeout);
        let (socket, direct_tls) = match self.kind {
            ListenerKind::StartTls => (Socket::plain(stream, self.tls.clone(), ping_timeout), None),
            ListenerKind::Direct => {
                let mut stopping = self.context.stopping.clone();
                let direct = Socket::direct(stream, self.tls.clone(), ping_timeout);
                let secured = tokio::select! {
                    secured = timeout(limit, direct) => secured,
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                };
                match secured {
                    Ok(Ok((socket, bindings))) => (socket, Some(bindings)),
                    Ok(Err(error)) => return self.log_handshake(peer, &error),
                    Err(_) => return tracing::info!(%peer, "TLS handshake took too long"),
                }
            }
        };
        let (transport, ports) = (Box::new(socket), self.ports);
        let framing = self.framing();
        let connection = NewConnection { transport, framing, peer, direct_tls, since, ports };
        session::serve(self.context.clone(), connection, counted).await;
    }

    /// RFC 6120 §4.9.3.14. With direct TLS there is no error, because a handshake is the cost that the
    /// bound protects from.
    async fn refuse(self: Arc<Self>, mut stream: TcpStream) {
        if self.kind == ListenerKind::StartTls {
            let failure = StreamError::PolicyViolation.text("too many streams from your address");
            let host = self.context.policy.hosts.first().map_or("", String::as_str);
            let id = id::random(&mut OsRng);
            let header = Item::Header(Greeting { id, from: host.to_owned(), to: None });
            let (framing, mut text) = (self.framing(), Vec::new());
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
