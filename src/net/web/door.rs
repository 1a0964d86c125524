//! Tells the protocols of one port apart, within the time and bytes that strangers have.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::state::Web;
use super::visitor::Connection;
use super::{http, proofs, routes};
use crate::net::acceptor::{Accepted, Protocol};
use crate::net::c2s::{Caller, ClientStreams, ListenerKind};
use crate::net::proxies::Proxies;
use crate::net::tcp::{Secured, Socket};
use crate::net::tls::{Kind, Tls};
use crate::stream::sasl::ChannelBindings;

/// How the connections of a listener begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// TLS, unless XMPP is served here too.
    Tls,
    /// Plain HTTP, for a proxy before the server.
    Plain,
    /// Plain HTTP, with the proofs that an authority looks for and nothing else.
    Proofs,
}

/// The web door on one kind of listener.
pub struct Door {
    web: Arc<Web>,
    routes: Router,
    tls: Tls,
    entrance: Entrance,
    streams: ClientStreams,
    to_https: Router,
    proxies: Proxies,
}

/// What a connection turned out to speak.
enum Speaks {
    Http(Socket, Option<ChannelBindings>),
    /// HTTP where TLS should be.
    Cleartext(Socket),
    Xmpp(Socket, Option<ChannelBindings>),
}

impl Door {
    /// The door for the listeners of one kind.
    pub fn new(web: Arc<Web>, tls: Tls, entrance: Entrance) -> Self {
        let routes = match entrance {
            Entrance::Proofs => proofs::alone(web.clone()),
            Entrance::Tls | Entrance::Plain => routes::routes(web.clone()),
        };
        let (context, kind) = (web.context.clone(), ListenerKind::StartTls);
        let mut proxies = web.settings.proxies.clone();
        let streams = ClientStreams::new(context, tls.clone(), web.ports, kind, proxies.clone());
        if entrance == Entrance::Plain && proxies.carry.is_empty() {
            // Whoever else forwards from this machine, and names nobody, is not believed under TLS.
            proxies.carry = LOOPBACK.iter().filter_map(|net| net.parse().ok()).collect();
        }
        let to_https = routes::to_https(web.clone());
        Self { web, routes, tls, entrance, streams, to_https, proxies }
    }

    async fn tell_apart(&self, stream: TcpStream) -> io::Result<Speaks> {
        let patience = self.web.context.router.limits.ping_timeout;
        let plain = |stream| Socket::plain(stream, self.tls.clone(), patience);
        if self.entrance != Entrance::Tls {
            return Ok(Speaks::Http(plain(stream), None));
        }
        let xmpp = self.web.settings.xmpp;
        match first_byte(&stream).await? {
            // RFC 8446 §5.1: a handshake.
            0x16 => self.tell_apart_inside(stream, patience).await,
            // RFC 6120 §4.2: a stream's header, or what clients wrongly send before it.
            byte if xmpp && begins_xml(byte) => Ok(Speaks::Xmpp(plain(stream), None)),
            _ => Ok(Speaks::Cleartext(plain(stream))),
        }
    }

    async fn tell_apart_inside(&self, stream: TcpStream, patience: Duration) -> io::Result<Speaks> {
        let xmpp = self.web.settings.xmpp;
        let kind = if xmpp { Kind::Any } else { Kind::Web };
        let Secured { mut socket, bindings, protocol } =
            Socket::secure(stream, self.tls.clone(), kind, patience).await?;
        let speaks_xmpp = match protocol {
            Some(protocol) => protocol == b"xmpp-client",
            None if xmpp => {
                // XEP-0368 §3 makes ALPN optional: the client speaks first, whatever it speaks.
                let mut first = BytesMut::with_capacity(FIRST_BYTES);
                socket.read_buf(&mut first).await?;
                let is_xml = first.first().copied().is_some_and(begins_xml);
                socket.unread(first.freeze());
                is_xml
            }
            None => false,
        };
        Ok(match speaks_xmpp {
            true => Speaks::Xmpp(socket, Some(bindings)),
            false => Speaks::Http(socket, Some(bindings)),
        })
    }
}

impl Protocol for Door {
    fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, secured, since, counted } = accepted;
        let limit = self.web.context.router.limits.unauthenticated_time;
        let mut stopping = self.web.context.stopping.clone();
        let told = tokio::select! {
            told = timeout(limit, self.tell_apart(stream)) => told,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let of = |bindings, counted| {
            let counted = Arc::new(counted);
            let told = AtomicBool::new(false);
            Arc::new(Connection { peer, since, bindings, secured, counted, told })
        };
        match told {
            Ok(Ok(Speaks::Xmpp(socket, bindings))) => {
                // Requests have others behind them, a stream has the one who opened it.
                let counted = match counted.is_proxys() {
                    true if !counted.wait_its_turn(peer).await => return,
                    true => counted.another(peer),
                    false => Some(counted),
                };
                let Some(counted) = counted else { return };
                let caller = Caller { peer, since, guard: Box::new(counted) };
                self.streams.serve_on(socket, bindings, caller).await;
            }
            Ok(Ok(Speaks::Http(socket, bindings))) => {
                let connection = of(bindings, counted);
                http::serve(self.web.clone(), self.routes.clone(), socket, connection).await;
            }
            Ok(Ok(Speaks::Cleartext(socket))) => {
                let connection = of(None, counted);
                http::serve(self.web.clone(), self.to_https.clone(), socket, connection).await;
            }
            Ok(Err(error)) => log(peer, &error),
            Err(_) => tracing::info!(%peer, "nothing was said in time on the web's port"),
        }
    }

    /// RFC 6585 §4 has a status for it, which costs a handshake: the cost that the bound protects from.
    async fn refuse(self: Arc<Self>, _: TcpStream) {}
}

/// Browsers open connections ahead and let them go, which is nothing to tell.
fn log(peer: IpAddr, error: &io::Error) {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            tracing::debug!(%peer, %error, "connection without a request");
        }
        _ => tracing::info!(%peer, %error, "TLS handshake failed"),
    }
}

/// Waits for the first byte, and leaves it there.
async fn first_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut byte = [0; 1];
    match stream.peek(&mut byte).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}

fn begins_xml(byte: u8) -> bool {
    matches!(byte, b'<' | b' ' | b'\t' | b'\r' | b'\n')
}

/// Whose word counts on plain HTTP if nobody else is named.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// Enough to see what it is; the rest is read by whom it is for.
const FIRST_BYTES: usize = 64;
