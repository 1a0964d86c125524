//! A thousand other domains at once, and how long local clients wait meanwhile: an account with a contact at each of
//! them comes online, and the server starts with a message for each of them in its queues.
//!
//! Both servers are ours, on loopback; the other one serves all of those domains, each with a certificate of its own,
//! and has the processors only when nobody else wants them, as it stands for a thousand machines elsewhere.

use super::crowd::{accounts, user};
use super::fault::{Fault, Res, fault};
use super::framer::{attr, is};
use super::process::{cpu_secs, settle};
use super::results::Row;
use super::target::{Client, Security, Target};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rusqlite::{Connection, params};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Runs it with so many domains; prints a row for each of the two events.
pub async fn run(count: usize) -> Res<Vec<(String, Row)>> {
    let folder = tempfile::tempdir()?;
    let bed = Bed::new(folder.path(), count)?;
    bed.fill().await?;
    let mut rows = Vec::new();
    {
        let _theirs = bed.start("theirs")?;
        let ours = bed.start("ours")?;
        let chat = Chat::start(&bed.target(&ours)).await?;
        let quiet = chat.p95_over(QUIET).await?;
        let before = cpu_secs(ours.pid())?;
        let (mark, begun) = (chat.mark(), Instant::now());
        let hub = bed.online(&ours).await?;
        let took = begun.elapsed().as_secs_f64();
        let login = chat.p95_since(mark)?;
        let cpu = cpu_secs(ours.pid())? - before;
        rows.push(("domains-login".to_owned(), row(quiet, login, took).with("cpu", cpu)));
        drop((hub, chat));
    }
    {
        // Nobody is there: all of it waits.
        let ours = bed.start("ours")?;
        bed.write(&ours).await?;
        settle(ours.pid()).await?;
        drop(ours);
        let _theirs = bed.start("theirs")?;
        let ours = bed.start("ours")?;
        let begun = Instant::now();
        let chat = Chat::start(&bed.target(&ours)).await?;
        let mark = chat.mark();
        bed.until_empty().await?;
        let took = begun.elapsed().as_secs_f64();
        let busy = chat.p95_since(mark)?;
        settle(ours.pid()).await?;
        let quiet = chat.p95_over(QUIET).await?;
        rows.push(("domains-restart".to_owned(), row(quiet, busy, took)));
    }
    Ok(rows)
}

fn row(quiet: f64, disturbed: f64, secs: f64) -> Row {
    let factor = disturbed / quiet;
    let row = Row::new().with("quiet", quiet).with("disturbed", disturbed);
    row.with("factor", factor).with("secs", secs)
}

/// Configuration, certificates and databases of both servers.
struct Bed {
    folder: PathBuf,
    count: usize,
    c2s: [SocketAddr; 2],
}

impl Bed {
    fn new(folder: &Path, count: usize) -> Res<Self> {
        let free = [free()?, free()?, free()?, free()?];
        let [ours, theirs, c2s, c2s_theirs] = free;
        let authority = Authority::new(folder)?;
        let domains: Vec<String> = (0..count).map(|n| format!("d{n}.test")).collect();
        let own = vec![OWN.to_owned()];
        let bed = Self { folder: folder.to_owned(), count, c2s: [c2s, c2s_theirs] };
        bed.configure("ours", &authority, (&own, c2s, ours), (&domains, theirs))?;
        bed.configure("theirs", &authority, (&domains, c2s_theirs, theirs), (&own, ours))?;
        Ok(bed)
    }

    fn configure(
        &self,
        name: &str,
        authority: &Authority,
        (own, c2s, s2s): (&[String], SocketAddr, SocketAddr),
        (others, at): (&[String], SocketAddr),
    ) -> Res<()> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let mut text = format!(
            "data_dir = '{folder}/data'\n[c2s]\nlisten = ['{c2s}']\nlisten_tls = []\nrequire_tls = false\n\
             [web]\nlisten = []\n[metrics]\nlisten = []\n[sasl]\niterations = 4096\n[log]\nlevel = 'error'\n\
             [limits]\nbytes_per_second = 0\nstanzas_per_second = 0\nstreams_per_ip = 0\n\
             connections_per_second = 0\n[modules.mam]\nenabled = false\n\
             [modules.register]\nmode = 'open'\nper_ip_per_hour = 0\n\
             [s2s]\nlisten = ['{s2s}']\ntrust = ['{ca}']\ntrust_system = false\n\
             streams_unauthenticated_max = 0\nstreams_unauthenticated_per_ip_max = 0\n[s2s.routes]\n",
            folder = folder.display(),
            ca = authority.ca.display(),
        );
        for other in others {
            let _ = writeln!(text, "'{other}' = '{at}'");
        }
        for domain in own {
            let (chain, key) = authority.put(&folder, domain)?;
            let _ = writeln!(
                text,
                "[[host]]\ndomain = '{domain}'\ncertificate = '{}'\nkey = '{}'",
                chain.display(),
                key.display()
            );
        }
        std::fs::write(folder.join("stonechat.toml"), text)?;
        Ok(())
    }

    fn start(&self, name: &str) -> Res<Server> {
        let mut command = Command::new("nice");
        let nice = if name == "theirs" { "19" } else { "0" };
        command.args(["-n", nice]).arg(env!("CARGO_BIN_EXE_stonechat")).arg("--config");
        command.arg(self.folder.join(name).join("stonechat.toml")).arg("serve");
        let log = std::fs::File::create(self.folder.join(name).join("out.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut server = Server { child: command.spawn()? };
        let until = Instant::now() + PATIENCE;
        let [ours, theirs] = self.c2s;
        let at = if name == "theirs" { theirs } else { ours };
        while TcpStream::connect(at).is_err() {
            if Instant::now() > until || server.child.try_wait()?.is_some() {
                let log = std::fs::read_to_string(self.folder.join(name).join("out.log"))?;
                return fault(format!("{name} does not start: {log}"));
            }
            std::thread::sleep(STEP);
        }
        Ok(server)
    }

    fn target(&self, ours: &Server) -> Arc<Target> {
        Arc::new(Target::new("stonechat", self.c2s[0], ours.pid(), OWN))
    }

    fn database(&self, name: &str) -> Res<Connection> {
        Ok(Connection::open(self.folder.join(name).join("data").join("stonechat.db"))?)
    }

    /// An account here with a contact at each of the domains, who has it as a contact, too.
    async fn fill(&self) -> Res<()> {
        {
            let ours = self.start("ours")?;
            accounts(&self.target(&ours), 2 * PAIRS + 1).await?;
            drop(self.start("theirs")?);
        }
        let (hub, contact) = (user(HUB), "u");
        let mut ours = self.database("ours")?;
        let tx = ours.transaction()?;
        for n in 0..self.count {
            tx.execute(
                "INSERT INTO roster_item (account, jid, state, approved, listed, ver)
                 SELECT id, ?2, 'both', 0, 1, ?3 FROM account WHERE localpart = ?1",
                params![hub, format!("{contact}@d{n}.test"), n as i64 + 1],
            )?;
        }
        tx.commit()?;
        let mut theirs = self.database("theirs")?;
        let tx = theirs.transaction()?;
        for n in 0..self.count {
            let host = format!("d{n}.test");
            tx.execute(
                "INSERT INTO account (localpart, host, created) VALUES (?1, ?2, 0)",
                params![contact, host],
            )?;
            tx.execute(
                "INSERT INTO roster_item (account, jid, state, approved, listed, ver)
                 SELECT id, ?2, 'both', 0, 1, 1 FROM account WHERE host = ?1",
                params![host, format!("{hub}@{OWN}")],
            )?;
        }
        Ok(tx.commit()?)
    }

    /// The account comes online, and has heard from each of the domains.
    async fn online(&self, ours: &Server) -> Res<Client> {
        let mut hub = self.target(ours).session(Security::Plain, &user(HUB)).await?;
        hub.conn.send(b"<presence/>").await?;
        let mut heard = HashSet::new();
        let listen = async {
            while heard.len() < self.count {
                let piece = hub.conn.next().await?;
                if is(&piece, "presence")
                    && let Some(from) = attr(&piece, "from")
                    && from.starts_with(b"u@d")
                {
                    heard.insert(from.to_vec());
                }
            }
            Ok::<_, Fault>(())
        };
        match tokio::time::timeout(PATIENCE, listen).await {
            Ok(done) => done?,
            Err(_) => return fault(format!("{} of {} domains answered", heard.len(), self.count)),
        }
        Ok(hub)
    }

    /// It writes to each of its contacts.
    async fn write(&self, ours: &Server) -> Res<()> {
        let mut hub = self.target(ours).session(Security::Plain, &user(HUB)).await?;
        for n in 0..self.count {
            let message =
                format!("<message to='u@d{n}.test' type='chat'><body>hi</body></message>");
            hub.conn.send(message.as_bytes()).await?;
        }
        hub.conn.close().await?;
        let waiting = self.waiting()?;
        if waiting < self.count / 2 {
            return fault(format!("only {waiting} of {} messages wait", self.count));
        }
        Ok(())
    }

    fn waiting(&self) -> Res<usize> {
        let count = "SELECT count(*) FROM peer_queue";
        let count: i64 = self.database("ours")?.query_row(count, [], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    async fn until_empty(&self) -> Res<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.waiting()? {
                0 => return Ok(()),
                left if Instant::now() > until => return fault(format!("{left} messages wait")),
                _ => tokio::time::sleep(STEP).await,
            }
        }
    }
}

/// Pairs who write to each other all the time, a little.
struct Chat {
    delays: Arc<Mutex<Vec<u64>>>,
    stop: Arc<AtomicBool>,
    _tasks: JoinSet<Res<()>>,
}

impl Chat {
    async fn start(target: &Arc<Target>) -> Res<Self> {
        let (delays, stop) = (Arc::<Mutex<Vec<u64>>>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for pair in 0..PAIRS {
            let one = target.session(Security::Plain, &user(2 * pair)).await?;
            let other = target.session(Security::Plain, &user(2 * pair + 1)).await?;
            tasks.spawn(Self::pair(one, other, delays.clone(), stop.clone()));
        }
        Ok(Self { delays, stop, _tasks: tasks })
    }

    async fn pair(
        mut one: Client,
        mut other: Client,
        delays: Arc<Mutex<Vec<u64>>>,
        stop: Arc<AtomicBool>,
    ) -> Res<()> {
        other.conn.send(b"<presence/>").await?;
        let body = "x".repeat(100);
        let message =
            format!("<message to='{}' type='chat'><body>{body}</body></message>", other.jid);
        while !stop.load(Relaxed) {
            let begun = Instant::now();
            one.conn.send(message.as_bytes()).await?;
            other.conn.until(|piece| is(piece, "message")).await?;
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            delays.lock().expect("no holder panics").push(micros);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    fn mark(&self) -> usize {
        self.delays.lock().expect("no holder panics").len()
    }

    async fn p95_over(&self, time: Duration) -> Res<f64> {
        let mark = self.mark();
        tokio::time::sleep(time).await;
        self.p95_since(mark)
    }

    /// The 95th percentile of the delays since then, in microseconds.
    fn p95_since(&self, mark: usize) -> Res<f64> {
        let delays = self.delays.lock().expect("no holder panics");
        let mut some: Vec<u64> = delays.get(mark..).unwrap_or_default().to_vec();
        some.sort_unstable();
        let at = some.len() * 95 / 100;
        #[allow(clippy::cast_precision_loss)]
        let found = some.get(at).map(|micros| *micros as f64);
        found.ok_or_else(|| Fault("nothing was said".to_owned()))
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// A server that stops, in good order, with this value.
struct Server {
    child: Child,
}

impl Server {
    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let _ = self.child.wait();
    }
}

/// Signs for all of them.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: PathBuf,
}

impl Authority {
    fn new(folder: &Path) -> Res<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority of a bench");
        let key = KeyPair::generate().map_err(made)?;
        let ca = folder.join("authority.pem");
        std::fs::write(&ca, params.self_signed(&key).map_err(made)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), ca })
    }

    fn put(&self, folder: &Path, domain: &str) -> Res<(PathBuf, PathBuf)> {
        let key = KeyPair::generate().map_err(made)?;
        let mut params = CertificateParams::new(vec![domain.to_owned()]).map_err(made)?;
        params.distinguished_name.push(DnType::CommonName, domain);
        let chain = params.signed_by(&key, &self.issuer).map_err(made)?.pem();
        let paths = (folder.join(format!("{domain}.pem")), folder.join(format!("{domain}.key")));
        std::fs::write(&paths.0, chain)?;
        std::fs::write(&paths.1, key.serialize_pem())?;
        Ok(paths)
    }
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn made(error: rcgen::Error) -> Fault {
    Fault(format!("certificates: {error}"))
}

fn free() -> Res<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

const OWN: &str = "bench.test";
/// Pairs who chat, and the account with the contacts, which comes behind them.
const PAIRS: usize = 10;
const HUB: usize = 2 * PAIRS;
/// Rest of a pair between two messages.
const PAUSE: Duration = Duration::from_millis(5);
/// How long it is looked at while nothing else happens.
const QUIET: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(180);
