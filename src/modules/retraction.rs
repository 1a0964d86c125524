//! XEP-0424: Message Retraction: archives store retractions, and tombstones in place of retracted
//! messages. What the author uploaded for such a message goes with it.

use super::Config;
use super::api::{Module, On, Passage, Phase, Spec, Verdict};
use crate::base::time::{from_micros, stamp};
use crate::router::passage::{Row, Side};
use crate::stanza::Stanza;
use crate::stanza::retract::{Named, Retraction};
use crate::store::archive::By;
use crate::store::ids::{AccountId, ArchiveId};
use crate::store::tx::Tx;
use crate::store::{StoreError, archive, mailbox, uploads};

/// The module.
pub const MODULE: Module = Module {
    name: "retraction",
    serves: Some(|config, account| config.mam.archives(account) && config.mam.tombstones),
    active: Some(|config| config.mam.enabled && config.mam.tombstones),
    specs: &[Spec::partial(
        "XEP-0424",
        "0.4.2",
        "tombstones for the 1,000 newest messages with the same peer, not for those that an older \
         version of the server archived (§4, optional)",
        "features/retraction.rs",
    )],
    // §4. The archive module itself announces that retractions are archived.
    features: &[On::Account(TOMBSTONE)],
    incoming: &[(Phase::Archive, |config, _, passage| bury(config, passage))],
    outgoing: &[(Phase::Archive, |config, _, passage| bury(config, passage))],
    ..Module::EMPTY
};

/// Replaces retracted messages, but only if the retraction itself is stored, so that each tombstone
/// comes with its retraction (§4).
fn bury(config: &Config, passage: &mut Passage<'_>) -> Verdict {
    let kept = passage.owed || passage.archive.is_some();
    if config.mam.tombstones && kept && Retraction::of(passage.stanza).is_some() {
        passage.row_writes.push(replace);
    }
    Verdict::Continue
}

fn replace(tx: &mut dyn Tx, row: &Row<'_>) -> Result<(), StoreError> {
    let Some(retracting) = Retracting::of(row.stanza, row.at) else { return Ok(()) };
    let from = row.stanza.from();
    match row.side {
        Side::Incoming => {
            if row.archived {
                retracting.archived(
                    tx,
                    ArchiveId::of(row.account),
                    (from.bare_str(), By::Peer),
                    row.seq,
                )?;
            }
            retracting.waiting(tx, row.account)
        }
        Side::Outgoing | Side::Returned => {
            let to = row.stanza.to().unwrap_or(from);
            retracting.archived(
                tx,
                ArchiveId::of(row.account),
                (to.bare_str(), By::Account),
                row.seq,
            )
        }
    }
}

/// A message that retracts another, and its time of arrival.
struct Retracting<'a> {
    stanza: &'a Stanza,
    retraction: Retraction,
    at: i64,
}

impl<'a> Retracting<'a> {
    fn of(stanza: &'a Stanza, at: i64) -> Option<Self> {
        Some(Self { retraction: Retraction::of(stanza)?, stanza, at })
    }

    /// Puts a tombstone into an account's archive, before the position of the retraction. If several
    /// messages have that id, the newest is meant. Only messages of the retracting side are considered:
    /// the other side cannot hide the message behind its own ones with that id.
    fn archived(
        &self,
        tx: &mut dyn Tx,
        archive: ArchiveId,
        side: (&str, By),
        mut before: i64,
    ) -> Result<(), StoreError> {
        let target = &self.retraction.target;
        for _ in 0..CANDIDATES_MAX {
            let found = archive::newest_of(tx, archive, side, target, before)?;
            let Some(found) = found else { return Ok(()) };
            match self.judged(found.stanza) {
                Judged::Other => before = found.seq,
                Judged::Retracted => return Ok(()),
                Judged::Meant(meant) => {
                    uploads::bury_named(tx, meant.said.from(), &meant.said)?;
                    return archive::replace(tx, archive, found.seq, &meant.tombstone);
                }
            }
        }
        Ok(())
    }

    /// Like [`Self::archived`], for messages that wait for an account and are in no archive.
    fn waiting(&self, tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
        for row in mailbox::newest(tx, account, WAITING_MAX)? {
            if row.stanza.len() > WAITING_BYTES_MAX {
                continue;
            }
            match self.judged(row.stanza) {
                Judged::Other => {}
                Judged::Retracted => return Ok(()),
                Judged::Meant(meant) => {
                    uploads::bury_named(tx, meant.said.from(), &meant.said)?;
                    return mailbox::replace(tx, account, row.seq, &meant.tombstone);
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
                let tombstone = self.retraction.tombstone(&found, &stamp(from_micros(self.at)));
                Judged::Meant(Box::new(Meant { said: found, tombstone }))
            }
        }
    }
}

enum Judged {
    Other,
    Retracted,
    Meant(Box<Meant>),
}

/// A message that is retracted, and what stands in its place.
struct Meant {
    said: Stanza,
    tombstone: Vec<u8>,
}

/// Maximum of archived messages that are read to find the one that is meant. Their short id matches
/// already.
const CANDIDATES_MAX: usize = 4;

/// Maximum number of messages of a mailbox that are read for the same purpose, from any sender, and
/// their maximum size. Reading them occupies the writer, so it must be cheap.
const WAITING_MAX: usize = 16;
const WAITING_BYTES_MAX: usize = 64 << 10;

const TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask};
    use super::*;
    use crate::modules;
    use crate::xml::ns;

    #[tokio::test]
    async fn tombstones_are_named_where_there_are_any() {
        for (enabled, tombstones) in [(true, true), (true, false), (false, true)] {
            let mut config = modules::Config::default();
            (config.mam.enabled, config.mam.tombstones) = (enabled, tombstones);
            let server = Server::new(config);
            server.account("romeo", &[]).await;
            let cx = server.session("romeo@montague.example/orchard").await;
            let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
            let account = ask(&cx, "get", "", info).await;
            let names = |feature: &str| account.contains(&format!("var='{feature}'"));
            assert_eq!(names(ns::RETRACT), enabled, "{account}");
            assert_eq!(names(TOMBSTONE), enabled && tombstones, "{account}");
        }
    }
}
