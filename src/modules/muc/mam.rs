//! The archive of a room as those read it who may enter it (XEP-0313 §6.1.2), and how long it lasts.

use std::sync::Arc;

use super::rights::{Affiliation, Role};
use super::room::Room;
use super::rooms::Hold;
use super::route::Route;
use super::settings::Whois;
use super::{rows, speaker};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::modules::api::{Cause, Cx, PeriodicJob, Reply};
use crate::modules::mam::{self, Source};
use crate::stanza::StanzaError;
use crate::stanza::form::Form;
use crate::stanza::iq::{Iq, IqType};
use crate::store::archive::{self, BATCH};
use crate::store::ids::{ArchiveId, Owner};
use crate::store::tx::{StoreError, Tx};
use crate::xml::ns;

/// Queries, their fields, and what there is. Preferences are accounts' and refused.
pub(super) const ROUTES: &[Route] = &[
    Route {
        ty: IqType::Set,
        ns: ns::MAM,
        name: "query",
        handler: |cx, hold, iq| Box::pin(query(cx, hold, iq)),
    },
    Route {
        ty: IqType::Get,
        ns: ns::MAM,
        name: "query",
        handler: |cx, hold, iq| {
            Box::pin(async move {
                source(&hold.lock(), cx.jid())?;
                mam::fields_of(&cx, &iq)
            })
        },
    },
    Route {
        ty: IqType::Get,
        ns: ns::MAM,
        name: "metadata",
        handler: |cx, hold, iq| {
            Box::pin(async move {
                let archive = source(&hold.lock(), cx.jid())?.archive;
                mam::metadata_of(&cx, archive, &iq).await
            })
        },
    },
];

async fn query(cx: Cx, hold: Arc<Hold>, iq: Iq) -> Result<Reply, StanzaError> {
    let source = source(&hold.lock(), cx.jid())?;
    by_nickname(&iq, &source.address)?;
    mam::answer(cx, source, iq).await
}

/// §4.1.1: messages are found by the occupant's address, and by no real one: not even whoever may know that finds
/// out by it who else was somebody.
fn by_nickname(iq: &Iq, room: &str) -> Result<(), StanzaError> {
    let doc = iq.stanza().element().view();
    let query = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
    let Some(form) = Form::submitted(query)? else { return Ok(()) };
    match form.value("with")?.map(Jid::parse) {
        Some(Ok(with)) if with.bare_str() != room => Err(StanzaError::feature_not_implemented()
            .text("the archive of a room is searched by nicknames: room@service/nick")),
        // What is no address at all is refused with the other fields.
        _ => Ok(()),
    }
}

/// The archive for this reader.
fn source(room: &Room, reader: &Jid) -> Result<Source, StanzaError> {
    room.may_look(reader)?;
    let archive = room.archive().ok_or_else(|| {
        StanzaError::service_unavailable().text("this room does not keep what is said")
    })?;
    let role = room.occupant_of(reader).map_or(Role::None, |occupant| occupant.role);
    let is_moderator =
        role == Role::Moderator || room.affiliation(reader.bare_str()) >= Affiliation::Admin;
    let show = match room.settings.whois {
        _ if is_moderator => speaker::revealed,
        Whois::Anyone => speaker::known,
        Whois::Moderators => speaker::hidden,
    };
    Ok(Source { archive, address: room.jid.to_string(), show })
}

impl Room {
    /// XEP-0313 §6.1.2: whoever has the right to enter now, whether it is there or not.
    pub(super) fn may_look(&self, who: &Jid) -> Result<(), StanzaError> {
        let affiliation = self.effective(who);
        if affiliation == Affiliation::Outcast {
            return Err(StanzaError::forbidden().text("you are banned from this room"));
        }
        if self.is_locked() && affiliation != Affiliation::Owner {
            return Err(StanzaError::item_not_found().text("this room is not configured yet"));
        }
        // Whoever is in it, or listed, needs no password.
        let is_known = affiliation >= Affiliation::Member || self.occupant_of(who).is_some();
        if is_known || !(self.settings.members_only || self.settings.password.is_some()) {
            return Ok(());
        }
        Err(StanzaError::forbidden().text("you may not enter this room"))
    }
}

/// Once an hour: what is too old goes, and what rooms left that are no more.
pub(super) async fn tidy(job: &PeriodicJob) {
    if job.cause != Cause::Due || !job.server.shared().muc.is_hourly(job.now) {
        return;
    }
    match expire(job).await {
        Ok(0) | Err(StoreError::Closed) => {}
        Ok(messages) => tracing::info!(messages, "old messages were deleted from rooms"),
        Err(error) => {
            tracing::warn!(%error, "archives of rooms could not be tidied; tried again later");
        }
    }
}

async fn expire(job: &PeriodicJob) -> Result<usize, StoreError> {
    // What is not indexed yet is not found.
    job.store.archives_indexed().await?;
    let days = i64::from(job.config.muc.retention_days);
    let now = micros(job.now);
    let before = now.saturating_sub(days.saturating_mul(DAY));
    let (mut after, mut total) = (ArchiveId::BEFORE_ALL, 0);
    loop {
        let read = move |tx: &mut dyn Tx| Look::at(tx, after, before, now);
        let Some(look) = job.store.read(read).await? else { return Ok(total) };
        after = look.archive;
        if look.is_orphan {
            // Its rows were written after it was taken off the list of those that are left.
            job.store.write(move |tx| archive::leave(tx, after)).await?;
        } else if days > 0 && look.is_old {
            let batch = move |tx: &mut dyn Tx| archive::purge(tx, after, (before, now), BATCH);
            loop {
                match job.store.write(batch).await? {
                    0 => break,
                    deleted => total += deleted,
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The archive of one room.
struct Look {
    archive: ArchiveId,
    /// There is no such room.
    is_orphan: bool,
    /// It has messages of before the time.
    is_old: bool,
}

impl Look {
    /// The next after one; nothing after the last.
    fn at(
        tx: &mut dyn Tx,
        after: ArchiveId,
        before: i64,
        now: i64,
    ) -> Result<Option<Self>, StoreError> {
        let Some(archive) = archive::archives_after(tx, after)? else { return Ok(None) };
        // Rooms come before accounts.
        let Owner::Room(room) = archive.owner() else { return Ok(None) };
        let first = archive::bounds(tx, archive)?.map_or(now, |(first, _)| first.at);
        let is_old = first < before || first > now;
        Ok(Some(Self { archive, is_orphan: rows::address(tx, room)?.is_none(), is_old }))
    }
}

/// In microseconds.
const DAY: i64 = 86_400_000_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::settings::Settings;
    use super::*;
    use crate::modules::testing::Server;
    use crate::modules::{ALL, Config};
    use crate::store::archive::{Entry, Filter, RowKind};
    use crate::store::ids::RoomId;

    async fn room(server: &Server, name: &'static str, rows: std::ops::Range<i64>) -> RoomId {
        let made = server.store().write(move |tx: &mut dyn Tx| {
            let (jid, settings) = (format!("{name}@rooms.x"), Settings::default());
            let room = rows::create(tx, &jid, "a@x", &settings, &[0; 32], 0)?;
            for seq in rows.clone() {
                let archive = ArchiveId::of_room(room);
                let (peer, resource, stanza) = (&*jid, "n", b"<message/>".as_slice());
                let kind = RowKind::Received;
                let entry = Entry { seq, at: seq, archive, peer, resource, kind, stanza };
                archive::append_behind(tx, &entry, None)?;
            }
            Ok(room)
        });
        made.await.unwrap()
    }

    async fn left(server: &Server, room: RoomId) -> usize {
        server.store().archives_indexed().await.unwrap();
        let archive = ArchiveId::of_room(room);
        let count = move |tx: &mut dyn Tx| archive::count(tx, archive, &Filter::ALL, 10_000);
        server.store().read(count).await.unwrap().unwrap()
    }

    /// What is due in all modules, some hours from now.
    async fn hour(server: &Server, config: &Arc<Config>, hours: u64) {
        for module in ALL {
            if let Some((_, every)) = module.every {
                let now = server.cx.now + Duration::from_secs(hours * 3_600);
                let config = config.clone();
                every(PeriodicJob { now, config, ..server.job(Cause::Due) }).await;
            }
        }
    }

    #[tokio::test]
    async fn messages_go_when_their_time_is_over_and_with_their_room() {
        let mut config = Config::default();
        config.muc.retention_days = 10;
        let server = Server::new(config.clone());
        let config = Arc::new(config);
        let now = micros(server.cx.now);
        let old = now - 11 * DAY;
        let both = room(&server, "both", old..old + 600).await;
        let new = room(&server, "new", now - 5 * DAY..now - 5 * DAY + 3).await;
        let gone = room(&server, "gone", now..now + 700).await;
        server.store().write(move |tx: &mut dyn Tx| rows::destroy(tx, gone)).await.unwrap();
        hour(&server, &config, 1).await;
        let rest = (left(&server, both).await, left(&server, new).await, left(&server, gone).await);
        assert_eq!(rest, (0, 3, 0));
        // Written while the room went, and found later.
        let late = move |tx: &mut dyn Tx| {
            let archive = ArchiveId::of_room(gone);
            let (at, peer, resource, stanza) = (now, "gone@rooms.x", "n", b"<message/>".as_slice());
            let kind = RowKind::Received;
            let entry = Entry { seq: now + 9_000, at, archive, peer, resource, kind, stanza };
            archive::append_behind(tx, &entry, None)
        };
        hour(&server, &config, 3).await;
        server.store().write(late).await.unwrap();
        assert_eq!(left(&server, gone).await, 1);
        hour(&server, &config, 5).await;
        hour(&server, &config, 7).await;
        assert_eq!((left(&server, new).await, left(&server, gone).await), (3, 0));
        let forever = Config::default();
        let mut forever = forever;
        forever.muc.retention_days = 0;
        hour(&server, &Arc::new(forever), 24 * 400).await;
        assert_eq!(left(&server, new).await, 3);
    }
}
