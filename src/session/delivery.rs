//! Delivers owed messages to this client, before anything that comes live (promise.md 3).

use std::collections::VecDeque;

use super::bound::Session;
use super::clock::wall;
use super::context::named;
use super::redelivery::Redelivery;
use crate::base::time::{from_micros, micros};
use crate::router::outbox::Outgoing;
use crate::router::owed::Claim;
use crate::router::registry::AccountEntry;
use crate::stanza::delay::delay;
use crate::stanza::ids::stanza_id;
use crate::stanza::{Frame, Stanza, claims};
use crate::store::ids::ArchiveId;
use crate::store::mailbox::{self, MailRow, StoredIn};
use crate::store::{StoreError, archive, damage};

impl Session {
    /// Claims the messages that wait for the account, to deliver them before anything in the outbox.
    pub(super) fn begin_redelivery(&mut self, claim: fn(&mut AccountEntry, u64) -> Vec<Claim>) {
        if self.flow.is_leaving() {
            return;
        }
        let who = &self.binding.client;
        let claim = |entry: &mut AccountEntry| claim(entry, who.session);
        let claims = self.binding.cx.own(claim).unwrap_or_default();
        match self.flow.redelivery() {
            Some(redelivery) => redelivery.claims.extend(claims),
            None => self.read_page(claims.into()),
        }
    }

    /// RFC 6121 §8.5.2.2: a session that is unavailable or has a negative priority gets no more messages to
    /// the bare JID; another session may get them.
    pub(super) fn stop_redelivery(&mut self) {
        if let Some(redelivery) = self.flow.take_drain() {
            self.release(redelivery.claims);
        }
        self.binding.cx.router.redeliver(self.binding.client.jid.bare_str());
    }

    fn release(&self, claims: impl IntoIterator<Item = Claim>) {
        let who = &self.binding.client;
        self.binding.cx.own(|entry| {
            for claim in claims {
                entry.owed.release(claim.seq, who.session);
            }
        });
    }

    fn read_page(&mut self, claims: VecDeque<Claim>) {
        let Some(account) = self.binding.client.account.filter(|_| !claims.is_empty()) else {
            return;
        };
        let mut bytes = 0;
        let wanted: Vec<_> = claims
            .iter()
            .take(PAGE_ROWS.min(self.room()).max(1))
            .take_while(|claim| {
                let fits = bytes < PAGE_BYTES;
                bytes += claim.bytes;
                fits
            })
            .map(|claim| (claim.seq, claim.stored_in))
            .collect();
        let reading = wanted.len();
        let (router, bare) = (self.binding.cx.router.clone(), self.binding.cx.bare());
        // promise.md 7: the read must see every row that was queued before.
        let mut begun = router.flush_deferred_of(bare.as_str());
        let page = Box::pin(async move {
            let store = &router.store;
            while !begun {
                let room = store.room(0).await?;
                begun = router.flush_deferred_of(bare.as_str());
                drop(room);
                store.begun().await?;
            }
            store.barrier().await?;
            store.read(move |tx| mailbox::rows(tx, account, &wanted)).await
        });
        self.flow.begin_redelivery(Redelivery { claims, reading, page });
    }

    pub(super) fn redeliver_page(&mut self, page: Result<Vec<MailRow>, StoreError>) {
        let Some(redelivery) = self.flow.take_drain() else { return };
        let Redelivery { mut claims, reading, .. } = *redelivery;
        match page {
            Ok(rows) => {
                claims.drain(..reading.min(claims.len()));
                rows.into_iter().for_each(|row| self.deliver_row(row));
                self.ping_if_owed();
                self.read_page(claims);
            }
            Err(error) => {
                // The rows stay owed, so the next session gets them.
                tracing::error!(%error, jid = named(&self.binding.client.jid), "owed messages could not be read");
                self.release(claims);
            }
        }
        // Stanzas that came meanwhile wait in the outbox.
        self.flow.reconnect();
    }

    fn deliver_row(&mut self, row: MailRow) {
        let who = &self.binding.client;
        let Some(account) = who.account else { return };
        let Some(stanza) = Stanza::ours(row.stanza.into()) else {
            let table = match row.stored_in {
                StoredIn::Archive => archive::TABLE,
                StoredIn::Mailbox => mailbox::TABLE,
            };
            let what = format_args!("no stanza is at the place {}", row.seq);
            damage::note((table, account), &what);
            return;
        };
        // A stanza that an older release accepted may have payloads that claim to be from this server.
        let router = &self.binding.cx.router;
        let stripped = claims::stripped(&stanza, |domain| router.serves(domain));
        let stanza = stripped.unwrap_or(stanza);
        let mut payloads = match row.stored_in {
            StoredIn::Archive => {
                let id = self.binding.cx.store.id_of_position(ArchiveId::of(account), row.seq);
                stanza_id(who.jid.bare_str(), &id)
            }
            // XEP-0313 §3.5: the id names a position in the archive, and this message has none.
            StoredIn::Mailbox => Vec::new(),
        };
        payloads.extend(delay(who.jid.domain(), from_micros(row.at)));
        self.pass(Outgoing { frame: stanza.frame_with(&payloads), owed: Some(row.seq), at: 0 });
    }

    /// The frame with a delay stamp, if the stanza waited long enough to need one (XEP-0203 §1).
    pub(super) fn stamped(&self, item: &Outgoing) -> Option<Frame> {
        let late = item.at != 0 && micros(wall()).saturating_sub(item.at) > LATE_MICROS;
        late.then(|| {
            let stamp = delay(self.binding.client.jid.domain(), from_micros(item.at));
            item.frame.with(&stamp)
        })
    }

    pub(super) fn confirm(&self, seqs: &[i64]) {
        if !seqs.is_empty() {
            let cx = &self.binding.cx;
            cx.router.confirm(cx.jid().bare_str(), seqs);
        }
    }
}

/// Maximum number of owed rows read at once.
const PAGE_ROWS: usize = 50;
/// Their maximum size in bytes, not counting the last row: they wait in memory until the client has read
/// them.
const PAGE_BYTES: usize = 262_144;
/// A message that is sent later than this after its arrival gets a delay stamp.
const LATE_MICROS: i64 = 5_000_000;
