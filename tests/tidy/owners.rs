//! What is a feature's own stays with it: its number and namespaces out of the way of stanzas and out of
//! sessions, its settings and its state out of other modules.

use std::collections::BTreeSet;
use std::fs;

use stonechat::modules;

use super::names::{Parts, after, assert_listed, fields_of, named, numbers};
use super::source::{Source, sources};
use super::{assert_none, root};

/// The rooms that serve all features and know none by name.
const NAMELESS: &[&str] = &["router", "session"];

/// What is named there all the same: file, number or namespace, and why. To become fewer.
const NAMED: &[(&str, &str, &str)] = &[
    (
        "src/router/incoming.rs",
        "XEP-0085",
        "what an error to a chat state is worth: whether a message waits",
    ),
    (
        "src/router/incoming.rs",
        "XEP-0203",
        "the stamp of what waited, which delivery itself puts on",
    ),
    (
        "src/router/incoming.rs",
        "XEP-0280",
        "why an error to a session that is gone is not dropped: a comment",
    ),
    ("src/router/incoming.rs", "XEP-0334", "the hint whether a message waits"),
    ("src/router/outbox.rs", "XEP-0203", "the stamp of what waited"),
    ("src/router/account.rs", "XEP-0175", "what an account without rows is"),
    (
        "src/router/account.rs",
        "XEP-0198",
        "a session that waits to be resumed is a state of its entry",
    ),
    (
        "src/router/account.rs",
        "XEP-0388",
        "the device of a session, by which it is found and ended",
    ),
    (
        "src/router/rules.rs",
        "XEP-0280",
        "why all resources get what RFC 6121 leaves open: a comment",
    ),
    ("src/router/handled_count.rs", "XEP-0198", "counting what was handled"),
    ("src/session/binding.rs", "XEP-0198", "what is handed on of a session that ends"),
    (
        "src/session/confirmed.rs",
        "ns::PING",
        "asks a client without acknowledgements whether all arrived",
    ),
    ("src/session/context.rs", "XEP-0198", "where clients are asked to come back to"),
    ("src/session/context.rs", "XEP-0368", "TLS before the first byte"),
    ("src/session/delivery.rs", "XEP-0203", "the stamp of what waited"),
    ("src/session/delivery.rs", "XEP-0313", "why an id is taken off a message"),
    ("src/session/resume_table.rs", "XEP-0198", "resumption"),
    ("src/session/resume_table.rs", "XEP-0388", "the device of a session"),
    ("src/session/resume_table.rs", "XEP-0484", "how a login came"),
    ("src/session/enter.rs", "XEP-0198", "switched on while binding"),
    ("src/session/enter.rs", "XEP-0386", "binding"),
    ("src/session/enter.rs", "ns::BIND2", "binding"),
    ("src/session/enter.rs", "ns::SM", "switched on while binding"),
    ("src/session/fast.rs", "XEP-0388", "the login that a token is part of"),
    ("src/session/fast.rs", "XEP-0484", "tokens: to move to a module of logins"),
    ("src/session/inbound.rs", "XEP-0077", "ends the stream of an account that removed itself"),
    ("src/session/inbound.rs", "XEP-0198", "acknowledgements"),
    ("src/session/inbound.rs", "ns::SM", "acknowledgements"),
    ("src/session/stream_management.rs", "XEP-0198", "stream management"),
    ("src/session/stream_management.rs", "ns::SM", "stream management"),
    ("src/session/negotiate.rs", "XEP-0077", "requests before authentication"),
    ("src/session/negotiate.rs", "XEP-0198", "resumption"),
    ("src/session/negotiate.rs", "XEP-0368", "TLS before the first byte"),
    ("src/session/negotiate.rs", "XEP-0388", "authentication"),
    ("src/session/resumption.rs", "XEP-0198", "resumption"),
    ("src/session/bound.rs", "XEP-0198", "stream management is a part of a session"),
    ("src/session/hibernate.rs", "XEP-0198", "a session without a connection"),
    ("src/session/upgrade.rs", "XEP-0480", "keys of another hash, on the way to a login"),
    ("src/session/wire.rs", "XEP-0388", "the end of authentication without a new stream"),
];

/// Who reads settings or state of another module: file, whose, and why. To become fewer.
const READ: &[(&str, &str, &str)] = &[
    (
        "src/modules/invite/commands.rs",
        "register",
        "a link makes an account only where registration takes those who were invited",
    ),
    ("src/modules/invite/mod.rs", "register", "tokens are taken where registration is"),
    ("src/modules/invite/preauth.rs", "register", "tokens are taken where registration is"),
    (
        "src/modules/administration/effects.rs",
        "invite",
        "an operator's invitations are made as all are",
    ),
    (
        "src/modules/administration/effects.rs",
        "register",
        "an operator deletes an account by the same way as its owner",
    ),
    ("src/modules/mam/mod.rs", "search", "offers the field of a search"),
    ("src/modules/mam/search.rs", "search", "asks the index: the shelf is to become a part of mam"),
    (
        "src/modules/retraction.rs",
        "mam",
        "a retraction is kept in archives, so it is there where they are",
    ),
    ("src/modules/search.rs", "mam", "an index is there where an archive is"),
    ("src/session/fast.rs", "devices", "tokens: to move to a module of logins"),
];

/// Why a file names a number, a namespace or a module's part, if it may.
pub fn why(file: &str, name: &str) -> Option<&'static str> {
    let entry = NAMED.iter().chain(READ).find(|(at, what, _)| (*at, *what) == (file, name));
    entry.map(|(_, _, why)| *why)
}

/// A module reads its own settings (`config.NAME`), its own part of what is kept for the server
/// (`shared().NAME`), and its own state of accounts and sessions (`.NAME`).
#[test]
fn a_module_reads_only_what_is_its_own() {
    let parts = Parts::read();
    let found = named(reads_settings, |file| {
        let own = file.module.get(1).filter(|_| file.module[0] == "modules");
        let mut names = parts.named_in(file);
        names.retain(|name| Some(name) != own);
        names
    });
    assert_listed(&found, READ);
}

/// `docs/modules.md`: a feature is a file of its own.
#[test]
fn no_feature_is_named_where_all_are_served() {
    let namespaces = namespaces_of_features();
    let is_nameless =
        |file: &Source| file.module.first().is_some_and(|room| NAMELESS.contains(&room.as_str()));
    let found = named(is_nameless, |file| {
        let names = after(&file.code, "ns::").filter(|name| namespaces.contains(*name));
        numbers(file).chain(names.map(|name| format!("ns::{name}"))).collect()
    });
    assert_listed(&found, NAMED);
}

/// A hook that nobody uses is a promise that nobody keeps.
#[test]
fn every_hook_of_a_module_has_a_user() {
    let api = fs::read_to_string(root().join("src/modules/api/module.rs")).unwrap();
    let hooks = fields_of(&api, "Module");
    assert!(hooks.len() > 15, "found {hooks:?}");
    let tables = sources().into_iter().filter_map(|file| {
        let [room, ..] = file.module.as_slice() else { return None };
        let (_, table) = file.code.split_once("pub const MODULE: Module =")?;
        let (table, _) = table.split_once(";\n\n")?;
        (room == "modules").then(|| table.to_owned())
    });
    let tables: Vec<_> = tables.collect();
    assert_eq!(tables.len(), modules::ALL.len());
    let used = |hook: &&String| tables.iter().any(|table| table.contains(&format!(" {hook}: ")));
    let unused: Vec<_> = hooks.iter().filter(|hook| !used(hook)).cloned().collect();
    assert_none(&unused);
}

/// What is not in the catalogue is never prepared on PostgreSQL.
#[test]
fn all_sql_is_in_the_catalogue() {
    let catalogue = modules::sql::catalogue();
    let with_sql = sources().into_iter().filter(|file| file.code.contains("sql! {\n"));
    let mut files = 0;
    let mut wrong = Vec::new();
    for file in with_sql.filter(|file| file.name != "src/store/sql.rs") {
        files += 1;
        let of = format!("stonechat::{}::", file.module.join("::"));
        if !catalogue.iter().any(|(name, _)| name.strip_prefix(&of).is_some_and(is_word)) {
            wrong.push(format!("{}: its CATALOGUE is in no list", file.name));
        }
    }
    assert!(files > 15, "found {files}");
    assert_none(&wrong);
}

/// The engine behind a line: another one would be a folder beside this. What other servers keep in SQLite is read where
/// it is understood.
#[test]
fn sqlite_is_named_in_its_folder_alone() {
    let (inside, outside): (Vec<_>, Vec<_>) = sources()
        .into_iter()
        .filter(|file| file.code.contains("rusqlite") && !file.name.starts_with("src/moving/"))
        .partition(|file| file.name.starts_with("src/store/sqlite/"));
    assert!(inside.len() > 5, "found {}", inside.len());
    let wrong: Vec<_> = outside.into_iter().map(|file| file.name).collect();
    assert_none(&wrong);
}

fn is_word(name: &str) -> bool {
    !name.contains(':')
}

/// Modules, and whoever may hold their settings.
fn reads_settings(file: &Source) -> bool {
    let room = file.module.first().map(String::as_str);
    // The list of all of them, whose task it is.
    let lists = file.name == "src/modules/mod.rs";
    matches!(room, Some("modules" | "router" | "session")) && !lists
}

/// The constants of `xml/ns.rs` that a XEP gave.
fn namespaces_of_features() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("src/xml/ns.rs")).unwrap();
    let mut names = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let constant = lines.peek().and_then(|next| next.strip_prefix("pub const "));
        if let Some(constant) = constant.filter(|_| line.contains("XEP-")) {
            names.extend(constant.split(':').next().map(str::to_owned));
        }
    }
    assert!(names.len() > 20, "{names:?}");
    names
}
