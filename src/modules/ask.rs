//! Requests that the server sends of its own, and awaits.

use std::time::Duration;

use tokio::time::timeout;

use super::api::{Cx, Unanswered};
use crate::base::id::{OsRng, random};
use crate::jid::Jid;
use crate::router::Routed;
use crate::stanza::error::ErrorType;
use crate::stanza::iq::IqType;
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::ns;
use crate::xml::writer::Xml;

impl Cx {
    /// Sends a request from an address of this server's, in normal form, and waits for the answer: from
    /// a session, a service or another server. `payload` is one whole element.
    pub async fn ask(
        &self,
        from: &str,
        to: &Jid,
        ty: IqType,
        payload: &[u8],
        within: Duration,
    ) -> Result<Stanza, Unanswered> {
        // Only who was asked can know it.
        let id = random(&mut OsRng);
        let request = request((from, to, id.as_str()), ty, payload).ok_or(Unanswered::Unsent)?;
        let answer = self.asked(&request, within).await?;
        match answer.ty().as_deref() {
            Some("error") => Err(Unanswered::Refused(refusal(&answer))),
            _ => Ok(answer),
        }
    }

    /// Sends a whole request of an address of this server's, and waits for the answer, be it a result or an
    /// error. Only who was asked can give it.
    pub async fn asked(&self, request: &Stanza, within: Duration) -> Result<Stanza, Unanswered> {
        let (from, to, id) = match (request.from().as_str(), request.to(), request.id()) {
            (from, Some(to), Some(id)) => (from, to, id),
            _ => return Err(Unanswered::Unsent),
        };
        let question =
            self.router.questions.open_for_module(from, to, &id).ok_or(Unanswered::Busy)?;
        let asking = async {
            let driven = self.drive(request, None, None, None).await;
            for made in &driven.made {
                self.send(made).await;
            }
            if let Routed::Bounce(error) = driven.routed {
                return Err(Unanswered::Refused(error));
            }
            question.answered().await.ok_or(Unanswered::Gone)
        };
        timeout(within, asking).await.unwrap_or(Err(Unanswered::Late))
    }
}

fn request((from, to, id): (&str, &Jid, &str), ty: IqType, payload: &[u8]) -> Option<Stanza> {
    let ty = match ty {
        IqType::Get => "get",
        IqType::Set => "set",
        IqType::Result | IqType::Error => return None,
    };
    let mut xml = Xml::new();
    xml.start("iq").attr("type", ty).attr("id", id).attr("from", from).attr("to", to.as_str());
    xml.raw(payload).end();
    Stanza::ours(xml.finish())
}

/// RFC 6120 §8.3.2: an error without a condition that is known counts as `undefined-condition`.
fn refusal(answer: &Stanza) -> StanzaError {
    let doc = answer.element().view();
    let error = doc.root().child(ns::CLIENT, "error");
    let condition = error.and_then(|error| {
        error.children().find(|child| child.ns() == ns::STANZAS_ERR && child.name() != "text")
    });
    let refusal: StanzaError = match condition {
        Some(condition) => Condition::parse(condition.name(), condition.text()).into(),
        None => StanzaError::undefined_condition(),
    };
    // What may be done about it is what the answer says, not what is usual for the condition.
    match error.and_then(|error| error.attr("type")).and_then(ErrorType::parse) {
        Some(kind) => refusal.kind(kind),
        None => refusal,
    }
}
