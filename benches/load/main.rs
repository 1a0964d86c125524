//! The load bench: one program that is the clients of any XMPP server, over the same wire, and reads
//! from /proc what the server used. docs/performance.md tells what is measured and how.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::disallowed_methods,
    // It is itself the clock and the load, on a runtime of its own.
    clippy::large_futures
)]

mod args;
mod bosh;
mod caps;
mod chat;
mod check;
mod conn;
mod crowd;
mod domains;
mod fair;
mod fan;
mod fast;
mod fault;
mod feed;
mod fill;
mod floor;
mod framer;
mod full;
mod grow;
mod hall;
mod idle;
mod login;
mod managed;
mod offline;
mod pieces;
mod presence;
mod process;
mod proxy;
mod ready;
mod results;
mod resume;
mod room;
mod rows;
mod scram;
mod selftest;
mod storm;
mod syscalls;
mod table;
mod target;
mod tls;
mod upload;
mod websocket;

use args::{Args, Mode};
use fault::{Res, fault};
use floor::Floor;
use results::{Results, Row};
use rows::{ROWS, Spec};
use std::process::ExitCode;
use std::sync::Arc;
use target::Target;
use tokio::task::JoinSet;

fn main() -> ExitCode {
    match Args::parse(std::env::args().skip(1)).and_then(dispatch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: Args) -> Res<()> {
    // One thread: the other processor is the server's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &args.mode {
        Mode::Bench => runtime.block_on(bench(args)),
        Mode::Own => runtime.block_on(own(args)),
        Mode::Prepare => runtime.block_on(prepare(args)),
        Mode::Relay => floor::relay(),
        Mode::Fill(path) => fill::fill(path, args.filled, ready::CONTACTS),
        Mode::Starts(address) => starts(&args, *address),
        Mode::Domains(count) => runtime.block_on(domains(&args, *count)),
        Mode::SelfTest => runtime.block_on(selftest::run()),
        Mode::Table(path) => {
            print!("{}", table::render(&Results::read(path)));
            Ok(())
        }
        Mode::Help => {
            println!("{}", args::HELP);
            Ok(())
        }
    }
}

/// Figures of starts, which the row is named after.
fn starts(args: &Args, address: std::net::SocketAddr) -> Res<()> {
    let name = args.only.first().map_or("start", String::as_str);
    let times = if args.quick { 5 } else { 9 };
    for row in grow::starts(&args.command, address, times)? {
        println!("{name:24} {:12} {}", "stonechat", row.told());
        if let Some(path) = &args.results {
            results::append(path, name, "stonechat", &row)?;
        }
    }
    Ok(())
}

/// A thousand other domains at once, by two servers of our own.
async fn domains(args: &Args, count: usize) -> Res<()> {
    for round in 0..args.rounds {
        for (name, row) in domains::run(count).await? {
            println!("{name:24} {:12} {}  {}", "stonechat", round + 1, row.told());
            if let Some(path) = &args.results {
                results::append(path, &name, "stonechat", &row)?;
            }
        }
    }
    Ok(())
}

/// The rows without peers, short, on a server that lasts as long.
async fn own(args: Args) -> Res<()> {
    let lab = selftest::Lab::start(&selftest::UNBOUND)?;
    let targets = vec![Target::new("stonechat", lab.address, lab.pid(), "localhost")];
    let group = Some("bare".to_owned());
    bench(Args { targets, group, floor: true, quick: true, rounds: 1, ..args }).await
}

async fn prepare(args: Args) -> Res<()> {
    let count = args.sessions.iter().max().copied().unwrap_or(0);
    for target in args.targets {
        let target = Arc::new(target);
        crowd::contacts(&target, count, ready::CONTACTS).await?;
        process::settle(target.pid).await?;
    }
    Ok(())
}

/// Runs the rows, each round of a row against all servers in turn. A row that fails does not keep
/// the others from running, but the bench fails at the end.
async fn bench(mut args: Args) -> Res<()> {
    let mut proxies = JoinSet::new();
    let mut targets = Vec::new();
    for mut target in std::mem::take(&mut args.targets) {
        if let Some(proxy) = args.proxy {
            target.address = proxy.before(target.address, &mut proxies).await?;
        }
        targets.push(Arc::new(target));
    }
    let floor = if args.floor { Some(Floor::start()?) } else { None };
    let mut failed = Vec::new();
    for spec in ROWS.iter().filter(|spec| args.wants(spec)) {
        for round in 0..args.rounds {
            for target in targets.iter().filter(|target| target.is_for(spec.group)) {
                let rows = rows::run(spec, target, &args).await;
                note(&args, spec, &target.name, round, rows, &mut failed);
            }
            if let Some(floor) = &floor {
                let row = rows::run_floor(spec, floor, &args).await;
                let rows = row.map(|row| row.map(|row| (spec.name.to_owned(), row)));
                note(&args, spec, "floor", round, rows.map(Vec::from_iter), &mut failed);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { fault(failed.join("\n")) }
}

fn note(
    args: &Args,
    spec: &Spec,
    name: &str,
    round: usize,
    rows: Res<Vec<(String, Row)>>,
    failed: &mut Vec<String>,
) {
    let appended = rows.and_then(|rows| {
        for (row, figures) in rows {
            println!("{row:24} {name:12} {}  {}", round + 1, figures.told());
            if let Some(path) = &args.results {
                results::append(path, &row, name, &figures)?;
            }
        }
        Ok(())
    });
    if let Err(error) = appended {
        let told = format!("{} {name}: {error}", spec.name);
        eprintln!("FAILED: {told}");
        failed.push(told);
    }
}

impl Args {
    fn wants(&self, spec: &Spec) -> bool {
        if self.group.as_ref().is_some_and(|group| group != spec.group) {
            return false;
        }
        let named = |name: &String| spec.name.starts_with(name.as_str());
        self.only.is_empty() || self.only.iter().any(named)
    }
}

impl Target {
    fn is_for(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|own| own == group)
    }
}
