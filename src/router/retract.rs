//! A message is retracted: what archives and mailboxes keep of it (XEP-0424 §4).

use crate::base::time::{from_micros, stamp};
use crate::stanza::Stanza;
use crate::stanza::retract::{Named, Retraction};
use crate::store::accounts::AccountId;
use crate::store::archive::By;
use crate::store::tx::Tx;
use crate::store::{StoreError, archive, mailbox};

/// A message that retracts another, and when it came.
pub(super) struct Retracting<'a> {
    stanza: &'a Stanza,
    retraction: Retraction,
    at: i64,
}

impl<'a> Retracting<'a> {
    pub(super) fn of(stanza: &'a Stanza, at: i64) -> Option<Self> {
        Some(Self { retraction: Retraction::of(stanza)?, stanza, at })
    }

    /// Puts a tombstone into an account's archive, before the place of the retraction. If there are
    /// several of that id, the newest is meant. Only what the retracting side said is looked at: the
    /// other cannot hide it behind answers of that id.
    pub(super) fn archived(
        &self,
        tx: &mut dyn Tx,
        account: AccountId,
        side: (&str, By),
        mut before: i64,
    ) -> Result<(), StoreError> {
        let target = &self.retraction.target;
        for _ in 0..CANDIDATES_MAX {
            let found = archive::newest_of(tx, account, side, target, before)?;
            let Some(found) = found else { return Ok(()) };
            match self.judged(found.stanza) {
                Judged::Other => before = found.seq,
                Judged::Retracted => return Ok(()),
                Judged::Meant(tombstone) => {
                    return archive::replace(tx, account, found.seq, &tombstone);
                }
            }
        }
        Ok(())
    }

    /// The same among what waits for an account and is in no archive.
    pub(super) fn waiting(&self, tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
        for row in mailbox::newest(tx, account, WAITING_MAX)? {
            if row.stanza.len() > WAITING_BYTES_MAX {
                continue;
            }
            match self.judged(row.stanza) {
                Judged::Other => {}
                Judged::Retracted => return Ok(()),
                Judged::Meant(tombstone) => {
                    return mailbox::replace(tx, account, row.seq, &tombstone);
                }
            }
        }
        Ok(())
    }

    fn judged(&self, stanza: Vec<u8>) -> Judged {
        let Some(found) = Stanza::ours(stanza.into()) else { return Judged::Other };
        match self.retraction.names(self.stanza, &found) {
            Named::Other => Judged::Other,
            Named::Retracted => Judged::Retracted,
            Named::Meant => {
                Judged::Meant(self.retraction.tombstone(&found, &stamp(from_micros(self.at))))
            }
        }
    }
}

enum Judged {
    Other,
    Retracted,
    Meant(Vec<u8>),
}

/// Messages of an archive that are read to find the one that is meant. They have its short id already.
const CANDIDATES_MAX: usize = 4;

/// Messages of a mailbox that are read for the same, anybody's, and how long they may be: reading them
/// keeps the writer, so that it must be cheap.
const WAITING_MAX: usize = 16;
const WAITING_BYTES_MAX: usize = 64 << 10;
