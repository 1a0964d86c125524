//! Connects to another server: finds its addresses, opens a stream on one, and authenticates.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::cause::{Cause, of_refused};
use super::clock::{now, wall};
use super::dial::{Dialed, Step};
use super::federation::Federation;
use super::machine::Machine;
use super::sending::PeerWire;
use super::stream::{Begun, Ended, Stream};
use super::streams::{Direction, Failed};
use crate::stanza::StanzaError;
use crate::stream::framing::Framing;
use crate::stream::s2s::{Failure, Outcome, Outgoing, Purpose};
use crate::xml::ns;

/// Why there is no stream, and what was tried.
#[derive(Debug)]
pub(super) struct Unreached {
    /// Why.
    pub(super) cause: Cause,
    /// For the senders of what waits.
    pub(super) error: StanzaError,
    /// What was tried.
    pub(super) steps: Vec<Step>,
}

/// Opens a stream to `remote`. It is counted, noted and logged if there is none.
pub(super) async fn open(
    federation: &Arc<Federation>,
    local: &str,
    remote: &str,
    purpose: &Purpose,
) -> Result<(Box<Stream>, Vec<Step>), Unreached> {
    let opened = attempt(federation, local, remote, purpose).await;
    match &opened {
        Ok(_) => federation.counts.attempted(0),
        Err(Unreached { cause, steps, .. }) => {
            federation.counts.attempted(cause.outcome());
            let (why, steps) = (cause.to_string(), steps.clone());
            federation.note((local, remote), Direction::Out, why, cause.advice(), steps);
        }
    }
    opened
}

/// Opens a stream to `remote`, as [`open`] does, and says nothing.
pub(super) async fn attempt(
    federation: &Arc<Federation>,
    local: &str,
    remote: &str,
    purpose: &Purpose,
) -> Result<(Box<Stream>, Vec<Step>), Unreached> {
    let mut tried = Tried { steps: Vec::new(), last: None };
    if let Some(error) = federation.rules.denies(remote) {
        return Err(Unreached { cause: Cause::Denied(error.clone()), error, steps: tried.steps });
    }
    let _turn = federation.turn(remote, matches!(purpose, Purpose::Verify { .. })).await;
    let reached = timeout(OPEN_TIME, tried.all(federation, (local, remote), purpose)).await;
    match reached {
        Ok(Some(stream)) => return Ok((stream, tried.steps)),
        Ok(None) => {}
        Err(_) => {
            tried.last.get_or_insert(Cause::Slow);
        }
    }
    let cause = tried.last.unwrap_or(Cause::Nothing);
    let error = cause.error().text(format!("{remote} cannot be reached: {cause}"));
    Err(Unreached { cause, error, steps: tried.steps })
}

struct Tried {
    steps: Vec<Step>,
    last: Option<Cause>,
}

impl Tried {
    async fn all(
        &mut self,
        federation: &Arc<Federation>,
        (local, remote): (&str, &str),
        purpose: &Purpose,
    ) -> Option<Box<Stream>> {
        let mut attempts = federation.dialer.dial(local, remote);
        let mut known = 0;
        while let Some(dialed) = attempts.next().await {
            self.steps.extend(attempts.steps().iter().skip(known).cloned());
            known = attempts.steps().len();
            match dialed {
                Err(error) => self.last = Some(Cause::Dial(error)),
                Ok(dialed) => {
                    let address = dialed.address;
                    let begun = now();
                    let (mut stream, failure) =
                        negotiate(federation, (local, remote), purpose, dialed).await;
                    self.steps.append(&mut std::mem::take(&mut stream.steps));
                    let (what, failed) = match &failure {
                        None => (format!("stream with {address}"), false),
                        Some(failure) => (format!("stream with {address}: {failure}"), true),
                    };
                    self.steps.push(Step { what, took: now() - begun, failed });
                    match failure {
                        None => return Some(stream),
                        Some(failure) => self.last = Some(Cause::Stream(failure)),
                    }
                }
            }
        }
        self.steps.extend(attempts.steps().iter().skip(known).cloned());
        None
    }
}

async fn negotiate(
    federation: &Arc<Federation>,
    (local, remote): (&str, &str),
    purpose: &Purpose,
    dialed: Dialed,
) -> (Box<Stream>, Option<Failure>) {
    let Dialed { transport, address, secured } = dialed;
    let limits = &federation.context.router.limits;
    let proved =
        secured.as_ref().map(|secured| crate::stream::s2s::Secured(secured.certificate.clone()));
    let policy = federation.policy.clone();
    let machine = Outgoing::new(policy, local, remote, purpose.clone(), proved);
    let begun = Begun {
        wire: PeerWire::new(transport, Framing::tcp(ns::SERVER, limits)),
        machine: Machine::Outgoing(Box::new(machine)),
        names: (local.to_owned(), remote.to_owned()),
        address: address.ip(),
        since: now(),
        secured,
        stranger: None,
    };
    let mut stream = Box::new(Stream::new(federation.clone(), begun));
    Box::pin(stream.until_ready()).await;
    let failure = match &stream.ending {
        _ if stream.ready.is_some() || stream.answered.is_some() => None,
        Some(Ended::Failed(failure)) => {
            let failure = failure.clone();
            stream.hang_up().await;
            Some(failure)
        }
        Some(Ended::Elsewhere(host)) => Some(Failure::Elsewhere(host.clone())),
        Some(Ended::Closed | Ended::Lost) | None => Some(Failure::Closed),
    };
    (stream, failure)
}

/// Asks the authoritative server of `remote` about a key (XEP-0220 §2.1.2).
pub(super) async fn verify(
    federation: &Arc<Federation>,
    local: &str,
    remote: &str,
    stream_id: String,
    key: String,
) -> Outcome {
    let purpose = Purpose::Verify { stream_id, key };
    match open(federation, local, remote, &purpose).await {
        Ok((mut stream, _)) => {
            let outcome = stream.answered.take();
            // The answer does not wait until the peer has hung up.
            let tasks = &federation.context.router.tasks;
            tasks.spawn("dialback", async move { stream.hang_up().await });
            outcome.unwrap_or_else(|| Outcome::Error(StanzaError::remote_server_timeout()))
        }
        Err(unreached) => Outcome::Error(unreached.error),
    }
}

impl Federation {
    /// Notes why there is no stream, for `s2s why`, and logs it; not each time if it happens again and again.
    pub(super) fn note(
        &self,
        (local, remote): (&str, &str),
        direction: Direction,
        why: String,
        advice: &'static str,
        steps: Vec<Step>,
    ) {
        let failed = Failed {
            at: wall(),
            local: local.to_owned(),
            direction,
            why: why.clone(),
            advice,
            steps,
        };
        if let Some(untold) = self.streams.failed(remote, failed) {
            let direction = direction.as_str();
            tracing::info!(local, peer = %remote, direction, why, advice, untold, "no stream with a server");
        }
    }

    /// Notes that a server was refused.
    pub(super) fn refuse(&self, (local, remote): (&str, &str), address: IpAddr, why: &str) {
        let (reason, advice) = of_refused(why, self.rules.admits(remote));
        self.counts.refused(reason);
        let why = format!("the server at {address} was refused: {why}");
        self.note((local, remote), Direction::In, why, advice, Vec::new());
    }
}

/// Maximum time for all targets of a domain together.
const OPEN_TIME: Duration = Duration::from_secs(60);
