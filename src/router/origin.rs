//! Whose stanza is routed.

use std::sync::Arc;

use super::append::Sent;
use super::handled_count::{HandledCount, Ticket};
use super::outbox::Outbox;
use super::passage::{Passage, Stamp};
use super::routed::{Routed, not_stored};
use crate::store::Store;
use crate::store::ids::{AccountId, ArchiveId};

/// Whose stanza is routed: where failures go, and the ticket its writes hold.
#[derive(Debug)]
pub struct Origin<'a> {
    pub(super) sender: Option<(&'a Arc<HandledCount>, &'a Arc<Outbox>)>,
    pub(super) ticket: Option<Ticket>,
    /// The sender's account.
    pub(super) account: Option<AccountId>,
    /// The row of its sender's, not queued yet.
    pub(super) sent: Option<Sent>,
    /// What frames get that go to others of the sender's account.
    pub(super) stamp: Option<Stamp>,
    /// Where it is kept as sent.
    pub(super) kept: Option<(ArchiveId, i64)>,
    /// It is no client's: no account of this server has a say in what it sends.
    pub(super) foreign: bool,
    /// It has waited for room in the store's queue, and has it.
    pub has_room: bool,
    /// Enough of the stream is on its way to the disk.
    pub(super) full: bool,
    /// Sessions that get something are called later, by the caller.
    pub(super) calls: Option<&'a mut Calls>,
}

/// Sessions that are called together, when a stream's turn is over: one that gets several stanzas writes them at
/// once. Calls them when it is dropped.
#[derive(Debug, Default)]
pub struct Calls(Vec<Arc<Outbox>>);

impl Calls {
    /// Calls all of them.
    pub fn call(&mut self) {
        self.0.drain(..).for_each(|outbox| outbox.nudge());
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.call();
    }
}

impl<'a> Origin<'a> {
    /// A stanza read from a session's stream; `ticket` if it has one already. `account` is the
    /// session's, unless it owns nothing.
    pub fn session(
        handled_count: &'a Arc<HandledCount>,
        outbox: &'a Arc<Outbox>,
        ticket: Option<Ticket>,
        account: Option<AccountId>,
    ) -> Self {
        let sender = Some((handled_count, outbox));
        Self { sender, ticket, account, ..Self::server() }
    }

    /// A stanza read from another server's stream, or a component's; its errors go into this box.
    pub fn peer(
        handled_count: &'a Arc<HandledCount>,
        outbox: &'a Arc<Outbox>,
        ticket: Option<Ticket>,
    ) -> Self {
        Self { foreign: true, ..Self::session(handled_count, outbox, ticket, None) }
    }

    /// The same, but sessions that get something are called by whoever has these.
    pub fn calling(self, calls: &'a mut Calls) -> Self {
        Self { calls: Some(calls), ..self }
    }

    /// Calls sessions that got something, or leaves that to the caller.
    pub(super) fn call(&mut self, called: impl IntoIterator<Item = Arc<Outbox>>) {
        match &mut self.calls {
            Some(calls) => calls.0.extend(called),
            None => called.into_iter().for_each(|outbox| outbox.nudge()),
        }
    }

    /// A stanza that a handler made of one that it handled: what is written for it holds the ticket of that
    /// one (promise.md 4).
    pub fn made(ticket: Option<Ticket>) -> Self {
        Self { ticket, ..Self::server() }
    }

    /// A stanza that the server itself made: nobody waits for it, nobody is told.
    pub fn server() -> Self {
        Self {
            sender: None,
            ticket: None,
            account: None,
            sent: None,
            stamp: None,
            kept: None,
            foreign: false,
            has_room: false,
            full: false,
            calls: None,
        }
    }

    /// What the sender's account keeps of it. Who owns no rows keeps nothing.
    pub(super) fn keep(&mut self, passage: Passage<'_>) {
        let kept = self.account.zip(passage.archive);
        self.stamp = kept.map(|(_, stamp)| stamp);
        self.sent =
            kept.map(|(account, _)| Sent { account, seq: 0, row_writes: passage.row_writes });
    }

    /// Whether its writes may wait for a need: the stream's count, which later writes carry, does not
    /// cover them (promise.md 6).
    pub(super) fn may_defer(&self) -> bool {
        match self.sender {
            Some((handled_count, _)) => !handled_count.is_enabled(),
            None => self.ticket.is_none(),
        }
    }

    /// The stanza's ticket, issued at first need.
    pub fn ticket(&mut self) -> Option<Ticket> {
        let Some((handled_count, _)) = self.sender else { return self.ticket.clone() };
        let ticket = self.ticket.get_or_insert_with(|| {
            let (ticket, full) = handled_count.issue_and_look();
            self.full |= full;
            ticket
        });
        Some(ticket.clone())
    }

    /// Who writes for others waits while the store has more than enough to do, and is told before
    /// anything happens when it can write nothing. What the server says itself does neither.
    pub(super) fn held_up(&self, store: &Store) -> Option<Routed> {
        self.sender?;
        if store.is_refusing() {
            store.count_refused();
            return Some(Routed::Bounce(not_stored()));
        }
        (!self.has_room && store.is_crowded()).then_some(Routed::Crowded)
    }

    /// The stanza is not done with: its ticket goes to whoever goes on.
    pub fn into_ticket(self, handled_count: &Arc<HandledCount>) -> Ticket {
        self.ticket.unwrap_or_else(|| handled_count.issue())
    }

    /// The ticket that it came with or got, for another try.
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// All writes of the stanza are queued; one that queued none counts as handled. True when enough
    /// of the stream is on its way to the disk: see [`HandledCount::eased`].
    pub fn finish(self) -> bool {
        if let (Some((handled_count, _)), None) = (self.sender, &self.ticket) {
            handled_count.pass();
        }
        self.full
    }

    pub(super) fn outbox(&self) -> Option<Arc<Outbox>> {
        self.sender.map(|(_, outbox)| outbox.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::Limits;

    /// promise.md 4: what a handler sends is written before the stanza that caused it is acknowledged.
    #[test]
    fn what_is_made_of_a_stanza_holds_its_ticket() {
        let handled_count = Arc::new(HandledCount::new(&Limits::default()));
        let ticket = handled_count.issue();
        let mut made = Origin::made(Some(ticket.clone()));
        assert!(!made.may_defer());
        let held = made.ticket();
        drop(ticket);
        made.finish();
        assert!(!handled_count.is_settled());
        drop(held);
        assert!(handled_count.is_settled());
        assert!(Origin::server().may_defer());
    }
}
