//! The uploaded files that a database speaks of, beside a backup of it (`today.db.uploads` beside `today.db`) and back.
//! A file never changes once it is there, so a second name of it is a copy where the file system has links.

use super::files;
use crate::base::id::is_random;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Uploaded files that went with a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uploads {
    /// Where they are.
    pub folder: PathBuf,
    /// How many the database speaks of.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them were not to be found.
    pub missing: usize,
}

/// Where uploaded files are, beside their database.
pub(in crate::store) fn of_database(database: &Path) -> PathBuf {
    files::folder(database).join(FOLDER)
}

/// Where they are beside a backup.
pub(in crate::store) fn of_backup(backup: &Path) -> PathBuf {
    files::with_suffix(backup, BESIDE)
}

/// Where they are until all of them are there: what is here was left by a backup that was killed.
pub(in crate::store) fn of_part(backup: &Path) -> PathBuf {
    files::with_suffix(&of_backup(backup), PART)
}

/// The folder in the data folder.
pub const FOLDER: &str = "uploads";
const BESIDE: &str = ".uploads";
const PART: &str = ".part";

/// A file, and its size.
type Known = (String, u64);

/// The files that a database speaks of. Earlier schemas have no table of them.
pub(in crate::store) fn known(database: &Path) -> rusqlite::Result<Vec<Known>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(database, flags)?;
    if conn.query_row(HAS_TABLE, [], |_| Ok(())).optional()?.is_none() {
        return Ok(Vec::new());
    }
    let mut all = conn.prepare(KNOWN)?;
    let rows = all.query_map([], |row| {
        let size: i64 = row.get(1)?;
        Ok((row.get::<_, String>(0)?, u64::try_from(size).unwrap_or(0)))
    })?;
    let mut known = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    // Whoever made the file, nothing leads out of the folder.
    known.retain(|(id, _)| is_random(id));
    Ok(known)
}

const HAS_TABLE: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'upload'";
const KNOWN: &str = "SELECT id, size FROM upload WHERE token IS NULL AND expires > 0";

/// A folder beside a backup that goes again unless it is kept.
pub(super) struct Beside {
    uploads: Uploads,
    kept: bool,
}

impl Beside {
    /// Gives files their second names, durable, in [`of_part`]; none if there are no files.
    pub(super) fn make(
        known: &[Known],
        from: &Path,
        target: &Path,
        stopped: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        if known.is_empty() {
            return Ok(None);
        }
        let folder = of_part(target);
        clear(&folder)?;
        files::private_folder().recursive(false).create(&folder)?;
        let uploads = Uploads { folder, files: known.len(), ..Uploads::default() };
        let mut made = Self { uploads, kept: false };
        for (id, size) in known {
            if stopped() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match bring(id, *size, from, &made.uploads.folder, None)? {
                true => made.uploads.bytes += size,
                false => made.uploads.missing += 1,
            }
        }
        File::open(&made.uploads.folder)?.sync_all()?;
        Ok(Some(made))
    }

    /// Gives the folder its name, durable. The files of another backup stay what they are: an error.
    pub(super) fn name(&mut self, target: &Path) -> io::Result<()> {
        let folder = of_backup(target);
        if fs::symlink_metadata(&folder).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(&self.uploads.folder, &folder)?;
        self.uploads.folder = folder;
        files::sync_folder(target)
    }

    /// It stays.
    pub(super) fn keep(mut self) -> Uploads {
        self.kept = true;
        std::mem::take(&mut self.uploads)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = clear(&self.uploads.folder)
        {
            let folder = self.uploads.folder.display();
            tracing::warn!(%error, %folder, "the rest of a backup cannot be removed");
        }
    }
}

/// Removes what a backup that was killed has left. What else is there is somebody's, and stays: an error.
fn clear(folder: &Path) -> io::Result<()> {
    let is_folder = match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        there => there?.is_dir(),
    };
    if !is_folder {
        // A link leads to a folder of somebody else's.
        return Err(io::ErrorKind::NotADirectory.into());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if is_random(name.strip_suffix(PART).unwrap_or(name)) {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// Brings the files of a backup to where the server looks for them. Those that are there already stay.
pub(super) fn bring_back(known: &[Known], from: &Path, database: &Path) -> io::Result<Uploads> {
    let folder = of_database(database);
    let mut uploads = Uploads { folder, files: known.len(), ..Uploads::default() };
    if known.is_empty() {
        return Ok(uploads);
    }
    // Root may do it, for the server's user, who could have made links to files that only root may write.
    let home = fs::metadata(files::folder(database))?;
    let owner = (home.uid(), home.gid());
    let is_new = match files::private_folder().recursive(false).create(&uploads.folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        made => made.map(|()| true)?,
    };
    if fs::symlink_metadata(&uploads.folder)?.is_symlink() {
        let why =
            "it is a symbolic link, which a restore does not follow; put a folder in its place";
        return Err(io::Error::other(why));
    }
    let folder = open(&uploads.folder, OFlags::DIRECTORY)?;
    if is_new {
        give(&folder, owner)?;
        files::sync_folder(database)?;
    }
    for (id, size) in known {
        match bring(id, *size, from, &uploads.folder, Some(owner))? {
            true => uploads.bytes += size,
            false => uploads.missing += 1,
        }
    }
    folder.sync_all()?;
    Ok(uploads)
}

/// Has a file in another folder; false if it is nowhere, or not whole.
fn bring(
    id: &str,
    size: u64,
    from: &Path,
    to: &Path,
    owner: Option<(u32, u32)>,
) -> io::Result<bool> {
    let is_whole = |path: &Path| {
        fs::symlink_metadata(path).is_ok_and(|data| data.is_file() && data.len() == size)
    };
    let (from, to) = (from.join(id), to.join(id));
    if is_whole(&to) {
        return Ok(true);
    }
    if !is_whole(&from) {
        return Ok(false);
    }
    // Half of one, from before a power cut.
    remove(&to)?;
    let is_of = |uid| fs::symlink_metadata(&from).is_ok_and(|data| data.uid() == uid);
    let is_owners = owner.is_none_or(|(uid, _)| is_of(uid));
    if !is_owners || fs::hard_link(&from, &to).is_err() {
        // With a name that the server takes for half an upload, until it is whole.
        let part = files::with_suffix(&to, PART);
        let copied = copy(&from, &part, owner).and_then(|()| fs::rename(&part, &to));
        if copied.is_err() {
            let _ = fs::remove_file(&part);
        }
        copied?;
    }
    Ok(true)
}

/// Makes a new file, whatever has that name, and follows no links.
fn copy(from: &Path, to: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    remove(to)?;
    let mut from = open(from, OFlags::empty())?;
    let mut copy =
        files::private_file().create_new(true).custom_flags(bits(OFlags::NOFOLLOW)).open(to)?;
    io::copy(&mut from, &mut copy)?;
    if let Some(owner) = owner {
        give(&copy, owner)?;
    }
    copy.sync_all()
}

/// Opens it to be read; a link is an error.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(bits(flags | OFlags::NOFOLLOW)).open(path)
}

fn bits(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn give(file: &File, (uid, gid): (u32, u32)) -> io::Result<()> {
    if file.metadata()?.uid() == uid {
        return Ok(());
    }
    fchown(file, Some(uid), Some(gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_brought_once_and_half_ones_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let (from, target) = (folder.path().join("from"), folder.path().join("copy.db"));
        fs::create_dir(&from).unwrap();
        let id = |n: u8| format!("{n}AAAAAAAAAAAAAAAAAAAAA");
        fs::write(from.join(id(1)), "one").unwrap();
        fs::write(from.join(id(2)), "half").unwrap();
        let known = [(id(1), 3), (id(2), 5), (id(3), 7)];
        let make = || Beside::make(&known, &from, &target, || false);
        let made = || {
            let mut made = make().unwrap().unwrap();
            made.name(&target).unwrap();
            made
        };
        let is_gone = || !of_part(&target).exists() && !of_backup(&target).exists();
        drop(make().unwrap().unwrap());
        assert!(is_gone(), "what is not kept is gone");
        drop(made());
        assert!(is_gone(), "with its name, too");
        let made = made().keep();
        assert_eq!((made.files, made.bytes, made.missing), (3, 3, 2));
        assert_eq!(made.folder, of_backup(&target));
        // The original goes, the copy stays.
        fs::remove_file(from.join(id(1))).unwrap();
        let database = folder.path().join("data.db");
        for _ in 0..2 {
            let back = bring_back(&known, &of_backup(&target), &database).unwrap();
            assert_eq!((back.files, back.bytes, back.missing), (3, 3, 2));
            assert_eq!(fs::read(of_database(&database).join(id(1))).unwrap(), b"one");
        }
        // The files of an earlier backup stay, though its database has another name now.
        let named = make().unwrap().unwrap().name(&target);
        assert_eq!(named.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(of_backup(&target).join(id(1))).unwrap(), b"one");
        // What a killed one left makes way; what is somebody's does not.
        let part = of_part(&target);
        fs::create_dir(&part).unwrap();
        fs::write(part.join(id(1)), "one").unwrap();
        fs::write(part.join(format!("{}.part", id(2))), "ha").unwrap();
        assert_eq!(make().unwrap().unwrap().uploads.missing, 3);
        fs::create_dir(&part).unwrap();
        fs::write(part.join("letter.txt"), "x").unwrap();
        assert!(make().is_err() && part.join("letter.txt").exists());
        let stopped = Beside::make(&known, &from, &folder.path().join("other"), || true);
        assert!(stopped.is_err() && !of_part(&folder.path().join("other")).exists());
    }

    /// Root writes where the server's user may have made links.
    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let id = "1AAAAAAAAAAAAAAAAAAAAA".to_owned();
        for name in ["from", "theirs", "data"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("from").join(&id), "one").unwrap();
        fs::write(at("secret"), "two").unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(at(to), at(name)).unwrap();
        // Where it writes.
        link("secret", "part");
        copy(&at("from").join(&id), &at("part"), None).unwrap();
        assert_eq!(fs::read(at("secret")).unwrap(), b"two");
        assert!(fs::symlink_metadata(at("part")).unwrap().is_file());
        // What it reads.
        link("secret", "given");
        assert!(copy(&at("given"), &at("part"), None).is_err());
        // The folders.
        link("theirs", "data/uploads");
        let told = bring_back(&[(id.clone(), 3)], &at("from"), &at("data/data.db")).unwrap_err();
        assert!(told.to_string().contains("symbolic link"), "{told}");
        link("from", "copy.db.uploads.part");
        let made = Beside::make(&[(id.clone(), 3)], &at("from"), &at("copy.db"), || false);
        assert!(made.is_err() && at("from").join(&id).exists());
        assert_eq!(fs::read_dir(at("theirs")).unwrap().count(), 0);
    }
}
