//! One small struct per section of the file; the defaults are the server's.

use crate::net::proxies::Proxies;
use crate::net::web;
use crate::stream::sasl::Mechanism;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `[[host]]`: one served domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// The domain as it stands in addresses.
    pub domain: String,
    /// PEM file with the certificate chain. Empty: one is made, signed by the server's own CA.
    #[serde(with = "optional_path")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of that certificate.
    #[serde(with = "optional_path")]
    pub key: Option<PathBuf>,
    /// Whether its accounts have archives, if `modules.mam.enabled`.
    pub archive: bool,
    /// Days that messages stay in them; 0: for ever, -1: as `modules.mam.retention_days` says.
    pub archive_retention_days: i64,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            domain: String::new(),
            certificate: None,
            key: None,
            archive: true,
            archive_retention_days: -1,
        }
    }
}

impl Host {
    /// A host with a certificate that the server makes.
    pub fn named(domain: &str) -> Self {
        Self { domain: domain.to_owned(), ..Self::default() }
    }
}

/// `[c2s]`: client streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct C2s {
    /// Addresses for streams that start in the clear and turn to TLS (RFC 6120 §5).
    pub listen: Vec<SocketAddr>,
    /// Addresses for streams that are TLS from the first byte (XEP-0368).
    pub listen_tls: Vec<SocketAddr>,
    /// Whether authentication needs TLS. Off only for tests: it is logged at every start.
    pub require_tls: bool,
    /// Addresses and networks of proxies that begin connections with the PROXY protocol.
    pub proxy_protocol: Vec<String>,
}

impl Default for C2s {
    fn default() -> Self {
        let any = |port| vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))];
        Self {
            listen: any(5222),
            listen_tls: any(5223),
            require_tls: true,
            proxy_protocol: Vec::new(),
        }
    }
}

impl C2s {
    /// The proxies before client streams.
    pub fn proxies(&self) -> Proxies {
        Proxies { carry: Vec::new(), announce: networks(&self.proxy_protocol) }
    }
}

/// `[web]`: HTTPS, WebSocket and what is served with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Addresses for HTTPS and WebSocket.
    pub listen: Vec<SocketAddr>,
    /// Addresses for plain HTTP, for a proxy on the same machine or network.
    pub listen_plain: Vec<SocketAddr>,
    /// Whether clients may speak XMPP on `listen` too, with STARTTLS or TLS from the first byte.
    pub xmpp: bool,
    /// Where the door is seen from outside. Empty: as the client's request says.
    pub url: String,
    /// Addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count. Empty: those of this
    /// machine, on `listen_plain` alone.
    pub trusted_proxies: Vec<String>,
    /// Addresses and networks of proxies that begin connections with the PROXY protocol.
    pub proxy_protocol: Vec<String>,
    /// Where clients are sent that open a WebSocket elsewhere (RFC 7395 §3.6.1). Empty: nowhere.
    pub moved_to: String,
    /// The origins whose pages may open WebSockets (RFC 6455 §10.2) and use BOSH. Empty: all.
    pub origins: Vec<String>,
    /// Whether XMPP over BOSH is served (XEP-0124, XEP-0206).
    pub bosh: bool,
    /// How long a request of BOSH is held at most.
    pub bosh_wait_max_secs: u64,
    /// How long a client on BOSH may have no request open.
    pub bosh_inactivity_secs: u64,
    /// Whether there are pages for people: what this server is, invitations, new passwords.
    pub pages: bool,
    /// The folder of Converse.js. Empty: `converse` in the data folder, if it is there.
    #[serde(with = "optional_path")]
    pub converse: Option<PathBuf>,
    /// How long the head of a request may take.
    pub head_secs: u64,
    /// How long the body of a request of BOSH may take.
    pub body_secs: u64,
    /// How long a connection may be open without a request.
    pub idle_secs: u64,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5443))],
            listen_plain: Vec::new(),
            xmpp: true,
            url: String::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            moved_to: String::new(),
            origins: Vec::new(),
            bosh: true,
            bosh_wait_max_secs: 60,
            bosh_inactivity_secs: 60,
            pages: true,
            converse: None,
            head_secs: 30,
            body_secs: 30,
            idle_secs: 60,
        }
    }
}

impl Web {
    /// What the door needs of it; `cleartext` if authentication needs no TLS.
    pub fn settings(&self, cleartext: bool, data_dir: &Path) -> web::Settings {
        let secs = Duration::from_secs;
        web::Settings {
            xmpp: self.xmpp,
            proxies: Proxies {
                carry: networks(&self.trusted_proxies),
                announce: networks(&self.proxy_protocol),
            },
            origins: self.origins.clone(),
            cleartext,
            url: self.url.clone(),
            moved_to: self.moved_to.parse().ok(),
            bosh: self.bosh,
            bosh_wait_max: secs(self.bosh_wait_max_secs),
            bosh_inactivity: secs(self.bosh_inactivity_secs),
            pages: self.pages,
            converse: self.converse(data_dir),
            head_time: secs(self.head_secs),
            body_time: secs(self.body_secs),
            idle_time: secs(self.idle_secs),
        }
    }

    /// The folder of the web client.
    pub fn converse(&self, data_dir: &Path) -> PathBuf {
        self.converse.clone().unwrap_or_else(|| data_dir.join("converse"))
    }
}

/// `[metrics]`: figures for whoever watches the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Addresses for `/metrics`, `/livez` and `/readyz`, in plain HTTP without a password.
    pub listen: Vec<SocketAddr>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: vec![SocketAddr::from(([127, 0, 0, 1], 5444))] }
    }
}

/// What [`network`] makes of each.
pub(super) fn networks(texts: &[String]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| network(text)).collect()
}

/// A network as `10.0.0.0/8`, or one address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(IpAddr::into))
}

/// `[tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The oldest version accepted; RFC 8996 forbids anything before 1.2.
    pub min_version: TlsVersion,
}

/// A TLS version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246)
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446)
    #[serde(rename = "1.3")]
    V1_3,
}

/// `[sasl]`: authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sasl {
    /// Names of the mechanisms on offer; [`Self::mechanisms`] gives them.
    pub mechanisms: Vec<String>,
    /// PBKDF2 rounds for new passwords; RFC 7677 §4 asks for at least 4096.
    pub iterations: u32,
    /// Milliseconds that the first delayed login waits; 0: no delays.
    pub delay_first_ms: u64,
    /// Maximum of that delay in milliseconds; it doubles with each failure.
    pub delay_max_ms: u64,
}

impl Sasl {
    /// The mechanisms on offer, in the server's order of preference.
    pub fn mechanisms(&self) -> Vec<Mechanism> {
        let named = |one: &Mechanism| self.mechanisms.iter().any(|name| name == one.as_str());
        Mechanism::ALL.into_iter().filter(named).collect()
    }
}

impl Default for Sasl {
    fn default() -> Self {
        // All that need an account.
        let names = Mechanism::ALL.into_iter().filter(|one| *one != Mechanism::Anonymous);
        Self {
            mechanisms: names.map(|one| one.as_str().to_owned()).collect(),
            iterations: 10_000,
            delay_first_ms: 250,
            delay_max_ms: 30_000,
        }
    }
}

/// `[store]`: the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Whether a commit waits for the disk.
    pub synchronous: Synchronous,
    /// Number of connections that read, besides the one that writes.
    pub readers: usize,
    /// Maximum bytes of writes that wait for the writer. Above half of it, callers wait.
    pub queue_bytes_max: usize,
    /// Maximum number of writes that wait for the writer.
    pub queue_jobs_max: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            readers: 2,
            queue_bytes_max: 64 * 1_048_576,
            queue_jobs_max: 65_536,
        }
    }
}

/// SQLite's `synchronous` pragma.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// What was acknowledged survives a power cut.
    #[default]
    Full,
    /// What was acknowledged survives a crash of the server, not always a power cut.
    Normal,
}

/// `[session]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// What happens when a client binds a resource that is in use.
    pub conflict: Conflict,
    /// Where clients are asked to reconnect to (XEP-0198 §3), as `host:port`. Empty: where they like.
    pub resume_location: String,
}

/// The three ways of RFC 6120 §7.7.2.2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflict {
    /// The older session ends with `<conflict/>`.
    #[default]
    Replace,
    /// The newer session's request is refused with `<conflict/>`.
    Refuse,
    /// The newer session gets another resource.
    Rename,
}

/// `[modules.*]`: keys of single features.
pub use crate::modules::Config as Modules;

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// The lowest level that is logged, with exceptions per part: `info,stonechat::net=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The unix socket of the command line. Empty: `admin.sock` in the data folder.
    #[serde(with = "optional_path")]
    pub socket: Option<PathBuf>,
    /// Accounts that may do everything from their clients.
    pub owners: Vec<String>,
    /// Accounts that may administer users from their clients.
    pub operators: Vec<String>,
    /// Addresses for the JSON API, in plain HTTP.
    pub listen: Vec<SocketAddr>,
    /// Names under which it is asked for, beside `localhost`, addresses and the served domains.
    pub names: Vec<String>,
    /// Requests to it a second, of each token and each address. 0: no bound.
    pub requests_per_second: u32,
    /// Requests above that at once.
    pub requests_burst: u32,
    /// Days for which the audit log is kept. 0: for ever.
    pub audit_days: u32,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            socket: None,
            owners: Vec::new(),
            operators: Vec::new(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5445))],
            names: Vec::new(),
            requests_per_second: 20,
            requests_burst: 100,
            audit_days: 365,
        }
    }
}

impl Admin {
    /// What the API needs to know.
    pub fn api(&self) -> web::ApiSettings {
        let Self { names, requests_per_second, requests_burst, .. } = self.clone();
        web::ApiSettings { names, requests_per_second, requests_burst }
    }
}

/// A path that is written `""` if there is none, so that every key of the file has a default to show.
pub(super) mod optional_path {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::{Path, PathBuf};

    #[allow(clippy::ref_option)]
    pub(in super::super) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_deref().unwrap_or_else(|| Path::new("")).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        Ok(Some(path).filter(|path| !path.as_os_str().is_empty()))
    }
}
