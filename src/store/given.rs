//! Contacts that the server gives to accounts, each in a group of the roster. They are kept apart from the
//! account's own items: what is taken away again leaves nothing behind, and takes nothing along.

use super::damage::query_sound;
use super::ids::AccountId;
use super::tx::{StoreError, Tx};
use crate::jid::BareJid;

/// A contact as it is given in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The group, which is one of the item's.
    pub group: String,
    /// The contact's name, unless the account has another for it.
    pub name: Option<String>,
}

/// How a contact is given to an account, in the order of the groups; empty if it is not.
pub fn of(tx: &mut dyn Tx, account: AccountId, jid: &str) -> Result<Vec<Given>, StoreError> {
    query_sound(tx, (TABLE, account), OF, &[account.into(), jid.into()], |row| {
        Ok(Given { group: label(row.text(0)?)?, name: row.opt_text(1)?.map(label).transpose()? })
    })
}

/// All contacts that are given to an account, in the order of their JIDs and groups.
pub fn all(tx: &mut dyn Tx, account: AccountId) -> Result<Vec<(String, Given)>, StoreError> {
    query_sound(tx, (TABLE, account), ALL, &[account.into()], |row| {
        let jid = row.text(0)?;
        // Every reader treats it as an address.
        if BareJid::parse(&jid).is_err() {
            return Err(StoreError::Corrupt(format!("{jid:?} is no JID")));
        }
        let name = row.opt_text(2)?.map(label).transpose()?;
        Ok((jid, Given { group: label(row.text(1)?)?, name }))
    })
}

/// Gives a contact in a group, or names it anew there.
pub fn give(
    tx: &mut dyn Tx,
    account: AccountId,
    jid: &str,
    given: &Given,
) -> Result<(), StoreError> {
    let name = given.name.as_ref().into();
    tx.execute(GIVE, &[account.into(), jid.into(), (&given.group).into(), name])?;
    Ok(())
}

/// Takes a contact out of a group in which it was given.
pub fn take(tx: &mut dyn Tx, account: AccountId, jid: &str, group: &str) -> Result<(), StoreError> {
    tx.execute(TAKE, &[account.into(), jid.into(), group.into()])?;
    Ok(())
}

/// A name of a contact or a group.
fn label(text: String) -> Result<String, StoreError> {
    match text.contains('\0') {
        true => Err(StoreError::Corrupt("a name that nobody can have written".to_owned())),
        false => Ok(text),
    }
}

const TABLE: &str = "roster_given";

super::sql! {
    OF = "SELECT label, name FROM roster_given WHERE account = $1 AND jid = $2 ORDER BY label";
    ALL = "SELECT jid, label, name FROM roster_given WHERE account = $1 ORDER BY jid, label";
    GIVE = "INSERT INTO roster_given (account, jid, label, name) VALUES ($1, $2, $3, $4)
        ON CONFLICT (account, jid, label) DO UPDATE SET name = excluded.name";
    TAKE = "DELETE FROM roster_given WHERE account = $1 AND jid = $2 AND label = $3";
}
