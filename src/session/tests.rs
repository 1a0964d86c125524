//! A session whose code panics: it ends, its place is free, and nobody else notices.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::SystemTime;

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};

use super::binding::Binding;
use super::run::{self, Session, now};
use super::transport::StartTls;
use super::wire::Wire;
use super::*;
use crate::base::limits::Limits;
use crate::jid::FullJid;
use crate::modules::api::{Cx, IqRoute, Module, Target, Who};
use crate::router::outbox::Outbox;
use crate::router::registry::{Bound, Resource};
use crate::stanza::StanzaError;
use crate::stanza::iq::IqType;
use crate::store::accounts;

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
    gone: Some(|_, resource| assert_ne!(resource.jid.resource(), "twice", "on the way out")),
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

async fn server() -> (tempfile::TempDir, Arc<Context>) {
    let (folder, store) = crate::store::testing::store();
    store.write(|tx| accounts::create(tx, "a", "x", &[], 0)).await.unwrap();
    let limits = Arc::new(Limits::default());
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
    let context = Context {
        router: Arc::new(Router::new(["x".to_owned()], store, limits)),
        pipeline: Pipeline::build(&[&BROKEN], &config, SystemTime::UNIX_EPOCH),
        config,
        policy: Arc::new(policy),
        conflict: Conflict::Replace,
        throttle: Mutex::new(Throttle::new(9)),
        workers: Semaphore::new(1),
        stopping: watch::channel(false).1,
        saving: watch::channel(false).1,
        doors: Arc::default(),
        resume_location: None,
    };
    (folder, Arc::new(context))
}

/// Starts a session; the client's end of its connection.
async fn session(context: &Arc<Context>, resource: &str) -> DuplexStream {
    let router = &context.router;
    let jid = FullJid::parse(&format!("a@x/{resource}")).unwrap();
    router.load(&jid.bare()).await.unwrap();
    let outbox = Arc::new(Outbox::new(1 << 20));
    let mut who = Who {
        jid: jid.clone(),
        account: None,
        session: router.next_session(),
        outbox: Some(outbox.clone()),
        home: None,
        peer: Ipv4Addr::LOCALHOST.into(),
        secure: true,
        by_token: false,
    };
    let place = Resource::new(jid, who.session, outbox);
    let bound = router.registry.bind(place, false, Conflict::Replace, 9);
    let Bound::Done(home, None) = bound else { panic!("{bound:?}") };
    who.home = Some(home);
    let cx = Cx {
        who,
        now: SystemTime::UNIX_EPOCH,
        config: context.config.clone(),
        store: router.store.clone(),
        router: router.clone(),
        about: context.pipeline.clone(),
    };
    let (mut client, pipe) = duplex(1 << 16);
    let mut wire = Wire::new(Box::new(Pipe(pipe)), &router.limits);
    let header = "<stream:stream xmlns='jabber:client' \
                  xmlns:stream='http://etherx.jabber.org/streams' to='x' version='1.0'>";
    client.write_all(header.as_bytes()).await.unwrap();
    wire.io(true).await.unwrap();
    assert!(wire.piece().unwrap().is_some());
    let session = Session::new(Binding::new(context.clone(), cx), wire, None, None, now());
    router.tasks.spawn("session", run::run(Box::new(session)));
    client
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
        // The lock that was held is whole, the place is free, and no task is counted for ever.
        let left = context.router.entry("a@x", |user| user.resources.len());
        assert_eq!(left, Some(0), "{what}");
    }
}

/// What each session costs before it has anything: its task and its fields. Idle ones are many.
#[test]
fn a_sessions_task_is_small() {
    fn room<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }
    for (what, bytes, most) in [
        ("the future of run::run", room(run::run), 672),
        ("Session", size_of::<run::Session>(), 672),
    ] {
        assert!(
            bytes <= most,
            "{what} has {bytes} bytes, and {most} are allowed. What is rare or ends soon goes into a \
             box; a future that is awaited by value has room for all it ever awaits, and twice for \
             what it was given (docs/performance.md, \"Memory\")",
        );
    }
}
