//! Messages to accounts that are offline, each acknowledged; then their delivery.

use super::chat::base;
use super::check::{Seen, Template, read_message};
use super::crowd::{WIDTH, Watch, accounts, each, user};
use super::fault::{Fault, Res, fault};
use super::framer::{answer_ping, is};
use super::managed::Managed;
use super::process::Meter;
use super::results::Row;
use super::target::{Client, Security, Target};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Senders, each with an addressee of its own.
    pub senders: usize,
    /// Messages of a sender that are not acknowledged yet.
    pub window: u32,
    /// Messages of a sender, if there is time.
    pub messages: u32,
    /// After that nothing new is sent.
    pub secs: f64,
    /// Nothing coming for so long is a loss.
    pub patience: Duration,
}

/// Stores and delivers: the figures of both.
pub async fn run(target: &Arc<Target>, plan: &Plan) -> Res<(Row, Row)> {
    accounts(target, 2 * plan.senders).await?;
    drain_old(target, plan.senders).await?;
    let base = base();
    let sessions = sessions(target, 0, plan.senders).await?;
    super::process::settle(target.pid).await?;
    let meter = Meter::start(target.pid)?;
    let sent = send_all(target, plan, sessions, base).await?;
    let wall = meter.wall_secs();
    let stored = figures(sent.iter().sum(), wall, meter.settled_cpu_secs().await?);
    let recipients = sessions_of_recipients(target, plan).await?;
    super::process::settle(target.pid).await?;
    let meter = Meter::start(target.pid)?;
    receive_all(plan, recipients, &sent, base).await?;
    let wall = meter.wall_secs();
    let drained = figures(sent.iter().sum(), wall, meter.settled_cpu_secs().await?);
    Ok((stored, drained))
}

fn figures(messages: u64, wall: f64, cpu: f64) -> Row {
    #[allow(clippy::cast_precision_loss)]
    let messages = messages as f64;
    Row::new().with("cpu", cpu * 1000.0 / messages).with("rate", messages / wall)
}

async fn sessions(target: &Arc<Target>, from: usize, count: usize) -> Res<Vec<Client>> {
    let owned = Arc::clone(target);
    let login = move |index: usize| {
        let target = Arc::clone(&owned);
        async move { target.session(Security::Plain, &user(from + index)).await }
    };
    each(count, WIDTH, login).await
}

async fn sessions_of_recipients(target: &Arc<Target>, plan: &Plan) -> Res<Vec<Client>> {
    sessions(target, plan.senders, plan.senders).await
}

/// What an earlier run left must not be counted.
async fn drain_old(target: &Arc<Target>, senders: usize) -> Res<()> {
    for mut client in sessions(target, senders, senders).await? {
        client.conn.send(b"<presence/>").await?;
        let ping = "<ping xmlns='urn:xmpp:ping'/>";
        super::target::ask(&mut client.conn, "get", &target.domain, ping).await?;
        client.conn.close().await?;
    }
    Ok(())
}

async fn send_all(target: &Target, plan: &Plan, sessions: Vec<Client>, base: u64) -> Res<Vec<u64>> {
    let (watch, mut tasks) = (Arc::new(Watch::default()), JoinSet::new());
    let until = Instant::now() + Duration::from_secs_f64(plan.secs);
    for (index, client) in sessions.into_iter().enumerate() {
        let to = target.jid(&user(plan.senders + index));
        let (plan, watch) = (*plan, Arc::clone(&watch));
        tasks.spawn(async move {
            send(client, &to, &plan, base, until, &watch).await.map(|sent| (index, sent))
        });
    }
    let mut sent = all(plan, &watch, tasks, "an acknowledgement").await?;
    sent.sort_unstable();
    Ok(sent.into_iter().map(|(_, sent)| sent).collect())
}

async fn all<T: 'static>(
    plan: &Plan,
    watch: &Watch,
    mut tasks: JoinSet<Res<T>>,
    what: &str,
) -> Res<Vec<T>> {
    let mut done = Vec::new();
    let work = async {
        while let Some(one) = tasks.join_next().await {
            done.push(one.map_err(|e| Fault(e.to_string()))??);
        }
        Ok::<_, Fault>(())
    };
    watch.over(plan.patience, work).await.unwrap_or_else(|| fault(format!("{what} stays away")))?;
    Ok(done)
}

async fn send(
    mut client: Client,
    to: &str,
    plan: &Plan,
    base: u64,
    until: Instant,
    watch: &Watch,
) -> Res<u64> {
    let mut template = Template::message(to, "");
    let mut managed = Managed::enable(&mut client.conn).await?;
    let mut out = Vec::new();
    loop {
        let room = plan.window - (managed.sent - managed.acked);
        let time = Instant::now() < until;
        let more = if time { room.min(plan.messages - managed.sent) } else { 0 };
        for _ in 0..more {
            template.write(&mut out, base + u64::from(managed.sent), 0);
            managed.sent(&mut out);
        }
        if !out.is_empty() {
            client.conn.send(&out).await?;
            out.clear();
        }
        if managed.is_settled() {
            break;
        }
        client.conn.fill().await?;
        watch.progress(1);
        while let Some(range) = client.conn.take() {
            let piece = client.conn.piece(range);
            managed.note(piece, &mut out)?;
            if is(piece, "message") {
                return fault(format!("sent back: {}", String::from_utf8_lossy(piece)));
            }
        }
    }
    client.conn.close().await?;
    Ok(u64::from(managed.sent))
}

async fn receive_all(plan: &Plan, sessions: Vec<Client>, sent: &[u64], base: u64) -> Res<()> {
    let (watch, mut tasks) = (Arc::new(Watch::default()), JoinSet::new());
    let seen: Vec<_> =
        sent.iter().map(|_| Arc::new(std::sync::Mutex::new(Seen::from(base)))).collect();
    for ((client, seen), sent) in sessions.into_iter().zip(&seen).zip(sent) {
        let (watch, seen, sent) = (Arc::clone(&watch), Arc::clone(seen), *sent);
        tasks.spawn(async move { receive(client, &seen, sent, &watch).await });
    }
    let received = all(plan, &watch, tasks, "a message").await;
    for (index, (seen, sent)) in seen.iter().zip(sent).enumerate() {
        let seen = seen.lock().map_err(|e| Fault(e.to_string()))?;
        seen.verdict(&format!("addressee {index}"), *sent)?;
    }
    received.map(|_| ())
}

async fn receive(
    mut client: Client,
    seen: &std::sync::Mutex<Seen>,
    sent: u64,
    watch: &Watch,
) -> Res<()> {
    client.conn.send(b"<presence/>").await?;
    let mut out = Vec::new();
    while seen.lock().map_err(|e| Fault(e.to_string()))?.count() < sent {
        client.conn.fill().await?;
        watch.progress(1);
        while let Some(range) = client.conn.take() {
            let piece = client.conn.piece(range);
            if is(piece, "message") {
                let (number, _) = read_message(piece)?;
                seen.lock().map_err(|e| Fault(e.to_string()))?.note(number);
            }
            answer_ping(piece, &mut out);
        }
        if !out.is_empty() {
            client.conn.send(&out).await?;
            out.clear();
        }
    }
    client.conn.close().await
}
