//! More at once than the disk takes: senders that write all they have without waiting, and somebody
//! else who pings meanwhile. Each message must come once; what is refused is counted.

use super::chat::base;
use super::check::{Seen, Template, read_message};
use super::crowd::{WIDTH, Watch, accounts, each, user};
use super::fault::{Fault, Res, fault};
use super::framer::{answer_ping, attr, is};
use super::managed::Managed;
use super::process::Meter;
use super::results::Row;
use super::target::{Client, Security, Target, request};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Clear or TLS.
    pub security: Security,
    /// Senders, each with an addressee of its own.
    pub senders: usize,
    /// Messages of each.
    pub messages: u64,
    /// XEP-0198 on both sides.
    pub managed: bool,
    /// The addressees answer no pings.
    pub mute: bool,
    /// Nothing coming for so long is a loss.
    pub patience: Duration,
}

/// Sends and reads everything.
pub async fn run(target: &Arc<Target>, plan: &Plan) -> Res<Row> {
    accounts(target, 2 * plan.senders + 1).await?;
    let bystander = bystander(target, plan.security, user(2 * plan.senders)).await?;
    let (owned, security) = (Arc::clone(target), plan.security);
    let login = move |index: usize| {
        let target = Arc::clone(&owned);
        async move { target.session(security, &user(index)).await }
    };
    let sessions = each(2 * plan.senders, WIDTH, login).await?;
    let base = base();
    let mut ends = Vec::new();
    for client in sessions {
        ends.push(End::new(client, plan, base).await?);
    }
    super::process::settle(target.pid).await?;
    let meter = Meter::start(target.pid)?;
    SLOWEST.store(0, Ordering::Relaxed);
    let watch = Arc::new(Watch::default());
    let (readers, senders) = (ends.split_off(plan.senders), ends);
    let mut tasks = JoinSet::new();
    for (sender, reader) in senders.into_iter().zip(readers) {
        let (plan, to) = (*plan, reader.jid.clone());
        let (bounced, back) = tokio::sync::watch::channel(0);
        let seen = watch.clone();
        tasks.spawn(async move { sender.say_all(&plan, &to, &bounced, &seen).await });
        let seen = watch.clone();
        tasks.spawn(async move { reader.read_all(&plan, back, &seen).await });
    }
    let all = async {
        let mut bounced = 0;
        while let Some(end) = tasks.join_next().await {
            bounced += end.map_err(|e| Fault(e.to_string()))??;
        }
        Ok::<_, Fault>(bounced)
    };
    let done = watch.over(plan.patience, async {
        tokio::select! {
            bounced = all => bounced,
            failed = bystander => Err(failed.unwrap_or_else(|_| Fault("nobody pings".to_owned()))),
        }
    });
    let bounced =
        done.await.unwrap_or_else(|| fault("something is lost: nothing comes any more"))?;
    let wall = meter.wall_secs();
    // The longest wait of the one who had nothing to do with it.
    let slowest = SLOWEST.load(Ordering::Relaxed);
    #[allow(clippy::cast_precision_loss)]
    let messages = (plan.messages * plan.senders as u64 - bounced) as f64;
    #[allow(clippy::cast_precision_loss)]
    Ok(Row::new()
        .with("rate", messages / wall)
        .with("delivered", messages)
        .with("bounced", bounced as f64)
        .with("ping-max", slowest as f64))
}

static SLOWEST: AtomicU64 = AtomicU64::new(0);

/// Somebody who pings the server until what is returned is dropped, or tells what went wrong. On a thread
/// of its own: on that of the senders, their turns would be in the figure.
async fn bystander(
    target: &Arc<Target>,
    security: Security,
    name: String,
) -> Res<oneshot::Receiver<Fault>> {
    let (mut tell, told) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let (target, runtime) =
        (Arc::clone(target), Builder::new_current_thread().enable_all().build()?);
    std::thread::spawn(move || {
        let failed = runtime.block_on(async {
            let mut client = match target.session(security, &name).await {
                Ok(client) => client,
                Err(error) => return Some(error),
            };
            let _ = ready.send(());
            tokio::select! {
                failed = ping(&target, &mut client) => Some(failed),
                () = tell.closed() => None,
            }
        });
        failed.map(|failed| tell.send(failed))
    });
    match is_ready.await {
        Ok(()) => Ok(told),
        Err(_) => Err(told.await.unwrap_or_else(|_| Fault("nobody pings".to_owned()))),
    }
}

/// Pings the server again and again.
async fn ping(target: &Target, client: &mut Client) -> Fault {
    loop {
        let begun = Instant::now();
        let asked = "<ping xmlns='urn:xmpp:ping'/>";
        if let Err(error) = request(&mut client.conn, "get", &target.domain, asked).await {
            return error;
        }
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        SLOWEST.fetch_max(took, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct End {
    client: Client,
    jid: String,
    managed: Option<Managed>,
    base: u64,
    out: Vec<u8>,
}

impl End {
    async fn new(mut client: Client, plan: &Plan, base: u64) -> Res<Self> {
        let managed = match plan.managed {
            true => Some(Managed::enable(&mut client.conn).await?),
            false => None,
        };
        Ok(Self { jid: client.jid.clone(), client, managed, base, out: Vec::new() })
    }

    /// Writes all of it, as fast as it is taken, and reads what comes back until all is handled.
    async fn say_all(
        mut self,
        plan: &Plan,
        to: &str,
        told: &tokio::sync::watch::Sender<u64>,
        watch: &Watch,
    ) -> Res<u64> {
        let mut template = Template::message(to, "");
        let (mut sent, mut bounced, mut fenced) = (0, 0, false);
        loop {
            while sent < plan.messages && self.out.len() < CHUNK {
                template.write(&mut self.out, self.base + sent, 0);
                sent += 1;
                if let Some(managed) = &mut self.managed {
                    managed.sent += 1;
                }
            }
            if sent == plan.messages && !fenced {
                fenced = true;
                self.out.extend_from_slice(
                    b"<iq type='get' id='fence'><ping xmlns='urn:xmpp:ping'/></iq>",
                );
                if let Some(managed) = &mut self.managed {
                    managed.sent += 1;
                    self.out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
                }
            }
            let (mut done, mut fresh) = (false, Vec::new());
            let written = self.client.conn.write_or_fill(&self.out).await?;
            self.out.drain(..written);
            watch.progress(1);
            while let Some(range) = self.client.conn.take() {
                let piece = self.client.conn.piece(range);
                if let Some(managed) = &mut self.managed {
                    managed.note(piece, &mut fresh)?;
                }
                if is(piece, "message") {
                    bounced += 1;
                    told.send_replace(bounced);
                } else if is(piece, "stream:error") {
                    return fault(String::from_utf8_lossy(piece));
                } else if is(piece, "iq") && attr(piece, "id") == Some(b"fence") {
                    done = true;
                } else if answer_ping(piece, &mut fresh)
                    && let Some(managed) = &mut self.managed
                {
                    managed.sent += 1;
                }
            }
            self.out.extend_from_slice(&fresh);
            fenced_done(&mut done, self.managed.as_ref());
            if done {
                return Ok(bounced);
            }
        }
    }

    /// Reads until all came that was not refused.
    async fn read_all(
        mut self,
        plan: &Plan,
        mut bounced: tokio::sync::watch::Receiver<u64>,
        watch: &Watch,
    ) -> Res<u64> {
        let mut seen = Seen::from(self.base);
        loop {
            let back = *bounced.borrow_and_update();
            if seen.count() + back >= plan.messages {
                return Ok(0);
            }
            tokio::select! {
                filled = self.client.conn.fill() => filled?,
                changed = bounced.changed(), if back + seen.count() < plan.messages => {
                    if changed.is_err() && seen.count() + *bounced.borrow() < plan.messages {
                        self.client.conn.fill().await?;
                    }
                }
            }
            while let Some(range) = self.client.conn.take() {
                let piece = self.client.conn.piece(range);
                if let Some(managed) = &mut self.managed {
                    managed.note(piece, &mut self.out)?;
                }
                if is(piece, "message") {
                    if !seen.note(read_message(piece)?.0) {
                        return fault("a message came twice");
                    }
                } else if is(piece, "stream:error") {
                    return fault(String::from_utf8_lossy(piece));
                } else if !plan.mute
                    && answer_ping(piece, &mut self.out)
                    && let Some(managed) = &mut self.managed
                {
                    managed.sent += 1;
                }
            }
            watch.progress(1);
            if !self.out.is_empty() {
                self.client.conn.send(&self.out).await?;
                self.out.clear();
            }
        }
    }
}

/// With XEP-0198 the acknowledgement of everything is the end.
fn fenced_done(done: &mut bool, managed: Option<&Managed>) {
    if let Some(managed) = managed {
        *done = managed.is_settled();
    }
}

const CHUNK: usize = 65_536;
