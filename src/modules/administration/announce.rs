//! XEP-0133 §4.23: announcements.

use super::super::api::Cx;
use crate::admin::Audience;
use crate::admin::accounts::AdminError;
use crate::base::id::{OsRng, short};
use crate::jid::BareJid;
use crate::stanza::{Frame, Stanza};
use crate::store::accounts;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Sends a text to everybody who is online, or to all accounts; those who are away get it later. Returns to
/// how many, when what must be durable is.
pub(super) async fn to_all(cx: &Cx, text: &str, to: Audience) -> Result<usize, AdminError> {
    let mut count = 0;
    match to {
        Audience::Online => {
            for present in cx.router.online() {
                send(cx, &present.bare, "Announcement", text, Keep::Nowhere).await;
                count += 1;
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
                    send(cx, &bare, "Announcement", text, Keep::UntilRead).await;
                    count += 1;
                }
            }
            cx.store.barrier().await?;
        }
    }
    Ok(count)
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
    if let Some(stanza) = Stanza::ours(xml.finish()) {
        // What the server says itself does not wait by itself.
        let _room = cx.store.room_if_crowded().await;
        cx.send(&stanza).await;
    }
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
