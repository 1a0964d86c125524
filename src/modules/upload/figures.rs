//! What is measured of files.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::uploads as rows;
use crate::base::figures::Figures;
use crate::modules::api::WebCx;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Moved {
    stored: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
    downloads: AtomicU64,
    downloaded_bytes: AtomicU64,
}

impl Moved {
    /// A file came, of so many bytes.
    pub(super) fn stored(&self, bytes: u64) {
        self.stored.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An upload was not taken.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A file, or a part of it, is given out.
    pub(super) fn given(&self, bytes: u64) {
        self.downloads.fetch_add(1, Ordering::Relaxed);
        self.downloaded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The figures of the module.
pub(super) async fn figures(cx: WebCx) -> Figures {
    let mut out = Figures::default();
    let uploading = &cx.server.shared().upload;
    let (moved, under_way) = (&uploading.moved, uploading.under_way());
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    out.counter("stonechat_uploads", "Uploads by outcome: files that are kept, and requests that were refused.")
        .by("outcome", [("stored", read(&moved.stored)), ("refused", read(&moved.refused))]);
    out.counter("stonechat_upload_bytes", "Bytes of the files that were uploaded.")
        .is(read(&moved.bytes));
    out.gauge("stonechat_uploads_under_way", "Files that are being written or deleted.")
        .is(under_way as u64);
    out.counter("stonechat_downloads", "Files, or parts of files, that were given out.")
        .is(read(&moved.downloads));
    out.counter("stonechat_download_bytes", "Bytes of them, as they were asked for.")
        .is(read(&moved.downloaded_bytes));
    // Without an answer there is no figure, and no wrong one.
    if let Ok(kept) = cx.store.read(rows::total).await {
        out.gauge("stonechat_upload_kept_bytes", "Bytes of all files that are kept, and of slots that were given.")
            .is(u64::try_from(kept).unwrap_or(0));
    }
    out
}
