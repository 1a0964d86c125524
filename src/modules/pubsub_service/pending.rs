//! The command by which an owner asks again who waits to be let in (XEP-0060 §8.7).

use super::services::asked;
use crate::base::id::{OsRng, short};
use crate::modules::api::{Answer, Cx, Identity, NodeInfo, NodeItems, Reply};
use crate::modules::pubsub;
use crate::stanza::form::{self, Form, Written};
use crate::stanza::iq::Iq;
use crate::stanza::{Stanza, StanzaError};
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// What was asked.
enum Asked {
    /// For which nodes it may ask.
    Nodes,
    /// Who waits for one.
    Node(String),
    /// Nothing any more.
    Cancel,
}

/// One stage. It keeps nothing in between: the form says it all.
pub(super) fn command(cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
    Box::pin(async move {
        let (session, asked_for) = read(&iq)?;
        let at = iq.to().map(|to| to.bare()).ok_or_else(StanzaError::item_not_found)?;
        let (service, asker) = asked(&cx, &at).await?;
        match asked_for {
            Asked::Cancel => Ok(Reply::payload(frame(&session, "canceled", |_| {}))),
            Asked::Nodes => {
                let find = move |tx: &mut dyn Tx| pubsub::owned(tx, service.key, &asker.jid);
                let nodes = cx.store.read(find).await?;
                // §8.7.3.3
                if nodes.is_empty() {
                    return Err(StanzaError::forbidden().text("you own no node here"));
                }
                Ok(Reply::payload(frame(&session, "executing", |xml| ask(xml, &nodes))))
            }
            Asked::Node(node) => {
                let find = move |tx: &mut dyn Tx| pubsub::pending(tx, &service, &asker, &node);
                let events = cx.store.read(find).await??;
                let told = events.iter().take(AT_ONCE).filter_map(|event| {
                    let frame = event.frame(at.as_str(), b"").addressed(cx.jid().as_str());
                    Stanza::ours(frame.to_vec().into())
                });
                let out = told.collect();
                let payload = frame(&session, "completed", |_| {});
                Ok(Reply { out, ..Reply::payload(payload) })
            }
        }
    })
}

fn read(iq: &Iq) -> Result<(String, Asked), StanzaError> {
    let doc = iq.stanza().element().view();
    let command = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
    if command.attr("node") != Some(NODE) {
        return Err(StanzaError::item_not_found());
    }
    let session = command.attr("sessionid").filter(|id| id.len() <= SESSION_MAX);
    let session = session.map_or_else(|| short(&mut OsRng), str::to_owned);
    if command.attr("action") == Some("cancel") {
        return Ok((session, Asked::Cancel));
    }
    let Some(form) = Form::answered(command)? else { return Ok((session, Asked::Nodes)) };
    let node = form.value("pubsub#node")?.ok_or_else(StanzaError::bad_request)?;
    Ok((session, Asked::Node(node.to_owned())))
}

/// §8.7.2
fn ask(xml: &mut Xml, nodes: &[String]) {
    xml.start("actions").attr("execute", "complete").start("complete").end().end();
    form::start(xml, Written::Form, AUTHORIZATION);
    xml.start("field").attr("type", "list-single").attr("var", "pubsub#node");
    xml.attr("label", "A node of yours");
    for node in nodes {
        xml.start("option").element("value", None, node).end();
    }
    xml.end().end();
}

fn frame(session: &str, status: &str, inner: impl FnOnce(&mut Xml)) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("command").attr("xmlns", ns::COMMANDS).attr("node", NODE);
    xml.attr("sessionid", session).attr("status", status);
    inner(&mut xml);
    xml.end();
    xml.finish().to_vec()
}

/// XEP-0050 §2.2: what the list of commands is, and the command.
pub(super) fn info(node: &str) -> Option<NodeInfo> {
    let (ty, name) = match node {
        ns::COMMANDS => ("command-list", None),
        NODE => ("command-node", Some(NAME)),
        _ => return None,
    };
    let identities = vec![Identity { category: "automation", ty, name }];
    let features = vec![ns::COMMANDS, ns::DATA_FORM];
    Some(NodeInfo { identities, features, forms: Vec::new() })
}

/// The list of commands.
pub(super) fn items(node: &str) -> Option<NodeItems> {
    let items = vec![(Some(NODE.to_owned()), Some(NAME.to_owned()))];
    (node == ns::COMMANDS).then_some(NodeItems { items, set: Vec::new() })
}

/// The command's node, and the feature.
pub(super) const NODE: &str = "http://jabber.org/protocol/pubsub#get-pending";
const NAME: &str = "Who wants to subscribe";
const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";
/// Requests that an owner gets at once; those that are answered make room for the next.
const AT_ONCE: usize = 100;
/// Bytes of a session's id, which is only handed back.
const SESSION_MAX: usize = 256;
