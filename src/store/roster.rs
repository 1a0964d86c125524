//! Rosters (RFC 6121 §2) and the subscription requests that wait for an answer (§3.1.3).
//!
//! What is seen of a contact is the account's own item and what the server gives (`given.rs`), laid over it
//! whenever it is read. Only the account's own is written here.

use super::accounts::gone;
use super::damage::{query_sound, query_sound_one};
use super::given::{self, Given};
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
    /// How the server gives it, if it does: the contact is in these groups, both are subscribed, and neither
    /// is the account's to change.
    pub given: Vec<Given>,
}

impl Item {
    /// What is seen of an own item where the contact is also given.
    #[must_use]
    pub fn with(mut self, given: Vec<Given>) -> Self {
        if given.is_empty() {
            return self;
        }
        self.name = self.name.or_else(|| named(&given).map(str::to_owned));
        self.groups.extend(given.iter().map(|given| given.group.clone()));
        self.groups.sort();
        self.groups.dedup();
        Self { state: Subscription::Both, listed: true, given, ..self }
    }

    /// The reverse: the account's own part of what it wrote over `own`.
    fn without_given(&self, own: Self) -> Self {
        let name = self.name.as_deref();
        let as_given = own.name.is_none() && name == named(&self.given);
        let is_given = |group: &String| self.given.iter().any(|given| given.group == *group);
        let is_own = |group: &&String| !is_given(group) || own.groups.contains(group);
        let groups: Vec<String> = self.groups.iter().filter(is_own).cloned().collect();
        let name = self.name.clone().filter(|_| !as_given);
        let listed = own.listed || name.is_some() || !groups.is_empty();
        Self { name, groups, listed, ..own }
    }
}

/// The name under which a contact is given.
fn named(given: &[Given]) -> Option<&str> {
    given.iter().find_map(|given| given.name.as_deref())
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
    let mut given: BTreeMap<String, Vec<Given>> = BTreeMap::new();
    for (jid, one) in given::all(tx, account)? {
        given.entry(jid).or_default().push(one);
    }
    for (jid, given) in given {
        let own = items.remove(&jid).unwrap_or_else(|| unknown(&jid));
        items.insert(jid, own.with(given));
    }
    Ok(Roster { ver, items })
}

/// Returns one item, as it is seen.
pub fn item(tx: &mut dyn Tx, account: AccountId, jid: &str) -> Result<Option<Item>, StoreError> {
    let own = own(tx, account, jid)?;
    Ok(seen(own, jid, given::of(tx, account, jid)?))
}

/// What is seen of a contact.
pub fn seen(own: Option<Item>, jid: &str, given: Vec<Given>) -> Option<Item> {
    match own {
        None if given.is_empty() => None,
        own => Some(own.unwrap_or_else(|| unknown(jid)).with(given)),
    }
}

/// Returns the account's own item. A damaged item counts as missing: it is written anew.
pub fn own(tx: &mut dyn Tx, account: AccountId, jid: &str) -> Result<Option<Item>, StoreError> {
    let params = [account.into(), jid.into()];
    let of = (ITEM_TABLE, account);
    let Some(mut item) = query_sound_one(tx, of, ITEM, &params, item_of)? else {
        return Ok(None);
    };
    let of = (GROUP_TABLE, account);
    item.groups = query_sound(tx, of, ITEM_GROUPS, &params, |row| label(row.text(0)?))?;
    Ok(Some(item))
}

/// Adds or replaces an item; returns the roster's new version, which the item now has. Of one that is given,
/// the names are written that differ from the given ones, and the state stays what it is beneath.
pub fn put(tx: &mut dyn Tx, account: AccountId, item: &Item) -> Result<i64, StoreError> {
    if item.given.is_empty() {
        return put_own(tx, account, item);
    }
    let own = own(tx, account, &item.jid)?;
    let is_new = own.is_none();
    let own = item.without_given(own.unwrap_or_else(|| unknown(&item.jid)));
    match is_new && !own.listed {
        true => raise_ver(tx, account),
        false => put_own(tx, account, &own),
    }
}

fn put_own(tx: &mut dyn Tx, account: AccountId, item: &Item) -> Result<i64, StoreError> {
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

/// Removes the account's own item; returns the roster's new version, even if there was none.
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

/// The version of a roster after a change of what is given in it.
pub fn raise_ver(tx: &mut dyn Tx, account: AccountId) -> Result<i64, StoreError> {
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
        given: Vec::new(),
    })
}

/// The item of a contact that the account has none for.
fn unknown(jid: &str) -> Item {
    Item { jid: jid.to_owned(), ..Item::default() }
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

    fn given(group: &str, name: &str) -> Given {
        Given { group: group.to_owned(), name: Some(name.to_owned()) }
    }

    #[test]
    fn what_is_given_lies_over_what_is_own() {
        testing::account_tx(|tx, me| {
            let own = Item { state: Subscription::To, ..contact("juliet@x", &["friends"]) };
            put(tx, me, &own).unwrap();
            for jid in ["juliet@x", "nurse@x"] {
                given::give(tx, me, jid, &given("staff", "N.")).unwrap();
            }
            given::give(tx, me, "nurse@x", &given("cast", "Angelica")).unwrap();
            assert_eq!(raise_ver(tx, me), Ok(2));
            let seen = |tx: &mut dyn Tx, jid: &str| {
                let item = item(tx, me, jid).unwrap();
                assert_eq!(load(tx, me).unwrap().items.get(jid), item.as_ref());
                item.map(|item| (item.name, item.groups.join(" "), item.state, item.listed))
            };
            let both = Subscription::Both;
            let name = |name: &str| Some(name.to_owned());
            let together = || Some((name("N."), "friends staff".to_owned(), both, true));
            assert_eq!(seen(tx, "juliet@x"), together());
            let twice = Some((name("Angelica"), "cast staff".to_owned(), both, true));
            assert_eq!(seen(tx, "nurse@x"), twice);
            assert_eq!(own_of(tx, me, "nurse@x"), None);
            assert_eq!(count(tx, me), Ok(1), "what the account listed");
            for (jid, group) in [("juliet@x", "staff"), ("nurse@x", "cast"), ("nurse@x", "staff")] {
                given::take(tx, me, jid, group).unwrap();
            }
            assert_eq!(item(tx, me, "juliet@x"), Ok(Some(Item { ver: 1, ..own })));
            assert_eq!(item(tx, me, "nurse@x"), Ok(None));
        });
    }

    fn own_of(tx: &mut dyn Tx, me: AccountId, jid: &str) -> Option<Item> {
        own(tx, me, jid).unwrap()
    }

    /// A client writes an item as it saw it, with what it changed.
    #[test]
    fn of_a_given_item_only_what_differs_is_kept() {
        testing::account_tx(|tx, me| {
            given::give(tx, me, "a@x", &given("staff", "Al")).unwrap();
            let seen = item(tx, me, "a@x").unwrap().unwrap();
            assert_eq!(put(tx, me, &seen), Ok(1));
            assert_eq!(own_of(tx, me, "a@x"), None, "nothing was changed");
            let named = Item { name: Some("Boss".to_owned()), ..seen.clone() };
            put(tx, me, &named).unwrap();
            assert_eq!(item(tx, me, "a@x").unwrap().unwrap().name.as_deref(), Some("Boss"));
            let grouped = Item { groups: vec!["mine".to_owned(), "staff".to_owned()], ..named };
            let ver = put(tx, me, &grouped).unwrap();
            let left = Item { name: Some("Boss".to_owned()), ver, ..contact("a@x", &["mine"]) };
            assert_eq!(own_of(tx, me, "a@x"), Some(left));
            // An own group of the same name was there before, and stays.
            put(tx, me, &Item { name: None, ..contact("b@x", &["staff"]) }).unwrap();
            given::give(tx, me, "b@x", &given("staff", "Bo")).unwrap();
            let seen = item(tx, me, "b@x").unwrap().unwrap();
            put(tx, me, &seen).unwrap();
            let own = own_of(tx, me, "b@x").unwrap();
            assert_eq!((own.name, own.groups.len(), own.state), (None, 1, Subscription::None));
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
