//! The write of one message into an archive or a mailbox: queued when it is routed, settled after
//! the commit.

use std::sync::Arc;

use super::Router;
use super::outbox::Outbox;
use super::ticket::Ticket;
use crate::jid::Jid;
use crate::stanza::{Frame, Stanza, StanzaError, error_reply};
use crate::store::accounts::AccountId;
use crate::store::archive::{self, Entry, Kind};
use crate::store::handled::Seal;
use crate::store::tx::Tx;
use crate::store::{Job, StoreError, mailbox};

/// One row on its way into the store.
pub(super) struct Append {
    pub router: Arc<Router>,
    /// Whose row, and its bare JID.
    pub account: AccountId,
    pub bare: String,
    pub seq: i64,
    pub at: i64,
    /// The archive's; none: the mailbox, for what the archive may not keep.
    pub kind: Option<Kind>,
    pub stanza: Stanza,
    /// Released with the job, after the commit (promise.md 4).
    pub ticket: Option<Ticket>,
    /// Who is told when the commit fails.
    pub sender: Option<Arc<Outbox>>,
}

impl Job for Append {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        let stanza = self.stanza.frame().to_vec();
        let Some(kind) = self.kind else {
            return mailbox::append(tx, self.account, self.seq, &stanza, self.at);
        };
        let peer = match kind {
            Kind::Sent => self.stanza.to().unwrap_or(self.stanza.from()),
            Kind::Received | Kind::Owed => self.stanza.from(),
        };
        let entry = Entry {
            seq: self.seq,
            account: self.account,
            peer: peer.bare_str(),
            resource: peer.resource().unwrap_or_default(),
            kind,
            stanza: &stanza,
        };
        archive::append(tx, &entry)
    }

    /// So that a disk that hangs fills the queue and not the memory.
    fn bytes(&self) -> usize {
        self.stanza.frame().len()
    }

    fn seal(&self) -> Option<Seal> {
        let ticket = self.ticket.as_ref()?;
        match self.kind {
            // promise.md 6: the recipient's row comes behind, maybe after the next COMMIT. Were the
            // stanza counted now, a crash between the two would lose it.
            Some(Kind::Sent) => ticket.seal_before(self.at),
            _ => ticket.seal(self.at),
        }
    }

    /// promise.md 5: a failed commit gives the sender `resource-constraint`, and `h` moves on.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Err(error) = outcome else { return };
        // The store says once, and loudly, that it takes no writes.
        tracing::debug!(%error, "a message could not be stored; its sender is told");
        self.router.registry.with(&self.bare, |user| user.owed.failed(self.seq));
        // Once for a message, though two archives miss it.
        let untold = self.ticket.as_ref().is_none_or(Ticket::tell);
        if let (Some(outbox), true) = (&self.sender, untold) {
            let to = self.stanza.from();
            let error =
                StanzaError::resource_constraint().text("the server cannot store messages now");
            let from = self.stanza.to().map(Jid::as_str);
            if let Some(reply) = error_reply(self.stanza.element(), from, to, &error) {
                // A sender that is gone by now learns nothing, as it would from a lost connection.
                let _ = outbox.push(Frame::whole(reply));
            }
        }
        drop(self.ticket);
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
            account: AccountId(1),
            bare: "b@x".to_owned(),
            seq: 1,
            at: 0,
            kind: None,
            stanza: Stanza::ours(xml.into()).unwrap(),
            ticket: None,
            sender: None,
        };
        assert!(append.bytes() > 100_000);
    }
}
