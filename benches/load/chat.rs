//! 1:1 chat: pairs between whom so many messages are always under way.

use super::check::{Seen, Template, read_message, read_raw};
use super::conn::Conn;
use super::crowd::{Watch, accounts, each, user};
use super::fault::{Fault, Res, fault};
use super::framer::{answer_ping, attr, is};
use super::managed::Managed;
use super::process::Meter;
use super::results::Row;
use super::target::{Security, Target};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

/// What is to be said.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Clear or TLS.
    pub security: Security,
    /// Pairs of accounts.
    pub pairs: usize,
    /// Messages under way per pair.
    pub window: u64,
    /// XEP-0198 on both sides, and a request for acknowledgement with each message.
    pub managed: bool,
    /// The server's pings are not answered.
    pub mute: bool,
    /// What each message has beside its body.
    pub payloads: &'static str,
    /// Rest before each answer.
    pub pause: Duration,
    /// Seconds to measure.
    pub secs: f64,
    /// Nothing coming for so long is a loss.
    pub patience: Duration,
}

/// One side of a pair.
pub struct End {
    conn: Conn,
    template: Template,
    raw: bool,
    mute: bool,
    managed: Option<Managed>,
    starts: bool,
    base: u64,
    sent: u64,
    received: u64,
    seen: Arc<Mutex<Seen>>,
    out: Vec<u8>,
    delays: Vec<u64>,
    watch: Arc<Watch>,
    clock: Instant,
}

/// Runs the plan against a server.
pub async fn run(target: &Arc<Target>, plan: &Plan) -> Res<Row> {
    let talk = Talk::new(target, plan, sessions(target, plan).await?).await?;
    talk.measure(target.pid, plan).await
}

/// Whatever the first chat of a fresh server allocates is there.
pub async fn warm(target: &Arc<Target>, plan: &Plan) -> Res<()> {
    run(target, &Plan { secs: WARM_SECS, ..*plan }).await.map(drop)
}

/// Runs the plan over the bare relay.
pub async fn run_raw(pid: u32, plan: &Plan, conns: Vec<Conn>) -> Res<Row> {
    let clock = Instant::now();
    let base = base();
    let end = |conn| End::new(conn, Template::raw(), clock, base);
    let ends = conns.into_iter().map(end).collect();
    let mut talk = Talk::of(ends);
    talk.ends.iter_mut().for_each(|end| end.raw = true);
    talk.measure(pid, plan).await
}

/// Pairs that talk.
pub struct Talk {
    ends: Vec<End>,
    seen: Vec<Arc<Mutex<Seen>>>,
    watch: Arc<Watch>,
    said: u64,
}

impl Talk {
    /// Every second session is a partner of the one before.
    pub async fn new(
        target: &Target,
        plan: &Plan,
        sessions: Vec<super::target::Client>,
    ) -> Res<Self> {
        let (clock, base) = (Instant::now(), base());
        let jids: Vec<String> = sessions.iter().map(|session| session.jid.clone()).collect();
        let mut ends = Vec::new();
        for (index, session) in sessions.into_iter().enumerate() {
            let partner = jids.get(index ^ 1).map_or("", String::as_str);
            let mut end =
                End::new(session.conn, Template::message(partner, plan.payloads), clock, base);
            end.mute = plan.mute;
            if plan.managed {
                if !session.manageable {
                    return fault(format!("{} has no XEP-0198", target.name));
                }
                end.managed = Some(Managed::enable(&mut end.conn).await?);
            }
            ends.push(end);
        }
        Ok(Self::of(ends))
    }

    fn of(mut ends: Vec<End>) -> Self {
        let watch = Arc::new(Watch::default());
        for (index, end) in ends.iter_mut().enumerate() {
            end.watch = Arc::clone(&watch);
            end.starts = index % 2 == 0;
        }
        let seen = ends.iter().map(|end| Arc::clone(&end.seen)).collect();
        Self { ends, seen, watch, said: 0 }
    }

    async fn measure(mut self, pid: u32, plan: &Plan) -> Res<Row> {
        // The pace is found first, so that each server is measured for about as long.
        let begun = Instant::now();
        let warm = WARM.max(plan.window);
        self.say(warm, plan).await?;
        let mut say = warm;
        let mut took = begun.elapsed().as_secs_f64();
        if took < WARM_SECS {
            say = scaled(warm, WARM_SECS / took);
            let begun = Instant::now();
            self.say(say, plan).await?;
            took = begun.elapsed().as_secs_f64();
        }
        let more = scaled(say, plan.secs / took).max(WARM);
        self.ends.iter_mut().for_each(|end| end.delays.clear());
        let meter = Meter::start(pid)?;
        self.say(more, plan).await?;
        let (wall, cpu) = (meter.wall_secs(), meter.cpu_secs()?);
        let row = self.row(more, wall, cpu);
        self.finish().await?;
        Ok(row)
    }

    /// Each end says `more` messages.
    pub async fn say(&mut self, more: u64, plan: &Plan) -> Res<()> {
        self.said += more;
        let until = self.said;
        let mut tasks = JoinSet::new();
        for (index, end) in self.ends.drain(..).enumerate() {
            let (window, pause) = (plan.window, plan.pause);
            tasks
                .spawn(async move { end.play(window, until, pause).await.map(|end| (index, end)) });
        }
        let mut ends = Vec::new();
        let watch = Arc::clone(&self.watch);
        let all = watch.over(plan.patience, async {
            while let Some(end) = tasks.join_next().await {
                ends.push(end.map_err(|e| Fault(e.to_string()))??);
            }
            Ok::<_, Fault>(())
        });
        let ended = all.await;
        // What the check saw says more than that somebody stopped.
        if !matches!(ended, Some(Ok(()))) {
            self.verdict()?;
        }
        ended.unwrap_or_else(|| fault("acknowledgements stay away"))?;
        ends.sort_by_key(|(index, _)| *index);
        self.ends = ends.into_iter().map(|(_, end)| end).collect();
        Ok(())
    }

    fn verdict(&self) -> Res<()> {
        for (index, seen) in self.seen.iter().enumerate() {
            let seen = seen.lock().map_err(|e| Fault(e.to_string()))?;
            seen.verdict(&format!("pair {}", index / 2), self.said)?;
        }
        Ok(())
    }

    /// Says nothing any more, and still answers what it is asked.
    pub fn idle(mut self) -> Idle {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut tasks = JoinSet::new();
        for (index, end) in self.ends.drain(..).enumerate() {
            let stopped = stopped.clone();
            tasks.spawn(async move { end.attend(stopped).await.map(|end| (index, end)) });
        }
        Idle { talk: self, stop, tasks }
    }

    /// Nothing may come behind the last message: each end asks its server something and looks at all
    /// that comes before the answer.
    pub async fn finish(mut self) -> Res<()> {
        let ends = std::mem::take(&mut self.ends);
        for mut end in ends.into_iter().filter(|end| !end.raw) {
            // All that came is acknowledged and the stream closed, as clients do: nobody gets it again.
            let ended = async {
                end.fence().await?;
                let acks = end.managed.as_ref().map(Managed::ack).unwrap_or_default();
                end.conn.send(acks.as_bytes()).await?;
                end.conn.close().await
            };
            let ended = tokio::time::timeout(FENCE_MAX, ended).await;
            ended.unwrap_or_else(|_| fault("no answer to the last question"))?;
        }
        self.verdict()
    }

    #[allow(clippy::cast_precision_loss)]
    fn row(&self, each_said: u64, wall: f64, cpu: f64) -> Row {
        let messages = (each_said * self.ends.len() as u64) as f64;
        let mut delays: Vec<u64> = self.ends.iter().flat_map(|end| &end.delays).copied().collect();
        delays.sort_unstable();
        let at = |share: usize| delays.get(delays.len() * share / 100).copied().unwrap_or(0);
        Row::new()
            .with("cpu", cpu * 1000.0 / messages)
            .with("rate", messages / wall)
            .with("p50", at(50) as f64 / 1000.0)
            .with("p95", at(95) as f64 / 1000.0)
    }
}

/// Pairs that are silent.
pub struct Idle {
    talk: Talk,
    stop: tokio::sync::watch::Sender<bool>,
    tasks: JoinSet<Res<(usize, End)>>,
}

impl Idle {
    /// As [`Talk::finish`].
    pub async fn finish(mut self) -> Res<()> {
        self.stop.send_replace(true);
        let mut ends = Vec::new();
        while let Some(end) = self.tasks.join_next().await {
            ends.push(end.map_err(|e| Fault(e.to_string()))??);
        }
        ends.sort_by_key(|(index, _)| *index);
        self.talk.ends = ends.into_iter().map(|(_, end)| end).collect();
        self.talk.finish().await
    }
}

impl End {
    fn new(conn: Conn, template: Template, clock: Instant, base: u64) -> Self {
        Self {
            conn,
            template,
            raw: false,
            mute: false,
            managed: None,
            starts: false,
            base,
            sent: 0,
            received: 0,
            seen: Arc::new(Mutex::new(Seen::from(base))),
            out: Vec::new(),
            delays: Vec::new(),
            watch: Arc::default(),
            clock,
        }
    }

    /// Goes on until `until` messages were sent and as many came.
    async fn play(mut self, window: u64, until: u64, pause: Duration) -> Res<Self> {
        if self.starts {
            let first = window.min(until - self.sent);
            self.say(first).await?;
        }
        while self.received < until || !self.managed.as_ref().is_none_or(Managed::is_settled) {
            self.conn.fill().await?;
            let came = self.look()?;
            self.watch.progress(1);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            self.say(came.min(until - self.sent)).await?;
        }
        Ok(self)
    }

    async fn attend(mut self, mut stopped: tokio::sync::watch::Receiver<bool>) -> Res<Self> {
        loop {
            tokio::select! {
                filled = self.conn.fill() => filled?,
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(self),
            }
            self.look()?;
            self.say(0).await?;
        }
    }

    /// Looks at all that was read; answers how many messages were in it.
    fn look(&mut self) -> Res<u64> {
        let now = nanos(self.clock);
        let mut came = 0;
        loop {
            let range = if self.raw {
                self.conn.take_bytes(super::check::BODY_BYTES)
            } else {
                self.conn.take()
            };
            let Some(range) = range else { break };
            let piece = self.conn.piece(range);
            if let Some(managed) = &mut self.managed {
                managed.note(piece, &mut self.out)?;
            }
            let (number, stamp) = if self.raw {
                read_raw(piece)?
            } else if is(piece, "message") {
                read_message(piece)?
            } else if is(piece, "stream:error") {
                return fault(String::from_utf8_lossy(piece));
            } else {
                if !self.mute
                    && answer_ping(piece, &mut self.out)
                    && let Some(managed) = &mut self.managed
                {
                    managed.sent += 1;
                }
                continue;
            };
            let new = self.seen.lock().map_err(|e| Fault(e.to_string()))?.note(number);
            self.received += u64::from(new);
            self.delays.push(now.saturating_sub(stamp));
            came += 1;
        }
        Ok(came)
    }

    async fn say(&mut self, count: u64) -> Res<()> {
        let now = nanos(self.clock);
        for _ in 0..count {
            self.template.write(&mut self.out, self.base + self.sent, now);
            self.sent += 1;
            if let Some(managed) = &mut self.managed {
                managed.sent(&mut self.out);
            }
        }
        if !self.out.is_empty() {
            self.conn.send(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    async fn fence(&mut self) -> Res<()> {
        self.conn.send(b"<iq type='get' id='fence'><ping xmlns='urn:xmpp:ping'/></iq>").await?;
        loop {
            while let Some(range) = self.conn.take() {
                let piece = self.conn.piece(range);
                if let Some(managed) = &mut self.managed {
                    managed.note(piece, &mut self.out)?;
                }
                if is(piece, "message") {
                    let (number, _) = read_message(piece)?;
                    self.seen.lock().map_err(|e| Fault(e.to_string()))?.note(number);
                } else if is(piece, "iq") && attr(piece, "id") == Some(b"fence") {
                    return Ok(());
                }
            }
            self.conn.fill().await?;
        }
    }
}

/// The sessions of a plan.
pub async fn sessions(target: &Arc<Target>, plan: &Plan) -> Res<Vec<super::target::Client>> {
    accounts(target, 2 * plan.pairs).await?;
    let (owned, security) = (Arc::clone(target), plan.security);
    let login = move |index: usize| {
        let target = Arc::clone(&owned);
        async move {
            let mut client = target.session(security, &user(index)).await?;
            client.conn.send(b"<presence/>").await?;
            Ok(client)
        }
    };
    each(2 * plan.pairs, super::crowd::WIDTH, login).await
}

/// Numbers begin where none began before: what an earlier run left behind shows.
pub fn base() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0) << 21
}

fn nanos(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn scaled(count: u64, factor: f64) -> u64 {
    (count as f64 * factor) as u64
}

/// Messages of each end by which its pace is guessed.
const WARM: u64 = 8;
const WARM_SECS: f64 = 0.3;
const FENCE_MAX: Duration = Duration::from_secs(10);
