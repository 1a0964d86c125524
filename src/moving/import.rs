//! Writes what a source gives: in batches, each of which is whole, and only what is not there yet.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::marks::{self, Marks};
use super::piece::{MovedAccount, PART_BYTES_MAX, PART_DEPTH_MAX, Piece, Source, SourceError};
use super::report::Report;
use super::table::Table;
use crate::base::credential::ScramKeys;
use crate::base::id::OsRng;
use crate::base::limits::Limits;
use crate::base::time::micros;
use crate::jid::BareJid;
use crate::modules::Config;
use crate::modules::api::{Holder, Module, MovedRooms, Own, Owner, Tag, Taken, Taking};
use crate::store::Store;
use crate::store::accounts::{self, Account, Creation};
use crate::store::ids::AccountId;
use crate::store::imported;
use crate::store::tx::{StoreError, Tx};
use crate::stream::sasl::keys::derive_all;
use crate::xml::gate::{self, Rules};
use crate::xml::ns;

/// Where things are moved to.
#[derive(Debug, Clone)]
pub struct Target {
    /// All modules.
    pub modules: &'static [&'static Module],
    /// Their settings.
    pub config: Arc<Config>,
    /// The bounds that all share.
    pub limits: Limits,
    /// The served domains, in normal form.
    pub hosts: Vec<String>,
    /// Accounts that are there get the password of the source.
    pub passwords: bool,
    /// The wall clock.
    pub now: SystemTime,
}

/// How far an import is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Pieces that were read.
    pub pieces: u64,
    /// A share of 1,000, if it is known.
    pub share: Option<u32>,
    /// Where the source is.
    pub place: String,
}

/// Told of the progress after each batch.
pub type Told = Box<dyn FnMut(&Progress) + Send>;

/// Why an import ended early. What was written before is in the report, and stays.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source cannot be read any further.
    #[error("{0}")]
    Source(SourceError),
    /// Something cannot be written.
    #[error("{0}")]
    Store(StoreError),
}

impl From<SourceError> for ImportError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Takes everything; returns what was written until the end or the error.
pub async fn import(
    store: &Store,
    mut source: Box<dyn Source>,
    target: Target,
    mut told: Told,
) -> (Report, Result<(), ImportError>) {
    let mut importer = Importer::new(target);
    let (mut report, mut pieces) = (Report::default(), 0);
    loop {
        let batch = match batch(&mut *source) {
            Ok(batch) => batch,
            Err(error) => return (report, Err(error.into())),
        };
        let is_last = batch.is_empty();
        pieces += batch.len() as u64;
        let wrote = store.write(move |tx| {
            importer.take(tx, batch)?;
            if is_last {
                importer.settle(tx)?;
            }
            Ok(importer)
        });
        importer = match wrote.await {
            Ok(importer) => importer,
            Err(error) => return (report, Err(error.into())),
        };
        report.clone_from(&importer.report);
        told(&Progress { pieces, share: source.progress(), place: source.place() });
        if is_last {
            return (report, Ok(()));
        }
    }
}

/// Does the same, and takes everything back: in one transaction, so it needs as much room on the disk for a while.
pub async fn try_out(
    store: &Store,
    mut source: Box<dyn Source>,
    target: Target,
    mut told: Told,
) -> (Report, Result<(), ImportError>) {
    let outcome = Arc::new(Mutex::new((Report::default(), Ok(()))));
    let kept = outcome.clone();
    let undone = store.write(move |tx| -> Result<(), StoreError> {
        let mut importer = Importer::new(target);
        let mut pieces = 0;
        let mut run = || -> Result<(), ImportError> {
            loop {
                let batch = batch(&mut *source)?;
                pieces += batch.len() as u64;
                if batch.is_empty() {
                    importer.settle(tx)?;
                    return Ok(());
                }
                importer.take(tx, batch)?;
                told(&Progress { pieces, share: source.progress(), place: source.place() });
            }
        };
        let done = run();
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = (importer.report, done);
        Err(StoreError::Other(UNDONE.to_owned()))
    });
    // It never succeeds.
    let _ = undone.await;
    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *outcome, (Report::default(), Ok(())))
}

/// Nobody sees it.
const UNDONE: &str = "this was tried out only";

/// The next pieces: none at the end.
fn batch(source: &mut dyn Source) -> Result<Vec<Piece>, SourceError> {
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    while pieces.len() < BATCH && bytes < BATCH_BYTES {
        let Some(piece) = source.next()? else { break };
        if let Piece::Part { xml, .. } = &piece {
            bytes += xml.len();
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

struct Importer {
    target: Target,
    table: Table,
    rooms: Vec<(MovedRooms, Option<String>)>,
    report: Report,
    /// What the parts that come are of; none: of something that was not taken.
    owner: Option<Owner>,
    own: Own,
    /// Accounts and rooms that came before.
    seen: HashSet<(Holder, i64)>,
    /// Accounts that this run made.
    made: HashSet<i64>,
    marks: Marks,
    /// What is not taken, and why, for its parts.
    lost: String,
}

impl Importer {
    fn new(target: Target) -> Self {
        let rooms = target.modules.iter().filter_map(|module| {
            let rooms = module.moves.rooms?;
            let label = module.service.and_then(|service| (service.label)(&target.config));
            Some((rooms, label.map(str::to_owned)))
        });
        Self {
            table: Table::of(target.modules),
            rooms: rooms.collect(),
            target,
            report: Report::default(),
            owner: None,
            own: Own::default(),
            seen: HashSet::new(),
            made: HashSet::new(),
            marks: Marks::default(),
            lost: String::new(),
        }
    }

    fn take(&mut self, tx: &mut dyn Tx, pieces: Vec<Piece>) -> Result<(), StoreError> {
        pieces.into_iter().try_for_each(|piece| match piece {
            Piece::Account(account) => self.account(tx, account),
            Piece::Room { jid } => self.room(tx, &jid),
            Piece::Part { within, xml } => self.part(tx, &within, xml),
            Piece::File(file) => {
                self.not("files", &file.name, "uploaded files are not moved yet");
                Ok(())
            }
            Piece::Untaken { what, which, why } => {
                self.not(&what, &which, &why);
                Ok(())
            }
        })
    }

    fn not(&mut self, what: &str, which: &str, why: &str) {
        let owner = self.owner.as_ref().map_or(self.lost.as_str(), |owner| owner.jid.as_str());
        self.report.not(what, owner, which, why);
    }

    /// Another owner: what follows from the parts of the last one is written.
    fn begin(&mut self, tx: &mut dyn Tx, owner: Option<Owner>) -> Result<(), StoreError> {
        if self.owner == owner && owner.is_some() {
            return Ok(());
        }
        self.settle(tx)?;
        (self.owner, self.own) = (owner, Own::default());
        Ok(())
    }

    fn settle(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        let Some(owner) = self.owner.take() else { return Ok(()) };
        let hooks = self.target.modules.iter().filter_map(|module| module.moves.settle);
        for settle in hooks.collect::<Vec<_>>() {
            let (config, limits, now) =
                (&*self.target.config, &self.target.limits, self.target.now);
            let (owner, own) = (&owner, &mut self.own);
            for one in settle(&mut Taking { tx, owner, config, limits, now, own })? {
                self.report.not(one.what, owner.jid.as_str(), &one.which, &one.why);
            }
        }
        Ok(())
    }

    fn account(&mut self, tx: &mut dyn Tx, account: MovedAccount) -> Result<(), StoreError> {
        let text = format!("{}@{}", account.name, account.host);
        if account.only_named {
            return self.named(tx, &account, text);
        }
        let owner = match self.address(&account) {
            Ok(jid) => match self.open(tx, &jid, account)? {
                Ok(id) => Ok(Owner { jid, holder: Holder::Account, key: id.0 }),
                Err(why) => Err(why),
            },
            Err(why) => Err(why),
        };
        match owner {
            Ok(owner) => self.begin(tx, Some(owner)),
            Err(why) => {
                self.begin(tx, None)?;
                self.report.not("accounts", "", &text, &why);
                self.lost = text;
                Ok(())
            }
        }
    }

    /// An account that is only named: of one that is not here nothing is taken.
    fn named(
        &mut self,
        tx: &mut dyn Tx,
        account: &MovedAccount,
        text: String,
    ) -> Result<(), StoreError> {
        let owner = match self.address(account) {
            Ok(jid) => accounts::find(tx, jid.local().unwrap_or_default(), jid.domain())?
                .map(|there| Owner { jid, holder: Holder::Account, key: there.id.0 }),
            Err(_) => None,
        };
        if owner.is_none() {
            self.lost = text;
        }
        self.begin(tx, owner)
    }

    fn address(&self, account: &MovedAccount) -> Result<BareJid, String> {
        if account.name.is_empty() {
            return Err("it has no name".to_owned());
        }
        let jid = BareJid::from_parts(Some(&account.name), &account.host);
        let jid = jid.map_err(|error| format!("this is no address of an account ({error})"))?;
        if !self.target.hosts.iter().any(|host| host == jid.domain()) {
            let domain = jid.domain();
            return Err(format!(
                "the domain {domain} is not served here; add a [[host]] section for it to the configuration"
            ));
        }
        Ok(jid)
    }

    /// The account's key: of one that is there, or a new one; or why there can be none.
    fn open(
        &mut self,
        tx: &mut dyn Tx,
        jid: &BareJid,
        account: MovedAccount,
    ) -> Result<Result<AccountId, String>, StoreError> {
        let (local, host) = (jid.local().unwrap_or_default(), jid.domain());
        if let Some(there) = accounts::find(tx, local, host)? {
            let is_first = self.seen.insert((Holder::Account, there.id.0));
            if is_first {
                self.report.there("accounts");
            }
            self.more_keys(tx, &there, is_first, account, jid)?;
            return Ok(Ok(there.id));
        }
        let (created, disabled) = (account.created, account.disabled);
        let keys = self.keys(account, jid);
        let created = created.unwrap_or_else(|| micros(self.target.now));
        match accounts::create(tx, local, host, &keys, created)? {
            Creation::Created(id) => {
                if disabled {
                    accounts::set_disabled(tx, id, true)?;
                }
                self.seen.insert((Holder::Account, id.0));
                self.made.insert(id.0);
                self.report.wrote("accounts");
                Ok(Ok(id))
            }
            Creation::Exists => Ok(Err("its row cannot be read".to_owned())),
            Creation::Removed => Ok(Err(format!(
                "it was deleted here and can be restored: `stonechat user restore {jid}` does that, and \
                 `stonechat user del --now {jid}` frees the name"
            ))),
        }
    }

    /// Keys for an account that is there: one that was there before keeps its own, unless the operator says otherwise;
    /// its owner may have changed or lost the password since.
    fn more_keys(
        &mut self,
        tx: &mut dyn Tx,
        there: &Account,
        is_first: bool,
        account: MovedAccount,
        jid: &BareJid,
    ) -> Result<(), StoreError> {
        let passwords = self.target.passwords;
        if !passwords && !self.made.contains(&there.id.0) {
            return Ok(());
        }
        let has = accounts::hashes(tx, there.id)?;
        let has_some = !account.keys.is_empty() || account.password.is_some();
        if has.is_empty() || passwords && is_first && has_some {
            let keys = self.keys(account, jid);
            if !keys.is_empty() {
                accounts::set_keys(tx, there.id, &keys)?;
            }
        } else if !is_first {
            for keys in unique(account.keys).iter().filter(|keys| !has.contains(&keys.hash)) {
                accounts::add_keys(tx, there.id, there.epoch, keys)?;
            }
        }
        Ok(())
    }

    /// The keys, or those of the password; without either nobody can log in until somebody sets one.
    fn keys(&mut self, account: MovedAccount, jid: &BareJid) -> Vec<ScramKeys> {
        if !account.keys.is_empty() {
            return unique(account.keys);
        }
        let iterations = self.target.config.scram_iterations;
        let derived = match &account.password {
            None => Err("it came without one".to_owned()),
            Some(secret) if is_name(&secret.0, &account.name, jid) => Err(IS_NAME.to_owned()),
            Some(secret) => {
                derive_all(&secret.0, iterations, &mut OsRng).map_err(|error| error.to_string())
            }
        };
        match derived {
            Ok(keys) => keys.to_vec(),
            Err(why) => {
                let why =
                    format!("{why}; `stonechat user reset-link {jid}` lets its owner set one");
                self.report.not("passwords", "", jid.as_str(), &why);
                Vec::new()
            }
        }
    }

    fn room(&mut self, tx: &mut dyn Tx, text: &str) -> Result<(), StoreError> {
        let opened = match self.room_address(text) {
            Ok((jid, rooms)) => {
                let (config, now) = (self.target.config.clone(), self.target.now);
                match (rooms.open)(tx, &config, &jid, now)? {
                    Ok((key, is_new)) => {
                        let owner = Owner { jid, holder: Holder::Room, key };
                        self.is_ours(tx, &owner, is_new)?.map(|()| (owner, is_new))
                    }
                    Err(why) => Err(why),
                }
            }
            Err(why) => Err(why),
        };
        match opened {
            Ok((owner, is_new)) => {
                let is_first = self.seen.insert((Holder::Room, owner.key));
                match is_new {
                    true => self.report.wrote("rooms"),
                    false if is_first => self.report.there("rooms"),
                    false => {}
                }
                self.begin(tx, Some(owner))
            }
            Err(why) => {
                self.begin(tx, None)?;
                self.report.not("rooms", "", text, &why);
                self.lost = text.to_owned();
                Ok(())
            }
        }
    }

    /// A room that an import made, this one or one before. One of the same name that people made is theirs: the other
    /// server's owners and its configuration have no right there.
    fn is_ours(
        &self,
        tx: &mut dyn Tx,
        owner: &Owner,
        is_new: bool,
    ) -> Result<Result<(), String>, StoreError> {
        let mark = marks::made(owner);
        if is_new {
            imported::put(tx, mark)?;
        } else if !imported::has(tx, mark)? {
            let why = "a room of this name was made here, so nothing of it is taken";
            return Ok(Err(why.to_owned()));
        }
        Ok(Ok(()))
    }

    fn room_address(&self, text: &str) -> Result<(BareJid, MovedRooms), String> {
        let jid = BareJid::parse(text).map_err(|error| format!("this is no address ({error})"))?;
        let mut domains = Vec::new();
        for (rooms, label) in &self.rooms {
            let Some(label) = label else { continue };
            for host in &self.target.hosts {
                let domain = format!("{label}.{host}");
                if jid.domain() == domain {
                    return Ok((jid, *rooms));
                }
                domains.push(domain);
            }
        }
        let all = domains.join(", ");
        Err(format!("there are no rooms at {} here, only at: {all}", jid.domain()))
    }

    fn part(&mut self, tx: &mut dyn Tx, within: &[Tag], xml: Vec<u8>) -> Result<(), StoreError> {
        let Some(owner) = &self.owner else {
            let why = "what they belong to was not taken";
            self.report.not("things without an owner", "", &self.lost, why);
            return Ok(());
        };
        if xml.len() > PART_BYTES_MAX {
            let why = format!("it has over {PART_BYTES_MAX} bytes");
            self.not("elements", "an element", &why);
            return Ok(());
        }
        let element = match gate::check(Bytes::from(xml), &RULES) {
            Ok(element) => element,
            Err(error) => {
                self.not("elements", "an element", &error.to_string());
                return Ok(());
            }
        };
        let doc = element.view();
        let root = doc.root();
        let Some(moved) = self.table.find(owner.holder, within, root) else {
            let which = format!("<{} xmlns='{}'>", root.name(), root.ns());
            self.not("unknown elements", &which, "nothing here keeps such data");
            return Ok(());
        };
        let mark = self.marks.next(owner, within, element.raw());
        if !imported::put(tx, mark)? {
            self.report.there(moved.what);
            return Ok(());
        }
        let (config, limits, now) = (&*self.target.config, &self.target.limits, self.target.now);
        let own = &mut self.own;
        let mut taking = Taking { tx, owner, config, limits, now, own };
        match (moved.take)(&mut taking, within, root)? {
            Taken::New => self.report.wrote(moved.what),
            Taken::There => self.report.there(moved.what),
            Taken::Not { which, why } => {
                // It may be taken another time.
                imported::forget(tx, mark)?;
                self.report.not(moved.what, owner.jid.as_str(), &which, &why);
            }
        }
        Ok(())
    }
}

/// Whether a password is the account's name, as it came or as it is here: Openfire writes it for one that it does not
/// know, and everybody could guess it.
fn is_name(password: &str, name: &str, jid: &BareJid) -> bool {
    let local = jid.local().unwrap_or_default();
    let (password, name) = (password.trim(), name.trim());
    let prepared = BareJid::from_parts(Some(password), jid.domain());
    password == name || password == local || prepared.is_ok_and(|it| it.local() == Some(local))
}

/// Why such a password is not taken.
const IS_NAME: &str =
    "it came with a password that is the name, as Openfire writes for one that it does not know";

/// One set of keys for each hash.
fn unique(mut keys: Vec<ScramKeys>) -> Vec<ScramKeys> {
    let mut hashes = Vec::new();
    keys.retain(|one| {
        let is_new = !hashes.contains(&one.hash);
        hashes.push(one.hash);
        is_new
    });
    keys
}

/// What a part may be; the content's own bounds are the modules'.
const RULES: Rules = Rules {
    content_ns: ns::CLIENT,
    depth_max: PART_DEPTH_MAX + 2,
    attributes_max: 100,
    children_max: 10_000,
};
/// Pieces of one transaction, and bytes after which it is full.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 4 * 1_048_576;
