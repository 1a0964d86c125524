//! Drives `stream::c2s` until the stream is bound or over: performs the outputs of the state machine, under
//! one absolute deadline.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::bound::Session;
use super::clock::now;
use super::context::named;
use super::ending::CLOSE_TIMEOUT;
use super::link::{Guard, Link};
use super::resume_table::{Connection, ResumeRefused, ResumeRequest};
use super::stage::{Admitted, Stage};
use super::wire::{Io, Wire};
use super::{Context, NewConnection, Ports};
use crate::base::hash::sha256;
use crate::base::id::OsRng;
use crate::jid::{BareJid, FullJid};
use crate::modules::api::{Admission, Channel, Guest, Requester, Via};
use crate::router::outbox::End;
use crate::stanza::iq::Iq;
use crate::stanza::{Kind, Stanza, StanzaError};
use crate::store::handled;
use crate::stream::c2s::{BindRequest, C2s, Entry, Input, Output, Outputs, Success};
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::framing::Event;
use crate::stream::sasl::Refusal;
use crate::stream::sm;
use crate::xml::element::Element;

/// The driver of one stream.
pub(super) struct Negotiation {
    pub(super) context: Arc<Context>,
    link: Link,
    pub(super) machine: C2s,
    pub(super) peer: IpAddr,
    pub(super) stage: Stage,
    /// Why an attempt failed that was not logged yet.
    pub(super) unheard: Option<Refusal>,
    /// What the client has shown before it is authenticated; made on its first request.
    admission: Option<Admission>,
    ports: Ports,
    via: Via,
}

/// What ends a negotiation from outside.
enum Cut {
    /// It took too long.
    Late,
    /// The server stops.
    Stopping,
}

/// What a step of the driver leads to.
#[allow(clippy::large_enum_variant)] // lives for one step, on the stack
enum Next {
    /// Continue reading.
    Read,
    /// Feed this to the state machine.
    Feed(Input),
    /// The stream is bound.
    Done(FullJid, Option<Box<Entry>>),
    /// The connection belongs to another session now.
    Resumed,
    /// The connection is no longer needed.
    End,
}

/// How a negotiation ended.
enum Done {
    /// The stream is bound.
    Bound(FullJid, Option<Box<Entry>>),
    /// The connection is gone, or another session's.
    Gone,
    /// The connection is closed after the queued output is sent.
    Over,
}

/// Brings a connection to a bound session, or to its end.
pub async fn negotiate(
    context: Arc<Context>,
    connection: NewConnection,
    guard: Guard,
) -> Option<Session> {
    let limits = &context.router.limits;
    let moved = connection.framing.has_moved();
    let wire = Wire::new(connection.transport, connection.framing);
    let link = Link::new(wire, Some(guard), limits, connection.since);
    let machine = C2s::new(context.policy.clone(), connection.direct_tls).moved(moved);
    let deadline = connection.since + context.router.limits.unauthenticated_time;
    let mut stopping = context.stopping.clone();
    let peer = connection.peer;
    let mut negotiation = Negotiation {
        context,
        link,
        machine,
        peer,
        stage: Stage::stranger(),
        unheard: None,
        admission: None,
        ports: connection.ports,
        via: connection.via,
    };
    // One timer and one watch for all of it: handlers may wait for the store, a worker or the client's TLS
    // handshake, and the deadline and a stop apply to these waits too.
    let done = tokio::select! {
        biased;
        done = negotiation.run() => done,
        () = sleep_until(deadline.into()) => negotiation.cut(Cut::Late),
        _ = stopping.wait_for(|stopping| *stopping) => negotiation.cut(Cut::Stopping),
    };
    negotiation.log_unheard();
    match done {
        Done::Bound(full, entry) => negotiation.into_session(full, entry),
        Done::Gone => None,
        Done::Over => {
            negotiation.hang_up().await;
            None
        }
    }
}

impl Negotiation {
    async fn run(&mut self) -> Done {
        let Some(mut input) = self.read().await else { return Done::Gone };
        loop {
            input = match self.step(input).await {
                Next::Read => match self.read().await {
                    Some(input) => input,
                    None => return Done::Gone,
                },
                Next::Feed(next) => next,
                Next::Done(full, entry) => return Done::Bound(full, entry),
                Next::Resumed => return Done::Gone,
                Next::End => return Done::Over,
            };
        }
    }

    /// The next input from the client; `None` when the connection is gone.
    async fn read(&mut self) -> Option<Input> {
        loop {
            match self.link.wire.piece() {
                Ok(Some(Event::Open(header))) => return Some(Input::Open(header)),
                Ok(Some(Event::Element(element))) => return Some(Input::Element(element)),
                Ok(Some(Event::Close)) => return Some(Input::Close),
                Ok(Some(Event::Gone)) => {
                    let _ = self.link.wire.write_now().await;
                    return None;
                }
                // COMPAT(go-sendxmpp): line feeds after each element, although XEP-0388 §2.4 forbids them.
                Ok(Some(Event::Whitespace)) => continue,
                Ok(None) => {}
                Err(_) if self.machine.host().is_none() && self.link.wire.begins_with_tls() => {
                    return Some(Input::Fail(self.is_tls()));
                }
                Err(error) => return Some(Input::Fail(error.into())),
            }
            match self.link.wire.io(true).await {
                Ok(Io::Read(0)) | Err(_) => return None,
                Ok(Io::Read(bytes)) => self.context.counts.bytes_in(bytes),
                Ok(Io::Written) => {}
            }
        }
    }

    /// The stream error for a client that uses direct TLS (XEP-0368) on this port.
    fn is_tls(&self) -> StreamFailure {
        let place = match self.ports.direct {
            Some(port) => format!("direct TLS is on port {port}"),
            None => "direct TLS is switched off (c2s.listen_tls)".to_owned(),
        };
        // The port goes only to the log, because it may not be in the DNS and this client is not
        // authenticated.
        tracing::info!(peer = %self.peer, "a client began with TLS on the port for STARTTLS: {place}");
        StreamError::NotWellFormed
            .text("this looks like TLS, and on this port it begins with STARTTLS")
    }

    /// Ends the negotiation, at any stage, for a reason outside the stream.
    fn cut(&mut self, cut: Cut) -> Done {
        let failure = match cut {
            Cut::Late => StreamError::ConnectionTimeout.text("not authenticated in time"),
            // A client that may be about to resume a session gets no stream error, because it might take that
            // for the end of the session (promise.md 11).
            Cut::Stopping if !matches!(self.stage, Stage::Stranger { .. }) => return Done::Over,
            Cut::Stopping => StreamError::SystemShutdown.into(),
        };
        // The resource is released before the error is sent.
        self.stage = Stage::stranger();
        for output in self.feed(Input::Fail(failure)) {
            if let Output::Write(item) = output {
                self.link.wire.say(item);
            }
        }
        Done::Over
    }

    fn feed(&mut self, input: Input) -> Outputs {
        if let Input::Fail(failure) = &input {
            tracing::info!(peer = %self.peer, %failure, "stream refused");
        }
        self.machine.feed(input, &mut OsRng)
    }

    async fn step(&mut self, input: Input) -> Next {
        self.link.wire.give_back();
        let outputs = self.feed(input);
        self.perform(outputs).await
    }

    async fn perform(&mut self, outputs: Outputs) -> Next {
        let mut next = Next::Read;
        for output in outputs {
            match output {
                Output::Write(item) => self.link.wire.say(item),
                Output::StartTls => next = self.start_tls().await,
                Output::Keys { localpart, hash, or_other } => {
                    next = Next::Feed(self.keys(&localpart, hash, or_other).await)
                }
                Output::Work(work) => {
                    let _permit = self.context.workers.acquire().await;
                    let done = work_off(move || work.run()).await;
                    next = match done {
                        Some(done) => Next::Feed(Input::Worked(done)),
                        None => Next::Feed(Input::Unknown),
                    };
                }
                Output::Token { message, agent } => {
                    next = Next::Feed(self.token(&message, agent).await)
                }
                Output::Hashes => next = Next::Feed(Input::Hashes(self.hashes().await)),
                Output::AddKeys(keys) => {
                    self.add_keys(*keys).await;
                    next = Next::Feed(Input::KeysAdded);
                }
                Output::Issue { wanted } => {
                    let given = match self.stage.admitted() {
                        Some(admitted) => admitted.issue(&self.context, wanted).await,
                        None => None,
                    };
                    next = Next::Feed(Input::Issued(given));
                }
                Output::Admit { who, agent, fast, again } => {
                    let admitted = self.admit(who, agent, fast, again).await;
                    next = Next::Feed(Input::Admitted(admitted))
                }
                // The answer comes after this output, so it is delayed too.
                Output::Failed(failed) => {
                    self.context.counts.refused(failed.mechanism, failed.refusal);
                    self.failed(&failed).await;
                }
                Output::UnknownHost(asked) => self.log_unknown_host(asked.as_deref()),
                Output::Authenticated { restart } => {
                    self.context.counts.login(self.machine.mechanism());
                    self.link.wire.authenticated(&self.context.router.limits, restart);
                }
                Output::Bind(wanted) => next = Next::Feed(Input::Bound(self.bind(wanted).await)),
                Output::Bind2(request) => {
                    next = Next::Feed(Input::Bound2(self.bind2(request).await));
                }
                Output::Resume { previd, h, success } => {
                    next = self.resume(previd, h, success).await;
                }
                Output::Request(element) => next = self.request(element).await,
                Output::Done(full) => next = Next::Done(full, None),
                Output::Enter(entry) => next = Next::Done(entry.full.clone(), Some(entry)),
                Output::End => next = Next::End,
            }
        }
        if matches!(next, Next::Resumed) {
            return next;
        }
        let flushed = self.link.wire.flush().await;
        self.context.counts.bytes_out(self.link.wire.take_written());
        match flushed {
            Ok(()) => next,
            Err(_) => Next::End,
        }
    }

    async fn start_tls(&mut self) -> Next {
        if self.link.wire.flush().await.is_err() {
            return Next::End;
        }
        if !self.link.wire.nothing_unread() {
            tracing::info!(peer = %self.peer, "bytes behind <starttls/>: connection dropped");
            return Next::End;
        }
        let host = self.machine.host().unwrap_or_default().to_owned();
        match self.link.wire.transport().start_tls(&host).await {
            Ok(bindings) => {
                self.link.wire.restart();
                Next::Feed(Input::Secured(bindings))
            }
            Err(error) => {
                tracing::info!(peer = %self.peer, %error, "TLS handshake failed");
                Next::End
            }
        }
    }

    async fn bind(&mut self, wanted: Option<String>) -> Result<FullJid, StanzaError> {
        let admitted = self.stage.admitted().ok_or_else(StanzaError::not_allowed)?;
        let binding = admitted.bind(&self.context, self.channel(), wanted).await?;
        Ok(self.stage.bind(binding, None))
    }

    async fn bind2(
        &mut self,
        bind: BindRequest,
    ) -> Result<(FullJid, Vec<u8>, Element), StanzaError> {
        let admitted = self.stage.admitted().ok_or_else(StanzaError::not_allowed)?;
        let (binding, switched, told) =
            admitted.bind2(&self.context, self.channel(), &bind).await?;
        Ok((self.stage.bind(binding, Some(Box::new(switched))), told, bind.request))
    }

    /// XEP-0198 §5: gives the connection to the session that the client asks for.
    async fn resume(&mut self, previd: String, h: u32, success: Option<Box<Success>>) -> Next {
        let admitted = self.stage.admitted();
        let Some((admitted, account)) = admitted.and_then(|who| Some((who, who.account()?))) else {
            return Next::Feed(Input::NotResumed(None));
        };
        if admitted.is_welcome(&self.context).await.is_err() {
            return Next::Feed(Input::NotResumed(None));
        }
        let id = sha256(previd.as_bytes());
        if let Some(slot) = self.context.resume_table.find(&id, &admitted.bare) {
            let (answer, answered) = oneshot::channel();
            let disconnected = Link::disconnected(&self.context.router.limits, now());
            let connection = Connection {
                link: std::mem::replace(&mut self.link, disconnected).speaking(self.machine.lang()),
                peer: self.peer,
                secure: self.machine.is_secured(),
                agent: admitted.agent,
                by_token: admitted.is_by_token(),
                via: self.via,
            };
            let refused = match slot.request(Box::new(ResumeRequest {
                connection,
                previd,
                h,
                success,
                answer,
            })) {
                Err(request) => ResumeRefused { connection: request.connection, too_high: None },
                Ok(()) => match answered.await {
                    Ok(Ok(())) => {
                        // Checked again now that the device is among the account's sessions, as for a bind.
                        if admitted.is_welcome(&self.context).await.is_err() {
                            slot.end_session(StreamError::NotAuthorized.into());
                        }
                        return Next::Resumed;
                    }
                    Ok(Err(refused)) => refused,
                    // The session panicked because of a bug of ours, and the connection is gone with it.
                    Err(_) => return Next::Resumed,
                },
            };
            self.link = refused.connection.link;
            if let Some(too_high) = refused.too_high {
                return Next::Feed(Input::Fail(sm::too_high(too_high)));
            }
        }
        // The stream's handled count is exact only after everything that it queued is written (promise.md 6).
        let store = &self.context.router.store;
        let known = match store.barrier().await {
            Ok(()) => store.read(move |tx| handled::get(tx, &id, account)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &known {
            tracing::error!(%error, "the count of a former stream could not be read");
        }
        Next::Feed(Input::NotResumed(known.ok().flatten()))
    }

    /// A request before authentication, if a module takes it (XEP-0077).
    async fn request(&mut self, element: Element) -> Next {
        let early = || Next::Feed(Input::Fail(StreamError::NotAuthorized.into()));
        let host = self.machine.host().unwrap_or_default();
        // The client has no JID yet; it acts as a guest of the domain.
        let guest =
            BareJid::from_parts(None, host).and_then(|host| host.with_resource("unauthenticated"));
        let Ok(guest) = guest else { return early() };
        let Ok(stanza) = Stanza::from_client(Kind::Iq, element, &guest, None, None) else {
            return early();
        };
        let Ok(Some(iq)) = Iq::request(&stanza) else { return early() };
        let admission = self.admission.get_or_insert_default().clone();
        let guest = Guest { jid: guest, channel: self.channel(), admission };
        let cx = self.context.cx(Requester::Guest(guest));
        if !self.context.pipeline.answers_stream(&cx, &iq) {
            return early();
        }
        let reply = match self.context.pipeline.answer_stream(cx, iq.clone()).await {
            Ok(reply) => iq.result(&reply.payload),
            Err(error) => iq.error(&error),
        };
        self.link.wire.queue(reply);
        Next::Read
    }

    fn channel(&self) -> Channel {
        let (peer, secure) = (self.peer, self.machine.is_secured());
        let by_token = self.stage.admitted().is_some_and(Admitted::is_by_token);
        Channel { peer, secure, by_token, via: self.via }
    }

    fn into_session(self, full: FullJid, entry: Option<Box<Entry>>) -> Option<Session> {
        let Stage::Bound { binding, switched } = self.stage else { return None };
        let (peer, secure) = (self.peer, self.machine.is_secured());
        tracing::info!(jid = named(&full), %peer, secure, "session started");
        if *self.context.stopping.borrow() {
            // The stop may have gone through the registry just before this session was added.
            binding.client.outbox.end(End::Shutdown);
        }
        let link = self.link.speaking(self.machine.lang());
        let mut session = Session::new(binding, link, now());
        session.binding.connected();
        if let Some(entry) = entry {
            session.enter(&entry, switched);
        }
        Some(session)
    }

    /// Gives the client a moment to read the last output.
    async fn hang_up(&mut self) {
        let closing = async {
            self.link.wire.flush().await?;
            self.link.wire.shutdown().await?;
            self.link.wire.linger().await
        };
        // The connection ends whether or not the client has read it.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}

/// Runs CPU-heavy work off the network threads; `None` if it panicked.
#[allow(clippy::disallowed_methods)] // the one use: password hashing, bounded by `Context::workers`
async fn work_off<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

impl From<crate::stream::error::StreamError> for Input {
    fn from(error: StreamError) -> Self {
        Self::Fail(StreamFailure::from(error))
    }
}
