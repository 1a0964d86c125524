//! The configuration: what an operator may set, with its defaults.
//!
//! `config/stonechat.toml` explains every key to people; a test compares the two.

mod acme;
mod component;
mod domains;
mod example;
mod faults;
mod load;
mod ordered;
mod origins;
mod public;
mod s2s;
mod schema;
mod sections;
mod shown;
mod validate;
mod validate_acme;
mod validate_component;
mod validate_s2s;

pub use acme::Acme;
pub use component::{Component, Components, places};
pub use example::{EXAMPLE, explain, markdown};
pub use load::{Inputs, Loaded, load};
pub use origins::Origins;
pub use public::is_public;
pub use s2s::S2s;
pub use sections::{
    Admin, C2s, Conflict, Host, Log, LogFormat, Metrics, Modules, Sasl, Session, Store,
    Synchronous, Tls, TlsVersion, Web,
};
pub use shown::shown;

use crate::admin::Admins;
use crate::base::limits::Limits;
use crate::modules::{self, mam, register, upload};
use crate::store;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The whole configuration. One field is one section of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of the database, the made certificates and the admin socket.
    pub data_dir: PathBuf,
    /// The domains served here.
    pub host: Vec<Host>,
    /// Components: bridges and bots with domains of their own (XEP-0114).
    pub component: Vec<Component>,
    /// Client streams.
    pub c2s: C2s,
    /// Streams with other servers.
    pub s2s: S2s,
    /// Where components connect.
    pub components: Components,
    /// HTTPS and WebSocket.
    pub web: Web,
    /// Figures for whoever watches the server.
    pub metrics: Metrics,
    /// TLS for all streams.
    pub tls: Tls,
    /// Certificates by themselves.
    pub acme: Acme,
    /// Authentication.
    pub sasl: Sasl,
    /// Bounds on what one peer may use.
    pub limits: Limits,
    /// The database.
    pub store: Store,
    /// Bound sessions.
    pub session: Session,
    /// Keys of single features.
    pub modules: Modules,
    /// Logs on standard error.
    pub log: Log,
    /// The operator's access to the running server.
    pub admin: Admin,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./stonechat-data"),
            host: vec![Host::named("localhost")],
            component: Vec::new(),
            c2s: C2s::default(),
            s2s: S2s::default(),
            components: Components::default(),
            web: Web::default(),
            metrics: Metrics::default(),
            tls: Tls::default(),
            acme: Acme::default(),
            sasl: Sasl::default(),
            limits: Limits::default(),
            store: Store::default(),
            session: Session::default(),
            modules: Modules::default(),
            log: Log::default(),
            admin: Admin::default(),
        }
    }
}

impl Config {
    /// The configuration that a lab starts from: free loopback ports, registration open to all.
    pub fn lab(mut self, domains: &[String], data_dir: PathBuf) -> Self {
        if !domains.is_empty() {
            self.host = domains.iter().map(|domain| Host::named(domain)).collect();
        }
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        self.data_dir = data_dir;
        self.c2s.listen = vec![free];
        self.c2s.listen_tls = vec![free];
        self.s2s.listen = vec![free];
        self.s2s.private_addresses = true;
        self.s2s.bytes_per_second = 0;
        self.s2s.stanzas_per_second = 0;
        self.s2s.streams_unauthenticated_max = 0;
        self.s2s.streams_unauthenticated_per_ip_max = 0;
        self.components.listen = vec![free];
        self.components.bytes_per_second = 0;
        self.components.stanzas_per_second = 0;
        self.web.listen = vec![free];
        self.metrics.listen = vec![free];
        self.acme.listen = vec![free];
        self.modules.register.mode = register::Mode::Open;
        self.modules.register.per_ip_per_hour = 0;
        self.modules.register.password_length_min = 1;
        self.modules.register.grace_days = 0;
        // A lab's clients are tests: they come in hundreds from one address and fail on purpose.
        self.limits.streams_per_ip = 0;
        self.limits.connections_per_second = 0;
        // Rates and quotas are off; depth, sizes and queue bounds stay.
        self.limits.bytes_per_second = 0;
        self.limits.stanzas_per_second = 0;
        self.limits.offline_messages_max = 1_000_000_000;
        self.limits.offline_bytes_max = 1_000_000_000_000;
        self.limits.roster_items_max = 1_000_000;
        self.limits.subscription_requests_max = 1_000_000;
        self.limits.subscription_requests_per_domain_max = 1_000_000;
        self.limits.resources_per_account = 10_000;
        self.modules.quota.bytes_max = 0;
        self.modules.muc.archive_bytes_max = 0;
        self.modules.muc.account_archive_bytes_max = 0;
        self.limits.directed_presence_max = 1_000_000;
        // No delays by default; the maximum stays, so that a test can set a delay.
        self.sasl.delay_first_ms = 0;
        self.admin.socket = None;
        self.admin.listen = vec![free];
        self
    }

    /// A lab's second server: no port is its own that somebody chose for the first one, and neither are components.
    #[must_use]
    pub fn beside(mut self) -> Self {
        let listeners = [
            &mut self.c2s.listen,
            &mut self.c2s.listen_tls,
            &mut self.web.listen,
            &mut self.web.listen_plain,
            &mut self.metrics.listen,
            &mut self.admin.listen,
            &mut self.s2s.listen,
            &mut self.s2s.listen_tls,
        ];
        listeners.into_iter().flatten().for_each(|address| address.set_port(0));
        self.component.clear();
        self.admin.socket = None;
        self
    }

    /// All addresses that are listened on, with the keys that name them.
    pub fn listeners(&self) -> [(&'static str, &[SocketAddr]); 11] {
        let [s2s, s2s_tls] = self.s2s.listeners();
        let [components, components_tls]: [&[SocketAddr]; 2] = match self.component.is_empty() {
            true => [&[], &[]],
            false => [&self.components.listen, &self.components.listen_tls],
        };
        [
            ("c2s.listen", &self.c2s.listen),
            ("c2s.listen_tls", &self.c2s.listen_tls),
            ("web.listen", &self.web.listen),
            ("web.listen_plain", &self.web.listen_plain),
            ("metrics.listen", &self.metrics.listen),
            ("admin.listen", &self.admin.listen),
            ("s2s.listen", s2s),
            ("s2s.listen_tls", s2s_tls),
            ("components.listen", components),
            ("components.listen_tls", components_tls),
            ("acme.listen", self.acme.listeners()),
        ]
    }

    /// Path of the admin socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.admin.socket.clone().unwrap_or_else(|| self.data_dir.join("admin.sock"))
    }

    /// Path of the database.
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("stonechat.db")
    }

    /// How the store is opened.
    pub fn store_options(&self) -> store::Options {
        store::Options {
            synchronous: match self.store.synchronous {
                Synchronous::Full => store::Synchronous::Full,
                Synchronous::Normal => store::Synchronous::Normal,
            },
            readers: self.store.readers,
            queue_bytes: self.store.queue_bytes_max,
            queue_max: self.store.queue_jobs_max,
            grown_bytes: self.modules.quota.step(),
            room_grown_bytes: self.modules.muc.grown_step(),
            ..store::Options::new(self.database())
        }
    }

    /// Which accounts have an archive and for how long: `[modules.mam]`, except where a host differs.
    pub fn archive(&self) -> mam::Config {
        let rule = |host: &Host| {
            let retention_days = u32::try_from(host.archive_retention_days).ok();
            (host.domain.clone(), mam::HostRule { archive: host.archive, retention_days })
        };
        mam::Config { hosts: self.host.iter().map(rule).collect(), ..self.modules.mam.clone() }
    }

    /// The settings of all modules, with those that stand elsewhere.
    pub fn module_config(&self) -> modules::Config {
        modules::Config {
            scram_iterations: self.sasl.iterations,
            unencrypted: !self.c2s.require_tls,
            admins: self.admins(),
            components: component::for_modules(&self.component),
            mam: self.archive(),
            upload: upload::Config {
                folder: self.data_dir.join(store::UPLOADS_FOLDER),
                ..self.modules.upload.clone()
            },
            ..self.modules.clone()
        }
    }

    /// Whom `[admin]` names.
    pub fn admins(&self) -> Admins {
        let Admin { owners, operators, .. } = self.admin.clone();
        Admins { owners, operators }
    }

    /// Warnings that an operator should read in the log at every start, most important first.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.c2s.require_tls {
            lines.push(
                "c2s.require_tls is false: clients may log in WITHOUT encryption, passwords and \
                 messages can be read on the way; set it to true unless this is a test"
                    .to_owned(),
            );
        }
        if self.modules.register.is_open() {
            lines.push("modules.register.mode is open: anybody can make an account".to_owned());
        }
        if self.sasl.mechanisms.iter().any(|name| name == "ANONYMOUS") {
            lines.push("sasl.mechanisms has ANONYMOUS: anybody can log in without one".to_owned());
        }
        lines.extend(self.acme_warnings());
        if self.admin.listen.iter().any(|address| !address.ip().is_loopback()) {
            lines.push(
                "admin.listen has an address that other machines reach: the API's tokens can be read on the way; put a \
                 proxy with TLS before it"
                    .to_owned(),
            );
        }
        lines.extend(component::warnings(&self.component, &self.components));
        lines
    }
}

/// One fault of the configuration, for a person: what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// File and line, environment variable or option, and the key.
    pub place: String,
    /// What to do about it.
    pub fix: String,
}

impl Problem {
    /// Makes a problem of an error whose text has both the fault and the remedy; `or` is the remedy
    /// otherwise.
    pub fn told(error: &dyn fmt::Display, place: String, or: &str) -> Self {
        let text = error.to_string();
        let (what, fix) = text
            .split_once("; ")
            .or_else(|| text.split_once(". "))
            .map_or((text.as_str(), or), |(what, fix)| (what, fix));
        // "Stop that one first" follows after "to do:".
        let mut rest = fix.chars();
        let fix = match rest.next() {
            Some(first) if rest.clone().next().is_some_and(char::is_lowercase) => {
                first.to_lowercase().chain(rest).collect()
            }
            _ => fix.to_owned(),
        };
        Self { what: what.to_owned(), place, fix }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  where: {}\n  to do: {}", self.what, self.place, self.fix)
    }
}

/// Every fault found; never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// A single one.
    pub fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests;
