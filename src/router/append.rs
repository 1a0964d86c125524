//! The write of one message into an archive or a mailbox: queued when it is routed, settled after
//! the commit.

use std::sync::Arc;
use std::task::Waker;

use super::Router;
use super::deferred::Deferrable;
use super::fates::Fate;
use super::handled_count::Ticket;
use super::outbox::Outbox;
use super::passage::{Row, RowWrite, Side};
use super::peer_queue::PeerQueue;
use super::routed::not_stored;
use crate::base::time::from_micros;
use crate::jid::Jid;
use crate::stanza::{Frame, Stanza, error_reply};
use crate::store::archive::{self, Entry, RowKind};
use crate::store::handled::DurableCount;
use crate::store::ids::{AccountId, ArchiveId};
use crate::store::tx::Tx;
use crate::store::{Job, Store, StoreError, mailbox, peer_queue};

/// The rows of one message: written together, or not at all, so that a count that covers the message
/// covers all of it (promise.md 6).
pub(super) struct Append {
    pub router: Arc<Router>,
    pub stanza: Stanza,
    /// Time of arrival, in microseconds since 1970.
    pub at: i64,
    /// The sender's row, if the sender is an account with an archive.
    pub sent: Option<Sent>,
    /// The recipient's row.
    pub received: Option<Received>,
    /// The row in the queue for another server: its position, and the queue.
    pub outbound: Option<(i64, Arc<PeerQueue>)>,
    /// Released with the job, after the commit (promise.md 4).
    pub ticket: Option<Ticket>,
    /// The outbox that gets an error when the commit fails.
    pub sender: Option<Arc<Outbox>>,
    /// Whoever waits for it says so ([`Job::is_patient`]).
    pub patient: bool,
}

/// A row in the sender's archive.
#[derive(Debug)]
pub(super) struct Sent {
    pub account: AccountId,
    pub seq: i64,
    /// Other writes in the same transaction.
    pub row_writes: Vec<RowWrite>,
}

/// A row of the recipient's.
pub(super) struct Received {
    pub account: AccountId,
    pub seq: i64,
    /// Where it is.
    pub place: Place,
    /// Other writes in the same transaction.
    pub row_writes: Vec<RowWrite>,
}

/// Where a message is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the archive.
    Archive(RowKind),
    /// In the mailbox, which takes what the archive may not store.
    Mailbox,
    /// Where a feature writes it.
    Feature,
}

impl Place {
    const fn is_archive(self) -> bool {
        matches!(self, Self::Archive(_))
    }
}

impl Append {
    /// Gives its rows their positions and a common time.
    pub(super) fn number(&mut self, now: i64, next: &mut dyn FnMut() -> i64) {
        self.at = now;
        if let Some(sent) = &mut self.sent {
            sent.seq = next();
        }
        if let Some(received) = &mut self.received {
            received.seq = next();
        }
        if let Some((seq, _)) = &mut self.outbound {
            *seq = next();
        }
    }
}

impl Append {
    fn run_row_writes(
        &self,
        tx: &mut dyn Tx,
        writes: &[RowWrite],
        (side, account, seq): (Side, AccountId, i64),
        archived: bool,
    ) -> Result<(), StoreError> {
        let row = Row { stanza: &self.stanza, side, account, seq, at: self.at, archived };
        writes.iter().try_for_each(|write| write(tx, &row))
    }
}

fn archive(
    tx: &mut dyn Tx,
    (archive, seq, at): (ArchiveId, i64, i64),
    kind: RowKind,
    peer: &Jid,
    (stanza, id): (&[u8], Option<&str>),
) -> Result<(), StoreError> {
    let (peer, resource) = (peer.bare_str(), peer.resource().unwrap_or_default());
    archive::append_behind(tx, &Entry { seq, at, archive, peer, resource, kind, stanza }, id)
}

impl Job for Append {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        let (text, id) = (self.stanza.frame().to_vec(), self.stanza.id());
        let stanza = (&*text, id.as_deref());
        let from = self.stanza.from();
        let to = self.stanza.to().unwrap_or(from);
        if let Some(Sent { account, seq, row_writes }) = &self.sent {
            archive(tx, (ArchiveId::of(*account), *seq, self.at), RowKind::Sent, to, stanza)?;
            self.run_row_writes(tx, row_writes, (Side::Outgoing, *account, *seq), true)?;
        }
        if let Some(Received { account, seq, place, row_writes }) = &self.received {
            match place {
                Place::Archive(kind) => {
                    archive(tx, (ArchiveId::of(*account), *seq, self.at), *kind, from, stanza)?
                }
                Place::Mailbox => mailbox::append(tx, *account, *seq, &text, self.at)?,
                Place::Feature => {}
            }
            let of = (Side::Incoming, *account, *seq);
            self.run_row_writes(tx, row_writes, of, place.is_archive())?;
        }
        match &self.outbound {
            Some((seq, queue)) => {
                let pair = (&*queue.pair.local, &*queue.pair.remote);
                peer_queue::append(tx, pair, (*seq, self.at), &text)
            }
            None => Ok(()),
        }
    }

    /// Counted so that a hanging disk fills the bounded queue and not the memory.
    fn bytes(&self) -> usize {
        self.stanza.len()
    }

    fn is_patient(&self) -> bool {
        self.patient
    }

    fn repeats(&self) -> bool {
        true
    }

    fn durable_count(&self) -> Option<DurableCount> {
        self.ticket.as_ref()?.durable_count(self.at)
    }

    /// If a batch holds several messages of one stream, they are acknowledged together.
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

    /// promise.md 5: a failed commit gives the sender `resource-constraint`, and `h` moves on.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Err(error) = outcome else {
            let received = self.received.as_ref().filter(|received| received.place.is_archive());
            let archives =
                [self.sent.as_ref().map(|sent| sent.account), received.map(|r| r.account)];
            let archives = archives.into_iter().flatten().map(ArchiveId::of);
            return self.router.store.archived(archives, self.stanza.len());
        };
        // The store itself logs once, and loudly, that it takes no writes.
        tracing::debug!(%error, "a message could not be stored; its sender is told");
        self.router.fates.count(Fate::Unstored);
        if let (Some(received), Some(to)) = (&self.received, self.stanza.to()) {
            self.router.registry.with(to.bare_str(), |entry| entry.owed.failed(received.seq));
        }
        if let Some((seq, queue)) = &self.outbound {
            queue.failed(*seq);
        }
        if let Some(outbox) = &self.sender {
            let to = self.stanza.from();
            let from = self.stanza.to().map(Jid::as_str);
            if let Some(reply) = error_reply(self.stanza.element(), from, to, &not_stored()) {
                self.router.bounced(&self.stanza, &reply, outbox, from_micros(self.at));
                // A sender that is gone by now gets no error, as with a lost connection.
                let _ = outbox.push(Frame::whole(reply));
            }
        }
        drop(self.ticket);
    }
}

impl Deferrable for Append {
    fn flush(self: Box<Self>, store: &Store) -> Result<(), (Box<dyn Deferrable>, StoreError)> {
        if let Some(ticket) = &self.ticket {
            ticket.weigh(self.stanza.len());
        }
        store.submit_or_return(self).map_err(|(row, error)| (row as Box<dyn Deferrable>, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::Limits;

    #[test]
    fn a_write_weighs_what_it_holds() {
        let (_folder, store) = crate::store::testing::store();
        let body = "x".repeat(100_000);
        let xml = format!("<message from='a@x/1' to='b@x'><body>{body}</body></message>");
        let append = Append {
            router: Arc::new(Router::new(["x".to_owned()], store, Arc::new(Limits::default()))),
            at: 0,
            stanza: Stanza::ours(xml.into()).unwrap(),
            sent: None,
            received: None,
            outbound: None,
            ticket: None,
            sender: None,
            patient: false,
        };
        assert!(append.bytes() > 100_000);
    }
}
