//! Who names what: a module's file, its part of the settings, of what is kept for the server and of the
//! state of accounts and sessions, and a specification's number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::source::{Source, sources};
use super::{assert_none, root};

/// What such files name, each with its file.
pub fn named(
    files: impl Fn(&Source) -> bool,
    names: impl Fn(&Source) -> BTreeSet<String>,
) -> BTreeSet<(String, String)> {
    let files = sources().into_iter().filter(|file| files(file));
    files
        .flat_map(|file| names(&file).into_iter().map(move |name| (file.name.clone(), name)))
        .collect()
}

/// Every entry of the list is needed, and nothing is missing in it.
pub fn assert_listed(found: &BTreeSet<(String, String)>, listed: &[(&str, &str, &str)]) {
    let listed: BTreeMap<_, _> = listed
        .iter()
        .map(|(file, name, why)| (((*file).to_owned(), (*name).to_owned()), *why))
        .collect();
    let new = found.iter().filter(|entry| listed.get(*entry).is_none_or(|why| why.is_empty()));
    let new = new.map(|(file, name)| format!("{file}: {name} is another's"));
    let gone = listed.keys().filter(|entry| !found.contains(*entry));
    let gone = gone.map(|(file, name)| format!("{file}: {name} needs no entry any more"));
    assert_none(&new.chain(gone).collect::<Vec<_>>());
}

/// The fields that `modules!` makes of its lines.
pub struct Parts {
    config: BTreeSet<String>,
    shared: BTreeSet<String>,
    state: BTreeSet<String>,
}

impl Parts {
    pub fn read() -> Self {
        Self {
            config: with(&["config"]),
            shared: with(&["shared"]),
            state: with(&["account", "resource", "session"]),
        }
    }

    /// The modules whose parts a file names.
    pub fn named_in(&self, file: &Source) -> BTreeSet<String> {
        let code: String = file.code.split_whitespace().collect();
        let words = ["config.", "settings.", "modules."];
        let settings = words.into_iter().flat_map(|word| after(&code, word));
        let settings = settings.filter(|name| self.config.contains(*name));
        let shared = after(&code, "shared().").filter(|name| self.shared.contains(*name));
        // Elsewhere fields of that name are others.
        let with_state = file.module.first().is_some_and(|room| ROOMS.contains(&room.as_str()));
        let states = after(&code, ".").filter(|name| with_state && self.state.contains(*name));
        settings.chain(shared).chain(states).map(str::to_owned).collect()
    }
}

/// Where the state of accounts and sessions is.
const ROOMS: &[&str] = &["modules", "router", "session"];

/// `XEP-0313`, of each number in a file; comments count: who reads them must not need to know a feature
/// to understand what is not its own.
pub fn numbers(file: &Source) -> impl Iterator<Item = String> + '_ {
    after(&file.text, "XEP-").map(|number| format!("XEP-{number}"))
}

/// The words that stand right behind another one.
pub fn after<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    // A word of its own: no end of a longer one.
    let begins = |at: &usize| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    code.match_indices(word).filter(move |(at, _)| begins(at)).map(move |(at, _)| {
        let rest = &code[at + word.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        // A method is nobody's state.
        if rest[end..].starts_with('(') { "" } else { &rest[..end] }
    })
}

pub fn fields_of(text: &str, of: &str) -> BTreeSet<String> {
    let (_, body) = text.split_once(&format!("pub struct {of} {{")).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let lines = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

/// The modules that have such a part in their line of `modules!`: `csi { config: csi::Config, … },`
fn with(parts: &[&str]) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("src/modules/mod.rs")).unwrap();
    let (_, list) = text.split_once("\nmodules! {").unwrap();
    let (list, _) = list.split_once("\n}").unwrap();
    let lines = list.lines().filter_map(|line| line.split_once(" { "));
    let has = |line: &str| parts.iter().any(|part| line.contains(&format!("{part}: ")));
    let names: BTreeSet<_> =
        lines.filter(|(_, line)| has(line)).map(|(name, _)| name.trim().to_owned()).collect();
    assert!(names.len() > 2, "{parts:?}: {names:?}");
    names
}
