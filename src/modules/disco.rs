//! XEP-0030: Service Discovery, of the server and on behalf of its accounts.

use super::api::{
    AccountNodes, Cx, Described, Identity, InfoField, InfoForm, IqHandler, IqRoute, Module, NodeInfo, On,
    Reply, Serving, Spec, Target,
};
use super::caps;
use crate::jid::{BareJid, FullJid};
use crate::router::home::AccountView;
use crate::router::registry::AccountStatus;
use crate::router::{Leads, ServiceId};
use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;
use crate::stanza::form::{self, Written};
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::rsm::Rsm;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "disco",
    specs: &[Spec::whole("XEP-0030", "2.5.0", "transcripts/0030-disco.scs")],
    identities: &[Identity { category: "server", ty: "im", name: Some("Stonechat") }],
    features: &[
        On::Server(INFO),
        On::Server(ITEMS),
        On::Account(INFO),
        On::Account(ITEMS),
        On::Service(INFO),
        On::Service(ITEMS),
    ],
    iqs: &[
        get(INFO, &[Target::Server], |cx, iq| Box::pin(async move { server_info(&cx, &iq) })),
        get(INFO, &[Target::Service], |cx, iq| Box::pin(service_info(cx, iq))),
        get(ITEMS, &[Target::Service], |cx, iq| Box::pin(service_items(cx, iq))),
        get(INFO, &[Target::Own], |cx, iq| Box::pin(own_info(cx, iq))),
        get(INFO, &[Target::Other], |cx, iq| Box::pin(other_info(cx, iq))),
        get(ITEMS, &[Target::Server], |cx, iq| Box::pin(async move { server_items(&cx, &iq) })),
        get(ITEMS, &[Target::Own], |cx, iq| Box::pin(own_items(cx, iq))),
        get(ITEMS, &[Target::Other], |cx, iq| Box::pin(other_items(cx, iq))),
    ],
    ..Module::EMPTY
};

/// The namespace of questions for identities and features.
const INFO: &str = "http://jabber.org/protocol/disco#info";
/// The namespace of questions for items.
const ITEMS: &str = "http://jabber.org/protocol/disco#items";

fn server_info(cx: &Cx, iq: &Iq) -> Result<Reply, StanzaError> {
    let features = cx.server.server_features(&cx.config);
    let identities = cx.server.identities();
    let forms = cx.server.server_forms(&cx.config);
    let node = node(iq);
    if let Some(told) = node.as_deref().and_then(|node| command_info(cx, Target::Server, node)) {
        return told;
    }
    // XEP-0115 §6.2: the caps node of the stream feature says the same as no node.
    if node.as_deref().is_some_and(|node| node != caps::node(&identities, &features, &forms)) {
        return Err(StanzaError::item_not_found());
    }
    match node {
        // The caps node says what is behind its hash.
        Some(node) => Ok(info(Some(&node), &identities, &features, &written(&forms))),
        None => Ok(nested(cx, Target::Server, &identities, &features, written(&forms))),
    }
}

/// With what others say in place of this server.
fn nested(
    cx: &Cx,
    target: Target,
    identities: &[Identity],
    features: &[&str],
    forms: Vec<u8>,
) -> Reply {
    let identity = |one: &Identity| {
        (one.category.to_owned(), one.ty.to_owned(), one.name.map(ToOwned::to_owned))
    };
    let mut said = Described {
        identities: identities.iter().map(identity).collect(),
        features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        forms,
    };
    cx.server.nested(cx, target, &mut said);
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", INFO);
    for (category, ty, name) in &said.identities {
        xml.start("identity").attr("category", category).attr("type", ty);
        xml.attr_opt("name", name.as_deref()).end();
    }
    for feature in &said.features {
        xml.start("feature").attr("var", feature).end();
    }
    xml.raw(&said.forms).end();
    Reply::payload(xml.finish())
}

async fn own_info(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let Some(node) = node(&iq) else {
        let account = cx.own(|entry| entry.account);
        return Ok(account_info(&cx, &iq, account.unwrap_or(AccountStatus::Missing)));
    };
    if let Some(told) = command_info(&cx, Target::Own, &node) {
        return told;
    }
    node_info(&cx, cx.bare(), &node).await?.ok_or_else(StanzaError::item_not_found)
}

/// XEP-0030 §8 rule 1: `service-unavailable` to whoever may not see the account's presence, as for
/// an account that does not exist, with a node or without; but a node may be for all.
async fn other_info(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let (seen, node) = (look(&cx, &iq).await?, node(&iq));
    if let (Some(to), Some(node)) = (iq.to(), &node)
        && let Some(known) = node_info(&cx, to.bare(), node).await?
    {
        return Ok(known);
    }
    match (seen, node) {
        (Some(_), Some(_)) => Err(StanzaError::item_not_found()),
        (Some(seen), None) => Ok(account_info(&cx, &iq, seen.account)),
        (None, _) => Err(StanzaError::service_unavailable()),
    }
}

fn account_info(cx: &Cx, iq: &Iq, account: AccountStatus) -> Reply {
    let anonymous = account == AccountStatus::Temporary;
    let ty = if anonymous { "anonymous" } else { "registered" };
    let jid = iq.to().map_or_else(|| cx.bare(), |to| to.bare());
    let more = cx.server.account_identities(&cx.config, &jid).filter(|_| !anonymous);
    let identities: Vec<_> =
        [Identity { category: "account", ty, name: None }].into_iter().chain(more).collect();
    let features = caps::sorted(cx.server.account_features(&cx.config, &jid));
    nested(cx, Target::Own, &identities, &features, Vec::new())
}

/// What modules know of a node of an account, if the asker may see it.
async fn node_info(cx: &Cx, at: BareJid, node: &str) -> Result<Option<Reply>, StanzaError> {
    for nodes in cx.server.account_nodes() {
        let known = (nodes.info)(cx.clone(), at.clone(), node.to_owned()).await?;
        if let Some(NodeInfo { identities, features, forms }) = known {
            return Ok(Some(info(Some(node), &identities, &features, &forms)));
        }
    }
    Ok(None)
}

/// XEP-0050 §2.2: what the node of all commands, or of one, is; `None` for other nodes.
fn command_info(cx: &Cx, at: Target, node: &str) -> Option<Result<Reply, StanzaError>> {
    let identity = |ty, name| Identity { category: "automation", ty, name };
    if node == ns::COMMANDS {
        let features = [ns::COMMANDS, ITEMS];
        return Some(Ok(info(Some(node), &[identity("command-list", None)], &features, &[])));
    }
    let command = cx.server.command(at, node)?;
    if !(command.allowed)(cx) {
        return Some(Err(StanzaError::forbidden().kind(ErrorType::Cancel)));
    }
    let features = [ns::COMMANDS, ns::DATA_FORM];
    Some(Ok(info(Some(node), &[identity("command-node", Some(command.name))], &features, &[])))
}

/// XEP-0050 §2.2: those that the asker may run.
fn command_items(cx: &Cx, at: Target, iq: &Iq) -> Reply {
    let jid = iq.to().map_or_else(|| cx.bare().to_string(), ToString::to_string);
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ITEMS).attr("node", ns::COMMANDS);
    for command in cx.server.commands(at).filter(|command| (command.allowed)(cx)) {
        xml.start("item")
            .attr("jid", &jid)
            .attr("node", command.node)
            .attr("name", command.name)
            .end();
    }
    xml.end();
    Reply::payload(xml.finish())
}

/// The services of this host.
fn server_items(cx: &Cx, iq: &Iq) -> Result<Reply, StanzaError> {
    match node(iq) {
        Some(node) if node == ns::COMMANDS => Ok(command_items(cx, Target::Server, iq)),
        Some(_) => Err(StanzaError::item_not_found()),
        None => {
            let host = iq.to().map_or_else(|| cx.jid().domain(), |to| to.domain());
            Ok(services(cx, host))
        }
    }
}

fn services(cx: &Cx, host: &str) -> Reply {
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ITEMS);
    for serving in cx.server.services() {
        xml.start("item")
            .attr("jid", &serving.domain(host))
            .attr_opt("name", serving.service.identity.name)
            .end();
    }
    for (jid, name) in cx.server.items(&cx.config, host) {
        xml.start("item").attr("jid", &jid).attr_opt("name", name.as_deref()).end();
    }
    xml.end();
    Reply::payload(xml.finish())
}

async fn service_info(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let (at, service) = service_of(&cx, &iq)?;
    if let Some(node) = node(&iq) {
        let nodes = service_nodes(&cx, service).ok_or_else(StanzaError::item_not_found)?;
        let known = (nodes.info)(cx.clone(), at, node.clone()).await?;
        let known = known.ok_or_else(StanzaError::item_not_found)?;
        return Ok(info(Some(&node), &known.identities, &known.features, &known.forms));
    }
    let Some(Serving { module, service, .. }) = cx.server.services().get(service.0) else {
        return Err(StanzaError::item_not_found());
    };
    let of = cx.server.modules().iter().find(|of| of.name == *module);
    let more = of.and_then(|of| of.service_features).map(|more| more(&cx.config));
    let own = service.features.iter().chain(more.unwrap_or_default()).copied();
    let features = caps::sorted(cx.server.service_features().chain(own));
    let forms = of.and_then(|of| of.service_forms).map(|forms| forms(&cx.config));
    Ok(info(None, &[service.identity], &features, &written(&forms.unwrap_or_default())))
}

async fn service_items(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let (at, service) = service_of(&cx, &iq)?;
    let node = node(&iq);
    let Some(nodes) = service_nodes(&cx, service) else {
        return match node {
            Some(_) => Err(StanzaError::item_not_found()),
            None => Ok(items(None, "", &[], &[], &[])),
        };
    };
    let found = (nodes.items)(cx.clone(), at.clone(), node.clone(), page(&iq)?).await?;
    let found = found.ok_or_else(StanzaError::item_not_found)?;
    Ok(items(node.as_deref(), at.as_str(), &[], &found.items, &found.set))
}

fn service_of(cx: &Cx, iq: &Iq) -> Result<(BareJid, ServiceId), StanzaError> {
    let to = iq.to().ok_or_else(StanzaError::item_not_found)?;
    match cx.router.leads(to) {
        Leads::Service(service) => Ok((to.bare(), service)),
        Leads::Account | Leads::Server | Leads::Elsewhere => Err(StanzaError::item_not_found()),
    }
}

/// Who knows the nodes of a service.
fn service_nodes(cx: &Cx, service: ServiceId) -> Option<AccountNodes> {
    let serving = cx.server.services().get(service.0)?;
    let module = cx.server.modules().iter().find(|module| module.name == serving.module)?;
    module.service_nodes
}

/// The page that is asked for.
fn page(iq: &Iq) -> Result<Rsm, StanzaError> {
    let doc = iq.stanza().element().view();
    Rsm::read(doc.root().first_child().ok_or_else(StanzaError::bad_request)?)
}

async fn own_items(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    if node(&iq).is_some_and(|node| node == ns::COMMANDS) {
        return Ok(command_items(&cx, Target::Own, &iq));
    }
    let resources = cx.own(|entry| names(entry.available().map(|resource| &resource.jid)));
    let at = cx.bare();
    let found = account_items(&cx, at, &iq, &resources.unwrap_or_default()).await?;
    found.ok_or_else(StanzaError::item_not_found)
}

/// XEP-0030 §8 rule 2: an empty list to whoever may not see the account's presence, as for an
/// account that does not exist; but for what is for all.
async fn other_items(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let seen = look(&cx, &iq).await?;
    let is_known = seen.is_some();
    let resources = seen.map(|seen| names(seen.available.iter())).unwrap_or_default();
    let at = iq.to().map_or_else(|| cx.bare(), |to| to.bare());
    match account_items(&cx, at, &iq, &resources).await? {
        Some(found) => Ok(found),
        None if is_known => Err(StanzaError::item_not_found()),
        None => Ok(items(node(&iq).as_deref(), "", &[], &[], &[])),
    }
}

/// Available resources and nodes of an account, or what is in one of its nodes.
async fn account_items(
    cx: &Cx,
    at: BareJid,
    iq: &Iq,
    resources: &[String],
) -> Result<Option<Reply>, StanzaError> {
    let asked = node(iq);
    let rsm = page(iq)?;
    let (mut found, mut set, mut is_known) = (Vec::new(), Vec::new(), asked.is_none());
    for nodes in cx.server.account_nodes() {
        let more = (nodes.items)(cx.clone(), at.clone(), asked.clone(), rsm.clone()).await?;
        if let Some(more) = more {
            is_known = true;
            found.extend(more.items);
            set.extend(more.set);
        }
    }
    let resources = if asked.is_none() { resources } else { &[] };
    Ok(is_known.then(|| items(asked.as_deref(), at.as_str(), resources, &found, &set)))
}

async fn look(cx: &Cx, iq: &Iq) -> Result<Option<AccountView>, StanzaError> {
    match iq.to() {
        Some(to) => cx.look(to).await,
        None => Ok(None),
    }
}

fn names<'a>(resources: impl Iterator<Item = &'a FullJid>) -> Vec<String> {
    resources.map(|jid| jid.as_str().to_owned()).collect()
}

/// The node that is asked for. XEP-0030 §4.2 forbids an empty one; some clients mean none by it.
fn node(iq: &Iq) -> Option<String> {
    let doc = iq.stanza().element().view();
    let node = doc.root().first_child()?.attr("node")?;
    (!node.is_empty()).then(|| node.to_owned())
}

/// XEP-0030 §3.2: the answer MUST mirror the node.
fn info(node: Option<&str>, identities: &[Identity], features: &[&str], forms: &[u8]) -> Reply {
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", INFO).attr_opt("node", node);
    for identity in identities {
        xml.start("identity")
            .attr("category", identity.category)
            .attr("type", identity.ty)
            .attr_opt("name", identity.name)
            .end();
    }
    for feature in features {
        xml.start("feature").attr("var", feature).end();
    }
    xml.raw(forms).end();
    Reply::payload(xml.finish())
}

/// XEP-0128
fn written(forms: &[InfoForm]) -> Vec<u8> {
    let mut xml = Xml::new();
    for InfoForm { form_type, fields } in forms {
        form::start(&mut xml, Written::Result, form_type);
        for InfoField { ty, var, values } in fields {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            form::field(&mut xml, ty, var, &values);
        }
        xml.end();
    }
    xml.finish().to_vec()
}

/// Addresses, and nodes with their names at one address.
fn items(
    node: Option<&str>,
    at: &str,
    jids: &[String],
    nodes: &[(Option<String>, Option<String>)],
    set: &[u8],
) -> Reply {
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ITEMS).attr_opt("node", node);
    for jid in jids {
        xml.start("item").attr("jid", jid).end();
    }
    for (node, name) in nodes {
        xml.start("item").attr("jid", at);
        xml.attr_opt("node", node.as_deref()).attr_opt("name", name.as_deref()).end();
    }
    xml.raw(set).end();
    Reply::payload(xml.finish())
}

const fn get(ns: &'static str, targets: &'static [Target], handler: IqHandler) -> IqRoute {
    IqRoute { ty: IqType::Get, ns, name: "query", targets, handler }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask};
    use crate::modules::Config;
    use crate::store::roster::Subscription;

    const INFO: &str = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    const ITEMS: &str = "<query xmlns='http://jabber.org/protocol/disco#items'/>";

    fn with_node(query: &str, node: &str) -> String {
        query.replace("/>", &format!(" node='{node}'/>"))
    }

    async fn server() -> Server {
        let server = Server::new(Config::default());
        server.account("romeo", &[]).await;
        server.account("juliet", &[("romeo@montague.example", Subscription::From)]).await;
        server.account("tybalt", &[("romeo@montague.example", Subscription::To)]).await;
        server
    }

    #[tokio::test]
    async fn the_server_says_what_it_is_and_its_caps_node_says_the_same() {
        let server = server().await;
        let cx = server.session("romeo@montague.example/orchard").await;
        let plain = ask(&cx, "get", "montague.example", INFO).await;
        assert!(plain.contains("<identity category='server' type='im' name='Stonechat'/>"));
        assert!(plain.contains("<feature var='http://jabber.org/protocol/disco#info'/>"));
        assert!(plain.contains("<feature var='urn:xmpp:ping'/>"), "{plain}");
        let offered = cx.server.stream_features(super::super::api::Stage::Bind);
        let offered = format!("<features>{offered}</features>");
        let offered = roxmltree::Document::parse(&offered).unwrap();
        let c = offered.descendants().find(|node| node.has_attribute("ver")).unwrap();
        let attr = |name| c.attribute(name).unwrap();
        let node = format!("{}#{}", attr("node"), attr("ver"));
        let noded = ask(&cx, "get", "montague.example", &with_node(INFO, &node)).await;
        assert_eq!(noded, plain.replacen("#info'>", &format!("#info' node='{node}'>"), 1));
        for query in [INFO, ITEMS] {
            let other = ask(&cx, "get", "montague.example", &with_node(query, "music")).await;
            assert_eq!(other, "item-not-found");
        }
        let items = ask(&cx, "get", "montague.example", ITEMS).await;
        let rooms = "<item jid='conference.montague.example' name='Rooms'/>\
                     <item jid='pubsub.montague.example' name='Feeds'/>\
                     <item jid='upload.montague.example' name='HTTP File Upload'/>";
        assert_eq!(items, ITEMS.replace("/>", &format!(">{rooms}</query>")));
    }

    #[tokio::test]
    async fn an_account_shows_itself_to_its_owner_and_its_subscribers_alone() {
        let server = server().await;
        let cx = server.session("romeo@montague.example/orchard").await;
        server.session("juliet@montague.example/balcony").await;
        let registered = "<identity category='account' type='registered'/>";
        let none = "service-unavailable";
        for (to, info, resource) in [
            ("", registered, "romeo@montague.example/orchard"),
            ("romeo@montague.example", registered, "romeo@montague.example/orchard"),
            ("juliet@montague.example", registered, "juliet@montague.example/balcony"),
            ("tybalt@montague.example", none, ""),
            ("nobody@montague.example", none, ""),
        ] {
            let answer = ask(&cx, "get", to, INFO).await;
            assert!(answer.contains(info), "{to}: {answer}");
            let answer = ask(&cx, "get", to, ITEMS).await;
            match resource {
                "" => assert_eq!(answer, ITEMS, "{to}"),
                jid => assert!(answer.contains(&format!("<item jid='{jid}'/>")), "{to}: {answer}"),
            }
        }
    }

    /// XEP-0030 §8: with a node too, a stranger gets what it gets for nobody.
    #[tokio::test]
    async fn a_node_tells_a_stranger_nothing() {
        let server = server().await;
        let cx = server.session("romeo@montague.example/orchard").await;
        let (info, items) = (with_node(INFO, "x"), with_node(ITEMS, "x"));
        for (to, want_info, want_items) in [
            ("juliet@montague.example", "item-not-found", "item-not-found"),
            ("tybalt@montague.example", "service-unavailable", items.as_str()),
            ("nobody@montague.example", "service-unavailable", items.as_str()),
        ] {
            assert_eq!(ask(&cx, "get", to, &info).await, want_info, "{to}");
            assert_eq!(ask(&cx, "get", to, &items).await, want_items, "{to}");
        }
    }

    #[tokio::test]
    async fn an_anonymous_account_says_so() {
        let server = server().await;
        let cx = server.session("guest@montague.example/x").await;
        let answer = ask(&cx, "get", "", INFO).await;
        assert!(answer.contains("<identity category='account' type='anonymous'/>"), "{answer}");
    }
}
