//! The rows of the table, and how each is measured.

use super::args::Args;
use super::chat::Plan;
use super::fault::Res;
use super::floor::Floor;
use super::results::Row;
use super::target::Security::{self, Bosh, Plain, Tls, WebSocket};
use super::target::Target;
use super::{
    chat, fair, fast, feed, full, grow, hall, idle, login, offline, presence, process, ready,
    resume, room, storm, syscalls, upload,
};
use std::sync::Arc;
use std::time::Duration;

/// A workload.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its name in the file of figures.
    pub name: &'static str,
    /// Which servers are measured: those set up for this.
    pub group: &'static str,
    /// What is done.
    pub work: Work,
}

/// What is done.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Memory of the fresh server.
    Fresh,
    /// Memory of ready sessions.
    Ready(Security),
    /// Logins.
    Login(Security),
    /// Pairs that chat, with so many messages under way.
    Chat(Security, usize, u64),
    /// The same with a hint that nothing is to be stored (XEP-0334).
    Transient(Security, usize, u64),
    /// The same with XEP-0198.
    Managed(Security, usize, u64),
    /// Chat without XEP-0198, whose ends answer pings or do not.
    Unmanaged { mute: bool, pairs: usize, window: u64 },
    /// Senders that write so many messages at once.
    Storm { security: Security, senders: usize, messages: u64, managed: bool, mute: bool },
    /// Offline messages, stored and delivered.
    Offline,
    /// Resumptions.
    Resume(Security),
    /// Logins by token, in one round trip (TLS).
    Fast(fast::Wanted),
    /// Changes of presence.
    Presence,
    /// News of one account to its contacts.
    Feed,
    /// So many rooms of so many occupants.
    Room(Security, usize, usize),
    /// Logins of an account that has much, beside one that has nothing.
    Full(Security),
    /// Chat beside idle sessions.
    Crowd,
    /// Logins and chat with so many accounts in the database.
    Accounts,
    /// Pairs that chat, with a rest before each answer, while one session floods.
    Flood(Duration),
    /// Pairs that chat while somebody does not read.
    SlowReader,
    /// Ten thousand rooms.
    Rooms,
    /// A file of 100 MB up and down.
    Upload,
    /// Pairs that chat while a thousand files are put.
    Uploads,
    /// A small room beside a big one.
    Hall,
    /// System calls of a chat of five pairs with so many under way.
    Syscalls(u64),
}

/// All, in their order.
pub const ROWS: &[Spec] = &[
    Spec { name: "rss", group: "fresh", work: Work::Fresh },
    Spec { name: "ready-plain", group: "fresh", work: Work::Ready(Plain) },
    Spec { name: "ready-tls", group: "fresh", work: Work::Ready(Tls) },
    Spec { name: "login-plain", group: "bare", work: Work::Login(Plain) },
    Spec { name: "login-tls", group: "bare", work: Work::Login(Tls) },
    Spec { name: "chat-plain-50x4", group: "bare", work: Work::Chat(Plain, 50, 4) },
    Spec { name: "chat-tls-50x4", group: "bare", work: Work::Chat(Tls, 50, 4) },
    Spec { name: "chat-plain-5x1", group: "bare", work: Work::Chat(Plain, 5, 1) },
    Spec { name: "chat-tls-5x1", group: "bare", work: Work::Chat(Tls, 5, 1) },
    Spec { name: "transient-plain-50x4", group: "bare", work: Work::Transient(Plain, 50, 4) },
    Spec { name: "transient-plain-5x1", group: "bare", work: Work::Transient(Plain, 5, 1) },
    Spec { name: "archive-plain-50x4", group: "archive", work: Work::Managed(Plain, 50, 4) },
    Spec { name: "archive-tls-50x4", group: "archive", work: Work::Managed(Tls, 50, 4) },
    Spec { name: "archive-plain-5x1", group: "archive", work: Work::Managed(Plain, 5, 1) },
    Spec { name: "offline", group: "bare", work: Work::Offline },
    Spec { name: "offline-durable", group: "durable", work: Work::Offline },
    Spec { name: "resume-plain", group: "bare", work: Work::Resume(Plain) },
    Spec { name: "resume-tls", group: "bare", work: Work::Resume(Tls) },
    Spec { name: "login-fast", group: "bare", work: Work::Fast(fast::Wanted::Bound) },
    Spec { name: "resume-fast", group: "bare", work: Work::Fast(fast::Wanted::Resumed) },
    Spec { name: "presence", group: "bare", work: Work::Presence },
    Spec { name: "room-plain-5x20", group: "bare", work: Work::Room(Plain, 5, 20) },
    Spec { name: "room-tls-5x20", group: "bare", work: Work::Room(Tls, 5, 20) },
    Spec { name: "room-plain-1x200", group: "bare", work: Work::Room(Plain, 1, 200) },
    Spec { name: "room-idle", group: "fresh", work: Work::Rooms },
    Spec { name: "room-plain-1x1000", group: "bare", work: Work::Room(Plain, 1, 1_000) },
    Spec { name: "web-tls-50x4", group: "web", work: Work::Chat(Tls, 50, 4) },
    Spec { name: "web-ws-50x4", group: "web", work: Work::Chat(WebSocket, 50, 4) },
    Spec { name: "web-tls-5x1", group: "web", work: Work::Chat(Tls, 5, 1) },
    Spec { name: "web-ws-5x1", group: "web", work: Work::Chat(WebSocket, 5, 1) },
    Spec { name: "web-bosh-5x1", group: "web", work: Work::Chat(Bosh, 5, 1) },
    Spec { name: "web-bosh-50x1", group: "web", work: Work::Chat(Bosh, 50, 1) },
    Spec { name: "web-upload", group: "files", work: Work::Upload },
    Spec { name: "web-uploads", group: "uploads", work: Work::Uploads },
    Spec { name: "web-login", group: "web", work: Work::Login(WebSocket) },
    Spec { name: "ready-ws", group: "web", work: Work::Ready(WebSocket) },
    Spec { name: "feed", group: "news", work: Work::Feed },
    Spec { name: "full-plain", group: "full", work: Work::Full(Plain) },
    Spec { name: "full-tls", group: "full", work: Work::Full(Tls) },
    Spec { name: "syscalls-5x1", group: "bare", work: Work::Syscalls(1) },
    Spec { name: "syscalls-5x4", group: "bare", work: Work::Syscalls(4) },
    Spec { name: "grow-accounts-few", group: "few", work: Work::Accounts },
    Spec { name: "grow-accounts-many", group: "many", work: Work::Accounts },
    Spec { name: "grow-sessions", group: "crowd", work: Work::Crowd },
    Spec { name: "fair-flood", group: "fair", work: Work::Flood(Duration::ZERO) },
    Spec { name: "fair-flood-limits", group: "limits", work: Work::Flood(PAUSE) },
    Spec { name: "fair-slow-reader", group: "slow", work: Work::SlowReader },
    Spec { name: "fair-hall", group: "slow", work: Work::Hall },
    Spec { name: "overload-5x1", group: "overload", work: unmanaged(false, 5, 1) },
    Spec { name: "overload-50x1", group: "overload", work: unmanaged(false, 50, 1) },
    Spec { name: "overload-50x4", group: "overload", work: unmanaged(false, 50, 4) },
    Spec { name: "overload-50x4-mute", group: "overload", work: unmanaged(true, 50, 4) },
    Spec { name: "storm", group: "overload", work: storm_of(false, false) },
    Spec { name: "storm-managed", group: "overload", work: storm_of(true, false) },
    Spec { name: "storm-managed-mute", group: "overload", work: storm_of(true, true) },
    Spec { name: "storm-mute", group: "overload", work: storm_of(false, true) },
    Spec {
        name: "storm-limits",
        group: "overload-limits",
        work: Work::Storm {
            security: Tls,
            senders: 90,
            messages: 1_000,
            managed: false,
            mute: false,
        },
    },
];

const fn unmanaged(mute: bool, pairs: usize, window: u64) -> Work {
    Work::Unmanaged { mute, pairs, window }
}

const fn storm_of(managed: bool, mute: bool) -> Work {
    Work::Storm { security: Plain, senders: 20, messages: 10_000, managed, mute }
}

/// Runs a row against a server: named figures.
pub async fn run(spec: &Spec, target: &Arc<Target>, args: &Args) -> Res<Vec<(String, Row)>> {
    let name = spec.name.to_owned();
    let (one, size) = (|row: Row| vec![(spec.name.to_owned(), row)], Size::of(args));
    #[allow(clippy::cast_precision_loss)]
    Ok(match spec.work {
        Work::Fresh => {
            let memory = process::memory(target.pid)?;
            one(Row::new().with("rss", memory.rss as f64).with("pss", memory.pss as f64))
        }
        Work::Ready(security) => {
            let rows = ready::run(target, security, &args.sessions, REST).await?;
            let named = args.sessions.iter().map(|count| format!("{name}-{count}"));
            named.zip(rows).collect()
        }
        Work::Login(security) => one(login::run(target, security, size.logins).await?),
        Work::Chat(security, pairs, window) => {
            one(chat::run(target, &size.plan(security, pairs, window)).await?)
        }
        Work::Transient(security, pairs, window) => {
            let payloads = "<no-store xmlns='urn:xmpp:hints'/>";
            let plan = Plan { payloads, ..size.plan(security, pairs, window) };
            one(chat::run(target, &plan).await?)
        }
        Work::Managed(security, pairs, window) => {
            let plan = Plan { managed: true, ..size.plan(security, pairs, window) };
            one(chat::run(target, &plan).await?)
        }
        Work::Unmanaged { .. } | Work::Storm { .. } => one(overload(spec, target, &size).await?),
        Work::Offline => {
            let (stored, drained) = offline::run(target, &size.offline()).await?;
            vec![(name.clone(), stored), (format!("{name}-drain"), drained)]
        }
        Work::Resume(security) => one(resume::run(target, security, size.logins).await?),
        Work::Fast(wanted) => one(fast::run(target, wanted, size.logins).await?),
        Work::Presence => one(presence::run(target, &size.storm()).await?),
        Work::Feed => one(feed::run(target, &size.feed()).await?),
        Work::Room(security, rooms, occupants) => {
            named_rooms(target, &size.room(security, rooms, occupants), name).await?
        }
        Work::Full(security) => one(full::run(target, security, &size.full()).await?),
        Work::Crowd => {
            let (plan, counts) = (
                size.plan(Plain, 50, 4),
                [CROWD_MIN, size.crowd / 3, size.crowd / 3 * 2, size.crowd],
            );
            let rows = grow::sessions(target, &plan, &counts, size.times).await?;
            let names = ["few", "third", "two-thirds", "many"];
            let named = |(at, row): (usize, Row)| {
                (format!("{name}-{}", names.get(at).copied().unwrap_or_default()), row)
            };
            rows.into_iter().map(named).collect()
        }
        Work::Accounts => {
            let plan = size.plan(Plain, 50, 4);
            one(grow::accounts(target, &plan, size.logins, args.filled).await?)
        }
        Work::Flood(_) | Work::SlowReader | Work::Hall => {
            let rows = fairness(spec.work, target, &size).await?;
            rows.into_iter().map(|row| (name.clone(), row)).collect()
        }
        Work::Rooms => one(idle::run(target, size.owners, REST).await?),
        Work::Upload => one(upload::one(target, size.file, size.times).await?),
        Work::Uploads => one(upload::many(target, &size.plan(Tls, 5, 1), size.files).await?),
        Work::Syscalls(window) => {
            one(syscalls::run(target, &size.plan(Plain, 5, window), size.traced).await?)
        }
    })
}

/// How some feel what others do, several times.
async fn fairness(work: Work, target: &Arc<Target>, size: &Size) -> Res<Vec<Row>> {
    match work {
        Work::Flood(pause) => {
            let plan = Plan { pause, ..size.plan(Plain, 5, 1) };
            fair::flood(target, &plan, size.times).await
        }
        Work::SlowReader => fair::slow_reader(target, &size.plan(Plain, 5, 1), size.times).await,
        _ => hall::run(target, &size.hall(), size.times).await,
    }
}

async fn named_rooms(
    target: &Arc<Target>,
    plan: &room::Plan,
    name: String,
) -> Res<Vec<(String, Row)>> {
    let (joins, said) = room::run(target, plan).await?;
    Ok(vec![(format!("{name}-join"), joins), (name, said)])
}

async fn overload(spec: &Spec, target: &Arc<Target>, size: &Size) -> Res<Row> {
    match spec.work {
        Work::Storm { security, senders, messages, managed, mute } => {
            let patience = 2 * size.patience;
            let plan = storm::Plan { security, senders, messages, managed, mute, patience };
            storm::run(target, &plan).await
        }
        Work::Unmanaged { mute, pairs, window } => {
            let plan = size.plan(Plain, pairs, window);
            chat::run(target, &Plan { mute, secs: size.overload(), ..plan }).await
        }
        _ => Ok(Row::new()),
    }
}

/// Runs a row on the relay, where that makes sense.
pub async fn run_floor(spec: &Spec, floor: &Floor, args: &Args) -> Res<Option<Row>> {
    let size = Size::of(args);
    Ok(match spec.work {
        Work::Chat(security, pairs, window) | Work::Transient(security, pairs, window) => {
            Some(floor.chat(&size.plan(security, pairs, window)).await?)
        }
        Work::Login(Tls) => Some(floor.handshakes(size.logins).await?),
        Work::Feed => Some(floor.fan(size.feed().contacts, size.feed().items).await?),
        Work::Room(Plain, 1, occupants) => {
            Some(floor.fan(occupants, size.room(Plain, 1, occupants).messages).await?)
        }
        _ => None,
    })
}

/// How long and how much.
struct Size {
    quick: bool,
    logins: usize,
    /// Idle sessions.
    crowd: usize,
    /// Runs whose median counts, within a row.
    times: usize,
    traced: u64,
    /// Of rooms.
    owners: usize,
    /// Bytes of a big file.
    file: usize,
    /// Small ones at once.
    files: usize,
    patience: Duration,
}

impl Size {
    fn of(args: &Args) -> Self {
        // A loss shows as silence, and on purpose it need not be waited for long.
        let patience = Duration::from_secs(if args.proxy.is_some() { 1 } else { 20 });
        let (logins, traced) = if args.quick { (500, 200) } else { (2000, 1000) };
        let (crowd, times) = if args.quick { (3000, 3) } else { (15_000, 5) };
        let (file, files) = if args.quick { (20_000_000, 300) } else { (100_000_000, 1_000) };
        let owners = if args.quick { 20 } else { 100 };
        Self { quick: args.quick, logins, crowd, times, traced, owners, file, files, patience }
    }

    fn plan(&self, security: Security, pairs: usize, window: u64) -> Plan {
        let secs = if self.quick { 1.0 } else { 4.0 };
        let (managed, payloads, patience) = (false, "", self.patience);
        let pause = Duration::ZERO;
        let mute = false;
        Plan { security, pairs, window, managed, mute, payloads, pause, secs, patience }
    }

    /// Seconds that are enough to fill any queue.
    fn overload(&self) -> f64 {
        if self.quick { 4.0 } else { 15.0 }
    }

    fn offline(&self) -> offline::Plan {
        let (messages, secs) = if self.quick { (100, 2.0) } else { (400, 10.0) };
        let patience = 2 * self.patience;
        offline::Plan { senders: 50, window: 20, messages, secs, patience }
    }

    fn feed(&self) -> feed::Plan {
        let (contacts, items) = if self.quick { (200, 10) } else { (1_000, 20) };
        feed::Plan { contacts, items, patience: self.patience }
    }

    fn room(&self, security: Security, rooms: usize, occupants: usize) -> room::Plan {
        let messages = if self.quick { 40 } else { 400 };
        room::Plan { security, rooms, occupants, messages, patience: self.patience }
    }

    fn hall(&self) -> hall::Plan {
        let (occupants, messages) = if self.quick { (300, 200) } else { (1_000, 600) };
        hall::Plan { occupants, messages, patience: self.patience }
    }

    fn full(&self) -> full::Plan {
        let (contacts, items, logins) =
            if self.quick { (200, 2_000, 300) } else { (1_000, 10_000, 1_000) };
        full::Plan { contacts, nodes: 50, items, logins }
    }

    fn storm(&self) -> presence::Plan {
        let changes = if self.quick { 10 } else { 50 };
        presence::Plan { users: 300, side: 10, changes, patience: self.patience }
    }
}

/// So that the pairs themselves stay below our default limits.
const PAUSE: Duration = Duration::from_millis(20);
const CROWD_MIN: usize = 100;
const REST: Duration = Duration::from_secs(3);
