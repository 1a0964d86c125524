//! The folder of a lab. It goes with the lab; one that was killed leaves it, and the next lab removes it. A file that
//! is locked tells which labs live (flock: the system lets go of it, however a process ends).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder that others leave alone as long as this is there.
#[derive(Debug)]
pub struct LabFolder {
    // Removed before the lock is let go.
    folder: TempDir,
    _lock: File,
}

impl LabFolder {
    /// A new one; those of labs that are no more are removed.
    pub fn new(temporary: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(temporary)?;
        let (making, made) = (folder.path().join(MAKING), folder.path().join(LOCK));
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        let lock = options.open(&making)?;
        // Some file systems have no locks: such a folder looks like one of a lab of before, and is left alone.
        if lock.try_lock().is_ok() {
            // Nobody ever sees it by its name without its lock.
            fs::rename(making, made)?;
        }
        let owner = fs::metadata(folder.path())?.uid();
        sweep(temporary, owner);
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// What cannot be removed is tried again by the next lab.
fn sweep(temporary: &Path, owner: u32) {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for folder in named.map(|entry| entry.path()).take(SWEPT_MAX) {
        if let Some(_lock) = abandoned(&folder, owner) {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// The lock of a folder of our own whose lab is no more.
fn abandoned(folder: &Path, owner: u32) -> Option<File> {
    // In a folder for all, anybody may have made it, or a link in its place.
    let found = fs::symlink_metadata(folder).ok()?;
    if !found.is_dir() || found.uid() != owner {
        return None;
    }
    let path: PathBuf = folder.join(LOCK);
    if !fs::symlink_metadata(&path).ok()?.is_file() {
        return None;
    }
    let lock = OpenOptions::new().write(true).open(&path).ok()?;
    lock.try_lock().ok()?;
    // Whoever held it may have removed the folder meanwhile, and another lab may have made one of that name.
    let (ours, there) = (lock.metadata().ok()?, fs::symlink_metadata(&path).ok()?);
    ((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(lock)
}

const PREFIX: &str = "stonechat-lab-";
const LOCK: &str = "lab.lock";
const MAKING: &str = "lab.lock.new";
/// Folders that are looked at for one start.
const SWEPT_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_lab_left_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let new = || LabFolder::new(place.path()).unwrap();
        let (living, ended, killed) = (new(), new(), new());
        let paths = [&living, &ended, &killed].map(|one| one.path().to_owned());
        drop(ended);
        assert!(!paths[1].exists());
        // SIGKILL: the lock is let go, and the folder stays.
        let LabFolder { folder, _lock } = killed;
        drop((folder.keep(), _lock));
        fs::write(paths[2].join("stonechat.db"), "x").unwrap();
        // One of an older release, one that is being made, and what has nothing to do with it.
        let others = ["stonechat-lab-old", "stonechat-lab-new", "other"].map(|name| {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        });
        fs::write(others[1].join(MAKING), "").unwrap();
        fs::write(others[2].join(LOCK), "").unwrap();
        let linked = place.path().join("stonechat-lab-link");
        std::os::unix::fs::symlink(&others[2], &linked).unwrap();
        let next = new();
        assert!(!paths[2].exists(), "swept");
        for path in others.iter().chain([&paths[0], &linked, &next.path().to_owned()]) {
            assert!(path.exists(), "{}", path.display());
        }
        assert!(others[2].join(LOCK).exists());
    }
}
