//! Requests in the name of accounts (XEP-0356 §6).

use std::time::Duration;

use super::super::api::{Answer, Cx, IqAccess, Unanswered};
use super::account::{NS, is_account};
use crate::jid::Jid;
use crate::router::rules::StanzaClass;
use crate::stanza::forward::forwarded;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Stanza, StanzaError, error_reply};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// §6.3
pub(super) fn send(
    cx: Cx,
    stanza: Stanza,
    allowed: Vec<IqAccess>,
) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    Box::pin(async move {
        let Some(outer) = Iq::request(&stanza)? else { return Ok(Vec::new()) };
        let inner = encapsulated(&cx, &outer, &allowed)?;
        let owner = inner.from().bare();
        let not_there = || StanzaError::forbidden().text("'to' is no account of this server");
        let verdict = cx.router.guard(StanzaClass::IqRequest, outer.from(), inner.from()).await?;
        verdict.refused()?;
        let home = cx.router.home(&owner).await?.ok_or_else(not_there)?;
        if let Some(to) = inner.to().filter(|to| to.bare_str() != owner.as_str())
            && !cx.router.lets_send(&home, StanzaClass::IqRequest, to)
        {
            return Err(StanzaError::not_acceptable().text("the account blocks the addressee"));
        }
        let answer = answered(&cx, &inner).await?;
        let mut xml = Xml::new();
        xml.start("privilege").attr("xmlns", NS).raw(&forwarded(b"", &answer)).end();
        Ok(Stanza::ours(outer.result(&xml.finish())).into_iter().collect())
    })
}

/// The request that is to be sent, from the account; refused by the rules of §6.3.
fn encapsulated(cx: &Cx, outer: &Iq, allowed: &[IqAccess]) -> Result<Stanza, StanzaError> {
    let forbidden = |why: &'static str| StanzaError::forbidden().text(why);
    let owner = outer.to().filter(|to| is_account(cx, to));
    let owner = owner.ok_or_else(|| forbidden("'to' is no account of this server"))?;
    let view = outer.stanza().element().view();
    let privileged = view.root().child(NS, "privileged_iq");
    let inner = privileged.and_then(|it| it.child(ns::CLIENT, "iq"));
    let inner = inner.ok_or_else(|| forbidden("no <iq/> of jabber:client is there"))?;
    if let Some(from) = inner.attr("from")
        && Jid::parse(from).ok().as_ref() != Some(owner)
    {
        return Err(forbidden("'from' is not the account that the request is for"));
    }
    let to = match inner.attr("to") {
        Some(to) => Jid::parse(to).map_err(|_| StanzaError::jid_malformed())?,
        // RFC 6120 §10.3.3
        None => owner.clone(),
    };
    let ty = IqType::parse(inner.attr("type"));
    if ty != Some(outer.ty()) {
        return Err(forbidden("the types of the two requests differ"));
    }
    let payload = inner.first_child().ok_or_else(StanzaError::bad_request)?;
    let may = allowed.iter().filter(|one| one.namespace == payload.ns());
    let mut may = may.map(|one| match outer.ty() {
        IqType::Get => one.access.gets(),
        _ => one.access.sets(),
    });
    if !may.any(|may| may) {
        return Err(forbidden("the component may not send such requests"));
    }
    let id = inner.attr("id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| StanzaError::bad_request().text("an iq needs an id"))?;
    let payload = payload.standalone().ok_or_else(StanzaError::bad_request)?;
    let mut xml = Xml::new();
    let ty = if outer.ty() == IqType::Get { "get" } else { "set" };
    xml.start("iq").attr("type", ty).attr("id", id).attr("from", owner.as_str());
    xml.attr("to", to.as_str()).raw(payload.as_bytes()).end();
    Stanza::ours(xml.finish()).ok_or_else(StanzaError::bad_request)
}

/// The answer, or the error that this server gives in place of it.
async fn answered(cx: &Cx, inner: &Stanza) -> Result<Vec<u8>, StanzaError> {
    let error = match cx.asked(inner, ANSWER_TIME).await {
        Ok(answer) => return Ok(answer.frame().to_vec()),
        Err(Unanswered::Refused(error)) => error,
        Err(Unanswered::Late | Unanswered::Gone) => {
            StanzaError::remote_server_timeout().text("no answer came in time")
        }
        Err(Unanswered::Busy | Unanswered::Unsent) => return Err(StanzaError::resource_constraint()),
    };
    let from = inner.to().map(Jid::as_str);
    let reply = error_reply(inner.element(), from, inner.from(), &error);
    reply.map(|reply| reply.to_vec()).ok_or_else(StanzaError::internal_server_error)
}

const ANSWER_TIME: Duration = Duration::from_secs(60);
