//! Requests to an account's nodes: read or written in one transaction, then told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::fan_out;
use super::owner::{Asked, Owner, asked};
use crate::jid::{BareJid, Jid};
use crate::modules::api::{Answer, Cx, Pipeline, Reply};
use crate::modules::pubsub::{self, Asker, Batch, Event, Outcome, Request, Service};
use crate::router::outbox::{Outbox, slow_down};
use crate::router::registry::AccountEntry;
use crate::stanza::StanzaError;
use crate::stanza::iq::Iq;
use crate::store::tx::{StoreError, Tx};

/// Answers an IQ.
pub(super) fn answer(cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
    Box::pin(async move {
        let request = {
            let doc = iq.stanza().element().view();
            let pubsub = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
            Request::read(iq.ty(), pubsub)?
        };
        let Asked { owner, service, asker } = asked(&cx, iq.to()).await?;
        let payload = match owner.filter(|_| request.is_write()) {
            Some(owner) => {
                let by = asker.is_owner.then(|| cx.jid().clone());
                let work = cx.clone();
                let done = async move { write(&work, owner, asker, vec![request], by, true).await };
                cx.finish("pep", done).await?.pop().unwrap_or_default()
            }
            None if request.is_write() => to_nobody(&cx, service, asker, request).await?,
            None => look(&cx, service, asker, request).await?,
        };
        Ok(Reply::payload(payload))
    })
}

/// Does this as the account itself, all of it or nothing. When it returns, it is durable and told; whoever
/// watches a node ([`crate::modules::api::NodeWatch`]) is told of its own changes later.
pub async fn act(
    cx: &Cx,
    owner: Owner,
    requests: Vec<Request>,
) -> Result<Vec<Vec<u8>>, StanzaError> {
    let (asker, work) = (owner.asker(), cx.clone());
    let by = cx.client().filter(|client| client.jid.bare() == owner.jid);
    let by = by.map(|client| client.jid.clone().into());
    // Who is called while an account is told of would wait for itself.
    let waits = TELLING.try_with(|()| ()).is_err();
    let done = async move { write(&work, owner, asker, requests, by, waits).await };
    cx.finish("pep", done).await
}

tokio::task_local! {
    /// Set in a task that tells of an account.
    static TELLING: ();
}

/// A write to nobody's nodes is refused, as each is whose asker may create none; it takes as long as to
/// somebody's, so that this tells nothing either.
async fn to_nobody(
    cx: &Cx,
    service: Service,
    asker: Asker,
    request: Request,
) -> Result<Vec<u8>, StanzaError> {
    let now = cx.now;
    let run = move |tx: &mut dyn Tx| pubsub::handle(tx, &service, &asker, &request, now);
    Ok(cx.store.write(run).await??.payload)
}

async fn look(
    cx: &Cx,
    service: Service,
    asker: Asker,
    request: Request,
) -> Result<Vec<u8>, StanzaError> {
    let now = cx.now;
    let read = move |tx: &mut dyn Tx| pubsub::handle(tx, &service, &asker, &request, now);
    Ok(cx.store.read(read).await??.payload)
}

/// What the requests did; the first error is that of all of them.
type Done = Result<Vec<Outcome>, StanzaError>;

/// One write, shared by the caller and the store's writer.
struct Write {
    owner: BareJid,
    server: Arc<Pipeline>,
    by: Option<Jid>,
    /// Nodes that may be changed.
    nodes: Vec<String>,
    done: Mutex<Option<Done>>,
}

impl Write {
    fn set(&self, done: Done) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    }

    fn take(&self) -> Done {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        done.unwrap_or_else(|| Err(StanzaError::internal_server_error()))
    }

    /// Queues what is to be told, and gives what tells of its end; whether the caller is to tell it. Called
    /// when the write is settled: so the order is that of the commits.
    fn queue(&self) -> Option<(oneshot::Receiver<Vec<Arc<Outbox>>>, bool)> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let outcomes = done.as_mut()?.as_mut().ok()?;
        let events: Vec<Event> =
            outcomes.iter_mut().flat_map(|outcome| outcome.events.drain(..)).collect();
        let (told, is_told) = oneshot::channel();
        let batch = Batch { nodes: self.nodes.clone(), events, by: self.by.clone(), told };
        Some((is_told, self.server.shared().pep.feeds.add(&self.owner, batch)))
    }
}

async fn write(
    cx: &Cx,
    owner: Owner,
    asker: Asker,
    requests: Vec<Request>,
    by: Option<Jid>,
    waits: bool,
) -> Result<Vec<Vec<u8>>, StanzaError> {
    cx.router.load(&owner.jid).await?;
    let (service, now) = (owner.service(&cx.config), cx.now);
    let server = cx.server.clone();
    let mut nodes: Vec<String> =
        requests.iter().filter_map(|request| request.node().map(str::to_owned)).collect();
    nodes.dedup();
    let write =
        Arc::new(Write { owner: owner.jid.clone(), server, by, nodes, done: Mutex::default() });
    let (running, settled) = (write.clone(), write.clone());
    let run = move |tx: &mut dyn Tx| {
        let work = Work { service: &service, server: &running.server, now };
        let (done, wrote) = work.run(tx, &asker, &requests)?;
        // A request that is refused has written nothing; those before it are taken back.
        let takes_back = done.is_err() && wrote;
        running.set(done);
        if takes_back { Err(StoreError::Other(REFUSED.to_owned())) } else { Ok(()) }
    };
    let apply = move |_: &mut AccountEntry| settled.queue();
    let queued = match cx.router.change(owner.jid.clone(), run, apply).await {
        Ok(Some(queued)) => queued,
        // The account's entry left memory just now: nobody else writes.
        Ok(None) => write.queue(),
        Err(error) => {
            let refused = write.take().err();
            return Err(refused.unwrap_or_else(|| error.into()));
        }
    };
    if let Some((is_told, is_first)) = queued {
        if is_first {
            let (cx, owner) = (cx.clone(), owner.clone());
            cx.router.clone().tasks.spawn("pep", async move { tell(&cx, &owner).await });
        }
        if waits {
            slow_down(is_told.await.unwrap_or_default()).await;
        }
    }
    Ok(write.take()?.into_iter().map(|outcome| outcome.payload).collect())
}

/// Requests to one account in one transaction.
struct Work<'a> {
    service: &'a Service,
    server: &'a Pipeline,
    now: SystemTime,
}

impl Work<'_> {
    /// Does them, and what follows from them; says whether anything may have been written.
    fn run(
        &self,
        tx: &mut dyn Tx,
        asker: &Asker,
        requests: &[Request],
    ) -> Result<(Done, bool), StoreError> {
        let mut done = Vec::with_capacity(requests.len());
        for request in requests {
            match pubsub::handle(tx, self.service, asker, request, self.now)? {
                Ok(outcome) => done.push(outcome),
                Err(refused) => return Ok((Err(refused), !done.is_empty())),
            }
            match self.follow(tx, request)? {
                Ok(followed) => done
                    .last_mut()
                    .into_iter()
                    .for_each(|outcome| outcome.events.extend_from_slice(&followed)),
                Err(refused) => return Ok((Err(refused), true)),
            }
        }
        Ok((Ok(done), true))
    }

    /// What other nodes do because of a request; gives what is to be told of them.
    fn follow(
        &self,
        tx: &mut dyn Tx,
        request: &Request,
    ) -> Result<Result<Vec<Event>, StanzaError>, StoreError> {
        let owner = Asker::owner(self.service.jid.clone().into());
        let mut events = Vec::new();
        let node = request.node().filter(|_| request.is_write());
        for follow in node.into_iter().flat_map(|node| self.server.mirrors(node)) {
            let more = match follow(tx, self.service, request)? {
                Ok(more) => more,
                Err(refused) => return Ok(Err(refused)),
            };
            for request in more {
                match pubsub::handle(tx, self.service, &owner, &request, self.now)? {
                    Ok(outcome) => events.extend(outcome.events),
                    Err(refused) => return Ok(Err(refused)),
                }
            }
        }
        Ok(Ok(events))
    }
}

/// Tells of the account until nothing is left.
async fn tell(cx: &Cx, owner: &Owner) {
    let mut telling = cx.server.shared().pep.feeds.telling(&owner.jid);
    while let Some(Batch { nodes, events, by, told }) = telling.take() {
        // Its roster and its guards decide who hears.
        if let Err(error) = cx.router.load(&owner.jid).await {
            tracing::error!(%error, account = owner.jid.as_str(), "nobody was told what it published");
            continue;
        }
        for node in &nodes {
            for changed in cx.server.watches(node) {
                let changed = changed(cx.clone(), owner.account, owner.jid.clone());
                TELLING.scope((), changed).await;
            }
        }
        let mut slow = Vec::new();
        for event in &events {
            slow.extend(fan_out::fan_out(cx, &owner.jid, event, by.as_ref()).await);
        }
        let _ = told.send(slow);
    }
}

/// Never shown: the asker gets the engine's error.
const REFUSED: &str = "refused";
