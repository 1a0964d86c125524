//! What the command line says.

use super::fault::{Fault, Res, fault};
use super::proxy::Proxy;
use super::target::Target;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What is to be done.
pub struct Args {
    /// The servers.
    pub targets: Vec<Target>,
    /// Rows to run: those whose name begins with one of these; empty: all.
    pub only: Vec<String>,
    /// Rows of this group alone.
    pub group: Option<String>,
    /// The bare relay is measured too.
    pub floor: bool,
    /// Short runs.
    pub quick: bool,
    /// Rounds of each row.
    pub rounds: usize,
    /// Numbers of ready sessions.
    pub sessions: Vec<usize>,
    /// Accounts that the database was filled with.
    pub filled: usize,
    /// The server's command line.
    pub command: Vec<String>,
    /// Where the figures are appended.
    pub results: Option<PathBuf>,
    /// Harm on purpose.
    pub proxy: Option<Proxy>,
    /// What this process is.
    pub mode: Mode,
}

/// What this process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Runs rows.
    Bench,
    /// Runs the short rows against a server of its own: what `cargo bench` alone does.
    Own,
    /// The bare relay.
    Relay,
    /// Makes the accounts and contacts of the ready sessions.
    Prepare,
    /// Fills the database of a stopped Stonechat with accounts.
    Fill(PathBuf),
    /// Measures starts of a server that listens here.
    Starts(SocketAddr),
    /// Measures so many other domains at once, on servers of its own.
    Domains(usize),
    /// Shows that losses are seen.
    SelfTest,
    /// Makes a table of a file of figures.
    Table(PathBuf),
    /// Says what it can do.
    Help,
}

impl Args {
    /// Reads them. `--bench`, which cargo adds, is passed over.
    pub fn parse(words: impl Iterator<Item = String>) -> Res<Self> {
        let mut args = Self {
            targets: Vec::new(),
            only: Vec::new(),
            group: None,
            floor: false,
            quick: false,
            rounds: 0,
            sessions: Vec::new(),
            filled: 0,
            command: Vec::new(),
            results: None,
            proxy: None,
            mode: Mode::Help,
        };
        let mut words = words.peekable();
        let benched = words.next_if(|word| word == "--bench").is_some();
        if benched && words.peek().is_none() {
            args.mode = Mode::Own;
        }
        let mut words = words.filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| Fault(format!("{word}: a value is missing")));
            match word.as_str() {
                "--target" => args.targets.push(Target::parse(&value()?)?),
                "--only" => args.only = list(&value()?),
                "--group" => args.group = Some(value()?),
                "--quick" => args.quick = true,
                "--rounds" => args.rounds = number(&value()?)?,
                "--sessions" => {
                    args.sessions =
                        list(&value()?).iter().map(|n| number(n)).collect::<Res<_>>()?;
                }
                "--filled" => args.filled = number(&value()?)?,
                "--fill" => args.mode = Mode::Fill(value()?.into()),
                "--starts" => args.mode = Mode::Starts(address(&value()?)?),
                "--domains" => args.mode = Mode::Domains(number(&value()?)?),
                "--" => args.command.extend(words.by_ref()),
                "--results" => args.results = Some(value()?.into()),
                "--through-proxy" => args.proxy = Some(Proxy::parse(&value()?)?),
                "--relay" => args.mode = Mode::Relay,
                "--self-test" => args.mode = Mode::SelfTest,
                "--table" => args.mode = Mode::Table(value()?.into()),
                "--floor" => args.floor = true,
                "--prepare" => args.mode = Mode::Prepare,
                "--help" => return Ok(Self { mode: Mode::Help, ..args }),
                _ => return fault(format!("{word} means nothing; try --help")),
            }
        }
        if args.mode == Mode::Help && (args.floor || !args.targets.is_empty()) {
            args.mode = Mode::Bench;
        }
        if args.rounds == 0 {
            args.rounds = if args.quick { 1 } else { 3 };
        }
        if args.sessions.is_empty() {
            args.sessions = if args.quick { vec![500] } else { vec![1000, 10_000] };
        }
        Ok(args)
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn address(text: &str) -> Res<SocketAddr> {
    text.parse().map_err(|_| Fault(format!("{text} is no address")))
}

fn number(text: &str) -> Res<usize> {
    text.parse().map_err(|_| Fault(format!("{text} is no number")))
}

/// What `--help` says.
pub const HELP: &str = "\
The load bench: the same clients and workloads against any XMPP server (docs/performance.md).
benches/load/run.sh runs all of it; by hand:

  cargo bench --bench load -- --target NAME=HOST:PORT,pid=N,domain=D [--target …] [options]
  cargo bench --bench load -- --table FILE     the table of a file of figures
  cargo bench --bench load -- --fill DATABASE --filled N
                    N accounts with contacts, written into the file of a stopped Stonechat
  cargo bench --bench load -- --starts HOST:PORT [--only NAME] -- COMMAND…
                    how long the server takes to start
  cargo bench --bench load -- --domains N [--rounds N]
                    chat beside N other domains that are connected to at once, on servers of its own
  cargo bench --bench load -- --self-test      lost, doubled and reordered messages are noticed

  --target NAME=HOST:PORT[,tls=HOST:PORT],pid=N,domain=D[,for=GROUP+GROUP]
                    a server that offers in-band registration, SCRAM-SHA-1 without TLS too, and
                    XEP-0198; for: the groups of rows it is set up for (fresh, bare, news, full, durable, archive,
                    few, many, crowd, fair, slow, limits)
  --group GROUP     rows of this group alone
  --only ROW,…      rows whose names begin so
  --floor           measures the bare relay too
  --rounds N        runs of each row, in alternation (3, or 1 with --quick)
  --sessions N,…    numbers of ready sessions (1000,10000)
  --filled N        how many accounts the database was filled with
  --results FILE    appends the figures
  --through-proxy drop=N|double=N|swap=N
                    breaks one message in N on the way, which must make the bench fail
  --prepare         only makes the accounts and contacts of the ready sessions, so that the server can
                    be started anew before its memory is measured";
