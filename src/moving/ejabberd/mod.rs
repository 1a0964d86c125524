//! ejabberd's data: the text dump of its Mnesia tables, its SQLite database, or its own XML export, which is XEP-0227.

mod dump;
mod element;
mod index;
mod jobs;
mod records;
mod room;
mod sql;
mod term;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::piece::{Source, SourceError};
use super::{sqlite, xep0227};

/// Opens `ejabberd:FILE`; what it is, its first bytes say.
pub fn open(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    let mut first = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut first));
    read.map_err(|error| SourceError {
        place: path.display().to_string(),
        what: error.to_string(),
    })?;
    let text = first.trim_ascii_start();
    if first.starts_with(sqlite::MAGIC) {
        sql::open(path)
    } else if text.starts_with(b"<") || first.starts_with(b"\xef\xbb\xbf<") {
        xep0227::open(path)
    } else if text.starts_with(b"{") || text.starts_with(b"%") {
        dump::open(path)
    } else {
        let what = "is neither a text dump of Mnesia (`ejabberdctl dump FILE`), nor a database of SQLite, nor an XML \
                    export (`ejabberdctl export_piefxis FOLDER`)";
        Err(SourceError { place: path.display().to_string(), what: what.to_owned() })
    }
}
