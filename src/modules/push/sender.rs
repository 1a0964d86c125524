//! How a notification leaves the server: published at a push service (XEP-0357 §7). What brings one by another
//! way (Web Push, APNs, FCM) is one more function from a [`Notification`] to an [`Outcome`].

use std::time::Duration;

use super::super::api::{Cx, Unanswered};
use super::registration::{NS, Target};
use crate::jid::Jid;
use crate::router::Leads;
use crate::stanza::error::ErrorType;
use crate::stanza::form::{self, Written};
use crate::stanza::iq::IqType;
use crate::stanza::{Condition, StanzaError};
use crate::xml::writer::Xml;

/// What a device is told.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Where.
    pub target: Target,
    /// How many messages wait for it.
    pub count: usize,
    /// The last one's sender, if it may be told.
    pub sender: Option<String>,
    /// Its text, if it may be told.
    pub body: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The push service has it.
    Done,
    /// An error that may pass.
    Failed(String),
    /// The push service does not want any more.
    Refused(String),
    /// It did not leave this server: too much is on its way, or the server stops.
    Unsent,
}

/// Publishes it, and waits for the answer.
pub async fn send(cx: &Cx, account: &Jid, notification: &Notification) -> Outcome {
    let to = &notification.target.jid;
    // §3.2: push services take it from the server and from the account. Services of this server get it from
    // the account, so that nobody makes the server do there what only the server may.
    let from = match cx.router.leads(to) {
        Leads::Service(_) => account.bare_str(),
        Leads::Account | Leads::Server | Leads::Elsewhere => account.domain(),
    };
    publish(cx, from, to, &publication(notification)).await
}

/// §7
fn publication(notification: &Notification) -> Vec<u8> {
    let Notification { target, count, sender, body } = notification;
    let mut xml = Xml::new();
    xml.start("pubsub").attr("xmlns", PUBSUB).start("publish").attr("node", &target.node);
    xml.start("item").start("notification").attr("xmlns", NS);
    form::start(&mut xml, Written::Result, SUMMARY);
    let field = |xml: &mut Xml, var: &str, value: &str| {
        xml.start("field").attr("var", var).element("value", None, value).end();
    };
    field(&mut xml, "message-count", &count.to_string());
    let more = [("last-message-sender", sender), ("last-message-body", body)];
    for (var, value) in more {
        if let Some(value) = value {
            field(&mut xml, var, value);
        }
    }
    xml.end().end().end().end();
    if !target.options.is_empty() {
        xml.start("publish-options").raw(target.options.as_bytes()).end();
    }
    xml.end();
    xml.finish().to_vec()
}

async fn publish(cx: &Cx, from: &str, to: &Jid, payload: &[u8]) -> Outcome {
    match cx.ask(from, to, IqType::Set, payload, ANSWER_TIME).await {
        Ok(_) => Outcome::Done,
        Err(Unanswered::Refused(error)) => refused(&error),
        Err(Unanswered::Late | Unanswered::Gone) => Outcome::Failed("no answer".to_owned()),
        Err(Unanswered::Unsent) => Outcome::Failed("not sent".to_owned()),
        Err(Unanswered::Busy) => Outcome::Unsent,
    }
}

/// §7.1: what the service itself refuses will not be taken tomorrow; what has to do with the way to it, or with
/// its state, may pass, and so what it wants to be asked again (`wait`, RFC 6120 §8.3.2).
fn refused(error: &StanzaError) -> Outcome {
    use Condition::{
        InternalServerError, RecipientUnavailable, RemoteServerNotFound, RemoteServerTimeout,
        ResourceConstraint, ServiceUnavailable, UndefinedCondition,
    };
    let name = error.condition.as_str().to_owned();
    match error.condition {
        _ if error.kind == ErrorType::Wait => Outcome::Failed(name),
        InternalServerError | RecipientUnavailable | RemoteServerNotFound | RemoteServerTimeout
        | ResourceConstraint | ServiceUnavailable | UndefinedCondition => Outcome::Failed(name),
        _ => Outcome::Refused(name),
    }
}

/// The FORM_TYPE of a summary (§11.3.1), and of a client's wish for it.
pub const SUMMARY: &str = "urn:xmpp:push:summary";
/// The namespace of XEP-0060.
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// How long a push service may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_may_pass_are_tried_again() {
        for (error, passes) in [
            (StanzaError::remote_server_not_found(), true),
            (StanzaError::remote_server_timeout(), true),
            (StanzaError::resource_constraint(), true),
            (StanzaError::service_unavailable(), true),
            (StanzaError::internal_server_error(), true),
            (StanzaError::item_not_found(), false),
            (StanzaError::forbidden(), false),
            (StanzaError::not_authorized(), false),
            (StanzaError::not_acceptable(), false),
            (StanzaError::bad_request(), false),
            (StanzaError::policy_violation().kind(ErrorType::Wait), true),
        ] {
            let name = error.condition.as_str().to_owned();
            let expected = if passes { Outcome::Failed(name) } else { Outcome::Refused(name) };
            assert_eq!(refused(&error), expected);
        }
    }
}
