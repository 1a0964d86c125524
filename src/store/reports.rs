//! What people report of those whom they block (XEP-0377), until the operator is done with it.

use super::ids::AccountId;
use super::tx::{Row, StoreError, Tx, query_all, query_one, query_optional};

/// A report as it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReport {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Who is reported.
    pub jid: String,
    /// Why: a URN.
    pub reason: String,
    /// What else the reporter said.
    pub said: String,
    /// Whom it may be passed on to (§5).
    pub consent: Consent,
    /// The messages: whose archive, and the id in it.
    pub messages: Vec<(String, String)>,
}

/// Whom a report may be passed on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consent {
    /// The server of who is reported.
    pub origin: bool,
    /// Others who gather such reports.
    pub others: bool,
}

/// A report in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub id: i64,
    /// Who made it.
    pub by: String,
    /// What it says, without messages.
    pub report: NewReport,
    /// How many messages it names.
    pub count: i64,
    /// When the operator was done with it.
    pub done: Option<i64>,
}

/// Stores a report. Of one account the newest `most` stay.
pub fn put(
    tx: &mut dyn Tx,
    account: AccountId,
    report: &NewReport,
    most: usize,
) -> Result<(), StoreError> {
    let NewReport { at, jid, reason, said, consent, messages } = report;
    let consent = i64::from(consent.origin) | i64::from(consent.others) << 1;
    let params =
        [account.into(), (*at).into(), jid.into(), reason.into(), said.into(), consent.into()];
    let id = query_one(tx, PUT, &params, |row| row.int(0))?;
    for (place, (owner, stanza_id)) in messages.iter().enumerate() {
        tx.execute(PUT_MESSAGE, &[id.into(), place.into(), owner.into(), stanza_id.into()])?;
    }
    tx.execute(LEAVE_OUT, &[account.into(), most.into()])?;
    Ok(())
}

/// The newest reports, `limit` at most: all, or those that the operator is not done with.
pub fn list(tx: &mut dyn Tx, all: bool, limit: usize) -> Result<Vec<Report>, StoreError> {
    query_all(tx, LIST, &[i64::MAX.into(), all.into(), limit.into()], report)
}

/// One report with its messages.
pub fn find(tx: &mut dyn Tx, id: i64) -> Result<Option<Report>, StoreError> {
    let Some(mut found) = query_optional(tx, FIND, &[id.into()], report)? else { return Ok(None) };
    let message = |row: &dyn Row| Ok((row.text(0)?, row.text(1)?));
    found.report.messages = query_all(tx, MESSAGES, &[id.into()], message)?;
    Ok(Some(found))
}

/// The operator is done with a report. False if there is none.
pub fn done(tx: &mut dyn Tx, id: i64, at: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(DONE, &[id.into(), at.into()])? > 0)
}

/// Deletes at most `limit` reports that were made before; returns their number.
pub fn forget_before(tx: &mut dyn Tx, before: i64, limit: usize) -> Result<usize, StoreError> {
    tx.execute(FORGET, &[before.into(), limit.into()])
}

fn report(row: &dyn Row) -> Result<Report, StoreError> {
    let consent = row.int(6)?;
    Ok(Report {
        id: row.int(0)?,
        by: format!("{}@{}", row.text(1)?, row.text(2)?),
        report: NewReport {
            at: row.int(3)?,
            jid: row.text(4)?,
            reason: row.text(5)?,
            said: row.text(7)?,
            consent: Consent { origin: consent & 1 != 0, others: consent & 2 != 0 },
            messages: Vec::new(),
        },
        count: row.int(8)?,
        done: row.opt_int(9)?,
    })
}

/// For the quota: bytes and rows of an account.
pub const WEIGHT: &str = WEIGH;

super::sql! {
    PUT = "INSERT INTO report (account, at, jid, reason, consent, said)
        VALUES ($1, $2, $3, $4, $6, $5) RETURNING id";
    PUT_MESSAGE = "INSERT INTO reported_message (report, place, owner, stanza_id)
        VALUES ($1, $2, $3, $4)";
    LEAVE_OUT = "DELETE FROM report WHERE account = $1 AND id NOT IN
        (SELECT id FROM report WHERE account = $1 ORDER BY id DESC LIMIT $2)";
    LIST = "SELECT id, (SELECT localpart FROM account WHERE account.id = report.account),
            (SELECT host FROM account WHERE account.id = report.account), at, jid, reason, consent,
            said, (SELECT COUNT(*) FROM reported_message WHERE report = report.id), done
        FROM report WHERE id < $1 AND (done IS NULL OR $2 = 1) ORDER BY id DESC LIMIT $3";
    FIND = "SELECT id, (SELECT localpart FROM account WHERE account.id = report.account),
            (SELECT host FROM account WHERE account.id = report.account), at, jid, reason, consent,
            said, (SELECT COUNT(*) FROM reported_message WHERE report = report.id), done
        FROM report WHERE id = $1";
    MESSAGES = "SELECT owner, stanza_id FROM reported_message WHERE report = $1 ORDER BY place";
    DONE = "UPDATE report SET done = COALESCE(done, $2) WHERE id = $1";
    FORGET = "DELETE FROM report WHERE id IN (SELECT id FROM report WHERE at < $1 LIMIT $2)";
    WEIGH = "SELECT COALESCE(SUM(OCTET_LENGTH(jid) + OCTET_LENGTH(said)
                + (SELECT COALESCE(SUM(OCTET_LENGTH(owner) + OCTET_LENGTH(stanza_id)), 0)
                    FROM reported_message WHERE report = report.id)), 0),
            COUNT(*) + COALESCE(SUM((SELECT COUNT(*) FROM reported_message WHERE report = report.id)), 0)
        FROM report WHERE account = $1";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn new(jid: &str, at: i64) -> NewReport {
        NewReport {
            at,
            jid: jid.to_owned(),
            reason: "urn:xmpp:reporting:spam".to_owned(),
            said: "no".to_owned(),
            consent: Consent { origin: false, others: true },
            messages: vec![
                ("me@x".to_owned(), "2".to_owned()),
                ("me@x".to_owned(), "1".to_owned()),
            ],
        }
    }

    #[test]
    fn the_newest_of_an_account_stay_until_they_are_old() {
        testing::account_tx(|tx, me| {
            let other = testing::account(tx, "other");
            put(tx, other, &new("spam@x", 1), 2).unwrap();
            for at in 2..6 {
                put(tx, me, &new(&format!("spam{at}@x"), at), 2).unwrap();
            }
            let weight = query_one(tx, WEIGHT, &[me.into()], |row| Ok((row.int(0)?, row.int(1)?)));
            // Two reports of two messages each: all of it counts for the quota.
            assert_eq!(weight, Ok((2 * (7 + 2 + 2 * (4 + 1)), 2 + 4)));
            let names = |tx: &mut dyn Tx, all| {
                let all = list(tx, all, 9).unwrap();
                all.iter().map(|one| one.report.jid.clone()).collect::<Vec<_>>()
            };
            assert_eq!(names(tx, false), ["spam5@x", "spam4@x", "spam@x"]);
            assert_eq!(list(tx, true, 1).unwrap().len(), 1);
            let first = list(tx, false, 1).unwrap().remove(0);
            assert_eq!((first.count, first.done), (2, None));
            assert_eq!(first.by, "romeo@montague.example");
            let whole = find(tx, first.id).unwrap().unwrap();
            assert_eq!(whole.report, new("spam5@x", 5));
            assert_eq!(find(tx, 99), Ok(None));
            assert_eq!((done(tx, first.id, 7), done(tx, 99, 7)), (Ok(true), Ok(false)));
            assert_eq!(done(tx, first.id, 8), Ok(true));
            assert_eq!(find(tx, first.id).unwrap().unwrap().done, Some(7), "the first time counts");
            assert_eq!(names(tx, false), ["spam4@x", "spam@x"]);
            assert_eq!(names(tx, true).len(), 3);
            assert_eq!(forget_before(tx, 5, 9), Ok(2));
            assert_eq!(names(tx, true), ["spam5@x"]);
        });
    }
}
