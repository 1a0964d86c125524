//! The archive of a room (XEP-0313): what is said in it has a row, and its sender's stanza is acknowledged when that
//! is durable (promise.md 4).

use std::sync::Arc;
use std::task::Waker;

use tokio::sync::oneshot;

use super::burial::Burial;
use super::rows;
use crate::jid::Jid;
use crate::router::handled_count::Ticket;
use crate::router::not_stored;
use crate::router::outbox::Outbox;
use crate::stanza::{Frame, Stanza, error_reply};
use crate::store::archive::{self, Entry, RowKind};
use crate::store::handled::DurableCount;
use crate::store::ids::{ArchiveId, RoomId};
use crate::store::tx::Tx;
use crate::store::{Job, Store, StoreError};

/// What is written of one message.
pub(super) struct Write {
    pub(super) store: Store,
    pub(super) room: RoomId,
    /// Its row, if it goes into the archive.
    pub(super) archive: Option<ArchiveId>,
    pub(super) is_subject: bool,
    /// As the occupants get it, without 'to' and id.
    pub(super) frame: Frame,
    /// Who said it, for the archive alone.
    pub(super) speaker: Vec<u8>,
    /// A message that it takes back, in the same transaction.
    pub(super) burial: Option<Burial>,
    /// Under whose address it is.
    pub(super) from: Jid,
    /// Its own id.
    pub(super) id: Option<String>,
    pub(super) seq: i64,
    pub(super) at: i64,
    /// Released with the job, after the commit.
    pub(super) ticket: Option<Ticket>,
    /// What was sent, and the way to who sent it, for when it cannot be written.
    pub(super) sender: Option<(Stanza, Arc<Outbox>)>,
    /// Told what became of it.
    pub(super) told: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Write {
    /// Queues it, in the order of the calls; its time and position.
    pub(super) fn queue(self) -> Result<(i64, i64), StoreError> {
        let (mut placed, store) = ((0, 0), self.store.clone());
        if let Some(ticket) = &self.ticket {
            ticket.weigh(self.frame.len());
        }
        store.submit_numbered(Box::new(self), |job, now, next| {
            (job.at, job.seq) = (now, next());
            placed = (job.at, job.seq);
        })?;
        Ok(placed)
    }
}

impl Job for Write {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        if let Some(archive) = self.archive {
            if let Some(burial) = &self.burial {
                burial.carry_out(tx, archive, self.at)?;
            }
            let text = self.frame.with(&self.speaker).to_vec();
            let (peer, resource) = (self.from.bare_str(), self.from.resource().unwrap_or_default());
            let (seq, at, kind) = (self.seq, self.at, RowKind::Received);
            let entry = Entry { seq, at, archive, peer, resource, kind, stanza: &text };
            archive::append_behind(tx, &entry, self.id.as_deref())?;
        }
        if self.is_subject {
            rows::subject(tx, self.room, &self.frame.to_vec(), self.at)?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.frame.len()
    }

    fn repeats(&self) -> bool {
        true
    }

    fn durable_count(&self) -> Option<DurableCount> {
        self.ticket.as_ref()?.durable_count(self.at)
    }

    fn settled_with(
        mut self: Box<Self>,
        outcome: Result<(), StoreError>,
        wake: &mut dyn FnMut(Waker),
    ) {
        let ticket = self.ticket.take();
        self.settled(outcome);
        if let Some(waker) = ticket.and_then(Ticket::release) {
            wake(waker);
        }
    }

    /// promise.md 5: a failed commit gives the sender `resource-constraint`.
    fn settled(mut self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Some(told) = self.told.take() {
            let _ = told.send(outcome.clone());
        }
        let Err(error) = outcome else {
            return self.store.archived(self.archive.into_iter(), self.frame.len());
        };
        tracing::debug!(%error, "a message to a room could not be stored; its sender is told");
        let Some((sent, outbox)) = &self.sender else { return };
        let from = sent.to().map(Jid::as_str);
        let error = match sent.to() {
            Some(room) => not_stored().by(room.bare()),
            None => not_stored(),
        };
        if let Some(reply) = error_reply(sent.element(), from, sent.from(), &error) {
            // A sender that is gone by now gets no error, as with a lost connection.
            let _ = outbox.push(Frame::whole(reply));
        }
    }
}
