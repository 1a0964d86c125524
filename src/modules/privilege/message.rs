//! Messages in the name of accounts and of hosted domains (XEP-0356 §5).

use super::super::api::{Answer, Cx, MessageAccess};
use super::account::{NS, is_account};
use crate::router::rules::StanzaClass;
use crate::stanza::message::MessageType;
use crate::stanza::{Kind, Stanza, StanzaError, claims};
use crate::xml::ns;

/// Sends what is forwarded.
pub(super) fn send(
    cx: Cx,
    stanza: Stanza,
    access: MessageAccess,
) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    Box::pin(async move {
        if access != MessageAccess::Outgoing {
            return Err(StanzaError::forbidden().text("the component may not send messages"));
        }
        let message = forwarded(&stanza)?;
        let from = message.from();
        let is_host = from.is_bare() && cx.router.hosts().iter().any(|it| it == from.as_str());
        if !is_host {
            // §5.1 rule 1
            let not_there = || StanzaError::forbidden().text("'from' is no account of this server");
            if !is_account(&cx, from) {
                return Err(not_there());
            }
            let home = cx.router.home(&from.bare()).await?.ok_or_else(not_there)?;
            let kind = StanzaClass::Message(MessageType::Normal);
            // §9 rule 4: whom the account blocks it cannot write to (XEP-0191 §3.3).
            if let Some(to) = message.to()
                && !cx.router.lets_send(&home, kind, to)
            {
                return Err(StanzaError::not_acceptable().text("the account blocks the addressee"));
            }
        }
        let honest = claims::stripped(&message, |domain| cx.router.serves(domain));
        Ok(vec![honest.unwrap_or(message)])
    })
}

fn forwarded(stanza: &Stanza) -> Result<Stanza, StanzaError> {
    let bad = |why: &'static str| StanzaError::bad_request().text(why);
    let view = stanza.element().view();
    let privilege = view.root().child(NS, "privilege");
    let forwarded = privilege.and_then(|privilege| privilege.child(ns::FORWARD, "forwarded"));
    let message = forwarded.and_then(|forwarded| forwarded.child(ns::CLIENT, "message"));
    let message = message.ok_or_else(|| bad("no message is forwarded"))?;
    let alone = message.standalone().ok_or_else(|| bad("the message is too large"))?;
    let message = Stanza::ours(alone.into_owned().into());
    let message = message.filter(|message| message.kind() == Kind::Message);
    let message = message.ok_or_else(|| bad("the message has no 'from', or a malformed address"))?;
    let to = message.to().cloned().ok_or_else(|| bad("the message has no 'to'"))?;
    // With an open tag as on a stream.
    Ok(message.readdressed(&message.from().clone(), &to))
}
