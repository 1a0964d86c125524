//! The files of Prosody's internal storage: `HOST/STORE/USER.dat` is a value, `.list` a list; names are
//! percent-encoded. No symbolic link is followed, and no path leaves the folder.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::lua::{self, List, Value};
use crate::moving::piece::SourceError;
use crate::moving::scan::{Bounds, Fault};

/// The folder that Prosody calls `data_path`.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

/// A list that is being read.
#[derive(Debug)]
pub struct OpenList {
    list: List<BufReader<File>>,
    path: PathBuf,
}

impl OpenList {
    /// The next item; none at the end.
    pub fn item(&mut self) -> Result<Option<Value>, SourceError> {
        let Self { list, path } = self;
        list.item().map_err(|fault| placed(path, &fault))
    }

    /// The file, and the line.
    pub fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.list.line())
    }
}

impl Folder {
    /// The folder at a path, which must be one.
    pub fn open(root: &Path) -> Result<Self, SourceError> {
        if !root.is_dir() {
            return Err(at(root, "is no folder"));
        }
        Ok(Self { root: root.to_owned() })
    }

    /// The domains that have a folder, in order.
    pub fn hosts(&self) -> Result<Vec<String>, SourceError> {
        let names = names(&self.root, fs::FileType::is_dir)?;
        Ok(names.iter().filter_map(|name| decoded(name)).collect())
    }

    /// The stores of a domain, in order.
    pub fn stores(&self, host: &str) -> Result<Vec<String>, SourceError> {
        let Some(folder) = self.within(&[&encoded(host)])? else { return Ok(Vec::new()) };
        Ok(names(&folder, fs::FileType::is_dir)?.into_iter().map(|it| unescaped(&it)).collect())
    }

    /// Who has something in a store, in order.
    pub fn users(&self, host: &str, store: &str) -> Result<Vec<String>, SourceError> {
        let Some(folder) = self.within(&[&encoded(host), &store_encoded(store)])? else {
            return Ok(Vec::new());
        };
        let files = names(&folder, fs::FileType::is_file)?;
        let users: BTreeSet<String> = files
            .iter()
            .filter_map(|name| name.strip_suffix(".dat").or_else(|| name.strip_suffix(".list")))
            .filter_map(decoded)
            .collect();
        Ok(users.into_iter().collect())
    }

    /// The value of a store.
    pub fn value(
        &self,
        host: &str,
        user: Option<&str>,
        store: &str,
    ) -> Result<Option<Value>, SourceError> {
        let Some((file, path)) = self.file(host, user, store, "dat")? else { return Ok(None) };
        let value = lua::one(BufReader::new(file), Bounds::DEFAULT);
        value.map(Some).map_err(|fault| placed(&path, &fault))
    }

    /// The list of a store.
    pub fn list(
        &self,
        host: &str,
        user: Option<&str>,
        store: &str,
    ) -> Result<Option<OpenList>, SourceError> {
        let Some((file, path)) = self.file(host, user, store, "list")? else { return Ok(None) };
        let list = List::new(BufReader::with_capacity(64 * 1024, file), Bounds::DEFAULT);
        Ok(Some(OpenList { list, path }))
    }

    /// A file that belongs to a store; none if it is not there.
    pub fn file(
        &self,
        host: &str,
        user: Option<&str>,
        store: &str,
        ending: &str,
    ) -> Result<Option<(File, PathBuf)>, SourceError> {
        let (host, store) = (encoded(host), store_encoded(store));
        let (folder, name) = match user {
            Some(user) => (self.within(&[&host, &store])?, format!("{}.{ending}", encoded(user))),
            None => (self.within(&[&host])?, format!("{store}.{ending}")),
        };
        let Some(folder) = folder else { return Ok(None) };
        let path = folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(it) if it.is_file() => {}
            Ok(_) => return Err(at(&path, "is no file of its own; links are not followed")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path, error)),
        }
        #[allow(clippy::cast_possible_wrap)] // flags
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        opened.map(|file| Some((file, path.clone()))).map_err(|error| at(&path, error))
    }

    /// A folder inside, each step of which is a folder and no link.
    fn within(&self, steps: &[&str]) -> Result<Option<PathBuf>, SourceError> {
        let mut path = self.root.clone();
        for step in steps {
            path.push(step);
            match fs::symlink_metadata(&path) {
                Ok(it) if it.is_dir() => {}
                Ok(_) => return Err(at(&path, "is no folder of its own; links are not followed")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(at(&path, error)),
            }
        }
        Ok(Some(path))
    }
}

fn at(path: &Path, what: impl ToString) -> SourceError {
    SourceError { place: path.display().to_string(), what: what.to_string() }
}

fn placed(path: &Path, fault: &Fault) -> SourceError {
    SourceError { place: format!("{}:{}", path.display(), fault.line), what: fault.what.clone() }
}

/// The names in a folder that are of a kind, in order; what is not UTF-8 was not written by Prosody.
fn names(folder: &Path, kind: fn(&fs::FileType) -> bool) -> Result<Vec<String>, SourceError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| at(folder, error))? {
        let entry = entry.map_err(|error| at(folder, error))?;
        if entry.file_type().is_ok_and(|it| kind(&it)) {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// As Prosody encodes a name: whatever is no ASCII letter or digit is `%` and two digits.
fn encoded(name: &str) -> String {
    encode(name, |byte| byte.is_ascii_alphanumeric())
}

/// The same of the name of a store, which may have `_`.
fn store_encoded(name: &str) -> String {
    encode(name, |byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn encode(name: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

/// The name that was encoded; none if Prosody would have written it in another way.
fn decoded(name: &str) -> Option<String> {
    let plain = unescaped(name);
    (encoded(&plain) == name && !plain.is_empty()).then_some(plain)
}

fn unescaped(name: &str) -> String {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let pair = after.get(..2).filter(|_| byte == b'%');
        let number = pair
            .filter(|pair| pair.iter().all(u8::is_ascii_hexdigit))
            .and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        if let Some(number) = number {
            out.push(number);
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_as_prosody_does() {
        for (plain, wanted) in [
            ("old.test", "old%2etest"),
            ("ümlaut", "%c3%bcmlaut"),
            ("percent%41", "percent%2541"),
            ("a'b", "a%27b"),
            ("..", "%2e%2e"),
            ("/etc/passwd", "%2fetc%2fpasswd"),
        ] {
            assert_eq!(encoded(plain), wanted);
            assert_eq!(decoded(wanted).as_deref(), Some(plain));
        }
        assert_eq!(store_encoded("pep_urn:x"), "pep_urn%3ax");
        for foreign in ["a.b", "%zz", "%", "..", "%41", ""] {
            assert_eq!(decoded(foreign), None, "{foreign}");
        }
    }

    fn link(to: &Path, at: &Path) {
        std::os::unix::fs::symlink(to, at).expect("a link");
    }

    #[test]
    fn no_link_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("data");
        fs::create_dir_all(root.join("a%2eb/roster")).expect("folders");
        fs::write(folder.path().join("secret.dat"), "return { 1 };").expect("a file");
        link(&folder.path().join("secret.dat"), &root.join("a%2eb/roster/eve.dat"));
        link(folder.path(), &root.join("a%2eb/vcard"));
        link(folder.path(), &root.join("c%2ed"));
        fs::write(root.join("a%2eb/roster/bob.dat"), "return { 1 };\n").expect("a file");
        let data = Folder::open(&root).expect("open");
        assert_eq!(data.hosts(), Ok(vec!["a.b".to_owned()]));
        assert_eq!(data.users("a.b", "roster"), Ok(vec!["bob".to_owned()]));
        assert!(data.value("a.b", Some("bob"), "roster").is_ok_and(|it| it.is_some()));
        let refused = data.value("a.b", Some("eve"), "roster").expect_err("a link");
        assert!(refused.what.contains("links are not followed"), "{refused}");
        assert!(data.value("a.b", Some("secret"), "vcard").is_err());
        assert!(data.users("c.d", "x").is_err());
    }
}
