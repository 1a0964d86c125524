//! A presence storm: many change their presence, and each contact gets each change once.

use super::chat::base;
use super::check::Seen;
use super::conn::Conn;
use super::crowd::{WIDTH, Watch, each, named};
use super::fault::{Fault, Res, fault};
use super::framer::{answer_ping, attr, is, text};
use super::process::Meter;
use super::results::Row;
use super::target::{Client, Security, Target, request};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Who is in it.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Users in a ring.
    pub users: usize,
    /// Contacts of each on either side of it.
    pub side: usize,
    /// Changes that each makes.
    pub changes: u64,
    /// Nothing coming for so long is a loss.
    pub patience: Duration,
}

/// Runs it.
pub async fn run(target: &Arc<Target>, plan: &Plan) -> Res<Row> {
    named(target, PREFIX, plan.users).await?;
    befriend(target, plan).await?;
    let clients = come(target, plan).await?;
    super::process::settle(target.pid).await?;
    let base = base();
    let watch = Arc::new(Watch::default());
    let contacts = 2 * plan.side;
    let seen: Vec<Books> = (0..plan.users)
        .map(|_| Arc::new(Mutex::new((0..=contacts).map(|_| Seen::from(base)).collect())))
        .collect();
    let meter = Meter::start(target.pid)?;
    let mut tasks = JoinSet::new();
    for ((me, client), books) in clients.into_iter().enumerate().zip(&seen) {
        let storm = Storm { me, plan: *plan, base, books: Arc::clone(books) };
        let watch = Arc::clone(&watch);
        tasks.spawn(async move { storm.run(client, &watch).await });
    }
    let mut clients = Vec::new();
    let work = async {
        while let Some(client) = tasks.join_next().await {
            clients.push(client.map_err(|e| Fault(e.to_string()))??);
        }
        Ok::<_, Fault>(())
    };
    let ended = watch.over(plan.patience, work).await;
    let wall = meter.wall_secs();
    let cpu = meter.settled_cpu_secs().await?;
    for client in clients {
        client.conn.close().await?;
    }
    let copies = verdict(plan, &seen)?;
    ended.unwrap_or_else(|| fault("presence stays away"))?;
    #[allow(clippy::cast_precision_loss)]
    let copies = copies as f64;
    Ok(Row::new().with("cpu", cpu * 1000.0 / copies).with("rate", copies / wall))
}

/// What came from each contact; the last of the list is the user itself.
type Books = Arc<Mutex<Vec<Seen>>>;

/// Exactly the copies that are due; answers how many they were.
fn verdict(plan: &Plan, seen: &[Books]) -> Res<u64> {
    let mut copies = 0;
    let mut own = None;
    for (user, books) in seen.iter().enumerate() {
        let books = books.lock().map_err(|e| Fault(e.to_string()))?;
        let Some((to_self, contacts)) = books.split_last() else { continue };
        for from in contacts {
            from.verdict(&format!("presence to user {user}"), plan.changes)?;
            copies += plan.changes;
        }
        // RFC 6121 §4.4.2 has the server send it to the user's own resources too; not all do.
        let due = *own.get_or_insert(to_self.count());
        to_self.verdict(&format!("user {user}'s own presence"), due)?;
        copies += due;
    }
    Ok(copies)
}

struct Storm {
    me: usize,
    plan: Plan,
    base: u64,
    books: Books,
}

impl Storm {
    /// Changes the presence, waits for the same change of all contacts, and again.
    async fn run(self, mut client: Client, watch: &Watch) -> Res<Client> {
        let mut out = Vec::new();
        for change in 0..self.plan.changes {
            out.extend_from_slice(&status(self.base + change));
            client.conn.send(&out).await?;
            out.clear();
            while !self.all_have(change + 1)? {
                client.conn.fill().await?;
                watch.progress(1);
                while let Some(range) = client.conn.take() {
                    let piece = client.conn.piece(range);
                    self.note(piece)?;
                    answer_ping(piece, &mut out);
                }
            }
        }
        client.conn.send(b"<iq type='get' id='fence'><ping xmlns='urn:xmpp:ping'/></iq>").await?;
        loop {
            let piece = client.conn.next().await?;
            self.note(&piece)?;
            if is(&piece, "iq") && attr(&piece, "id") == Some(b"fence") {
                return Ok(client);
            }
        }
    }

    fn all_have(&self, changes: u64) -> Res<bool> {
        let books = self.books.lock().map_err(|e| Fault(e.to_string()))?;
        let contacts = books.split_last().map(|(_, contacts)| contacts).unwrap_or_default();
        Ok(contacts.iter().all(|seen| seen.count() >= changes))
    }

    fn note(&self, piece: &[u8]) -> Res<()> {
        if is(piece, "stream:error") {
            return fault(String::from_utf8_lossy(piece));
        }
        // Presence without a number is from before the storm.
        let Some(number) = text(piece, "status").and_then(number) else { return Ok(()) };
        let place = attr(piece, "from").and_then(index).and_then(|from| self.place(from));
        let mut books = self.books.lock().map_err(|e| Fault(e.to_string()))?;
        match place.and_then(|place| books.get_mut(place)) {
            Some(seen) => drop(seen.note(number)),
            None => {
                let told = String::from_utf8_lossy(piece).into_owned();
                return fault(format!("a stranger's presence came to user {}: {told}", self.me));
            }
        }
        Ok(())
    }

    /// The contact's place in the books.
    fn place(&self, from: usize) -> Option<usize> {
        let (users, side) = (self.plan.users, self.plan.side);
        match (from + users - self.me) % users {
            0 => Some(2 * side),
            ahead if ahead <= side => Some(ahead - 1),
            ahead if ahead >= users - side => Some(side + users - ahead - 1),
            _ => None,
        }
    }
}

fn status(number: u64) -> Vec<u8> {
    format!("<presence><show>away</show><status>{number}</status></presence>").into()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The number in an address like `p7@domain/resource`.
fn index(jid: &[u8]) -> Option<usize> {
    let local = jid.split(|byte| *byte == b'@').next()?;
    std::str::from_utf8(local).ok()?.strip_prefix(PREFIX)?.parse().ok()
}

/// All come online, one after another, so that nobody's first presence is under way in the storm.
async fn come(target: &Arc<Target>, plan: &Plan) -> Res<Vec<Client>> {
    let owned = Arc::clone(target);
    let login = move |index: usize| {
        let target = Arc::clone(&owned);
        async move {
            let mut client = target.session(Security::Plain, &format!("{PREFIX}{index}")).await?;
            super::crowd::roster(&mut client.conn).await?;
            client.conn.send(b"<presence/>").await?;
            Ok(client)
        }
    };
    each(plan.users, WIDTH, login).await
}

/// Makes subscriptions in both directions along the ring (RFC 6121 §3), unless they are there. Where
/// requests cross, servers may lose one; so what is missing is asked for again.
async fn befriend(target: &Arc<Target>, plan: &Plan) -> Res<()> {
    let clients = come(target, plan).await?;
    let mut conns: Vec<Conn> = clients.into_iter().map(|client| client.conn).collect();
    for _ in 0..FRIENDS_ROUNDS {
        let mut all = Vec::new();
        for (me, mut conn) in conns.drain(..).enumerate() {
            let asks = asks(target, plan, me, &mut conn).await?;
            all.push((conn, asks));
        }
        if all.iter().all(|(_, asks)| asks.is_empty()) {
            for (conn, _) in all {
                conn.close().await?;
            }
            return Ok(());
        }
        let mut tasks = JoinSet::new();
        for (me, (conn, asks)) in all.into_iter().enumerate() {
            tasks.spawn(async move { make_friends(conn, &asks).await.map(|conn| (me, conn)) });
        }
        let mut done = Vec::new();
        while let Some(one) = tasks.join_next().await {
            done.push(one.map_err(|e| Fault(e.to_string()))??);
        }
        done.sort_by_key(|(me, _)| *me);
        conns = done.into_iter().map(|(_, conn)| conn).collect();
    }
    fault("subscriptions are missing")
}

/// Requests to the contacts whose presence the user does not get yet.
async fn asks(target: &Target, plan: &Plan, me: usize, conn: &mut Conn) -> Res<String> {
    let roster = request(conn, "get", "", "<query xmlns='jabber:iq:roster'/>").await?;
    let mut asks = String::new();
    for ahead in (1..=plan.side).chain(plan.users - plan.side..plan.users) {
        let contact = target.jid(&format!("{PREFIX}{}", (me + ahead) % plan.users));
        if !gets_presence(&roster, &contact) {
            asks.push_str(&format!("<presence type='subscribe' to='{contact}'/>"));
        }
    }
    Ok(asks)
}

/// The roster says so with `to` or `both`.
fn gets_presence(roster: &[u8], contact: &str) -> bool {
    let items = memchr::memmem::find_iter(roster, "<item").filter_map(|at| roster.get(at..));
    let mut own = items.filter(|item| attr(item, "jid") == Some(contact.as_bytes()));
    own.any(|item| matches!(attr(item, "subscription"), Some(b"to" | b"both")))
}

/// Asks, and says yes to whoever asks, until it is quiet.
async fn make_friends(mut conn: Conn, asks: &str) -> Res<Conn> {
    conn.send(asks.as_bytes()).await?;
    while let Ok(piece) = timeout(QUIET, conn.next()).await {
        let piece = piece?;
        if attr(&piece, "type") == Some(b"subscribe") {
            let from = String::from_utf8_lossy(attr(&piece, "from").unwrap_or_default());
            let yes = format!("<presence type='subscribed' to='{from}'/>");
            conn.send(yes.as_bytes()).await?;
        }
    }
    Ok(conn)
}

const PREFIX: &str = "p";
const FRIENDS_ROUNDS: usize = 8;
const QUIET: Duration = Duration::from_secs(2);
