//! The bearer tokens of the operator's API. Of each only a hash is stored: its 256 random bits need no slow one.

use super::tx::{Row, StoreError, Tx, query_all, query_one, query_optional};

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its number, which its text begins with.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// What it may do: [`crate::admin::Rank`] as a number.
    pub rank: i64,
    /// When it was made, in microseconds since 1970.
    pub made: i64,
    /// The moment from which it is no longer valid.
    pub expires: i64,
    /// When it was last used, to the minute.
    pub used: Option<i64>,
    /// When it was taken back.
    pub revoked: Option<i64>,
}

/// Adds a token; its number, or none if one of that name is there or there are too many.
pub fn add(
    tx: &mut dyn Tx,
    (name, rank): (&str, i64),
    hash: &[u8],
    (made, expires): (i64, i64),
) -> Result<Option<i64>, StoreError> {
    if query_one(tx, COUNT, &[0_i64.into()], |row| row.int(0))? >= TOKENS_MAX {
        return Ok(None);
    }
    let params = [name.into(), hash.into(), rank.into(), made.into(), expires.into()];
    query_optional(tx, ADD, &params, |row| row.int(0))
}

/// The token of a number, and the hash of its secret.
pub fn find(tx: &mut dyn Tx, id: i64) -> Result<Option<(ApiToken, Vec<u8>)>, StoreError> {
    query_optional(tx, FIND, &[id.into()], |row| Ok((token(row)?, row.blob(7)?)))
}

/// All that are kept, in the order in which they were made; at most [`TOKENS_MAX`].
pub fn all(tx: &mut dyn Tx) -> Result<Vec<ApiToken>, StoreError> {
    query_all(tx, ALL, &[0_i64.into(), TOKENS_MAX.into()], token)
}

/// Takes the token of this name back; false if there is none that is good.
pub fn revoke(tx: &mut dyn Tx, name: &str, now: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(REVOKE, &[name.into(), now.into()])? > 0)
}

/// Notes that a token was used.
pub fn used(tx: &mut dyn Tx, id: i64, now: i64) -> Result<(), StoreError> {
    tx.execute(USED, &[id.into(), now.into()]).map(drop)
}

/// Forgets those that ended before `at`; how many.
pub fn forget(tx: &mut dyn Tx, at: i64) -> Result<usize, StoreError> {
    tx.execute(FORGET, &[at.into(), 0_i64.into()])
}

fn token(row: &dyn Row) -> Result<ApiToken, StoreError> {
    Ok(ApiToken {
        id: row.int(0)?,
        name: row.text(1)?,
        rank: row.int(2)?,
        made: row.int(3)?,
        expires: row.int(4)?,
        used: row.opt_int(5)?,
        revoked: row.opt_int(6)?,
    })
}

/// Tokens that are kept, ended ones too.
pub const TOKENS_MAX: i64 = 1_000;

super::sql! {
    COUNT = "SELECT count(*) FROM api_token WHERE id > $1";
    ADD = "INSERT INTO api_token (name, hash, rank, made, expires) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING RETURNING id";
    FIND = "SELECT id, name, rank, made, expires, used, revoked, hash FROM api_token WHERE id = $1";
    ALL = "SELECT id, name, rank, made, expires, used, revoked FROM api_token
        WHERE id > $1 ORDER BY id LIMIT $2";
    REVOKE = "UPDATE api_token SET revoked = $2 WHERE name = $1 AND revoked IS NULL";
    USED = "UPDATE api_token SET used = $2 WHERE id = $1";
    FORGET = "DELETE FROM api_token WHERE id > $2 AND (expires < $1 OR revoked < $1)";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_name_is_free_again_when_its_token_was_taken_back() {
        testing::tx(|tx| {
            let first = add(tx, ("ci", 1), b"h", (5, 50)).unwrap().unwrap();
            assert_eq!(add(tx, ("ci", 1), b"i", (6, 60)).unwrap(), None);
            assert_eq!((revoke(tx, "ci", 7), revoke(tx, "ci", 8)), (Ok(true), Ok(false)));
            let second = add(tx, ("ci", 3), b"i", (6, 60)).unwrap().unwrap();
            used(tx, second, 9).unwrap();
            let (found, hash) = find(tx, second).unwrap().unwrap();
            assert_eq!((found.rank, found.used, hash), (3, Some(9), b"i".to_vec()));
            let ids: Vec<_> = all(tx).unwrap().into_iter().map(|one| one.id).collect();
            assert_eq!(ids, [first, second]);
            assert_eq!((forget(tx, 8), forget(tx, 61)), (Ok(1), Ok(1)));
        });
    }
}
