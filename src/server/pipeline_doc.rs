//! docs/pipeline.md: which module does what to which stanza, in order. `tests/tidy` compares it,
//! so that a changed order shows in review.

use std::fmt::Write;

use crate::modules::api::{Module, Phase};
use crate::modules::{self, ALL, in_order};

/// docs/pipeline.md
pub fn pipeline_md() -> String {
    let mut out = String::from(
        "# What happens to a stanza\n\n\
         Generated from the code by `UPDATE_DOCS=1 cargo test --test tidy`; do not edit.\n\n",
    );
    passage(&mut out);
    to_client(&mut out);
    hooks(&mut out);
    requests(&mut out);
    out
}

/// Includes what the router itself does between the modules, so that the order is complete.
fn passage(out: &mut String) {
    out.push_str(
        "## Each stanza that a session sends\n\n\
         In this order. What an account keeps and who hears of it is decided with the account's lock.\n\n\
         | where | phase | who |\n|---|---|---|\n",
    );
    let outgoing =
        || in_order(ALL.iter().flat_map(|m| m.outgoing.iter().map(|h| (h.0, m.name, ()))));
    let incoming =
        || in_order(ALL.iter().flat_map(|m| m.incoming.iter().map(|h| (h.0, m.name, ()))));
    let sender = "the sender's account";
    let addressee = "the addressee's account";
    let claims = "`stanza/claims.rs`: what only the server may say is taken out";
    row(out, "the session", "Rewrite", claims);
    for module in ALL {
        for instruction in module.instructions {
            let what = format!(
                "`{}`: `{{{}}}{}` is taken out",
                module.name, instruction.ns, instruction.name
            );
            row(out, "the session", "Rewrite", &what);
        }
    }
    guards(out, sender);
    hooked(out, sender, outgoing(), |phase| phase == Phase::Archive);
    guards(out, addressee);
    row(out, addressee, "", "`router/rules.rs`: who gets it (RFC 6121 §8.5)");
    hooked(out, addressee, incoming(), |_| true);
    row(
        out,
        addressee,
        "",
        "`router/incoming.rs`: rows of both accounts are queued, frames go into the boxes",
    );
    hooked(out, sender, outgoing(), |phase| phase != Phase::Archive);
    row(out, sender, "", "`router/outgoing.rs`: copies go into the boxes");
}

/// The guards, which are asked before anything else of either account, and wherever its presence is shown.
fn guards(out: &mut String, at: &str) {
    for module in ALL.iter().filter(|module| module.guard.is_some()) {
        row(out, at, "Guard", &format!("`{}`", module.name));
    }
}

fn hooked(
    out: &mut String,
    at: &str,
    hooks: Vec<(Phase, &'static str, ())>,
    is: impl Fn(Phase) -> bool,
) {
    for (phase, module, ()) in hooks.into_iter().filter(|(phase, ..)| is(*phase)) {
        row(out, at, &format!("{phase:?}"), &format!("`{module}`"));
    }
}

fn row(out: &mut String, at: &str, phase: &str, who: &str) {
    let _ = writeln!(out, "| {at} | {phase} | {who} |");
}

fn to_client(out: &mut String) {
    out.push_str(
        "\n## Each stanza on its way to a session's client\n\n\
         Before it is written, in this order:\n\n",
    );
    out.push_str("| phase | module |\n|---|---|\n");
    let hooks = in_order(ALL.iter().flat_map(|m| m.to_client.iter().map(|h| (h.0, m.name, ()))));
    for (phase, module, ()) in hooks {
        let _ = writeln!(out, "| {phase:?} | `{module}` |");
    }
}

fn hooks(out: &mut String) {
    /// An event, and whether a module handles it.
    type Hook = (&'static str, fn(&Module) -> bool);
    const HOOKS: &[Hook] = &[
        ("stream features are offered", |m| m.stream_features.is_some()),
        ("a client binds with Bind 2, and may switch things on", |m| !m.inline.is_empty()),
        ("a client has bound with Bind 2", |m| m.bound.is_some()),
        ("sessions of an account come, go, or change their minds", |m| m.sessions.is_some()),
        ("a session broadcasts its presence", |m| m.broadcast.is_some()),
        ("a session's presence has taken effect", |m| m.presence_changed.is_some()),
        ("a session wants news of other nodes", |m| m.wanted_changed.is_some()),
        ("somebody is blocked", |m| m.blocks.is_some()),
        ("a session sends directed presence", |m| m.directed.is_some()),
        ("a session sends a subscription stanza", |m| m.subscription_out.is_some()),
        ("a local account gets a subscription stanza", |m| m.subscription_in.is_some()),
        ("a local account is probed", |m| m.probe.is_some()),
        ("a session sends an element that is no stanza", |m| !m.nonzas.is_empty()),
        ("a client says whether somebody looks at it", |m| m.quiet.is_some()),
        ("a session that can be resumed loses its connection", |m| m.disconnected.is_some()),
        ("a session waits to be resumed", |m| m.hibernates.is_some()),
        ("a session has left the registry", |m| m.resource_removed.is_some()),
        ("a session has left what its client did not take", |m| m.undelivered.is_some()),
        ("a session has ended", |m| m.session_ended.is_some()),
        ("a stanza is for a service of the module's", |m| m.service.is_some()),
        ("a request comes to a path of the module's on the web door", |m| m.web.is_some()),
        ("somebody asks for figures", |m| m.figures.is_some()),
        ("a client makes an account", |m| m.account_created.is_some()),
        ("an account is deleted", |m| m.account_deleted.is_some()),
        ("again and again, and after an account was deleted", |m| m.every.is_some()),
        ("all the time while the server runs", |m| m.background.is_some()),
    ];
    out.push_str("\n## Events\n\n| when | modules |\n|---|---|\n");
    for (when, wants) in HOOKS {
        let names: Vec<_> = modules::ALL
            .iter()
            .filter(|module| wants(module))
            .map(|module| format!("`{}`", module.name))
            .collect();
        let names = if names.is_empty() { "–".to_owned() } else { names.join(", ") };
        let _ = writeln!(out, "| {when} | {names} |");
    }
}

fn requests(out: &mut String) {
    out.push_str(
        "\n## Requests\n\nAny other to the server or to an account gets `service-unavailable`.\n\n\
         | payload | type | addressed to | module |\n|---|---|---|---|\n",
    );
    let mut rows = Vec::new();
    for module in modules::ALL {
        for route in module.iqs {
            for target in route.targets {
                rows.push((route.ns, route.name, format!("{:?}", route.ty), *target, module.name));
            }
        }
    }
    rows.sort_by(|a, b| (a.0, a.1, &a.2, a.4).cmp(&(b.0, b.1, &b.2, b.4)));
    for (ns, name, ty, target, module) in rows {
        let ty = ty.to_lowercase();
        let _ = writeln!(out, "| `{{{ns}}}{name}` | {ty} | {} | `{module}` |", to(target));
    }
}

const fn to(target: modules::api::Target) -> &'static str {
    use modules::api::Target;
    match target {
        Target::Server => "the server",
        Target::Own => "the own account",
        Target::Other => "another account",
        Target::Service => "a service",
        Target::Stream => "the stream, before authentication",
    }
}
