//! All statements on archives.

use super::{append, pages, retention, retracted, times, unindexed, weight};

/// Those of the files beside this one.
pub(in crate::store) fn catalogue() -> [&'static [(&'static str, &'static str)]; 7] {
    [
        append::CATALOGUE,
        pages::CATALOGUE,
        retention::CATALOGUE,
        retracted::CATALOGUE,
        unindexed::CATALOGUE,
        times::CATALOGUE,
        weight::CATALOGUE,
    ]
}
