//! XEP-0280: Message Carbons: who wants copies. `stanza/fate.rs` says of what, `router/copies.rs`
//! makes them.

use std::future::ready;

use super::api::{Answer, Cx, Inline, IqRoute, Module, On, Reply, Spec, Target};
use super::SessionState;
use crate::stanza::StanzaError;
use crate::stanza::iq::IqType;
use crate::xml::ns;
use crate::xml::view::Node;

/// The module.
pub const MODULE: Module = Module {
    name: "carbons",
    specs: &[Spec::whole("XEP-0280", "1.0.1", "features/carbons.rs")],
    // XEP-0280 §3, §6.2
    features: &[On::Server(ns::CARBONS), On::Server("urn:xmpp:carbons:rules:0")],
    iqs: &[
        IqRoute { name: "enable", handler: |cx, _| switch(&cx, enable), ..OWN },
        IqRoute { name: "disable", handler: |cx, _| switch(&cx, disable), ..OWN },
        IqRoute { name: "enable", ..OTHER },
        IqRoute { name: "disable", ..OTHER },
    ],
    // XEP-0386 §3.2
    inline: &[Inline { ns: ns::CARBONS, handler: inline }],
    ..Module::EMPTY
};

const OWN: IqRoute = IqRoute {
    ty: IqType::Set,
    ns: ns::CARBONS,
    name: "",
    targets: &[Target::Own],
    handler: |cx, _| switch(&cx, |_| ()),
};

// XEP-0280 §4.1, §5.1: nobody switches another's, whether there is such an account or not.
const OTHER: IqRoute = IqRoute {
    targets: &[Target::Other],
    handler: |_, _| Box::pin(ready(Err(StanzaError::not_allowed()))),
    ..OWN
};

/// The session gets copies from now on. It does so over a resumption and a restart (XEP-0198), until
/// it says otherwise.
pub fn enable(cx: &Cx) {
    let who = &cx.who;
    cx.router.registry.with(who.jid.bare_str(), |user| user.want_copies(who.session));
}

/// The session gets no more copies.
pub fn disable(cx: &Cx) {
    let who = &cx.who;
    cx.router.registry.with(who.jid.bare_str(), |user| user.refuse_copies(who.session));
}

fn inline(cx: &Cx, _: &mut SessionState, wanted: Node<'_>) -> Vec<u8> {
    if wanted.name() == "enable" {
        enable(cx);
    }
    Vec::new()
}

/// XEP-0280 §10.1: as often as one likes.
fn switch(cx: &Cx, switch: fn(&Cx)) -> Answer<Result<Reply, StanzaError>> {
    switch(cx);
    Box::pin(ready(Ok(Reply::empty())))
}
