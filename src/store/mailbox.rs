//! Messages that an account is owed (XEP-0160; promise.md 1-3): the rows of its archive behind a watermark,
//! some listed rows before it, and the mailbox, which stores messages that the archive may not.

use super::archive;
use super::damage::query_sound;
use super::ids::{AccountId, ArchiveId};
use super::tx::{Row, StoreError, Tx, query_all, query_one};

/// Where an owed message is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredIn {
    /// In the archive, which keeps it afterwards.
    Archive,
    /// In the mailbox, which holds it until it is confirmed.
    Mailbox,
}

/// An owed message without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwedRow {
    /// Its position: rising, unique in the server.
    pub seq: i64,
    /// Its size in bytes.
    pub bytes: usize,
    /// Where it is stored.
    pub stored_in: StoredIn,
    /// Whether it is listed in `owed_before`.
    pub listed: bool,
}

/// An owed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRow {
    /// Its position.
    pub seq: i64,
    /// When it was received, in microseconds since 1970.
    pub at: i64,
    /// The whole stanza.
    pub stanza: Vec<u8>,
    /// Where it is stored.
    pub stored_in: StoredIn,
}

/// What changed in an account's owed messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Rows of the archive up to here are no longer owed, except those listed. A watermark below the stored
    /// one has no effect: its writer did not know the stored one.
    pub watermark: Option<i64>,
    /// Rows before the watermark that are still owed.
    pub listed: Vec<i64>,
    /// Listed rows that are no longer owed.
    pub unlisted: Vec<i64>,
    /// Rows of the mailbox that are no longer owed.
    pub deleted: Vec<i64>,
}

impl Settled {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Adds a message to the mailbox; `seq` comes from [`next_seq`](super::Store::next_seq).
pub fn append(
    tx: &mut dyn Tx,
    account: AccountId,
    seq: i64,
    stanza: &[u8],
    at: i64,
) -> Result<(), StoreError> {
    let params = [seq.into(), account.into(), at.into(), stanza.len().into(), stanza.into()];
    tx.execute(APPEND, &params)?;
    Ok(())
}

/// Returns everything that the account is owed, in no order. Reads indexes alone, plus the rows that are not
/// in them yet if the archive is behind ([`Store::is_behind`](super::Store::is_behind)).
pub fn owed(tx: &mut dyn Tx, account: AccountId, behind: bool) -> Result<Vec<OwedRow>, StoreError> {
    let mut all = Vec::new();
    if behind {
        archive::owed(tx, ArchiveId::of(account), &mut |seq, size| {
            let bytes = usize::try_from(size).unwrap_or(0);
            all.push(OwedRow { seq, bytes, stored_in: StoredIn::Archive, listed: false });
        })?;
    }
    for (sql, stored_in, listed) in [
        (OWED_ARCHIVED, StoredIn::Archive, false),
        (OWED_LISTED, StoredIn::Archive, true),
        (OWED_MAIL, StoredIn::Mailbox, false),
    ] {
        all.extend(query_all(tx, sql, &[account.into()], |row| {
            Ok(OwedRow { seq: row.int(0)?, bytes: bytes(row, 1), stored_in, listed })
        })?);
    }
    Ok(all)
}

/// A message is owed even if its size cannot be read.
fn bytes(row: &dyn Row, column: usize) -> usize {
    row.int(column).ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(0)
}

/// Returns these messages of the account, in the order of `seqs`; messages that are gone or cannot be read
/// are left out.
pub fn rows(
    tx: &mut dyn Tx,
    account: AccountId,
    wanted: &[(i64, StoredIn)],
) -> Result<Vec<MailRow>, StoreError> {
    let mut rows = Vec::with_capacity(wanted.len());
    for (seq, stored_in) in wanted {
        let (sql, table) = match stored_in {
            StoredIn::Archive => (ARCHIVE_ROW, archive::TABLE),
            StoredIn::Mailbox => (MAIL_ROW, TABLE),
        };
        rows.extend(query_sound(
            tx,
            (table, account),
            sql,
            &[(*seq).into(), account.into()],
            |row| {
                let (at, stanza) = (row.int(0)?, row.blob(1)?);
                Ok(MailRow { seq: *seq, at, stanza, stored_in: *stored_in })
            },
        )?);
    }
    Ok(rows)
}

/// Returns the newest messages in the account's mailbox, newest first.
pub fn newest(
    tx: &mut dyn Tx,
    account: AccountId,
    limit: usize,
) -> Result<Vec<MailRow>, StoreError> {
    query_sound(tx, (TABLE, account), NEWEST, &[account.into(), limit.into()], |row| {
        Ok(MailRow {
            seq: row.int(0)?,
            at: row.int(1)?,
            stanza: row.blob(2)?,
            stored_in: StoredIn::Mailbox,
        })
    })
}

/// Replaces a message that waits.
pub fn replace(
    tx: &mut dyn Tx,
    account: AccountId,
    seq: i64,
    stanza: &[u8],
) -> Result<(), StoreError> {
    tx.execute(REPLACE, &[account.into(), seq.into(), stanza.len().into(), stanza.into()])?;
    Ok(())
}

/// Writes what changed. Ignores rows that are unknown or belong to other accounts.
pub fn settle(tx: &mut dyn Tx, account: AccountId, settled: &Settled) -> Result<(), StoreError> {
    if let Some(watermark) = settled.watermark {
        tx.execute(MARK, &[account.into(), watermark.into()])?;
    }
    for (sql, seqs) in
        [(LIST, &settled.listed), (UNLIST, &settled.unlisted), (DELETE, &settled.deleted)]
    {
        for seq in seqs {
            tx.execute(sql, &[account.into(), (*seq).into()])?;
        }
    }
    Ok(())
}

/// The last position taken in the mailbox; 0 if there is none.
pub fn last_seq(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    query_one(tx, LAST_SEQ, &[], |row| row.int(0))
}

/// For [`damage::note`](super::damage::note).
pub const TABLE: &str = "mailbox";

super::sql! {
    APPEND = "INSERT INTO mailbox (seq, account, at, size, stanza) VALUES ($1, $2, $3, $4, $5)";
    OWED_ARCHIVED = "SELECT seq, size FROM archive_place WHERE archive = $1 AND kind = 2
        AND seq > COALESCE((SELECT m.seq FROM archive_mark m WHERE m.account = $1), 0)";
    // Starts from the row itself, which may not be indexed yet: the list is short.
    OWED_LISTED = "SELECT o.seq, a.size FROM owed_before o
        JOIN archive a ON a.seq = o.seq AND a.archive = o.account WHERE o.account = $1";
    OWED_MAIL = "SELECT seq, size FROM mailbox WHERE account = $1";
    ARCHIVE_ROW = "SELECT at, stanza FROM archive WHERE seq = $1 AND archive = $2";
    MAIL_ROW = "SELECT at, stanza FROM mailbox WHERE seq = $1 AND account = $2";
    NEWEST = "SELECT seq, at, stanza FROM mailbox WHERE account = $1 ORDER BY seq DESC LIMIT $2";
    REPLACE = "UPDATE mailbox SET size = $3, stanza = $4 WHERE account = $1 AND seq = $2";
    MARK = "INSERT INTO archive_mark (account, seq) VALUES ($1, $2)
        ON CONFLICT (account) DO UPDATE SET seq = excluded.seq
        WHERE excluded.seq > archive_mark.seq";
    LIST = "INSERT INTO owed_before (account, seq) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    UNLIST = "DELETE FROM owed_before WHERE account = $1 AND seq = $2";
    DELETE = "DELETE FROM mailbox WHERE account = $1 AND seq = $2";
    LAST_SEQ = "SELECT COALESCE(MAX(seq), 0) FROM mailbox";
}

#[cfg(test)]
mod tests {
    use super::super::archive::{self, Entry, RowKind};
    use super::super::testing;
    use super::*;

    fn archived(tx: &mut dyn Tx, account: AccountId, seq: i64, kind: RowKind) {
        let entry = Entry {
            seq,
            at: seq,
            archive: ArchiveId::of(account),
            peer: "b@x",
            resource: "",
            kind,
            stanza: b"12345",
        };
        archive::append(tx, &entry).unwrap();
    }

    fn seqs(tx: &mut dyn Tx, account: AccountId) -> Vec<i64> {
        let mut seqs: Vec<_> =
            owed(tx, account, false).unwrap().iter().map(|row| row.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    #[test]
    fn owed_is_what_the_mark_has_not_passed_what_is_listed_and_the_mail() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "other");
            for (seq, kind) in [
                (1, RowKind::Owed),
                (2, RowKind::Owed),
                (3, RowKind::Sent),
                (4, RowKind::Received),
                (5, RowKind::Owed),
            ] {
                archived(tx, me, seq, kind);
                archived(tx, other, seq + 100, kind);
            }
            append(tx, me, 6, b"mail", 60).unwrap();
            assert_eq!(seqs(tx, me), [1, 2, 5, 6]);
            let settled = |watermark, listed: &[i64], unlisted: &[i64], deleted: &[i64]| Settled {
                watermark,
                listed: listed.to_vec(),
                unlisted: unlisted.to_vec(),
                deleted: deleted.to_vec(),
            };
            settle(tx, me, &settled(Some(2), &[1], &[], &[])).unwrap();
            assert_eq!(seqs(tx, me), [1, 5, 6]);
            settle(tx, me, &settled(Some(5), &[1], &[1], &[6, 99])).unwrap();
            assert_eq!(seqs(tx, me), [0; 0]);
            // A row that the watermark passed long ago is confirmed: nothing before the watermark becomes
            // owed again.
            settle(tx, me, &settled(Some(1), &[], &[1], &[])).unwrap();
            assert_eq!(seqs(tx, me), [0; 0]);
            assert_eq!(seqs(tx, other), [101, 102, 105]);
        });
    }

    #[test]
    fn rows_come_as_asked_for_from_both_tables() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "other");
            archived(tx, me, 1, RowKind::Owed);
            archived(tx, other, 2, RowKind::Owed);
            append(tx, me, 3, b"mail", 30).unwrap();
            let wanted = [
                (3, StoredIn::Mailbox),
                (1, StoredIn::Archive),
                (2, StoredIn::Archive),
                (1, StoredIn::Mailbox),
            ];
            let got = rows(tx, me, &wanted).unwrap();
            let row = |seq, at, stanza: &[u8], stored_in| {
                let stanza = stanza.to_vec();
                MailRow { seq, at, stanza, stored_in }
            };
            let expected =
                [row(3, 30, b"mail", StoredIn::Mailbox), row(1, 1, b"12345", StoredIn::Archive)];
            assert_eq!(got, expected);
            assert_eq!(last_seq(tx), Ok(3));
            assert!(append(tx, me, 3, b"y", 0).is_err(), "a position is taken once");
        });
    }
}
