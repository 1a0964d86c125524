//! The servers of one domain, one after the other.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;

use super::race::{Failure, Tried, race};
use super::settings::Settings;
use super::socket::{PeerSocket, Side, now};
use crate::net::dns::select::{Begin, PORT, Target};
use crate::net::dns::{Asked, DnsError, Names};
use crate::net::tls::peer::{Dane, PeerTls};
use crate::peer::dial::{Attempts, DialError, Dialed, Next, Step};

/// What all attempts share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) names: Names,
    pub(super) tls: PeerTls,
}

/// The attempts for one domain.
pub(super) struct Tries {
    shared: Arc<Shared>,
    local: String,
    remote: String,
    /// None before they were looked for.
    targets: Option<VecDeque<Target>>,
    steps: Vec<Step>,
    /// What is left of the time for all of it, in which nobody else is waited for.
    left: Duration,
}

impl Tries {
    pub(super) fn new(shared: Arc<Shared>, local: &str, remote: &str) -> Self {
        let (local, remote) = (local.to_owned(), remote.to_owned());
        Self { shared, local, remote, targets: None, steps: Vec::new(), left: DIAL_TIME }
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
                Ok(dialed) => return Some(Ok(dialed)),
                Err(error) => last = Some(Err(error)),
            }
        }
        last
    }

    /// Where the domain is: as the routes say, at the address that it is, or as the DNS says.
    async fn find(&mut self) -> Result<VecDeque<Target>, DialError> {
        let at = |host: String| Target { host, port: PORT, begin: Begin::StartTls, secure: false };
        if let Some(route) = self.shared.settings.routes.get(&self.remote) {
            let what = format!("s2s.routes: {} is at {route}", self.remote);
            self.steps.push(Step { what, took: Duration::ZERO, failed: false });
            return Ok(VecDeque::from([route.0.clone()]));
        }
        if let Some(ip) = literal(&self.remote) {
            return Ok(VecDeque::from([at(ip.to_string())]));
        }
        let mut asked = Vec::new();
        let found = self.shared.names.targets(&self.remote, &mut asked).await;
        self.note(asked);
        found.map(VecDeque::from).map_err(|error| self.dns_error(&self.remote, &error))
    }

    async fn connect(&mut self, target: Target) -> Result<Dialed, DialError> {
        let (addresses, mut secure) = self.addresses(&target).await?;
        secure &= target.secure;
        let dane = self.dane(&target, secure).await?;
        let mut tried = Vec::new();
        let limit = self.shared.settings.connect_time;
        let won = race(addresses, limit, &mut tried).await;
        let error = tried.iter().rev().find_map(|one| failed(&target.host, one, limit));
        self.steps.extend(tried.iter().map(step));
        let Some((stream, address)) = won else {
            let nothing = || DialError::NotFound(format!("{} has no address", target.host));
            return Err(error.unwrap_or_else(nothing));
        };
        let (tls, loss_time) = (self.shared.tls.clone(), self.shared.settings.loss_time);
        let socket = PeerSocket::plain(stream, tls, Side::Ours { dane }, loss_time);
        match target.begin {
            Begin::StartTls => Ok(Dialed { transport: Box::new(socket), address, secured: None }),
            Begin::Direct => self.secure(socket, address, limit).await,
        }
    }

    async fn addresses(&mut self, target: &Target) -> Result<(Vec<SocketAddr>, bool), DialError> {
        if let Ok(ip) = target.host.parse::<IpAddr>() {
            return Ok((vec![SocketAddr::from((ip, target.port))], false));
        }
        let mut asked = Vec::new();
        let found = self.shared.names.addresses(&target.host, &mut asked).await;
        self.note(asked);
        let found = found.map_err(|error| self.dns_error(&target.host, &error))?;
        let all = found.all.into_iter().map(|ip| SocketAddr::from((ip, target.port)));
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
                let why = format!("TLS with {address} failed: {error}");
                (told, Err(DialError::Failed(why)))
            }
            Err(_) => {
                let told = format!("no end within {} seconds", limit.as_secs());
                let why = format!("TLS with {address} came to no end");
                (told, Err(DialError::Timeout(why)))
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

    fn dns_error(&self, name: &str, error: &DnsError) -> DialError {
        let what = match error {
            DnsError::NotOffered => format!("{name} says that it has no XMPP server"),
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
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(domain).parse().ok()
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

fn failed(host: &str, tried: &Tried, limit: Duration) -> Option<DialError> {
    let place = match tried.address.ip().to_string() == host {
        true => tried.address.to_string(),
        false => format!("{host} ({})", tried.address),
    };
    match tried.failure.as_ref()? {
        Failure::Timeout => {
            let secs = limit.as_secs();
            Some(DialError::Timeout(format!("{place} did not answer within {secs} seconds")))
        }
        Failure::Refused(error) => Some(DialError::Failed(format!("{place}: {error}"))),
        Failure::Slower => None,
    }
}

/// For all that is done to connect to a domain, as far as it is done here.
const DIAL_TIME: Duration = Duration::from_secs(30);
