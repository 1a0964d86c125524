//! Fairness: pairs that chat, alone, and while another client disturbs them: one session that floods,
//! or twenty that send to somebody who has stopped reading. The others are a thread of their own.

use super::chat::{self, Plan, base};
use super::check::{Seen, Template, read_message};
use super::conn::Conn;
use super::crowd::named;
use super::fault::{Fault, Res, fault};
use super::framer::{answer_ping, attr, is};
use super::process::memory;
use super::results::Row;
use super::target::{Security, Target};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How the pairs' latency changes, so many times.
pub async fn flood(target: &Arc<Target>, plan: &Plan, times: usize) -> Res<Vec<Row>> {
    named(target, "flood", 2).await?;
    let mut rows = Vec::new();
    for _ in 0..times {
        let quiet = p95(target, plan).await?;
        let state = Arc::new(State::default());
        let others = Others::start(target, &state, |target, state| Box::pin(pour(target, state)))?;
        state.reaches(FLOOD_BEGUN).await?;
        let (came, begun) = (state.done.load(Relaxed), Instant::now());
        let disturbed = p95(target, plan).await;
        #[allow(clippy::cast_precision_loss)]
        let rate = (state.done.load(Relaxed) - came) as f64 / begun.elapsed().as_secs_f64();
        others.stop(&state).await?;
        rows.push(disturbed_row(quiet, disturbed?).with("rate", rate));
    }
    Ok(rows)
}

/// The same while somebody does not read; with the server's memory at its highest meanwhile.
pub async fn slow_reader(target: &Arc<Target>, plan: &Plan, times: usize) -> Res<Vec<Row>> {
    named(target, "stuck", 1).await?;
    named(target, "sender", SENDERS).await?;
    let mut rows = Vec::new();
    for _ in 0..times {
        let quiet = p95(target, plan).await?;
        super::process::settle(target.pid).await?;
        let before = memory(target.pid)?.rss;
        let state = Arc::new(State::default());
        let others = Others::start(target, &state, |target, state| Box::pin(clog(target, state)))?;
        state.reaches(1).await?;
        let disturbed = p95(target, plan).await;
        others.stop(&state).await?;
        #[allow(clippy::cast_precision_loss)]
        let peak = state.peak.load(Relaxed).saturating_sub(before) as f64;
        rows.push(disturbed_row(quiet, disturbed?).with("rise", peak));
    }
    Ok(rows)
}

fn disturbed_row(quiet: f64, disturbed: f64) -> Row {
    let factor = disturbed / quiet;
    Row::new().with("quiet", quiet).with("disturbed", disturbed).with("factor", factor)
}

/// The 95th percentile of the delays of a chat, in microseconds.
pub(super) async fn p95(target: &Arc<Target>, plan: &Plan) -> Res<f64> {
    let row = chat::run(target, plan).await?;
    let p95 = row.0.iter().find(|(name, _)| *name == "p95");
    p95.map(|(_, value)| *value).ok_or_else(|| Fault("no p95".to_owned()))
}

/// What the thread of the others and the pairs know of each other.
#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    done: AtomicU64,
    peak: AtomicU64,
    ended: AtomicBool,
}

impl State {
    async fn reaches(&self, done: u64) -> Res<()> {
        let until = Instant::now() + PATIENCE;
        while self.done.load(Relaxed) < done && !self.ended.load(Relaxed) {
            if Instant::now() > until {
                return fault("the disturbance does not begin");
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }
}

struct Others(std::thread::JoinHandle<Res<()>>);

type Work = Pin<Box<dyn Future<Output = Res<()>>>>;

impl Others {
    fn start(
        target: &Arc<Target>,
        state: &Arc<State>,
        work: fn(Arc<Target>, Arc<State>) -> Work,
    ) -> Res<Self> {
        let (target, state) = (Arc::clone(target), Arc::clone(state));
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let done = runtime.block_on(work(target, Arc::clone(&state)));
            state.ended.store(true, Relaxed);
            done
        };
        Ok(Self(std::thread::Builder::new().spawn(run)?))
    }

    async fn stop(self, state: &State) -> Res<()> {
        state.stop.store(true, Relaxed);
        let until = Instant::now() + PATIENCE;
        while !self.0.is_finished() {
            if Instant::now() > until {
                return fault("the disturbance does not end: answers stay away");
            }
            tokio::time::sleep(STEP).await;
        }
        self.0.join().unwrap_or_else(|_| fault("the disturbance broke off"))
    }
}

/// Messages as fast as the server takes them, to a reader of the flooder's own.
async fn pour(target: Arc<Target>, state: Arc<State>) -> Res<()> {
    let mut sender = target.session(Security::Plain, "flood0").await?;
    let reader = target.session(Security::Plain, "flood1").await?;
    let (base, sent, to) = (base(), AtomicU64::new(0), reader.jid.clone());
    let mut template = Template::message(&to, "");
    let mut reader = reader.conn;
    reader.send(b"<presence/>").await?;
    let over = AtomicBool::new(false);
    let pouring = async {
        let mut out = Vec::new();
        while state.goes_on() {
            if sent.load(Relaxed) > state.done.load(Relaxed) + FLOOD_AHEAD {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            out.clear();
            for _ in 0..FLOOD_AT_ONCE {
                template.write(&mut out, base + sent.fetch_add(1, Relaxed), 0);
            }
            sender.conn.send(&out).await?;
            tokio::task::yield_now().await;
        }
        over.store(true, Relaxed);
        // Its own server has handled all of it, or sends back what it did not.
        let fence = "<ping xmlns='urn:xmpp:ping'/>";
        super::target::request(&mut sender.conn, "get", &target.domain, fence).await?;
        sender.conn.close().await
    };
    let reading = async {
        let mut seen = Seen::from(base);
        let mut out = Vec::new();
        while !over.load(Relaxed) || seen.count() < sent.load(Relaxed) {
            take(&mut reader, &mut out, &mut |_, number| {
                seen.note(number);
                state.done.store(seen.count(), Relaxed);
            })
            .await?;
        }
        seen.verdict("the flood", sent.load(Relaxed))?;
        reader.close().await
    };
    tokio::try_join!(pouring, reading).map(drop)
}

/// Twenty send to one who does not read. Each is asked for an answer all the while: slowed, not cut.
async fn clog(target: Arc<Target>, state: Arc<State>) -> Res<()> {
    let mut stuck = target.session(Security::Plain, "stuck0").await?;
    stuck.conn.send(b"<presence/>").await?;
    let payload = format!("<x xmlns='urn:example:bench'>{}</x>", "x".repeat(CLOG_BYTES));
    let first = base();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..SENDERS {
        let (target, state) = (Arc::clone(&target), Arc::clone(&state));
        let mut template = Template::message(&target.jid("stuck0"), &payload);
        tasks.spawn(async move {
            let mut client = target.session(Security::Plain, &format!("sender{index}")).await?;
            let mut out = Vec::new();
            let mut sent = 0;
            while sent < CLOG_LEAST || (sent < CLOG_MOST && state.goes_on()) {
                out.clear();
                template.write(&mut out, first + sent, 0);
                sent += 1;
                client.conn.send(&out).await?;
                let ping = "<ping xmlns='urn:xmpp:ping'/>";
                super::target::request(&mut client.conn, "get", &target.domain, ping).await?;
                state.done.fetch_add(1, Relaxed);
            }
            Ok::<_, Fault>((index, client, sent))
        });
    }
    let mut senders = Vec::new();
    while senders.len() < SENDERS {
        state.peak.fetch_max(memory(target.pid)?.rss, Relaxed);
        if let Ok(Some(sender)) = timeout(SAMPLE, tasks.join_next()).await {
            senders.push(sender.map_err(|e| Fault(e.to_string()))??);
        }
    }
    while state.goes_on() {
        tokio::time::sleep(STEP).await;
    }
    senders.sort_by_key(|(index, ..)| *index);
    let sent: Vec<u64> = senders.iter().map(|(.., sent)| *sent).collect();
    read_again(&target, stuck.conn, first, &sent).await?;
    for (_, sender, _) in senders {
        sender.conn.close().await?;
    }
    Ok(())
}

/// Who reads again gets all of it, in order. A reader whose stream the server has ended meanwhile
/// comes back; what it had not confirmed then comes once more, from the first of it.
async fn read_again(target: &Arc<Target>, conn: Conn, first: u64, sent: &[u64]) -> Res<()> {
    let mut seen = fresh(first);
    if !read_all(conn, &mut seen, sent).await? {
        let mut again = target.session(Security::Plain, "stuck0").await?;
        again.conn.send(b"<presence/>").await?;
        seen = fresh(first);
        if !read_all(again.conn, &mut seen, sent).await? {
            return fault("who reads again is cut off");
        }
    }
    for (index, (seen, sent)) in seen.iter().zip(sent).enumerate() {
        seen.verdict(&format!("sender {index}"), *sent)?;
    }
    Ok(())
}

fn fresh(first: u64) -> Vec<Seen> {
    (0..SENDERS).map(|_| Seen::from(first)).collect()
}

/// False when the server ended the stream.
async fn read_all(mut conn: Conn, seen: &mut [Seen], sent: &[u64]) -> Res<bool> {
    let sent = sent.iter().sum();
    let mut out = Vec::new();
    while seen.iter().map(Seen::count).sum::<u64>() < sent {
        let mut note = |from: usize, number| {
            if let Some(seen) = seen.get_mut(from) {
                seen.note(number);
            }
        };
        match timeout(PATIENCE, take(&mut conn, &mut out, &mut note)).await {
            Err(_) => return fault("messages stay away from who reads again"),
            Ok(Err(error)) if error.0.contains("closed") || error.0.contains("resource") => {
                return Ok(false);
            }
            Ok(taken) => taken?,
        }
    }
    conn.close().await?;
    Ok(true)
}

/// Reads once: each message's sender, by number, and its own number.
async fn take(conn: &mut Conn, out: &mut Vec<u8>, note: &mut impl FnMut(usize, u64)) -> Res<()> {
    conn.fill().await?;
    while let Some(range) = conn.take() {
        let piece = conn.piece(range);
        if is(piece, "message") {
            let (number, _) = read_message(piece)?;
            note(attr(piece, "from").map_or(0, sender), number);
        } else if is(piece, "stream:error") {
            return fault(String::from_utf8_lossy(piece));
        }
        answer_ping(piece, out);
    }
    if !out.is_empty() {
        conn.send(out).await?;
        out.clear();
    }
    Ok(())
}

/// The number in `sender7@…`.
fn sender(from: &[u8]) -> usize {
    let digits = from.iter().skip_while(|byte| !byte.is_ascii_digit());
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

const FLOOD_AT_ONCE: usize = 64;
/// More than the server reads at once, and no more than it handles while one waits for the end.
const FLOOD_AHEAD: u64 = 1000;
const FLOOD_BEGUN: u64 = 500;
const SENDERS: usize = 20;
const CLOG_BYTES: usize = 4096;
/// Of each, 20 MB in all: more than what the sockets and the box hold.
const CLOG_LEAST: u64 = 250;
/// Each, within what the server of the bench may keep.
const CLOG_MOST: u64 = 5_000;
const STEP: Duration = Duration::from_millis(5);
const SAMPLE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);
