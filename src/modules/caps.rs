//! XEP-0115: Entity Capabilities, of the server as a stream feature. Those of clients are passed on unchanged
//! in presence; the server needs no cache of them until PEP filters by them.

use super::Config;
use super::api::{Identity, Module, On, Spec, Stage};
use crate::base::hash::{base64, sha1};
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "caps",
    specs: &[Spec::partial(
        "XEP-0115",
        "1.6.0",
        "no caps optimisation (§8.4), which is optional",
        "src/modules/caps.rs",
    )],
    features: &[On::Server(NS)],
    stream_features: Some(|config, stage| match stage {
        // Before SASL a client may not send the disco query for the hash, so it gets the hash afterwards.
        Stage::Authenticate => None,
        Stage::Bind => Some(stream_feature(config)),
    }),
    ..Module::EMPTY
};

/// The node at which the server's information can also be queried (§6.2).
pub fn node(identities: &[Identity], features: &[&str]) -> String {
    format!("{NODE}#{}", ver(identities, features))
}

/// Features in the form that §5.1 requires: sorted by octets, without duplicates (§5.4 rule 3.4).
pub fn sorted(features: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut features: Vec<_> = features.collect();
    features.sort_unstable();
    features.dedup();
    features
}

/// The features of hosted domains.
pub(super) fn server_features(
    modules: &'static [&'static Module],
    config: &Config,
) -> Vec<&'static str> {
    let shown = modules.iter().filter(|module| module.shown.is_none_or(|shown| shown(config)));
    let features = shown.flat_map(|module| module.features.iter().copied());
    sorted(features.filter_map(On::server))
}

/// `<c/>` of §6.3.
fn stream_feature(config: &Config) -> String {
    let identities = super::ALL.iter().flat_map(|module| module.identities.iter().copied());
    let mut identities: Vec<_> = identities.collect();
    identities.sort_unstable();
    let features = server_features(super::ALL, config);
    let mut xml = Xml::new();
    xml.start("c")
        .attr("xmlns", NS)
        .attr("hash", "sha-1")
        .attr("node", NODE)
        .attr("ver", &ver(&identities, &features))
        .end();
    xml.into_string()
}

/// The verification string of §5.1. Both lists are sorted by octets; no identity has a language.
fn ver(identities: &[Identity], features: &[&str]) -> String {
    let mut text = String::new();
    for Identity { category, ty, name } in identities {
        text.extend([category, "/", ty, "//", name.unwrap_or_default(), "<"]);
    }
    for feature in features {
        text.extend([feature, "<"]);
    }
    base64(&sha1(text.as_bytes()))
}

const NS: &str = "http://jabber.org/protocol/caps";
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
        assert_eq!(ver(&[identity], &features), "QgayPKawpkPSDYmwT/WM94uAlu0=");
    }
}
