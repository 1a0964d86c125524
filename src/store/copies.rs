//! Copies of the database, and a copy in its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::errors::BackupError;
use super::handle::Store;
use super::sqlite::backup::{self, Snapshot};
use super::sqlite::restore::{self, RestoreError, Restored};
use super::sqlite::{files, open};

impl Store {
    /// Copies the database as it is now into a new file, while it is in use. Neither the writer
    /// nor the readers wait for it; the write-ahead log grows until it is done.
    pub async fn backup(&self, target: PathBuf) -> Result<Snapshot, BackupError> {
        let inner = Arc::clone(&self.inner);
        #[allow(clippy::disallowed_methods)] // copies a whole file; seldom, and one at a time
        let made = tokio::task::spawn_blocking(move || inner.aside.backup(&target)).await;
        made.unwrap_or(Err(BackupError::Stopped))
    }

    /// The same when no server has the database open. Its schema stays what it is.
    pub fn backup_closed(database: &Path, target: &Path) -> Result<Snapshot, BackupError> {
        if !database.exists() {
            return Err(BackupError::None { path: database.to_owned() });
        }
        backup::refuse_reserved(database, target)?;
        let _lock = open::locked(database)?;
        let conn = files::open_reader(database)?;
        backup::snapshot(&conn, target, &backup::Stop::default(), backup::Existing::Refuse)
    }

    /// If the last stop was unclean, has the database read on a thread of its own, and tells the
    /// log what was found. Blocks nobody.
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

    /// Puts a backup in the place of a database that no server has open. Until the backup is
    /// proved to be whole and of a schema that this release knows, nothing changes.
    pub fn restore(file: &Path, database: &Path) -> Result<Restored, RestoreError> {
        restore::restore(file, database)
    }
}
