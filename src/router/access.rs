//! The keys that open an account, remembered from one login to the next.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::base::credential::{HashName, ScramKeys};
use crate::store::AccessVersion;
use crate::store::ids::AccountId;
use crate::stream::sasl::throttle::Key;

/// The keys that an account's last login was checked against. Each use must first prove that they are
/// still fresh ([`Access::is_fresh`]), so they never have to be removed.
///
/// The time that an answer takes must not tell a stranger who has an account (RFC 5802 §9): with
/// remembered keys the answer for an account in use would come sooner than one that needs the store. So
/// only the address of the login that left them here gets these keys; it knows already that the account
/// exists. All other addresses wait for the store, whether or not there is such an account and whatever
/// is remembered.
pub struct Access {
    /// The account.
    pub account: AccountId,
    /// Its epoch.
    pub epoch: i64,
    version: AccessVersion,
    from: Key,
    /// [`mark`]s of two addresses before it.
    earlier: [u32; 2],
    hash: HashName,
    iterations: u32,
    /// Length of the salt in `bytes`; the two keys behind it are equally long.
    salt: usize,
    /// One allocation: this is part of what an idle session costs.
    bytes: Box<[u8]>,
}

impl Access {
    /// For a login that succeeded from the address `from`. The keys and the epoch were read when the
    /// store's access version was `version`, or later.
    pub fn new(
        account: AccountId,
        epoch: i64,
        version: AccessVersion,
        from: Key,
        keys: &ScramKeys,
    ) -> Self {
        let bytes = [&*keys.salt, &*keys.stored_key, &*keys.server_key].concat().into();
        let (hash, iterations, salt) = (keys.hash, keys.iterations, keys.salt.len());
        Self { account, epoch, version, from, earlier: [0; 2], hash, iterations, salt, bytes }
    }

    /// Replaces `before`, and takes over the addresses that it knows.
    pub fn after(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before {
            self.earlier = before.earlier;
            self.also_from(&before.from);
        }
        self
    }

    /// Notes a login from this address that did not use the password.
    pub fn also_from(&mut self, from: &Key) {
        if !self.is_from(from) {
            let [newer, _] = self.earlier;
            self.earlier = [mark(from), newer];
        }
    }

    /// Size in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    /// Whether nothing that opens or locks an account has changed since the keys were read.
    pub fn is_fresh(&self, version: AccessVersion) -> bool {
        self.version == version
    }

    /// Whether one of the last logins came from there: the last one with the password, or two others.
    pub fn is_from(&self, from: &Key) -> bool {
        self.from == *from || self.earlier.contains(&mark(from))
    }

    /// The keys, for another login from the same address.
    pub fn keys(&self, version: AccessVersion, from: &Key, hash: HashName) -> Option<ScramKeys> {
        if !self.is_fresh(version) || self.from != *from || self.hash != hash {
            return None;
        }
        let (salt, keys) = self.bytes.split_at_checked(self.salt)?;
        let (stored_key, server_key) = keys.split_at_checked(keys.len() / 2)?;
        Some(ScramKeys {
            hash,
            salt: salt.to_vec(),
            iterations: self.iterations,
            stored_key: stored_key.to_vec(),
            server_key: server_key.to_vec(),
        })
    }
}

/// A few bits of an address; a collision does no harm.
fn mark(address: &Key) -> u32 {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_ne_bytes();
    // 0 stands for no address.
    u32::from_ne_bytes([a, b, c, d]).max(1)
}

/// Prints nothing of the keys: see [`ScramKeys`].
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("account", &self.account).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn keys_are_for_the_same_address_until_anything_changes() {
        let key = |last| Key::from(IpAddr::from([192, 0, 2, last]));
        let keys = ScramKeys {
            hash: HashName::Sha1,
            salt: vec![1; 16],
            iterations: 4096,
            stored_key: vec![2; 20],
            server_key: vec![3; 20],
        };
        let (read, later) = (AccessVersion::of(5), AccessVersion::of(6));
        let access = Access::new(AccountId(1), 7, read, key(1), &keys);
        assert!(access.is_from(&key(1)) && !access.is_from(&key(2)));
        assert!(access.keys(read, &key(1), HashName::Sha1) == Some(keys));
        for (version, from, hash) in [
            (later, key(1), HashName::Sha1),
            (read, key(2), HashName::Sha1),
            (read, key(1), HashName::Sha256),
        ] {
            assert!(access.keys(version, &from, hash).is_none());
        }
    }

    /// A phone uses many networks; a login from one of them must not displace the office.
    #[test]
    fn the_last_three_addresses_are_known() {
        let key = |last| Key::from(IpAddr::from([192, 0, 2, last]));
        let keys = ScramKeys {
            hash: HashName::Sha1,
            salt: Vec::new(),
            iterations: 4096,
            stored_key: Vec::new(),
            server_key: Vec::new(),
        };
        let login = |from, before| {
            Access::new(AccountId(1), 7, AccessVersion::of(5), key(from), &keys).after(before)
        };
        let known =
            |access: &Access| (1..6).filter(|n| access.is_from(&key(*n))).collect::<Vec<_>>();
        let one = login(1, None);
        let two = login(2, Some(&one));
        let mut three = login(3, Some(&two));
        assert_eq!(known(&three), [1, 2, 3]);
        assert_eq!(known(&login(4, Some(&three))), [2, 3, 4]);
        assert_eq!(known(&login(1, Some(&three))), [1, 2, 3]);
        three.also_from(&key(3));
        assert_eq!(known(&three), [1, 2, 3]);
        three.also_from(&key(5));
        assert_eq!(known(&three), [2, 3, 5]);
        // Only the last one gets the keys.
        assert!(three.keys(AccessVersion::of(5), &key(3), HashName::Sha1).is_some());
        assert!(three.keys(AccessVersion::of(5), &key(2), HashName::Sha1).is_none());
    }
}
