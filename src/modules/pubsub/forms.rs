//! The forms about nodes: configuration (§16.4.4), publish options (§7.1.5), meta-data (§16.4.3).

use super::access::Affiliation;
use super::config::{Bound, NodeConfig};
use super::errors;
use super::event::Audience;
use super::fields::{self, FIELDS, Field};
use super::service::{Kind, Service};
use crate::base::time::{from_micros, stamp};
use crate::stanza::StanzaError;
use crate::stanza::form::{self, Form, Written};
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// The fields of a form that somebody submitted, in order, without FORM_TYPE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings(Vec<(String, Vec<String>)>);

impl Settings {
    /// Fields by their full names, for requests of our own.
    pub fn new(fields: &[(&str, &str)]) -> Self {
        let fields =
            fields.iter().map(|(var, value)| ((*var).to_owned(), vec![(*value).to_owned()]));
        Self(fields.collect())
    }

    /// Fields by their names behind `pubsub#`, with all their values.
    pub(super) fn whole(fields: impl Iterator<Item = (&'static str, Vec<String>)>) -> Self {
        Self(fields.map(|(name, values)| (format!("pubsub#{name}"), values)).collect())
    }

    /// Whether this field is there.
    pub(super) fn mentions(&self, var: &str) -> bool {
        self.0.iter().any(|(name, _)| name == var)
    }

    /// Reads a node's configuration; none if there is no form, or the person cancelled it.
    pub(super) fn configuration(parent: Node<'_>) -> Result<Option<Self>, StanzaError> {
        let Some(form) = Form::answered(parent)? else { return Ok(None) };
        if is_cancelled(parent) {
            return Ok(None);
        }
        // XEP-0068 wants a FORM_TYPE; a form without one can only be this one.
        if form.form_type().is_some_and(|ty| ty != NODE_CONFIG) {
            return Err(errors::invalid_options().text("the form is not one of a node"));
        }
        Ok(Some(Self::of(&form)))
    }

    /// §7.1.5: options must be a form, and of this FORM_TYPE.
    pub(super) fn options(parent: Node<'_>) -> Result<Self, StanzaError> {
        match Form::submitted(parent)? {
            Some(form) if form.form_type() == Some(PUBLISH_OPTIONS) => Ok(Self::of(&form)),
            Some(_) => Err(errors::invalid_options().text("the form is not of publish options")),
            None => Err(errors::invalid_options().text("there is no form")),
        }
    }

    fn of(form: &Form<'_>) -> Self {
        let values =
            |field: &form::Field<'_>| field.values.iter().map(|v| (*v).to_owned()).collect();
        Self(form.fields().map(|field| (field.var.to_owned(), values(field))).collect())
    }

    /// Lays a submitted form over a configuration. A field that a server has no part in is left out, as
    /// XEP-0004 §3.2 wants it.
    pub(super) fn apply(&self, kind: Kind, config: &mut NodeConfig) -> Result<(), StanzaError> {
        self.lay(kind, config, |_| Ok(()))
    }

    /// Lays options over the defaults of a node that is to be made (§7.1.5, third case).
    pub(super) fn require(&self, kind: Kind, config: &mut NodeConfig) -> Result<(), StanzaError> {
        self.lay(kind, config, |_| Err(errors::invalid_options().text("an option is unknown")))
    }

    fn lay(
        &self,
        kind: Kind,
        config: &mut NodeConfig,
        unknown: impl Fn(&str) -> Result<(), StanzaError>,
    ) -> Result<(), StanzaError> {
        for (var, values) in &self.0 {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let Some(field) = fields::field(kind, var) else {
                match (var.as_str(), values.as_slice()) {
                    ("pubsub#node_type", [] | ["leaf"]) => continue,
                    // XEP-0248 is not supported.
                    ("pubsub#node_type" | "pubsub#collection", [_, ..]) => {
                        return Err(errors::unsupported("collections"));
                    }
                    _ => unknown(var)?,
                }
                continue;
            };
            // No value of what cannot be empty is as though the field were not there (XEP-0004 §3.6).
            if !(field.set)(config, &values) && !values.is_empty() {
                return Err(match field.name {
                    "access_model" => errors::unsupported_access_model(),
                    _ => errors::invalid_options().text("an option has no such value"),
                });
            }
        }
        Ok(())
    }

    /// Whether each of these preconditions is met (§7.1.5): a node has the value that is named.
    pub(super) fn are_met(&self, kind: Kind, config: &NodeConfig) -> Result<bool, StanzaError> {
        let mut wanted = config.clone();
        self.require(kind, &mut wanted)?;
        Ok(wanted == *config)
    }
}

fn is_cancelled(parent: Node<'_>) -> bool {
    let mut forms = parent.children().filter(|child| child.is(crate::xml::ns::DATA_FORM, "x"));
    forms.any(|form| form.attr("type") == Some("cancel"))
}

/// Whether a service can have such a node (§8.1.2, §8.2.5.2).
pub(super) fn check(service: &Service, config: &NodeConfig) -> Result<(), StanzaError> {
    if !service.kind.supports(config.access_model) {
        return Err(errors::unsupported_access_model());
    }
    let refused = |text| Err(StanzaError::not_acceptable().text(text));
    if !service.kind.sends(config.send_last) {
        return refused("the service does not know who comes online");
    }
    match (config.max_items, config.item_expire, config.max_payload_size) {
        (Bound::Of(0), ..) => refused("a node that may have no items"),
        (Bound::Of(items), ..) if items > service.limits.items => {
            refused("more items than a node may have; `max` stands for as many as it may")
        }
        (_, Bound::Of(0), _) => refused("items that expire at once"),
        (.., Bound::Of(0)) => refused("payloads of no bytes"),
        _ if !fields::contacts_are_jids(config) => refused("a contact that is no JID"),
        _ => Ok(()),
    }
}

/// A configuration as a form to be filled in (§8.2.2).
pub(super) fn write(xml: &mut Xml, kind: Kind, config: &NodeConfig) {
    form::start(xml, Written::Form, NODE_CONFIG);
    for field in fields::of(kind) {
        write_field(xml, field, field.label, config, Some(kind));
    }
    xml.end();
}

/// A configuration as subscribers are told of it (§8.2.5.3): without the groups of the owner's roster, which
/// are nobody else's business.
pub(super) fn write_public(xml: &mut Xml, kind: Kind, config: &NodeConfig) {
    form::start(xml, Written::Result, NODE_CONFIG);
    for field in fields::of(kind).filter(|field| field.name != "roster_groups_allowed") {
        write_field(xml, field, field.label, config, None);
    }
    xml.end();
}

/// With the words to choose from where it is to be filled in at such a service.
fn write_field(xml: &mut Xml, field: &Field, label: &str, config: &NodeConfig, at: Option<Kind>) {
    xml.start("field").attr("var", &format!("pubsub#{}", field.name)).attr("type", field.ty);
    xml.attr_opt("label", at.map(|_| label));
    let offered = |word: &&&str| at.is_some_and(|kind| kind.offers(field.name, word));
    for word in field.options.iter().filter(offered) {
        xml.start("option").element("value", None, word).end();
    }
    for value in (field.get)(config) {
        xml.element("value", None, &value);
    }
    xml.end();
}

/// `pubsub#meta-data` (§5.4): what the node is, when and by whom it was made, and how many subscribe.
pub(super) fn meta_data(creator: &str, created: i64, audience: &Audience) -> Vec<u8> {
    let mut xml = Xml::new();
    form::start(&mut xml, Written::Result, META_DATA);
    let config = &audience.config;
    for field in FIELDS.iter().filter(|field| META_FIELDS.contains(&field.name)) {
        let values = (field.get)(config);
        if !values.is_empty() {
            write_field(&mut xml, field, "", config, None);
        }
    }
    form::field(&mut xml, "jid-single", "pubsub#creator", &[creator]);
    let created = stamp(from_micros(created));
    form::field(&mut xml, "text-single", "pubsub#creation_date", &[&created]);
    for (var, affiliation) in
        [("pubsub#owner", Affiliation::Owner), ("pubsub#publisher", Affiliation::Publisher)]
    {
        let those = audience.affiliations.iter().filter(|(_, of)| *of == affiliation);
        let those: Vec<&str> = those.map(|(jid, _)| jid.as_str()).collect();
        if !those.is_empty() {
            form::field(&mut xml, "jid-multi", var, &those);
        }
    }
    let subscribed = audience
        .subscribers
        .iter()
        .filter(|(_, state)| *state == super::access::SubState::Subscribed);
    let number = subscribed.count().to_string();
    form::field(&mut xml, "text-single", "pubsub#num_subscribers", &[&number]);
    xml.end();
    xml.finish().to_vec()
}

/// Those of the configuration that §16.4.3 lists.
const META_FIELDS: &[&str] = &[
    "title",
    "description",
    "type",
    "language",
    "contact",
    "access_model",
    "publish_model",
    "max_items",
];
/// FORM_TYPE of a configuration.
pub(super) const NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
const META_DATA: &str = "http://jabber.org/protocol/pubsub#meta-data";

#[cfg(test)]
mod tests {
    use super::super::config::{AccessModel, SendLast};
    use super::*;
    use crate::xml::ns;
    use crate::xml::view::Doc;

    fn settings(fields: &[(&str, &str)]) -> Settings {
        Settings::new(fields)
    }

    /// The application's condition, or the base one.
    fn name(result: Result<(), StanzaError>) -> &'static str {
        result.map_or_else(
            |error| error.application.map_or("not-acceptable", |(_, name)| name),
            |()| "ok",
        )
    }

    #[test]
    fn a_form_is_laid_over_a_configuration() {
        for (var, value, as_form, as_options) in [
            ("pubsub#access_model", "open", "ok", "ok"),
            (
                "pubsub#access_model",
                "everyone",
                "unsupported-access-model",
                "unsupported-access-model",
            ),
            ("pubsub#max_items", "max", "ok", "ok"),
            ("pubsub#max_items", "many", "invalid-options", "invalid-options"),
            ("pubsub#persist_items", "true", "ok", "ok"),
            ("pubsub#persist_items", "maybe", "invalid-options", "invalid-options"),
            ("pubsub#node_type", "leaf", "ok", "ok"),
            ("pubsub#node_type", "collection", "unsupported", "unsupported"),
            ("pubsub#collection", "c", "unsupported", "unsupported"),
            // §8.2.4 shows it in a form; an unknown option is refused (§7.1.5).
            ("pubsub#body_xslt", "http://x/y", "ok", "invalid-options"),
            ("colour", "blue", "ok", "invalid-options"),
            // Not of accounts; and no word of the registry (§16.4.4).
            ("pubsub#purge_offline", "1", "ok", "invalid-options"),
            ("pubsub#presence_based_delivery", "1", "ok", "invalid-options"),
            ("pubsub#itemreply", "none", "invalid-options", "invalid-options"),
        ] {
            let settings = settings(&[(var, value)]);
            assert_eq!(
                name(settings.apply(Kind::Pep, &mut NodeConfig::of_pep())),
                as_form,
                "{var} {value}"
            );
            assert_eq!(
                name(settings.require(Kind::Pep, &mut NodeConfig::of_pep())),
                as_options,
                "{var} {value}"
            );
        }
    }

    /// §7.1.5
    #[test]
    fn preconditions_are_met_by_equal_values() {
        let config = NodeConfig { send_last: SendLast::Never, ..NodeConfig::of_pep() };
        for (fields, met) in [
            (&[][..], true),
            (&[("pubsub#access_model", "presence")], true),
            (&[("pubsub#access_model", "open")], false),
            (&[("pubsub#persist_items", "true")], true),
            (&[("pubsub#max_items", "1"), ("pubsub#persist_items", "0")], false),
            (&[("pubsub#send_last_published_item", "never")], true),
            (&[("pubsub#max_items", "max")], false),
        ] {
            assert_eq!(settings(fields).are_met(Kind::Pep, &config), Ok(met), "{fields:?}");
        }
        assert!(settings(&[("x", "y")]).are_met(Kind::Pep, &config).is_err());
    }

    fn service(kind: Kind) -> Service {
        Service {
            key: super::super::service::ServiceKey::of_service(1),
            jid: crate::jid::BareJid::parse("x").unwrap(),
            kind,
            limits: super::super::service::Limits::default(),
            defaults: |_| NodeConfig::of_service(),
        }
    }

    #[test]
    fn what_a_service_cannot_have_is_refused() {
        for (config, expected) in [
            (NodeConfig::of_pep(), "ok"),
            (NodeConfig { max_items: Bound::Max, ..NodeConfig::BASE }, "ok"),
            (NodeConfig { max_items: Bound::Of(5_000), ..NodeConfig::BASE }, "ok"),
            (NodeConfig { max_items: Bound::Of(5_001), ..NodeConfig::BASE }, "not-acceptable"),
            (NodeConfig { max_items: Bound::Of(0), ..NodeConfig::BASE }, "not-acceptable"),
            (NodeConfig { item_expire: Bound::Of(0), ..NodeConfig::BASE }, "not-acceptable"),
            (NodeConfig { contact: vec!["@".to_owned()], ..NodeConfig::BASE }, "not-acceptable"),
        ] {
            assert_eq!(name(check(&service(Kind::Pep), &config)), expected, "{config:?}");
        }
        for (model, expected) in [
            (AccessModel::Presence, "unsupported-access-model"),
            (AccessModel::Roster, "unsupported-access-model"),
            (AccessModel::Open, "ok"),
        ] {
            let config = NodeConfig { access_model: model, ..NodeConfig::of_service() };
            assert_eq!(name(check(&service(Kind::Service), &config)), expected);
        }
        // §6.1.7: of nobody who comes online does it hear.
        let config = NodeConfig { access_model: AccessModel::Open, ..NodeConfig::BASE };
        assert_eq!(config.send_last, SendLast::OnSubAndPresence);
        assert_eq!(name(check(&service(Kind::Service), &config)), "not-acceptable");
    }

    #[test]
    fn a_form_that_is_written_can_be_submitted() {
        let config = NodeConfig { title: "a & b".to_owned(), ..NodeConfig::of_service() };
        let mut xml = Xml::new();
        xml.start("configure");
        write(&mut xml, Kind::Service, &config);
        xml.end();
        let form = xml.into_string().replace("type='form'", "type='submit'");
        let doc = Doc::of(form.as_bytes(), ns::CLIENT).unwrap();
        let settings = Settings::configuration(doc.root()).unwrap().unwrap();
        let mut read = NodeConfig::of_pep();
        settings.require(Kind::Service, &mut read).unwrap();
        assert_eq!(read, config);
        let cancelled = form.replace("type='submit'", "type='cancel'");
        let doc = Doc::of(cancelled.as_bytes(), ns::CLIENT).unwrap();
        assert_eq!(Settings::configuration(doc.root()), Ok(None));
    }
}
