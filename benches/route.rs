//! A 1:1 message on its way through the router to an online resource, and out of its outbox; the
//! outbox alone: `cargo bench --bench route`. The store's thread works beside it and is not in the figure.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use stonechat::base::limits::Limits;
use stonechat::jid::FullJid;
use stonechat::modules::{self, Config};
use stonechat::router::handled_count::HandledCount;
use stonechat::router::outbox::Outbox;
use stonechat::router::registry::{Available, Conflict, Resource};
use stonechat::router::{Origin, Routed, Router};
use stonechat::stanza::{Frame, Stanza};
use stonechat::store::accounts::{self, Creation};
use stonechat::store::ids::AccountId;
use stonechat::store::{Options, Store, Synchronous, Tx};
use tokio::runtime::Runtime;

const MESSAGE: &str = "<message from='romeo@x/orchard' to='juliet@x/balcony' type='chat' \
    id='a7f3c1e0'><body>Neither, fair saint, if either thee dislike &amp; so on.</body></message>";
/// Routed between two looks at the store, within what may wait for it and for the account.
const BATCH: u64 = 500;

/// Who may have a row for the message.
#[derive(Clone, Copy)]
enum Rows {
    /// Nobody: the addressee is anonymous.
    None,
    /// The addressee's mailbox.
    Owed,
    /// Both archives.
    Archived,
}

struct Bench {
    router: Arc<Router>,
    outbox: Arc<Outbox>,
    romeo: AccountId,
    rows: Rows,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new(rows: Rows) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(folder.path().join("bench.db"));
        options.synchronous = Synchronous::Off;
        let store = Store::open(options).unwrap();
        let limits = Limits { offline_messages_max: usize::MAX, ..Limits::default() };
        let limits = Limits { offline_bytes_max: usize::MAX, ..limits };
        let mut config = Config::default();
        config.mam.enabled = matches!(rows, Rows::Archived);
        let router = Router::new(["x".to_owned()], store, Arc::new(limits))
            .with_features(modules::features(modules::ALL, Arc::new(config)));
        let romeo = account(&router.store, "romeo").await;
        let jid = FullJid::parse("juliet@x/balcony").unwrap();
        if !matches!(rows, Rows::None) {
            account(&router.store, "juliet").await;
            router.load(&jid.bare()).await.unwrap();
        }
        let outbox = Arc::new(Outbox::new(1 << 20));
        let frame = Frame::whole("<presence from='juliet@x/balcony'/>".into());
        let mut resource = Resource::new(jid, 1, Arc::clone(&outbox));
        resource.presence = Some(Available { priority: 0, frame });
        router.registry.bind(resource, matches!(rows, Rows::None), Conflict::Replace, 9);
        Self { router: Arc::new(router), outbox, romeo, rows, _folder: folder }
    }

    /// Time of the routing, the taking, and the confirming of all together.
    async fn run(&self, messages: u64) -> Duration {
        let stanza = Stanza::ours(MESSAGE.into()).unwrap();
        let (handled_count, own) = (Arc::<HandledCount>::default(), Arc::new(Outbox::new(1 << 20)));
        let mut spent = Duration::ZERO;
        let mut left = messages;
        while left > 0 {
            let batch = left.min(BATCH);
            left -= batch;
            let begun = Instant::now();
            let owed: Vec<i64> =
                (0..batch).flat_map(|_| self.one(&stanza, &handled_count, &own)).collect();
            self.router.confirm("juliet@x", &owed);
            spent += begun.elapsed();
            self.router.store.barrier().await.unwrap();
        }
        spent
    }

    fn one(
        &self,
        stanza: &Stanza,
        handled_count: &Arc<HandledCount>,
        own: &Arc<Outbox>,
    ) -> Option<i64> {
        let keeper = matches!(self.rows, Rows::Archived).then_some(self.romeo);
        let mut origin = Origin::session(handled_count, own, None, keeper);
        match self.router.route(black_box(stanza), SystemTime::UNIX_EPOCH, &mut origin) {
            Routed::Done => {}
            other => panic!("{other:?}"),
        }
        origin.finish();
        let taken = black_box(self.outbox.take(usize::MAX, usize::MAX));
        taken.batch.front().and_then(|item| item.owed)
    }
}

async fn account(store: &Store, name: &'static str) -> AccountId {
    let make = move |tx: &mut dyn Tx| accounts::create(tx, name, "x", &[], 0);
    match store.write(make).await.unwrap() {
        Creation::Created(id) => id,
        _ => panic!("a new database has no accounts"),
    }
}

fn route(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    for (name, rows) in [
        ("route/no row", Rows::None),
        ("route/owed", Rows::Owed),
        ("route/archived", Rows::Archived),
    ] {
        let bench = runtime.block_on(Bench::new(rows));
        c.bench_function(name, |b| b.iter_custom(|n| runtime.block_on(bench.run(n))));
        runtime.block_on(bench.router.store.close());
    }
}

/// Putting and taking, by one session and by several that push into the same box at once.
fn outbox(c: &mut Criterion) {
    let frame = Frame::whole(MESSAGE.into());
    let outbox = Outbox::new(1 << 30);
    c.bench_function("outbox/put and take", |b| {
        b.iter(|| {
            outbox.push(black_box(frame.clone())).unwrap();
            outbox.take(usize::MAX, usize::MAX)
        });
    });
    for pushers in [1, 4] {
        c.bench_function(&format!("outbox/{pushers} pushers"), |b| {
            b.iter_custom(|n| pushed(&outbox, &frame, n, pushers));
        });
    }
}

/// `n` frames by `pushers` threads, while this one takes them as a session does.
fn pushed(outbox: &Outbox, frame: &Frame, n: u64, pushers: u64) -> Duration {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for pusher in 0..pushers {
            let own = n / pushers + u64::from(pusher < n % pushers);
            scope.spawn(move || {
                for _ in 0..own {
                    outbox.push(frame.clone()).unwrap();
                }
            });
        }
        let mut taken = 0;
        while taken < n {
            taken += black_box(outbox.take(SLICE, usize::MAX)).batch.len() as u64;
        }
    });
    begun.elapsed()
}

/// Bytes that a session takes at once.
const SLICE: usize = 65_536;

criterion_group!(benches, route, outbox);
criterion_main!(benches);
