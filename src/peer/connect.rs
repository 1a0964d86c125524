//! Connects to another server: finds its addresses, opens a stream on one, and authenticates.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::clock::{now, wall};
use super::dial::{DialError, Dialed, Step};
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
pub struct Unreached {
    /// For the senders of what waits.
    pub error: StanzaError,
    /// What was tried.
    pub steps: Vec<Step>,
}

/// Opens a stream to `remote`. It is noted and logged if there is none.
pub(super) async fn open(
    federation: &Arc<Federation>,
    local: &str,
    remote: &str,
    purpose: &Purpose,
) -> Result<(Stream, Vec<Step>), Unreached> {
    // The peer may have to ask us about a key of ours while we ask it about one of its own: neither waits for the
    // other.
    let _turn = match purpose {
        Purpose::Stanzas => federation.turn(remote).await,
        Purpose::Verify { .. } => federation.turn(&format!("?{remote}")).await,
    };
    let mut tried = Tried { steps: Vec::new(), last: None };
    let reached = timeout(OPEN_TIME, tried.all(federation, (local, remote), purpose)).await;
    match reached {
        Ok(Some(stream)) => return Ok((stream, tried.steps)),
        Ok(None) => {}
        Err(_) => {
            let why = "nothing came of it in time".to_owned();
            tried.last.get_or_insert((StanzaError::remote_server_timeout(), why));
        }
    }
    let none = || {
        let why = format!("no server of {remote} could be found");
        (StanzaError::remote_server_not_found(), why)
    };
    let (error, why) = tried.last.unwrap_or_else(none);
    let error = error.text(format!("{remote} cannot be reached: {why}"));
    federation.note(local, remote, Direction::Out, &why, tried.steps.clone());
    Err(Unreached { error, steps: tried.steps })
}

struct Tried {
    steps: Vec<Step>,
    last: Option<(StanzaError, String)>,
}

impl Tried {
    async fn all(
        &mut self,
        federation: &Arc<Federation>,
        (local, remote): (&str, &str),
        purpose: &Purpose,
    ) -> Option<Stream> {
        let mut attempts = federation.dialer.dial(local, remote);
        let mut known = 0;
        while let Some(dialed) = attempts.next().await {
            self.steps.extend(attempts.steps().iter().skip(known).cloned());
            known = attempts.steps().len();
            match dialed {
                Err(error) => self.failed(dial_error(&error), error.to_string()),
                Ok(dialed) => {
                    let address = dialed.address;
                    let begun = now();
                    let negotiated = negotiate(federation, (local, remote), purpose, dialed).await;
                    let (what, failed) = match &negotiated {
                        Ok(_) => (format!("stream with {address}"), false),
                        Err(failure) => (format!("stream with {address}: {failure}"), true),
                    };
                    self.steps.push(Step { what, took: now() - begun, failed });
                    match negotiated {
                        Ok(stream) => return Some(stream),
                        Err(failure) => self.failed(failure.bounce(), failure.to_string()),
                    }
                }
            }
        }
        self.steps.extend(attempts.steps().iter().skip(known).cloned());
        None
    }

    fn failed(&mut self, error: StanzaError, why: String) {
        self.last = Some((error, why));
    }
}

/// RFC 6120 §8.3.3.16, §8.3.3.17
fn dial_error(error: &DialError) -> StanzaError {
    match error {
        DialError::NotFound(_) => StanzaError::remote_server_not_found(),
        DialError::Timeout(_) | DialError::Failed(_) => StanzaError::remote_server_timeout(),
    }
}

async fn negotiate(
    federation: &Arc<Federation>,
    (local, remote): (&str, &str),
    purpose: &Purpose,
    dialed: Dialed,
) -> Result<Stream, Failure> {
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
    let mut stream = Stream::new(federation.clone(), begun);
    Box::pin(stream.until_ready()).await;
    match &stream.ending {
        _ if stream.ready.is_some() || stream.answered.is_some() => Ok(stream),
        Some(Ended::Failed(failure)) => {
            let failure = failure.clone();
            stream.hang_up().await;
            Err(failure)
        }
        Some(Ended::Elsewhere(host)) => Err(Failure::Elsewhere(host.clone())),
        Some(Ended::Closed | Ended::Lost) | None => Err(Failure::Closed),
    }
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
    /// Notes why there is no stream, for `s2s why`, and logs it.
    pub(super) fn note(
        &self,
        local: &str,
        remote: &str,
        direction: Direction,
        why: &str,
        steps: Vec<Step>,
    ) {
        tracing::info!(local, peer = %remote, direction = direction.as_str(), why, "no stream with a server");
        let (local, why) = (local.to_owned(), why.to_owned());
        self.streams.failed(remote, Failed { at: wall(), local, direction, why, steps });
    }
}

/// Maximum time for all targets of a domain together.
const OPEN_TIME: Duration = Duration::from_secs(60);
