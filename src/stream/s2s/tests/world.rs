//! Two servers: `a.example` with its rooms calls `b.example` with its own.

use std::sync::Arc;

use crate::stream::framing::Item;
use crate::stream::s2s::certificate::{CertName, PeerCertificate, Secured, Trust};
use crate::stream::s2s::features::PeerLimits;
use crate::stream::s2s::policy::{Admission, Certificates, Policy};
use crate::stream::s2s::{DialbackSecret, incoming, outgoing};
use crate::xml::element::Element;
use crate::xml::gate::{self, Rules};
use crate::xml::header::Header;
use crate::xml::ns;

pub(super) struct AllBut(&'static str);

impl Admission for AllBut {
    fn admits(&self, domain: &str) -> bool {
        domain != self.0
    }
}

/// The policy of a server that serves this domain and its rooms.
pub(super) fn policy(domain: &str) -> Policy {
    Policy {
        domains: vec![domain.to_owned(), format!("rooms.{domain}")],
        secret: DialbackSecret::new(domain.as_bytes()),
        certificates: Certificates::Require,
        dialback_domains: vec!["old.example".to_owned()],
        admission: Box::new(AllBut("evil.example")),
        domains_per_stream_max: 3,
        external: true,
        bidi: true,
        sm: true,
        limits: PeerLimits { max_bytes: Some(262_144), idle_seconds: Some(900) },
        limits_unauthenticated: PeerLimits { max_bytes: Some(10_000), idle_seconds: None },
    }
}

pub(super) fn dialback_policy(domain: &str) -> Arc<Policy> {
    Arc::new(Policy { certificates: Certificates::Dialback, ..policy(domain) })
}

pub(super) fn certificate(trust: Trust, names: &[&str]) -> Secured {
    let names = names.iter().map(|name| CertName::Dns((*name).to_owned())).collect();
    Secured(Some(PeerCertificate { trust, names }))
}

pub(super) fn valid(names: &[&str]) -> Secured {
    certificate(Trust::Valid, names)
}

pub(super) fn self_signed() -> Secured {
    certificate(Trust::Untrusted("it is self-signed".to_owned()), &["a.example"])
}

pub(super) fn header(from: &str, to: &str) -> Header {
    Header {
        from: Some(from.to_owned()),
        to: Some(to.to_owned()),
        id: Some("7".to_owned()),
        version: Some("1.0".to_owned()),
        ns: ns::STREAM.to_owned(),
        local: "stream".to_owned(),
        prefix: Some("stream".to_owned()),
        default_ns: Some(ns::SERVER.to_owned()),
        ..Header::default()
    }
}

/// As it comes out of the framing.
pub(super) fn element(xml: &str) -> Element {
    let rules =
        Rules { content_ns: ns::CLIENT, depth_max: 99, attributes_max: 99, children_max: 99 };
    let declared = crate::stanza::content::declared(xml.to_owned().into(), "db", ns::DIALBACK);
    gate::check(declared, &rules).unwrap()
}

/// What an item says, in short.
fn said(item: &Item) -> String {
    match item {
        Item::Header(greeting) => {
            let to = greeting.to.as_ref().map_or("-", |to| to.as_str());
            format!("header {} {to}", greeting.from)
        }
        Item::Features(children) => {
            let names = [
                ("starttls", "starttls"),
                ("EXTERNAL", "external"),
                ("<errors", "dialback"),
                ("features:bidi", "bidi"),
                ("xmpp:sm:3", "sm"),
                ("262144", "limits"),
            ];
            let has = names.iter().filter(|(mark, _)| children.contains(mark));
            let names: Vec<_> = has.map(|(_, name)| *name).collect();
            ["features", &names.join(" ")].join(" ").trim_end().to_owned()
        }
        Item::Element(bytes) => {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let element = element(&text);
            let attr = |name| element.attr(name).map(|v| format!(" {v}")).unwrap_or_default();
            let inner = element.children().next().map(|child| {
                let view = element.view();
                let child = view.root().child(child.ns, child.name).unwrap();
                match child.name() {
                    "error" => format!(" {}", child.first_child().unwrap().name()),
                    name => format!(" {name}"),
                }
            });
            let inner = inner.unwrap_or_default();
            format!("<{}{}{}{}{inner}>", element.tag_name(), attr("from"), attr("to"), attr("type"))
        }
        Item::Failure(failure) => format!("error {}", failure.error.condition()),
        Item::Close => "close".to_owned(),
    }
}

/// The outputs of the machine that is called, in short.
pub(super) fn of_incoming(outputs: &[incoming::Output]) -> Vec<String> {
    use incoming::Output;
    outputs
        .iter()
        .map(|output| match output {
            Output::Write(item) => said(item),
            Output::StartTls => "tls".to_owned(),
            Output::Verify { local, remote, .. } => format!("verify {local} {remote}"),
            Output::Authenticated { restart } => format!("authenticated {restart}"),
            Output::Paired { local, remote, how } => {
                format!("paired {local} {remote} {}", how.as_str())
            }
            Output::Refused { remote, .. } => format!("refused {remote}"),
            Output::Bidi(limits) => format!("bidi {}", limits.is_some()),
            Output::Stanza(stanza) => format!("stanza {}", stanza.name()),
            Output::Managed(element) => format!("managed {}", element.name()),
            Output::PeerFailed(failure) => format!("peer failed {}", failure.error.condition()),
            Output::End => "end".to_owned(),
        })
        .collect()
}

/// The outputs of the machine that calls, in short.
pub(super) fn of_outgoing(outputs: &[outgoing::Output]) -> Vec<String> {
    use outgoing::Output;
    outputs
        .iter()
        .map(|output| match output {
            Output::Write(item) => said(item),
            Output::StartTls => "tls".to_owned(),
            Output::Authenticated { restart } => format!("authenticated {restart}"),
            Output::Ready(ready) => {
                let flags = [("sm", ready.sm), ("bidi", ready.bidi), ("dialback", ready.dialback)];
                let flags: String = flags
                    .iter()
                    .filter(|(_, is)| *is)
                    .map(|(name, _)| format!(" {name}"))
                    .collect();
                let limits = ready.limits.and_then(|limits| limits.max_bytes).unwrap_or_default();
                format!("ready {}{flags} {limits}", ready.how.as_str())
            }
            Output::Paired { local, remote } => format!("paired {local} {remote}"),
            Output::PairFailed { local, remote, failure } => {
                format!("no pair {local} {remote}: {failure}")
            }
            Output::Verified { remote, stream_id, outcome, .. } => {
                let outcome = match outcome {
                    crate::stream::s2s::Outcome::Error(error) => error.condition.as_str(),
                    crate::stream::s2s::Outcome::Valid => "valid",
                    crate::stream::s2s::Outcome::Invalid => "invalid",
                };
                format!("verified {remote} {stream_id} {outcome}")
            }
            Output::Stanza(stanza) => format!("stanza {}", stanza.name()),
            Output::Managed(element) => format!("managed {}", element.name()),
            Output::Elsewhere(host) => format!("elsewhere {host}"),
            Output::PeerFailed(failure) => format!("peer failed {}", failure.error.condition()),
            Output::Failed(failure) => format!("failed: {failure}"),
            Output::End => "end".to_owned(),
        })
        .collect()
}
