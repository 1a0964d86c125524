//! Inside a room, too, files look one way: whoever changes one of a cycle must know all of them.
//!
//! How it counts: a file uses another one of its room when a path in it leads there, whether the path
//! starts with `crate::`, `super::`, `self::`, or with a child's name. What a file re-exports with
//! `pub use` counts for whoever takes it from there, as a use of the file that has it, and not for
//! the file that re-exports and does not use it: so a `mod.rs` that lists and names its children looks at none of them. A
//! method called on a value is no path, so an `impl` may stand in a file of its own. Parent and
//! child count like any two files: what children need of a parent that calls them is a file of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::assert_none;
use super::source::{Source, sources};

type Files = BTreeMap<Vec<String>, Source>;

#[test]
fn no_files_of_a_room_go_in_circles() {
    let found = cycles(&files());
    assert_none(
        &found.iter().map(|cycle| format!("a cycle: {}", cycle.join(" "))).collect::<Vec<_>>(),
    );
}

#[test]
fn circles_are_found() {
    let source = |name: &str, module: &[&str], code: &str| Source {
        name: name.to_owned(),
        module: module.iter().map(|&part| part.to_owned()).collect(),
        text: String::new(),
        code: code.to_owned(),
        lines: 0,
    };
    let found = |sources: &[(&str, &[&str], &str)]| {
        let files = sources.iter().map(|(name, module, code)| source(name, module, code));
        cycles(&files.map(|file| (file.module.clone(), file)).collect())
    };
    let a = ("a", &["r", "a"][..], "use crate::r::{x, b::{Y, Z}};");
    assert_eq!(found(&[a, ("b", &["r", "b"], "super::a::f();")]), [["a", "b"]]);
    assert!(found(&[a, ("b", &["r", "b"], "crate::s::a::f();")]).is_empty());
    // Through a third, and through what the parent re-exports.
    let b = ("b", &["r", "b"][..], "use super::C;");
    let c = ("c", &["r", "c"][..], "use crate::r::a;");
    let parent = ("mod", &["r"][..], "mod a;\npub(crate) mod c;\npub use c::{C, D};");
    assert_eq!(found(&[parent, a, b, c]), [["a", "b", "c"]]);
    // A parent that lists its children looks at none; one that calls them does.
    let child = ("c", &["r", "c"][..], "use super::T;");
    assert!(found(&[parent, child]).is_empty());
    let calls = ("mod", &["r"][..], "mod c;\nfn f() { c::f() }");
    assert_eq!(found(&[calls, child]), [["c", "mod"]]);
}

fn files() -> Files {
    let in_rooms = sources().into_iter().filter(|file| !file.module.is_empty());
    in_rooms.map(|file| (file.module.clone(), file)).collect()
}

/// Each cycle (all files that lead to each other), as sorted names.
fn cycles(files: &Files) -> Vec<Vec<String>> {
    let uses = uses(files);
    let reached: BTreeMap<_, _> = files.keys().map(|file| (file, reach(file, &uses))).collect();
    let mut cycles = BTreeSet::new();
    for file in files.keys() {
        let with = reached[file].iter().filter(|other| reached[*other].contains(file));
        let mut names: Vec<_> = with.map(|other| files[*other].name.clone()).collect();
        names.sort();
        if !names.is_empty() {
            cycles.insert(names);
        }
    }
    cycles.into_iter().collect()
}

/// All that a file leads to.
fn reach<'a>(
    from: &'a Vec<String>,
    uses: &BTreeMap<&'a Vec<String>, BTreeSet<&'a Vec<String>>>,
) -> BTreeSet<&'a Vec<String>> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        next.extend(uses[file].iter().copied().filter(|other| reached.insert(*other)));
    }
    reached
}

/// The other files of its room that each file uses.
fn uses(files: &Files) -> BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> {
    let exports: BTreeMap<_, _> = files.values().flat_map(Source::exports).collect();
    let used = |file: &Source| {
        let owners = file.uses().into_iter().filter_map(|path| owner(path, files, &exports));
        owners.filter(|other| other[0] == file.module[0] && **other != file.module).collect()
    };
    files.iter().map(|(module, file)| (module, used(file))).collect()
}

/// The file that a path leads to, through re-exports.
fn owner<'a>(
    mut path: Vec<String>,
    files: &'a Files,
    exports: &BTreeMap<Vec<String>, Vec<String>>,
) -> Option<&'a Vec<String>> {
    // No path goes through more of them.
    for _ in 0..8 {
        let ends = (1..=path.len()).rev();
        let Some((end, to)) = ends.filter_map(|end| Some((end, exports.get(&path[..end])?))).next()
        else {
            break;
        };
        path = to.iter().chain(&path[end..]).cloned().collect();
    }
    (1..=path.len()).rev().find_map(|end| Some(files.get_key_value(&path[..end])?.0))
}
