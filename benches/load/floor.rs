//! The floor: what the system itself costs. A bare relay of two tokio threads, as a process of its
//! own: it reads what one socket sends and writes it to another. No XML, no routing.

use super::chat::{self, Plan};
use super::conn::Conn;
use super::crowd::each;
use super::fault::{Fault, Res, fault};
use super::process::Meter;
use super::results::Row;
use super::target::Security;
use super::{fan, tls};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The relay's process; it ends with this value.
pub struct Floor {
    child: Child,
    plain: SocketAddr,
    tls: SocketAddr,
    fan: SocketAddr,
    connector: tls::Connector,
}

impl Floor {
    /// Starts this program once more, as the relay.
    pub fn start() -> Res<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--relay").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let Some(stdout) = child.stdout.take() else { return fault("no output of the relay") };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ports: Vec<SocketAddr> = line.split_whitespace().flat_map(str::parse).collect();
        let [plain, tls, fan] = ports[..] else { return fault("the relay did not start") };
        Ok(Self { child, plain, tls, fan, connector: tls::connector() })
    }

    /// The relay's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The chat of a plan.
    pub async fn chat(&self, plan: &Plan) -> Res<Row> {
        let mut conns = Vec::new();
        for index in 0..2 * plan.pairs {
            let mut conn = self.connect(plan.security).await?;
            conn.send(&u64::try_from(index / 2).unwrap_or(0).to_be_bytes()).await?;
            conns.push(conn);
        }
        chat::run_raw(self.pid(), plan, conns).await
    }

    /// So many connections and TLS handshakes.
    pub async fn handshakes(&self, count: usize) -> Res<Row> {
        let (address, connector) = (self.tls, self.connector.clone());
        let meter = Meter::start(self.pid())?;
        let shake = move |_| {
            let connector = connector.clone();
            async move {
                let mut conn = Conn::open(address).await?;
                conn.secure(&connector, "bench.localhost").await
            }
        };
        each(count, super::login::WIDTH, shake).await?;
        #[allow(clippy::cast_precision_loss)]
        let cpu = meter.settled_cpu_secs().await? * 1000.0 / count as f64;
        Ok(Row::new().with("cpu", cpu))
    }

    /// What comes of one is written to so many, whose tasks are woken for it.
    pub async fn fan(&self, readers: usize, items: u64) -> Res<Row> {
        let mut conns = Vec::new();
        for _ in 0..=readers {
            conns.push(Conn::open(self.fan).await?);
        }
        let Some(mut publisher) = conns.pop() else { return fault("nobody writes") };
        // The relay has them all when the first item is there.
        let item = [b'x'; fan::ITEM_BYTES];
        fan::round(&mut publisher, &mut conns, &item).await?;
        let meter = Meter::start(self.pid())?;
        for _ in 0..items {
            fan::round(&mut publisher, &mut conns, &item).await?;
        }
        #[allow(clippy::cast_precision_loss)]
        let written = (items * readers as u64) as f64;
        let wall = meter.wall_secs();
        let cpu = meter.settled_cpu_secs().await?;
        Ok(Row::new().with("cpu", cpu * 1000.0 / written).with("rate", written / wall))
    }

    async fn connect(&self, security: Security) -> Res<Conn> {
        if security == Security::Plain {
            return Conn::open(self.plain).await;
        }
        let mut conn = Conn::open(self.tls).await?;
        conn.secure(&self.connector, "bench.localhost").await?;
        Ok(conn)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The relay itself: prints its two addresses and relays until its input ends.
pub fn relay() -> Res<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut tasks = JoinSet::new();
    runtime.block_on(async {
        let plain = TcpListener::bind("127.0.0.1:0").await?;
        let tls = TcpListener::bind("127.0.0.1:0").await?;
        let fan = TcpListener::bind("127.0.0.1:0").await?;
        println!("{} {} {}", plain.local_addr()?, tls.local_addr()?, fan.local_addr()?);
        tasks.spawn(fan::accept(fan));
        tasks.spawn(accept_plain(plain));
        tasks.spawn(accept_tls(tls));
        Ok::<_, Fault>(())
    })?;
    let _ = std::io::stdin().read(&mut [0; 1]);
    Ok(())
}

type Waiting<S> = Arc<Mutex<HashMap<u64, S>>>;

async fn accept_plain(listener: TcpListener) {
    let (waiting, mut tasks) = (Waiting::default(), JoinSet::new());
    while let Ok((tcp, _)) = listener.accept().await {
        while tasks.try_join_next().is_some() {}
        let _ = tcp.set_nodelay(true);
        tasks.spawn(meet(tcp, Arc::clone(&waiting)));
    }
}

async fn accept_tls(listener: TcpListener) {
    let (waiting, mut tasks) = (Waiting::default(), JoinSet::new());
    let acceptor = tls::acceptor();
    while let Ok((tcp, _)) = listener.accept().await {
        while tasks.try_join_next().is_some() {}
        let _ = tcp.set_nodelay(true);
        let (acceptor, waiting) = (acceptor.clone(), Arc::clone(&waiting));
        tasks.spawn(async move {
            match acceptor.accept(tcp).await {
                Ok(tls) => meet(tls, waiting).await,
                Err(_) => Ok(()),
            }
        });
    }
}

/// The second of a pair takes the first along.
async fn meet<S: AsyncRead + AsyncWrite + Unpin>(mut here: S, waiting: Waiting<S>) -> Res<()> {
    let pair = here.read_u64().await?;
    let there = {
        let mut waiting = waiting.lock().map_err(|e| Fault(e.to_string()))?;
        match waiting.remove(&pair) {
            Some(there) => there,
            None => {
                waiting.insert(pair, here);
                return Ok(());
            }
        }
    };
    between(here, there).await
}

async fn between<S: AsyncRead + AsyncWrite + Unpin>(mut a: S, mut b: S) -> Res<()> {
    let (mut from_a, mut from_b) = ([0; BUFFER_BYTES], [0; BUFFER_BYTES]);
    loop {
        let (to, bytes) = tokio::select! {
            read = a.read(&mut from_a) => (&mut b, from_a.get(..read?).unwrap_or_default()),
            read = b.read(&mut from_b) => (&mut a, from_b.get(..read?).unwrap_or_default()),
        };
        if bytes.is_empty() {
            return Ok(());
        }
        to.write_all(bytes).await?;
        to.flush().await?;
    }
}

const BUFFER_BYTES: usize = 4096;
