//! What the compiler does not check: floors, sizes, the module list, generated documents.
//! `UPDATE_DOCS=1 cargo test --test tidy` rewrites the documents.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod cost;
mod names;
mod owners;
mod rooms;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use source::sources;
use stonechat::modules;
use stonechat::server::{pipeline_doc, specs};

/// The floors of docs/architecture.md, lowest first.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["xml"],
    &["jid", "stanza"],
    &["stream", "store"],
    &["router"],
    &["modules", "admin"],
    &["session", "peer", "net", "moving"],
    &["server"],
];

/// Imports beside each other that are meant.
const BESIDE: &[(&str, &str)] = &[
    ("stanza", "jid"),
    ("modules", "admin"),
    ("net", "session"),
    ("net", "peer"),
    ("peer", "session"),
];

/// Modules that know another module.
const MODULES_BESIDE: &[(&str, &str)] = &[
    ("administration", "muc"),
    ("administration", "register"),
    ("administration", "teams"),
    ("disco", "caps"),
    ("invite", "subscription"),
    // A room has an archive, too.
    ("muc", "mam"),
    // A message that waits may be in the archive.
    ("offline", "mam"),
    ("pep", "caps"),
    ("pep", "pubsub"),
    ("register", "roster"),
    ("roster", "subscription"),
    // A component may act on rosters as their owners do.
    ("privilege", "roster"),
    ("privilege", "subscription"),
    // A team has rooms.
    ("teams", "bookmarks"),
    ("teams", "muc"),
    ("teams", "pep"),
    ("teams", "subscription"),
    // An account is a pubsub service, and its capabilities say what it hears of.
    ("pep", "caps"),
    ("pep", "pubsub"),
    ("pubsub_service", "pubsub"),
    // What they keep is in an account's nodes; a vCard shows the avatar.
    ("avatar", "pubsub"),
    ("bookmarks", "pep"),
    ("bookmarks", "pubsub"),
    ("push", "pubsub"),
    // A room tells the devices of members who are not there; their bookmarks say of what.
    ("muc", "push"),
    ("push", "bookmarks"),
    ("read_marks", "pep"),
    ("read_marks", "pubsub"),
    ("vcard", "avatar"),
    ("vcard", "pep"),
    ("vcard", "pubsub"),
];

/// Floors whose time and randomness are arguments (S7); the first five also have no tokio (I3).
const CORE: &[&str] = &["base", "xml", "jid", "stanza", "stream"];
const CLOCKLESS: &[&str] =
    &["base", "xml", "jid", "stanza", "stream", "store", "router", "modules"];

/// Files that may, with what.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The system's generator itself, made by the floors above.
    ("src/base/id.rs", "getrandom"),
    // The default for sort keys, under the lock of the store.
    ("src/store/options.rs", "SystemTime::now"),
    // How long a batch took, for the log.
    ("src/store/options.rs", "Instant::now"),
    // When a notification is due: a hook has only the wall clock, which may be set.
    ("src/modules/push/queue.rs", "Instant::now"),
    // How long a round may take, and how far apart rounds are.
    ("src/modules/muc/clock.rs", "Instant::now"),
];

/// Before its tests, as CONTRIBUTING.md says.
const LINES_MAX: usize = 500;

/// Files that are longer, and why. To become fewer.
const LONG: &[(&str, &str)] = &[
    ("src/modules/api/module.rs", "types that lead to each other, a line and its doc for each"),
    ("src/xml/framer.rs", "one automaton, whose states make no sense apart"),
];

#[test]
fn a_floor_looks_only_down() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(own) = file.module.first() else { continue };
        for path in file.paths() {
            let Some(other) = path.first().filter(|name| floor(name).is_some()) else { continue };
            let beside = own == other || BESIDE.contains(&(own.as_str(), other.as_str()));
            if floor(other) > floor(own) || (floor(other) == floor(own) && !beside) {
                wrong.push(format!("{}: {own} may not use {other}", file.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_room_has_a_floor() {
    for file in sources() {
        if let Some(room) = file.module.first() {
            assert!(floor(room).is_some(), "{}: put `{room}` on a floor", file.name);
        }
    }
}

#[test]
fn modules_do_not_know_each_other() {
    let names: BTreeSet<_> = modules::ALL.iter().map(|module| module.name).collect();
    let mut wrong = Vec::new();
    for file in sources() {
        let [floor, own, ..] = file.module.as_slice() else { continue };
        if floor != "modules" || !names.contains(own.as_str()) {
            continue;
        }
        for path in file.paths() {
            let [floor, other, ..] = path.as_slice() else { continue };
            let known = own == other || MODULES_BESIDE.contains(&(own.as_str(), other.as_str()));
            if floor == "modules" && names.contains(other.as_str()) && !known {
                wrong.push(format!("{}: {own} may not use {other}", file.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_core_has_no_clock_no_dice_and_no_runtime() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(room) = file.module.first().map(String::as_str) else { continue };
        let mut words = Vec::new();
        if CLOCKLESS.contains(&room) {
            words.extend(["SystemTime::now", "Instant::now", "now_utc", "now_local"]);
        }
        if CORE.contains(&room) {
            words.extend(["tokio", "getrandom", "rand::"]);
        }
        for word in words.into_iter().filter(|word| file.code.contains(word)) {
            if !EXCEPTIONS.contains(&(file.name.as_str(), word)) {
                wrong.push(format!("{}: {word}", file.name));
            }
        }
    }
    assert_none(&wrong);
}

/// What a stream is as bytes differs by transport: RFC 6120 §4.2, RFC 7395 §3.3.
#[test]
fn only_the_framing_writes_what_is_the_streams() {
    let mut wrong = Vec::new();
    for file in sources() {
        // The xml floor reads it.
        let may = file.name.starts_with("src/stream/framing")
            || file.module.first().is_some_and(|room| room == "xml");
        for word in ["<stream:", "</stream", "\"stream:"] {
            if !may && file.code.contains(word) {
                wrong.push(format!("{}: {word}", file.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for file in sources() {
        let listed = LONG.iter().any(|(name, _)| *name == file.name);
        if listed != (file.lines > LINES_MAX) {
            wrong
                .push(format!("{}: {} lines, and listed as long: {listed}", file.name, file.lines));
        }
    }
    let names: BTreeSet<_> = sources().into_iter().map(|file| file.name).collect();
    let gone = LONG.iter().filter(|(name, _)| !names.contains(*name));
    wrong.extend(gone.map(|(name, _)| format!("{name} is listed as long, and not there")));
    assert_none(&wrong);
}

#[test]
fn every_module_is_listed_and_shown_by_a_test() {
    let files: BTreeSet<_> = sources()
        .into_iter()
        .filter(|file| file.module.len() >= 2 && file.module[0] == "modules")
        .map(|file| file.module[1].clone())
        .filter(|name| {
            !["api", "ask", "beside", "declare", "drive", "serve", "features", "pipeline", "sql"]
                .contains(&name.as_str())
        })
        .collect();
    let listed: BTreeSet<_> = modules::ALL.iter().map(|module| module.name.to_owned()).collect();
    assert_eq!(files, listed, "src/modules against `modules!`");
    let names: Vec<_> = modules::ALL.iter().map(|module| module.name).collect();
    assert!(names.is_sorted(), "`modules!` is in name order");
    let mut wrong = Vec::new();
    // Bounds, a tool and a policy that are ours alone; and a domain for what another one implements.
    let own = ["echo", "pubsub_service", "quota", "strangers", "teams"];
    let without = modules::ALL.iter().filter(|module| module.specs.is_empty());
    for module in without.filter(|module| !own.contains(&module.name)) {
        wrong.push(format!("{} implements no specification", module.name));
    }
    for (_, spec) in specs::all() {
        let path = specs::path(spec.test);
        if !root().join(&path).is_file() {
            wrong.push(format!("{} has no test {path}", spec.name));
        }
        if spec.name.starts_with("XEP-") == spec.version.is_empty() {
            wrong.push(format!("{}: XEPs have a version, RFCs have none", spec.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_is_advertised_or_answered_twice() {
    let features = modules::ALL.iter().flat_map(|module| module.features);
    // A service's own route goes before one for all services.
    let all = modules::ALL.iter();
    let routes = all.flat_map(|module| module.iqs.iter().map(move |route| (module, route)));
    let nonzas = modules::ALL.iter().flat_map(|module| module.nonzas);
    let inline = modules::ALL.iter().flat_map(|module| module.inline);
    let commands =
        modules::ALL.iter().flat_map(|module| module.commands.iter().chain(module.server_commands));
    let once = nonzas
        .map(|nonza| format!("the element {{{}}}{}", nonza.ns, nonza.name))
        .chain(inline.map(|inline| format!("inline {}", inline.ns)))
        .chain(commands.map(|command| format!("the command {}", command.node)));
    let said = features.map(|on| format!("{on:?}")).chain(once).chain(routes.flat_map(
        |(module, route)| {
            let (ns, name, ty) = (route.ns, route.name, route.ty);
            route.targets.iter().map(move |target| {
                let own = format!("{target:?}") == "Service" && module.service.is_some();
                let whose = if own { module.name } else { "" };
                format!("{ty:?} {{{ns}}}{name} to {target:?} {whose}")
            })
        },
    ));
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = said.filter(|said| !seen.insert(said.clone())).collect();
    assert_none(&twice);
}

/// Whoever reads a claim may look it up in docs/specs.md.
#[test]
fn no_document_claims_more_than_the_code() {
    let known: BTreeSet<_> = specs::all().iter().map(|(_, spec)| spec.name.to_owned()).collect();
    let mut wrong = Vec::new();
    for name in ["README.md"] {
        let text = fs::read_to_string(root().join(name)).unwrap_or_default();
        for (at, _) in text.match_indices("XEP-") {
            let claimed: String = text[at..].chars().take(8).collect();
            let line = text[..at].rsplit('\n').next().unwrap_or_default();
            // A line that says what is not there yet starts with "Not".
            if !known.contains(&claimed) && !line.trim_start_matches("- ").starts_with("Not") {
                wrong.push(format!("{name}: {claimed}"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn documents_are_as_the_code_says() {
    for (path, text) in [
        ("docs/specs.md", specs::specs_md()),
        ("docs/cost.md", cost::cost_md()),
        ("docs/pipeline.md", pipeline_doc::pipeline_md()),
        ("stonechat.doap", specs::doap()),
    ] {
        let file = root().join(path);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let there = fs::read_to_string(&file).unwrap_or_default();
        assert!(there == text, "{path} is old: UPDATE_DOCS=1 cargo test --test tidy");
    }
}

/// docs/conformance-*.md name tests as `tests/file.rs::function` or `tests/transcripts/x.scs`, and code
/// by its path in `src`.
#[test]
fn what_the_conformance_tables_name_is_there() {
    let mut wrong = Vec::new();
    let mut tests = 0;
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("conformance-") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let rows = text.lines().filter(|line| line.starts_with('|'));
        for quoted in rows.flat_map(|row| row.split('`').skip(1).step_by(2)) {
            let (file, test) = quoted.split_once("::").unwrap_or((quoted, ""));
            if quoted.starts_with('<') || !file.contains('/') {
                continue;
            }
            let whole = file.starts_with("tests/") || file.starts_with("src/");
            let file = if whole { root().join(file) } else { root().join("src").join(file) };
            tests += usize::from(whole);
            let is_room = test.is_empty() && file.is_dir();
            let code = fs::read_to_string(&file).unwrap_or_default();
            let is_file =
                file.is_file() && (test.is_empty() || code.contains(&format!("fn {test}(")));
            if !is_room && !is_file {
                wrong.push(format!("{name}: {quoted}"));
            }
        }
    }
    assert!(tests > 50, "found {tests} tests");
    assert_none(&wrong);
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
