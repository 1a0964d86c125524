//! The uploaded files that a database speaks of, beside a backup of it (`today.db.uploads` beside `today.db`) and back.
//! A file never changes once it is there, so a second name of it is a copy where the file system has links.

use super::files;
use crate::base::id::is_random;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
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

/// The folder in the data folder.
pub const FOLDER: &str = "uploads";
const BESIDE: &str = ".uploads";

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
    /// Gives files their second names, durable; none if there are no files.
    pub(super) fn make(
        known: &[Known],
        from: &Path,
        target: &Path,
        stopped: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        if known.is_empty() {
            return Ok(None);
        }
        let folder = of_backup(target);
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
        files::sync_folder(target)?;
        Ok(Some(made))
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
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_random) {
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
    // Root may do it, for the server's user.
    let home = fs::metadata(files::folder(database))?;
    let owner = (home.uid(), home.gid());
    if !uploads.folder.exists() {
        files::private_folder().recursive(false).create(&uploads.folder)?;
        give(&uploads.folder, owner)?;
        files::sync_folder(database)?;
    }
    for (id, size) in known {
        match bring(id, *size, from, &uploads.folder, Some(owner))? {
            true => uploads.bytes += size,
            false => uploads.missing += 1,
        }
    }
    File::open(&uploads.folder)?.sync_all()?;
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
    match fs::remove_file(&to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let is_owners = owner.is_none_or(|(uid, _)| fs::metadata(&from).is_ok_and(|d| d.uid() == uid));
    if !is_owners || fs::hard_link(&from, &to).is_err() {
        // With a name that the server takes for half an upload, until it is whole.
        let part = files::with_suffix(&to, ".part");
        let copied = copy(&from, &part, owner).and_then(|()| fs::rename(&part, &to));
        if copied.is_err() {
            let _ = fs::remove_file(&part);
        }
        copied?;
    }
    Ok(true)
}

fn copy(from: &Path, to: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut copy = files::private_file().truncate(true).open(to)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    if let Some(owner) = owner {
        give(to, owner)?;
    }
    copy.sync_all()
}

fn give(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    if fs::metadata(path)?.uid() == uid {
        return Ok(());
    }
    chown(path, Some(uid), Some(gid))
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
        drop(make().unwrap().unwrap());
        assert!(!of_backup(&target).exists(), "what is not kept is gone");
        let made = make().unwrap().unwrap().keep();
        assert_eq!((made.files, made.bytes, made.missing), (3, 3, 2));
        // The original goes, the copy stays.
        fs::remove_file(from.join(id(1))).unwrap();
        let database = folder.path().join("data.db");
        for _ in 0..2 {
            let back = bring_back(&known, &of_backup(&target), &database).unwrap();
            assert_eq!((back.files, back.bytes, back.missing), (3, 3, 2));
            assert_eq!(fs::read(of_database(&database).join(id(1))).unwrap(), b"one");
        }
        // What a killed one left makes way; what is somebody's does not.
        assert_eq!(make().unwrap().unwrap().keep().missing, 3);
        fs::write(of_backup(&target).join("letter.txt"), "x").unwrap();
        assert!(make().is_err());
        assert!(of_backup(&target).join("letter.txt").exists());
        let stopped = Beside::make(&known, &from, &folder.path().join("other"), || true);
        assert!(stopped.is_err() && !of_backup(&folder.path().join("other")).exists());
    }
}
