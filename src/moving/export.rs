//! Gives everything out, as of one moment, in bounded memory.

use std::io;

use super::piece::MovedAccount;
use crate::jid::BareJid;
use crate::modules::Config;
use crate::modules::api::{Giving, Holder, Module, Owner, RoomsAfter, Tag};
use crate::store::accounts::{self, Account};
use crate::store::tx::{StoreError, Tx};

/// Takes what is given out.
pub trait Sink: Send {
    /// A domain begins.
    fn host(&mut self, host: &str) -> io::Result<()>;
    /// An account of it begins.
    fn account(&mut self, account: &MovedAccount) -> io::Result<()>;
    /// A room of it begins.
    fn room(&mut self, jid: &str) -> io::Result<()>;
    /// An element of what began last, with what it stands in.
    fn part(&mut self, within: &[Tag], element: &[u8]) -> io::Result<()>;
    /// That is all.
    fn end(&mut self) -> io::Result<()>;
}

/// What is given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All accounts and rooms.
    All,
    /// One account.
    Account(BareJid),
}

/// What was given out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Given {
    /// Accounts.
    pub accounts: u64,
    /// Rooms.
    pub rooms: u64,
    /// Elements of both.
    pub parts: u64,
}

/// Why nothing whole was given out.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no such account.
    #[error("there is no account {0}; `stonechat user list` shows all")]
    Unknown(BareJid),
    /// The database cannot be read.
    #[error("the database cannot be read: {0}")]
    Store(StoreError),
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    File(io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// Gives out what is selected. What is read in one transaction is of one moment.
pub fn export(
    tx: &mut dyn Tx,
    (modules, config): (&[&'static Module], &Config),
    selection: &Selection,
    sink: &mut dyn Sink,
) -> Result<Given, ExportError> {
    let mut export = Export { modules, config, sink, given: Given::default() };
    match selection {
        Selection::All => export.all(tx)?,
        Selection::Account(jid) => export.one(tx, jid)?,
    }
    export.sink.end()?;
    Ok(export.given)
}

struct Export<'a> {
    modules: &'a [&'static Module],
    config: &'a Config,
    sink: &'a mut dyn Sink,
    given: Given,
}

impl Export<'_> {
    fn one(&mut self, tx: &mut dyn Tx, jid: &BareJid) -> Result<(), ExportError> {
        let found = accounts::find(tx, jid.local().unwrap_or_default(), jid.domain())?;
        let account = found.ok_or_else(|| ExportError::Unknown(jid.clone()))?;
        self.sink.host(&account.host)?;
        self.account(tx, &account)
    }

    fn all(&mut self, tx: &mut dyn Tx) -> Result<(), ExportError> {
        let mut hosts = hosts(tx)?;
        let rooms: Vec<_> = self.modules.iter().filter_map(|module| module.moves.rooms).collect();
        // Rooms of a domain without accounts.
        for list in &rooms {
            let mut after = String::new();
            loop {
                let page = (list.list)(tx, &after)?;
                for host in page.iter().map(|(jid, _)| above(jid)) {
                    if !hosts.contains(&host) {
                        hosts.push(host);
                    }
                }
                match page.last() {
                    Some((last, _)) => after = last.to_string(),
                    None => break,
                }
            }
        }
        hosts.sort_unstable();
        for host in &hosts {
            self.sink.host(host)?;
            self.accounts(tx, host)?;
            for list in &rooms {
                self.rooms(tx, host, list.list)?;
            }
        }
        Ok(())
    }

    fn accounts(&mut self, tx: &mut dyn Tx, host: &str) -> Result<(), ExportError> {
        let mut after: Option<String> = None;
        loop {
            let last = after.as_deref().map(|local| (host, local));
            let page = accounts::list(tx, Some(host), last, PAGE)?;
            for account in &page {
                self.account(tx, account)?;
            }
            match page.last() {
                Some(last) => after = Some(last.localpart.clone()),
                None => return Ok(()),
            }
        }
    }

    fn account(&mut self, tx: &mut dyn Tx, account: &Account) -> Result<(), ExportError> {
        let keys = accounts::all_keys(tx, &account.localpart, &account.host)?;
        self.sink.account(&MovedAccount {
            host: account.host.clone(),
            name: account.localpart.clone(),
            password: None,
            keys: keys.map(|(_, keys)| keys).unwrap_or_default(),
            disabled: account.disabled,
            created: Some(account.created),
            only_named: false,
        })?;
        self.given.accounts += 1;
        let Ok(jid) = BareJid::from_parts(Some(&account.localpart), &account.host) else {
            return Ok(());
        };
        self.parts(tx, &Owner { jid, holder: Holder::Account, key: account.id.0 })
    }

    fn rooms(&mut self, tx: &mut dyn Tx, host: &str, list: RoomsAfter) -> Result<(), ExportError> {
        let mut after = String::new();
        loop {
            let page = list(tx, &after)?;
            for (jid, key) in page.iter().filter(|(jid, _)| above(jid) == host) {
                self.sink.room(jid.as_str())?;
                self.given.rooms += 1;
                self.parts(tx, &Owner { jid: jid.clone(), holder: Holder::Room, key: *key })?;
            }
            match page.last() {
                Some((last, _)) => after = last.to_string(),
                None => return Ok(()),
            }
        }
    }

    fn parts(&mut self, tx: &mut dyn Tx, owner: &Owner) -> Result<(), ExportError> {
        let gives = self.modules.iter().flat_map(|module| module.moves.gives);
        for (_, give) in gives.filter(|(holder, _)| *holder == owner.holder) {
            let (sink, given) = (&mut *self.sink, &mut self.given);
            let mut failed = None;
            let mut out = |within: &[Tag], element: &[u8]| {
                given.parts += 1;
                sink.part(within, element).map_err(|error| {
                    let text = error.to_string();
                    failed = Some(error);
                    StoreError::Other(text)
                })
            };
            let done =
                give(&mut Giving { tx: &mut *tx, owner, config: self.config, out: &mut out });
            if let Some(error) = failed {
                return Err(error.into());
            }
            done?;
        }
        Ok(())
    }
}

/// The domain that a room's service is below.
fn above(room: &BareJid) -> String {
    let domain = room.domain();
    domain.split_once('.').map_or(domain, |(_, host)| host).to_owned()
}

/// The domains that have accounts.
fn hosts(tx: &mut dyn Tx) -> Result<Vec<String>, StoreError> {
    let mut hosts: Vec<String> = Vec::new();
    loop {
        // Behind all names of the last one.
        let after = hosts.last().map(|host| (host.as_str(), "\u{10ffff}"));
        match accounts::list(tx, None, after, 1)?.pop() {
            Some(account) => hosts.push(account.host),
            None => return Ok(hosts),
        }
    }
}

/// Accounts that are read at once.
const PAGE: usize = 100;
