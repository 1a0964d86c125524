//! The files of the library, and the paths in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::root;

/// One file of the library, without comments and tests.
pub struct Source {
    /// From the top of the repository.
    pub name: String,
    /// `["modules", "ping"]`
    pub module: Vec<String>,
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
        Self { name, module, code, lines: before_tests.len() }
    }

    /// Every path into the crate, from its top: `crate::x::y`, `super::y`, `super::{y, z}`.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (start, base) in self.starts("crate::", &[]).chain(self.starts("super::", self.above()))
        {
            let mut base = base.to_vec();
            let mut rest = &self.code[start..];
            while let Some(further) = rest.strip_prefix("super::") {
                base.pop();
                rest = further;
            }
            for tail in tails(rest) {
                let tail = tail.split("::").map(|part| part.trim().to_owned());
                paths.push(base.iter().cloned().chain(tail).collect());
            }
        }
        paths
    }

    fn above(&self) -> &[String] {
        self.module.split_last().map_or(&[], |(_, above)| above)
    }

    /// Where a path starts with this word, and what the word stands for.
    fn starts<'a>(
        &'a self,
        word: &'a str,
        base: &'a [String],
    ) -> impl Iterator<Item = (usize, &'a [String])> {
        let whole = |at: &usize| {
            !self.code[..*at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c))
        };
        let found = self.code.match_indices(word).map(|(at, _)| at).filter(whole);
        found.map(move |at| (at + word.len(), base))
    }
}

/// `a::b` of `a::b;`, and each of `{a::x, b}`.
fn tails(rest: &str) -> Vec<String> {
    let path = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
            .collect()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![path(rest)] };
    let mut depth = 1;
    let end = group.find(|c| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0
    });
    group[..end.unwrap_or(group.len())].split(',').map(path).collect()
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
        if path.is_dir() && name != "tests" {
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
               crate::{base, store::Tx};\nsuper::super::net::x(); $crate::no::x; pub(crate) fn"
            .to_owned(),
        lines: 0,
    };
    let found: BTreeSet<_> = source.paths().iter().map(|path| path.join("::")).collect();
    for want in ["modules::caps", "modules::ping", "base", "store::Tx", "net::x"] {
        assert!(found.contains(want), "{want} in {found:?}");
    }
    assert!(found.iter().any(|path| path.starts_with("xml")));
    assert!(!found.iter().any(|path| path.starts_with("no")), "{found:?}");
}
