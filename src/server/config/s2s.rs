//! `[s2s]`: streams with other servers.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::domains::prepared_domain;
use super::sections::networks;
use crate::net::dial::{self, Route};
use crate::net::proxies::Proxies;
use crate::net::tls::peer::PeerTrust;
use crate::peer::{Certificates, Settings};

/// `[s2s]`: streams with other servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S2s {
    /// Whether there are any.
    pub enabled: bool,
    /// Addresses for streams that start in the clear and turn to TLS (RFC 6120 §5).
    pub listen: Vec<SocketAddr>,
    /// Addresses for streams that are TLS from the first byte (XEP-0368).
    pub listen_tls: Vec<SocketAddr>,
    /// Addresses and networks of proxies that begin connections with the PROXY protocol.
    pub proxy_protocol: Vec<String>,
    /// How servers prove who they are.
    pub certificates: Certificates,
    /// Domains that may use dialback without a valid certificate.
    pub dialback_domains: Vec<String>,
    /// PEM files with certificates of authorities, or of single servers.
    pub trust: Vec<PathBuf>,
    /// Whether the authorities of the system are trusted.
    pub trust_system: bool,
    /// If not empty, nobody but these domains.
    pub allow: Vec<String>,
    /// Not these domains.
    pub deny: Vec<String>,
    /// Where single domains are, whatever the DNS says.
    pub routes: BTreeMap<String, String>,
    /// Whether servers may be at addresses that are not public.
    pub private_addresses: bool,
    /// The DNS servers. Empty: those of the system.
    pub resolver: Vec<SocketAddr>,
    /// Whether DNSSEC is validated, and TLSA records count.
    pub dane: bool,
    /// How long a connection to one address may take.
    pub connect_secs: u64,
    /// How long an outgoing stream may be idle before it is closed.
    pub idle_secs: u64,
    /// Incoming streams that are not authenticated, in all.
    pub streams_unauthenticated_max: usize,
    /// Of one address.
    pub streams_unauthenticated_per_ip_max: usize,
    /// Domains that one stream may speak for.
    pub domains_per_stream_max: usize,
    /// Domains that wait for a connection at a time.
    pub outgoing_max: usize,
    /// Connections per second that nobody waits for; 0: no bound.
    pub connects_per_second: u32,
    /// How long a message waits for its server.
    pub message_hours: u64,
    /// How long a request waits for its server.
    pub iq_secs: u64,
    /// Stanzas that wait for one domain.
    pub queue_stanzas_max: usize,
    /// Their bytes, on disk.
    pub queue_bytes_max: u64,
    /// Bytes of them in memory.
    pub memory_bytes_max: usize,
    /// Bytes of presence that wait for one domain beside that.
    pub presence_bytes_max: usize,
    /// Bytes per second of one peer; 0: no bound.
    pub bytes_per_second: u32,
    /// Stanzas per second of one peer; 0: no bound.
    pub stanzas_per_second: u32,
}

impl Default for S2s {
    fn default() -> Self {
        let peer = Settings::default();
        Self {
            enabled: peer.enabled,
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5269))],
            listen_tls: Vec::new(),
            proxy_protocol: Vec::new(),
            certificates: peer.certificates,
            dialback_domains: peer.dialback_domains,
            trust: Vec::new(),
            trust_system: true,
            allow: peer.allow,
            deny: peer.deny,
            routes: BTreeMap::new(),
            private_addresses: false,
            resolver: Vec::new(),
            dane: false,
            connect_secs: 10,
            idle_secs: peer.idle.as_secs(),
            streams_unauthenticated_max: 200,
            streams_unauthenticated_per_ip_max: 10,
            domains_per_stream_max: peer.domains_per_stream_max,
            outgoing_max: peer.outgoing_max,
            connects_per_second: peer.connects_per_second,
            message_hours: peer.message_time.as_secs() / 3_600,
            iq_secs: peer.iq_time.as_secs(),
            queue_stanzas_max: peer.queue_stanzas_max,
            queue_bytes_max: peer.queue_bytes_max,
            memory_bytes_max: peer.memory_bytes_max,
            presence_bytes_max: peer.presence_bytes_max,
            bytes_per_second: peer.bytes_per_second,
            stanzas_per_second: peer.stanzas_per_second,
        }
    }
}

impl S2s {
    /// What the streams need of it.
    pub fn settings(&self) -> Settings {
        let secs = Duration::from_secs;
        Settings {
            enabled: self.enabled,
            certificates: self.certificates,
            dialback_domains: prepared(&self.dialback_domains),
            allow: prepared(&self.allow),
            deny: prepared(&self.deny),
            idle: secs(self.idle_secs),
            domains_per_stream_max: self.domains_per_stream_max,
            outgoing_max: self.outgoing_max,
            connects_per_second: self.connects_per_second,
            message_time: secs(self.message_hours.saturating_mul(3_600)),
            iq_time: secs(self.iq_secs),
            queue_stanzas_max: self.queue_stanzas_max,
            queue_bytes_max: self.queue_bytes_max,
            memory_bytes_max: self.memory_bytes_max,
            presence_bytes_max: self.presence_bytes_max,
            bytes_per_second: self.bytes_per_second,
            stanzas_per_second: self.stanzas_per_second,
        }
    }

    /// What connecting needs of it; `loss_time` is how long sent bytes may be unacknowledged.
    pub fn dial(&self, loss_time: Duration) -> dial::Settings {
        let route = |(domain, place): (&String, &String)| {
            let route = place.parse::<Route>().ok()?;
            Some((prepared_domain(domain).ok()?, route))
        };
        dial::Settings {
            routes: self.routes.iter().filter_map(route).collect(),
            private_addresses: self.private_addresses,
            connect_time: Duration::from_secs(self.connect_secs),
            loss_time,
        }
    }

    /// Whose certificates are believed.
    pub fn trust(&self) -> PeerTrust {
        PeerTrust { files: self.trust.clone(), system: self.trust_system }
    }

    /// The proxies before the listeners.
    pub fn proxies(&self) -> Proxies {
        Proxies { carry: Vec::new(), announce: networks(&self.proxy_protocol) }
    }

    /// The addresses that are listened on: without and with TLS from the first byte.
    pub fn listeners(&self) -> [&[SocketAddr]; 2] {
        if self.enabled { [&self.listen, &self.listen_tls] } else { [&[], &[]] }
    }
}

/// Domains in normal form.
fn prepared(domains: &[String]) -> Vec<String> {
    domains.iter().filter_map(|domain| prepared_domain(domain).ok()).collect()
}
