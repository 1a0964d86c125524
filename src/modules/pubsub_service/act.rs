//! Stanzas to a service: requests are read or written in one transaction, then told.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::services::asked;
use super::tell;
use crate::jid::BareJid;
use crate::modules::api::{Answer, Cx, Pipeline, Reply};
use crate::modules::pubsub::{self, Asker, Batch, Event, Outcome, Request, Service};
use crate::router::handled_count::Ticket;
use crate::router::outbox::{Outbox, slow_down};
use crate::stanza::error::Condition;
use crate::stanza::iq::Iq;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Stanza, StanzaError};
use crate::store::tx::{StoreError, Tx};
use crate::store::{Job, Store};

type Made = Result<Vec<Stanza>, StanzaError>;

/// Answers a request.
pub(super) fn answer(cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
    Box::pin(async move {
        let request = {
            let doc = iq.stanza().element().view();
            let pubsub = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
            Request::read(iq.ty(), pubsub)?
        };
        let at = iq.to().map(|to| to.bare()).ok_or_else(StanzaError::item_not_found)?;
        act(&cx, &at, request).await.map(Reply::payload)
    })
}

async fn act(cx: &Cx, at: &BareJid, request: Request) -> Result<Vec<u8>, StanzaError> {
    let (service, mut asker) = asked(cx, at).await?;
    if request.is_write() {
        // What an operator subscribes to, it hears of as anybody does.
        asker.is_owner &= !matches!(request, Request::Subscribe { .. });
        let work = cx.clone();
        let done = async move { write(&work, service, asker, request).await };
        return cx.finish("pubsub", done).await;
    }
    let now = cx.now;
    let read = move |tx: &mut dyn Tx| pubsub::handle(tx, &service, &asker, &request, now);
    Ok(cx.store.read(read).await??.payload)
}

async fn write(
    cx: &Cx,
    service: Service,
    asker: Asker,
    request: Request,
) -> Result<Vec<u8>, StanzaError> {
    let (at, now) = (service.jid.clone(), cx.now);
    let run = move |tx: &mut dyn Tx| {
        let purges = request.sets("pubsub#purge_offline");
        let done = pubsub::handle(tx, &service, &asker, &request, now)?;
        Ok(done.map(|outcome| (outcome, purges)))
    };
    change(cx, at, run).await
}

/// Writes; when it returns, it is durable and told.
pub(super) async fn change(
    cx: &Cx,
    at: BareJid,
    run: impl FnMut(&mut dyn Tx) -> Result<Done, StoreError> + Send + 'static,
) -> Result<Vec<u8>, StanzaError> {
    let (settled, is_settled) = oneshot::channel();
    let server = cx.server.clone();
    let job = Write { at: at.clone(), server, run, done: None, settled };
    submit(&cx.store, job).await?;
    let settled = is_settled.await.map_err(|_| StanzaError::internal_server_error())?;
    let Settled { payload, told } = settled??;
    if let Some(Told { is_told, is_first }) = told {
        if is_first {
            let (cx, at) = (cx.clone(), at);
            cx.router.clone().tasks.spawn("pubsub", async move { tell::tell(&cx, &at).await });
        }
        slow_down(is_told.await.unwrap_or_default()).await;
    }
    Ok(payload)
}

async fn submit(store: &Store, job: impl Job + 'static) -> Result<(), StoreError> {
    let room = store.room_if_crowded().await;
    let submitted = store.submit(Box::new(job));
    drop(room);
    submitted
}

/// What a request did, and whether it may have made a node that is purged of who goes offline.
type Done = Result<(Outcome, bool), StanzaError>;

/// One write.
struct Write<R> {
    at: BareJid,
    server: Arc<Pipeline>,
    run: R,
    done: Option<Done>,
    settled: oneshot::Sender<Result<Result<Settled, StanzaError>, StoreError>>,
}

/// What came of it.
struct Settled {
    payload: Vec<u8>,
    told: Option<Told>,
}

/// Its events are queued.
struct Told {
    is_told: oneshot::Receiver<Vec<Arc<Outbox>>>,
    /// Whether its caller is to tell.
    is_first: bool,
}

impl<R> Job for Write<R>
where
    R: FnMut(&mut dyn Tx) -> Result<Done, StoreError> + Send,
{
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        // A request that is refused has written nothing.
        self.done = Some((self.run)(tx)?);
        Ok(())
    }

    /// Jobs are settled in the order of their commits, and so events are queued in it.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { at, server, done, settled, .. } = *self;
        let done = done.unwrap_or_else(|| Err(StanzaError::internal_server_error()));
        let outcome = outcome.map(|()| {
            done.map(|(Outcome { payload, events }, purges)| {
                let services = &server.shared().pubsub_service;
                if purges {
                    services.purging.begin();
                }
                let told = (!events.is_empty()).then(|| {
                    let (told, is_told) = oneshot::channel();
                    Told { is_told, is_first: services.feeds.add(&at, batch(events, told)) }
                });
                Settled { payload, told }
            })
        });
        let _ = settled.send(outcome);
    }

    fn repeats(&self) -> bool {
        true
    }
}

fn batch(events: Vec<Event>, told: oneshot::Sender<Vec<Arc<Outbox>>>) -> Batch {
    Batch { nodes: Vec::new(), events, by: None, told }
}

/// Messages: owners' answers to who asked to subscribe (§8.6), and notifications that come back.
pub(super) fn message(cx: Cx, stanza: Stanza, _: Option<Ticket>) -> Answer<Made> {
    Box::pin(async move {
        let Some(at) = stanza.to().filter(|to| to.is_domain()).map(|to| to.bare()) else {
            return unless_error(&stanza);
        };
        if stanza.ty().as_deref() == Some("error") {
            if is_gone(&stanza) {
                unreachable(&cx, at, &stanza).await?;
            }
            return Ok(Vec::new());
        }
        let approval = Request::approval(stanza.element().view().root());
        match approval {
            Some(Ok(Some(request))) => act(&cx, &at, request).await.map(|_| Vec::new()),
            // Whoever cancels leaves it open.
            Some(Ok(None)) => Ok(Vec::new()),
            Some(Err(error)) => Err(error),
            None => unless_error(&stanza),
        }
    })
}

/// §12.4: whoever is no more is subscribed no more, with the address that the service wrote to.
async fn unreachable(cx: &Cx, at: BareJid, stanza: &Stanza) -> Result<(), StanzaError> {
    let (service, asker) = asked(cx, &at).await?;
    let run = move |tx: &mut dyn Tx| {
        pubsub::unreachable(tx, service.key, &asker.jid).map(|()| Ok((Outcome::default(), false)))
    };
    tracing::debug!(jid = %stanza.from(), "a subscriber is gone");
    change(cx, at, run).await.map(drop)
}

fn is_gone(stanza: &Stanza) -> bool {
    let doc = stanza.element().view();
    let error = doc.root().child(crate::xml::ns::CLIENT, "error");
    let conditions = error.into_iter().flat_map(|error| error.children());
    conditions.filter(|child| child.ns() == STANZAS).any(|child| {
        matches!(Condition::parse(child.name(), ""), Condition::Gone(_) | Condition::ItemNotFound)
    })
}

/// Presence: a service has no roster.
pub(super) fn presence(_: Cx, stanza: Stanza) -> Answer<Made> {
    let done = PresenceType::parse(stanza.ty().as_deref()).and_then(|ty| match ty {
        PresenceType::Subscribe => Err(StanzaError::not_allowed().text("it has no roster")),
        _ => Ok(Vec::new()),
    });
    Box::pin(std::future::ready(done))
}

/// Requests that nobody answers.
pub(super) fn iq(_: Cx, stanza: Stanza) -> Answer<Made> {
    Box::pin(std::future::ready(unless_error(&stanza)))
}

fn unless_error(stanza: &Stanza) -> Made {
    match stanza.ty().as_deref() {
        Some("error" | "result") => Ok(Vec::new()),
        _ => Err(StanzaError::service_unavailable()),
    }
}

const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
