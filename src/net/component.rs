//! Streams that components open (XEP-0114): without TLS, on this machine or a network of one's own, or TLS from the
//! first byte.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::acceptor::{Accepted, Protocol};
use super::c2s::ListenerKind;
use super::dial::socket::{PeerSocket, Side};
use super::proxies::Proxies;
use super::s2s::{Stranger, Strangers};
use super::tls::peer::PeerTls;
use crate::base::id::{self, OsRng};
use crate::base::limits::Limits;
use crate::peer::component::{self, Components, NewComponent};
use crate::session::link::Guard;
use crate::stream::error::StreamError;
use crate::stream::framing::{Framing, Greeting, Item};
use crate::xml::ns;

/// The streams of a listener.
#[derive(Clone)]
pub struct ComponentStreams {
    /// What all listeners share.
    pub door: Arc<ComponentDoor>,
    /// How connections begin here: without TLS, or with it.
    pub kind: ListenerKind,
}

/// What all listeners for components share.
pub struct ComponentDoor {
    /// The certificates that are shown.
    pub tls: PeerTls,
    /// Times, and the sizes of what is read.
    pub limits: Arc<Limits>,
    /// Those that are not authenticated.
    pub strangers: Arc<Strangers>,
    /// True when the server stops.
    pub stopping: watch::Receiver<bool>,
    /// None: whoever connects is counted under its own address.
    pub proxies: Proxies,
    /// What serves them.
    pub components: Arc<Components>,
}

impl ComponentStreams {
    /// RFC 6120 §4.9.3.14 and §4.9.3.17. With TLS there is no error, because a handshake is the cost that the bound
    /// protects from.
    async fn say(&self, stream: &mut TcpStream, failure: StreamError) -> io::Result<()> {
        if self.kind == ListenerKind::Direct {
            return Ok(());
        }
        let id = id::random(&mut OsRng);
        let header = Item::Header(Greeting { id, from: String::new(), to: None });
        let mut framing = Framing::tcp(ns::COMPONENT, &self.door.limits);
        let mut bytes = Vec::new();
        let failure = failure.text("too many connections that are not authenticated");
        for item in [header, Item::Failure(failure), Item::Close] {
            framing.write(item, |some| bytes.extend_from_slice(&some));
        }
        stream.write_all(&bytes).await
    }
}

impl Protocol for ComponentStreams {
    fn proxies(&self) -> &Proxies {
        &self.door.proxies
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted { mut stream, peer, since, counted, .. } = accepted;
        let Some(stranger) = self.door.strangers.admit(peer) else {
            let said = self.say(&mut stream, StreamError::ResourceConstraint);
            // The connection ends whether the error is read or not.
            let _ = timeout(REFUSAL_TIME, said).await;
            return;
        };
        let sent_away = stranger.sent_away();
        tokio::select! {
            biased;
            () = Box::pin(self.admitted(stream, peer, since, stranger, Box::new(counted))) => {}
            () = sent_away => tracing::debug!(%peer, "a component that is not authenticated makes room"),
        }
    }

    async fn refuse(self: Arc<Self>, mut stream: TcpStream) {
        // The connection ends whether the error is read or not.
        let _ = self.say(&mut stream, StreamError::PolicyViolation).await;
    }
}

impl ComponentStreams {
    /// Serves a stream to its end; as long as it is a stranger's, it may be dropped.
    async fn admitted(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        since: Instant,
        stranger: Stranger,
        counted: Guard,
    ) {
        let limits = &self.door.limits;
        let socket =
            PeerSocket::plain(stream, self.door.tls.clone(), Side::Theirs, limits.ping_timeout);
        let (socket, tls) = match self.kind {
            ListenerKind::StartTls => (socket, ""),
            ListenerKind::Direct => {
                let mut stopping = self.door.stopping.clone();
                let secured = tokio::select! {
                    secured = timeout(limits.unauthenticated_time, socket.direct("", "")) => secured,
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                };
                match secured {
                    Ok(Ok((socket, secured))) => (socket, secured.version),
                    Ok(Err(error)) => {
                        return tracing::info!(%peer, %error, "a component's TLS handshake failed");
                    }
                    Err(_) => {
                        return tracing::info!(%peer, "a component's TLS handshake took too long");
                    }
                }
            }
        };
        let (transport, stranger) = (Box::new(socket), Box::new(stranger));
        let connection = NewComponent { transport, peer, tls, since, stranger };
        component::serve(self.door.components.clone(), connection, counted).await;
    }
}

const REFUSAL_TIME: Duration = Duration::from_millis(200);
