//! Rooms (XEP-0045): in each of some rooms one occupant after the other speaks, and each hears each message once and
//! in its order; and how dear it is to enter a big room.

use super::chat::base;
use super::check::Seen;
use super::conn::Conn;
use super::crowd::{WIDTH, Watch, each, named};
use super::fault::{Fault, Res, fault};
use super::framer::{answer_ping, attr, has, is, text};
use super::process::Meter;
use super::results::Row;
use super::target::{Client, Security, Target, ask};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Who is where, and how much is said.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Of all connections.
    pub security: Security,
    /// Rooms.
    pub rooms: usize,
    /// Occupants of each.
    pub occupants: usize,
    /// Messages in each.
    pub messages: u64,
    /// Nothing coming for so long is a loss.
    pub patience: Duration,
}

/// Enters all, and then speaks; the two rows.
pub async fn run(target: &Arc<Target>, plan: &Plan) -> Res<(Row, Row)> {
    let count = plan.rooms * plan.occupants;
    named(target, PREFIX, count).await?;
    let (owned, security) = (Arc::clone(target), plan.security);
    let come = move |index: usize| {
        let target = Arc::clone(&owned);
        async move { target.session(security, &format!("{PREFIX}{index}")).await }
    };
    let clients = each(count, WIDTH, come).await?;
    let base = base();
    super::process::settle(target.pid).await?;
    let before = super::process::memory(target.pid)?.rss;
    let meter = Meter::start(target.pid)?;
    let mut groups = Vec::new();
    let mut waiting = clients.into_iter();
    for room in 0..plan.rooms {
        // A name of its own for each run: what an earlier one said is not heard.
        let room = format!("r{base}-{room}@conference.{}", target.domain);
        let mut group: Vec<Client> = Vec::new();
        for nick in 0..plan.occupants {
            let Some(mut client) = waiting.next() else { return fault("too few sessions") };
            enter(&mut client.conn, &room, nick, nick == 0).await?;
            group.push(client);
        }
        groups.push((room, group));
    }
    let cpu = meter.settled_cpu_secs().await? * 1000.0 / to_f64(count);
    // Presence of those who came later is read before anything is measured.
    for (_, group) in &mut groups {
        for client in group {
            calm(&mut client.conn).await?;
        }
    }
    let watch = Arc::new(Watch::default());
    super::process::settle(target.pid).await?;
    let after = super::process::memory(target.pid)?.rss;
    #[allow(clippy::cast_precision_loss)]
    let bytes = after.saturating_sub(before) as f64 / to_f64(count);
    let joins = Row::new().with("cpu", cpu).with("bytes", bytes);
    let meter = Meter::start(target.pid)?;
    let mut tasks = JoinSet::new();
    for (room, group) in groups {
        let watch = Arc::clone(&watch);
        let messages = plan.messages;
        tasks.spawn(async move { speak(&room, group, base, messages, &watch).await });
    }
    let work = async {
        while let Some(done) = tasks.join_next().await {
            done.map_err(|e| Fault(e.to_string()))??;
        }
        Ok(())
    };
    let ended = watch.over(plan.patience, work).await;
    let wall = meter.wall_secs();
    let cpu = meter.settled_cpu_secs().await?;
    ended.unwrap_or_else(|| fault("messages to a room stay away"))?;
    let heard = to_f64(count) * to_f64(usize::try_from(plan.messages).unwrap_or(usize::MAX));
    Ok((joins, Row::new().with("cpu", cpu * 1000.0 / heard).with("rate", heard / wall)))
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(count: usize) -> f64 {
    count as f64
}

/// Enters up to the subject; the first configures the room: it keeps nothing, as not all servers do,
/// and is for all.
pub(super) async fn enter(conn: &mut Conn, room: &str, nick: usize, is_first: bool) -> Res<()> {
    let join = format!(
        "<presence to='{room}/n{nick}'><x xmlns='http://jabber.org/protocol/muc'>\
         <history maxstanzas='0'/></x></presence>"
    );
    conn.send(join.as_bytes()).await?;
    let subject = |piece: &[u8]| is(piece, "message") && has(piece, "<subject");
    let refused = |piece: &[u8]| is(piece, "presence") && attr(piece, "type") == Some(b"error");
    let last = conn.until(|piece| subject(piece) || refused(piece)).await?;
    if refused(&last) {
        return fault(format!("not let in: {}", String::from_utf8_lossy(&last)));
    }
    if is_first {
        let field =
            |name: &str| format!("<field var='muc#roomconfig_{name}'><value>0</value></field>");
        let form = format!(
            "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' \
             type='submit'><field var='FORM_TYPE'><value>\
             http://jabber.org/protocol/muc#roomconfig</value></field>{}{}{}</x></query>",
            field("persistentroom"),
            field("membersonly"),
            field("enablelogging")
        );
        ask(conn, "set", room, &form).await?;
    }
    Ok(())
}

/// Reads until nothing comes for a moment.
pub(super) async fn calm(conn: &mut Conn) -> Res<()> {
    while let Ok(piece) = tokio::time::timeout(QUIET, conn.next()).await {
        let mut out = Vec::new();
        answer_ping(&piece?, &mut out);
        conn.send(&out).await?;
    }
    Ok(())
}

/// One occupant after the other speaks; the next when all have heard.
async fn speak(
    room: &str,
    group: Vec<Client>,
    base: u64,
    messages: u64,
    watch: &Arc<Watch>,
) -> Res<()> {
    let mut listeners: Vec<Listener> =
        group.into_iter().map(|client| Listener::new(client, base)).collect();
    for number in 0..messages {
        let at = usize::try_from(number).unwrap_or(usize::MAX) % listeners.len();
        if let Some(speaker) = listeners.get_mut(at) {
            speaker.say(room, base + number).await?;
        }
        for listener in &mut listeners {
            listener.hear(number + 1).await?;
            watch.progress(1);
        }
    }
    for (at, listener) in listeners.iter().enumerate() {
        listener.verdict(&format!("messages to occupant {at}"), messages)?;
    }
    Ok(())
}

/// Somebody in a room.
pub(super) struct Listener {
    client: Client,
    seen: Seen,
    out: Vec<u8>,
}

impl Listener {
    /// Who hears messages from this number on.
    pub(super) fn new(client: Client, first: u64) -> Self {
        Self { client, seen: Seen::from(first), out: Vec::new() }
    }

    /// Says a message.
    pub(super) async fn say(&mut self, room: &str, number: u64) -> Res<()> {
        let said = format!(
            "<message type='groupchat' to='{room}' id='b{number}'><body>{WORDS}</body>\
             <n xmlns='urn:bench'>{number}</n></message>"
        );
        self.client.conn.send(said.as_bytes()).await
    }

    /// So many came, each once and in their order.
    pub(super) fn verdict(&self, what: &str, sent: u64) -> Res<()> {
        self.seen.verdict(what, sent)
    }

    /// Reads until so many have come.
    pub(super) async fn hear(&mut self, count: u64) -> Res<()> {
        while self.seen.count() < count {
            self.client.conn.fill().await?;
            while let Some(range) = self.client.conn.take() {
                let piece = self.client.conn.piece(range);
                answer_ping(piece, &mut self.out);
                let number =
                    text(piece, "n").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
                if let Some(number) = number.filter(|_| is(piece, "message")) {
                    self.seen.note(number);
                }
            }
            if !self.out.is_empty() {
                self.client.conn.send(&self.out).await?;
                self.out.clear();
            }
        }
        Ok(())
    }
}

const PREFIX: &str = "m";
const QUIET: Duration = Duration::from_millis(50);
/// A hundred bytes.
const WORDS: &str = "Harpier cries: 'tis time, 'tis time. Round about the cauldron go; in the \
                     poison'd entrails throw. Toad,";
