//! Answers to presence probes (RFC 6121 §4.3.2, §4.6.6).

use bytes::Bytes;

use crate::base::time::from_micros;
use crate::jid::Jid;
use crate::modules::api::{Answer, Cx};
use crate::router::presence::Finding;
use crate::stanza::delay::delay;
use crate::stanza::{Stanza, StanzaError};
use crate::store::accounts;
use crate::store::ids::AccountId;
use crate::xml::writer::Xml;

/// Answers a probe to a local account.
pub(super) fn probe(cx: Cx, stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    Box::pin(async move {
        let Some(to) = stanza.to() else { return Ok(Vec::new()) };
        let asker = stanza.from();
        let answers = match cx.router.probed(to, asker).await? {
            Finding::Present(frames) => {
                frames.iter().map(|frame| frame.addressed(asker.as_str()).to_vec().into()).collect()
            }
            Finding::Absent(account) => {
                let gone = absent(&cx, &stanza, to, account).await?;
                // That took a while: whoever came meanwhile has told the asker, and nothing else is true any more.
                match cx.router.probed(to, asker).await? {
                    Finding::Present(_) => Vec::new(),
                    Finding::Absent(_) | Finding::Stranger => vec![gone],
                }
            }
            // RFC 6121 §8.5.1 (b) and §4.3.2 rule 1: the same answer, from the bare JID, for a missing
            // account and for a prober without a subscription.
            Finding::Stranger => vec![answer(&stanza, to.bare_str(), "unsubscribed", &[])],
        };
        Ok(answers.into_iter().filter_map(Stanza::ours).collect())
    })
}

/// RFC 6121 §4.3.2 rule 3: with the time of the last logout, but without the status text of that time.
async fn absent(
    cx: &Cx,
    stanza: &Stanza,
    to: &Jid,
    account: Option<AccountId>,
) -> Result<Bytes, StanzaError> {
    let last = match account {
        Some(id) => {
            // It may have become unavailable at this very moment.
            cx.store.barrier().await?;
            cx.store.read(move |tx| accounts::last_logout(tx, id)).await?
        }
        None => None,
    };
    let since = last.map(|last| delay(to.bare_str(), from_micros(last.at)));
    Ok(answer(stanza, to.as_str(), "unavailable", &since.unwrap_or_default()))
}

/// RFC 6121 §4.3.2.1: mirrors the probe's `id`.
fn answer(probe: &Stanza, from: &str, ty: &str, payload: &[u8]) -> Bytes {
    let mut xml = Xml::new();
    xml.start("presence")
        .attr("type", ty)
        .attr("from", from)
        .attr("to", probe.from().as_str())
        .attr_opt("id", probe.id().as_deref())
        .raw(payload)
        .end();
    xml.finish()
}
