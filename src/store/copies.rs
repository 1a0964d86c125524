//! Backs up the database with the uploaded files that it speaks of, and restores both from a backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::errors::BackupError;
use super::handle::Store;
use super::sqlite::backup::{self, Snapshot};
use super::sqlite::restore::{self, RestoreError, Restored};
use super::sqlite::{files, open, uploaded};

impl Store {
    /// Copies the current state of the database into a new file, while it is in use. Neither the writer nor
    /// the readers wait for it; the write-ahead log grows until it is done.
    pub async fn backup(&self, target: PathBuf) -> Result<Snapshot, BackupError> {
        let inner = Arc::clone(&self.inner);
        #[allow(clippy::disallowed_methods)] // copies a whole file; rare, and one at a time
        let made = tokio::task::spawn_blocking(move || inner.aside.backup(&target)).await;
        made.unwrap_or(Err(BackupError::Stopped))
    }

    /// Like [`Store::backup`], but for a database that no server has open. Its schema is not upgraded.
    pub fn backup_closed(database: &Path, target: &Path) -> Result<Snapshot, BackupError> {
        if !database.exists() {
            return Err(BackupError::None { path: database.to_owned() });
        }
        backup::refuse_reserved(database, target)?;
        let _lock = open::locked(database)?;
        let conn = files::open_reader(database)?;
        let (stop, uploads) = (backup::Stop::default(), uploaded::of_database(database));
        backup::snapshot(&conn, target, &stop, backup::Existing::Refuse, Some(&uploads))
    }

    /// Whether a backup is being made, which may need any uploaded file: none may be deleted now.
    pub fn takes_files(&self) -> bool {
        self.inner.aside.takes_files()
    }

    /// If the last stop was unclean, checks the database on a thread of its own and logs the result. Does not
    /// block.
    pub fn check_after_unclean_stop(&self) {
        if !files::unclean(&self.inner.aside.path).exists() {
            return;
        }
        tracing::info!("the last stop was unclean; the database is checked in the background");
        let inner = &self.inner;
        let (path, stop, lock) = inner.aside.parts();
        let check = move || {
            backup::check_behind(&path, &stop);
            drop(lock);
        };
        match std::thread::Builder::new().name("store-check".to_owned()).spawn(check) {
            Ok(thread) => inner.keep(thread),
            Err(error) => tracing::warn!(%error, "the database cannot be checked"),
        }
    }

    /// Replaces a database that no server has open with a backup. Nothing changes until the backup is known
    /// to be intact and of a schema that this release supports.
    pub fn restore(file: &Path, database: &Path) -> Result<Restored, RestoreError> {
        restore::restore(file, database)
    }
}
