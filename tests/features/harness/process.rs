//! Processes of our own binary, with what they print, signals, and clients at hand.

use super::client::{Client, DEADLINE, Failure, Outcome, Security, Target};
use super::element::{Element, STREAM};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// The password of every account that a lab here makes.
pub const PASSWORD: &str = "pencil-and-rubber";

/// The binary under test; another build of it by `STONECHAT_TEST_BINARY`.
pub fn binary() -> Command {
    let built = std::env::var_os("STONECHAT_TEST_BINARY");
    let mut command = Command::new(built.unwrap_or_else(|| env!("CARGO_BIN_EXE_stonechat").into()));
    // The machine's own settings must not decide a test.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STONECHAT_") {
            command.env_remove(name);
        }
    }
    command.env_remove("JOURNAL_STREAM").env_remove("NOTIFY_SOCKET");
    command
}

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

/// Runs a command to its end with this standard input.
pub fn run(args: &[&str], input: &str) -> Said {
    finish(binary().args(args), input)
}

fn finish(command: &mut Command, input: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    let mut stdin = child.stdin.take().expect("piped");
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("output");
    Said {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The same, from a folder where no configuration lies by chance.
pub fn run_in(folder: &Path, args: &[&str], input: &str) -> Said {
    finish(binary().current_dir(folder).args(args), input)
}

/// Text that grows as a process prints.
#[derive(Default)]
struct Text {
    state: Mutex<(String, bool)>,
    grown: Condvar,
}

impl Text {
    fn follow(self: &Arc<Self>, source: impl Read + Send + 'static) {
        let text = Arc::clone(self);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(source);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                text.state.lock().unwrap().0.push_str(&String::from_utf8_lossy(&line));
                text.grown.notify_all();
                line.clear();
            }
            text.state.lock().unwrap().1 = true;
            text.grown.notify_all();
        });
    }

    /// Waits until `enough` finds something; the whole text when it never does.
    fn wait<T>(&self, enough: impl Fn(&str, bool) -> Option<T>) -> Result<T, String> {
        let until = Instant::now() + DEADLINE;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = enough(&state.0, state.1) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.1 {
                return Err(state.0.clone());
            }
            state = self.grown.wait_timeout(state, left).unwrap().0;
        }
    }
}

/// A running process of ours; killed when dropped.
pub struct Process {
    pub pid: u32,
    child: Child,
    out: Arc<Text>,
    err: Arc<Text>,
}

impl Process {
    pub fn spawn(mut command: Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary");
        let (out, err) = (Arc::<Text>::default(), Arc::<Text>::default());
        out.follow(child.stdout.take().expect("piped"));
        err.follow(child.stderr.take().expect("piped"));
        Process { pid: child.id(), child, out, err }
    }

    /// Waits for a piece of standard output.
    pub fn prints<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let found = self.out.wait(|text, _| find(text));
        found.unwrap_or_else(|text| panic!("printed only: {text}\nlog: {}", self.log()))
    }

    /// Waits for a line of the log that holds all these words.
    pub fn logs(&self, words: &[&str]) {
        let has = |line: &str| words.iter().all(|word| line.contains(word));
        let found = self.err.wait(|text, _| text.lines().any(has).then_some(()));
        found.unwrap_or_else(|text| panic!("no line with {words:?} in the log:\n{text}"));
    }

    /// Waits for so many of them.
    pub fn logs_times(&self, times: usize, words: &[&str]) {
        let has = |line: &&str| words.iter().all(|word| line.contains(word));
        let count = |text: &str| text.lines().filter(has).count();
        let found = self.err.wait(|text, _| (count(text) >= times).then_some(()));
        found.unwrap_or_else(|text| panic!("not {times} lines with {words:?} in the log:\n{text}"));
    }

    /// All that was logged so far.
    pub fn log(&self) -> String {
        self.err.state.lock().unwrap().0.clone()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status();
        assert!(sent.expect("kill").success(), "SIG{name}");
    }

    /// Waits for its end, which closes its standard error.
    pub fn exit(&mut self) -> ExitStatus {
        let closed = self.err.wait(|_, closed| closed.then_some(()));
        closed.unwrap_or_else(|text| panic!("still running; log:\n{text}"));
        self.child.wait().expect("its status")
    }

    /// Whether it ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// SIGKILL: nothing more of it happens.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Settings of a server that listens where the system has room.
pub const PORTS: [&str; 12] = [
    "--set",
    "c2s.listen=127.0.0.1:0",
    "--set",
    "c2s.listen_tls=127.0.0.1:0",
    "--set",
    "web.listen=127.0.0.1:0",
    "--set",
    "metrics.listen=127.0.0.1:0",
    "--set",
    "admin.listen=127.0.0.1:0",
    "--set",
    "s2s.listen=127.0.0.1:0",
];

/// Tests wait for lines of the log by the addresses in them.
pub const LOG: &str = "log.level=info,stonechat::session=debug";

/// Rooms that nobody configures are for all, as most tests of rooms want it.
pub const OPEN_ROOMS: &str = "modules.muc.preset=public";

/// A lab with its log, and clients for it.
pub struct Lab {
    pub process: Process,
    pub target: Target,
    pub data: PathBuf,
    /// Where the figures are; only of what is started as a lab.
    pub metrics: Option<SocketAddr>,
    /// Where components connect, if some are configured.
    pub components: Option<SocketAddr>,
    /// The same with TLS; only of what is started as a lab.
    pub components_tls: Option<SocketAddr>,
    /// The servers of `--split`, as clients see them, with their data; only of what is started as a lab.
    pub split: Vec<(Target, PathBuf)>,
    /// Where an authority looks, if certificates are ordered.
    pub acme: Option<SocketAddr>,
    /// Where the operator's API is; only of what is started as a lab.
    pub api: Option<SocketAddr>,
}

impl Lab {
    /// A lab with these accounts of localhost, and settings like `limits.depth_max=20`.
    pub fn new(users: &[&str], set: &[&str]) -> Lab {
        let users: Vec<String> =
            users.iter().map(|user| format!("{user}@localhost:{PASSWORD}")).collect();
        let users = users.iter().flat_map(|user| ["--user", user]);
        // The least that is allowed: logins are most of a test's time.
        let mut base = vec!["sasl.iterations=4096", OPEN_ROOMS, LOG];
        // Whoever is no federation's test asks no DNS.
        if !set.iter().any(|set| set.starts_with("s2s.") || set.starts_with("component")) {
            base.push("s2s.enabled=false");
        }
        let set = base.iter().chain(set).flat_map(|set| ["--set", set]);
        Lab::start(&users.chain(set).collect::<Vec<_>>())
    }

    /// A lab with this command line.
    pub fn start(args: &[&str]) -> Lab {
        Lab::start_through(binary(), args)
    }

    /// The same through a command that ends in the binary, as under a tracer.
    pub fn start_through(mut command: Command, args: &[&str]) -> Lab {
        command.arg("lab").args(args);
        Lab::of(command)
    }

    /// A lab by a command that is ready to be run.
    pub fn of(command: Command) -> Lab {
        let process = Process::spawn(command);
        let line = process.prints(|text| text.lines().next().map(str::to_owned));
        let ready: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
        let target = target(&ready);
        let split = ready["split"].as_array().into_iter().flatten();
        let data = |one: &serde_json::Value| one["data"].as_str().unwrap_or_default().into();
        let split = split.map(|one| (self::target(one), data(one))).collect();
        let metrics = text("metrics");
        let metrics = metrics.strip_prefix("http://").and_then(|it| it.strip_suffix("/metrics"));
        let metrics = metrics.and_then(|address| address.parse().ok());
        let components = text("components").parse().ok();
        let components_tls = text("components_tls").parse().ok();
        let acme = text("acme").parse().ok();
        let api = text("api");
        let api = api.strip_prefix("http://").and_then(|it| it.strip_suffix("/api/v1"));
        let api = api.and_then(|address| address.parse().ok());
        let data = text("data").into();
        Lab { process, target, data, metrics, components, components_tls, split, acme, api }
    }

    /// `stonechat serve` over this folder, with accounts made before.
    pub fn serve(folder: &Path, args: &[&str], users: &[&str]) -> Lab {
        Lab::serve_as(folder, args, users, |_| {})
    }

    /// The same with a command that is changed before it is run.
    pub fn serve_as(
        folder: &Path,
        args: &[&str],
        users: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Lab {
        Lab::serve_domain("localhost", folder, args, users, change)
    }

    /// The same for another domain, which the settings name.
    pub fn serve_domain(
        domain: &str,
        folder: &Path,
        args: &[&str],
        users: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Lab {
        let data = folder.join("data");
        let shown = data.display().to_string();
        let mut common = vec!["--data-dir", &shown, "--set", "c2s.listen=127.0.0.1:0"];
        common.extend([
            "--set",
            "c2s.listen_tls=127.0.0.1:0",
            "--set",
            "web.listen=127.0.0.1:0",
            "--set",
            "metrics.listen=127.0.0.1:0",
            "--set",
            "admin.listen=127.0.0.1:0",
            "--set",
            "s2s.listen=127.0.0.1:0",
            "--set",
            "sasl.iterations=4096",
        ]);
        common.extend(["--set", OPEN_ROOMS, "--set", LOG]);
        common.extend(args);
        for user in users {
            let jid = format!("{user}@{domain}");
            let add = ["user", "add", &jid, "--password-stdin"];
            let said = run_in(folder, &[&common, &add[..]].concat(), PASSWORD);
            assert!(said.ok, "{}", said.err);
        }
        let mut command = binary();
        command.current_dir(folder).args(&common);
        change(&mut command);
        let process = Process::spawn(command);
        // The words of the start are for people.
        let address = |text: &str, mark: &str| {
            let line = text.lines().find(|line| line.ends_with(mark))?;
            line.split_whitespace().find_map(|word| word.parse::<SocketAddr>().ok())
        };
        let (c2s, c2s_tls, web) = process.prints(|text| {
            Some((
                address(text, "(STARTTLS)")?,
                address(text, "(TLS from the first byte)")?,
                text.lines()
                    .any(|line| line.ends_with("(HTTPS, WebSocket)"))
                    .then(|| address(text, "(HTTPS, WebSocket)"))?,
            ))
        });
        // With certificates of the operator's there is nothing to trust.
        let own = args.iter().any(|arg| arg.starts_with("host.0.certificate="));
        let ca = (!own).then(|| {
            process.prints(|text| {
                let mut lines = text.lines().map(str::trim_start);
                let line = lines.find_map(|line| line.strip_prefix("trust:"))?;
                Some(PathBuf::from(line.trim()))
            })
        });
        let target = Target { domain: domain.into(), c2s, c2s_tls: Some(c2s_tls), web, ca };
        let components = process.prints(|text| {
            let there = text.lines().any(|line| line.ends_with("(bridges and bots)"));
            Some(if there { address(text, "(bridges and bots)") } else { None })
        });
        let (components_tls, split, metrics) = (None, Vec::new(), None);
        Lab {
            process,
            target,
            data,
            metrics,
            components,
            components_tls,
            split,
            acme: None,
            api: None,
        }
    }

    /// A stream with its features, under TLS by STARTTLS, or over WebSocket if
    /// `STONECHAT_TEST_TRANSPORT=websocket` asks for that.
    pub async fn connect(&self) -> Outcome<Client> {
        let wanted = std::env::var("STONECHAT_TEST_TRANSPORT");
        let security = match wanted.as_deref() {
            Ok("websocket") => Security::WebSocket,
            _ => Security::StartTls,
        };
        let mut client = Client::connect(&self.target, security).await?;
        // What a ping means is what these tests are about: they answer for themselves.
        client.answers_pings = false;
        Ok(client)
    }

    /// A TCP connection on which nothing was said.
    pub async fn dial(&self) -> Outcome<Client> {
        Client::dial(&self.target, self.target.c2s).await
    }

    /// Connected, authenticated, bound to a resource of the server's choice.
    pub async fn login(&self, user: &str) -> Outcome<Client> {
        let mut client = self.authenticated(user).await?;
        client.bind(None).await?;
        Ok(client)
    }

    /// The same with a resource of one's own.
    pub async fn login_as(&self, user: &str, resource: &str) -> Outcome<Client> {
        let mut client = self.authenticated(user).await?;
        client.bind(Some(resource)).await?;
        Ok(client)
    }

    /// Authenticated, the new stream open, nothing bound.
    pub async fn authenticated(&self, user: &str) -> Outcome<Client> {
        let mut client = self.connect().await?;
        client.authenticate(user, PASSWORD).await?;
        Ok(client)
    }

    /// A session that gets messages: roster asked for, initial presence sent.
    pub async fn online(&self, user: &str, resource: &str) -> Outcome<Client> {
        let mut client = self.login_as(user, resource).await?;
        client.become_available().await?;
        Ok(client)
    }
}

/// A server by its line of JSON.
fn target(ready: &serde_json::Value) -> Target {
    let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
    Target {
        domain: ready["domains"][0].as_str().expect("a domain").to_owned(),
        c2s: text("c2s").parse().expect("c2s"),
        c2s_tls: text("c2s_tls").parse().ok(),
        web: text("http").trim_start_matches("https://").parse().ok(),
        ca: Some(PathBuf::from(text("ca"))).filter(|path| path.exists()),
    }
}

/// The stream error that ends this stream; the closing tag must follow (RFC 6120 §4.9.1.1).
pub async fn stream_error(client: &mut Client) -> Outcome<String> {
    let error = client.expect(|e| e.is(STREAM, "error")).await?;
    client.ended().await?;
    if !client.conversation().contains("</stream:stream>") {
        return client.fail("no closing tag behind the stream error");
    }
    // RFC 6120 §4.9.1.2: whatever happens, our header came first.
    if client.header.name != "stream" || client.header.attr("id").is_none() {
        return client.fail("a stream error without a header before it");
    }
    match error.children.iter().find(|child| child.name != "text") {
        Some(condition) if condition.ns == STREAM_ERRORS => Ok(condition.name.clone()),
        _ => client.fail(format!("no condition in {error}")),
    }
}

/// `stream_error` as a claim.
pub async fn ends_with(client: &mut Client, condition: &str) -> Outcome<()> {
    let got = stream_error(client).await?;
    if got != condition {
        return client.fail(format!("{condition} was expected, {got} came"));
    }
    Ok(())
}

/// The condition inside a SASL `<failure/>`.
pub fn sasl_condition(failure: &Element) -> &str {
    let mut conditions = failure.children.iter().filter(|child| child.name != "text");
    conditions.next().map_or("(none)", |child| &child.name)
}

/// An error for a test that found something wrong outside of a client.
pub fn wrong<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Failure(why.into()))
}

pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
