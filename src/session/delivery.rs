//! Owed messages to this client: what waited comes first, and what it confirms without stream
//! management (promise.md 2 and 3).

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::named;
use super::run::{Session, now, wall};
use crate::base::id::{self, OsRng};
use crate::base::time::{from_micros, micros};
use crate::router::outbox::Outgoing;
use crate::router::owed::Claim;
use crate::router::registry::User;
use crate::stanza::delay::delay;
use crate::stanza::ids::stanza_id;
use crate::stanza::{Frame, Stanza, claims};
use crate::store::mailbox::{self, MailRow, Place};
use crate::store::{StoreError, archive, damage};
use crate::stream::error::StreamError;
use crate::xml::writer::Xml;

/// Owed messages that were written to the client and not confirmed. Empty for a managed stream,
/// which knows its own.
#[derive(Default)]
pub(super) struct Delivery {
    /// Oldest first.
    unconfirmed: Vec<i64>,
    since: Option<Instant>,
}

impl Delivery {
    /// A session that slept over a restart.
    pub(super) fn restored(unconfirmed: Vec<i64>, now: Instant) -> Self {
        let since = (!unconfirmed.is_empty()).then_some(now);
        Self { unconfirmed, since }
    }

    /// When the client must be asked, at latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + CONFIRM_AFTER)
    }

    /// It does not answer: do not ask for these again.
    pub(super) fn forget_due(&mut self) {
        self.since = None;
    }

    /// All of them, for who closes the stream in order.
    pub(super) fn take_unconfirmed(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.unconfirmed)
    }

    /// The same, left here.
    pub(super) fn unconfirmed(&self) -> &[i64] {
        &self.unconfirmed
    }
}

/// Owed rows that this session took on itself, on their way to the client.
pub(super) struct Drain {
    claims: VecDeque<Claim>,
    /// So many of the first ones are being read.
    reading: usize,
    page: Paging,
}

/// A read of owed rows on its way.
type Paging = Pin<Box<dyn Future<Output = Result<Vec<MailRow>, StoreError>> + Send>>;

/// A server ping whose answer is awaited.
pub(super) struct Ping {
    pub(super) id: String,
    pub(super) sent: Instant,
    /// So many of the unconfirmed messages were written before it.
    covers: usize,
}

/// The page that is being read.
pub(super) async fn page(drain: &mut Option<Box<Drain>>) -> Result<Vec<MailRow>, StoreError> {
    match drain {
        Some(drain) => (&mut drain.page).await,
        None => pending().await,
    }
}

impl Session {
    /// Takes what waits for the account, to deliver it before anything in the outbox.
    pub(super) fn begin_drain(&mut self, claim: fn(&mut User, u64) -> Vec<Claim>) {
        if self.leaving {
            return;
        }
        let who = &self.binding.cx.who;
        let registry = &self.binding.cx.router.registry;
        let claim = |user: &mut User| claim(user, who.session);
        let claims = registry.with(who.jid.bare_str(), claim).unwrap_or_default();
        match &mut self.drain {
            Some(drain) => drain.claims.extend(claims),
            None => self.read_page(claims.into()),
        }
    }

    /// RFC 6121 §8.5.2.2: whoever is not available, or of negative priority, gets no more of what
    /// was for the account; another session may.
    pub(super) fn stop_drain(&mut self) {
        if let Some(drain) = self.drain.take() {
            self.release(drain.claims);
        }
        self.binding.cx.router.ended(self.binding.cx.who.jid.bare_str());
    }

    fn release(&self, claims: impl IntoIterator<Item = Claim>) {
        let who = &self.binding.cx.who;
        self.binding.cx.router.registry.with(who.jid.bare_str(), |user| {
            for claim in claims {
                user.owed.release(claim.seq, who.session);
            }
        });
    }

    fn read_page(&mut self, claims: VecDeque<Claim>) {
        let Some(account) = self.binding.cx.who.account.filter(|_| !claims.is_empty()) else {
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
            .map(|claim| (claim.seq, claim.place))
            .collect();
        let reading = wanted.len();
        let begun = self.binding.cx.router.begin_idle_of(self.binding.cx.who.jid.bare_str());
        let store = self.binding.cx.store.clone();
        let page = Box::pin(async move {
            // promise.md 7: the read sees every row that was queued before.
            if !begun {
                return Err(StoreError::QueueFull);
            }
            store.barrier().await?;
            store.read(move |tx| mailbox::rows(tx, account, &wanted)).await
        });
        self.drain = Some(Box::new(Drain { claims, reading, page }));
    }

    pub(super) fn drain_page(&mut self, page: Result<Vec<MailRow>, StoreError>) {
        let Some(drain) = self.drain.take() else { return };
        let Drain { mut claims, reading, .. } = *drain;
        match page {
            Ok(rows) => {
                claims.drain(..reading.min(claims.len()));
                rows.into_iter().for_each(|row| self.deliver_row(row));
                self.ping_if_owed();
                self.read_page(claims);
            }
            Err(error) => {
                // The rows stay owed: the next session gets them.
                tracing::error!(%error, jid = named(&self.binding.cx.who.jid), "owed messages could not be read");
                self.release(claims);
            }
        }
        // What came meanwhile waits in the box.
        self.woken = true;
    }

    fn deliver_row(&mut self, row: MailRow) {
        let who = &self.binding.cx.who;
        let Some(account) = who.account else { return };
        let Some(stanza) = Stanza::ours(row.stanza.into()) else {
            let table = match row.place {
                Place::Archive => archive::TABLE,
                Place::Mailbox => mailbox::TABLE,
            };
            let what = format_args!("no stanza is at the place {}", row.seq);
            damage::note((table, account), &what);
            return;
        };
        // What an older release let in may have payloads that claim to be ours.
        let router = &self.binding.cx.router;
        let stripped = claims::stripped(&stanza, |domain| router.is_local(domain));
        let stanza = stripped.unwrap_or(stanza);
        let mut payloads = match row.place {
            Place::Archive => {
                let id = self.binding.cx.store.ids().seal(account.0, row.seq);
                stanza_id(who.jid.bare_str(), &id)
            }
            // XEP-0313 §3.5: the id of a place in the archive, which this one has none in.
            Place::Mailbox => Vec::new(),
        };
        payloads.extend(delay(who.jid.domain(), from_micros(row.at)));
        self.pass(Outgoing { frame: stanza.frame_with(&payloads), owed: Some(row.seq), at: 0 });
    }

    /// What is sent, if it needs a stamp because it waited on its way (XEP-0203 §1).
    pub(super) fn stamped(&self, item: &Outgoing) -> Option<Frame> {
        let late = item.at != 0 && micros(wall()).saturating_sub(item.at) > LATE_MICROS;
        late.then(|| {
            let stamp = delay(self.binding.cx.who.jid.domain(), from_micros(item.at));
            item.frame.with(&stamp)
        })
    }

    pub(super) fn written(&mut self, seq: i64) {
        self.delivery.unconfirmed.push(seq);
        self.delivery.since.get_or_insert_with(now);
    }

    /// Many unconfirmed messages: do not wait half a minute to ask.
    pub(super) fn ping_if_owed(&mut self) {
        if self.delivery.unconfirmed.len() >= UNCONFIRMED_MANY && self.ping.is_none() {
            self.send_ping();
        }
    }

    pub(super) fn send_ping(&mut self) {
        let id = id::short(&mut OsRng);
        let who = &self.binding.cx.who;
        let mut xml = Xml::new();
        xml.start("iq").attr("type", "get").attr("id", &id);
        xml.attr("from", who.jid.domain()).attr("to", who.jid.as_str());
        xml.start("ping").attr("xmlns", crate::xml::ns::PING).end().end();
        self.send(Frame::whole(xml.finish()).into());
        let covers = self.delivery.unconfirmed.len();
        self.ping = Some(Box::new(Ping { id, sent: now(), covers }));
    }

    /// An answer, result or error, to a request of ours. Confirms what was written before the
    /// ping (promise.md 2).
    pub(super) fn reply_to_us(&mut self, id: Option<&str>) {
        if let Some(ping) = self.ping.take_if(|ping| Some(ping.id.as_str()) == id) {
            let unconfirmed = &mut self.delivery.unconfirmed;
            let confirmed: Vec<i64> =
                unconfirmed.drain(..ping.covers.min(unconfirmed.len())).collect();
            self.confirm(&confirmed);
            let more = !self.delivery.unconfirmed.is_empty();
            self.delivery.since = more.then_some(ping.sent);
            if self.leaving {
                self.take_leave(now());
            }
        }
    }

    /// The server stops, and this stream ends with it. Nothing new is sent, but what the client got
    /// it may confirm by the answer to a last ping: else all of it would come again (promise.md 2).
    pub(super) fn take_leave(&mut self, now: Instant) {
        if !self.leaving && self.managed.is_none() && !self.delivery.unconfirmed.is_empty() {
            self.leaving = true;
            self.stop_drain();
            self.send_ping();
        }
        if self.leaves().is_none_or(|until| until <= now) {
            self.fail(StreamError::SystemShutdown.into());
        }
    }

    /// Until when the answer to the last ping is waited for.
    pub(super) fn leaves(&self) -> Option<Instant> {
        let ping = self.ping.as_ref().filter(|_| self.leaving)?;
        Some(ping.sent + LAST_ANSWER)
    }

    pub(super) fn confirm(&self, seqs: &[i64]) {
        if !seqs.is_empty() {
            let cx = &self.binding.cx;
            cx.router.confirm(cx.who.jid.bare_str(), seqs);
        }
    }
}

/// Owed rows read at once.
const PAGE_ROWS: usize = 50;
/// The same in bytes, the last row apart: they wait in memory until the client has taken them.
const PAGE_BYTES: usize = 262_144;
/// promise.md 2: a message unconfirmed for so long brings a ping.
const CONFIRM_AFTER: Duration = Duration::from_secs(30);
/// Unconfirmed messages that bring a ping at once.
const UNCONFIRMED_MANY: usize = 32;
/// How long a stopping server waits for confirmations.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// A message that is sent so long after it came is stamped.
const LATE_MICROS: i64 = 5_000_000;
