//! One request, from what was read to what it did. The caller runs it in one transaction of the store, so
//! that nothing comes between what is checked and what is written.

use std::time::SystemTime;

use super::access::Asker;
use super::errors::{Step, settled};
use super::event::Outcome;
use super::request::Request;
use super::service::Service;
use super::work::Work;
use super::{manage, publish, retrieve, subscribe};
use crate::base::time::micros;
use crate::stanza::StanzaError;
use crate::store::tx::{StoreError, Tx};

/// Does what a request asks for. With an error of the inner kind nothing was written, and the asker gets it.
pub fn handle(
    tx: &mut dyn Tx,
    service: &Service,
    asker: &Asker,
    request: &Request,
    now: SystemTime,
) -> Result<Result<Outcome, StanzaError>, StoreError> {
    let done = settled(run(&mut Work { tx, service, asker, now: micros(now) }, request))?;
    let is_too_long = |done: &Outcome| done.payload.len() > service.limits.answer_bytes;
    Ok(match done {
        Ok(done) if is_list(request) && is_too_long(&done) => {
            Err(StanzaError::policy_violation().text("that is too much: ask about one node"))
        }
        done => done,
    })
}

/// Lists of what an entity is at all nodes may be of any length, and those of a node where its bounds are set
/// high. Items are bounded where they are read.
fn is_list(request: &Request) -> bool {
    matches!(
        request,
        Request::Subscriptions(_)
            | Request::Affiliations(_)
            | Request::NodeSubscriptions(_)
            | Request::NodeAffiliations(_)
    )
}

fn run(work: &mut Work<'_>, request: &Request) -> Step<Outcome> {
    match request {
        Request::Create { node, settings } => {
            publish::create(work, node.as_deref(), settings.as_ref())
        }
        Request::Publish(publish) => publish::publish(work, publish),
        Request::Retract { node, ids, notify } => publish::retract(work, node, ids, *notify),
        Request::Items { node, ids, newest, page } => {
            retrieve::items(work, node, ids, *newest, page)
        }
        Request::Subscribe { node, jid } => subscribe::subscribe(work, node, jid),
        Request::Unsubscribe { node, jid } => subscribe::unsubscribe(work, node, jid),
        Request::Subscriptions(node) => retrieve::subscriptions(work, node.as_deref()),
        Request::Affiliations(node) => retrieve::affiliations(work, node.as_deref()),
        Request::Default => Ok(manage::defaults(work)),
        Request::Configuration(node) => manage::configuration(work, node),
        Request::Configure { node, settings } => manage::configure(work, node, settings.as_ref()),
        Request::Delete { node, redirect } => manage::delete(work, node, redirect.as_deref()),
        Request::Purge(node) => manage::purge(work, node),
        Request::NodeSubscriptions(node) => manage::subscriptions(work, node),
        Request::SetSubscriptions { node, changes } => {
            manage::set_subscriptions(work, node, changes)
        }
        Request::NodeAffiliations(node) => manage::affiliations(work, node),
        Request::SetAffiliations { node, changes } => manage::set_affiliations(work, node, changes),
        Request::Approve { node, jid, allow } => subscribe::approve(work, node, jid, *allow),
    }
}
