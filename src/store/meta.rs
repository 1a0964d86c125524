//! Values of the server itself by name: its secrets.

use super::tx::{StoreError, Tx, query_one, query_optional};

/// A secret of 32 bytes that is made once: the stored one, or `fresh`, which is then stored.
pub fn get_or_create_secret(
    tx: &mut dyn Tx,
    name: &str,
    fresh: &[u8; 32],
) -> Result<[u8; 32], StoreError> {
    tx.execute(CREATE, &[name.into(), fresh[..].into()])?;
    let kept = query_one(tx, GET, &[name.into()], |row| row.blob(0))?;
    kept.try_into().map_err(|_| StoreError::Corrupt(format!("the secret {name} has a wrong size")))
}

/// A value.
pub fn get(tx: &mut dyn Tx, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    query_optional(tx, GET, &[name.into()], |row| row.blob(0))
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

super::sql! {
    FORGET = "DELETE FROM meta WHERE name = $1";
    CREATE = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
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
            assert!(get_or_create_secret(tx, "s", &[1; 32]).is_err());
            assert_eq!(get(tx, "u"), Ok(None));
            forget(tx, "t").unwrap();
            assert_eq!(get(tx, "t"), Ok(None));
        });
    }
}
