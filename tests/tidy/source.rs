//! The files of the library, and the paths in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::root;

/// One file of the library.
pub struct Source {
    /// From the top of the repository.
    pub name: String,
    /// `["modules", "ping"]`
    pub module: Vec<String>,
    /// As it is, without tests.
    pub text: String,
    /// The same without comments.
    pub code: String,
    pub lines: usize,
}

impl Source {
    fn read(path: &Path) -> Self {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let module = name.trim_start_matches("src/").trim_end_matches(".rs");
        let module = module.trim_end_matches("lib").trim_end_matches("main");
        let mut module: Vec<_> =
            module.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let text = fs::read_to_string(path).unwrap();
        let before_tests: Vec<_> = text.lines().take_while(|line| *line != "mod tests {").collect();
        let code = before_tests.iter().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.copied().collect::<Vec<_>>().join("\n");
        Self { name, module, text: before_tests.join("\n"), code, lines: before_tests.len() }
    }

    /// Every path into the crate, from its top: `crate::x::y`, `super::y`, `super::{y, z::{a, b}}`.
    pub fn paths(&self) -> Vec<Vec<String>> {
        self.paths_in(&self.code)
    }

    /// The same without what is only re-exported, and with the paths that start with the name of a child.
    pub fn uses(&self) -> Vec<Vec<String>> {
        let mut code = self.code.clone();
        for export in statements(&self.code, is_export) {
            code = code.replace(export, "");
        }
        let children = statements(&self.code, |line| line.contains("mod ") && line.ends_with(';'));
        for child in &children {
            code = code.replace(child, "");
        }
        let mut paths = self.paths_in(&code);
        // What is re-exported and used here, too.
        let exports = self.exports().into_iter().map(|(_, path)| path);
        paths.extend(exports.filter(|path| path.last().is_some_and(|name| has_word(&code, name))));
        for line in children {
            let child = line.trim_end_matches(';').rsplit(' ').next().unwrap_or_default();
            paths.extend(starts(&code, &format!("{child}::")).flat_map(|start| {
                let at = start - child.len() - 2;
                expanded(&code[at..]).into_iter().map(|tail| self.joined(&self.module, &tail))
            }));
        }
        paths
    }

    /// What `pub use` names here, and where it is: from the top of the crate, both.
    pub fn exports(&self) -> Vec<(Vec<String>, Vec<String>)> {
        let mut exports = Vec::new();
        for export in statements(&self.code, is_export) {
            let Some((_, path)) = export.split_once(" use ") else { continue };
            for tail in expanded(path) {
                let there = match tail.split_once("::") {
                    Some(("crate", tail)) => self.joined(&[], tail),
                    Some(("super", tail)) => self.joined(self.above(), tail),
                    Some(("self", tail)) => self.joined(&self.module, tail),
                    _ => self.joined(&self.module, &tail),
                };
                let name = there.last().cloned().unwrap_or_default();
                exports.push((self.joined(&self.module, &name), there));
            }
        }
        exports
    }

    fn paths_in(&self, code: &str) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        let words = [("crate::", &[][..]), ("super::", self.above()), ("self::", &self.module)];
        for (word, base) in words {
            for start in starts(code, word) {
                let (mut base, mut rest) = (base, &code[start..]);
                while let Some(further) = rest.strip_prefix("super::") {
                    base = base.split_last().map_or(&[], |(_, above)| above);
                    rest = further;
                }
                paths.extend(expanded(rest).iter().map(|tail| self.joined(base, tail)));
            }
        }
        paths
    }

    fn joined(&self, base: &[String], tail: &str) -> Vec<String> {
        let tail = tail.split("::").filter(|part| !part.is_empty() && *part != "self");
        base.iter().cloned().chain(tail.map(str::to_owned)).collect()
    }

    fn above(&self) -> &[String] {
        self.module.split_last().map_or(&[], |(_, above)| above)
    }
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|other| other == word)
}

fn is_export(line: &str) -> bool {
    line.starts_with("pub") && line.contains(" use ")
}

/// Declarations at the top of a file, up to their semicolons.
fn statements(code: &str, is: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in code.split_inclusive('\n') {
        if is(line.trim_end()) {
            let end = code[start..].find(';').map_or(code.len(), |end| start + end + 1);
            found.push(&code[start..end]);
        }
        start += line.len();
    }
    found
}

/// Behind each place where a path starts with this word.
fn starts<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    // Nor does it start behind `pub(in`, which uses nothing.
    let whole = |at: &usize| {
        let before = &code[..*at];
        !before.ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c))
            && !before.ends_with("pub(in ")
    };
    code.match_indices(word).map(|(at, _)| at).filter(whole).map(move |at| at + word.len())
}

/// `a::b` of `a::b;`, and each of `a::{b, c::{d, e}}`.
fn expanded(text: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let text = text.trim_start();
    let (path, rest) = text.split_at(text.find(|c| !is_path(c)).unwrap_or(text.len()));
    if !rest.starts_with('{') || !(path.is_empty() || path.ends_with("::")) {
        return vec![path.to_owned()];
    }
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in rest.chars() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        match c {
            '}' if depth == 0 => break,
            '{' if depth == 1 => {}
            ',' if depth == 1 => parts.push(String::new()),
            c => parts.last_mut().unwrap().push(c),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expanded(part)).map(|part| format!("{path}{part}")).collect()
}

pub fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    assert!(files.len() > 50, "found {} files", files.len());
    files.iter().map(|path| Source::read(path)).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["tests", "testing"].contains(&name.as_str()) {
            walk(&path, files);
        } else if name.ends_with(".rs") && !["tests.rs", "testing.rs"].contains(&name.as_str()) {
            files.push(path);
        }
    }
}

#[test]
fn paths_are_found() {
    let source = Source {
        name: String::new(),
        module: vec!["modules".to_owned(), "disco".to_owned()],
        code: "use crate::xml::{ns, Xml};\nuse super::caps;\nuse super::{api::{Cx}, ping};\n\
               crate::{base, store::{Tx, x::{Y, self}}};\nsuper::super::net::x(); $crate::no::x; pub(crate) fn"
            .to_owned(),
        text: String::new(),
        lines: 0,
    };
    let found: BTreeSet<_> = source.paths().iter().map(|path| path.join("::")).collect();
    for want in ["modules::caps", "modules::ping", "base", "store::Tx", "store::x::Y", "net::x"] {
        assert!(found.contains(want), "{want} in {found:?}");
    }
    assert!(found.iter().any(|path| path.starts_with("xml")));
    assert!(!found.iter().any(|path| path.starts_with("no")), "{found:?}");
}
