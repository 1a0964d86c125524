//! What an account stores, in bytes: its archive ([`archive::weigh`]) and everything else. Every table with
//! rows of accounts is listed here, or by the module that owns it.

use super::Store;
use super::archive::{self, BATCH, ROW_BYTES};
use super::ids::{AccountId, ArchiveId};
use super::tx::{StoreError, Tx, query_one};

/// The bytes of all tables but the archive's. All of these are bounded, so it is quick.
fn beside_archive(
    tx: &mut dyn Tx,
    account: AccountId,
    more: &[&'static str],
) -> Result<u64, StoreError> {
    // The account itself and its keys.
    let mut total = FIXED;
    let own = [
        MAILBOX, ITEMS, GROUPS, GIVEN, REQUESTS, SLEEPERS, DEVICES, EXCEPTIONS, STREAMS, LISTED,
        INVITED,
    ];
    for sql in own.iter().chain(more) {
        let (bytes, rows) =
            query_one(tx, sql, &[account.into()], |row| Ok((row.int(0)?, row.int(1)?)))?;
        let count = |int| u64::try_from(int).unwrap_or(0);
        total += count(bytes) + count(rows) * ROW_BYTES;
    }
    Ok(total)
}

impl Store {
    /// Returns what an account stores, in bytes. A large archive is read in pieces, so that other reads are
    /// served between them; rows written meanwhile may or may not count. `more` are statements for tables of
    /// the floors above: they return bytes and rows of an account.
    pub async fn stored_by(
        &self,
        account: AccountId,
        more: Vec<&'static str>,
    ) -> Result<u64, StoreError> {
        let beside = self.read(move |tx| beside_archive(tx, account, &more)).await?;
        Ok(beside.saturating_add(self.archive_bytes(ArchiveId::of(account)).await?))
    }

    /// Returns what an archive weighs, in the same way.
    pub async fn archive_bytes(&self, archive: ArchiveId) -> Result<u64, StoreError> {
        self.archive_weight(archive).await.map(|(_, bytes)| bytes)
    }

    /// Returns how many indexed rows an archive has, and their bytes.
    pub async fn archive_weight(&self, archive: ArchiveId) -> Result<(usize, u64), StoreError> {
        let (mut rows, mut total, mut after) = (0_usize, 0_u64, Some(i64::MIN));
        while let Some(from) = after {
            let piece = self.read(move |tx| archive::weigh(tx, archive, from, ROWS)).await?;
            (rows, total) = (rows.saturating_add(piece.rows), total.saturating_add(piece.bytes));
            after = piece.last;
        }
        Ok((rows, total))
    }

    /// Deletes the oldest rows of an archive that nobody is owed until so many bytes are gone, a few in each write, so
    /// that no other write waits for long; returns how many rows.
    pub async fn shed(&self, archive: ArchiveId, mut excess: u64) -> Result<usize, StoreError> {
        let (mut rows, mut after) = (0, i64::MIN);
        while excess > 0 {
            let (from, bytes) = (after, excess.min(BATCH_BYTES));
            let batch = move |tx: &mut dyn Tx| archive::shed(tx, archive, from, bytes, BATCH);
            let shed = self.write(batch).await?;
            excess = excess.saturating_sub(shed.bytes);
            rows += shed.rows;
            let Some(last) = shed.last else { break };
            after = last;
            tokio::task::yield_now().await;
        }
        Ok(rows)
    }
}

/// What one write deletes: it keeps all other writes waiting.
const BATCH_BYTES: u64 = 4 * 1_048_576;
/// Rows of an archive weighed in one read: about ten milliseconds.
const ROWS: usize = 20_000;
/// For tables with one row per account, or a few.
const FIXED: u64 = 1_000;

super::sql! {
    MAILBOX = "SELECT COALESCE(SUM(size), 0), COUNT(*) FROM mailbox WHERE account = $1";
    ITEMS = "SELECT COALESCE(SUM(OCTET_LENGTH(jid) + COALESCE(OCTET_LENGTH(name), 0)), 0), COUNT(*)
        FROM roster_item WHERE account = $1";
    GROUPS = "SELECT COALESCE(SUM(OCTET_LENGTH(jid) + OCTET_LENGTH(name)), 0), COUNT(*)
        FROM roster_group WHERE account = $1";
    GIVEN = "SELECT COALESCE(SUM(OCTET_LENGTH(jid) + OCTET_LENGTH(label) + COALESCE(OCTET_LENGTH(name), 0)), 0),
            COUNT(*)
        FROM roster_given WHERE account = $1";
    REQUESTS = "SELECT COALESCE(SUM(OCTET_LENGTH(jid) + OCTET_LENGTH(stanza)), 0), COUNT(*)
        FROM roster_request WHERE account = $1";
    SLEEPERS = "SELECT COALESCE(SUM(OCTET_LENGTH(state)), 0), COUNT(*)
        FROM sleeper WHERE account = $1";
    // Counts two tokens for each device.
    DEVICES = "SELECT COALESCE(SUM(OCTET_LENGTH(software) + OCTET_LENGTH(name)), 0), 3 * COUNT(*)
        FROM device WHERE account = $1";
    EXCEPTIONS = "SELECT COALESCE(SUM(OCTET_LENGTH(jid)), 0), COUNT(*)
        FROM archive_exception WHERE account = $1";
    STREAMS = "SELECT 0, COUNT(*) FROM handled WHERE account = $1";
    LISTED = "SELECT 0, COUNT(*) FROM owed_before WHERE account = $1";
    INVITED = "SELECT COALESCE(SUM(OCTET_LENGTH(host) + COALESCE(OCTET_LENGTH(localpart), 0)
        + COALESCE(OCTET_LENGTH(team), 0)), 0), COUNT(*) FROM invitation WHERE account = $1";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::super::{mailbox, roster};
    use super::*;

    #[test]
    fn what_is_stored_is_weighed_by_account() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "other");
            assert_eq!(beside_archive(tx, me, &[]), Ok(FIXED));
            mailbox::append(tx, me, 1, &[b'x'; 500], 1).unwrap();
            assert_eq!(beside_archive(tx, me, &[]), Ok(FIXED + 500 + ROW_BYTES));
            let item = roster::Item {
                jid: "a@x".to_owned(),
                name: Some("ä".to_owned()),
                groups: vec!["g".to_owned()],
                ..roster::Item::default()
            };
            roster::put(tx, me, &item).unwrap();
            assert_eq!(beside_archive(tx, me, &[]), Ok(FIXED + 500 + 3 * ROW_BYTES + 5 + 4));
            assert_eq!(beside_archive(tx, other, &[]), Ok(FIXED));
        });
    }
}
