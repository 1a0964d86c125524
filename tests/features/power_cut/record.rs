//! The record that `tests/power/shim.c` writes: effects on files, in their order.

use crate::harness::preload::Library;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

/// The library that is preloaded.
pub struct Shim(Library);

impl Shim {
    pub fn build() -> Option<Shim> {
        Library::of("tests/power/shim.c").map(Shim)
    }

    /// Has the command record what it does below `folder`.
    pub fn follow(&self, command: &mut Command, folder: &Path, record: &Path) {
        command
            .env("LD_PRELOAD", &self.0.path)
            .env("STONECHAT_POWER_DIR", folder.canonicalize().unwrap())
            .env("STONECHAT_POWER_RECORD", record)
            // As slow as a quick disk, so that an answer before its sync would get out.
            .env("STONECHAT_POWER_SYNC_US", "300");
    }
}

/// One effect.
#[derive(Debug, Clone)]
pub struct Event {
    pub what: What,
    /// Where it ends in the record: whoever saw the record at least this long came behind it.
    pub end: u64,
}

#[derive(Debug, Clone)]
pub enum What {
    Create {
        inode: u64,
        name: String,
    },
    Write {
        inode: u64,
        offset: usize,
        bytes: Range<usize>,
    },
    Truncate {
        inode: u64,
        size: usize,
    },
    Sync {
        inode: u64,
    },
    /// With the names that are in the folder; a folder's has no inode.
    SyncFolder {
        name: String,
        list: Vec<(String, Option<u64>)>,
    },
    Rename {
        inode: u64,
        from: String,
        to: String,
    },
    Link {
        inode: u64,
        to: String,
    },
    Remove {
        name: String,
    },
    Folder {
        name: String,
    },
}

impl What {
    pub fn is_sync(&self) -> bool {
        matches!(self, What::Sync { .. } | What::SyncFolder { .. })
    }
}

/// All effects, and the bytes that they refer to.
pub struct Record {
    pub bytes: Vec<u8>,
    pub events: Vec<Event>,
}

impl Record {
    /// A killed process may have left a piece of an event at the end: it was no effect yet.
    pub fn read(path: &Path) -> Record {
        let bytes = std::fs::read(path).expect("the record");
        let mut events = Vec::new();
        let mut at = 0;
        while let Some((what, end)) = event(&bytes, at) {
            events.push(Event { what, end: end as u64 });
            at = end;
        }
        assert!(!events.is_empty(), "nothing was recorded: is the binary linked statically?");
        Record { bytes, events }
    }

    pub fn syncs(&self, from: u64, to: u64) -> usize {
        let within = |event: &&Event| event.end > from && event.end <= to;
        self.events.iter().filter(within).filter(|event| event.what.is_sync()).count()
    }
}

fn event(bytes: &[u8], at: usize) -> Option<(What, usize)> {
    let head = bytes.get(at..at + HEAD)?;
    let short = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap()) as usize;
    let long = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
    let (inode, offset) = (long(16), long(24) as usize);
    let names = at + HEAD..at + HEAD + short(4);
    let data = names.end..names.end + long(32) as usize;
    let content = bytes.get(data.clone())?;
    let mut names = bytes[names].split(|byte| *byte == 0).map(text);
    let mut name = || names.next().expect("a name");
    let what = match short(0) {
        1 => What::Create { inode, name: name() },
        2 => What::Write { inode, offset, bytes: data.clone() },
        3 => What::Truncate { inode, size: offset },
        4 => What::Sync { inode },
        5 => What::SyncFolder { name: name(), list: listing(content) },
        6 => What::Rename { inode, from: name(), to: name() },
        7 => What::Link { inode, to: (name(), name()).1 },
        8 | 10 => What::Remove { name: name() },
        9 => What::Folder { name: name() },
        other => panic!("an event of kind {other}"),
    };
    Some((what, data.end))
}

fn listing(bytes: &[u8]) -> Vec<(String, Option<u64>)> {
    let lines = bytes.split(|byte| *byte == 0).filter(|line| !line.is_empty()).map(text);
    let entry = |line: String| {
        let (inode, name) = line.split_once(' ').expect("an inode and a name");
        match name.strip_suffix('/') {
            Some(folder) => (folder.to_owned(), None),
            None => (name.to_owned(), Some(inode.parse().expect("an inode"))),
        }
    };
    lines.map(entry).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const HEAD: usize = 40;
