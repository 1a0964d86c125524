//! All statements on archives.

use super::{append, pages, retention, retracted, tail, times, weight};

/// Those of the files beside this one.
pub(in crate::store) fn catalogue() -> [&'static [(&'static str, &'static str)]; 7] {
    [
        append::CATALOGUE,
        pages::CATALOGUE,
        retention::CATALOGUE,
        retracted::CATALOGUE,
        tail::CATALOGUE,
        times::CATALOGUE,
        weight::CATALOGUE,
    ]
}
