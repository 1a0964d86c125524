//! XEP-0441: an account's archiving preferences.

use std::collections::BTreeMap;

use crate::jid::Jid;
use crate::store::damage::{query_sound, sound};
use crate::store::ids::AccountId;
use crate::store::tx::{Row, StoreError, Tx, query_optional};

/// The default for messages with an address in neither list (§2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// They are archived.
    #[default]
    Always = 0,
    /// They are not archived.
    Never = 1,
    /// They are archived if the address is a contact.
    Roster = 2,
}

impl Policy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Always, Self::Never, Self::Roster];

    /// The policy's name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Never => "never",
            Self::Roster => "roster",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }
}

/// The preferences of one account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preferences {
    /// For addresses that are not listed.
    pub policy: Policy,
    /// The listed JIDs, sorted, and whether messages with them are archived.
    exceptions: Box<[(Box<str>, bool)]>,
}

impl Preferences {
    /// Preferences with these lists. A JID in both lists is never archived, as that is more private.
    pub fn new(policy: Policy, always: &[Jid], never: &[Jid]) -> Self {
        let mut exceptions = BTreeMap::new();
        for (jids, kept) in [(always, true), (never, false)] {
            exceptions.extend(jids.iter().map(|jid| (Box::from(jid.as_str()), kept)));
        }
        Self { policy, exceptions: exceptions.into_iter().collect() }
    }

    /// The memory that they occupy.
    pub fn bytes(&self) -> usize {
        let listed = |(jid, _): &(Box<str>, bool)| size_of::<(Box<str>, bool)>() + jid.len();
        size_of::<Self>() + self.exceptions.iter().map(listed).sum::<usize>()
    }

    /// Whether they are those of an account that has never set any.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The JIDs whose messages are always archived, or never.
    pub fn listed(&self, kept: bool) -> impl Iterator<Item = &str> {
        let of_list = self.exceptions.iter().filter(move |(_, is_kept)| *is_kept == kept);
        of_list.map(|(jid, _)| &**jid)
    }

    /// Whether a message to or from this address is archived. §2.3.1: a listed full JID matches only itself,
    /// a bare JID all its resources; if both are listed, the full JID decides.
    pub fn keep(&self, with: &Jid, is_contact: impl FnOnce(&str) -> bool) -> bool {
        let listed = self.exception(with.as_str()).or_else(|| self.exception(with.bare_str()));
        listed.unwrap_or_else(|| match self.policy {
            Policy::Always => true,
            Policy::Never => false,
            Policy::Roster => is_contact(with.bare_str()),
        })
    }

    fn exception(&self, jid: &str) -> Option<bool> {
        let found = self.exceptions.binary_search_by(|(listed, _)| (**listed).cmp(jid)).ok()?;
        self.exceptions.get(found).map(|(_, kept)| *kept)
    }
}

/// An account's preferences; `None` if every message is archived. If they cannot be read, nothing is
/// archived: a message that was to be left out must not appear in the archive.
pub fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Option<Preferences>, StoreError> {
    let of = ("archive_policy", account);
    let read = |row: &dyn Row| Ok(sound(of, policy(row)));
    let Some(policy) = query_optional(tx, POLICY, &[account.into()], read)? else {
        return Ok(None);
    };
    let policy = policy.unwrap_or(Policy::Never);
    let of = ("archive_exception", account);
    let exceptions = query_sound(tx, of, EXCEPTIONS, &[account.into()], |row| {
        let kept = sound(of, row.int(1)).is_some_and(|kept| kept == 1);
        Ok((row.text(0)?.into_boxed_str(), kept))
    })?;
    // Sorted here, because the database may use another collation.
    let exceptions: BTreeMap<_, _> = exceptions.into_iter().collect();
    Ok(Some(Preferences { policy, exceptions: exceptions.into_iter().collect() }))
}

fn policy(row: &dyn Row) -> Result<Policy, StoreError> {
    let policy = row.int(0)?;
    let known = Policy::ALL.into_iter().find(|known| *known as i64 == policy);
    known.ok_or_else(|| StoreError::Corrupt(format!("unknown archive policy {policy}")))
}

/// Replaces an account's preferences.
pub fn save(
    tx: &mut dyn Tx,
    account: AccountId,
    preferences: &Preferences,
) -> Result<(), StoreError> {
    // This deletes the exceptions, too.
    tx.execute(CLEAR, &[account.into()])?;
    if preferences.is_default() {
        return Ok(());
    }
    tx.execute(PUT, &[account.into(), (preferences.policy as i64).into()])?;
    for (jid, kept) in &preferences.exceptions {
        tx.execute(EXCEPT, &[account.into(), (&**jid).into(), (*kept).into()])?;
    }
    Ok(())
}

crate::store::sql! {
    POLICY = "SELECT policy FROM archive_policy WHERE account = $1";
    EXCEPTIONS = "SELECT jid, kept FROM archive_exception WHERE account = $1";
    CLEAR = "DELETE FROM archive_policy WHERE account = $1";
    PUT = "INSERT INTO archive_policy (account, policy) VALUES ($1, $2)";
    EXCEPT = "INSERT INTO archive_exception (account, jid, kept) VALUES ($1, $2, $3)";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{accounts, testing};

    fn jids(jids: &[&str]) -> Vec<Jid> {
        jids.iter().map(|jid| Jid::parse(jid).unwrap()).collect()
    }

    #[test]
    fn the_lists_go_before_the_policy_and_full_jids_before_bare_ones() {
        let lists = |policy| {
            let always = jids(&["friend@x", "foe@x/good", "both@x", "Upper@X"]);
            Preferences::new(policy, &always, &jids(&["foe@x", "friend@x/bad", "both@x", "x"]))
        };
        for (with, always, never, roster) in [
            ("friend@x", true, true, true),
            ("friend@x/any", true, true, true),
            ("friend@x/bad", false, false, false),
            ("foe@x", false, false, false),
            ("foe@x/good", true, true, true),
            ("foe@x/Good", false, false, false),
            ("both@x/r", false, false, false),
            ("upper@x", true, true, true),
            ("x", false, false, false),
            ("other@x", true, false, false),
            ("contact@x/r", true, false, true),
        ] {
            let with = Jid::parse(with).unwrap();
            let kept = Policy::ALL
                .map(|policy| lists(policy).keep(&with, |contact| contact == "contact@x"));
            assert_eq!(kept, [always, never, roster], "{}", with.as_str());
        }
        assert!(Preferences::default().keep(&Jid::parse("a@x").unwrap(), |_| false));
    }

    #[test]
    fn what_was_saved_is_loaded_and_goes_with_its_account() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "other");
            assert_eq!(load(tx, me), Ok(None));
            for (policy, always, never) in [
                (Policy::Roster, &["b@x", "a@x/R"][..], &["c@x"][..]),
                (Policy::Never, &[], &["a@x/r", "a@x"]),
                (Policy::Always, &[], &["c@x"]),
            ] {
                let wanted = Preferences::new(policy, &jids(always), &jids(never));
                save(tx, me, &wanted).unwrap();
                assert_eq!(load(tx, me), Ok(Some(wanted)));
                assert_eq!(load(tx, other), Ok(None));
            }
            save(tx, other, &Preferences { policy: Policy::Never, ..Default::default() }).unwrap();
            save(tx, me, &Preferences::default()).unwrap();
            assert_eq!(load(tx, me), Ok(None));
            accounts::delete(tx, other).unwrap();
            assert_eq!(load(tx, other), Ok(None));
        });
    }
}
