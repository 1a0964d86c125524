//! XEP-0356: Privileged Entity. What components may do for accounts, as far as the operator lets them: rosters,
//! messages, requests, presence.

mod account;
mod message;
mod presence;
mod request;
mod roster;

use super::api::{
    Access, Answer, Component, Cx, MessageAccess, Module, Persist, Phase, PresenceAccess,
    Privileges, Spec,
};
use account::{NS, is_account};

use crate::base::id::{OsRng, short};
use crate::stanza::{Frame, Kind, Stanza, StanzaError};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "privilege",
    active: Some(|config| {
        config.components.iter().any(|one| one.privileges.presence > PresenceAccess::None)
    }),
    follows_presence: Some(presence::of_contacts),
    specs: &[Spec::partial(
        "XEP-0356",
        "0.4.1",
        "contacts of accounts without a session are not probed for a component (§7.4)",
        "features/component_rights.rs",
    )],
    component_connected: Some(connected),
    from_component: Some(done),
    roster_changed: Some(roster::changed),
    presence_changed: Some(presence::changed),
    resource_removed: Some(presence::removed),
    incoming: &[(Phase::Notify, presence::of_contact)],
    ..Module::EMPTY
};

/// What components were told of a session.
#[derive(Debug, Default)]
pub struct State {
    /// That it is there.
    told: bool,
}

impl Persist for State {
    const VERSION: u16 = 1;

    fn save(&self) -> Vec<u8> {
        vec![u8::from(self.told)]
    }

    fn load(bytes: &[u8]) -> Option<Self> {
        Some(Self { told: bytes == [1] })
    }
}

/// What the operator lets this domain do.
fn of<'a>(cx: &'a Cx, domain: &str) -> Option<&'a Component> {
    cx.config.components.iter().find(|one| one.domain == domain)
}

/// §4.2, §5.2, §6.2, §7.2: in the name of each domain whose accounts the component may act for.
fn connected(cx: &Cx, domain: &str) -> Vec<Frame> {
    let Some(component) = of(cx, domain).filter(|one| !one.privileges.is_none()) else {
        return Vec::new();
    };
    if component.privileges.presence > PresenceAccess::None {
        presence::tell_all(cx, domain);
    }
    let hosts = cx.router.hosts();
    hosts.iter().map(|host| advertised(host, domain, &component.privileges)).collect()
}

fn advertised(host: &str, domain: &str, privileges: &Privileges) -> Frame {
    let mut xml = Xml::new();
    xml.start("message").attr("from", host).attr("to", domain).attr("id", &short(&mut OsRng));
    xml.start("privilege").attr("xmlns", NS);
    if privileges.roster != Access::None {
        let push = if privileges.pushes() { "true" } else { "false" };
        xml.start("perm").attr("access", "roster").attr("type", privileges.roster.as_str());
        xml.attr("push", push).end();
    }
    if privileges.message == MessageAccess::Outgoing {
        xml.start("perm").attr("access", "message").attr("type", "outgoing").end();
    }
    if !privileges.iq.is_empty() {
        xml.start("perm").attr("access", "iq");
        for one in &privileges.iq {
            xml.start("namespace").attr("ns", &one.namespace).attr("type", one.access.as_str());
            xml.end();
        }
        xml.end();
    }
    if privileges.presence > PresenceAccess::None {
        let ty = privileges.presence.as_str();
        xml.start("perm").attr("access", "presence").attr("type", ty).end();
    }
    xml.end().end();
    Frame::whole(xml.finish())
}

/// Looks whether a component's stanza asks for something that only privileged entities may do.
fn done(cx: &Cx, stanza: &Stanza) -> Option<Answer<Result<Vec<Stanza>, StanzaError>>> {
    let component = of(cx, stanza.from().domain())?;
    let to = stanza.to()?;
    let has = |ns, name| stanza.element().has_child(ns, name);
    match (stanza.kind(), stanza.ty().as_deref()) {
        (Kind::Message, ty) if ty != Some("error") && has(NS, "privilege") => {
            // What is for somebody else is a message like any.
            cx.router.hosts().iter().find(|host| host.as_str() == to.as_str())?;
            Some(message::send(cx.clone(), stanza.clone(), component.privileges.message))
        }
        (Kind::Iq, Some("get" | "set")) if has(NS, "privileged_iq") => {
            let iqs = component.privileges.iq.clone();
            Some(request::send(cx.clone(), stanza.clone(), iqs))
        }
        (Kind::Iq, Some("get" | "set")) if has(ns::ROSTER, "query") && is_account(cx, to) => {
            Some(roster::answer(cx.clone(), stanza.clone(), component.privileges.roster))
        }
        _ => None,
    }
}
