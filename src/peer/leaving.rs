//! The end of a stream with another server.

use std::time::Duration;

use tokio::time::timeout;

use super::machine::{Input, Machine};
use super::rows::give_up;
use super::stream::{Ended, Stream};
use crate::jid::Jid;
use crate::modules::api::Requester;
use crate::session::wire::Io;
use crate::stanza::{Frame, Kind, StanzaError};
use crate::stream::error::StreamError;
use crate::stream::framing::Event;
use crate::stream::sm;
use crate::xml::element::Element;
use crate::xml::ns;

impl Stream {
    /// The peer does not say that it has what it was sent. If it closes the stream in good order, it has
    /// (RFC 6120 §4.4); otherwise all is sent anew on another one.
    pub(super) async fn silent(&mut self) {
        tracing::info!(peer = %self.name(), address = %self.address, "a server does not acknowledge what it is sent");
        self.leave().await;
    }

    /// An operator wants the stream to end.
    pub(super) async fn dismiss(&mut self) {
        let rules = &self.federation.rules;
        match self.pairs.iter().all(|(_, remote)| rules.admits(remote)) {
            true => self.leave().await,
            false => {
                let why = "this server does not talk to that domain any more";
                self.fail(StreamError::PolicyViolation.text(why)).await;
            }
        }
    }

    /// The server stops: what the peer was promised is told once more.
    pub(super) async fn stop(&mut self) {
        if self.machine.is_outgoing() {
            return self.leave().await;
        }
        self.receiving.settled(CLOSE_TIME).await;
        if self.managed.is_on() {
            self.say_count();
        }
        let acts = self.machine.feed(Input::Fail(StreamError::SystemShutdown.into()));
        Box::pin(self.perform(acts)).await;
        self.ending.get_or_insert(Ended::Closed);
    }

    /// Says the closing tag, when all that came is durable: it says so (promise.md 4). Whoever does not get it sends
    /// again what was not acknowledged.
    pub(super) async fn say_close(&mut self) {
        if self.receiving.settled(CLOSE_TIME).await {
            self.wire.say(crate::stream::framing::Item::Close);
        }
    }

    /// Closes the stream, and waits a moment for the peer to close it, too: then it has taken all that was sent
    /// (RFC 6120 §4.4).
    pub(super) async fn leave(&mut self) {
        let acts = self.machine.feed(Input::Leave);
        Box::pin(self.perform(acts)).await;
        let closing = async {
            let flushed = self.wire.flush().await.is_ok();
            flushed && self.until_closed().await
        };
        match timeout(CLOSE_TIME, closing).await {
            Ok(true) => {
                self.sending.closed_by_peer();
                self.ending = Some(Ended::Closed);
            }
            _ => self.ending = Some(Ended::Lost),
        }
    }

    /// What comes until then is taken (RFC 6120 §4.4 rule 2). True if the peer closed its stream without an error.
    async fn until_closed(&mut self) -> bool {
        loop {
            while self.receiving.may_read() {
                match self.wire.piece() {
                    Ok(Some(Event::Close)) => return true,
                    Ok(Some(Event::Element(element))) => {
                        if (element.ns(), element.name()) == (ns::STREAM, "error") {
                            return false;
                        }
                        self.take_late(element);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return false,
                }
            }
            let reading = self.receiving.may_read();
            tokio::select! {
                io = self.wire.io(reading), if reading => match io {
                    Ok(Io::Read(0)) | Err(_) => return false,
                    Ok(_) => {}
                },
                () = self.receiving.eased() => {}
            }
        }
    }

    /// An element that comes while we leave.
    fn take_late(&mut self, element: Element) {
        if element.ns() == ns::SM {
            if let sm::Received::Ack(h) = sm::Received::on(&element, true) {
                let _ = self.sending.acknowledged(h);
            }
            return;
        }
        let pairs = match &self.machine {
            Machine::Incoming(machine) => machine.pairs(),
            Machine::Outgoing(machine) => machine.pairs(),
        };
        let takes = self.bidi || !self.machine.is_outgoing();
        let ours = |domain: &str| self.federation.policy.is_ours(domain);
        if takes && Kind::of(&element).is_some() && pairs.judge(&element, ours).is_ok() {
            self.receiving.stanza(element, self.heard);
        }
    }

    /// Tells the senders of these that they cannot be sent, in a task of its own.
    pub(super) fn bounce(&self, stanzas: Vec<Frame>, why: &'static str) {
        let cx = self.federation.context.cx(Requester::Entity(Jid::normal(&self.name())));
        let error = StanzaError::policy_violation().text(why);
        self.federation.context.router.tasks.spawn("bounce", async move {
            give_up(&cx, stanzas, &error).await;
        });
    }

    /// Tells whoever asked that nobody knows whether these arrived.
    pub(super) fn lose(&self, requests: Vec<Frame>) {
        if requests.is_empty() {
            return;
        }
        let cx = self.federation.context.cx(Requester::Entity(Jid::normal(&self.name())));
        self.federation.context.router.tasks.spawn("bounce", async move {
            give_up(&cx, requests, &lost()).await;
        });
    }

    /// Gives the peer a moment to read the last output.
    pub(super) async fn hang_up(&mut self) {
        let closing = async {
            self.wire.flush().await?;
            self.wire.shutdown().await?;
            self.wire.linger().await
        };
        let _ = timeout(CLOSE_TIME, closing).await;
    }
}

/// For whoever waits for an answer from a server that is gone.
pub(super) fn lost() -> StanzaError {
    StanzaError::remote_server_timeout().text("the connection to the server was lost")
}

/// How long a peer may take to close its stream, and we to be able to.
const CLOSE_TIME: Duration = Duration::from_secs(3);
