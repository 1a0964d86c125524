//! Asking the DNS where other servers are: SRV, addresses, and TLSA where DNSSEC is validated. Whatever the answers
//! are, what comes of them is bounded, and so is the time.

mod answers;
mod failures;
mod found;
pub mod select;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::timeout;

pub use self::found::{ADDRESSES_MAX, Addresses, Asked, DnsError, Tlsa};

use self::answers::{ALIASES_MAX, Answer, error_of, is_of_another, srv_set, tlsa_set};
use self::failures::Failures;
use self::select::{Begin, Srv, SrvSet, Target};
use crate::base::id::OsRng;

/// The DNS, as one configured server or the system's servers see it.
pub struct Names {
    resolver: TokioResolver,
    validates: bool,
    failures: Failures,
    /// For one name and type.
    lookup_time: Duration,
}

impl Names {
    /// Asks these servers, or those of `/etc/resolv.conf` if there are none; with `validates`, DNSSEC is checked here.
    /// The error is for people.
    pub fn new(servers: &[SocketAddr], validates: bool) -> Result<Self, String> {
        Self::with_anchors(servers, validates.then(Arc::default))
    }

    /// Like [`Self::new`]; DNSSEC is checked if there are anchors, with these.
    pub(crate) fn with_anchors(
        servers: &[SocketAddr],
        anchors: Option<Arc<TrustAnchors>>,
    ) -> Result<Self, String> {
        let validates = anchors.is_some();
        let servers = if servers.is_empty() { of_the_system() } else { servers.to_vec() };
        let config = ResolverConfig::from_name_servers(servers.into_iter().map(server).collect());
        let mut options = ResolverOpts::default();
        options.timeout = QUERY_TIME;
        options.attempts = 1;
        options.cache_size = CACHE_MAX;
        options.validate = validates;
        options.positive_max_ttl = Some(TTL_MAX);
        options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
        // The hosts file is about this machine's own network, which no other server's domain is in.
        options.use_hosts_file = ResolveHosts::Never;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options);
        if let Some(anchors) = anchors {
            builder = builder.with_trust_anchor(anchors);
        }
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { resolver, validates, failures: Failures::default(), lookup_time: LOOKUP_TIME })
    }

    /// The servers of a domain in the order in which they are tried. What failed is remembered for a short while.
    pub async fn targets(
        &self,
        domain: &str,
        asked: &mut Vec<Asked>,
    ) -> Result<Vec<Target>, DnsError> {
        let Some(name) = a_labels(domain) else { return Err(DnsError::NoDomain) };
        if let Some(error) = self.failures.recent(&name, now()) {
            let what = format!("SRV of {name}: {error} (a moment ago)");
            asked.push(Asked { what, took: Duration::ZERO, failed: true });
            return Err(error);
        }
        let (starttls, direct) =
            tokio::join!(self.srv(&name, Begin::StartTls), self.srv(&name, Begin::Direct));
        let ((starttls, first), (direct, second)) = (starttls, direct);
        asked.extend([first, second]);
        let found = select::targets(&name, starttls, direct, &mut OsRng);
        if let Err(error) = &found {
            let what = format!("{name}: {error}");
            asked.push(Asked { what, took: Duration::ZERO, failed: true });
            self.failures.note(&name, error, now());
        }
        found
    }

    /// Forgets that a domain's servers were not found a moment ago, and what the DNS said of any.
    pub fn forget(&self, domain: &str) {
        if let Some(name) = a_labels(domain) {
            self.failures.forget(&name);
        }
        self.resolver.clear_cache();
    }

    /// The SRV records of a name (A-labels), such as `_xmpp-client._tcp.example.org`.
    pub async fn services(&self, name: &str) -> Result<Vec<Srv>, DnsError> {
        let found = self.lookup(name, RecordType::SRV).await?;
        srv_set(&found).map(|set| set.records)
    }

    async fn srv(&self, domain: &str, begin: Begin) -> (Result<SrvSet, DnsError>, Asked) {
        let name = format!("{}.{domain}", begin.service());
        let start = now();
        let found = self.lookup(&name, RecordType::SRV).await.and_then(|found| srv_set(&found));
        let (told, failed) = match &found {
            Ok(set) => (counted(set.records.len(), set.secure), false),
            // That a service is not there is no failure.
            Err(error) => {
                (error.to_string(), !matches!(error, DnsError::Absent { .. } | DnsError::NoDomain))
            }
        };
        let found = match found {
            // RFC 8020: nothing is below a name that is not there; but the domain itself may be.
            Err(DnsError::NoDomain) => Err(DnsError::Absent { secure: false }),
            found => found,
        };
        (found, Asked { what: format!("SRV {name}: {told}"), took: now() - start, failed })
    }

    /// The addresses of a host (A-labels). The second family is waited for only a moment (RFC 8305 §3) when IPv4 is
    /// there already.
    pub async fn addresses(
        &self,
        host: &str,
        asked: &mut Vec<Asked>,
    ) -> Result<Addresses, DnsError> {
        let start = now();
        let found = self.both_families(host).await;
        let told = match &found {
            Ok(found) => {
                let all: Vec<String> = found.all.iter().map(ToString::to_string).collect();
                format!("{}{}", all.join(", "), validated(found.secure))
            }
            Err(error) => error.to_string(),
        };
        let what = format!("addresses of {host}: {told}");
        asked.push(Asked { what, took: now() - start, failed: found.is_err() });
        found
    }

    async fn both_families(&self, host: &str) -> Result<Addresses, DnsError> {
        let mut four = std::pin::pin!(self.lookup(host, RecordType::A));
        let mut six = std::pin::pin!(self.lookup(host, RecordType::AAAA));
        let (four, six) = tokio::select! {
            four = &mut four => {
                let wait = if four.is_ok() { RESOLUTION_DELAY } else { self.lookup_time };
                (four, timeout(wait, six).await.unwrap_or(Err(DnsError::Timeout)))
            }
            six = &mut six => (four.await, six),
        };
        answers::addresses(four, six)
    }

    /// The TLSA records of a port of a host, if DNSSEC vouches for them. Empty where there are none, or where nothing
    /// vouches; an error means that the host must not be connected to (RFC 7673 §3.2).
    pub async fn tlsa(
        &self,
        host: &str,
        port: u16,
        asked: &mut Vec<Asked>,
    ) -> Result<Vec<Tlsa>, DnsError> {
        if !self.validates {
            return Ok(Vec::new());
        }
        let (name, start) = (format!("_{port}._tcp.{host}"), now());
        let found = match self.lookup(&name, RecordType::TLSA).await {
            Ok(found) => Ok(tlsa_set(&found)),
            Err(DnsError::Absent { .. } | DnsError::NoDomain) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let told = match &found {
            Ok(records) => counted(records.len(), !records.is_empty()),
            Err(error) => error.to_string(),
        };
        let what = format!("TLSA {name}: {told}");
        asked.push(Asked { what, took: now() - start, failed: found.is_err() });
        found
    }

    async fn lookup(&self, name: &str, ty: RecordType) -> Result<Answer, DnsError> {
        let name = Name::from_ascii(format!("{name}.")).map_err(|_| DnsError::NoDomain)?;
        timeout(self.lookup_time, self.followed(name, ty)).await.unwrap_or(Err(DnsError::Timeout))
    }

    /// The resolver follows aliases, but takes the targets of SRV records for some, too, and so finds no record that is
    /// behind an alias: that one is followed here.
    async fn followed(&self, mut name: Name, ty: RecordType) -> Result<Answer, DnsError> {
        let mut aliases = Answer::default();
        for _ in 0..ALIASES_MAX {
            let error = match boxed(self.resolver.lookup(name.clone(), ty)).await {
                Ok(found) => return Ok(aliases.and(Answer::to(&name, &found))),
                Err(error) => error,
            };
            if ty != RecordType::SRV || !is_of_another(&error, &name) {
                return Err(error_of(&error));
            }
            let alias = boxed(self.resolver.lookup(name.clone(), RecordType::CNAME)).await;
            let alias = alias.map(|found| Answer::to(&name, &found)).unwrap_or_default();
            match alias.alias_of(&name) {
                Some(next) if !aliases.is_about(&next) => name = next,
                _ => return Err(error_of(&error)),
            }
            aliases = aliases.and(alias);
        }
        Err(DnsError::Useless)
    }
}

/// The resolver's futures are large.
fn boxed<'a, T>(
    work: impl Future<Output = T> + Send + 'a,
) -> std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(work)
}

fn counted(records: usize, secure: bool) -> String {
    let what = match records {
        0 => "no records".to_owned(),
        1 => "1 record".to_owned(),
        many => format!("{many} records"),
    };
    format!("{what}{}", validated(secure))
}

const fn validated(secure: bool) -> &'static str {
    if secure { " (DNSSEC)" } else { "" }
}

/// The form in which the DNS knows a domain (RFC 5891 §4.4), if it can know it.
pub fn a_labels(domain: &str) -> Option<String> {
    let name = idna::domain_to_ascii(domain.strip_suffix('.').unwrap_or(domain)).ok()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(fits);
    // With `_xmpps-server._tcp.` before it, it is at most 255 bytes on the wire.
    (name.len() <= 230 && name.split('.').all(is_label)).then_some(name)
}

fn server(address: SocketAddr) -> NameServerConfig {
    let on = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![on(ConnectionConfig::udp()), on(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

/// What resolv.conf(5) names, as the C library would have it: three at most, or this machine's own.
fn of_the_system() -> Vec<SocketAddr> {
    let text = std::fs::read(RESOLV_CONF).unwrap_or_default();
    let (config, _) = resolv_conf::Config::parse_with_errors(&text);
    let servers = config.get_nameservers_or_local().into_iter().take(SERVERS_MAX);
    servers.map(|ip| SocketAddr::from((IpAddr::from(ip), DNS_PORT))).collect()
}

#[allow(clippy::disallowed_methods)] // the monotonic clock, at the floor that has one
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The whole time for one name and type, aliases and DNSSEC included.
const LOOKUP_TIME: Duration = Duration::from_secs(8);
/// For one question to one server.
const QUERY_TIME: Duration = Duration::from_secs(3);
/// RFC 8305 §8
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Answers that are remembered.
const CACHE_MAX: u64 = 2_048;
/// A domain that moves is found again after this time, whatever it said.
const TTL_MAX: Duration = Duration::from_secs(3_600);
/// That there is nothing is believed no longer.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(30);
const RESOLV_CONF: &str = "/etc/resolv.conf";
const SERVERS_MAX: usize = 3;
const DNS_PORT: u16 = 53;
