//! All statements on archives.

use super::{append, moved, pages, retention, retracted, times, unindexed, weight};

/// The statements of the other files in this folder.
pub(in crate::store) fn catalogue() -> [&'static [(&'static str, &'static str)]; 8] {
    [
        append::CATALOGUE,
        moved::CATALOGUE,
        pages::CATALOGUE,
        retention::CATALOGUE,
        retracted::CATALOGUE,
        unindexed::CATALOGUE,
        times::CATALOGUE,
        weight::CATALOGUE,
    ]
}
