//! `stonechat check`: finds, before a start, everything that would stop it.

mod acme;
pub mod bucket;
pub mod certificates;
mod external;
mod records;
mod services;
mod web_client;

use super::admin_socket::is_alive;
use super::config::{Config, Inputs, Loaded, Origins, Problem, load};
use crate::base::time::{is_plausible, stamp};
use crate::net::listener;
use crate::store::{OpenError, Store};
use std::fmt;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What is in order.
    pub good: Vec<String>,
    /// What could not be looked at.
    pub notes: Vec<String>,
    /// What works, but should be changed.
    pub warnings: Vec<String>,
    /// Lines that the DNS zone needs.
    pub records: Vec<String>,
    /// What stops clients, but not the server.
    pub faults: Vec<Problem>,
    /// What stops the server.
    pub problems: Vec<Problem>,
    /// Whether a server already uses this data.
    pub running: bool,
}

/// Checks certificates. Passed in, because floor 7 has the code for it.
pub type Certificates = fn(&Loaded, &mut Report);

/// Checks, prints, and shows by its exit code whether a server could start.
pub fn main(inputs: &Inputs, depth: Depth, certificates: Certificates) -> ExitCode {
    let report = check(inputs, depth, certificates);
    // The reader may stop reading: the exit code is enough.
    let _ = writeln!(io::stdout(), "{report}");
    match report.problems.is_empty() && report.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.good {
            writeln!(f, "good: {line}")?;
        }
        for line in &self.notes {
            writeln!(f, "note: {line}")?;
        }
        for line in &self.warnings {
            writeln!(f, "warning: {line}")?;
        }
        if !self.records.is_empty() {
            writeln!(f, "to be put into the DNS zone, in the place of what is wrong there:")?;
        }
        for line in &self.records {
            writeln!(f, "    {line}")?;
        }
        for problem in self.faults.iter().chain(&self.problems) {
            writeln!(f, "PROBLEM: {problem}")?;
        }
        let count = |problems: &[Problem]| match problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        match self.problems.len() {
            0 if !self.faults.is_empty() => {
                let told = count(&self.faults);
                write!(f, "Stonechat can start, but not serve as it should: {told}.")
            }
            0 if self.running => f.write_str("Stonechat is running on this data."),
            0 => f.write_str("Stonechat can start."),
            _ => write!(f, "Stonechat cannot start: {}.", count(&self.problems)),
        }
    }
}

/// How much of the database is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What the server reads at its start.
    Start,
    /// All of it.
    Deep,
}

/// Checks everything; with a broken configuration nothing further can be checked.
pub fn check(inputs: &Inputs, depth: Depth, certificates: Certificates) -> Report {
    let mut report = Report::default();
    let loaded = match load(inputs) {
        Ok(loaded) => loaded,
        Err(problems) => {
            report.problems = problems.0;
            return report;
        }
    };
    let config = &loaded.config;
    let read = loaded.file.as_ref().map(|file| format!("read from {}", file.display()));
    let read = read.unwrap_or_else(|| "the built-in defaults, no file found".to_owned());
    report.good.push(format!("configuration: {read}"));
    report.warnings.extend(config.warnings());
    report.warnings.extend(external::warnings(config));
    report.warnings.extend(clock_warning());
    let running = server_runs(config);
    report.running = running;
    report.good.extend(services::lines(config));
    report.faults.extend(web_client::fault(config, &loaded.origins));
    folder(config, &loaded.origins, &mut report);
    socket(config, running, &loaded.origins, &mut report);
    database(config, running, depth, &mut report);
    for found in block_on(bucket::look(config, &loaded.origins)).unwrap_or_default() {
        match found {
            bucket::Found::Good(line) => report.good.push(line),
            bucket::Found::Warning(line) => report.warnings.push(line),
            bucket::Found::Fault(fault) => report.faults.push(fault),
            bucket::Found::Problem(problem) => report.problems.push(problem),
        }
    }
    certificates(&loaded, &mut report);
    let zone = block_on(records::look(config)).unwrap_or_default();
    report.good.extend(zone.good);
    report.notes.extend(zone.notes);
    report.warnings.extend(zone.warnings);
    report.records.extend(zone.records);
    ports(config, running, &loaded.origins, &mut report);
    report
}

/// Whether a server already uses this data folder.
fn server_runs(config: &Config) -> bool {
    block_on(is_alive(&config.admin_socket())).unwrap_or(false)
}

fn block_on<T>(future: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.ok().map(|runtime| runtime.block_on(future))
}

/// What is wrong with the clock, if that can be seen.
#[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
pub fn clock_warning() -> Option<String> {
    let now = SystemTime::now();
    (!is_plausible(now)).then(|| {
        format!(
            "the clock of this machine shows {}, which cannot be: messages would be stamped with that, \
             and certificates keep the dates that they have; set the clock",
            stamp(now)
        )
    })
}

/// What is wrong with the permissions of the data folder: a user who may write there may replace the
/// database with another one.
pub fn open_folder(config: &Config, origins: &Origins) -> Option<Problem> {
    let mode = std::fs::metadata(&config.data_dir).ok()?.mode();
    let shown = config.data_dir.display();
    (mode & 0o022 != 0).then(|| Problem {
        what: format!("others than the server's user can write to the data folder {shown}"),
        place: format!("{}, mode {:o}", origins.of("data_dir"), mode & 0o7777),
        fix: format!("chmod go-w {shown} (700 is what a folder gets that the server makes)"),
    })
}

fn folder(config: &Config, origins: &Origins, report: &mut Report) {
    let wanted = config.data_dir.as_path();
    // A missing folder is made at the start, so its nearest existing parent counts.
    let Some(there) = wanted.ancestors().map(or_here).find(|path| path.exists()) else { return };
    let shown = wanted.display();
    match tempfile::Builder::new().prefix(".stonechat-check-").tempfile_in(there) {
        Ok(_) if there == or_here(wanted) => match open_folder(config, origins) {
            Some(open) => report.faults.push(open),
            None => report.good.push(format!("data folder: {shown} can be written")),
        },
        Ok(_) => report.good.push(format!("data folder: {shown} will be made at the first start")),
        Err(error) => report.problems.push(Problem {
            what: format!("the data folder {shown} cannot be written: {error}"),
            place: origins.of("data_dir"),
            fix: format!("let the server's user write to {}, or set data_dir", there.display()),
        }),
    }
}

/// Whether a server answers on the admin socket, or one could be made there.
fn socket(config: &Config, running: bool, origins: &Origins, report: &mut Report) {
    let path = config.admin_socket();
    let shown = path.display();
    if running {
        return report.good.push(format!("admin socket: a server answers on {shown}"));
    }
    let mut problem = |what: String, fix: &str| {
        let place = origins.of("admin.socket");
        report.problems.push(Problem { what, place, fix: fix.to_owned() });
    };
    match std::fs::symlink_metadata(&path) {
        Ok(there) if !there.file_type().is_socket() => problem(
            format!("the admin socket cannot be made: {shown} is something else"),
            "name another path in admin.socket, or move away what is there",
        ),
        // One that a server left behind makes room for the next.
        Ok(_) if !is_refused(&path) => problem(
            format!(
                "the admin socket {shown} is there, and cannot be asked whether a server is behind it"
            ),
            "run the command as root or the server's user, or name another path in admin.socket",
        ),
        _ if config.admin.socket.is_none() => {
            report.good.push(format!("admin socket: no server answers on {shown}"));
        }
        _ => {
            let folder = or_here(path.parent().unwrap_or(Path::new(".")));
            match tempfile::Builder::new().prefix(".stonechat-check-").tempfile_in(folder) {
                Ok(_) => report.good.push(format!("admin socket: no server answers on {shown}")),
                Err(error) => problem(
                    format!("the admin socket {shown} cannot be made: {error}"),
                    "let the server's user write to the folder, or name another path in admin.socket",
                ),
            }
        }
    }
}

/// Nobody listens there any more.
fn is_refused(path: &Path) -> bool {
    let error = std::os::unix::net::UnixStream::connect(path).err();
    error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The parent of a one-word relative path is the empty path, which means the current folder.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn database(config: &Config, running: bool, depth: Depth, report: &mut Report) {
    let path = config.database();
    if !path.exists() {
        report.good.push("database: none yet, will be made at the first start".to_owned());
        return;
    }
    let place = path.display().to_string();
    let fault = |error: &dyn fmt::Display| Problem::told(error, place.clone(), AS_SAID);
    if running {
        report.good.push("database: in use by the running server".to_owned());
    } else {
        match opened(config) {
            Ok(good) => report.good.push(good),
            Err(error) => return report.problems.push(fault(&error)),
        }
    }
    if depth == Depth::Start {
        return;
    }
    match Store::deep_check(&path) {
        Ok(found) if found.is_empty() => {
            report.good.push("database: read as a whole, nothing wrong".to_owned());
        }
        Ok(found) => {
            report.problems.extend(found.into_iter().map(|what| Problem {
                what: format!("the database is damaged: {what}"),
                place: place.clone(),
                fix: RESTORE.to_owned(),
            }));
        }
        Err(error) => report.problems.push(fault(&error)),
    }
}

/// Opens the database as a start does, but does not upgrade the schema: after that the release that ran
/// before could not open it.
fn opened(config: &Config) -> Result<String, OpenError> {
    if let Some((from, to)) = Store::upgrade_of(&config.database())? {
        return Ok(format!(
            "database: has schema {from}, the next start copies it and makes that {to}"
        ));
    }
    let store = Store::open(config.store_options())?;
    // Closed before another process opens it.
    block_on(store.close());
    Ok("database: can be opened".to_owned())
}

/// The first port that cannot be bound, found before a start makes any files.
pub fn ports_free(config: &Config, origins: &Origins) -> Result<(), Problem> {
    let mut report = Report::default();
    ports(config, false, origins, &mut report);
    report.problems.into_iter().next().map_or(Ok(()), Err)
}

fn ports(config: &Config, running: bool, origins: &Origins, report: &mut Report) {
    for (key, addresses) in config.listeners() {
        for &address in addresses {
            match bind_once(address) {
                Ok(_) => report.good.push(format!("port: {address} is free ({key})")),
                Err(error) if running && error.kind() == io::ErrorKind::AddrInUse => {
                    report.good.push(format!("port: {address} is in use by a running server"));
                }
                Err(error) => report.problems.push(bind_problem(address, &error, origins.of(key))),
            }
        }
    }
}

/// Binds as the start does: `[::]` for IPv4 too, or for IPv4 alone where the system has no IPv6.
fn bind_once(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(address);
    match &bound {
        Err(error) if listener::falls_back(address, error) => {
            TcpListener::bind(SocketAddr::from(([0; 4], address.port())))
        }
        _ => bound,
    }
}

/// Why an address cannot be listened on, for `check` and for the start.
pub fn bind_problem(address: SocketAddr, error: &io::Error, place: String) -> Problem {
    let port = address.port();
    let fix = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has it, most likely another XMPP server (`ss -ltnp` shows which): \
             stop that one, or choose another port, such as --set c2s.listen=127.0.0.1:15222 \
             --set c2s.listen_tls=127.0.0.1:15223 --set web.listen=127.0.0.1:15443 \
             --set metrics.listen=127.0.0.1:15444 --set admin.listen=127.0.0.1:15445; port 0 takes any free one. If `[::]` stands beside it \
             with the same port, that takes it for IPv4 too"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "ports under 1024 need a privilege: choose a higher one, or grant CAP_NET_BIND_SERVICE"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: see `ip address`, or write [::] for all".to_owned()
        }
        _ if address.is_ipv6() => {
            format!("if the system has no IPv6, write \"0.0.0.0:{port}\" instead")
        }
        _ => "choose another address".to_owned(),
    };
    Problem { what: format!("cannot listen on {address}: {error}"), place, fix }
}

const AS_SAID: &str = "do as the first line says, then run `stonechat check` again";
const RESTORE: &str = "stop the server, and put the last backup in its place with `stonechat restore FILE`; the \
    damaged database is kept beside it";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn inputs(folder: &TempDir, sets: &[(&str, &str)]) -> Inputs {
        let data = folder.path().join("data").display().to_string();
        let base = [("data_dir", data.as_str()), ("c2s.listen", "127.0.0.1:0")];
        let more = ["c2s.listen_tls", "web.listen", "metrics.listen", "admin.listen"]
            .map(|key| (key, "127.0.0.1:0"));
        let all = base.iter().chain(&more).chain(sets);
        let sets = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Inputs { sets, ..Inputs::default() }
    }

    fn told(report: &Report) -> String {
        report.to_string()
    }

    #[test]
    fn a_fresh_place_is_good_and_stays_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let report = check(&inputs(&folder, &[]), Depth::Deep, |_, report| {
            report.warnings.push("certificates were looked at".to_owned());
        });
        let told = told(&report);
        for part in ["built-in defaults", "will be made", "none yet", "is free", "looked at"] {
            assert!(told.contains(part), "{part} not in {told}");
        }
        assert!(report.problems.is_empty(), "{told}");
        assert!(!folder.path().join("data").exists());
    }

    /// A socket that a killed server left is no obstacle; a folder that is not there is, and so is another file.
    #[test]
    fn the_admin_socket_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let shown = path.display().to_string();
        let of = |path: &str| {
            check(&inputs(&folder, &[("admin.socket", path)]), Depth::Start, |_, _| {})
        };
        assert!(told(&of(&shown)).contains("good: admin socket: no server answers on"));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let report = of(&shown);
        assert!(told(&report).contains("good: admin socket: a server answers on"));
        assert!(report.running);
        drop(listener);
        assert!(told(&of(&shown)).contains("good: admin socket: no server answers on"));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(told(&of(&shown)).contains("is something else"), "{}", told(&of(&shown)));
        let missing = folder.path().join("none/s").display().to_string();
        assert!(told(&of(&missing)).contains("cannot be made"));
    }

    /// `check` before an upgrade must leave the database to the release that runs.
    #[test]
    fn an_older_database_is_looked_at_and_not_upgraded() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = inputs(&folder, &[]);
        let config = load(&inputs).unwrap().config;
        block_on(Store::open(config.store_options()).unwrap().close());
        let conn = rusqlite::Connection::open(config.database()).unwrap();
        let last = "DELETE FROM migration WHERE version = (SELECT max(version) FROM migration)";
        conn.execute(last, []).unwrap();
        drop(conn);
        let before = fs::read(config.database()).unwrap();
        let report = check(&inputs, Depth::Start, |_, _| {});
        assert!(told(&report).contains("the next start copies it"), "{}", told(&report));
        assert!(report.problems.is_empty() && fs::read(config.database()).unwrap() == before);
    }

    #[test]
    fn a_folder_that_others_write_to_is_no_good_one() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let inputs = inputs(&folder, &[]);
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        for (mode, good) in [(0o700, true), (0o755, true), (0o777, false), (0o770, false)] {
            fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
            let report = check(&inputs, Depth::Start, |_, _| {});
            let said = told(&report);
            assert_eq!(said.contains("chmod go-w"), !good, "{mode:o}: {said}");
            assert_eq!(said.contains("can be written"), good, "{mode:o}: {said}");
            assert_eq!(said.contains("not serve as it should: 1 problem."), !good, "{said}");
        }
    }

    #[test]
    fn a_database_is_opened_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = inputs(&folder, &[]);
        let config = load(&inputs).unwrap().config;
        block_on(Store::open(config.store_options()).unwrap().close());
        let report = check(&inputs, Depth::Deep, |_, _| {});
        assert!(report.problems.is_empty(), "{}", told(&report));
        assert!(told(&report).contains("nothing wrong"));
        fs::write(config.database(), "not a database at all, but a text of some length").unwrap();
        let report = check(&inputs, Depth::Start, |_, _| {});
        assert!(told(&report).contains("is not a database"), "{}", told(&report));
    }

    #[test]
    fn what_stops_a_start_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let file = folder.path().join("file/data").display().to_string();
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().to_string();
        for (key, value, parts) in [
            ("c2s.listen", port.as_str(), ["cannot listen", "c2s.listen", "another program"]),
            ("c2s.listen", "192.0.2.1:0", ["cannot listen", "c2s.listen", "no such address"]),
            ("data_dir", file.as_str(), ["cannot be written", "--set data_dir", "set data_dir"]),
            ("log.levle", "x", ["unknown key", "--set", "log.level"]),
        ] {
            let report = check(&inputs(&folder, &[(key, value)]), Depth::Start, |_, _| {});
            let [problem] = report.problems.as_slice() else { panic!("{}", told(&report)) };
            let text = problem.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }

    #[test]
    fn each_kind_of_refusal_has_its_advice() {
        let v4 = "0.0.0.0:443".parse().unwrap();
        let v6 = "[::]:5222".parse().unwrap();
        for (address, kind, advice) in [
            (v4, io::ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (v6, io::ErrorKind::Unsupported, "0.0.0.0:5222"),
            (v4, io::ErrorKind::Other, "another address"),
        ] {
            let fix = bind_problem(address, &kind.into(), String::new()).fix;
            assert!(fix.contains(advice), "{fix}");
        }
    }
}
