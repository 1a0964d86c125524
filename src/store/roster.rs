//! Rosters (RFC 6121 §2) and the subscription requests that wait for an answer (§3.1.3).

use super::accounts::gone;
use super::damage::{query_sound, query_sound_one};
use super::ids::AccountId;
use super::tx::{Row, StoreError, Tx, query_one, query_optional};
use crate::jid::Jid;
use std::collections::BTreeMap;

/// The nine states of RFC 6121 Appendix A.1, seen from the account that owns the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Subscription {
    /// Neither is subscribed.
    #[default]
    None,
    /// Neither; the account has asked.
    NonePendingOut,
    /// Neither; the contact has asked.
    NonePendingIn,
    /// Neither; both have asked.
    NonePendingOutIn,
    /// The account is subscribed to the contact.
    To,
    /// The account is subscribed, and the contact has asked.
    ToPendingIn,
    /// The contact is subscribed to the account.
    From,
    /// The contact is subscribed, and the account has asked.
    FromPendingOut,
    /// Both are subscribed.
    Both,
}

impl Subscription {
    /// All nine, in the order of Appendix A.1.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::NonePendingOut,
        Self::NonePendingIn,
        Self::NonePendingOutIn,
        Self::To,
        Self::ToPendingIn,
        Self::From,
        Self::FromPendingOut,
        Self::Both,
    ];

    /// The name in the store (not on the wire, where pending-in does not show).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NonePendingOut => "none+out",
            Self::NonePendingIn => "none+in",
            Self::NonePendingOutIn => "none+out+in",
            Self::To => "to",
            Self::ToPendingIn => "to+in",
            Self::From => "from",
            Self::FromPendingOut => "from+out",
            Self::Both => "both",
        }
    }

    /// Whether the contact may see the account's presence: from or both.
    pub const fn shows_presence(self) -> bool {
        matches!(self, Self::From | Self::FromPendingOut | Self::Both)
    }

    /// Whether the account may see the contact's presence: to or both.
    pub const fn sees_presence(self) -> bool {
        matches!(self, Self::To | Self::ToPendingIn | Self::Both)
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What an account stores about a contact: a roster item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Item {
    /// The contact's JID in normal form.
    pub jid: String,
    /// The account's name for the contact.
    pub name: Option<String>,
    /// Without duplicates; read back in byte order.
    pub groups: Vec<String>,
    /// The state of the subscriptions.
    pub state: Subscription,
    /// Whether the contact's request is approved in advance (RFC 6121 §3.4).
    pub approved: bool,
    /// False if the item only records a request or an approval: such a contact is not in the roster that
    /// clients see (RFC 6121 §3.1.3).
    pub listed: bool,
    /// The roster's version at the item's last change; set by [`put`].
    pub ver: i64,
}

/// A whole roster, including items that are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// Rises by one with each change.
    pub ver: i64,
    /// By JID.
    pub items: BTreeMap<String, Item>,
}

/// Returns the roster of an account; empty, at version 0, if the account is gone.
pub fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Roster, StoreError> {
    let ver = query_optional(tx, VER, &[account.into()], |row| row.int(0))?.unwrap_or(0);
    let items = query_sound(tx, (ITEM_TABLE, account), ITEMS, &[account.into()], item_of)?;
    let mut items: BTreeMap<_, _> =
        items.into_iter().map(|item| (item.jid.clone(), item)).collect();
    query_sound(tx, (GROUP_TABLE, account), GROUPS, &[account.into()], |row| {
        let group = label(row.text(1)?)?;
        if let Some(item) = items.get_mut(&row.text(0)?) {
            item.groups.push(group);
        }
        Ok(())
    })?;
    Ok(Roster { ver, items })
}

/// Returns one item. A damaged item counts as missing: it is written anew.
pub fn item(tx: &mut dyn Tx, account: AccountId, jid: &str) -> Result<Option<Item>, StoreError> {
    let params = [account.into(), jid.into()];
    let of = (ITEM_TABLE, account);
    let Some(mut item) = query_sound_one(tx, of, ITEM, &params, item_of)? else {
        return Ok(None);
    };
    let of = (GROUP_TABLE, account);
    item.groups = query_sound(tx, of, ITEM_GROUPS, &params, |row| label(row.text(0)?))?;
    Ok(Some(item))
}

/// Adds or replaces an item; returns the roster's new version, which the item now has.
pub fn put(tx: &mut dyn Tx, account: AccountId, item: &Item) -> Result<i64, StoreError> {
    let ver = raise_ver(tx, account)?;
    let params = [
        account.into(),
        (&item.jid).into(),
        item.name.as_ref().into(),
        item.state.as_str().into(),
        item.approved.into(),
        item.listed.into(),
        ver.into(),
    ];
    tx.execute(PUT, &params)?;
    tx.execute(DELETE_GROUPS, &[account.into(), (&item.jid).into()])?;
    for group in &item.groups {
        tx.execute(PUT_GROUP, &[account.into(), (&item.jid).into(), group.into()])?;
    }
    Ok(ver)
}

/// Removes an item; returns the roster's new version, even if there was none.
pub fn remove(tx: &mut dyn Tx, account: AccountId, jid: &str) -> Result<i64, StoreError> {
    tx.execute(REMOVE, &[account.into(), jid.into()])?;
    raise_ver(tx, account)
}

/// Counts the items that the account listed; the requests of others are counted by [`requested_by`].
pub fn count(tx: &mut dyn Tx, account: AccountId) -> Result<usize, StoreError> {
    let count = query_one(tx, COUNT, &[account.into(), true.into()], |row| row.int(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Stores a subscription request until the account answers it; a later request of the same contact replaces
/// it.
pub fn put_request(
    tx: &mut dyn Tx,
    account: AccountId,
    from: &str,
    stanza: &[u8],
    at: i64,
) -> Result<(), StoreError> {
    let params = [account.into(), from.into(), at.into(), stanza.into()];
    tx.execute(PUT_REQUEST, &params)?;
    Ok(())
}

/// Returns the waiting requests, oldest first.
pub fn requests(tx: &mut dyn Tx, account: AccountId) -> Result<Vec<Vec<u8>>, StoreError> {
    query_sound(tx, (REQUEST_TABLE, account), REQUESTS, &[account.into()], |row| row.blob(0))
}

/// Returns the bare JIDs whose requests wait.
pub fn requested_by(tx: &mut dyn Tx, account: AccountId) -> Result<Vec<String>, StoreError> {
    query_sound(tx, (REQUEST_TABLE, account), REQUESTED_BY, &[account.into()], |row| row.text(0))
}

/// Deletes a request; false if there was none.
pub fn remove_request(tx: &mut dyn Tx, account: AccountId, from: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(REMOVE_REQUEST, &[account.into(), from.into()])? > 0)
}

fn raise_ver(tx: &mut dyn Tx, account: AccountId) -> Result<i64, StoreError> {
    query_optional(tx, RAISE_VER, &[account.into()], |row| row.int(0))?.ok_or_else(gone)
}

fn item_of(row: &dyn Row) -> Result<Item, StoreError> {
    let state = row.text(2)?;
    let state = Subscription::parse(&state)
        .ok_or_else(|| StoreError::Corrupt(format!("unknown subscription state {state:?}")))?;
    let jid = row.text(0)?;
    // Every reader treats it as an address.
    if Jid::parse(&jid).is_err() {
        return Err(StoreError::Corrupt(format!("{jid:?} is no JID")));
    }
    Ok(Item {
        jid,
        name: row.opt_text(1)?.map(label).transpose()?,
        groups: Vec::new(),
        state,
        approved: row.bool(3)?,
        listed: row.bool(4)?,
        ver: row.int(5)?,
    })
}

/// A name of a contact or a group.
fn label(text: String) -> Result<String, StoreError> {
    match text.contains('\0') {
        true => Err(StoreError::Corrupt("a name that no client can have written".to_owned())),
        false => Ok(text),
    }
}

const ITEM_TABLE: &str = "roster_item";
const GROUP_TABLE: &str = "roster_group";
/// The stored stanzas pass the gate before they are sent.
pub const REQUEST_TABLE: &str = "roster_request";

super::sql! {
    VER = "SELECT roster_ver FROM account WHERE id = $1";
    RAISE_VER = "UPDATE account SET roster_ver = roster_ver + 1 WHERE id = $1 RETURNING roster_ver";
    ITEMS = "SELECT jid, name, state, approved, listed, ver FROM roster_item WHERE account = $1";
    ITEM = "SELECT jid, name, state, approved, listed, ver FROM roster_item
        WHERE account = $1 AND jid = $2";
    GROUPS = "SELECT jid, name FROM roster_group WHERE account = $1 ORDER BY jid, name";
    ITEM_GROUPS = "SELECT name FROM roster_group WHERE account = $1 AND jid = $2 ORDER BY name";
    PUT = "INSERT INTO roster_item (account, jid, name, state, approved, listed, ver)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (account, jid) DO UPDATE SET name = excluded.name, state = excluded.state,
            approved = excluded.approved, listed = excluded.listed, ver = excluded.ver";
    PUT_GROUP = "INSERT INTO roster_group (account, jid, name) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING";
    DELETE_GROUPS = "DELETE FROM roster_group WHERE account = $1 AND jid = $2";
    REMOVE = "DELETE FROM roster_item WHERE account = $1 AND jid = $2";
    COUNT = "SELECT COUNT(*) FROM roster_item WHERE account = $1 AND listed = $2";
    PUT_REQUEST = "INSERT INTO roster_request (account, jid, at, stanza) VALUES ($1, $2, $3, $4)
        ON CONFLICT (account, jid) DO UPDATE SET at = excluded.at, stanza = excluded.stanza";
    REQUESTS = "SELECT stanza FROM roster_request WHERE account = $1 ORDER BY at, jid";
    REQUESTED_BY = "SELECT jid FROM roster_request WHERE account = $1 ORDER BY jid";
    REMOVE_REQUEST = "DELETE FROM roster_request WHERE account = $1 AND jid = $2";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn contact(jid: &str, groups: &[&str]) -> Item {
        let groups = groups.iter().map(ToString::to_string).collect();
        Item { jid: jid.to_owned(), groups, listed: true, ..Item::default() }
    }

    #[test]
    fn states_have_names_both_ways() {
        for state in Subscription::ALL {
            assert_eq!(Subscription::parse(state.as_str()), Some(state));
        }
        assert_eq!(Subscription::parse("remove"), None);
    }

    #[test]
    fn each_change_raises_the_version_and_marks_its_item() {
        testing::account_tx(|tx, me| {
            assert_eq!(load(tx, me), Ok(Roster::default()));
            let juliet = Item {
                name: Some("Juliet".to_owned()),
                state: Subscription::FromPendingOut,
                approved: true,
                ..contact("juliet@x", &["a", "b"])
            };
            assert_eq!(put(tx, me, &juliet), Ok(1));
            assert_eq!(put(tx, me, &contact("nurse@x", &[])), Ok(2));
            let roster = load(tx, me).unwrap();
            assert_eq!(roster.ver, 2);
            assert_eq!(roster.items["juliet@x"], Item { ver: 1, ..juliet.clone() });
            assert_eq!(item(tx, me, "juliet@x"), Ok(Some(Item { ver: 1, ..juliet })));
            assert_eq!(put(tx, me, &contact("juliet@x", &["b", "c"])), Ok(3));
            assert_eq!(item(tx, me, "juliet@x").unwrap().unwrap().groups, ["b", "c"]);
            let asked = Item { listed: false, ..contact("stranger@x", &[]) };
            assert_eq!(put(tx, me, &asked), Ok(4));
            assert_eq!(count(tx, me), Ok(2), "what the account listed");
            assert_eq!(remove(tx, me, "stranger@x"), Ok(5));
            assert_eq!(remove(tx, me, "juliet@x"), Ok(6));
            assert_eq!(load(tx, me).unwrap().items.into_keys().collect::<Vec<_>>(), ["nurse@x"]);
            assert_eq!(item(tx, me, "juliet@x"), Ok(None));
        });
    }

    #[test]
    fn a_request_waits_once_per_contact() {
        testing::account_tx(|tx, me| {
            put_request(tx, me, "b@x", b"first", 1).unwrap();
            put_request(tx, me, "a@x", b"second", 2).unwrap();
            put_request(tx, me, "b@x", b"third", 3).unwrap();
            assert_eq!(requests(tx, me), Ok(vec![b"second".to_vec(), b"third".to_vec()]));
            assert_eq!(requested_by(tx, me), Ok(vec!["a@x".to_owned(), "b@x".to_owned()]));
            assert_eq!(remove_request(tx, me, "b@x"), Ok(true));
            assert_eq!(remove_request(tx, me, "b@x"), Ok(false));
            assert_eq!(requested_by(tx, me), Ok(vec!["a@x".to_owned()]));
        });
    }
}
