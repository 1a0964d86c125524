//! `stonechat serve` and `stonechat lab`: a runtime, signals, and a graceful end.

mod announce;

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::parent_id;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;

use super::build::{Running, start};
use super::cli::{Lab, LabServer};
use super::config::{Loaded, Problem};
use crate::admin::accounts::{self, AdminError};
use crate::jid::BareJid;

/// Serves until SIGTERM or SIGINT.
pub fn serve(loaded: Loaded) -> Result<(), Problem> {
    block_on(async move {
        // Before the server announces itself, so that an early signal stops it gracefully, too.
        let mut signals = Signals::new()?;
        let running = start(&loaded.config, &loaded.origins).await?;
        say(&announce::lines(&loaded.config, &running).await.join("\n"));
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        signals.stopped(std::slice::from_ref(&running)).await;
        tracing::info!("stopping");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        if !running.stop(STOP_LIMIT).await {
            tracing::warn!("some streams did not end in time");
        }
        Ok(())
    })
}

/// Serves a lab until SIGTERM, SIGINT, or the end of its parent; prints one line of JSON.
pub fn lab(lab: Lab) -> Result<(), Problem> {
    block_on(async move {
        // Before anything that takes time, because a parent that dies meanwhile must be noticed.
        let parent = parent_id();
        let mut signals = Signals::new()?;
        let mut running = vec![begin(&lab.first).await?];
        for server in &lab.split {
            running.push(begin(server).await?);
        }
        introduce(&running);
        say(&ready_line(&lab, &running).to_string());
        tokio::select! {
            () = signals.stopped(&running) => {}
            () = orphaned(parent) => {}
        }
        // At once, so that the time is that of one; and each ends its own tasks.
        #[allow(clippy::disallowed_methods)]
        let stopping: Vec<_> =
            running.into_iter().map(|one| tokio::spawn(one.stop(STOP_LIMIT))).collect();
        for one in stopping {
            let _ = one.await;
        }
        Ok(())
    })
}

/// A server of a lab, with its accounts.
async fn begin(server: &LabServer) -> Result<Running, Problem> {
    let config = &server.loaded.config;
    let running = start(config, &server.loaded.origins).await?;
    for (jid, password) in &server.users {
        let added = accounts::add(&running.store, jid, password, config.sasl.iterations).await;
        added.map_err(|error| not_added(jid, &error))?;
    }
    Ok(running)
}

/// The servers of one lab know each other's ports only when all listen.
fn introduce(running: &[Running]) {
    for (at, one) in running.iter().enumerate() {
        let others = running.iter().enumerate().filter(|(other, _)| *other != at);
        one.meet(others.flat_map(|(_, other)| other.reached()).collect());
    }
}

fn not_added(jid: &BareJid, error: &AdminError) -> Problem {
    let fix = match error {
        AdminError::Exists(_) | AdminError::Removed(_) => {
            "name each user once, and none that is in the data folder already: it keeps its password"
        }
        _ => "give an address of a domain that is served, and a password of at least one character",
    };
    Problem { what: reason(error), place: format!("--user {jid}"), fix: fix.to_owned() }
}

/// Without the command that is for a server with real data.
fn reason(error: &AdminError) -> String {
    match error {
        AdminError::Exists(jid) => format!("{jid} exists already"),
        error => error.to_string(),
    }
}

fn ready_line(lab: &Lab, running: &[Running]) -> serde_json::Value {
    let servers = std::iter::once(&lab.first).chain(&lab.split);
    let mut told = servers.zip(running).map(|(server, running)| place_line(server, running));
    let mut line = told.next().unwrap_or_default();
    if let Some(line) = line.as_object_mut() {
        line.insert("split".to_owned(), told.collect());
    }
    line
}

fn place_line(server: &LabServer, running: &Running) -> serde_json::Value {
    let config = &server.loaded.config;
    let domains: Vec<_> = config.host.iter().map(|host| host.domain.as_str()).collect();
    let places = &running.places;
    let first = |addresses: &[SocketAddr]| addresses.first().map(ToString::to_string);
    let web = first(&places.web);
    let users: Vec<_> = server.users.iter().map(|(jid, _)| jid.as_str()).collect();
    json!({
        "ready": true,
        "pid": std::process::id(),
        "domains": domains,
        "c2s": first(&places.c2s),
        "c2s_tls": first(&places.c2s_tls),
        "http": web.as_ref().map(|web| format!("https://{web}")),
        "http_plain": first(&places.web_plain).map(|web| format!("http://{web}")),
        "ws": web.as_ref().map(|web| format!("wss://{web}/ws")),
        "bosh": web.as_ref().filter(|_| config.web.bosh).map(|web| format!("https://{web}/http-bind")),
        "metrics": first(&places.metrics).map(|watchers| format!("http://{watchers}/metrics")),
        "api": first(&places.api).map(|api| format!("http://{api}/api/v1")),
        "s2s": first(&places.s2s),
        "s2s_tls": first(&places.s2s_tls),
        "components": first(&places.components),
        "components_tls": first(&places.components_tls),
        "acme": first(&places.acme),
        "ca": running.tls.ca_file(),
        "users": users,
        "data": config.data_dir,
    })
}

/// Prints in one write, so that a program that reads along sees all or nothing. Standard output may be
/// closed; that is no reason to stop.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{text}\n").as_bytes());
    let _ = out.flush();
}

enum Order {
    Reload,
    Stop,
}

struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Problem> {
        let listen = |kind| {
            signal(kind).map_err(|error| Problem {
                what: format!("signals cannot be received: {error}"),
                place: "the operating system".to_owned(),
                fix: "check the limits under which the server is started".to_owned(),
            })
        };
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            int: listen(SignalKind::interrupt())?,
            hup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.term.recv() => Order::Stop,
            _ = self.int.recv() => Order::Stop,
            _ = self.hup.recv() => Order::Reload,
        }
    }

    /// Waits for the signal to end; a SIGHUP before that makes the server read certificates again.
    async fn stopped(&mut self, running: &[Running]) {
        while let Order::Reload = self.next().await {
            tracing::info!("SIGHUP: reading certificates again");
            running.iter().for_each(Running::reload);
        }
    }
}

/// Waits until the process has another parent than it started with.
async fn orphaned(parent: u32) {
    let mut tick = interval(PARENT_POLL);
    while parent_id() == parent {
        tick.tick().await;
    }
}

fn block_on(work: impl Future<Output = Result<(), Problem>>) -> Result<(), Problem> {
    let runtime = runtime().map_err(|error| Problem {
        what: format!("threads cannot be started: {error}"),
        place: "the operating system".to_owned(),
        fix: "check the limits under which the server is started".to_owned(),
    })?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().thread_name("stonechat").build()
}

/// Part of the 10 s that a stop may take; the rest is for the store and the process.
const STOP_LIMIT: Duration = Duration::from_secs(7);
const PARENT_POLL: Duration = Duration::from_millis(200);
