//! XEP-0357: Push Notifications. A device that does not have a message is woken: the server publishes at the
//! push service that its client named.
//!
//! A registration is durable before it is acknowledged. A notification is a hint: nothing of it is stored, and
//! one that cannot be sent is tried again only while there is something to tell. `notice.rs` says what waits
//! for whom, `absent.rs` for members of rooms that are not in them, `queue.rs` when it is told, `work.rs` tells it.

mod absent;
mod alert;
mod config;
mod figures;
mod marks;
mod notice;
mod queue;
mod registration;
mod report;
mod sender;
mod waiting;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::AccountState;
use super::api::{
    Cause, Cx, IqRoute, Module, NodeWatch, On, PeriodicJob, Phase, Reply, Spec, Target,
};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::router::Leads;
use crate::router::registry::AccountEntry;
use crate::stanza::StanzaError;
use crate::stanza::form::Form;
use crate::stanza::iq::{Iq, IqType};
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;
use registration::{NS, Registration, Summary};
use waiting::Waiting;

pub use absent::{Heard, Meant, absent, keepers, listeners};
pub use alert::Mentions;
pub use config::Config;
pub use queue::Queue;
pub use registration::Registrations;

/// The module.
pub const MODULE: Module = Module {
    name: "push",
    serves: Some(|config, _| config.push.enabled),
    active: Some(|config| config.push.enabled),
    specs: &[Spec::whole("XEP-0357", "0.4.1", "features/push.rs")],
    features: &[On::Account(NS)],
    iqs: &[
        IqRoute {
            ty: IqType::Set,
            ns: NS,
            name: "enable",
            targets: &[Target::Own],
            handler: |cx, iq| Box::pin(enable(cx, iq)),
        },
        IqRoute {
            ty: IqType::Set,
            ns: NS,
            name: "disable",
            targets: &[Target::Own],
            handler: |cx, iq| Box::pin(disable(cx, iq)),
        },
    ],
    incoming: &[(Phase::Notify, notice::received)],
    outgoing: &[(Phase::Notify, |_, account, passage| notice::sent(account, passage))],
    watches: &[NodeWatch {
        node: marks::NODE,
        changed: |cx, account, owner| Box::pin(marks::changed(cx, account, owner)),
    }],
    sessions: Some(notice::sessions),
    hibernates: Some(notice::hibernates),
    undelivered: Some(notice::undelivered),
    commands: &[report::COMMAND],
    sql: &[registration::CATALOGUE, report::CATALOGUE],
    weights: registration::WEIGHTS,
    every: Some((Duration::from_secs(86_400), |job| Box::pin(forget(job)))),
    background: Some(work::work),
    figures: Some(|cx| {
        let queue = &cx.server.shared().push;
        Box::pin(std::future::ready(queue.sent.figures(queue.load())))
    }),
    ..Module::EMPTY
};

/// The FORM_TYPE of what is published along (§5).
const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";

/// §5. The last request for a service and node counts.
async fn enable(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let account = cx.account()?;
    let target = target(&cx, &iq)?;
    let max = cx.config.push.registrations_max;
    let work = cx.clone();
    cx.finish("push", async move {
        let (id, at) = (Arc::new(AtomicI64::new(NONE)), micros(work.now));
        let (given, found, written) = (id.clone(), id.clone(), target.clone());
        let write = move |tx: &mut dyn Tx| {
            // Counted in the transaction: the account's sessions may ask at once.
            let id = registration::enable(tx, account, &written, at, max)?;
            given.store(id.unwrap_or(NONE), Ordering::Release);
            Ok(())
        };
        let server = work.server.clone();
        let apply = move |entry: &mut AccountEntry| {
            let id = found.load(Ordering::Acquire);
            if id == NONE {
                return;
            }
            let mut waiting = Waiting::default();
            waiting.clear();
            server.shared().push.renewed(id);
            let registration = Registration { id, target, failures: 0, waiting };
            AccountState::change(entry, |state| {
                state.push.get_or_insert_default().put(registration);
            });
        };
        work.router.change(work.bare(), write, apply).await?;
        if id.load(Ordering::Acquire) == NONE {
            return Err(StanzaError::policy_violation().text("too many push services are enabled"));
        }
        Ok(Reply::empty())
    })
    .await
}

/// §6. Of a service and node that are not enabled nothing is left to do.
async fn disable(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let account = cx.account()?;
    let (jid, node) = {
        let doc = iq.stanza().element().view();
        let disable = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        (service(disable)?, node(disable)?.map(str::to_owned))
    };
    let work = cx.clone();
    cx.finish("push", async move {
        let (of, of_node) = (jid.clone(), node.clone());
        let write = move |tx: &mut dyn Tx| {
            registration::disable(tx, account, of.as_str(), of_node.as_deref())
        };
        let apply = move |entry: &mut AccountEntry| {
            registration::drop_from(entry, |one| {
                one.target.jid == jid && node.as_ref().is_none_or(|node| one.target.node == *node)
            });
        };
        work.router.change(work.bare(), write, apply).await?;
        Ok(Reply::empty())
    })
    .await
}

fn target(cx: &Cx, iq: &Iq) -> Result<registration::Target, StanzaError> {
    let client = cx.client().ok_or_else(StanzaError::not_allowed)?;
    let doc = iq.stanza().element().view();
    let enable = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
    let jid = service(enable)?;
    // It would have the server publish at itself, or with its own voice at somebody's account.
    match cx.router.leads(&jid) {
        Leads::Server => return Err(no_service()),
        Leads::Account if jid.is_bare() => return Err(no_service()),
        Leads::Account | Leads::Service(_) | Leads::Elsewhere => {}
    }
    let node = node(enable)?.unwrap_or_default().to_owned();
    let (mut options, mut summary) = (String::new(), Summary::default());
    for form in Form::all_submitted(enable)? {
        match form.form_type() {
            Some(PUBLISH_OPTIONS) => options = written(&form),
            Some(sender::SUMMARY) => {
                let wants = |var: &str| {
                    Ok::<_, StanzaError>(matches!(form.value(var)?, Some("1" | "true")))
                };
                summary = Summary {
                    sender: wants("last-message-sender")?,
                    body: wants("last-message-body")?,
                };
            }
            _ => return Err(StanzaError::bad_request().text("a form of an unknown type")),
        }
    }
    if options.len() > OPTIONS_MAX {
        return Err(StanzaError::policy_violation().text("the publish options are too long"));
    }
    let device = cx.own(|entry| entry.session_mut(client.session)?.agent).flatten();
    let resource = client.jid.resource().to_owned();
    Ok(registration::Target { jid, node, options, summary, device, resource })
}

fn no_service() -> StanzaError {
    StanzaError::not_allowed().text("this is not the address of a push service")
}

/// §5, §6: the 'jid' is a MUST.
fn service(request: Node<'_>) -> Result<Jid, StanzaError> {
    let jid = request.attr("jid").ok_or_else(|| StanzaError::bad_request().text("no jid"))?;
    Jid::parse(jid).map_err(|_| StanzaError::jid_malformed())
}

fn node(request: Node<'_>) -> Result<Option<&str>, StanzaError> {
    let node = request.attr("node");
    if node.is_some_and(|node| node.len() > NODE_MAX) {
        return Err(StanzaError::policy_violation().text("the node is too long"));
    }
    Ok(node)
}

/// The form as it is published: field by field as it came.
fn written(form: &Form<'_>) -> String {
    let mut xml = Xml::new();
    xml.start("x").attr("xmlns", ns::DATA_FORM).attr("type", "submit");
    xml.start("field").attr("var", "FORM_TYPE").attr("type", "hidden");
    xml.element("value", None, PUBLISH_OPTIONS).end();
    for field in form.fields() {
        xml.start("field").attr("var", field.var);
        field.values.iter().for_each(|value| {
            xml.element("value", None, value);
        });
        xml.end();
    }
    xml.end();
    xml.into_string()
}

/// Registrations that their errors disabled are shown to the admin for a month.
async fn forget(job: PeriodicJob) {
    if job.cause != Cause::Due {
        return;
    }
    let before = micros(job.now - ENDED_KEPT);
    let forget = move |tx: &mut dyn Tx| registration::forget_ended(tx, before);
    if let Err(error) = job.store.write(forget).await {
        tracing::warn!(%error, "old push registrations could not be forgotten; tried again later");
    }
}

/// No registration's key.
const NONE: i64 = 0;
/// Of a node's name, in bytes.
const NODE_MAX: usize = 1_023;
/// Of the form of publish-options, in bytes as it is published.
const OPTIONS_MAX: usize = 4_096;
/// How long a registration is kept that was disabled for its errors.
const ENDED_KEPT: Duration = Duration::from_secs(30 * 86_400);
