//! The servers of one domain, one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::timeout_at;

use super::public::is_public;
use super::race::{Failure, Tried, race};
use super::route::Route;
use super::settings::Settings;
use super::socket::{PeerSocket, Side, now};
use crate::net::dns::select::{Begin, Target};
use crate::net::dns::{Asked, DnsError, Names};
use crate::net::tls::peer::{Dane, PeerTls};
use crate::peer::dial::{Attempts, DialError, Dialed, Next, Step};

/// What all attempts share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) names: Names,
    pub(super) tls: PeerTls,
    /// Where servers of the same process are.
    pub(super) met: ArcSwap<BTreeMap<String, Route>>,
}

/// The attempts for one domain.
pub(super) struct Tries {
    shared: Arc<Shared>,
    local: String,
    remote: String,
    /// None before they were looked for.
    targets: Option<VecDeque<Target>>,
    /// Where connections were tried. Bounded: whoever writes a domain's records sends us nowhere often.
    called: Vec<(SocketAddr, Begin)>,
    /// The operator says where it is.
    routed: bool,
    steps: Vec<Step>,
    /// What is left of the time for all of it, in which nobody else is waited for.
    left: Duration,
}

impl Tries {
    pub(super) fn new(shared: Arc<Shared>, local: &str, remote: &str) -> Self {
        let (local, remote) = (local.to_owned(), remote.to_owned());
        let (called, steps, left) = (Vec::new(), Vec::new(), DIAL_TIME);
        Self { shared, local, remote, targets: None, called, routed: false, steps, left }
    }

    async fn try_next(&mut self) -> Option<Result<Dialed, DialError>> {
        let end = now() + self.left;
        let found = match timeout_at(end.into(), Box::pin(self.advance())).await {
            Ok(found) => found,
            Err(_) => {
                self.targets = Some(VecDeque::new());
                let secs = DIAL_TIME.as_secs();
                Some(Err(DialError::Timeout(format!("no server answered within {secs} seconds"))))
            }
        };
        self.left = end.saturating_duration_since(now());
        found
    }

    async fn advance(&mut self) -> Option<Result<Dialed, DialError>> {
        if self.targets.is_none() {
            match self.find().await {
                Ok(targets) => self.targets = Some(targets),
                Err(error) => {
                    self.targets = Some(VecDeque::new());
                    return Some(Err(error));
                }
            }
        }
        let mut last = None;
        while let Some(target) = self.targets.as_mut().and_then(VecDeque::pop_front) {
            match self.connect(target).await {
                Ok(Some(dialed)) => return Some(Ok(dialed)),
                Ok(None) => {}
                Err(error) => last = Some(Err(error)),
            }
        }
        last
    }

    /// Where the domain is: as the routes say, or as the DNS says.
    async fn find(&mut self) -> Result<VecDeque<Target>, DialError> {
        let set = self.shared.settings.routes.get(&self.remote).cloned();
        let route = set.or_else(|| self.shared.met.load().get(&self.remote).cloned());
        if let Some(route) = route {
            let what = format!("s2s.routes: {} is at {route}", self.remote);
            self.steps.push(Step { what, took: Duration::ZERO, failed: false });
            self.routed = true;
            return Ok(VecDeque::from([route.0]));
        }
        if is_literal(&self.remote) {
            // RFC 7622 §3.2 allows them, but no authority vouches for one, and it may be anybody's.
            return Err(DialError::NotFound("an address is not called as a domain".to_owned()));
        }
        let mut asked = Vec::new();
        let found = self.shared.names.targets(&self.remote, &mut asked).await;
        self.note(asked);
        found.map(VecDeque::from).map_err(|error| self.dns_error(&self.remote, &error))
    }

    /// Connects to one of the servers; `None` if all its addresses were tried before.
    async fn connect(&mut self, target: Target) -> Result<Option<Dialed>, DialError> {
        let (addresses, mut secure) = self.addresses(&target).await?;
        let addresses = self.new_ones(addresses, target.begin);
        if addresses.is_empty() {
            return Ok(None);
        }
        secure &= target.secure;
        let dane = self.dane(&target, secure).await?;
        let mut tried = Vec::new();
        let limit = self.shared.settings.connect_time;
        let won = race(addresses, limit, &mut tried).await;
        let error = tried.iter().rev().find_map(failed);
        self.called.extend(tried.iter().map(|one| (one.address, target.begin)));
        self.steps.extend(tried.iter().map(step));
        let Some((stream, address)) = won else {
            let nothing = || DialError::NotFound("the server has no address".to_owned());
            return Err(error.unwrap_or_else(nothing));
        };
        let (tls, loss_time) = (self.shared.tls.clone(), self.shared.settings.loss_time);
        let socket = PeerSocket::plain(stream, tls, Side::Ours { dane }, loss_time);
        match target.begin {
            Begin::StartTls => {
                Ok(Some(Dialed { transport: Box::new(socket), address, secured: None }))
            }
            Begin::Direct => self.secure(socket, address, limit).await.map(Some),
        }
    }

    /// The addresses that are tried: each once, and of all not too many.
    fn new_ones(&self, addresses: Vec<SocketAddr>, begin: Begin) -> Vec<SocketAddr> {
        let left = CONNECTIONS_MAX.saturating_sub(self.called.len());
        let of_ip = |ip| self.called.iter().filter(|(address, _)| address.ip() == ip).count();
        let is_new = |address: &SocketAddr| {
            !self.called.contains(&(*address, begin)) && of_ip(address.ip()) < OF_ONE_IP_MAX
        };
        addresses.into_iter().filter(is_new).take(left).collect()
    }

    /// Addresses that whoever writes the records may send us to.
    fn allowed(&mut self, host: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, DialError> {
        if self.routed || self.shared.settings.private_addresses {
            return Ok(found);
        }
        let (allowed, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|ip| is_public(*ip));
        if !refused.is_empty() {
            let what = format!(
                "{host}: {} addresses are not public (s2s.private_addresses)",
                refused.len()
            );
            self.steps.push(Step { what, took: Duration::ZERO, failed: allowed.is_empty() });
        }
        match allowed.is_empty() {
            true => Err(DialError::NotFound("the server has no public address".to_owned())),
            false => Ok(allowed),
        }
    }

    async fn addresses(&mut self, target: &Target) -> Result<(Vec<SocketAddr>, bool), DialError> {
        if let Ok(ip) = target.host.parse::<IpAddr>() {
            let allowed = self.allowed(&target.host, vec![ip])?;
            let all = allowed.into_iter().map(|ip| SocketAddr::from((ip, target.port)));
            return Ok((all.collect(), false));
        }
        let mut asked = Vec::new();
        let found = self.shared.names.addresses(&target.host, &mut asked).await;
        self.note(asked);
        let found = found.map_err(|error| self.dns_error(&target.host, &error))?;
        let allowed = self.allowed(&target.host, found.all)?;
        let all = allowed.into_iter().map(|ip| SocketAddr::from((ip, target.port)));
        Ok((all.collect(), found.secure))
    }

    /// RFC 7673 §3: where DNSSEC vouches for all that led to the target, its TLSA records count.
    async fn dane(
        &mut self,
        target: &Target,
        secure: bool,
    ) -> Result<Option<Box<Dane>>, DialError> {
        if !secure {
            return Ok(None);
        }
        let mut asked = Vec::new();
        let found = self.shared.names.tlsa(&target.host, target.port, &mut asked).await;
        self.note(asked);
        let records = found.map_err(|error| self.dns_error(&target.host, &error))?;
        let host = target.host.clone();
        Ok((!records.is_empty()).then(|| Box::new(Dane { host, records })))
    }

    async fn secure(
        &mut self,
        socket: PeerSocket,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<Dialed, DialError> {
        let start = now();
        let done = timeout_at((start + limit).into(), socket.direct(&self.local, &self.remote));
        let (told, result) = match done.await {
            Ok(Ok((socket, secured))) => {
                let told = format!("{}, {}", secured.version, secured.cipher);
                let transport = Box::new(socket);
                (told, Ok(Dialed { transport, address, secured: Some(secured) }))
            }
            Ok(Err(error)) => {
                let told = format!("failed: {error}");
                (told, Err(DialError::Failed("TLS with the server failed".to_owned())))
            }
            Err(_) => {
                let told = format!("no end within {} seconds", limit.as_secs());
                (told, Err(DialError::Timeout("TLS with the server came to no end".to_owned())))
            }
        };
        let what = format!("TLS with {address}: {told}");
        self.steps.push(Step { what, took: now() - start, failed: result.is_err() });
        result
    }

    fn note(&mut self, asked: Vec<Asked>) {
        let step = |Asked { what, took, failed }| Step { what, took, failed };
        self.steps.extend(asked.into_iter().map(step));
    }

    /// Senders and peers are told only of what kind it is: the steps say the rest.
    fn dns_error(&self, name: &str, error: &DnsError) -> DialError {
        let what = match error {
            DnsError::NotOffered => format!("{name} says that it has no XMPP server"),
            DnsError::Failed(_) => {
                format!("the servers of {} are not found: the DNS server failed", self.remote)
            }
            error => format!("the servers of {} are not found: {name}: {error}", self.remote),
        };
        match error {
            DnsError::Absent { .. }
            | DnsError::NoDomain
            | DnsError::NotOffered
            | DnsError::Useless => DialError::NotFound(what),
            DnsError::Timeout => DialError::Timeout(what),
            DnsError::Bogus | DnsError::Failed(_) => DialError::Failed(what),
        }
    }
}

impl Attempts for Tries {
    fn next(&mut self) -> Next<'_> {
        Box::pin(self.try_next())
    }

    fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// A domainpart that is an address (RFC 7622 §3.2).
fn is_literal(domain: &str) -> bool {
    let inner = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(domain).parse::<IpAddr>().is_ok()
}

fn step(tried: &Tried) -> Step {
    let told = match &tried.failure {
        None => "connected".to_owned(),
        Some(Failure::Timeout) => "no answer".to_owned(),
        Some(Failure::Refused(error)) => error.to_string(),
        Some(Failure::Slower) => "slower than another one".to_owned(),
    };
    let failed = matches!(tried.failure, Some(Failure::Timeout | Failure::Refused(_)));
    Step { what: format!("connection to {}: {told}", tried.address), took: tried.took, failed }
}

/// Without the address, of which the step tells: errors go to whoever wrote, and to peers.
fn failed(tried: &Tried) -> Option<DialError> {
    match tried.failure.as_ref()? {
        Failure::Timeout => Some(DialError::Timeout("the server did not answer".to_owned())),
        Failure::Refused(error) if error.kind() == ErrorKind::ConnectionRefused => {
            Some(DialError::Failed("the connection was refused".to_owned()))
        }
        Failure::Refused(_) => Some(DialError::Failed("the server is not reached".to_owned())),
        Failure::Slower => None,
    }
}

/// Connections of one attempt, over all servers of the domain.
const CONNECTIONS_MAX: usize = 12;
/// Of these, to one address.
const OF_ONE_IP_MAX: usize = 4;
/// For all that is done to connect to a domain, as far as it is done here.
const DIAL_TIME: Duration = Duration::from_secs(30);
