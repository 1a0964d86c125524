//! Answers to presence probes (RFC 6121 §4.3.2, §4.6.6).

use bytes::Bytes;

use crate::base::time::from_micros;
use crate::jid::Jid;
use crate::modules::api::{Answer, Cx};
use crate::router::registry::{Account, User};
use crate::stanza::delay::delay;
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::accounts::{self, AccountId};
use crate::xml::writer::Xml;

/// What the prober may learn.
enum Finding {
    /// Presence stanzas without `to`.
    Present(Vec<Frame>),
    /// Nobody is there; the account, for the time since when.
    Absent(Option<AccountId>),
    /// Nothing, not even whether the account exists.
    Stranger,
}

/// Answers a probe to a local account.
pub(super) fn probe(cx: Cx, stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    Box::pin(async move {
        let Some(to) = stanza.to() else { return Ok(Vec::new()) };
        let asker = stanza.from();
        let find = |user: &mut User| find(user, to, asker);
        let mut found = cx.router.registry.with(to.bare_str(), find);
        if found.is_none() {
            cx.router.load(&to.bare()).await?;
            found = cx.router.registry.with(to.bare_str(), find);
        }
        let answers = match found.unwrap_or(Finding::Stranger) {
            Finding::Present(frames) => {
                frames.iter().map(|frame| frame.addressed(asker.as_str()).to_vec().into()).collect()
            }
            Finding::Absent(account) => vec![absent(&cx, &stanza, to, account).await?],
            // RFC 6121 §8.5.1 (b) and §4.3.2 rule 1: one answer for no such account and for none
            // of your business, from the bare JID.
            Finding::Stranger => vec![answer(&stanza, to.bare_str(), "unsubscribed", &[])],
        };
        Ok(answers.into_iter().filter_map(Stanza::ours).collect())
    })
}

fn find(user: &mut User, to: &Jid, asker: &Jid) -> Finding {
    let account = match user.account {
        Account::Loading | Account::Missing => return Finding::Stranger,
        Account::Temporary => None,
        Account::Stored(id) => Some(id),
    };
    let own = asker.bare_str() == to.bare_str();
    if !own && !user.subscription(asker.bare_str()).shows_presence() {
        // RFC 6121 §4.6.6: mere presence, to exactly who was sent some, from exactly that resource.
        let met = user.resource(to).is_some_and(|resource| resource.directed.contains(asker));
        return if met { mere(to) } else { Finding::Stranger };
    }
    if to.is_full() {
        // RFC 6121 §4.3.2: only the fact.
        let there = user.resource(to).is_some_and(|resource| resource.presence.is_some());
        return if there { mere(to) } else { Finding::Absent(None) };
    }
    let frames: Vec<Frame> =
        user.available().filter_map(|r| Some(r.presence.as_ref()?.frame.clone())).collect();
    if frames.is_empty() { Finding::Absent(account) } else { Finding::Present(frames) }
}

fn mere(to: &Jid) -> Finding {
    Finding::Present(vec![crate::router::presence::open(to.as_str(), None)])
}

/// RFC 6121 §4.3.2 rule 3, with the time since when but nothing of what was said then.
async fn absent(
    cx: &Cx,
    stanza: &Stanza,
    to: &Jid,
    account: Option<AccountId>,
) -> Result<Bytes, StanzaError> {
    let last = match account {
        Some(id) => {
            // It may have become so this moment.
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
