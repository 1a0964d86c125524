//! Reads such files: one, or several that include each other (XEP-0227 §5).

use std::collections::VecDeque;
use std::path::{Component, Path, PathBuf};

use super::file::{Mark, Opened, XmlFile};
use super::{OLD, OURS, PIE, SCRAM, XINCLUDE};
use crate::admin::Secret;
use crate::base::time::{micros, parse};
use crate::modules::ALL;
use crate::modules::api::Tag;
use crate::moving::keys::{self, Written};
use crate::moving::piece::{MovedAccount, Piece, Source, SourceError};
use crate::moving::table::Table;
use crate::xml::view::Doc;

/// Opens a file.
pub fn open(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    let main = XmlFile::open(path)?;
    let failed = |error: std::io::Error| SourceError {
        place: path.display().to_string(),
        what: error.to_string(),
    };
    let whole = path.canonicalize().map_err(failed)?;
    let folder = whole.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(Box::new(Reader {
        files: vec![main],
        folder,
        levels: Vec::new(),
        ready: VecDeque::new(),
        begun: None,
        behind: Vec::new(),
        table: Table::of(ALL),
    }))
}

/// An element that is open.
#[derive(Debug)]
enum Level {
    Data,
    Host(String),
    User(String),
    Room,
    Around(Tag),
}

struct Reader {
    /// Those that include the last one, the main file first.
    files: Vec<XmlFile>,
    /// No file outside is read.
    folder: PathBuf,
    levels: Vec<Level>,
    ready: VecDeque<Piece>,
    /// An account that was not given yet: its keys are still to come.
    begun: Option<MovedAccount>,
    /// What is wrong with it, to be said behind it.
    behind: Vec<Piece>,
    table: Table,
}

impl Source for Reader {
    fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        while self.ready.is_empty() {
            let Some(file) = self.files.last_mut() else { return Ok(None) };
            match file.next()? {
                Mark::Open(opened) => self.opened(opened)?,
                Mark::Close => self.closed(),
                Mark::End => _ = self.files.pop(),
            }
        }
        Ok(self.ready.pop_front())
    }

    fn place(&self) -> String {
        self.files.last().map_or_else(|| "the end".to_owned(), XmlFile::place)
    }

    fn progress(&self) -> Option<u32> {
        self.files.first().map_or(Some(1_000), XmlFile::progress)
    }
}

impl Reader {
    fn opened(&mut self, mut opened: Opened) -> Result<(), SourceError> {
        if opened.tag.ns == OLD {
            opened.tag.ns = PIE.to_owned();
        }
        let tag = &opened.tag;
        let is_open = !opened.is_empty;
        if tag.is(XINCLUDE, "include") && self.includes_here() {
            return self.include(&opened);
        }
        let level = match self.levels.last() {
            None if tag.is(PIE, "server-data") => Level::Data,
            None => {
                let what = format!(
                    "a file of XEP-0227 begins with <server-data xmlns='{PIE}'>, and this one with <{}>",
                    tag.name
                );
                return Err(SourceError { place: self.place(), what });
            }
            Some(Level::Data) if tag.is(PIE, "host") => {
                Level::Host(tag.attr("jid").unwrap_or_default().to_owned())
            }
            Some(Level::Host(host)) if tag.is(PIE, "user") => {
                let host = host.clone();
                self.user(host, tag);
                Level::User(tag.attr("name").unwrap_or_default().to_owned())
            }
            Some(Level::Host(_)) if tag.is(OURS, "room") => {
                let jid = tag.attr("jid").unwrap_or_default().to_owned();
                self.ready.push_back(Piece::Room { jid });
                Level::Room
            }
            Some(Level::Data | Level::Host(_)) => return self.unknown(&opened),
            Some(Level::User(_)) if tag.is(SCRAM, "scram-credentials") => {
                return self.credentials(&opened);
            }
            Some(Level::User(_)) if tag.is(OURS, "account") => return self.account(&opened),
            Some(Level::User(_) | Level::Room | Level::Around(_)) => {
                let mut within = self.within();
                within.push(tag.clone());
                if !self.table.is_around(&within) {
                    return self.part(&opened);
                }
                Level::Around(tag.clone())
            }
        };
        if is_open {
            self.levels.push(level);
        } else if matches!(level, Level::User(_)) {
            self.give_account();
        }
        Ok(())
    }

    fn closed(&mut self) {
        if let Some(Level::User(_)) = self.levels.pop() {
            self.give_account();
        }
    }

    /// The elements that a part stands in.
    fn within(&self) -> Vec<Tag> {
        let tag = |level: &Level| match level {
            Level::Around(tag) => Some(tag.clone()),
            _ => None,
        };
        self.levels.iter().filter_map(tag).collect()
    }

    fn user(&mut self, host: String, tag: &Tag) {
        self.begun = Some(MovedAccount {
            host,
            name: tag.attr("name").unwrap_or_default().to_owned(),
            password: tag.attr("password").map(|password| Secret(password.to_owned())),
            ..MovedAccount::default()
        });
    }

    fn give_account(&mut self) {
        self.ready.extend(self.begun.take().map(Piece::Account));
        self.ready.extend(self.behind.drain(..));
    }

    /// Changes the account whose element is open.
    fn on_account(&mut self, change: impl FnOnce(&mut MovedAccount)) {
        if let Some(begun) = &mut self.begun {
            return change(begun);
        }
        // Keys behind other things: the account comes once more.
        let (mut host, mut name) = (String::new(), String::new());
        for level in &self.levels {
            match level {
                Level::Host(jid) => host.clone_from(jid),
                Level::User(user) => name.clone_from(user),
                _ => {}
            }
        }
        let mut again = MovedAccount { host, name, ..MovedAccount::default() };
        change(&mut again);
        self.ready.push_back(Piece::Account(again));
    }

    fn whole(&mut self, opened: &Opened) -> Result<Result<Vec<u8>, String>, SourceError> {
        match self.files.last_mut() {
            Some(file) => file.whole(opened),
            None => Ok(Err("it is in no file".to_owned())),
        }
    }

    fn part(&mut self, opened: &Opened) -> Result<(), SourceError> {
        self.give_account();
        let within = self.within();
        let piece = match self.whole(opened)? {
            Ok(xml) => Piece::Part { within, xml },
            Err(why) => {
                let what = "elements".to_owned();
                Piece::Untaken { what, which: named(&opened.tag), why }
            }
        };
        self.ready.push_back(piece);
        Ok(())
    }

    /// Passes over an element that nobody knows.
    fn unknown(&mut self, opened: &Opened) -> Result<(), SourceError> {
        let _ = self.whole(opened)?;
        self.untaken("elements of hosts", named(&opened.tag), "nothing here keeps such data");
        Ok(())
    }

    fn untaken(&mut self, what: &str, which: String, why: &str) {
        let (what, why) = (what.to_owned(), why.to_owned());
        self.ready.push_back(Piece::Untaken { what, which, why });
    }

    /// §4.3
    fn credentials(&mut self, opened: &Opened) -> Result<(), SourceError> {
        let name = self.user_name();
        let read = match self.whole(opened)? {
            Ok(xml) => credentials(&xml),
            Err(why) => Err(why),
        };
        match read {
            Ok(keys) => self.on_account(|account| {
                if !account.keys.iter().any(|known| known.hash == keys.hash) {
                    account.keys.push(keys);
                }
            }),
            Err(why) => {
                let what = "keys of passwords".to_owned();
                let piece = Piece::Untaken { what, which: name, why };
                match self.begun {
                    Some(_) if self.behind.len() < BEHIND_MAX => self.behind.push(piece),
                    _ => self.ready.push_back(piece),
                }
            }
        }
        Ok(())
    }

    fn user_name(&self) -> String {
        let name = self.levels.iter().rev().find_map(|level| match level {
            Level::User(name) => Some(name.clone()),
            _ => None,
        });
        name.unwrap_or_default()
    }

    /// What an account is beside its name.
    fn account(&mut self, opened: &Opened) -> Result<(), SourceError> {
        let disabled = matches!(opened.tag.attr("disabled"), Some("true" | "1"));
        let created = opened.tag.attr("created").and_then(parse).map(micros);
        let _ = self.whole(opened)?;
        self.on_account(|account| {
            (account.disabled, account.created) = (disabled, created);
        });
        Ok(())
    }

    /// §5: within a user's data it is the user's own.
    fn includes_here(&self) -> bool {
        matches!(self.levels.last(), Some(Level::Data | Level::Host(_) | Level::User(_)))
    }

    fn include(&mut self, opened: &Opened) -> Result<(), SourceError> {
        let _ = self.whole(opened)?;
        let href = opened.tag.attr("href").unwrap_or_default().to_owned();
        if opened.tag.attr("parse").is_some() || opened.tag.attr("xpointer").is_some() {
            self.untaken("included files", href, "only whole XML files are included");
            return Ok(());
        }
        match self.included(&href) {
            Ok(file) => self.files.push(file),
            Err(why) => self.untaken("included files", href, &why),
        }
        Ok(())
    }

    fn included(&self, href: &str) -> Result<XmlFile, String> {
        if self.files.len() >= FILES_MAX {
            return Err(format!("files include each other over {FILES_MAX} deep"));
        }
        let relative = unescaped(href).ok_or("this is no path")?;
        let relative = Path::new(&relative);
        let is_plain =
            |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if relative.as_os_str().is_empty() || !relative.components().all(is_plain) {
            return Err("only files below the folder of the file are included".to_owned());
        }
        let from = self.files.last().and_then(|file| file.path.parent()).unwrap_or(Path::new("."));
        let path = from.join(relative);
        let whole = path.canonicalize().map_err(|error| error.to_string())?;
        if !whole.starts_with(&self.folder) {
            return Err("it leads out of the folder".to_owned());
        }
        XmlFile::open(&whole).map_err(|error| error.what)
    }
}

fn named(tag: &Tag) -> String {
    format!("<{} xmlns='{}'>", tag.name, tag.ns)
}

fn credentials(xml: &[u8]) -> Result<crate::base::credential::ScramKeys, String> {
    let doc = Doc::of(xml, SCRAM).map_err(|error| error.to_string())?;
    let root = doc.root();
    let text = |name| root.child_text(SCRAM, name).unwrap_or_default();
    keys::scram(&Written {
        mechanism: root.attr("mechanism").unwrap_or_default(),
        iterations: text("iter-count"),
        salt: text("salt"),
        stored_key: text("stored-key"),
        server_key: text("server-key"),
    })
}

/// A path with `%20` and the like (RFC 3986 §2.1); none if it is no UTF-8.
fn unescaped(href: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = href.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok().filter(|path| !path.contains('\0'))
}

/// Faults of one account that wait to be said.
const BEHIND_MAX: usize = 10;
/// Files that may be open at one time.
const FILES_MAX: usize = 8;
