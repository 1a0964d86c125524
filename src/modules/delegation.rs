//! XEP-0355: Namespace Delegation, in admin mode. A component answers requests in place of this server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::api::{
    Answer, Cx, Delegate, Described, IqHandler, Module, On, Reply, Spec, Target, Unanswered,
};
use crate::base::id::{OsRng, short};
use crate::jid::Jid;
use crate::stanza::forward::forwarded;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "delegation",
    shown: Some(|config| config.components.iter().any(|one| !one.delegate.is_empty())),
    specs: &[Spec::partial(
        "XEP-0355",
        "0.5",
        "client mode (§5): accounts delegate nothing themselves",
        "features/component_rights.rs",
    )],
    features: &[On::Server(NS)],
    instead: Some(instead),
    nested: Some(nested),
    component_connected: Some(connected),
    ..Module::EMPTY
};

const NS: &str = "urn:xmpp:delegation:2";
const INFO: &str = "http://jabber.org/protocol/disco#info";
/// §7.2.4: questions for nodes of accounts that the server does not know.
const OTHER_NODES: &str = "urn:xmpp:delegation:2:bare:disco#info:*";

/// What components say of the namespaces that they answer for (§7.2), by component: for hosted domains, and for
/// accounts.
#[derive(Debug, Default)]
pub struct Nested(Mutex<BTreeMap<String, Arc<[Said; 2]>>>);

/// What one component says.
#[derive(Debug, Default)]
struct Said(Described);

impl Nested {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<[Said; 2]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// §4.2: in the name of each hosted domain.
fn connected(cx: &Cx, domain: &str) -> Vec<Frame> {
    let component = cx.config.components.iter().find(|one| one.domain == domain);
    let Some(component) = component.filter(|one| !one.delegate.is_empty()) else {
        return Vec::new();
    };
    ask_features(cx, domain, &component.delegate);
    let told = |host: &String| {
        let mut xml = Xml::new();
        xml.start("message").attr("from", host).attr("to", domain).attr("id", &short(&mut OsRng));
        xml.start("delegation").attr("xmlns", NS);
        for delegate in &component.delegate {
            xml.start("delegated").attr("namespace", &delegate.namespace);
            for name in &delegate.attributes {
                xml.start("attribute").attr("name", name).end();
            }
            xml.end();
        }
        xml.end().end();
        Frame::whole(xml.finish())
    };
    cx.router.hosts().iter().map(told).collect()
}

/// §4.3: a request to a hosted domain, or to an account, in a delegated namespace.
fn instead(cx: &Cx, iq: &Iq, target: Target) -> Option<IqHandler> {
    if !matches!(target, Target::Server | Target::Own | Target::Other) {
        return None;
    }
    manager(cx, iq, target).map(|_| delegate as IqHandler)
}

/// The component that answers it. Its own requests the server answers (§4.3.1).
fn manager<'a>(cx: &'a Cx, iq: &Iq, target: Target) -> Option<&'a str> {
    let components = cx.config.components.iter().filter(|one| !one.delegate.is_empty());
    let mut components = components.filter(|one| one.domain != iq.from().domain()).peekable();
    components.peek()?;
    let (namespace, _) = iq.payload();
    let view = iq.stanza().element().view();
    let payload = view.root().first_child()?;
    let fits = |delegate: &&Delegate| match delegate.namespace.as_str() {
        OTHER_NODES => {
            namespace == INFO && target != Target::Server && is_foreign_node(cx, payload)
        }
        delegated => {
            let has = |name: &String| payload.attr(name).is_some();
            delegated == namespace && delegate.attributes.iter().all(has)
        }
    };
    let found = components.find(|one| one.delegate.iter().any(|one| fits(&one)));
    found.map(|component| component.domain.as_str())
}

/// A node that no command has. What accounts publish under it is told only if nothing is delegated.
fn is_foreign_node(cx: &Cx, payload: Node<'_>) -> bool {
    let node = payload.attr("node").filter(|node| !node.is_empty() && *node != ns::COMMANDS);
    node.is_some_and(|node| cx.server.command(Target::Own, node).is_none())
}

fn delegate(cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
    Box::pin(async move {
        // §4.3 N.B. 1 and 2: whatever goes wrong there.
        let unavailable = StanzaError::service_unavailable;
        let target = cx.target(iq.to()).ok_or_else(unavailable)?;
        let manager = manager(&cx, &iq, target).ok_or_else(unavailable)?;
        let manager = Jid::parse(manager).map_err(|_| unavailable())?;
        let host = iq.to().unwrap_or(iq.from()).domain().to_owned();
        let mut xml = Xml::new();
        let stanza = iq.stanza().frame().to_vec();
        xml.start("delegation").attr("xmlns", NS).raw(&forwarded(b"", &stanza)).end();
        let payload = xml.finish();
        let asked = cx.ask(&host, &manager, IqType::Set, &payload, ANSWER_TIME).await;
        match asked {
            Ok(answer) => {
                let payload = decapsulated(&iq, &answer).inspect_err(|why| {
                    tracing::info!(component = %manager, why, "a component's answer is none");
                });
                payload.map(Reply::payload).map_err(|_| unavailable())
            }
            Err(why) => {
                let why = match why {
                    Unanswered::Refused(_) => "it refused",
                    Unanswered::Late => "it took too long",
                    _ => "it could not be asked",
                };
                tracing::info!(component = %manager, why, "a component does not answer what is delegated");
                Err(unavailable())
            }
        }
    })
}

/// §4.3: the payload of the result that the component gives, if that is the answer to this request.
fn decapsulated(iq: &Iq, answer: &Stanza) -> Result<Vec<u8>, &'static str> {
    let view = answer.element().view();
    let delegation = view.root().child(NS, "delegation").ok_or("no <delegation/>")?;
    let forwarded = delegation.child(ns::FORWARD, "forwarded").ok_or("no <forwarded/>")?;
    let inner = forwarded.child(ns::CLIENT, "iq").ok_or("no <iq/> of jabber:client")?;
    let jid = |name| inner.attr(name).map(Jid::parse);
    if inner.attr("type") != Some("result") || inner.attr("id") != iq.stanza().id().as_deref() {
        return Err("another type or id");
    }
    if !matches!(jid("to"), Some(Ok(to)) if to == *iq.from()) {
        return Err("it is for somebody else");
    }
    let from = match (jid("from"), iq.to()) {
        (None, _) => true,
        (Some(Ok(from)), Some(to)) => from == *to,
        (Some(Ok(from)), None) => from.as_str() == iq.from().bare_str(),
        (Some(Err(_)), _) => false,
    };
    if !from {
        return Err("it is from somebody else");
    }
    match inner.first_child() {
        Some(payload) => {
            payload.standalone().map(|it| it.into_owned().into_bytes()).ok_or("too large")
        }
        None => Ok(Vec::new()),
    }
}

/// §7.2: asked once, when the component comes.
fn ask_features(cx: &Cx, domain: &str, delegates: &[Delegate]) {
    let namespaces: Vec<String> = delegates.iter().map(|one| one.namespace.clone()).collect();
    let (cx, domain) = (cx.clone(), domain.to_owned());
    let router = cx.router.clone();
    router.tasks.spawn("delegation", async move {
        let (Ok(manager), Some(host)) = (Jid::parse(&domain), cx.router.hosts().first().cloned())
        else {
            return;
        };
        let mut said = <[Said; 2]>::default();
        for namespace in namespaces.iter().filter(|one| *one != OTHER_NODES) {
            for (said, separator) in said.iter_mut().zip(["::", ":bare:"]) {
                let mut xml = Xml::new();
                let node = [NS, separator, namespace].concat();
                xml.start("query").attr("xmlns", INFO).attr("node", &node).end();
                let query = xml.finish();
                let asked = cx.ask(&host, &manager, IqType::Get, &query, ANSWER_TIME).await;
                if let Ok(answer) = asked {
                    read(&answer, &mut said.0);
                }
            }
        }
        cx.server.shared().delegation.lock().insert(domain, Arc::new(said));
    });
}

fn read(answer: &Stanza, said: &mut Described) {
    let view = answer.element().view();
    let Some(query) = view.root().child(INFO, "query") else { return };
    for child in query.children().take(SAID_MAX) {
        match (child.ns(), child.name()) {
            (INFO, "identity") => {
                if let (Some(category), Some(ty)) = (child.attr("category"), child.attr("type")) {
                    let name = child.attr("name").map(ToOwned::to_owned);
                    said.identities.push((category.to_owned(), ty.to_owned(), name));
                }
            }
            (INFO, "feature") => said.features.extend(child.attr("var").map(ToOwned::to_owned)),
            (ns::DATA_FORM, "x") => {
                let form = child.standalone();
                said.forms.extend(form.iter().flat_map(|form| form.as_bytes()));
            }
            _ => {}
        }
    }
}

/// §7.2.1, §7.2.2: what the component says, in place of what this server would.
fn nested(cx: &Cx, target: Target, described: &mut Described) {
    let components = cx.config.components.iter();
    for component in components.filter(|one| !one.delegate.is_empty()) {
        let said = cx.server.shared().delegation.lock().get(&component.domain).cloned();
        // As long as it has said nothing, nobody knows better than this server.
        let Some(said) = said else { continue };
        let is_of = |feature: &str, namespace: &str| {
            let rest = feature.strip_prefix(namespace);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
        };
        let is_out = |feature: &String| {
            component.delegate.iter().any(|one| is_of(feature, &one.namespace))
        };
        described.features.retain(|feature| !is_out(feature));
        let [server, accounts] = &*said;
        let more = if target == Target::Server { server } else { accounts };
        described.identities.extend(more.0.identities.iter().cloned());
        described.features.extend(more.0.features.iter().cloned());
        described.features.sort();
        described.features.dedup();
        described.identities.sort();
        described.identities.dedup();
        described.forms.extend(&more.0.forms);
    }
}

/// How long a component may take. Whoever asks is not read from for so long.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Identities, features and forms that are taken of one answer.
const SAID_MAX: usize = 200;
