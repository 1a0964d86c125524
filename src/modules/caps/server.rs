//! What the server says of itself (XEP-0115 §6.3), as a stream feature.

use super::super::api::{Identity, InfoField, InfoForm, Module, On};
use super::super::{ALL, Config};
use crate::base::hash::{base64, sha1};
use crate::xml::writer::Xml;

/// The node at which the server's information can also be queried (§6.2).
pub fn node(identities: &[Identity], features: &[&str], forms: &[InfoForm]) -> String {
    format!("{NODE}#{}", ver(identities, features, forms))
}

/// Features in the form that §5.1 requires: sorted by octets, without duplicates (§5.4 rule 3.4).
pub fn sorted(features: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut features: Vec<_> = features.collect();
    features.sort_unstable();
    features.dedup();
    features
}

/// The features of hosted domains.
pub fn server_features(modules: &'static [&'static Module], config: &Config) -> Vec<&'static str> {
    let shown = modules.iter().filter(|module| module.shown.is_none_or(|shown| shown(config)));
    let features = shown.flat_map(|module| module.features.iter().copied());
    sorted(features.filter_map(On::server))
}

/// The forms of hosted domains, sorted by FORM_TYPE, and their fields by name (§5.1).
pub fn server_forms(modules: &'static [&'static Module], config: &Config) -> Vec<InfoForm> {
    let shown = modules.iter().filter(|module| module.shown.is_none_or(|shown| shown(config)));
    let mut forms: Vec<_> = shown.filter_map(|module| (module.info_form?)(config)).collect();
    forms.iter_mut().for_each(|form| form.fields.sort_unstable_by_key(|field| field.var));
    forms.sort_unstable_by_key(|form| form.form_type);
    forms
}

/// `<c/>` of §6.3.
pub(super) fn stream_feature(config: &Config) -> String {
    let identities = ALL.iter().flat_map(|module| module.identities.iter().copied());
    let mut identities: Vec<_> = identities.collect();
    identities.sort_unstable();
    let features = server_features(ALL, config);
    let forms = server_forms(ALL, config);
    let mut xml = Xml::new();
    xml.start("c")
        .attr("xmlns", NS)
        .attr("hash", "sha-1")
        .attr("node", NODE)
        .attr("ver", &ver(&identities, &features, &forms))
        .end();
    xml.into_string()
}

/// The verification string of §5.1. The lists are sorted by octets; no identity has a language.
fn ver(identities: &[Identity], features: &[&str], forms: &[InfoForm]) -> String {
    let mut text = String::new();
    for Identity { category, ty, name } in identities {
        text.extend([category, "/", ty, "//", name.unwrap_or_default(), "<"]);
    }
    for feature in features {
        text.extend([feature, "<"]);
    }
    for InfoForm { form_type, fields } in forms {
        text.extend([form_type, "<"]);
        for InfoField { var, values, .. } in fields {
            let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
            values.sort_unstable();
            text.extend([var, "<"]);
            values.into_iter().for_each(|value| text.extend([value, "<"]));
        }
    }
    base64(&sha1(text.as_bytes()))
}

pub(super) const NS: &str = "http://jabber.org/protocol/caps";
/// The URI that identifies the software (§4).
const NODE: &str = "urn:x-stonechat";

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "http://jabber.org/protocol/";

    #[test]
    fn the_example_of_xep_0115_5_2() {
        let identity = Identity { category: "client", ty: "pc", name: Some("Exodus 0.9.1") };
        let features =
            ["caps", "disco#info", "disco#items", "muc"].map(|name| format!("{PREFIX}{name}"));
        let features: Vec<_> = features.iter().map(String::as_str).collect();
        assert_eq!(ver(&[identity], &features, &[]), "QgayPKawpkPSDYmwT/WM94uAlu0=");
    }

    /// §5.3, with one language.
    #[test]
    fn forms_are_in_the_hash() {
        let field = |var, values: &[&str]| {
            let values = values.iter().map(|v| (*v).to_owned()).collect();
            InfoField { ty: "text-multi", var, values }
        };
        let form = InfoForm {
            form_type: "urn:xmpp:dataforms:softwareinfo",
            fields: vec![field("ip_version", &["ipv6", "ipv4"]), field("os", &["Mac"])],
        };
        let text = "urn:xmpp:dataforms:softwareinfo<ip_version<ipv4<ipv6<os<Mac<";
        assert_eq!(ver(&[], &[], &[form]), base64(&sha1(text.as_bytes())));
    }
}
