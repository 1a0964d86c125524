//! What `--from` can name.

use std::path::{Path, PathBuf};

use super::piece::{Source, SourceError};
use super::{ejabberd, openfire, prosody, xep0227};

/// A kind of data, what it is called in `--from`, and what reads it.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Before the colon.
    pub name: &'static str,
    /// What the path names, for people.
    pub path: &'static str,
    /// Opens it.
    pub open: fn(&Path) -> Result<Box<dyn Source>, SourceError>,
}

/// All of them.
pub const KINDS: &[Kind] = &[
    Kind { name: "xep0227", path: "FILE", open: xep0227::open },
    Kind { name: "prosody", path: "DIR", open: prosody::open },
    Kind { name: "ejabberd", path: "FILE", open: ejabberd::open },
    Kind { name: "openfire", path: "FILE", open: openfire::open },
];

/// Reads `KIND:PATH`; or says what there is.
pub fn parse(text: &str) -> Result<(&'static Kind, PathBuf), String> {
    let all = || {
        let all = KINDS.iter().map(|kind| format!("{}:{}", kind.name, kind.path));
        all.collect::<Vec<_>>().join(", ")
    };
    let (name, path) =
        text.split_once(':').filter(|(_, path)| !path.is_empty()).ok_or_else(|| {
            format!("`{text}` does not say of what kind the data is; write one of {}", all())
        })?;
    let kind = KINDS.iter().find(|kind| kind.name == name);
    let kind = kind.ok_or_else(|| format!("`{name}` is none of what can be read: {}", all()))?;
    Ok((kind, PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_by_kind_and_path() {
        let (kind, path) = parse("xep0227:/a:b.xml").unwrap();
        assert_eq!((kind.name, path), ("xep0227", PathBuf::from("/a:b.xml")));
        for bad in ["", "xep0227", "xep0227:", "cisco:/x"] {
            assert!(parse(bad).unwrap_err().contains("xep0227:FILE"), "{bad}");
        }
    }
}
