//! XEP-0198 on a stream with another server, whoever opened it.

use std::time::Duration;

use tokio::time::timeout;

use super::clock::now;
use super::former::Former;
use super::sending::{Confirms, Sending};
use super::stream::{Managed, Resumed, Resumption, Stream};
use crate::base::hash::sha256;
use crate::base::id::{self, OsRng};
use crate::stanza::Condition;
use crate::store::Store;
use crate::store::handled::{self, StreamOwner};
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::sm::{self, Command, Received};
use crate::xml::element::Element;

impl Stream {
    /// Handles an element of XEP-0198.
    pub(super) fn manage(&mut self, element: &Element) -> Result<(), StreamFailure> {
        match (element.name(), &self.managed) {
            ("enabled", Managed::Asked { .. }) => {
                self.enabled(element);
                return Ok(());
            }
            ("resumed", Managed::Asked { .. }) => return self.resumed(element),
            ("failed", Managed::Asked { resuming }) => {
                let resuming = *resuming;
                self.refused(element, resuming);
                return Ok(());
            }
            ("resume", Managed::Off) if !self.machine.is_outgoing() => {
                if let Ok(Command::Resume { previd, h }) = Command::read(element) {
                    self.begin_resuming(previd, h);
                    return Ok(());
                }
            }
            _ => {}
        }
        match Received::on(element, matches!(self.managed, Managed::On(_))) {
            Received::Enable { resume, .. } => self.enable(resume),
            Received::Request => {
                let count = &self.receiving.handled_count;
                let (came, handled) = (count.issued(), count.handled());
                if self.sending.management().requested(came, handled, now()) {
                    self.say_count();
                } else {
                    self.federation.context.router.flush_deferred();
                }
            }
            Received::Ack(h) => self.sending.acknowledged(h).map_err(sm::too_high)?,
            Received::Refused(said) => self.wire.queue(said),
            Received::Failed(failure) => return Err(failure),
        }
        Ok(())
    }

    /// XEP-0198 §3, as the receiving entity.
    fn enable(&mut self, resume: bool) {
        if self.machine.is_outgoing() {
            return self.wire.queue(sm::failed(Condition::UnexpectedRequest, None));
        }
        let previd = id::random(&mut OsRng);
        let id = sha256(previd.as_bytes());
        let count = &self.receiving.handled_count;
        let peer = self.pairs.first().map(|(_, remote)| StreamOwner::Peer(remote.as_str().into()));
        count.enable(id, peer.filter(|_| resume));
        if !count.is_settled() {
            self.federation.context.router.flush_deferred();
        }
        let resumption = resume.then(|| self.resumable(&previd));
        let time = super::resumable::RESUME_TIME.as_secs();
        let told = resume.then_some((previd.as_str(), time));
        self.wire.queue(sm::enabled(told, None));
        self.managed = Managed::On(resumption);
        self.note_managed();
        if self.sending.counts_from_here(0, self.federation.sent_bounds()) {
            self.wire.queue(sm::request());
        }
    }

    /// The peer did not answer what was asked of XEP-0198: it is done without.
    pub(super) async fn unmanaged(&mut self) {
        self.manage_by = None;
        let Managed::Asked { resuming } = self.managed else { return };
        if resuming {
            let requests = self.sending.begin_anew(self.federation.sent_bounds());
            self.lose(requests);
            self.receiving.begin_anew();
        }
        self.begin_pinging();
    }

    fn resumable(&self, previd: &str) -> Resumption {
        let id = sha256(previd.as_bytes());
        let remotes = self.pairs.iter().map(|(_, remote)| remote.clone()).collect();
        let count = self.receiving.handled_count.clone();
        let end = self.federation.resumables.add(id, remotes, count, now());
        Resumption::Theirs(previd.to_owned(), end)
    }

    /// XEP-0198 §5: the former stream's count is whole before it is told. Of a stream that was forgotten, as of those
    /// before a crash, the store has it, exact for all that wrote something (promise.md 6).
    fn begin_resuming(&mut self, previd: String, h: u32) {
        let (federation, pairs) = (self.federation.clone(), self.pairs.clone());
        self.resuming = Some(Box::pin(async move {
            let id = sha256(previd.as_bytes());
            let take = async {
                for (_, remote) in &pairs {
                    if let Some(count) = federation.resumables.take(&id, remote).await {
                        let issued = count.issued();
                        federation.context.router.flush_deferred();
                        count.reached(issued).await;
                        return Some(count);
                    }
                }
                None
            };
            let found = match timeout(RESUMING_TIME, take).await.ok().flatten() {
                Some(count) => Ok(count),
                None => Err(stored(&federation.context.router.store, id, &pairs).await),
            };
            (previd, h, found)
        }));
    }

    /// The former stream was found, or not. What it had of ours and did not acknowledge was left to the next one.
    pub(super) fn resume_theirs(&mut self, (previd, h, found): Resumed) {
        let count = match found {
            Ok(count) => count,
            Err(known) => return self.wire.queue(sm::failed(Condition::ItemNotFound, known)),
        };
        self.wire.queue(sm::resumed(&previd, count.h()));
        self.receiving.resume(count);
        self.managed = Managed::On(Some(self.resumable(&previd)));
        self.note_managed();
        self.federation.note_count(&previd, h);
        if self.sending.counts_from_here(h, self.federation.sent_bounds()) {
            self.wire.queue(sm::request());
        }
    }

    pub(super) fn say_count(&mut self) {
        let h = self.receiving.handled_count.h();
        self.wire.queue(sm::ack(h));
    }

    pub(super) fn note_managed(&self) {
        self.listed.change(|facts| facts.managed = true);
    }

    /// What it sent and has to send, for another stream.
    pub(super) fn take_sending(&mut self) -> Sending {
        let router = self.federation.context.router.clone();
        std::mem::replace(&mut self.sending, Sending::new(router, self.federation.sent_bounds()))
    }

    /// Asks for stream management, or to resume the former stream; without either, pings acknowledge.
    pub(super) fn begin_managing(&mut self, offered: bool, former: Option<&Former>) {
        let patience = self.federation.context.router.limits.ping_timeout;
        self.manage_by = offered.then(|| now() + patience);
        let noted = former.and_then(|former| self.federation.noted_count(&former.previd));
        match (offered, former) {
            // The peer said it when it resumed the stream itself; since then it counts other stanzas by that SM-ID.
            (true, Some(_)) if noted.is_some() => self.go_on(noted),
            (true, Some(former)) => {
                self.wire.queue(sm::resume(&former.previd, former.handled_count.h()));
                self.receiving.resume(former.handled_count.clone());
                self.managed = Managed::Asked { resuming: true };
            }
            (true, None) => {
                self.wire.queue(sm::enable(true));
                self.managed = Managed::Asked { resuming: false };
            }
            (false, _) => self.begin_pinging(),
        }
    }

    fn begin_pinging(&mut self) {
        (self.managed, self.manage_by) = (Managed::Off, None);
        self.sending.confirmed_by(Confirms::Pings);
    }

    fn enabled(&mut self, element: &Element) {
        let may_resume = matches!(element.attr("resume").as_deref(), Some("true" | "1"));
        let previd = element.attr("id").filter(|_| may_resume).map(|id| id.into_owned());
        self.manage_by = None;
        // By the SM-ID the peer may ask how much of what it sent here was taken, if this server is killed.
        let owner = StreamOwner::Peer(self.names.1.as_str().into());
        let id = sha256(previd.as_deref().unwrap_or_default().as_bytes());
        self.receiving.handled_count.enable(id, previd.is_some().then_some(owner));
        self.managed = Managed::On(previd.map(Resumption::Ours));
        self.note_managed();
        self.sending.confirmed_by(Confirms::Management);
    }

    fn resumed(&mut self, element: &Element) -> Result<(), StreamFailure> {
        let Some(h) = element.attr("h").and_then(|h| h.trim().parse().ok()) else {
            return Err(StreamError::BadFormat.text("<resumed/> without a count"));
        };
        let previd = element.attr("previd").map(|id| id.into_owned());
        self.manage_by = None;
        self.managed = Managed::On(previd.map(Resumption::Ours));
        self.note_managed();
        let bounds = self.federation.sent_bounds();
        self.sending.resumed(h, &mut self.wire, bounds).map_err(sm::too_high)
    }

    /// The former stream is gone, or there is no management after all.
    fn refused(&mut self, element: &Element, resuming: bool) {
        if !resuming {
            return self.begin_pinging();
        }
        self.go_on(element.attr("h").and_then(|h| h.trim().parse().ok()));
    }

    /// On a new stream, of which the peer knows nothing; of the former one it has so much.
    fn go_on(&mut self, h: Option<u32>) {
        if let Some(h) = h {
            let _ = self.sending.acknowledged(h);
        }
        let requests = self.sending.begin_anew(self.federation.sent_bounds());
        self.lose(requests);
        self.receiving.begin_anew();
        self.wire.queue(sm::enable(true));
        self.managed = Managed::Asked { resuming: false };
    }
}

/// The count of a stream that is not in memory, for whoever is authenticated as its domain.
async fn stored(store: &Store, id: [u8; 32], pairs: &[(String, String)]) -> Option<u32> {
    let known = match store.barrier().await {
        Ok(()) => store.read(move |tx| handled::get_of_peer(tx, &id)).await,
        Err(error) => Err(error),
    };
    match known {
        Ok(known) => {
            let (owner, h) = known?;
            pairs.iter().any(|(_, remote)| *remote == owner).then_some(h)
        }
        Err(error) => {
            tracing::error!(%error, "the count of a server's former stream could not be read");
            None
        }
    }
}

/// How long a former stream's stanzas may take to be durable.
const RESUMING_TIME: Duration = Duration::from_secs(10);
