//! Unpacks Converse.js from a package of npm's, which is foreign: nothing is written outside its folder, and no
//! more than has room.

use crate::net::web::{CONVERSE_SCRIPT, CONVERSE_STYLE};
use flate2::read::GzDecoder;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Entry, EntryType, PaxExtensions};

/// What was unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unpacked {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// Why nothing was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the file cannot be read: {0}")]
    Read(io::Error),
    #[error("{0} cannot be written: {1}")]
    Write(PathBuf, io::Error),
    #[error("its entry {0:?} leads out of the folder")]
    Path(String),
    #[error("its entry {0:?} is no plain file")]
    Type(String),
    #[error("it is larger than any release of Converse.js")]
    Size,
    #[error("it has no dist/{CONVERSE_SCRIPT} and dist/{CONVERSE_STYLE}")]
    Missing,
    #[error("{0} is something else than Converse.js, and was left alone")]
    Occupied(PathBuf),
}

impl Fault {
    /// What to do.
    pub(super) fn fix(&self) -> &'static str {
        match self {
            Self::Read(_) | Self::Missing => {
                "get it by `npm pack converse.js`, and name the file that this makes"
            }
            Self::Path(_) | Self::Type(_) | Self::Size => {
                "do not use this file: it is none that npm has made of Converse.js"
            }
            Self::Write(..) => {
                "run the command as a user who may write there, and look at the room on the disk"
            }
            Self::Occupied(_) => "set web.converse to another folder, or take this one away",
        }
    }
}

/// Unpacks a package into a folder, in place of what was unpacked there before.
pub(super) fn unpack(file: &Path, folder: &Path) -> Result<Unpacked, Fault> {
    if folder.exists() && !is_client(folder) {
        return Err(Fault::Occupied(folder.to_owned()));
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or_else(|| Path::new("."));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Fault::Write(path, error)
    };
    let scratch = tempfile::Builder::new().prefix(".converse-").tempdir_in(above);
    let scratch = scratch.map_err(failed(above))?;
    let (new, old) = (scratch.path().join("new"), scratch.path().join("old"));
    make_folder(&new).map_err(failed(&new))?;
    let opened = File::open(file).map_err(Fault::Read)?;
    let unpacked = unpack_all(GzDecoder::new(BufReader::new(opened)), &new)?;
    if !is_client(&new) {
        return Err(Fault::Missing);
    }
    if folder.exists() {
        fs::rename(folder, &old).map_err(failed(folder))?;
    }
    if let Err(error) = fs::rename(&new, folder) {
        // The one that was there is there again, or what is in the scratch folder would go with it.
        if old.exists() {
            fs::rename(&old, folder).map_err(failed(folder))?;
        }
        return Err(failed(folder)(error));
    }
    Ok(unpacked)
}

/// Whether browsers could be given what is in a folder.
pub(super) fn is_client(folder: &Path) -> bool {
    let dist = folder.join(DIST);
    dist.join(CONVERSE_SCRIPT).is_file() && dist.join(CONVERSE_STYLE).is_file()
}

fn unpack_all(packed: impl Read, to: &Path) -> Result<Unpacked, Fault> {
    let mut done = Unpacked { files: 0, bytes: 0 };
    // What is not wanted is unpacked, too, to be passed over.
    let mut archive = Archive::new(packed.take(READ_BYTES_MAX));
    // As it is: of what an entry says of the next one it would else read all, however long.
    let entries = archive.entries().map_err(Fault::Read)?.raw(true);
    let mut said = Said::default();
    for (count, entry) in entries.enumerate() {
        let mut entry = entry.map_err(Fault::Read)?;
        if count >= ENTRIES_MAX {
            return Err(Fault::Size);
        }
        let kind = entry.header().entry_type();
        if said.takes(kind, &mut entry)? {
            continue;
        }
        let Said { path, size } = std::mem::take(&mut said);
        let path = path.unwrap_or_else(|| entry.path_bytes().into_owned());
        let name = String::from_utf8_lossy(&path).into_owned();
        match kind {
            EntryType::Regular if size.is_none_or(|size| size == entry.size()) => {}
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            _ => return Err(Fault::Type(name)),
        }
        let path = Path::new(OsStr::from_bytes(&path));
        let Some(path) = inside(path).ok_or(Fault::Path(name))?.filter(|path| is_wanted(path))
        else {
            continue;
        };
        let target = to.join(&path);
        let failed = |error| Fault::Write(target.clone(), error);
        if let Some(above) = path.parent() {
            make_folders(to, above).map_err(failed)?;
        }
        if entry.size() > FILE_BYTES_MAX {
            return Err(Fault::Size);
        }
        // The same name twice is no package of npm's.
        let mut file = File::create_new(&target).map_err(failed)?;
        done.bytes += io::copy(&mut entry, &mut file).map_err(failed)?;
        done.files += 1;
        file.set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
        if done.bytes > BYTES_MAX {
            return Err(Fault::Size);
        }
    }
    Ok(done)
}

/// What entries before an entry say of it.
#[derive(Debug, Default)]
struct Said {
    /// Where its own field was too short for its path.
    path: Option<Vec<u8>>,
    /// The same for its size; but npm's packages have no such files.
    size: Option<u64>,
}

impl Said {
    /// Reads an entry of that kind; false if it is none.
    fn takes(&mut self, kind: EntryType, entry: &mut Entry<'_, impl Read>) -> Result<bool, Fault> {
        if !matches!(kind, EntryType::XHeader | EntryType::GNULongName) {
            return Ok(false);
        }
        if entry.size() > SAID_BYTES_MAX {
            return Err(Fault::Size);
        }
        let mut body = Vec::new();
        entry.read_to_end(&mut body).map_err(Fault::Read)?;
        if kind == EntryType::GNULongName {
            let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
            body.truncate(end);
            self.path = Some(body);
            return Ok(true);
        }
        for one in PaxExtensions::new(&body) {
            let one = one.map_err(Fault::Read)?;
            match one.key() {
                Ok("path") => self.path = Some(one.value_bytes().to_owned()),
                Ok("size") => {
                    let size = one.value().ok().and_then(|size| size.parse().ok());
                    self.size = Some(size.ok_or(Fault::Size)?);
                }
                _ => {}
            }
        }
        Ok(true)
    }
}

/// The path below the package's one folder, `Some(None)` for that folder itself; `None` for a path that leads
/// anywhere else.
fn inside(path: &Path) -> Option<Option<PathBuf>> {
    let mut parts = path.components();
    matches!(parts.next(), Some(Component::Normal(_))).then_some(())?;
    let rest = parts.as_path();
    let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| (!rest.as_os_str().is_empty()).then(|| rest.to_owned()))
}

/// What browsers need, and under which terms it stands; not what only its developers read.
fn is_wanted(path: &Path) -> bool {
    let is_map = path.extension().is_some_and(|end| end == "map");
    let is_terms = ["LICENSE", "COPYRIGHT"].iter().any(|name| path == Path::new(name));
    (path.starts_with(DIST) && !is_map) || is_terms
}

fn make_folders(at: &Path, below: &Path) -> io::Result<()> {
    let mut folder = at.to_owned();
    for part in below.components() {
        folder.push(part);
        if !folder.is_dir() {
            make_folder(&folder)?;
        }
    }
    Ok(())
}

/// For the server's user, whoever unpacks.
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

const DIST: &str = "dist";
/// Files and folders: version 14 has 1,923.
const ENTRIES_MAX: usize = 20_000;
/// What an entry may say of the next one: a path, and a few numbers.
const SAID_BYTES_MAX: u64 = 16 << 10;
/// Of one file: the largest of version 14 has 6 MB.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Of all that are kept: version 14 has 10 MB.
const BYTES_MAX: u64 = 256 << 20;
/// Of all that is unpacked: version 14 has 30 MB.
const READ_BYTES_MAX: u64 = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    /// A package; the paths are written as they are, as nobody's tool would.
    fn package(at: &Path, entries: &[(&str, EntryType, &[u8])]) -> PathBuf {
        let path = at.join("package.tgz");
        let mut builder =
            Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        for (name, ty, content) in entries {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*ty);
            header.set_size(content.len() as u64);
            header.set_mode(0o7777);
            if *ty != EntryType::Regular {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        path
    }

    const FILE: EntryType = EntryType::Regular;
    const SCRIPT: (&str, EntryType, &[u8]) = ("package/dist/converse.min.js", FILE, b"1");
    const STYLE: (&str, EntryType, &[u8]) = ("package/dist/converse.min.css", FILE, b"22");

    #[test]
    fn what_browsers_need_is_unpacked_in_place_of_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("converse");
        let more = [
            SCRIPT,
            STYLE,
            ("package/LICENSE", FILE, b"terms"),
            ("package/dist/locales/de.js", FILE, b"de"),
            ("package/dist/converse.min.js.map", FILE, b"map"),
            ("package/src/index.js", FILE, b"source"),
            ("package/dist/empty/", EntryType::Directory, b""),
        ];
        let file = package(folder.path(), &more);
        assert_eq!(unpack(&file, &to).unwrap(), Unpacked { files: 4, bytes: 10 });
        let read = |name: &str| fs::read(to.join(name)).ok();
        assert_eq!(read("dist/locales/de.js").as_deref(), Some(&b"de"[..]));
        assert_eq!((read("dist/converse.min.js.map"), read("src/index.js")), (None, None));
        let mode = |name: &str| fs::metadata(to.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("dist"), mode("dist/converse.min.js")), (0o755, 0o644));
        let file = package(folder.path(), &[SCRIPT, STYLE]);
        assert_eq!(unpack(&file, &to).unwrap().files, 2);
        assert_eq!(read("dist/locales/de.js"), None);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn nothing_foreign_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a/converse");
        fs::create_dir(folder.path().join("a")).unwrap();
        for (entry, says) in [
            (("../dist/x", FILE, &b"x"[..]), "leads out"),
            (("package/../../x", FILE, b"x"), "leads out"),
            (("package/dist/../../../x", FILE, b"x"), "leads out"),
            (("/etc/x", FILE, b"x"), "leads out"),
            (("package/dist/x", EntryType::Symlink, b""), "no plain file"),
            (("package/dist/x", EntryType::Link, b""), "no plain file"),
            (("package/dist/x", EntryType::Fifo, b""), "no plain file"),
            (("package/dist/x", EntryType::Char, b""), "no plain file"),
            (("package/dist/converse.min.js", FILE, b"twice"), "cannot be written"),
        ] {
            let file = package(folder.path(), &[SCRIPT, STYLE, entry]);
            let told = unpack(&file, &to).unwrap_err().to_string();
            assert!(told.contains(says), "{}: {told}", entry.0);
            assert!(!to.exists());
        }
        let told = unpack(&package(folder.path(), &[SCRIPT]), &to).unwrap_err().to_string();
        assert!(told.contains("converse.min.css"), "{told}");
        let file = folder.path().join("package.tgz");
        fs::write(&file, b"no gzip").unwrap();
        assert!(matches!(unpack(&file, &to), Err(Fault::Read(_))));
        assert!(matches!(unpack(&folder.path().join("none"), &to), Err(Fault::Read(_))));
        fs::create_dir(&to).unwrap();
        fs::write(to.join("mine"), b"mine").unwrap();
        let file = package(folder.path(), &[SCRIPT, STYLE]);
        assert!(matches!(unpack(&file, &to), Err(Fault::Occupied(_))));
        assert_eq!(fs::read(to.join("mine")).unwrap(), b"mine");
        let left: Vec<_> = fs::read_dir(folder.path().join("a")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    /// Long paths come in entries of their own, in two ways; what is longer is no path.
    #[test]
    fn what_is_said_of_the_next_entry_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("converse");
        let long = format!("package/dist/{}.js", "a".repeat(150));
        let pax = |key: &str, value: &str| {
            let rest = format!(" {key}={value}\n");
            // The length counts itself.
            format!("{}{rest}", rest.len() + 3)
        };
        let (gnu, same) = (format!("{long}\0"), pax("path", &long));
        let short = ("package/dist/a", FILE, &b"x"[..]);
        for said in [
            ("././@LongLink", EntryType::GNULongName, gnu.as_bytes()),
            ("PaxHeader/a", EntryType::XHeader, same.as_bytes()),
        ] {
            let file = package(folder.path(), &[SCRIPT, STYLE, said, short]);
            assert_eq!(unpack(&file, &to).unwrap().files, 3, "{}", said.0);
            assert!(to.join(&long["package/".len()..]).exists());
        }
        let huge = vec![b'a'; (SAID_BYTES_MAX + 1) as usize];
        for kind in [EntryType::GNULongName, EntryType::XHeader] {
            let file = package(folder.path(), &[SCRIPT, STYLE, ("long", kind, &huge), short]);
            assert!(matches!(unpack(&file, &to), Err(Fault::Size)));
        }
        // One tool would see another file in it than the next one.
        let lie = format!("{}{}", "10", " size=0\n");
        let file = package(
            folder.path(),
            &[SCRIPT, STYLE, ("x", EntryType::XHeader, lie.as_bytes()), short],
        );
        assert!(unpack(&file, &to).is_err());
    }

    /// A few kilobytes that would be gigabytes.
    #[test]
    fn what_unpacks_without_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("converse");
        let zeros = vec![0; (FILE_BYTES_MAX + 1) as usize];
        let large = ("package/dist/large", FILE, &zeros[..]);
        let file = package(folder.path(), &[SCRIPT, STYLE, large]);
        assert!(fs::metadata(&file).unwrap().len() < 1_000_000);
        assert!(matches!(unpack(&file, &to), Err(Fault::Size)));
    }
}
