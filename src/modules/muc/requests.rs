//! Requests to rooms and their occupants: which file answers what.

use super::deliver::run;
use super::find::room_of;
use super::route::{Handler, Route};
use super::{admin, disco, hats, mam, moderate, owner, register, vcard};
use crate::modules::api::{Cx, Reply};
use crate::stanza::error::Condition;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{ErrorType, Stanza, StanzaError};
use crate::xml::ns;

/// All of them, by the files that answer them.
const ROUTES: &[&[Route]] = &[
    PING,
    admin::ROUTES,
    owner::ROUTES,
    register::ROUTES,
    disco::ROUTES,
    hats::ROUTES,
    mam::ROUTES,
    moderate::ROUTES,
    vcard::ROUTES,
];

/// XEP-0199 of the room itself.
const PING: &[Route] = &[Route {
    ty: IqType::Get,
    ns: ns::PING,
    name: "ping",
    handler: |_, _, _| Box::pin(std::future::ready(Ok(Reply::empty()))),
}];

fn handler(ty: IqType, ns: &str, name: &str) -> Option<Handler> {
    let mut all = ROUTES.iter().flat_map(|routes| routes.iter());
    all.find(|one| one.ty == ty && one.ns == ns && one.name == name).map(|one| one.handler)
}

/// A request to a room.
pub(super) async fn to_room(cx: Cx, iq: Iq) -> Result<Vec<Stanza>, StanzaError> {
    if admin::changes(&iq) {
        let hold = room_of(&cx, iq.stanza()).await?;
        return admin::set(cx, hold, iq).await;
    }
    let (ns, name) = iq.payload();
    let Some(handler) = handler(iq.ty(), ns, name) else {
        return Err(StanzaError::service_unavailable());
    };
    let hold = room_of(&cx, iq.stanza()).await?;
    let outbox = cx.client().map(|client| client.outbox.clone());
    let Reply { payload, ahead, out, .. } = handler(cx, hold, iq.clone()).await?;
    if iq.ty() == IqType::Get && outbox.is_some_and(|outbox| !outbox.fits(payload.len())) {
        // A list that is longer than what may wait for a client would end its stream.
        return Err(StanzaError::resource_constraint()
            .kind(ErrorType::Wait)
            .text("the answer is too long as long as so much else waits to be sent to you"));
    }
    let answer = ahead.into_iter().chain([iq.result(&payload)]);
    Ok(answer.filter_map(Stanza::ours).chain(out).collect())
}

/// To an occupant: XEP-0410 for a session's own nickname, else on to the other's client (§17.4).
pub(super) async fn to_occupant(cx: &Cx, iq: &Stanza) -> Result<Vec<Stanza>, StanzaError> {
    let request = Iq::request(iq)?;
    let is_ping = request.as_ref().is_some_and(|iq| iq.payload() == (ns::PING, "ping"));
    let hold = match room_of(cx, iq).await {
        // XEP-0410 §3.2: item-not-found is for somebody who is in the room by another name.
        Err(error) if is_ping && error.condition == Condition::ItemNotFound => {
            return Err(not_joined());
        }
        found => found?,
    };
    let is_disco = request.as_ref().is_some_and(disco::asks_occupant);
    let (done, delivered) = run(cx, &hold, |room, out| {
        let own = room.occupant_of(iq.from());
        if is_ping && own.is_none() {
            return Err(not_joined());
        }
        if is_disco && own.is_none() {
            // §6.6
            return Err(StanzaError::bad_request().text("only occupants may ask another"));
        }
        let is_own = own.is_some_and(|own| Some(&own.jid) == iq.to());
        match is_ping && is_own {
            true => Ok(true),
            false => room.relay(iq, out).map(|()| false),
        }
    });
    let answered = match (done?, request) {
        (true, Some(request)) => Stanza::ours(request.result(b"")),
        _ => None,
    };
    Ok(answered.into_iter().chain(delivered.routed).collect())
}

fn not_joined() -> StanzaError {
    StanzaError::not_acceptable().text("you are not in this room")
}
