//! Streams that other servers open over TCP: STARTTLS inside, or TLS from the first byte (XEP-0368).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::acceptor::{Accepted, Protocol};
use super::c2s::ListenerKind;
use super::dial::socket::{PeerSocket, Side};
use super::proxies::Proxies;
use super::tls::peer::PeerTls;
use crate::base::id::{self, OsRng};
use crate::base::limits::Limits;
use crate::peer::Federation;
use crate::peer::incoming::{self, NewPeer};
use crate::session::link::Guard;
use crate::stream::error::StreamError;
use crate::stream::framing::{Framing, Greeting, Item};
use crate::stream::sasl::throttle::Key;
use crate::xml::ns;

/// The streams of a listener.
#[derive(Clone)]
pub struct PeerStreams {
    /// What all listeners share.
    pub door: Arc<PeerDoor>,
    /// How connections begin here.
    pub kind: ListenerKind,
}

/// What all listeners for servers share.
pub struct PeerDoor {
    /// The certificates that are shown and believed.
    pub tls: PeerTls,
    /// Times, and the sizes of what is read.
    pub limits: Arc<Limits>,
    /// The domain in whose name a stream is refused.
    pub host: String,
    /// The proxies before the listeners.
    pub proxies: Proxies,
    /// Those that are not authenticated.
    pub strangers: Arc<Strangers>,
    /// True when the server stops.
    pub stopping: watch::Receiver<bool>,
    /// What serves them.
    pub federation: Arc<Federation>,
}

/// Counts the streams that are not authenticated yet: whoever they may be, they have a small corner. When it is full,
/// whoever has been in it for longest leaves, so that those who only sit there keep nobody out.
#[derive(Debug)]
pub struct Strangers {
    /// In all; 0: no bound.
    max: usize,
    /// Of one address (for IPv6, of one /64 network); 0: no bound.
    per_address_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// By when they came, with what ends them.
    all: BTreeMap<u64, Arc<End>>,
    /// How many came so far.
    came: u64,
    addresses: HashMap<Key, usize>,
    /// Whether the log says that there are too many: once until there are fewer.
    told: bool,
}

/// Ends one of them, as long as it is one.
#[derive(Debug, Default)]
struct End {
    comes: Notify,
    is_known: AtomicBool,
}

impl End {
    async fn comes(&self) {
        self.comes.notified().await;
        if self.is_known.load(Ordering::Relaxed) {
            // Sent away and authenticated at once: it stays.
            std::future::pending::<()>().await;
        }
    }
}

impl Strangers {
    /// None is there yet.
    pub fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_address_max, counts: Mutex::default() })
    }

    /// Counts one more, until what is given back is dropped; `None` beyond the bound of an address. Beyond that of all
    /// the oldest ends.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Stranger> {
        let key = Key::from(peer);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = counts.addresses.get(&key).copied().unwrap_or(0);
        let beyond = |count: usize, max: usize| max > 0 && count >= max;
        let (full, too_near) =
            (beyond(counts.all.len(), self.max), beyond(of_address, self.per_address_max));
        if (full || too_near) && !std::mem::replace(&mut counts.told, true) {
            tracing::info!(
                %peer, all = counts.all.len(), of_address,
                "too many servers connect that are not authenticated (s2s.streams_unauthenticated_max, \
                 s2s.streams_unauthenticated_per_ip_max)"
            );
        }
        if too_near {
            return None;
        }
        // It leaves the address's count when it has ended, which is at once.
        if full && let Some((_, oldest)) = counts.all.pop_first() {
            oldest.comes.notify_one();
        }
        let (number, end) = (counts.came, Arc::new(End::default()));
        counts.came += 1;
        counts.all.insert(number, end.clone());
        *counts.addresses.entry(key.clone()).or_default() += 1;
        Some(Stranger { strangers: self.clone(), key, number, end })
    }
}

/// One stream that is not authenticated.
pub struct Stranger {
    strangers: Arc<Strangers>,
    key: Key,
    number: u64,
    end: Arc<End>,
}

impl Stranger {
    /// Ends when it has to make room; never, once it is no stranger any more (it is dropped).
    pub fn sent_away(&self) -> impl Future<Output = ()> + Send + use<> {
        let end = self.end.clone();
        async move { end.comes().await }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.end.is_known.store(true, Ordering::Relaxed);
        let mut counts = self.strangers.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever was sent away is not counted any more.
        if counts.all.remove(&self.number).is_some() {
            counts.told = false;
        }
        if let Some(count) = counts.addresses.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.addresses.remove(&self.key);
            }
        }
    }
}

impl PeerStreams {
    async fn secure(&self, socket: PeerSocket, peer: IpAddr) -> Option<Secured> {
        let mut stopping = self.door.stopping.clone();
        let limit = self.door.limits.unauthenticated_time;
        let secured = tokio::select! {
            secured = timeout(limit, socket.direct("", "")) => secured,
            _ = stopping.wait_for(|stopping| *stopping) => return None,
        };
        match secured {
            Ok(Ok((socket, secured))) => return Some((socket, secured)),
            Ok(Err(error)) => tracing::info!(%peer, %error, "a server's TLS handshake failed"),
            Err(_) => tracing::info!(%peer, "a server's TLS handshake took too long"),
        }
        None
    }

    /// RFC 6120 §4.9.3.14 and §4.9.3.17. With direct TLS there is no error, because a handshake is the cost that the
    /// bound protects from.
    async fn say(
        &self,
        stream: &mut TcpStream,
        failure: StreamError,
        text: &'static str,
    ) -> io::Result<()> {
        if self.kind == ListenerKind::Direct {
            return Ok(());
        }
        let header = Item::Header(Greeting {
            id: id::random(&mut OsRng),
            from: self.door.host.clone(),
            to: None,
        });
        let mut framing = Framing::tcp(ns::SERVER, &self.door.limits);
        let mut bytes = Vec::new();
        for item in [header, Item::Failure(failure.text(text)), Item::Close] {
            framing.write(item, |some| bytes.extend_from_slice(&some));
        }
        stream.write_all(&bytes).await
    }
}

type Secured = (PeerSocket, crate::session::transport::PeerSecured);

impl Protocol for PeerStreams {
    fn proxies(&self) -> &Proxies {
        &self.door.proxies
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted { mut stream, peer, since, counted, .. } = accepted;
        let Some(stranger) = self.door.strangers.admit(peer) else {
            let text = "too many streams that are not authenticated";
            let said = self.say(&mut stream, StreamError::ResourceConstraint, text);
            // The connection ends whether the error is read or not.
            let _ = timeout(REFUSAL_TIME, Box::pin(said)).await;
            return;
        };
        let sent_away = stranger.sent_away();
        tokio::select! {
            biased;
            () = Box::pin(self.admitted(stream, peer, since, stranger, Box::new(counted))) => {}
            () = sent_away => tracing::debug!(%peer, "a server that is not authenticated makes room"),
        }
    }

    async fn refuse(self: Arc<Self>, mut stream: TcpStream) {
        let text = "too many streams from your address";
        // The connection ends whether the error is read or not.
        let _ = self.say(&mut stream, StreamError::PolicyViolation, text).await;
    }
}

impl PeerStreams {
    /// Serves a stream to its end; as long as it is a stranger's, it may be dropped.
    async fn admitted(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        since: Instant,
        stranger: Stranger,
        counted: Guard,
    ) {
        let loss_time = self.door.limits.ping_timeout;
        let socket = PeerSocket::plain(stream, self.door.tls.clone(), Side::Theirs, loss_time);
        let (socket, secured) = match self.kind {
            ListenerKind::StartTls => (socket, None),
            ListenerKind::Direct => match Box::pin(self.secure(socket, peer)).await {
                Some((socket, secured)) => (socket, Some(secured)),
                None => return,
            },
        };
        let transport = Box::new(socket);
        let connection = NewPeer { transport, peer, secured, since, stranger: Box::new(stranger) };
        let federation = self.door.federation.clone();
        incoming::serve(federation, connection, counted).await;
    }
}

const REFUSAL_TIME: std::time::Duration = std::time::Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_counted_in_all_and_by_address() {
        let strangers = Strangers::new(3, 2);
        let at = |last| IpAddr::from([192, 0, 2, last]);
        let first = strangers.admit(at(1)).unwrap();
        let second = strangers.admit(at(1)).unwrap();
        assert!(strangers.admit(at(1)).is_none(), "two of an address");
        let other = strangers.admit(at(2)).unwrap();
        let third = strangers.admit(at(3)).unwrap();
        let is_sent_away = |one: &Stranger| {
            use std::future::Future;
            let waker = std::task::Waker::noop();
            let end = std::pin::pin!(one.end.comes());
            end.poll(&mut std::task::Context::from_waker(waker)).is_ready()
        };
        assert!(is_sent_away(&first) && !is_sent_away(&second), "three in all: the oldest goes");
        assert!(strangers.admit(at(1)).is_none(), "it counts until it is gone");
        drop(first);
        // Whoever is authenticated is no stranger any more, and is not sent away.
        drop(second);
        let fourth = strangers.admit(at(1)).unwrap();
        assert!(!is_sent_away(&other) && !is_sent_away(&third));
        drop((other, third, fourth));
        let counts = strangers.counts.lock().unwrap();
        assert!(counts.all.is_empty() && counts.addresses.is_empty());
    }

    #[test]
    fn zero_is_no_bound() {
        let strangers = Strangers::new(0, 0);
        let all: Vec<_> = (0..500).map(|_| strangers.admit(IpAddr::from([192, 0, 2, 1]))).collect();
        assert!(all.iter().all(Option::is_some));
    }

    /// One that reaches nobody.
    async fn federation() -> Arc<Federation> {
        use crate::peer::dial::{Attempts, Dialer};
        use crate::peer::{Rules, Settings};

        struct Nobody;
        impl Dialer for Nobody {
            fn dial(&self, _: &str, _: &str) -> Box<dyn Attempts> {
                unreachable!()
            }
        }
        let (_folder, context) = crate::session::tests::server().await;
        let settings = Arc::new(Settings::default());
        let rules = Arc::new(Rules::new(settings.clone()));
        let domains = vec!["a.example".to_owned()];
        Arc::new(Federation::new(context, settings, rules, Arc::new(Nobody), domains, b"secret"))
    }

    /// RFC 6120 §4.9.3.17: who is one too many is told in a stream between servers.
    #[tokio::test]
    async fn a_stranger_too_many_is_refused() {
        use crate::net::acceptor::Acceptor;
        use crate::net::tls::Tls;
        use crate::net::tls::peer::PeerTrust;
        use crate::net::tls::testing::{Authority, settings};
        use crate::router::task::Tasks;
        use tokio::io::AsyncReadExt;

        let folder = tempfile::tempdir().unwrap();
        let host = Authority::new().put(folder.path(), "a.example", &["a.example"]);
        let tls = Tls::load(settings(folder.path(), vec![host])).unwrap();
        let (stop, stopping) = watch::channel(false);
        let limits = Arc::new(Limits::default());
        let door = Arc::new(PeerDoor {
            tls: PeerTls::new(tls, PeerTrust::default()).unwrap(),
            limits: limits.clone(),
            host: "a.example".to_owned(),
            proxies: Proxies::default(),
            strangers: Strangers::new(0, 1),
            stopping: stopping.clone(),
            federation: federation().await,
        });
        let _first = door.strangers.admit(IpAddr::from([127, 0, 0, 1])).unwrap();
        let acceptor = Acceptor::new(limits, Tasks::default(), stopping);
        for (kind, told) in [(ListenerKind::StartTls, true), (ListenerKind::Direct, false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let streams = Arc::new(PeerStreams { door: door.clone(), kind });
            tokio::spawn(acceptor.clone().accept(listener, streams));
            let mut text = String::new();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text.contains("<resource-constraint"), told, "{text}");
            assert_eq!(text.contains("jabber:server"), told, "{text}");
        }
        drop(stop);
    }
}
