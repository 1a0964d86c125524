//! RFC 3921 §3: session establishment, which RFC 6120 dropped and old clients still ask for.

use super::Config;
use super::api::{Answer, Cx, IqRoute, Module, Reply, Spec, Stage, State, Target};
use crate::stanza::StanzaError;
use crate::stanza::iq::{Iq, IqType};

/// Offered as optional and answered at once: the session exists since the resource was bound.
pub const MODULE: Module = Module {
    name: "session",
    specs: &[Spec {
        name: "RFC 3921 §3",
        version: "",
        state: State::Complete,
        test: "transcripts/3921-session.scs",
    }],
    iqs: &[IqRoute {
        ty: IqType::Set,
        ns: NS,
        name: "session",
        targets: &[Target::Own, Target::Server],
        handler: answer,
    }],
    stream_features: Some(offer),
    ..Module::EMPTY
};

/// The namespace of the request and of the stream feature.
const NS: &str = "urn:ietf:params:xml:ns:xmpp-session";

// COMPAT(strophe.js, mcabber): they send it when it is offered and wait for the answer; clients that
// support <optional/> save the round trip.
fn offer(_: &Config, stage: Stage) -> Option<String> {
    let feature = || format!("<session xmlns='{}'><optional/></session>", NS);
    (stage == Stage::Bind).then(feature)
}

fn answer(_: Cx, _: Iq) -> Answer<Result<Reply, StanzaError>> {
    Box::pin(std::future::ready(Ok(Reply::empty())))
}
