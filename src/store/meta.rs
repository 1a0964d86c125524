//! Named values of the server itself: its secrets.

use super::damage::{self, sound};
use super::ids::AccountId;
use super::tx::{StoreError, Tx, query_optional};

/// Returns a secret of 32 bytes that is made once: the stored one, or otherwise `fresh`, which is then
/// stored. A damaged secret is replaced, too: everything made with it becomes invalid, but the server starts.
pub fn get_or_create_secret(
    tx: &mut dyn Tx,
    name: &str,
    fresh: &[u8; 32],
) -> Result<[u8; 32], StoreError> {
    if let Some(kept) = get(tx, name)? {
        if let Ok(kept) = kept.try_into() {
            return Ok(kept);
        }
        damage::note(SERVER, &format_args!("the secret {name} has a wrong size"));
    }
    set(tx, name, fresh)?;
    Ok(*fresh)
}

/// Returns a value; `None` if it cannot be read.
pub fn get(tx: &mut dyn Tx, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let read = query_optional(tx, GET, &[name.into()], |row| Ok(sound(SERVER, row.blob(0))))?;
    Ok(read.flatten())
}

/// Sets a value.
pub fn set(tx: &mut dyn Tx, name: &str, value: &[u8]) -> Result<(), StoreError> {
    tx.execute(SET, &[name.into(), value.into()])?;
    Ok(())
}

/// Removes a value.
pub fn forget(tx: &mut dyn Tx, name: &str) -> Result<(), StoreError> {
    tx.execute(FORGET, &[name.into()])?;
    Ok(())
}

/// These rows belong to no account.
const SERVER: damage::Of<AccountId> = ("meta", AccountId(0));

/// The name of the token key among the server's secrets. Restoring a backup deletes it, because the backup
/// may contain tokens that were revoked since.
pub(super) const TOKEN_KEY: &str = "fast-tokens";

super::sql! {
    FORGET = "DELETE FROM meta WHERE name = $1";
    GET = "SELECT value FROM meta WHERE name = $1";
    SET = "INSERT INTO meta (name, value) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_secret_is_made_once() {
        testing::tx(|tx| {
            assert_eq!(get_or_create_secret(tx, "s", &[1; 32]), Ok([1; 32]));
            assert_eq!(get_or_create_secret(tx, "s", &[2; 32]), Ok([1; 32]));
            assert_eq!(get_or_create_secret(tx, "t", &[2; 32]), Ok([2; 32]));
            set(tx, "s", b"short").unwrap();
            assert_eq!(get(tx, "s"), Ok(Some(b"short".to_vec())));
            assert_eq!(get_or_create_secret(tx, "s", &[3; 32]), Ok([3; 32]));
            assert_eq!(get_or_create_secret(tx, "s", &[4; 32]), Ok([3; 32]));
            assert_eq!(get(tx, "u"), Ok(None));
            forget(tx, "t").unwrap();
            assert_eq!(get(tx, "t"), Ok(None));
        });
    }
}
