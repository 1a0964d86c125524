//! The documents about what is implemented: docs/specs.md and stonechat.doap, from the module table.
//! `tests/tidy` compares them.

use crate::modules::api::{Spec, State};
use crate::modules::{self};
use crate::xml::writer::Xml;

/// What the floors below the modules implement.
pub const CORE: &[Spec] = &[
    Spec::partial(
        "RFC 6120",
        "",
        "SASL EXTERNAL (§13.8.4) is for servers, not for clients",
        "transcripts/6120-8.2.3-iq-shape.scs",
    ),
    Spec::whole("RFC 7622", "", "src/jid/mod.rs"),
    Spec::whole("RFC 7590", "", "src/net/tls/tests.rs"),
    Spec::partial(
        "RFC 5802",
        "",
        "no tls-unique (§6.1), which rustls does not give; so on TLS 1.2, whose default it is, -PLUS is for \
         clients of SASL2, which read what there is (XEP-0440)",
        "features/logins.rs",
    ),
    Spec::whole("RFC 7395", "", "features/websocket.rs"),
    Spec::whole("RFC 7677", "", "src/stream/sasl/scram.rs"),
    Spec::partial(
        "RFC 8555",
        "",
        "the client; accounts are bound to none elsewhere (§7.3.4), keys are not rolled over (§7.3.5), certificates not \
         revoked (§7.6)",
        "features/acme.rs",
    ),
    Spec::whole("RFC 8737", "", "features/acme.rs"),
    Spec::whole("RFC 9266", "", "src/net/tls/tests.rs"),
    Spec::whole("RFC 9773", "", "features/acme.rs"),
    Spec::whole("XEP-0156", "1.4.0", "features/websocket.rs"),
    Spec::whole("XEP-0175", "1.2", "src/stream/sasl/tests.rs"),
    Spec::whole("XEP-0178", "1.2", "features/s2s_streams.rs"),
    Spec::whole("XEP-0185", "1.0", "src/stream/s2s/dialback.rs"),
    Spec::whole("XEP-0198", "1.6.3", "features/resumption.rs"),
    Spec::partial(
        "XEP-0220",
        "1.1.1",
        "a stream that we open carries several domains of ours, but one of the other server (§2.6.2)",
        "features/s2s_streams.rs",
    ),
    Spec::whole("XEP-0288", "1.0.1", "features/s2s_calls.rs"),
    Spec::partial(
        "XEP-0344",
        "0.4",
        "a certificate does without dialling back (§2.4); DNSSEC alone does not",
        "features/s2s_streams.rs",
    ),
    Spec::partial(
        "XEP-0124",
        "1.11.2",
        "one stream in a session (§16); bodies are neither compressed nor in other encodings than UTF-8 (§7.2)",
        "features/bosh.rs",
    ),
    Spec::whole("XEP-0206", "1.4", "features/bosh.rs"),
    Spec::whole("XEP-0359", "0.7.0", "features/stanza_ids.rs"),
    Spec::whole("XEP-0368", "1.1.0", "src/net/tls/tests.rs"),
    Spec::whole("XEP-0386", "1.1.0", "features/bind2.rs"),
    Spec::partial(
        "XEP-0388",
        "1.0.4",
        "white space between the elements of an exchange is thrown away and ends nothing (§2.4), for \
         clients that send line feeds",
        "features/sasl2.rs",
    ),
    Spec::whole("XEP-0440", "1.0.0", "src/stream/sasl/tests.rs"),
    Spec::whole("XEP-0474", "0.5.0", "src/stream/sasl/tests.rs"),
    Spec::whole("XEP-0478", "0.2.0", "src/stream/features.rs"),
    Spec::whole("XEP-0480", "0.2.0", "features/upgrade.rs"),
    Spec::whole("XEP-0509", "0.2.0", "features/sasl2.rs"),
];

/// Returns every specification with the module that implements it; the floors below have no module name.
/// RFCs come first, then XEPs, each by number.
pub fn all() -> Vec<(&'static str, Spec)> {
    let of_modules =
        modules::ALL.iter().flat_map(|module| module.specs.iter().map(|spec| (module.name, *spec)));
    let mut all: Vec<_> = CORE.iter().map(|spec| ("", *spec)).chain(of_modules).collect();
    // Not by text, which would put `§10` before `§2`.
    all.sort_by_key(|(_, spec)| key(spec.name));
    all
}

/// docs/specs.md
pub fn specs_md() -> String {
    let mut out = String::from(
        "# What Stonechat implements\n\n\
         Generated from the code by `UPDATE_DOCS=1 cargo test --test tidy`; do not edit.\n\n\
         | specification | version | state | where | shown by |\n|---|---|---|---|---|\n",
    );
    for (module, spec) in all() {
        let state = match spec.state {
            State::Complete => "complete".to_owned(),
            State::Partial(missing) => format!("partial: {missing}"),
        };
        let place = if module.is_empty() { "the core".to_owned() } else { format!("`{module}`") };
        let (name, url) = (spec.name, url(spec.name));
        let (version, test) = (spec.version, path(spec.test));
        out += &format!("| [{name}]({url}) | {version} | {state} | {place} | `{test}` |\n");
    }
    out
}

/// stonechat.doap (XEP-0453)
pub fn doap() -> String {
    let mut xml = Xml::new();
    xml.start("rdf:RDF")
        .attr("xmlns:rdf", "http://www.w3.org/1999/02/22-rdf-syntax-ns#")
        .attr("xmlns", "http://usefulinc.com/ns/doap#")
        .attr("xmlns:xmpp", "https://linkmauve.fr/ns/xmpp-doap#");
    xml.start("Project").element("name", None, "Stonechat");
    xml.start("shortdesc").attr("xml:lang", "en").text(env!("CARGO_PKG_DESCRIPTION")).end();
    xml.element("programming-language", None, "Rust").element("os", None, "Linux");
    let category = "https://linkmauve.fr/ns/xmpp-doap#category-server";
    xml.start("category").attr("rdf:resource", category).end();
    let mut last = String::new();
    for (_, spec) in all() {
        let url = url(spec.name);
        // Several modules implement a part each of RFC 6121.
        if url == last {
            continue;
        }
        if spec.name.starts_with("XEP-") {
            xml.start("implements");
            supported_xep(&mut xml, &spec, &url);
            xml.end();
        } else {
            xml.start("implements").attr("rdf:resource", &url).end();
        }
        last = url;
    }
    xml.end().end();
    let lines = xml.into_string().replace("><", ">\n<");
    format!("<?xml version='1.0' encoding='UTF-8'?>\n{lines}\n")
}

fn supported_xep(xml: &mut Xml, spec: &Spec, url: &str) {
    xml.start("xmpp:SupportedXep");
    xml.start("xmpp:xep").attr("rdf:resource", url).end();
    xml.element("xmpp:version", None, spec.version);
    match spec.state {
        State::Complete => {
            xml.element("xmpp:status", None, "complete");
        }
        State::Partial(missing) => {
            xml.element("xmpp:status", None, "partial");
            xml.start("xmpp:note").attr("xml:lang", "en").text(missing).end();
        }
    }
    xml.end();
}

/// The path of a specification's test, from the top of the repository.
pub fn path(test: &str) -> String {
    if test.starts_with("src/") { test.to_owned() } else { format!("tests/{test}") }
}

fn url(name: &str) -> String {
    match number(name) {
        (true, number) => format!("https://www.rfc-editor.org/info/rfc{number}"),
        (false, number) => format!("https://xmpp.org/extensions/xep-{number}.html"),
    }
}

/// Whether it is an RFC, and its number as written.
fn number(name: &str) -> (bool, &str) {
    let digits = name.trim_start_matches("RFC ").trim_start_matches("XEP-");
    (name.starts_with("RFC "), digits.split(' ').next().unwrap_or_default())
}

/// RFCs before XEPs, then by all numbers in the name.
fn key(name: &str) -> (bool, Vec<u32>) {
    let numbers = name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    (!name.starts_with("RFC "), numbers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_number_and_lead_to_their_publishers() {
        let mut names = ["XEP-0030", "RFC 6121 §10", "RFC 6121 §2.5", "RFC 6120", "RFC 6121 §2"];
        names.sort_by_key(|name| key(name));
        assert_eq!(names, ["RFC 6120", "RFC 6121 §2", "RFC 6121 §2.5", "RFC 6121 §10", "XEP-0030"]);
        assert_eq!(url("RFC 6121 §2"), "https://www.rfc-editor.org/info/rfc6121");
        assert_eq!(url("XEP-0030"), "https://xmpp.org/extensions/xep-0030.html");
    }

    #[test]
    fn the_doap_is_well_formed() {
        let doap = doap();
        let read = roxmltree::Document::parse(&doap).unwrap();
        let xeps = read.descendants().filter(|node| {
            node.has_tag_name(("https://linkmauve.fr/ns/xmpp-doap#", "SupportedXep"))
        });
        assert!(xeps.count() > 10);
    }
}
