//! RFC 6121 §3: presence subscriptions, including pre-approval.
//!
//! The table in [`crate::router::subscription`] decides; `pair` writes. When both accounts live here,
//! both halves and the automatic answer are one transaction, so that no crash leaves two rosters that
//! disagree. The effects that others notice follow the commit (`effects`).

mod circumstances;
mod effects;
mod pair;
mod push;
#[cfg(test)]
mod tests;

use std::future::Future;

use tokio::sync::oneshot;

use super::api::{Answer, Cx, Module, Spec, Stage, State};
use crate::base::limits::REQUEST_BYTES_MAX;
use crate::jid::BareJid;
use crate::router::Router;
use crate::router::subscription::Verb;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Frame, Stanza, StanzaError};

pub(in crate::modules) use circumstances::Circumstances;
pub(in crate::modules) use effects::carry_out;
pub(in crate::modules) use pair::{Half, Refused, Step, has_room, outbound, settle};
pub(in crate::modules) use push::{changed_xml, item_xml, ver};

/// Subscriptions.
pub const MODULE: Module = Module {
    name: "subscription",
    specs: &[
        Spec {
            name: "RFC 6121 §3",
            version: "",
            state: State::Complete,
            test: "transcripts/6121-3.1-subscribe-mutual.scs",
        },
        Spec {
            name: "RFC 6121 §3.4",
            version: "",
            state: State::Complete,
            test: "transcripts/6121-3.4-pre-approval.scs",
        },
    ],
    stream_features: Some(|_, stage| {
        (stage == Stage::Bind).then(|| "<sub xmlns='urn:xmpp:features:pre-approval'/>".to_owned())
    }),
    subscription_out: Some(subscription_out),
    subscription_in: Some(subscription_in),
    ..Module::EMPTY
};

/// The sender's half (appendix A.2), and the contact's when it lives here.
fn subscription_out(cx: Cx, stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    match read_outbound(&cx, &stanza) {
        Ok(Some(half)) => {
            let work = cx.clone();
            detached(&cx.router, "subscription", async move {
                let (own, peer) = (half.owner.clone().into(), half.peer.clone().into());
                let circumstances =
                    Circumstances::new(&work.router, work.now).between(&own, &peer).await?;
                let ran = work.store.write(move |tx| outbound(tx, half, &circumstances)).await?;
                let steps = ran.map_err(refused)?;
                carry_out(&work.router, &steps);
                effects::durable(&work.router, &steps).await?;
                Ok(Vec::new())
            })
        }
        Ok(None) => Box::pin(std::future::ready(Ok(Vec::new()))),
        Err(error) => Box::pin(std::future::ready(Err(error))),
    }
}

fn read_outbound(cx: &Cx, stanza: &Stanza) -> Result<Option<Half>, StanzaError> {
    let account = cx.account()?;
    let verb = verb(stanza)?;
    if let Some(client) = cx.client() {
        cx.router.guard_sent(stanza, &client.outbox).refused()?;
    }
    let to = stanza.to().ok_or_else(|| {
        StanzaError::bad_request().text("a subscription stanza needs a 'to' address")
    })?;
    let (owner, peer) = (cx.bare(), to.bare());
    // Every user is subscribed to their own presence (RFC 6121 §4.2.2): nothing to manage.
    if owner == peer {
        return Ok(None);
    }
    if verb == Verb::Subscribe {
        // RFC 6121 §3.1.2: it cannot be routed, so the user gets an error and the roster does not
        // change.
        cx.router.may_reach(owner.domain(), peer.domain())?;
    }
    let frame = bared(stanza, &owner, &peer);
    if frame.len() > REQUEST_BYTES_MAX {
        return Err(StanzaError::policy_violation().text("the subscription stanza is too long"));
    }
    Ok(Some(Half { owner, account, peer, verb, frame }))
}

/// The contact's half (appendix A.3), for stanzas from elsewhere. The answer is the account's automatic
/// reply to a user of another server.
fn subscription_in(cx: Cx, stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    let (Ok(verb), Some(to)) = (verb(&stanza), stanza.to()) else {
        return Box::pin(std::future::ready(Ok(Vec::new())));
    };
    let (owner, peer) = (to.bare(), stanza.from().bare());
    let frame = bared(&stanza, &peer, &owner);
    // An over-long one from elsewhere gets no error, just as one to a missing account gets none.
    if owner == peer || frame.len() > REQUEST_BYTES_MAX {
        return Box::pin(std::future::ready(Ok(Vec::new())));
    }
    let work = cx.clone();
    detached(&cx.router, "subscription", async move {
        let circumstances = Circumstances::new(&work.router, work.now);
        let ran = work.store.write(move |tx| {
            let half = pair::Arriving { owner, peer, verb, frame };
            pair::inbound(tx, half, &circumstances)
        });
        let steps = ran.await?;
        carry_out(&work.router, &steps);
        effects::durable(&work.router, &steps).await?;
        Ok(Vec::new())
    })
}

/// The error for the user.
pub(in crate::modules) fn refused(why: Refused) -> StanzaError {
    match why {
        Refused::Full => StanzaError::policy_violation().text("the roster is full"),
        // RFC 6120 §8.3.3.10: nobody may do it. RFC 6121 has no condition of its own for it (§2.3.3, §2.5.3).
        Refused::Given(group) => StanzaError::not_allowed().text(format!(
            "this server keeps the contact in the group {group}; only its administrators can change that"
        )),
    }
}

/// Runs the work to its end even if the session that requested it ends: the steps after a commit must
/// not be skipped.
pub(in crate::modules) fn detached<T: Send + 'static>(
    router: &Router,
    name: &'static str,
    work: impl Future<Output = Result<T, StanzaError>> + Send + 'static,
) -> Answer<Result<T, StanzaError>> {
    let (answer, answered) = oneshot::channel();
    router.tasks.spawn(name, async move {
        let _ = answer.send(work.await);
    });
    Box::pin(async move {
        // Only a panic drops the answer.
        answered.await.unwrap_or_else(|_| Err(StanzaError::internal_server_error()))
    })
}

/// RFC 6121 §3: both addresses MUST be bare.
fn bared(stanza: &Stanza, from: &BareJid, to: &BareJid) -> Frame {
    stanza.frame_as(from.as_str(), to)
}

fn verb(stanza: &Stanza) -> Result<Verb, StanzaError> {
    match PresenceType::parse(stanza.ty().as_deref())? {
        PresenceType::Subscribe => Ok(Verb::Subscribe),
        PresenceType::Subscribed => Ok(Verb::Subscribed),
        PresenceType::Unsubscribe => Ok(Verb::Unsubscribe),
        PresenceType::Unsubscribed => Ok(Verb::Unsubscribed),
        _ => Err(StanzaError::bad_request().text("not a subscription stanza")),
    }
}
