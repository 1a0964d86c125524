//! XEP-0133 §4.23: announcements.

use std::sync::Arc;

use super::super::Sender;
use super::super::api::Cx;
use crate::admin::Audience;
use crate::admin::accounts::AdminError;
use crate::base::id::{OsRng, short};
use crate::jid::BareJid;
use crate::router::Routed;
use crate::router::handled_count::HandledCount;
use crate::router::outbox::Outbox;
use crate::stanza::{Condition, Frame, Stanza};
use crate::store::accounts;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Sends a text to everybody who is online, or to all accounts; those who are away get it later. Returns to
/// how many, when what must be durable is.
pub(super) async fn to_all(cx: &Cx, text: &str, to: Audience) -> Result<usize, AdminError> {
    let mut post = Post::new(cx);
    match to {
        Audience::Online => {
            for present in cx.router.online() {
                post.send(cx, &present.bare, text, Keep::Nowhere).await;
            }
        }
        Audience::All => {
            let mut last: Option<(String, String)> = None;
            loop {
                let from = last.clone();
                let page = cx.store.read(move |tx| {
                    let after = from.as_ref().map(|(host, local)| (host.as_str(), local.as_str()));
                    accounts::list(tx, None, after, PAGE)
                });
                let page = page.await?;
                let Some(end) = page.last() else { break };
                last = Some((end.host.clone(), end.localpart.clone()));
                for account in page.iter().filter(|account| !account.disabled) {
                    let bare = BareJid::from_parts(Some(&account.localpart), &account.host);
                    let Ok(bare) = bare else { continue };
                    post.send(cx, &bare, text, Keep::UntilRead).await;
                }
            }
        }
    }
    post.sent(cx).await
}

/// Sends as a session does: it waits while the store has more than enough to do, and is told what could not be
/// stored (promise.md 5).
struct Post {
    sender: Sender,
    sent: usize,
    lost: usize,
}

impl Post {
    fn new(cx: &Cx) -> Self {
        let limits = &cx.router.limits;
        let sender = Sender {
            handled_count: Arc::new(HandledCount::new(limits)),
            outbox: Arc::new(Outbox::new(limits.outbox_bytes_max)),
            account: None,
            foreign: false,
        };
        Self { sender, sent: 0, lost: 0 }
    }

    async fn send(&mut self, cx: &Cx, to: &BareJid, text: &str, keep: Keep) {
        let Some(stanza) = message(to, "Announcement", text, keep) else { return };
        let driven = cx.drive(&stanza, Some(&self.sender), None, None).await;
        match driven.routed {
            Routed::Bounce(error) if error.condition == Condition::ResourceConstraint => {
                self.lost += 1;
            }
            // Whoever wants nothing from here, or has no room for it, is not sent it.
            Routed::Bounce(_) => {}
            _ => self.sent += 1,
        }
        drop(driven.ticket);
        if driven.full {
            self.sender.handled_count.eased().await;
        }
        self.hear();
    }

    /// Counts the errors of messages that were on their way.
    fn hear(&mut self) {
        let failed = self.sender.outbox.take(usize::MAX, usize::MAX).batch.len();
        self.sent = self.sent.saturating_sub(failed);
        self.lost += failed;
    }

    /// To how many it was sent, when all is durable.
    async fn sent(mut self, cx: &Cx) -> Result<usize, AdminError> {
        cx.router.flush_deferred();
        self.sender.handled_count.issue().predecessors().await;
        self.hear();
        match self.lost {
            0 => Ok(self.sent),
            lost => Err(AdminError::Unsent(self.sent, lost)),
        }
    }
}

/// What becomes of a message for somebody who is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It waits.
    UntilRead,
    /// It is for those who are there (XEP-0334 §4.3).
    Nowhere,
}

/// Sends a message from the account's domain.
///
/// COMPAT(many): not of type headline, which several clients show nowhere.
pub(super) async fn send(cx: &Cx, to: &BareJid, subject: &str, text: &str, keep: Keep) {
    if let Some(stanza) = message(to, subject, text, keep) {
        // What the server says itself does not wait by itself.
        let _room = cx.store.room_if_crowded().await;
        cx.send(&stanza).await;
    }
}

fn message(to: &BareJid, subject: &str, text: &str, keep: Keep) -> Option<Stanza> {
    let mut xml = Xml::new();
    xml.start("message")
        .attr("type", "normal")
        .attr("id", &short(&mut OsRng))
        .attr("from", to.domain())
        .attr("to", to.as_str())
        .element("subject", None, subject)
        .element("body", None, text);
    if keep == Keep::Nowhere {
        xml.start("no-store").attr("xmlns", ns::HINTS).end();
    }
    xml.end();
    Stanza::ours(xml.finish())
}

/// Whether this presence is of somebody who is at the client: neither away nor xa (RFC 6121 §4.7.2.1).
pub(super) fn is_active(presence: Option<&Frame>) -> bool {
    let Some(frame) = presence else { return false };
    let stanza = Stanza::ours(frame.to_vec().into());
    let show = stanza.as_ref().and_then(|s| s.element().child_text(ns::CLIENT, "show"));
    !matches!(show.as_deref().map(str::trim), Some("away" | "xa"))
}

/// Maximum number of accounts in one read.
const PAGE: usize = 500;
