//! docs/pipeline.md: which module does what to which stanza, in order. `tests/tidy.rs` compares it,
//! so that a changed order shows in review.

use std::fmt::Write;

use crate::modules;
use crate::modules::api::Module;

/// docs/pipeline.md
pub fn pipeline_md() -> String {
    let mut out = String::from(
        "# What happens to a stanza\n\n\
         Generated from the code by `UPDATE_DOCS=1 cargo test --test tidy`; do not edit.\n\n",
    );
    from_client(&mut out);
    hooks(&mut out);
    requests(&mut out);
    out
}

fn from_client(out: &mut String) {
    out.push_str(
        "## Each stanza that a session sends\n\nBefore it is routed, in this order:\n\n\
         | phase | module |\n|---|---|\n",
    );
    let mut hooks: Vec<_> = modules::ALL
        .iter()
        .flat_map(|module| module.from_client.iter().map(|(phase, _)| (*phase, module.name)))
        .collect();
    hooks.sort_unstable();
    for (phase, module) in &hooks {
        let _ = writeln!(out, "| {phase:?} | `{module}` |");
    }
    if hooks.is_empty() {
        out.push_str("| – | nothing yet |\n");
    }
}

fn hooks(out: &mut String) {
    /// What happens, and whether a module wants to hear of it.
    type Hook = (&'static str, fn(&Module) -> bool);
    const HOOKS: &[Hook] = &[
        ("stream features are offered", |m| m.stream_features.is_some()),
        ("a client binds with Bind 2, and may switch things on", |m| !m.inline.is_empty()),
        ("a client has bound with Bind 2", |m| m.bound.is_some()),
        ("a session broadcasts its presence", |m| m.broadcast.is_some()),
        ("a session sends directed presence", |m| m.directed.is_some()),
        ("a session sends a subscription stanza", |m| m.subscription_out.is_some()),
        ("a local account gets a subscription stanza", |m| m.subscription_in.is_some()),
        ("a local account is probed", |m| m.probe.is_some()),
        ("a session has left the registry", |m| m.gone.is_some()),
        ("a session has ended", |m| m.unbound.is_some()),
        ("an account is deleted", |m| m.account_deleted.is_some()),
        ("again and again, and after an account was deleted", |m| m.every.is_some()),
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
        Target::Stream => "the stream, before authentication",
    }
}
