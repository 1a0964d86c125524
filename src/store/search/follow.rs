//! Brings the search index of an archive up to date with what was written since.

use std::time::Duration;

use super::{Progress, SLICE, progress, read, write};
use crate::store::handle::Store;
use crate::store::ids::ArchiveId;
use crate::store::options::now;
use crate::store::tx::StoreError;

impl Store {
    /// Indexes one slice for [`Self::searchable`] and returns how long it took; `None` if there is nothing
    /// left to do.
    pub async fn index_some(&self, archive: ArchiveId) -> Result<Option<Duration>, StoreError> {
        let begun = now();
        let all = self.searchable(archive, 1).await?;
        Ok((!all).then(|| now().duration_since(begun)))
    }

    /// Waits until a search of the archive finds everything written before (promise.md 7). If the archive was
    /// never searched, at most `slices` slices are indexed: false if there is more.
    pub async fn searchable(&self, archive: ArchiveId, slices: usize) -> Result<bool, StoreError> {
        self.archive_indexed(archive).await?;
        for _ in 0..slices {
            if self.read(move |tx| progress(tx, archive)).await? == Progress::All {
                return Ok(true);
            }
            let slice = self.read(move |tx| read(tx, archive, SLICE)).await?;
            self.write(move |tx| write(tx, &slice)).await?;
        }
        Ok(self.read(move |tx| progress(tx, archive)).await? == Progress::All)
    }
}
