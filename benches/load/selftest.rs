//! Shows on a server of our own that every workload runs, and that a message that is lost, doubled or
//! reordered on the way makes the bench fail and say so.

use super::args::{Args, Mode};
use super::fault::{Fault, Res, fault};
use super::proxy::{Harm, Proxy};
use super::rows::{self, ROWS, Spec};
use super::target::{Security, Target};
use super::{chat, login, offline, presence, ready, resume};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Runs it.
pub async fn run() -> Res<()> {
    let lab = Lab::start(&[])?;
    workloads(&Arc::new(lab.target())).await?;
    for (harm, word) in [(Harm::Drop, "lost"), (Harm::Double, "doubled"), (Harm::Swap, "reordered")]
    {
        // A new one each time: what was lost on the way comes again to who logs in next.
        let lab = Lab::start(&[])?;
        let mut proxies = JoinSet::new();
        let mut target = lab.target();
        let proxy = Proxy { harm, one_in: 50 };
        target.address = proxy.before(target.address, &mut proxies).await?;
        let spec = ROWS.iter().find(|spec| spec.name == "chat-plain-50x4");
        let noticed = through(spec, &Arc::new(target), proxy).await?;
        let counts = |word: &str| {
            noticed.0.contains(&format!(" {word}")) && !noticed.0.contains(&format!(" 0 {word}"))
        };
        // A message that is held back for the next one is lost where no next one comes.
        let told = counts(word) || (harm == Harm::Swap && counts("lost"));
        if !told {
            return fault(format!("one message in 50 {word}, but the bench said: {noticed}"));
        }
        println!("{word} on purpose: {noticed}");
    }
    Ok(())
}

async fn through(spec: Option<&Spec>, target: &Arc<Target>, proxy: Proxy) -> Res<Fault> {
    let Some(spec) = spec else { return fault("no such row") };
    match rows::run(spec, target, &args(Some(proxy))).await {
        Ok(_) => fault(format!("{proxy:?} was not noticed")),
        Err(noticed) => Ok(noticed),
    }
}

/// Each workload, small.
async fn workloads(target: &Arc<Target>) -> Res<()> {
    let patience = Duration::from_secs(5);
    for security in [Security::Plain, Security::Tls] {
        login::run(target, security, 20).await.map_err(|e| e.during("login"))?;
        resume::run(target, security, 50).await.map_err(|e| e.during("resume"))?;
        for managed in [false, true] {
            let plan = chat::Plan {
                security,
                pairs: 2,
                window: 4,
                managed,
                mute: false,
                payloads: "",
                pause: Duration::ZERO,
                secs: 0.1,
                patience,
            };
            chat::run(target, &plan).await.map_err(|e| e.during("chat"))?;
        }
    }
    ready::run(target, Security::Plain, &[4], Duration::ZERO)
        .await
        .map_err(|e| e.during("ready sessions"))?;
    let plan = offline::Plan { senders: 5, window: 4, messages: 20, secs: 5.0, patience };
    offline::run(target, &plan).await.map_err(|e| e.during("offline messages"))?;
    let plan = presence::Plan { users: 10, side: 2, changes: 5, patience };
    presence::run(target, &plan).await.map_err(|e| e.during("presence"))?;
    println!("every workload ran, and nothing was lost");
    Ok(())
}

fn args(proxy: Option<Proxy>) -> Args {
    Args {
        targets: Vec::new(),
        only: Vec::new(),
        group: None,
        floor: false,
        quick: true,
        rounds: 1,
        sessions: Vec::new(),
        filled: 0,
        command: Vec::new(),
        results: None,
        proxy,
        mode: Mode::SelfTest,
    }
}

/// What the bench is not about, and no archive.
pub const UNBOUND: [&str; 6] = [
    "limits.bytes_per_second=0",
    "limits.stanzas_per_second=0",
    "limits.streams_per_ip=0",
    "limits.connections_per_second=0",
    "limits.offline_messages_max=1000000",
    "modules.mam.enabled=false",
];

/// A `stonechat lab`, which ends with this value.
pub struct Lab {
    child: Child,
    /// Where clients connect.
    pub address: std::net::SocketAddr,
}

impl Lab {
    /// One with these settings.
    pub fn start(set: &[&str]) -> Res<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stonechat"));
        command.args(["lab", "--domain", "localhost", "--set", "c2s.require_tls=false"]);
        command.args(["--set", "sasl.iterations=4096", "--set", "log.level=error"]);
        command.args(set.iter().flat_map(|set| ["--set", set]));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let Some(stdout) = child.stdout.take() else { return fault("no output of the lab") };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: serde_json::Value =
            serde_json::from_str(&line).map_err(|e| Fault(format!("no ready line: {e}")))?;
        let address = ready.get("c2s").and_then(|c2s| c2s.as_str()?.parse().ok());
        let Some(address) = address else { return fault(format!("no address: {line}")) };
        Ok(Self { child, address })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn target(&self) -> Target {
        Target::new("lab", self.address, self.pid(), "localhost")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
