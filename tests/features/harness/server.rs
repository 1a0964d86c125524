//! A server for the tests: our own binary in a temporary folder, or any other by its address.

use super::client::{Client, Security, Target};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// A running `stonechat lab`, killed when dropped.
pub struct Server {
    pub target: Target,
    pub data: PathBuf,
    pub pid: u32,
    child: Child,
}

/// What a lab is to start with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub domains: Vec<String>,
    /// `(localpart@domain, password)`
    pub users: Vec<(String, String)>,
    /// Configuration keys, as on the command line: `("limits.offline_messages_max", "3")`.
    pub set: Vec<(String, String)>,
    /// Where to keep the data; a new temporary folder without it.
    pub data: Option<PathBuf>,
}

impl Server {
    /// Starts the binary and waits for its line that says it is ready.
    pub fn start(options: &Options) -> Result<Server, String> {
        let mut command = Command::new(Server::binary());
        command.arg("lab").stdin(Stdio::null()).stdout(Stdio::piped());
        for domain in &options.domains {
            command.args(["--domain", domain]);
        }
        for (jid, password) in &options.users {
            command.args(["--user", &format!("{jid}:{password}")]);
        }
        // As few rounds as the specification allows: accounts are made for each test.
        command.args(["--set", "sasl.iterations=4096"]);
        // Rooms that nobody configures are for all, as on other servers.
        command.args(["--set", super::process::OPEN_ROOMS]);
        // Whoever is no federation's test asks no DNS.
        if !options.set.iter().any(|(key, _)| key.starts_with("s2s.")) {
            command.args(["--set", "s2s.enabled=false"]);
        }
        for (key, value) in &options.set {
            command.args(["--set", &format!("{key}={value}")]);
        }
        if let Some(data) = &options.data {
            command.arg("--data-dir").arg(data);
        }
        let mut child = command.spawn().map_err(|e| format!("stonechat lab: {e}"))?;
        match read_ready(&mut child) {
            Ok((target, data)) => Ok(Server { target, data, pid: child.id(), child }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The program: another build of it, a release say, by STONECHAT_TEST_BINARY.
    pub fn binary() -> std::ffi::OsString {
        let built = std::env::var_os("STONECHAT_TEST_BINARY");
        built.unwrap_or_else(|| env!("CARGO_BIN_EXE_stonechat").into())
    }

    /// Asks the process to stop (SIGTERM) and waits for its end; true if it says all went well.
    pub fn terminate(&mut self) -> bool {
        let asked = Command::new("kill").arg(self.pid.to_string()).status();
        asked.is_ok_and(|status| status.success())
            && self.child.wait().is_ok_and(|status| status.success())
    }

    /// Ends the process at once, as a power cut would (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The first line of a lab is JSON: `{"ready":true,"domains":[..],"c2s":"..","c2s_tls":"..",...}`.
fn read_ready(child: &mut Child) -> Result<(Target, PathBuf), String> {
    let stdout = child.stdout.take().ok_or("no stdout")?;
    let mut reader = BufReader::new(stdout);
    let mut line = String::new();
    reader.read_line(&mut line).map_err(|e| e.to_string())?;
    // Kept open: a lab that says more must not die of a broken pipe.
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let ready: serde_json::Value =
        serde_json::from_str(&line).map_err(|e| format!("not a ready line: {e}: {line:?}"))?;
    let text =
        |key: &str| ready[key].as_str().map(str::to_owned).ok_or(format!("no {key}: {line}"));
    let addr = |key: &str| text(key)?.parse::<SocketAddr>().map_err(|e| format!("{key}: {e}"));
    let domain = ready["domains"][0].as_str().ok_or(format!("no domains: {line}"))?;
    let target = Target {
        domain: domain.to_owned(),
        c2s: addr("c2s")?,
        c2s_tls: Some(addr("c2s_tls")?),
        web: text("http")?.trim_start_matches("https://").parse().ok(),
        ca: Some(text("ca")?.into()),
    };
    Ok((target, text("data")?.into()))
}

/// What a test runs against: another server if one is named, else one of our own.
pub struct Place {
    pub target: Target,
    /// Ours, where it is ours.
    pub server: Option<Server>,
    suffix: String,
}

/// The password of every account of a [`Place`].
pub const PASSWORD: &str = "pencil";

impl Place {
    /// With these accounts (localparts).
    pub async fn with(users: &[&str]) -> Place {
        Place::set(users, &[]).await
    }

    /// With these accounts; the settings are for our own server.
    pub async fn set(users: &[&str], set: &[(&str, &str)]) -> Place {
        let Some(target) = subject() else {
            let users = users.iter().map(|user| (format!("{user}@localhost"), PASSWORD.into()));
            let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let options = Options {
                domains: vec!["localhost".into()],
                users: users.collect(),
                set: set.collect(),
                data: None,
            };
            let server = Server::start(&options).unwrap();
            return Place {
                target: server.target.clone(),
                server: Some(server),
                suffix: "".into(),
            };
        };
        // Elsewhere accounts outlive a run: each place has its own.
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let suffix = format!("-{:x}-{number}", now.as_millis());
        let place = Place { target, server: None, suffix };
        for user in users {
            let mut client = place.connect().await;
            client.register(&place.user(user), PASSWORD).await.unwrap();
            client.close().await.unwrap();
        }
        place
    }

    /// A server that somebody else keeps.
    pub fn of(target: Target) -> Place {
        Place { target, server: None, suffix: String::new() }
    }

    /// The localpart that an account has here.
    pub fn user(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    pub fn jid(&self, name: &str) -> String {
        format!("{}@{}", self.user(name), self.target.domain)
    }

    /// How streams are secured when a test does not care.
    pub fn security(&self) -> Security {
        if self.target.ca.is_some() { Security::StartTls } else { Security::Plain }
    }

    /// A stream that has not authenticated.
    pub async fn connect(&self) -> Client {
        Client::connect(&self.target, self.security()).await.unwrap()
    }

    /// A bound stream.
    pub async fn bound(&self, name: &str) -> Client {
        let user = self.user(name);
        Client::login(&self.target, self.security(), &user, PASSWORD).await.unwrap()
    }

    /// An available resource that has asked for the roster.
    pub async fn online(&self, name: &str) -> Client {
        let mut client = self.bound(name).await;
        client.become_available().await.unwrap();
        client
    }
}

/// Another server to hold the tests against: `STONECHAT_TEST_SUBJECT=host:port`, with
/// `STONECHAT_TEST_DOMAIN`, `STONECHAT_TEST_TLS=host:port` and `STONECHAT_TEST_CA=file` beside it.
pub fn subject() -> Option<Target> {
    let c2s = address("STONECHAT_TEST_SUBJECT")?;
    Some(Target {
        domain: std::env::var("STONECHAT_TEST_DOMAIN").unwrap_or_else(|_| "localhost".into()),
        c2s,
        c2s_tls: address("STONECHAT_TEST_TLS"),
        web: None,
        ca: std::env::var_os("STONECHAT_TEST_CA").map(PathBuf::from),
    })
}

fn address(variable: &str) -> Option<SocketAddr> {
    let text = std::env::var(variable).ok()?;
    text.to_socket_addrs().expect(variable).next()
}
