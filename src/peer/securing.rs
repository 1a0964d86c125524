//! TLS and dialback of a stream with another server.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::clock::now;
use super::connect;
use super::dial::Step;
use super::machine::{Input, Machine};
use super::steps;
use super::stream::{Ended, Stream};
use crate::stream::s2s::{Failure, Secured};

impl Stream {
    pub(super) async fn start_tls(&mut self) {
        let names = match &self.machine {
            Machine::Outgoing(_) => self.names.clone(),
            machine => (machine.local().unwrap_or_default().to_owned(), String::new()),
        };
        let (until, since) = (self.deadline.unwrap_or_else(now), now());
        let secured = timeout_at(until.into(), async {
            self.wire.flush().await?;
            if !self.wire.nothing_unread() {
                // RFC 6120 §5.4.3.1: bytes behind the request would count as protected.
                return Err(std::io::Error::other("bytes behind <starttls/>"));
            }
            self.wire.transport().start_tls(&names.0, &names.1).await
        });
        match secured.await {
            Ok(Ok(secured)) => {
                self.wire.restart();
                self.listed.change(|facts| facts.tls = secured.version);
                if self.machine.is_outgoing() {
                    self.steps.push(steps::of_tls(&secured, &names.1, now() - since));
                }
                let acts = self.machine.feed(Input::Secured(Secured(secured.certificate)));
                Box::pin(self.perform(acts)).await;
            }
            Ok(Err(error)) => self.tls_failed(error.to_string()),
            Err(_) => self.tls_failed("it took too long".to_owned()),
        }
    }

    pub(super) fn step(&mut self, what: String, since: Instant) {
        if self.machine.is_outgoing() {
            let took = now().saturating_duration_since(since);
            self.steps.push(Step { what, took, failed: false });
        }
    }

    fn tls_failed(&mut self, why: String) {
        tracing::info!(peer = %self.name(), address = %self.address, why, "TLS with a server failed");
        self.ending = Some(Ended::Failed(Failure::Certificate(format!("TLS failed: {why}"))));
    }

    /// XEP-0220 §2.1.2, in a task of its own, as it may take long.
    pub(super) fn verify(&mut self, local: String, remote: String, stream_id: String, key: String) {
        let federation = self.federation.clone();
        let (answer, _) = self.verified.get_or_insert_with(|| mpsc::channel(VERIFIED_MAX));
        let answer = answer.clone();
        self.federation.context.router.tasks.spawn("dialback", async move {
            let outcome = tokio::select! {
                outcome = connect::verify(&federation, &local, &remote, stream_id, key) => outcome,
                // Nobody waits any more.
                () = answer.closed() => return,
            };
            // The stream may be gone.
            let _ = answer.send(Input::Verified { local, remote, outcome }).await;
        });
    }
}

/// Answers of dialback that wait to be told.
const VERIFIED_MAX: usize = 16;
