//! The write of one owed message: queued when it is routed, settled after the commit.

use std::sync::Arc;

use super::Router;
use super::outbox::Outbox;
use super::ticket::Ticket;
use crate::stanza::{Frame, Stanza, StanzaError, error_reply};
use crate::store::accounts::AccountId;
use crate::store::tx::Tx;
use crate::store::{Job, StoreError, mailbox};

/// One row on its way into the store.
pub(super) struct Append {
    pub router: Arc<Router>,
    pub account: AccountId,
    pub bare: String,
    pub seq: i64,
    pub at: i64,
    pub stanza: Stanza,
    /// Released with the job, after the commit (promise.md 4).
    pub ticket: Option<Ticket>,
    /// Who is told when the commit fails.
    pub sender: Option<Arc<Outbox>>,
}

impl Job for Append {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        mailbox::append(tx, self.account, self.seq, &self.stanza.frame().to_vec(), self.at)
    }

    /// So that a disk that hangs fills the queue and not the memory.
    fn bytes(&self) -> usize {
        self.stanza.frame().len()
    }

    /// promise.md 5: a failed commit gives the sender `resource-constraint`, and `h` moves on.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Err(error) = outcome else { return };
        // The store says once, and loudly, that it takes no writes.
        tracing::debug!(%error, "a message could not be stored; its sender is told");
        let bytes = self.stanza.frame().len();
        self.router.registry.with(&self.bare, |user| user.owed.failed(self.seq, bytes));
        if let Some(outbox) = &self.sender {
            let to = self.stanza.from();
            let error =
                StanzaError::resource_constraint().text("the server cannot store messages now");
            let from = self.stanza.to().map(crate::jid::Jid::as_str);
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
            stanza: Stanza::ours(xml.into()).unwrap(),
            ticket: None,
            sender: None,
        };
        assert!(append.bytes() > 100_000);
    }
}
