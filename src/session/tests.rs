//! Sessions over a pipe. A session whose code panics ends, its resource is free, and no other session
//! notices. Also stanzas that wait for the store when their session ends or their recipient's entry is
//! evicted.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::{Semaphore, watch};

use super::binding::Binding;
use super::bound::Session;
use super::clock::now;
use super::link::Link;
use super::transport::{StartTls, Transport};
use super::wire::Wire;
use super::{Context, run};
use crate::base::limits::Limits;
use crate::jid::{BareJid, FullJid};
use crate::modules::api::{Channel, Client, IqRoute, Module, Target, Via};
use crate::modules::{self, Config, Pipeline};
use crate::router::handled_count::HandledCount;
use crate::router::outbox::Outbox;
use crate::router::registry::{AccountStatus, BindOutcome, Conflict, Loaded, Resource};
use crate::router::{Origin, Routed, Router};
use crate::stanza::iq::IqType;
use crate::stanza::{Stanza, StanzaError};
use crate::store::{Grant, Store, accounts};
use crate::stream::c2s::Policy;
use crate::stream::framing::Framing;
use crate::stream::sasl::throttle::Throttle;
use crate::xml::ns;

/// Panics wherever it is asked to.
const BROKEN: Module = Module {
    name: "broken",
    iqs: &[
        IqRoute { name: "call", handler: |_, _| panic!("a handler is called"), ..ROUTE },
        IqRoute { name: "wait", handler: |_, _| Box::pin(async { panic!("it waits") }), ..ROUTE },
        IqRoute {
            name: "lock",
            handler: |cx, _| {
                cx.own(|_| panic!("a lock is held"));
                Box::pin(std::future::ready(Err(StanzaError::bad_request())))
            },
            ..ROUTE
        },
    ],
    resource_removed: Some(|_, resource| {
        assert_ne!(resource.jid.resource(), "twice", "on the way out")
    }),
    ..Module::EMPTY
};

const ROUTE: IqRoute = IqRoute {
    ty: IqType::Get,
    ns: "urn:broken",
    name: "",
    targets: &[Target::Server],
    handler: |_, _| Box::pin(std::future::ready(Err(StanzaError::bad_request()))),
};

struct Pipe(DuplexStream);

impl Transport for Pipe {
    fn notices_loss(&self) -> bool {
        true
    }

    fn start_tls<'a>(&'a mut self, _: &'a str) -> StartTls<'a> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

pub(crate) async fn server() -> (tempfile::TempDir, Arc<Context>) {
    let (folder, store) = crate::store::testing::store();
    (folder, serve(store, Limits::default()).await)
}

async fn serve(store: Store, limits: Limits) -> Arc<Context> {
    for name in ["a", FRIEND] {
        store.write(move |tx| accounts::create(tx, name, "x", &[], 0)).await.unwrap();
    }
    let limits = Arc::new(limits);
    let config = Arc::new(Config::default());
    let policy = Policy {
        hosts: vec!["x".to_owned()],
        require_tls: true,
        mechanisms: Vec::new(),
        iterations: 1,
        secret: [0; 32],
        limits: limits.clone(),
        authenticate_features: String::new(),
        bind_features: String::new(),
        inline: crate::stream::features::Inline::default(),
        offers: crate::stream::c2s::Offers::default(),
    };
    let features = modules::features(modules::ALL, config.clone());
    let context = Context {
        router: Arc::new(Router::new(["x".to_owned()], store, limits).with_features(features)),
        pipeline: Pipeline::build(&[&BROKEN], &config, SystemTime::UNIX_EPOCH),
        config,
        policy: Arc::new(policy),
        conflict: Conflict::Replace,
        throttle: Mutex::new(Throttle::new(9)),
        workers: Semaphore::new(1),
        stopping: watch::channel(false).1,
        saving: watch::channel(false).1,
        resume_table: Arc::default(),
        resume_location: None,
        counts: Default::default(),
    };
    Arc::new(context)
}

/// Starts a session; returns the client's end of its connection.
async fn session(context: &Arc<Context>, resource: &str) -> DuplexStream {
    counted_session(context, resource).await.0
}

/// Like [`session`], but also returns the handled count of its stream.
async fn counted_session(
    context: &Arc<Context>,
    resource: &str,
) -> (DuplexStream, Arc<HandledCount>) {
    let router = &context.router;
    let jid = FullJid::parse(&format!("a@x/{resource}")).unwrap();
    router.load(&jid.bare()).await.unwrap();
    let outbox = Arc::new(Outbox::new(1 << 20));
    let session = router.next_session();
    let resource = Resource::new(jid.clone(), session, outbox.clone());
    let bound = router.registry.bind(resource, false, Conflict::Replace, 9);
    let BindOutcome::Done(home, None) = bound else { panic!("{bound:?}") };
    let channel =
        Channel { peer: Ipv4Addr::LOCALHOST.into(), secure: true, by_token: false, via: Via::Tcp };
    let asker = Client { jid, account: None, session, outbox, home, channel };
    let (mut client, pipe) = duplex(PIPE_BYTES);
    let pipe: Box<dyn Transport> = Box::new(Pipe(pipe));
    let mut wire = Wire::new(pipe, Framing::tcp(ns::CLIENT, &router.limits));
    let header = "<stream:stream xmlns='jabber:client' \
                  xmlns:stream='http://etherx.jabber.org/streams' to='x' version='1.0'>";
    client.write_all(header.as_bytes()).await.unwrap();
    wire.io(true).await.unwrap();
    assert!(wire.piece().unwrap().is_some());
    let link = Link::new(wire, None, &router.limits, now());
    let session = Session::new(Binding::new(context.clone(), asker), link, now());
    let handled_count = session.handled_count.clone();
    router.tasks.spawn("session", run::run(Box::new(session)));
    (client, handled_count)
}

/// How many bytes a connection takes while its other end does not read.
const PIPE_BYTES: usize = 4_096;
/// The recipient of the messages.
const FRIEND: &str = "somebody-with-a-long-name";

/// Waits until `so` returns true.
async fn until(so: impl Fn() -> bool) {
    let look = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), look).await.expect("it never is so");
}

/// A server with no room for another write except for those that were promised it, and a message of a session
/// that waits for its turn.
struct Crowd {
    _folder: tempfile::TempDir,
    context: Arc<Context>,
    promised: Vec<Grant>,
    client: DuplexStream,
    handled_count: Arc<HandledCount>,
}

impl Crowd {
    async fn new() -> Self {
        let (folder, store) = crate::store::testing::store_with(|options| options.queue_max = 8);
        let context = serve(store, Limits::default()).await;
        let (mut client, handled_count) = counted_session(&context, "r").await;
        let mut promised = Vec::new();
        for _ in 0..4 {
            promised.push(context.router.store.room(0).await.unwrap());
        }
        let crowd = Self { _folder: folder, context, promised, client: duplex(1).0, handled_count };
        crowd.another().await;
        // Stream management is on, so that it is read while a handler is pending.
        let message = format!(
            "<enable xmlns='urn:xmpp:sm:3'/><message to='{FRIEND}@x' type='chat'><body>x</body></message>"
        );
        client.write_all(message.as_bytes()).await.unwrap();
        until(|| crowd.waiting() == 2).await;
        Self { client, ..crowd }
    }

    fn waiting(&self) -> usize {
        self.context.router.store.load().waiting
    }

    /// Adds a task that waits for room, and then holds it forever.
    async fn another(&self) {
        let (store, waiting) = (self.context.router.store.clone(), self.waiting());
        tokio::spawn(async move {
            let _room = store.room(0).await;
            std::future::pending::<()>().await;
        });
        until(|| self.waiting() == waiting + 1).await;
    }
}

/// promise.md 2: a client that sends but reads nothing is cut, and the messages sent to it stay owed.
#[tokio::test]
async fn who_takes_nothing_is_cut() {
    let (_folder, store) = crate::store::testing::store();
    let limits = Limits { ping_timeout: Duration::from_millis(50), ..Limits::default() };
    let context = serve(store, limits).await;
    let mut client = session(&context, "r").await;
    // This many messages trigger a ping at once, which does not get through.
    let body = "x".repeat(500);
    let message =
        format!("<message from='n@x/1' to='a@x/r' type='chat'><body>{body}</body></message>");
    let message = Stanza::ours(message.into()).unwrap();
    for _ in 0..40 {
        let routed = context.router.route(&message, SystemTime::now(), &mut Origin::server());
        assert!(matches!(routed, Routed::Done), "{routed:?}");
    }
    let sessions = || context.router.entry("a@x", |entry| entry.resources.len());
    let talk = async {
        while sessions() == Some(1) {
            let _ = client.write_all(b" ").await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), talk).await.expect("it is served for ever");
    let waits = context.router.entry("a@x", |entry| entry.owed.waiting());
    assert_eq!((sessions(), waits), (Some(0), Some(40)));
}

/// promise.md 6: a stanza that still waits for its turn when its session ends is never routed, nor counted as
/// handled.
#[tokio::test]
async fn what_was_not_routed_when_its_session_ended_is_not_handled() {
    let Crowd { _folder, context, promised, client, handled_count } = Crowd::new().await;
    drop(client);
    until(|| context.router.entry("a@x", |entry| entry.resources.len()) == Some(0)).await;
    drop(promised);
    context.router.tasks.drained().await;
    assert_eq!(
        (context.router.store.load().waiting, handled_count.issued(), handled_count.handled()),
        (0, 1, 0)
    );
}

/// A message whose turn has come keeps its turn when the recipient's entry was evicted meanwhile and is read
/// again.
#[tokio::test]
async fn room_for_a_message_outlasts_the_reading_of_its_addressee() {
    let mut crowd = Crowd::new().await;
    crowd.another().await;
    let registry = &crowd.context.router.registry;
    // Lighter than the friend's entry, which is evicted before any of them.
    for n in 0..40_000 {
        let bare = BareJid::parse(&format!("n{n}@x")).unwrap();
        registry.begin_load(&bare);
        registry.end_load(&bare, AccountStatus::Missing, Loaded::default());
    }
    assert!(crowd.context.router.entry(&format!("{FRIEND}@x"), |_| ()).is_none());
    // Frees room for the task that came first, and for the message.
    crowd.promised.truncate(2);
    until(|| crowd.handled_count.handled() == 1).await;
}

#[tokio::test]
async fn a_panic_ends_one_session_and_frees_its_place() {
    let (_folder, context) = server().await;
    for (resource, what) in [("r", "call"), ("r", "wait"), ("r", "lock"), ("twice", "call")] {
        let mut client = session(&context, resource).await;
        let iq = format!("<iq type='get' id='1' to='x'><{what} xmlns='urn:broken'/></iq>");
        client.write_all(iq.as_bytes()).await.unwrap();
        let mut last = String::new();
        client.read_to_string(&mut last).await.unwrap();
        // RFC 6120 §4.9.3.8
        assert!(
            last.contains("internal-server-error") && last.ends_with("</stream:stream>"),
            "{last}"
        );
        drop(client);
        context.router.tasks.drained().await;
        // The lock that was held is not poisoned, the resource is free, and no task is counted forever.
        let left = context.router.entry("a@x", |entry| entry.resources.len());
        assert_eq!(left, Some(0), "{what}");
    }
}

/// The memory that each session costs before it holds anything: its task and its fields. Most sessions are
/// idle.
#[test]
fn a_sessions_task_is_small() {
    fn room<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }
    for (what, bytes, most) in
        [("the future of run::run", room(run::run), 672), ("Session", size_of::<Session>(), 672)]
    {
        assert!(
            bytes <= most,
            "{what} has {bytes} bytes, and {most} are allowed. What is rare or ends soon goes into a \
             box; a future that is awaited by value has room for all it ever awaits, and twice for \
             what it was given (docs/performance.md, \"Memory\")",
        );
    }
}
