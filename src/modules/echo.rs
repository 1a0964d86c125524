//! A service that sends back what it is sent, to try a client or a server with: off unless the config
//! names it.

use serde::{Deserialize, Serialize};

use super::api::{Answer, Cx, Identity, Module, Service};
use crate::router::handled_count::Ticket;
use crate::router::presence::open;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Stanza, StanzaError};

/// The module.
pub const MODULE: Module = Module {
    name: "echo",
    service: Some(Service {
        label: |config| Some(&*config.echo.label).filter(|label| !label.is_empty()),
        identity: Identity { category: "client", ty: "bot", name: Some("Echo") },
        features: &[],
        message,
        presence,
        iq: |_, stanza| unless_answer(&stanza),
    }),
    ..Module::EMPTY
};

/// `[modules.echo]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What stands in front of each hosted domain; empty: there is no such service.
    pub label: String,
}

/// To whoever sent it, from whom it was for. Errors are never answered (RFC 6120 §8.3.1), and what is for
/// everybody in a room has no room here.
fn message(_: Cx, stanza: Stanza, _: Option<Ticket>) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    done(match stanza.ty().as_deref() {
        Some("error") => Ok(Vec::new()),
        Some("groupchat") => Err(StanzaError::service_unavailable()),
        _ => Ok(back(&stanza).into_iter().collect()),
    })
}

fn back(stanza: &Stanza) -> Option<Stanza> {
    Some(stanza.readdressed(stanza.to()?, stanza.from()))
}

/// Whoever asks to see it sees it, always available.
fn presence(_: Cx, stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    let Some(to) = stanza.to() else { return done(Ok(Vec::new())) };
    let say = |ty: Option<&str>| {
        let frame = open(to.bare_str(), ty).addressed(stanza.from().bare_str());
        Stanza::ours(frame.to_vec().into())
    };
    done(PresenceType::parse(stanza.ty().as_deref()).map(|ty| match ty {
        PresenceType::Subscribe => {
            [say(Some("subscribed")), say(None)].into_iter().flatten().collect()
        }
        PresenceType::Unsubscribe => say(Some("unavailable")).into_iter().collect(),
        PresenceType::Probe => say(None).into_iter().collect(),
        _ => Vec::new(),
    }))
}

fn unless_answer(stanza: &Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    done(match stanza.ty().as_deref() {
        Some("result" | "error") => Ok(Vec::new()),
        _ => Err(StanzaError::service_unavailable()),
    })
}

fn done<T: Send + 'static>(outcome: T) -> Answer<T> {
    Box::pin(std::future::ready(outcome))
}
