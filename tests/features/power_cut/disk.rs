//! What a power cut may leave of files: what was synced, and anything of what was not.
//!
//! The model is harsher than ext4. Of the writes behind a file's last sync any may be missing, in
//! part too (by sectors of 512 bytes), whatever their order. A name is durable only when its folder
//! was synced: a sync of a new file does not keep its name, and a made folder may be missing with
//! all that is in it. A rename is atomic: it is either there or not. A name that changed without
//! libc's knowledge (tempfile's renames) is taken from the listing at the folder's next sync.

use super::record::{Record, What};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Splitmix64: the same seed, the same cuts.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % n.max(1) as u64) as usize
    }
}

/// Whether syncs of files count; without them the judge must find losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    Kept,
    Ignored,
}

/// What a name stands for: a file by its number, or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder,
}

/// A change of names, in one folder.
#[derive(Debug, Clone)]
enum Naming {
    Put(String, Node),
    Take(String),
    Move(String, String, Node),
}

impl Naming {
    fn folder(&self) -> &str {
        match self {
            Naming::Put(name, _) | Naming::Take(name) | Naming::Move(_, name, _) => parent(name),
        }
    }
}

#[derive(Debug, Clone)]
enum Change {
    /// Bytes of the record.
    Write(usize, std::ops::Range<usize>),
    Size(usize),
}

#[derive(Debug, Default)]
struct File {
    safe: Vec<u8>,
    loose: Vec<Change>,
}

/// The files below one folder, as the events made them.
pub struct Disk<'r> {
    record: &'r Record,
    syncs: Syncs,
    done: usize,
    safe: BTreeMap<String, Node>,
    loose: Vec<Naming>,
    files: Vec<File>,
    /// The file that has the inode now: a number comes again after a removal.
    inodes: BTreeMap<u64, usize>,
}

impl<'r> Disk<'r> {
    /// An empty folder.
    pub fn new(record: &'r Record, syncs: Syncs) -> Disk<'r> {
        let (safe, inodes) = (BTreeMap::new(), BTreeMap::new());
        Disk { record, syncs, done: 0, safe, loose: vec![], files: vec![], inodes }
    }

    /// With what was there, durably, when the recording began.
    pub fn over(record: &'r Record, before: &Before) -> Disk<'r> {
        let mut disk = Disk::new(record, Syncs::Kept);
        for (name, found) in &before.0 {
            let node = found.as_ref().map_or(Node::Folder, |(inode, content)| {
                let node = disk.file(*inode);
                if let Node::File(number) = node {
                    disk.files[number].safe.clone_from(content);
                }
                node
            });
            disk.safe.insert(name.clone(), node);
        }
        disk
    }

    /// Goes on to this event, which is the last one before the cut.
    pub fn go_to(&mut self, event: usize) {
        while self.done <= event {
            self.apply(&self.record.events[self.done].what);
            self.done += 1;
        }
    }

    fn apply(&mut self, what: &What) {
        match what {
            What::Create { inode, name } => {
                self.inodes.remove(inode);
                let node = self.file(*inode);
                self.loose.push(Naming::Put(name.clone(), node));
            }
            What::Write { inode, offset, bytes } => {
                self.change(*inode, Change::Write(*offset, bytes.clone()));
            }
            What::Truncate { inode, size } => self.change(*inode, Change::Size(*size)),
            What::Sync { inode } => self.sync(*inode),
            What::SyncFolder { name, list } => self.sync_folder(name, list),
            What::Rename { inode, from, to } => {
                let is_folder = self.is_folder(from) || !self.inodes.contains_key(inode);
                let node = if is_folder { Node::Folder } else { self.file(*inode) };
                if is_folder {
                    self.take_along(from, to);
                }
                self.loose.push(Naming::Move(from.clone(), to.clone(), node));
            }
            What::Link { inode, to } => {
                let node = self.file(*inode);
                self.loose.push(Naming::Put(to.clone(), node));
            }
            What::Remove { name } => self.loose.push(Naming::Take(name.clone())),
            What::Folder { name } => self.loose.push(Naming::Put(name.clone(), Node::Folder)),
        }
    }

    /// By its name: the inode may have been a file's that is gone.
    fn is_folder(&self, name: &str) -> bool {
        let made = self.loose.iter().rev().find_map(|naming| match naming {
            Naming::Put(made, node) | Naming::Move(_, made, node) if made == name => Some(*node),
            _ => None,
        });
        made.or_else(|| self.safe.get(name).copied()) == Some(Node::Folder)
    }

    /// What is in a folder has a name by either name of it; that of the two which is not there has none.
    fn take_along(&mut self, from: &str, to: &str) {
        let new = |name: &str| {
            let rest = name.strip_prefix(from).filter(|rest| rest.starts_with('/'))?;
            Some(format!("{to}{rest}"))
        };
        let safe = self.safe.iter().filter_map(|(name, node)| Some((new(name)?, *node)));
        let safe: Vec<_> = safe.collect();
        let loose = self.loose.iter().filter_map(|naming| match naming {
            Naming::Put(name, node) => Some(Naming::Put(new(name)?, *node)),
            Naming::Take(name) => new(name).map(Naming::Take),
            Naming::Move(from, to, node) => Some(Naming::Move(new(from)?, new(to)?, *node)),
        });
        let loose: Vec<_> = loose.collect();
        self.safe.extend(safe);
        self.loose.extend(loose);
    }

    fn file(&mut self, inode: u64) -> Node {
        let files = &mut self.files;
        Node::File(*self.inodes.entry(inode).or_insert_with(|| {
            files.push(File::default());
            files.len() - 1
        }))
    }

    fn change(&mut self, inode: u64, change: Change) {
        if let Node::File(number) = self.file(inode) {
            self.files[number].loose.push(change);
        }
    }

    fn sync(&mut self, inode: u64) {
        let Node::File(number) = self.file(inode) else { return };
        if self.syncs == Syncs::Kept {
            let File { safe, loose } = &mut self.files[number];
            loose.drain(..).for_each(|change| apply(&self.record.bytes, safe, &change));
        }
    }

    fn sync_folder(&mut self, folder: &str, list: &[(String, Option<u64>)]) {
        self.safe.retain(|name, _| parent(name) != folder);
        for (name, inode) in list {
            let node = inode.map_or(Node::Folder, |inode| self.file(inode));
            let full = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            self.safe.insert(full, node);
        }
        self.loose.retain(|naming| naming.folder() != folder);
    }

    /// Writes what this cut leaves into an empty folder.
    pub fn leave(&self, dice: &mut Dice, to: &Path) {
        // A journal keeps the order of names, if not all of them.
        let pick = match Pick::any(dice, self.loose.len()) {
            Pick::Shuffled => Pick::Some,
            pick => pick,
        };
        self.write_out(&pick.of(&self.loose, dice), to, |file| file.left(&self.record.bytes, dice));
    }

    /// What is there without a cut.
    pub fn all(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let content = |node: &Node| match node {
            Node::Folder => None,
            Node::File(number) => {
                let file = &self.files[*number];
                let mut bytes = file.safe.clone();
                file.loose.iter().for_each(|c| apply(&self.record.bytes, &mut bytes, c));
                Some(bytes)
            }
        };
        self.names(&self.loose).iter().map(|(name, node)| (name.clone(), content(node))).collect()
    }

    fn names(&self, changes: &[Naming]) -> BTreeMap<String, Node> {
        let mut names = self.safe.clone();
        for change in changes {
            match change.clone() {
                Naming::Put(name, node) => drop(names.insert(name, node)),
                Naming::Take(name) => drop(names.remove(&name)),
                Naming::Move(from, to, node) => {
                    names.remove(&from);
                    names.insert(to, node);
                }
            }
        }
        // What is in a folder that is not there is not there either; the order is by name.
        let mut folders = BTreeSet::from([String::new()]);
        names.retain(|name, node| {
            let there = folders.contains(parent(name));
            if there && *node == Node::Folder {
                folders.insert(name.clone());
            }
            there
        });
        names
    }

    fn write_out(&self, changes: &[Naming], to: &Path, mut left: impl FnMut(&File) -> Vec<u8>) {
        let mut written: BTreeMap<usize, String> = BTreeMap::new();
        for (name, node) in self.names(changes) {
            let path = to.join(&name);
            match node {
                Node::Folder => fs::create_dir(path).unwrap(),
                Node::File(number) => match written.get(&number) {
                    // The same file, not another of the same content.
                    Some(first) => fs::hard_link(to.join(first), path).unwrap(),
                    None => {
                        fs::write(path, left(&self.files[number])).unwrap();
                        written.insert(number, name);
                    }
                },
            }
        }
    }
}

impl File {
    fn left(&self, record: &[u8], dice: &mut Dice) -> Vec<u8> {
        let pick = Pick::any(dice, self.loose.len());
        let mut changes = pick.of(&self.loose, dice);
        if dice.below(3) == 0 && !changes.is_empty() {
            let torn = dice.below(changes.len());
            tear(&mut changes[torn], dice);
        }
        let mut bytes = self.safe.clone();
        changes.iter().for_each(|change| apply(record, &mut bytes, change));
        bytes
    }
}

/// Leaves the sectors before, or those behind, a random border.
fn tear(change: &mut Change, dice: &mut Dice) {
    let Change::Write(offset, bytes) = change else { return };
    let first = SECTOR - *offset % SECTOR;
    if bytes.len() <= first {
        return;
    }
    let border = first + SECTOR * dice.below((bytes.len() - first).div_ceil(SECTOR));
    if dice.below(2) == 0 {
        bytes.end = bytes.start + border;
    } else {
        (*offset, bytes.start) = (*offset + border, bytes.start + border);
    }
}

/// Which of the changes that were not synced are on the disk.
#[derive(Debug, Clone, Copy)]
enum Pick {
    None,
    All,
    First(usize),
    Some,
    /// In another order too: of two writes to one place the earlier may have come last.
    Shuffled,
}

impl Pick {
    fn any(dice: &mut Dice, of: usize) -> Pick {
        match dice.below(5) {
            0 => Pick::None,
            1 => Pick::All,
            2 => Pick::First(dice.below(of + 1)),
            3 => Pick::Some,
            _ => Pick::Shuffled,
        }
    }

    fn of<T: Clone>(self, all: &[T], dice: &mut Dice) -> Vec<T> {
        let mut some = |all: &[T]| -> Vec<T> {
            let keep = 1 + dice.below(9);
            all.iter().filter(|_| dice.below(10) < keep).cloned().collect()
        };
        match self {
            Pick::None => Vec::new(),
            Pick::All => all.to_vec(),
            Pick::First(n) => all[..n.min(all.len())].to_vec(),
            Pick::Some => some(all),
            Pick::Shuffled => {
                let mut some = some(all);
                (1..some.len()).for_each(|at| some.swap(at, dice.below(at + 1)));
                some
            }
        }
    }
}

fn apply(record: &[u8], file: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Size(size) => file.resize(*size, 0),
        Change::Write(offset, bytes) => {
            let end = offset + bytes.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[*offset..end].copy_from_slice(&record[bytes.clone()]);
        }
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// What is in a folder: names with inode and content; folders have neither.
pub struct Before(BTreeMap<String, Option<(u64, Vec<u8>)>>);

impl Before {
    pub fn of(folder: &Path) -> Before {
        let mut found = BTreeMap::new();
        walk(folder, folder, &mut found);
        Before(found)
    }

    pub fn contents(self) -> BTreeMap<String, Option<Vec<u8>>> {
        let content = |found: Option<(u64, Vec<u8>)>| found.map(|(_, content)| content);
        self.0.into_iter().map(|(name, found)| (name, content(found))).collect()
    }
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Option<(u64, Vec<u8>)>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let data = fs::symlink_metadata(&path).unwrap();
        if data.is_dir() {
            found.insert(name, None);
            walk(root, &path, found);
        } else if data.is_file() && !name.ends_with("-shm") {
            found.insert(name, Some((data.ino(), fs::read(&path).unwrap())));
        }
    }
}

const SECTOR: usize = 512;
