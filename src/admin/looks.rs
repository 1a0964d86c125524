//! The verbs that only look at accounts.

use std::collections::BTreeMap;

use super::accounts::{self, AdminError};
use super::told::{
    AccountLine, AccountList, AccountShown, AdminLine, AdminList, BackupMade, DeviceLine,
    DeviceList, SessionLine, SessionList, UploadsKept,
};
use super::{Admins, Outcome, UserQuery};
use crate::base::role::Role;
use crate::base::time::{from_micros, stamp};
use crate::jid::BareJid;
use crate::store::accounts::{Account, Removed};
use crate::store::devices::{self, Device};
use crate::store::{Snapshot, Store, uploads};

/// Some accounts, of one domain or of all.
pub(super) async fn list(
    store: &Store,
    domain: Option<&str>,
    query: &UserQuery,
) -> Result<Outcome, AdminError> {
    let (found, next) = accounts::page(store, domain, query).await?;
    let line = |account: &Account| AccountLine {
        jid: accounts::address(account),
        disabled: account.disabled,
        deleted: None,
    };
    Ok(AccountList { accounts: found.iter().map(line).collect(), next }.into())
}

/// Some deleted accounts that can be restored.
pub(super) async fn removed(store: &Store, query: &UserQuery) -> Result<Outcome, AdminError> {
    let words = query.search.as_deref().unwrap_or_default().to_lowercase();
    let line = |removed: Removed| AccountLine {
        jid: accounts::address(&removed.account),
        disabled: removed.account.disabled,
        deleted: Some(at(removed.at)),
    };
    let removed = accounts::list_removed(store).await?.into_iter().map(line);
    let mut accounts: Vec<_> = removed.filter(|one| one.jid.contains(&words)).collect();
    if let Some(after) = &query.after {
        let place = accounts.iter().position(|one| one.jid == *after);
        accounts.drain(..place.map_or(0, |place| place + 1));
    }
    let most = query.max.unwrap_or(usize::MAX);
    let more = accounts.len() > most;
    accounts.truncate(most);
    let next = accounts.last().filter(|_| more).map(|one| one.jid.clone());
    Ok(AccountList { accounts, next }.into())
}

/// An account, a deleted one too, that has so many sessions.
pub(super) async fn show(
    store: &Store,
    admins: &Admins,
    jid: &BareJid,
    sessions: usize,
) -> Result<Outcome, AdminError> {
    let (account, deleted) = match accounts::find(store, jid).await {
        Ok(account) => (account, None),
        Err(unknown) => {
            let removed = accounts::list_removed(store).await?;
            let is_it = |one: &Removed| accounts::address(&one.account) == jid.as_str();
            let found = removed.into_iter().find(is_it).ok_or(unknown)?;
            (found.account, Some(at(found.at)))
        }
    };
    let id = account.id;
    let known = store.read(move |tx| Ok((devices::list(tx, id)?.len(), uploads::sum(tx, id)?)));
    let (devices, uploads) = known.await?;
    Ok(AccountShown {
        jid: jid.to_string(),
        disabled: account.disabled,
        role: account.role.max(admins.role(jid.as_str())),
        created: at(account.created),
        deleted,
        sessions,
        devices,
        upload_files: uploads.files,
        upload_bytes: uploads.bytes,
    }
    .into())
}

/// The accounts with a role above a user's, by the database or the configuration.
pub(super) async fn admins(store: &Store, admins: &Admins) -> Result<Outcome, AdminError> {
    let mut all = BTreeMap::<String, Role>::new();
    let stored = accounts::admins(store).await?;
    let stored = stored.into_iter().map(|(jid, role)| (jid.to_string(), role));
    let named = admins.all().map(|(jid, role)| (jid.to_owned(), role));
    for (jid, role) in stored.chain(named) {
        let known = all.entry(jid).or_default();
        *known = role.max(*known);
    }
    let admins = all.into_iter().map(|(jid, role)| AdminLine { jid, role });
    Ok(AdminList { admins: admins.collect() }.into())
}

/// The devices of an account.
pub(super) async fn devices(store: &Store, jid: &BareJid) -> Result<Outcome, AdminError> {
    let devices = accounts::devices(store, jid).await?;
    Ok(DeviceList { devices: devices.into_iter().map(device).collect() }.into())
}

/// The sessions of an account.
pub(super) fn sessions(jid: &BareJid, resources: Vec<String>) -> Outcome {
    let line = |resource| SessionLine { jid: format!("{jid}/{resource}") };
    SessionList { sessions: resources.into_iter().map(line).collect() }.into()
}

fn device(device: Device) -> DeviceLine {
    DeviceLine {
        id: device.agent.name(),
        software: device.software.to_string(),
        name: device.name.to_string(),
        first_seen: at(device.first_seen),
        last_seen: at(device.last_seen),
        token_until: device.token_until.map(at),
    }
}

fn at(micros: i64) -> String {
    stamp(from_micros(micros))
}

/// What is said of a finished backup.
pub fn backup_made(made: Snapshot) -> BackupMade {
    let Snapshot { path, bytes, uploads, took } = made;
    BackupMade {
        path: path.display().to_string(),
        bytes,
        milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        uploads: uploads.map(|kept| UploadsKept {
            folder: kept.folder.display().to_string(),
            files: kept.files,
            missing: kept.missing,
            bytes: kept.bytes,
        }),
    }
}
