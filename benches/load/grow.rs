//! How cost grows: chat beside few and many ready sessions that are idle, logins and chat with few and
//! many accounts in the database, and the time that a start takes.

use super::chat::{self, Idle, Plan, Talk};
use super::crowd::{WIDTH, each, roster};
use super::fault::{Fault, Res, fault};
use super::fill::filled;
use super::process::{Meter, memory, settle};
use super::results::Row;
use super::target::{Client, Security, Target};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Chat beside so many idle sessions of filled accounts, so often beside the least and the most of these
/// numbers, which rise; and the bytes of each session since the number before. What the first chat
/// leaves in the allocator serves the first of them, so the later steps tell how memory grows.
pub async fn sessions(
    target: &Arc<Target>,
    plan: &Plan,
    counts: &[usize],
    times: usize,
) -> Res<Vec<(usize, Row)>> {
    chat::warm(target, plan).await?;
    settle(target.pid).await?;
    let mut before = memory(target.pid)?.pss;
    let (mut open, mut idle, mut rows) = (0, Vec::new(), Vec::new());
    for (index, count) in counts.iter().enumerate() {
        idle.push(ready(target, plan, open, count - open).await?);
        tokio::time::sleep(REST).await;
        settle(target.pid).await?;
        let now = memory(target.pid)?.pss;
        #[allow(clippy::cast_precision_loss)]
        let each = now.saturating_sub(before) as f64 / (count - open) as f64;
        (before, open) = (now, *count);
        #[allow(clippy::cast_precision_loss)]
        rows.push((index, Row::new().with("pss", each).with("count", open as f64)));
        let ends = index == 0 || index + 1 == counts.len();
        for _ in 0..if ends { times } else { 0 } {
            rows.push((index, chat::run(target, plan).await?));
        }
    }
    for talk in idle {
        talk.finish().await?;
    }
    Ok(rows)
}

/// Ready sessions as in the rows of memory: they have had ten messages each way.
async fn ready(target: &Arc<Target>, plan: &Plan, from: usize, count: usize) -> Res<Idle> {
    let owned = Arc::clone(target);
    let login = move |index: usize| {
        let target = Arc::clone(&owned);
        async move {
            let mut client = target.session(Security::Plain, &filled(from + index)).await?;
            if roster(&mut client.conn).await? == 0 {
                return fault("contacts are missing");
            }
            client.conn.send(b"<presence/>").await?;
            Ok(client)
        }
    };
    let sessions: Vec<Client> = each(count, WIDTH, login).await?;
    let plan = Plan { managed: true, window: 1, ..*plan };
    let mut talk = Talk::new(target, &plan, sessions).await?;
    talk.say(10, &plan).await?;
    Ok(talk.idle())
}

/// Logins of accounts that lie far from each other in the database, then chat.
pub async fn accounts(target: &Arc<Target>, plan: &Plan, logins: usize, of: usize) -> Res<Row> {
    if of == 0 {
        return fault("no accounts are filled: see --fill and --filled");
    }
    let names = of.min(LOGIN_NAMES);
    for count in [names, logins] {
        // The first round is for the salted passwords of the clients, and what the server keeps.
        settle(target.pid).await?;
        let meter = Meter::start(target.pid)?;
        let owned = Arc::clone(target);
        let login = move |index: usize| {
            let (target, name) = (Arc::clone(&owned), filled(index % names * (of / names)));
            async move { target.session(Security::Plain, &name).await?.conn.close().await }
        };
        each(count, super::login::WIDTH, login).await?;
        if count == logins {
            let cpu = meter.settled_cpu_secs().await?;
            let chat = chat::run(target, plan).await?;
            #[allow(clippy::cast_precision_loss)]
            let row = chat.with("login", cpu * 1000.0 / logins as f64).with("count", of as f64);
            return Ok(row);
        }
    }
    fault("no logins")
}

/// Starts the server so many times; how long each took until it accepted a connection, and until it
/// said so.
pub fn starts(command: &[String], address: SocketAddr, times: usize) -> Res<Vec<Row>> {
    let Some((program, words)) = command.split_first() else {
        return fault("write the server's command line behind --");
    };
    let mut rows = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        let mut started = Command::new(program);
        let started = started.args(words).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = started.spawn()?;
        let took = times_of(&mut child, address, begun);
        let stopped = stop(&mut child);
        let (accepted, said) = took?;
        stopped?;
        rows.push(Row::new().with("accepted", accepted).with("said", said));
    }
    Ok(rows)
}

fn times_of(child: &mut Child, address: SocketAddr, begun: Instant) -> Res<(f64, f64)> {
    let micros = || begun.elapsed().as_secs_f64() * 1e6;
    while TcpStream::connect(address).is_err() {
        if child.try_wait()?.is_some() || begun.elapsed() > START_MAX {
            return fault("the server does not start");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let accepted = micros();
    let mut first = [0];
    let out = child.stdout.as_mut().map(|out| std::io::Read::read(out, &mut first));
    match out {
        Some(Ok(1)) => Ok((accepted, micros())),
        _ => fault("the server says nothing when it is ready"),
    }
}

fn stop(child: &mut Child) -> Res<()> {
    let told = Command::new("kill").arg(child.id().to_string()).status()?;
    let ended = child.wait()?;
    if told.success() && ended.success() { Ok(()) } else { Err(Fault(format!("stop: {ended}"))) }
}

const REST: Duration = Duration::from_secs(2);
const START_MAX: Duration = Duration::from_secs(60);
/// More than a small page cache holds.
const LOGIN_NAMES: usize = 2000;
