//! The sections of XEP-0060 as tables: requests as they come from the wire, and what each asker gets.

mod bounds;
mod direct;
mod model;
mod owners;
mod publishers;
mod subscribers;

use std::time::{Duration, SystemTime};

use super::*;
use crate::jid::{BareJid, Jid};
use crate::stanza::StanzaError;
use crate::stanza::error::Detail;
use crate::stanza::iq::IqType;
use crate::store::ids::Owner;
use crate::store::roster::{self, Subscription};
use crate::store::testing;
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::view::Doc;

/// A service in a database of its own, and who asks.
pub(super) struct Bench<'t> {
    pub(super) tx: &'t mut dyn Tx,
    pub(super) service: Service,
    pub(super) now: SystemTime,
    /// What the last request told others.
    pub(super) events: Vec<Event>,
}

fn defaults(node: &str) -> NodeConfig {
    match node {
        "private" => NodeConfig::private(),
        _ => NodeConfig {
            max_items: Bound::Of(3),
            roster_groups_allowed: vec!["lovers".to_owned()],
            ..NodeConfig::of_pep()
        },
    }
}

impl<'t> Bench<'t> {
    pub(super) fn pep(tx: &'t mut dyn Tx) -> Self {
        let account = testing::account(tx, "juliet");
        let mut bench = Self::of(tx, ServiceKey::of(account), "juliet@x", Kind::Pep, defaults);
        bench.friend("nurse@x", &[]);
        bench.friend("romeo@x", &["lovers"]);
        bench
    }

    /// Puts a contact who sees the presence into the account's roster.
    fn friend(&mut self, jid: &str, groups: &[&str]) {
        let Owner::Account(account) = self.service.key.owner() else { panic!("no account") };
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let (jid, state) = (jid.to_owned(), Subscription::From);
        let item = roster::Item { jid, state, groups, listed: true, ..roster::Item::default() };
        roster::put(self.tx, account, &item).unwrap();
    }

    fn service(tx: &'t mut dyn Tx) -> Self {
        let key = ServiceKey::of_service(1);
        Self::of(tx, key, "pubsub.x", Kind::Service, |_| NodeConfig::of_service())
    }

    fn of(
        tx: &'t mut dyn Tx,
        key: ServiceKey,
        jid: &str,
        kind: Kind,
        defaults: fn(&str) -> NodeConfig,
    ) -> Self {
        let jid = BareJid::parse(jid).unwrap();
        let limits = Limits { nodes: 4, entities: 3, ..Limits::default() };
        let service = Service { key, jid, kind, limits, defaults };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Self { tx, service, now, events: Vec::new() }
    }

    pub(super) fn request(
        &mut self,
        asker: &Asker,
        request: &Request,
    ) -> Result<String, StanzaError> {
        self.now += Duration::from_secs(1);
        let done = handle(self.tx, &self.service, asker, request, self.now).unwrap();
        self.events.clear();
        done.map(|outcome| {
            self.events = outcome.events;
            String::from_utf8(outcome.payload).unwrap()
        })
    }

    /// The payload of the result, or `!condition/application`.
    fn ask(&mut self, who: &str, ty: IqType, ns: &str, inner: &str) -> String {
        let xml = format!("<iq id='1'><pubsub xmlns='{ns}'>{inner}</pubsub></iq>");
        let doc = Doc::of(xml.as_bytes(), ns::CLIENT).unwrap();
        let pubsub = doc.root().first_child().unwrap();
        let done = Request::read(ty, pubsub).and_then(|it| self.request(&asker(who), &it));
        done.unwrap_or_else(|error| named(&error))
    }

    fn set(&mut self, who: &str, inner: &str) -> String {
        self.ask(who, IqType::Set, request::NS, inner)
    }

    fn get(&mut self, who: &str, inner: &str) -> String {
        self.ask(who, IqType::Get, request::NS, inner)
    }

    fn own_set(&mut self, who: &str, inner: &str) -> String {
        self.ask(who, IqType::Set, request::OWNER, inner)
    }

    fn own_get(&mut self, who: &str, inner: &str) -> String {
        self.ask(who, IqType::Get, request::OWNER, inner)
    }

    fn publish(&mut self, who: &str, node: &str, id: &str) -> String {
        self.set(who, &publication(node, &format!("<item id='{id}'>{PAYLOAD}</item>")))
    }

    /// The ids that somebody retrieves, or the error.
    pub(super) fn ids(&mut self, who: &str, node: &str) -> String {
        let items = self.get(who, &format!("<items node='{node}'/>"));
        if items.starts_with('!') { items } else { ids_in(&items) }
    }

    fn options(&mut self, node: &str, fields: &[(&str, &str)]) -> String {
        let form = submitted("node_config", fields);
        self.own_set("juliet", &format!("<configure node='{node}'>{form}</configure>"))
    }

    /// Each event: its content without the namespace, and to whom.
    fn told(&self) -> Vec<String> {
        let told = self.events.iter().map(|event| {
            let content = std::str::from_utf8(&event.content).unwrap();
            let content = content.replace(" xmlns='http://jabber.org/protocol/pubsub#event'", "");
            let to = match &event.to {
                To::Audience(_) => "all".to_owned(),
                To::Only(those) => those.iter().map(Jid::as_str).collect::<Vec<_>>().join(" "),
            };
            format!("{to}: {content}")
        });
        told.collect()
    }
}

pub(super) fn ids_in(items: &str) -> String {
    let ids = items.split("<item id='").skip(1).filter_map(|rest| rest.split('\'').next());
    ids.collect::<Vec<_>>().join(" ")
}

/// `juliet` owns; `nurse` sees her presence; `romeo` is in her group `lovers`, too; others are strangers.
pub(super) fn asker(name: &str) -> Asker {
    let (name, resource) = name.split_once('/').unwrap_or((name, "r"));
    let jid = Jid::parse(&format!("{name}@x/{resource}")).unwrap();
    match name {
        "juliet" => Asker::owner(jid),
        "nurse" => Asker { sees_presence: true, ..Asker::stranger(jid) },
        "romeo" => {
            let groups = vec!["lovers".to_owned()];
            Asker { sees_presence: true, groups, ..Asker::stranger(jid) }
        }
        "maker" | "other" => Asker { may_create: true, ..Asker::stranger(jid) },
        _ => Asker::stranger(jid),
    }
}

pub(super) fn named(error: &StanzaError) -> String {
    let application = error.application.map(|(_, name)| format!("/{name}")).unwrap_or_default();
    let feature = match error.detail.as_deref() {
        Some(Detail::Attribute(_, feature)) => format!(" {feature}"),
        _ => String::new(),
    };
    format!("!{}{application}{feature}", error.condition.as_str())
}

fn submitted(ty: &str, fields: &[(&str, &str)]) -> String {
    let field = |(var, value): &(&str, &str)| {
        let values: String = value.split(',').map(|v| format!("<value>{v}</value>")).collect();
        format!("<field var='pubsub#{var}'>{values}</field>")
    };
    let fields: String = fields.iter().map(field).collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/pubsub#{ty}</value></field>{fields}</x>"
    )
}

fn publication(node: &str, item: &str) -> String {
    format!("<publish node='{node}'>{item}</publish>")
}

fn with_options(node: &str, fields: &[(&str, &str)]) -> String {
    let options = submitted("publish-options", fields);
    let item = publication(node, &format!("<item id='i'>{PAYLOAD}</item>"));
    format!("{item}<publish-options>{options}</publish-options>")
}

fn bench(f: impl FnOnce(Bench<'_>)) {
    testing::tx(|tx| f(Bench::pep(tx)));
}

const PAYLOAD: &str = "<e xmlns='urn:e'/>";
