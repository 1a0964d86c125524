//! What the DNS says of this server's own domains, and the lines that its zone needs (RFC 6120 §3.2.1, XEP-0368).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::services;
use crate::net::dns::select::Srv;
use crate::net::dns::{DnsError, Names, a_labels};
use crate::server::config::{Config, is_public};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Zone {
    /// What is in order.
    pub(super) good: Vec<String>,
    /// What could not be looked at.
    pub(super) notes: Vec<String>,
    /// What works, but should be changed.
    pub(super) warnings: Vec<String>,
    /// Lines that the zone needs.
    pub(super) records: Vec<String>,
}

/// Asks for the records of all domains that can have any. Without an answer nothing is wrong.
pub(super) async fn look(config: &Config) -> Zone {
    let (wanted, mut zone) = (wanted(config), Zone::default());
    if wanted.is_empty() {
        return zone;
    }
    let asked = async {
        let names = Arc::new(Names::new(&config.s2s.resolver, false)?);
        let asked = timeout(TIME, found(names, &wanted)).await;
        asked.map_err(|_| format!("no answer within {} seconds", TIME.as_secs()))
    };
    match asked.await {
        Err(why) => zone.notes.push(unasked(&why)),
        Ok(found) => judge(config, &wanted, &found, &mut zone),
    }
    zone
}

fn unasked(why: &str) -> String {
    format!("the DNS could not be asked for this server's own records: {why}")
}

/// A service that is offered on a port, to be found by a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// Such as `_xmpp-server._tcp`.
    service: &'static str,
    /// In A-labels.
    domain: String,
    /// The host that it is served for: the domain itself, or the one that a service is in front of.
    host: String,
    port: u16,
}

impl Wanted {
    fn name(&self) -> String {
        format!("{}.{}", self.service, self.domain)
    }

    /// Where it is sought without a record (RFC 6120 §3.2.2).
    fn falls_back(&self) -> bool {
        matches!((self.service, self.port), (CLIENT, 5222) | (SERVER, 5269))
    }

    fn who(&self) -> &'static str {
        if matches!(self.service, CLIENT | CLIENT_TLS) { "clients" } else { "other servers" }
    }
}

fn wanted(config: &Config) -> Vec<Wanted> {
    let [s2s, s2s_tls] = config.s2s.listeners();
    let clients = [(CLIENT, &*config.c2s.listen), (CLIENT_TLS, &*config.c2s.listen_tls)];
    let servers = [(SERVER, s2s), (SERVER_TLS, s2s_tls)];
    let mut all = Vec::new();
    for host in &config.host {
        let Some(name) = a_labels(&host.domain).filter(|_| is_public(&host.domain)) else {
            continue;
        };
        let beside = services::of(&config.module_config(), &host.domain);
        let beside = beside.iter().filter_map(|(domain, _)| a_labels(domain));
        let of_host = clients.iter().chain(&servers).map(|one| (one, name.clone()));
        let of_services =
            beside.flat_map(|domain| servers.iter().map(move |one| (one, domain.clone())));
        for ((service, addresses), domain) in of_host.chain(of_services) {
            if let Some(port) = port_of(addresses) {
                all.push(Wanted { service, domain, host: name.clone(), port });
            }
        }
    }
    all
}

/// The port that somebody elsewhere can connect to.
fn port_of(addresses: &[SocketAddr]) -> Option<u16> {
    let mut outside = addresses.iter().filter(|address| !address.ip().is_loopback());
    outside.find(|address| address.port() != 0).map(SocketAddr::port)
}

/// What the DNS said.
#[derive(Debug, Default)]
struct Found {
    services: BTreeMap<String, Result<Vec<Srv>, DnsError>>,
    /// Whether a host has an address.
    addresses: BTreeMap<String, Result<(), DnsError>>,
}

async fn found(names: Arc<Names>, wanted: &[Wanted]) -> Found {
    let mut found = Found::default();
    let mut asking = JoinSet::new();
    for name in wanted.iter().map(Wanted::name) {
        let names = names.clone();
        asking.spawn(async move {
            let services = names.services(&name).await;
            (name, services)
        });
    }
    while let Some(Ok((name, services))) = asking.join_next().await {
        found.services.insert(name, services);
    }
    let targets = found.services.values().flatten().flatten().map(|srv| srv.target.clone());
    let domains = wanted.iter().map(|one| one.domain.clone());
    let mut hosts: Vec<_> = targets.chain(domains).filter(|host| !host.is_empty()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let mut asking = JoinSet::new();
    for host in hosts {
        let names = names.clone();
        asking.spawn(async move {
            let addresses = names.addresses(&host, &mut Vec::new()).await;
            (host, addresses.map(drop))
        });
    }
    while let Some(Ok((host, addresses))) = asking.join_next().await {
        found.addresses.insert(host, addresses);
    }
    found
}

fn judge(config: &Config, wanted: &[Wanted], found: &Found, report: &mut Zone) {
    let unanswered = |error: &DnsError| {
        matches!(error, DnsError::Timeout | DnsError::Failed(_) | DnsError::Bogus)
    };
    let none = found.services.values().all(|one| one.as_ref().err().is_some_and(unanswered));
    if let (true, Some(Err(error))) = (none, found.services.values().next()) {
        return report.notes.push(unasked(&error.to_string()));
    }
    let mut without_address = Vec::new();
    for one in wanted {
        let target = target(one, wanted, found);
        let line = format!("{}. 3600 IN SRV 0 5 {} {target}.", one.name(), one.port);
        let name = one.name();
        match found.services.get(&name) {
            None => {}
            Some(Err(error)) if unanswered(error) => {
                report.notes.push(format!("the DNS could not be asked for {name}: {error}"));
            }
            Some(Err(_)) if one.falls_back() && has_address(found, &one.domain) => {
                report.good.push(format!(
                    "DNS: {name} is not there, and {} try {} at port {}",
                    one.who(),
                    one.domain,
                    one.port
                ));
            }
            Some(Err(_)) => {
                let why = format!(
                    "DNS: {name} is not there, so {} do not find port {}",
                    one.who(),
                    one.port
                );
                report.warnings.push(why);
                report.records.push(line);
                without_address.push(target);
            }
            Some(Ok(records)) => {
                match wrong(one, records) {
                    None => report.good.push(format!("DNS: {name} leads to port {}", one.port)),
                    Some(why) => {
                        report.warnings.push(format!("DNS: {name} {why}"));
                        report.records.push(line);
                    }
                }
                without_address.extend(records.iter().map(|srv| srv.target.clone()));
            }
        }
    }
    without_address
        .retain(|host| matches!(found.addresses.get(host), Some(Err(error)) if !unanswered(error)));
    without_address.sort_unstable();
    without_address.dedup();
    for host in without_address {
        report.warnings.push(format!("DNS: {host} has no address, and records lead there"));
        report.records.push(address_line(config, &host));
    }
}

/// What is wrong with the records of a service.
fn wrong(one: &Wanted, records: &[Srv]) -> Option<String> {
    if records.iter().any(|srv| srv.port == one.port && !srv.target.is_empty()) {
        return None;
    }
    if records.iter().all(|srv| srv.target.is_empty()) {
        return Some(format!("says that the service is not offered, and port {} does", one.port));
    }
    let ports: Vec<_> = records.iter().map(|srv| srv.port.to_string()).collect();
    Some(format!(
        "leads to port {}, and this server listens on {}; that is right only if something forwards the one to the \
         other",
        ports.join(", "),
        one.port
    ))
}

/// Where a record should lead: to where others of the host lead, else to the host itself.
fn target(one: &Wanted, wanted: &[Wanted], found: &Found) -> String {
    let of_host = wanted.iter().filter(|other| other.host == one.host);
    let records = of_host.filter_map(|other| found.services.get(&other.name())?.as_ref().ok());
    let known = records.flatten().map(|srv| &srv.target).find(|target| !target.is_empty());
    known.unwrap_or(&one.host).clone()
}

fn has_address(found: &Found, host: &str) -> bool {
    found.addresses.get(host).is_some_and(Result::is_ok)
}

/// With the address that is listened on, where that is one.
fn address_line(config: &Config, host: &str) -> String {
    let all = config.listeners();
    let addresses = all.iter().flat_map(|(_, addresses)| *addresses).map(SocketAddr::ip);
    let mut own = addresses.filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    match own.next() {
        Some(ip) => {
            let ty = if ip.is_ipv4() { "A" } else { "AAAA" };
            format!("{host}. 3600 IN {ty} {ip}")
        }
        None => format!("{host}. 3600 IN A … (the public address of this machine; AAAA for IPv6)"),
    }
}

const CLIENT: &str = "_xmpp-client._tcp";
const CLIENT_TLS: &str = "_xmpps-client._tcp";
const SERVER: &str = "_xmpp-server._tcp";
const SERVER_TLS: &str = "_xmpps-server._tcp";
/// For all questions together: a command should not keep anybody waiting.
const TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::testing::Zone as Served;
    use crate::server::check::Report;
    use crate::server::config::{Inputs, load};

    /// What is said with this zone.
    fn checked(zone: &str, sets: &[(&str, &str)]) -> Report {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let zone = runtime.block_on(Served::serve(zone));
        let resolver = format!("[\"{}\"]", zone.address);
        let own = [
            ("host.0.domain", "example.org"),
            ("s2s.resolver", resolver.as_str()),
            ("modules.pubsub_service.label", ""),
            ("modules.upload.label", ""),
        ];
        let all =
            own.iter().chain(sets).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let loaded = load(&Inputs { sets: all.collect(), ..Inputs::default() }).unwrap();
        let found = runtime.block_on(look(&loaded.config));
        let Zone { good, notes, warnings, records } = found;
        Report { good, notes, warnings, records, ..Report::default() }
    }

    const WHOLE: &str = "
        _xmpp-client._tcp.example.org SRV 0 5 5222 xmpp.example.org
        _xmpps-client._tcp.example.org SRV 0 5 5223 xmpp.example.org
        _xmpp-server._tcp.example.org SRV 0 5 5269 xmpp.example.org
        _xmpp-server._tcp.conference.example.org SRV 0 5 5269 xmpp.example.org
        example.org A 192.0.2.7
        conference.example.org A 192.0.2.7
        xmpp.example.org A 192.0.2.7";

    #[test]
    fn a_whole_zone_needs_nothing() {
        let report = checked(WHOLE, &[]);
        assert!(report.records.is_empty() && report.warnings.is_empty(), "{report:?}");
        assert_eq!(report.good.len(), 4, "{report:?}");
    }

    #[test]
    fn an_empty_zone_gets_each_line() {
        let report =
            checked("other.example A 192.0.2.1", &[("s2s.listen_tls", "[\"192.0.2.7:5270\"]")]);
        assert_eq!(
            report.records,
            [
                "_xmpp-client._tcp.example.org. 3600 IN SRV 0 5 5222 example.org.",
                "_xmpps-client._tcp.example.org. 3600 IN SRV 0 5 5223 example.org.",
                "_xmpp-server._tcp.example.org. 3600 IN SRV 0 5 5269 example.org.",
                "_xmpps-server._tcp.example.org. 3600 IN SRV 0 5 5270 example.org.",
                "_xmpp-server._tcp.conference.example.org. 3600 IN SRV 0 5 5269 example.org.",
                "_xmpps-server._tcp.conference.example.org. 3600 IN SRV 0 5 5270 example.org.",
                "example.org. 3600 IN A 192.0.2.7",
            ],
            "{report:?}"
        );
        assert_eq!(report.warnings.len(), 7, "{report:?}");
    }

    #[test]
    fn what_is_there_is_held_against_the_ports() {
        // Others lead to the same place as the records that are there.
        let zone = "
            _xmpp-client._tcp.example.org SRV 0 5 5333 xmpp.example.org
            _xmpps-client._tcp.example.org SRV 0 0 0 .
            example.org A 192.0.2.7
            conference.example.org A 192.0.2.7
            xmpp.example.org A 192.0.2.7";
        let report = checked(zone, &[]);
        assert_eq!(
            report.records,
            [
                "_xmpp-client._tcp.example.org. 3600 IN SRV 0 5 5222 xmpp.example.org.",
                "_xmpps-client._tcp.example.org. 3600 IN SRV 0 5 5223 xmpp.example.org.",
            ],
            "{report:?}"
        );
        let told = report.to_string();
        for part in
            ["leads to port 5333", "not offered", "other servers try example.org at port 5269"]
        {
            assert!(told.contains(part), "no {part} in {told}");
        }
        // Without federation nobody looks for it.
        let report = checked(zone, &[("s2s.enabled", "false")]);
        assert!(!report.to_string().contains("xmpp-server"), "{report}");
        // What is for this machine alone is not sought from outside.
        let local = [("c2s.listen", "[\"127.0.0.1:5222\"]"), ("c2s.listen_tls", "[]")];
        assert!(checked(zone, &local).records.is_empty());
    }

    #[test]
    fn a_dns_that_does_not_answer_is_no_fault() {
        let report = checked("* SILENT", &[]);
        assert!(report.records.is_empty() && report.warnings.is_empty(), "{report:?}");
        assert_eq!(report.notes.len(), 1, "{report:?}");
        assert!(report.to_string().contains("note: the DNS could not be asked"), "{report}");
        let report = checked("* FAILS", &[]);
        assert!(report.notes.len() == 1 && report.records.is_empty(), "{report:?}");
    }

    #[test]
    fn a_name_without_a_place_in_the_dns_is_not_asked_for() {
        let report = checked("* FAILS", &[("host.0.domain", "localhost")]);
        assert!(report.notes.is_empty() && report.good.is_empty(), "{report:?}");
    }
}
