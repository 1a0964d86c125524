//! The rows of messages to other servers: read, deleted when they are settled, given up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::base::time::from_micros;
use crate::jid::Jid;
use crate::modules::api::Cx;
use crate::router::Router;
use crate::router::peer_queue::{Pair, PeerQueue};
use crate::stanza::delay::delay;
use crate::stanza::{Frame, Kind, Stanza, StanzaError, error_reply};
use crate::store::peer_queue::{self, PeerRow};
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};

/// Messages that are being read.
pub(super) type Page = Pin<Box<dyn Future<Output = Result<Vec<PeerRow>, StoreError>> + Send>>;

pub(super) fn page(router: &Arc<Router>, queue: &Arc<PeerQueue>, span: (i64, i64)) -> Page {
    let (store, queue) = (router.store.clone(), queue.clone());
    Box::pin(async move {
        // Those that were queued a moment ago are there, too (promise.md 7).
        queue.written(&store).await?;
        store
            .read(move |tx| {
                let pair = (&*queue.pair.local, &*queue.pair.remote);
                peer_queue::page(tx, pair, span, PAGE_ROWS)
            })
            .await
    })
}

/// The peer has acknowledged the messages of a queue up to this one, or they were given up.
pub(super) fn settle(router: &Router, queue: &Arc<PeerQueue>, seq: i64) {
    if queue.settle(seq) {
        router.store.write_behind(Box::new(Settled { pair: queue.pair.clone(), to: seq }));
    }
}

/// Rows that are not needed any more.
struct Settled {
    pair: Pair,
    to: i64,
}

impl Job for Settled {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        peer_queue::delete(tx, (&self.pair.local, &self.pair.remote), self.to)
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            // They go with the next ones; or are sent once more after a restart.
            tracing::debug!(%error, "rows of acknowledged messages were not deleted");
        }
    }
}

/// Tells whoever waits for an answer that there is none.
pub(super) async fn give_up(cx: &Cx, stanzas: impl IntoIterator<Item = Frame>, why: &StanzaError) {
    for frame in stanzas {
        let Some(stanza) = Stanza::ours(frame.to_vec().into()) else { continue };
        if stanza.kind() == Kind::Presence {
            continue;
        }
        let from = stanza.to().map(Jid::as_str);
        let reply = error_reply(stanza.element(), from, stanza.from(), why);
        if let Some(reply) = reply.and_then(Stanza::ours) {
            cx.send(&reply).await;
        }
    }
}

/// Messages that are read from the store at a time.
pub(super) const PAGE_ROWS: usize = 64;

/// A message that has waited says since when (XEP-0203).
pub(super) fn stamped(local: &str, frame: Frame, at: i64, wall: i64) -> Frame {
    let late = at > 0 && wall.saturating_sub(at) > LATE_MICROS;
    let is_message = frame.head.starts_with(b"<message")
        || (frame.head.is_empty() && frame.tail.starts_with(b"<message"));
    match late && is_message && (frame.tail.ends_with(b"</message>") || !frame.end.is_empty()) {
        true => frame.with(&delay(local, from_micros(at))),
        false => frame,
    }
}

/// A message is late that waited for so many microseconds.
const LATE_MICROS: i64 = 10_000_000;
