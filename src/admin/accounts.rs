//! The operator's verbs over accounts. They change the store only; the caller ends the sessions.

use super::{CertError, PeerError, Rank, RoomError, Secret, TeamError, UserQuery};
use crate::base::credential::{AgentId, ScramKeys};
use crate::base::id::OsRng;
use crate::base::role::Role;
use crate::base::time::micros;
use crate::jid::{BareJid, Jid, JidError};
use crate::store::accounts::{self, Account, Creation, Removed};
use crate::store::devices::{self, Device};
use crate::store::invitations;
use crate::store::{BackupError, Store, StoreError};
use crate::stream::sasl::keys::{PasswordError, derive_all};
use std::time::SystemTime;

/// Why a verb failed; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The text is not the address of an account.
    #[error("`{0}` is not the address of an account ({1}); write it like alice@example.org")]
    Address(String, String),
    /// The domain is not served, so nobody could log in to the account.
    #[error(
        "the domain {domain} is not served here, only: {served}; correct the address, or add a \
         [[host]] section for the domain to the configuration and restart the server"
    )]
    NotServed {
        /// The domain of the address.
        domain: String,
        /// All served domains.
        served: String,
    },
    /// The name is taken.
    #[error("{0} exists already; `stonechat user passwd {0}` sets another password")]
    Exists(BareJid),
    /// The name belongs to a deleted account that can still be restored.
    #[error(
        "{0} was deleted and can be restored: `stonechat user restore {0}` does that, and \
         `stonechat user del --now {0}` frees the name"
    )]
    Removed(BareJid),
    /// There is nothing to restore.
    #[error(
        "there is no deleted account {0} to restore; `stonechat user list --deleted` shows all, and \
         after `modules.register.grace_days` only a backup has what was deleted"
    )]
    NotRemoved(BareJid),
    /// No such account.
    #[error("there is no account {0}; `stonechat user list` shows all")]
    Unknown(BareJid),
    /// No such device.
    #[error("{0} has no device {1}; `stonechat user devices {0}` shows all")]
    UnknownDevice(BareJid, String),
    /// Nobody is logged in there.
    #[error("{0} is not online; there is no session to end")]
    NotOnline(Jid),
    /// The account is an admin whom this one may not touch.
    #[error("{0} is {role}; only an owner of the server may do that", role = .1.as_str())]
    Above(BareJid, Role),
    /// Whoever asks may not use the verb, whomever it is about: the verb, and who may.
    #[error("{0} is for {who}s; ask one of them, or use a token with more rights", who = .1.as_str())]
    Forbidden(&'static str, Rank),
    /// No name for a token.
    #[error(
        "the name of a token has 1 to 64 letters, digits, dots, dashes or underscores; name it so"
    )]
    TokenName,
    /// The name is taken, or there are too many.
    #[error(
        "there is a token {0} already, or {1} in all; `stonechat token revoke {0}` frees the name"
    )]
    TokenExists(String, i64),
    /// No such token.
    #[error("there is no token {0} that could be revoked; `stonechat token list` shows all")]
    UnknownToken(String),
    /// A relative path would be resolved in the server's folder, not where the command was given.
    #[error("the path of a backup starts with /")]
    BackupPath,
    /// A backup failed.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// No such section of the configuration.
    #[error(
        "there is no key or section {0} in the configuration; `stonechat config show` shows all"
    )]
    UnknownSection(String),
    /// Only a running server has it.
    #[error("only the running server has that; start it first")]
    NotHere,
    /// A verb gave something else than it says; a fault of the server.
    #[error("the server is at fault: {0} gave {1}; please report it")]
    Mixed(&'static str, &'static str),
    /// No such report.
    #[error("there is no report {0}; `stonechat reports list --all` shows all")]
    UnknownReport(i64),
    /// The text is no time.
    #[error("`{0}` is no time; write it like 2026-01-31 or 2026-01-31T12:00:00Z")]
    Time(String),
    /// The text names no uploaded file.
    #[error(
        "`{0}` is neither the id of an uploaded file nor a link to one; `stonechat upload list ADDRESS` shows ids"
    )]
    File(String),
    /// There are no such files.
    #[error(
        "nothing is deleted, as no such file is there (any more): {0}; `stonechat upload list ADDRESS` shows all"
    )]
    NoFile(String),
    /// The password is not acceptable.
    #[error("{0}; choose another password")]
    Password(#[from] PasswordError),
    /// No such invitation.
    #[error("there is no such invitation; `stonechat invite list` shows all that are open")]
    UnknownInvitation,
    /// An open invitation keeps the name.
    #[error(
        "the name {0} is kept for another invitation; revoke that one first (`stonechat invite list` \
         shows it)"
    )]
    Reserved(BareJid),
    /// The account has too many open invitations.
    #[error("{0} invitations are open already; revoke one, or wait until one is used or expires")]
    TooManyInvitations(u32),
    /// A number that makes no sense: what it is of, and the greatest one.
    #[error("{0} is a number from 1 to {1}; give the command again")]
    Amount(&'static str, u32),
    /// No name for a team.
    #[error("the name of a team has 1 to 128 bytes and no line breaks; give the command again")]
    TeamName,
    /// No such team, for an invitation.
    #[error(
        "there is no team {0} that somebody could be invited to; `stonechat team list` shows all, and \
         `stonechat team add \"{0}\"` makes this one"
    )]
    NoTeam(String),
    /// Several domains are served.
    #[error("several domains are served ({0}); say on which one: --domain DOMAIN")]
    WhichDomain(String),
    /// Clients make no accounts and set no passwords of strangers.
    #[error(
        "`modules.register.mode` is \"closed\", so no client could use the link; set it to \
         \"invitation\" and restart the server, or use `stonechat user add` and `user passwd`"
    )]
    Closed,
    /// A verb over teams failed.
    #[error(transparent)]
    Team(#[from] TeamError),
    /// A verb over rooms failed.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// A verb over other servers failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A verb over certificates failed.
    #[error(transparent)]
    Certificate(#[from] CertError),
    /// Some were not sent an announcement: how many were, and how many were not.
    #[error(
        "the server can store no messages now: {0} accounts were sent it and {1} were not; make room on \
         the disk, and make the announcement again"
    )]
    Unsent(usize, usize),
    /// The store failed.
    #[error("nothing was changed: {0}")]
    Store(#[from] StoreError),
    /// The server is stopping.
    #[error("nothing was changed: the server is stopping; try again when it runs")]
    Stopping,
}

/// What kind of failure it is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The arguments make no sense.
    Invalid,
    /// There is no such thing.
    Unknown,
    /// There is such a thing already, or it is in another state.
    Conflict,
    /// Whoever asks may not.
    Forbidden,
    /// The server cannot do it now, or as it is configured.
    Unavailable,
    /// It went wrong.
    Failed,
}

impl AdminError {
    /// What kind of failure it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Address(..)
            | Self::Amount(..)
            | Self::TeamName
            | Self::TokenName
            | Self::Time(_)
            | Self::File(_)
            | Self::Password(_)
            | Self::WhichDomain(_)
            | Self::BackupPath
            | Self::Team(TeamError::Name(..))
            | Self::Room(
                RoomError::Address(..)
                | RoomError::Which(..)
                | RoomError::Itself(_)
                | RoomError::Preset(_)
                | RoomError::Name(_)
                | RoomError::Affiliation(_),
            )
            | Self::Peer(PeerError::Domain(..) | PeerError::Ours(_) | PeerError::NotOurs(..)) => {
                Kind::Invalid
            }
            Self::Unknown(_)
            | Self::NotRemoved(_)
            | Self::NotServed { .. }
            | Self::UnknownReport(_)
            | Self::NoFile(_)
            | Self::NoTeam(_)
            | Self::UnknownInvitation
            | Self::UnknownDevice(..)
            | Self::UnknownToken(_)
            | Self::UnknownSection(_)
            | Self::Team(TeamError::Unknown(_) | TeamError::NoRoom(..) | TeamError::NoMember(..))
            | Self::Room(RoomError::Unknown(_) | RoomError::None)
            | Self::Peer(PeerError::NoRule(_)) => Kind::Unknown,
            Self::Exists(_)
            | Self::Removed(_)
            | Self::Reserved(_)
            | Self::TokenExists(..)
            | Self::NotOnline(_)
            | Self::TooManyInvitations(_)
            | Self::Team(_)
            | Self::Room(RoomError::Exists(_) | RoomError::Temporary(_) | RoomError::Refused(_))
            | Self::Peer(PeerError::TooManyRules(_) | PeerError::NothingWaits(_)) => Kind::Conflict,
            Self::Above(..) | Self::Forbidden(..) => Kind::Forbidden,
            Self::Closed
            | Self::NotHere
            | Self::Unsent(..)
            | Self::Stopping
            | Self::Peer(PeerError::NotRunning)
            | Self::Certificate(CertError::NotRunning | CertError::Off) => Kind::Unavailable,
            Self::Certificate(CertError::Failed(_))
            | Self::Backup(_)
            | Self::Store(_)
            | Self::Mixed(..) => Kind::Failed,
        }
    }
}

/// Parses the address of an account.
pub fn parse(text: &str) -> Result<BareJid, AdminError> {
    let wrong = |why: String| AdminError::Address(text.to_owned(), why);
    let jid = BareJid::parse(text).map_err(|error: JidError| wrong(error.to_string()))?;
    match jid.local() {
        Some(_) => Ok(jid),
        None => Err(wrong("the part before the @ is missing".to_owned())),
    }
}

/// Creates an account.
#[allow(clippy::disallowed_methods)] // the wall clock, for the operator's own commands
pub async fn add(
    store: &Store,
    jid: &BareJid,
    password: &Secret,
    iterations: u32,
) -> Result<(), AdminError> {
    let keys = derive(password, iterations).await?;
    let (local, host) = parts(jid);
    let now = micros(SystemTime::now());
    let made = store.write(move |tx| accounts::create(tx, &local, &host, &keys, now)).await?;
    match made {
        Creation::Created(_) => Ok(()),
        Creation::Exists => Err(AdminError::Exists(jid.clone())),
        Creation::Removed => Err(AdminError::Removed(jid.clone())),
    }
}

/// Sets another password.
pub async fn passwd(
    store: &Store,
    jid: &BareJid,
    password: &Secret,
    iterations: u32,
) -> Result<(), AdminError> {
    let keys = derive(password, iterations).await?;
    let changed = change(store, jid, move |tx, account| {
        // Whoever has a link to a new password had it for the old one.
        invitations::revoke_passwords(tx, account.id)?;
        accounts::set_keys(tx, account.id, &keys)
    });
    changed.await?;
    Ok(())
}

/// Disables an account; false if it was disabled already.
pub async fn disable(store: &Store, jid: &BareJid) -> Result<bool, AdminError> {
    change(store, jid, |tx, account| {
        accounts::set_disabled(tx, account.id, true)?;
        Ok(!account.disabled)
    })
    .await
}

/// Enables an account again; false if it was enabled.
pub async fn enable(store: &Store, jid: &BareJid) -> Result<bool, AdminError> {
    change(store, jid, |tx, account| {
        accounts::set_disabled(tx, account.id, false)?;
        Ok(account.disabled)
    })
    .await
}

/// Finds the account of this name.
pub async fn find(store: &Store, jid: &BareJid) -> Result<Account, AdminError> {
    let (local, host) = parts(jid);
    let found = store.read(move |tx| accounts::find(tx, &local, &host)).await?;
    found.ok_or_else(|| AdminError::Unknown(jid.clone()))
}

/// The devices of an account, most recently seen first.
pub async fn devices(store: &Store, jid: &BareJid) -> Result<Vec<Device>, AdminError> {
    let id = find(store, jid).await?.id;
    devices::noted(store).await?;
    Ok(store.read(move |tx| devices::list(tx, id)).await?)
}

/// Forgets the device of this name and returns its id.
pub async fn revoke(store: &Store, jid: &BareJid, name: &str) -> Result<AgentId, AdminError> {
    let wanted = name.to_ascii_lowercase();
    devices::noted(store).await?;
    let revoked = change(store, jid, move |tx, account| {
        let all = devices::list(tx, account.id)?;
        let Some(found) = all.into_iter().find(|device| device.agent.name() == wanted) else {
            return Ok(None);
        };
        devices::revoke(tx, account.id, &found.agent)?;
        Ok(Some(found.agent))
    });
    revoked.await?.ok_or_else(|| AdminError::UnknownDevice(jid.clone(), name.to_owned()))
}

/// Forgets all devices and returns their number.
pub async fn revoke_all(store: &Store, jid: &BareJid) -> Result<usize, AdminError> {
    devices::noted(store).await?;
    change(store, jid, |tx, account| devices::revoke_all(tx, account.id)).await
}

/// Finds the removed account of this name.
pub async fn find_removed(store: &Store, jid: &BareJid) -> Result<Account, AdminError> {
    let (local, host) = parts(jid);
    let found = store.read(move |tx| accounts::find_removed(tx, &local, &host)).await?;
    found.map(|removed| removed.account).ok_or_else(|| AdminError::NotRemoved(jid.clone()))
}

/// Restores a removed account.
pub async fn restore(store: &Store, jid: &BareJid) -> Result<(), AdminError> {
    let id = find_removed(store, jid).await?.id;
    match store.write(move |tx| accounts::restore(tx, id)).await? {
        true => Ok(()),
        false => Err(AdminError::NotRemoved(jid.clone())),
    }
}

/// The accounts that can be restored, in the order in which they were removed.
pub async fn list_removed(store: &Store) -> Result<Vec<Removed>, AdminError> {
    Ok(store.read(|tx| accounts::removed_before(tx, i64::MAX, REMOVED_SHOWN)).await?)
}

/// The accounts of one domain, or of all domains, in order.
pub async fn list(store: &Store, domain: Option<&str>) -> Result<Vec<Account>, AdminError> {
    let mut all: Vec<Account> = Vec::new();
    loop {
        let domain = domain.map(str::to_owned);
        let last = all.last().map(|a| (a.host.clone(), a.localpart.clone()));
        // In pages, so that a long list does not occupy a reader of the store for too long.
        let page = store.read(move |tx| {
            let after = last.as_ref().map(|(host, local)| (host.as_str(), local.as_str()));
            accounts::list(tx, domain.as_deref(), after, PAGE)
        });
        let page = page.await?;
        // Damaged accounts are left out, so a short page need not be the last.
        let done = page.is_empty();
        all.extend(page);
        if done {
            return Ok(all);
        }
    }
}

/// Some accounts in order: those of one domain, or of all; and the address after which there are more.
pub async fn page(
    store: &Store,
    domain: Option<&str>,
    query: &UserQuery,
) -> Result<(Vec<Account>, Option<String>), AdminError> {
    let most = query.max.unwrap_or(usize::MAX);
    let words = query.search.as_deref().unwrap_or_default().to_lowercase();
    let mut last = match &query.after {
        Some(after) => Some(parts(&parse(after)?)).map(|(local, host)| (host, local)),
        None => None,
    };
    let mut found: Vec<Account> = Vec::new();
    loop {
        let (domain, from) = (domain.map(str::to_owned), last.clone());
        // In pages, so that a long list does not occupy a reader of the store for too long.
        let page = store.read(move |tx| {
            let after = from.as_ref().map(|(host, local)| (host.as_str(), local.as_str()));
            accounts::list(tx, domain.as_deref(), after, PAGE)
        });
        // Damaged accounts are left out, so a short page need not be the last.
        let page = page.await?;
        let Some(end) = page.last() else { return Ok((found, None)) };
        last = Some((end.host.clone(), end.localpart.clone()));
        for account in page {
            if !address(&account).contains(&words) {
                continue;
            }
            if found.len() >= most {
                let next = found.last().map(address);
                return Ok((found, next));
            }
            found.push(account);
        }
    }
}

/// An account's address.
pub fn address(account: &Account) -> String {
    format!("{}@{}", account.localpart, account.host)
}

/// The accounts with a role above a user's.
pub async fn admins(store: &Store) -> Result<Vec<(BareJid, Role)>, AdminError> {
    let found = store.read(|tx| accounts::admins(tx, ADMINS_SHOWN)).await?;
    let named = |account: Account| {
        let jid = BareJid::from_parts(Some(&account.localpart), &account.host).ok()?;
        Some((jid, account.role))
    };
    Ok(found.into_iter().filter_map(named).collect())
}

/// Finds the account and changes it in one transaction.
async fn change<T: Send + 'static>(
    store: &Store,
    jid: &BareJid,
    f: impl FnOnce(&mut dyn crate::store::Tx, &Account) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, AdminError> {
    let (local, host) = parts(jid);
    let changed = store.write(move |tx| match accounts::find(tx, &local, &host)? {
        Some(account) => f(tx, &account).map(Some),
        None => Ok(None),
    });
    changed.await?.ok_or_else(|| AdminError::Unknown(jid.clone()))
}

/// PBKDF2 takes milliseconds, so it must not run on a thread that serves sockets.
#[allow(clippy::disallowed_methods)]
async fn derive(password: &Secret, iterations: u32) -> Result<[ScramKeys; 3], AdminError> {
    let password = password.clone();
    let work = move || derive_all(&password.0, iterations, &mut OsRng);
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| AdminError::Stopping)??)
}

fn parts(jid: &BareJid) -> (String, String) {
    (jid.local().unwrap_or_default().to_owned(), jid.domain().to_owned())
}

/// Maximum number of accounts in one read.
const PAGE: usize = 1_000;
/// Maximum number of admins in one list.
const ADMINS_SHOWN: usize = 1_000;
/// Maximum number of removed accounts in one list; the others are shown once these are gone.
const REMOVED_SHOWN: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    fn jid(text: &str) -> BareJid {
        parse(text).unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    fn store(folder: &tempfile::TempDir) -> Store {
        Store::open(Options::new(folder.path().join("x.db"))).unwrap()
    }

    #[test]
    fn only_addresses_of_accounts_are_read() {
        assert_eq!(parse("Alice@Example.ORG").unwrap().as_str(), "alice@example.org");
        for wrong in ["", "example.org", "@example.org", "a@b/phone", "a b@c"] {
            let told = parse(wrong).unwrap_err().to_string();
            assert!(told.contains("alice@example.org"), "{wrong}: {told}");
        }
    }

    #[tokio::test]
    async fn an_account_lives_and_dies() {
        let folder = tempfile::tempdir().unwrap();
        let (store, a) = (store(&folder), jid("a@x"));
        let missing = passwd(&store, &a, &secret("p"), 1).await.unwrap_err();
        assert!(missing.to_string().contains("no account a@x"), "{missing}");
        assert!(matches!(find(&store, &a).await, Err(AdminError::Unknown(_))));
        add(&store, &a, &secret("p"), 2).await.unwrap();
        let twice = add(&store, &a, &secret("p"), 2).await.unwrap_err().to_string();
        assert!(twice.contains("user passwd a@x"), "{twice}");
        let before = list(&store, None).await.unwrap()[0].epoch;
        passwd(&store, &a, &secret("q"), 3).await.unwrap();
        assert!(list(&store, None).await.unwrap()[0].epoch > before);
        let keys = store.read(|tx| accounts::all_keys(tx, "a", "x")).await.unwrap().unwrap().1;
        assert_eq!(keys.len(), 3);
        assert!(keys.iter().all(|keys| keys.iterations == 3));
        assert!(disable(&store, &a).await.unwrap() && !disable(&store, &a).await.unwrap());
        assert!(enable(&store, &a).await.unwrap() && !enable(&store, &a).await.unwrap());
        let id = find(&store, &a).await.unwrap().id;
        let early = restore(&store, &a).await.unwrap_err().to_string();
        assert!(early.contains("user list --deleted"), "{early}");
        store.write(move |tx| accounts::remove(tx, id, 5)).await.unwrap();
        assert!(list(&store, None).await.unwrap().is_empty());
        let taken = add(&store, &a, &secret("p"), 2).await.unwrap_err().to_string();
        assert!(taken.contains("user restore a@x") && taken.contains("del --now a@x"), "{taken}");
        let removed = list_removed(&store).await.unwrap();
        assert_eq!((removed.len(), removed[0].at), (1, 5));
        restore(&store, &a).await.unwrap();
        assert_eq!(find(&store, &a).await.unwrap().id, id);
    }

    #[tokio::test]
    async fn a_password_that_no_client_could_send_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        for wrong in ["", "\u{7}", &"x".repeat(2_000)] {
            let told = add(&store, &jid("a@x"), &secret(wrong), 1).await.unwrap_err().to_string();
            assert!(told.contains("choose another"), "{told}");
        }
    }

    #[tokio::test]
    async fn a_list_is_of_one_domain_or_of_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        for name in ["b@x", "a@y", "a@x"] {
            add(&store, &jid(name), &secret("p"), 1).await.unwrap();
        }
        let hosts = |list: Vec<Account>| {
            list.iter().map(|a| format!("{}@{}", a.localpart, a.host)).collect::<Vec<_>>()
        };
        assert_eq!(hosts(list(&store, None).await.unwrap()), ["a@x", "b@x", "a@y"]);
        assert_eq!(hosts(list(&store, Some("y")).await.unwrap()), ["a@y"]);
        assert!(list(&store, Some("z")).await.unwrap().is_empty());
    }
}
