//! Who is in which room, over a planned restart of the server (promise.md 11): sessions that can be resumed are still
//! in their rooms, without entering anew; whoever does not come back leaves.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::deliver::run;
use super::leave::Gone;
use super::nick::Nick;
use super::outputs::Outputs;
use super::rights::{Affiliation, Role};
use super::room::{Room, Seat};
use super::rooms::Hold;
use super::rows;
use crate::base::time::micros;
use crate::jid::{BareJid, Jid};
use crate::modules::api::{Answer, Cx, PeriodicJob, Requester};
use crate::store::StoreError;
use crate::store::tx::Tx;

/// An occupant as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    nick: String,
    role: String,
    /// 0: when people spoke follows behind all occupants, since those are among them who have left.
    spoke: i64,
    /// Real address, and what its presence shows.
    seats: Vec<(String, Vec<u8>)>,
}

impl Room {
    /// Everybody in it, and who is to wait for slow mode, as bytes; nothing if there is nobody.
    fn written(&self, now: SystemTime) -> Option<Vec<u8>> {
        let all: Vec<Written> = self
            .occupants()
            .map(|occupant| Written {
                nick: occupant.nick.text.to_string(),
                role: occupant.role.as_str().to_owned(),
                spoke: 0,
                seats: occupant
                    .seats
                    .iter()
                    .map(|seat| (seat.jid.to_string(), seat.shown.to_vec()))
                    .collect(),
            })
            .collect();
        let waiting: Vec<_> = self.spoken.waiting(micros(now), self.apart()).collect();
        if all.is_empty() && waiting.is_empty() {
            return None;
        }
        Some([postcard::to_allocvec(&all).ok()?, postcard::to_allocvec(&waiting).ok()?].concat())
    }

    /// Seats those who were written; one that cannot be read is not there.
    pub(super) fn seat_written(&mut self, written: &[u8]) {
        let (all, rest): (Vec<Written>, &[u8]) =
            postcard::take_from_bytes(written).unwrap_or_default();
        for Written { nick, role, spoke, seats } in all {
            let (Ok(nick), Some(role)) = (Nick::of(&nick, usize::MAX), Role::parse(&role)) else {
                continue;
            };
            let Ok(jid) = self.jid.with_resource(&nick.text) else { continue };
            for (real, shown) in seats {
                let Ok(real) = Jid::parse(&real) else { continue };
                if spoke != 0 {
                    self.spoken.note(real.bare_str(), spoke, self.apart());
                }
                let seat = Seat { jid: real, shown: Bytes::from(shown) };
                self.seat(nick.clone(), jid.clone().into(), role, seat);
            }
        }
        // An older server wrote no more than occupants.
        let waiting: Vec<(String, i64)> = postcard::from_bytes(rest).unwrap_or_default();
        for (bare, at) in waiting {
            self.spoken.note(&bare, at, self.apart());
        }
    }

    /// Somebody's membership may have ended, or a ban begun, while the server was down.
    fn expel_unlisted(&mut self, out: &mut Outputs) {
        let code = |affiliation| match affiliation {
            Affiliation::Outcast => Some(301),
            Affiliation::None if self.settings.members_only => Some(321),
            _ => None,
        };
        let all = self.occupants.iter();
        let out_of: Vec<_> = all
            .filter_map(|(key, one)| Some((key.clone(), code(self.effective(&one.seat()?.jid))?)))
            .collect();
        for (key, code) in out_of {
            self.remove(&key, &Gone { codes: vec![code], ..Gone::default() }, out);
        }
    }

    /// The sessions that `is_there` does not know.
    fn missing(&self, is_there: impl Fn(&Jid) -> bool) -> Vec<Jid> {
        self.sessions.keys().filter(|session| !is_there(session)).cloned().collect()
    }
}

/// At the end of the server: its sessions are saved, and who is left in a room is one of them.
pub(super) fn stopped(job: PeriodicJob) -> Answer<()> {
    Box::pin(async move {
        let written = |hold: Arc<Hold>| {
            let room = hold.lock();
            Some((room.id?, room.written(job.now)?))
        };
        let all = job.server.shared().muc.all();
        let mut all = all.into_iter().filter_map(written).peekable();
        // A commit for each of thousands would not fit the time of a stop.
        while all.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while bytes < BATCH_BYTES && batch.len() < BATCH_ROOMS {
                let Some(one) = all.next() else { break };
                bytes += one.1.len();
                batch.push(one);
            }
            let write = job.store.write(move |tx: &mut dyn Tx| {
                let mut batch = batch.iter();
                batch.try_for_each(|(id, written)| rows::keep_occupants(tx, *id, Some(written)))
            });
            if let Err(error) = write.await {
                tracing::warn!(%error, "who is in some rooms could not be saved for the restart");
            }
        }
    })
}

/// Rooms that are written together, and bytes of their occupants; the last one may be over that.
const BATCH_ROOMS: usize = 500;
const BATCH_BYTES: usize = 1_048_576;

/// At the start: rooms with occupants are read, and whoever is not there any more leaves them.
pub(super) fn started(job: PeriodicJob) -> Answer<()> {
    Box::pin(async move {
        if let Err(error) = take_back(&job).await {
            tracing::warn!(%error, "who was in which room before the restart could not be read");
        }
    })
}

async fn take_back(job: &PeriodicJob) -> Result<(), StoreError> {
    for jid in job.store.read(rows::occupied).await? {
        let Ok(jid) = BareJid::parse(&jid) else { continue };
        let cx = cx(job, &jid);
        let bounds = job.config.muc.bounds();
        let Ok(Some(hold)) = cx.rooms().open(&job.store, &jid, bounds).await else { continue };
        let id = hold.lock().id;
        if let Some(id) = id {
            job.store.write(move |tx| rows::keep_occupants(tx, id, None)).await?;
        }
        let (router, gone) = (job.router.clone(), gone());
        run(&cx, &hold, |room, out| {
            for session in room.missing(|session| router.is_bound(session)) {
                let _ = room.leave(&session, &gone, out);
            }
            room.expel_unlisted(out);
        });
    }
    // A room that does not stay, and that a crash left with nobody in it.
    for (_, jid) in job.store.read(rows::temporary).await? {
        let Ok(jid) = BareJid::parse(&jid) else { continue };
        let (cx, bounds) = (cx(job, &jid), job.config.muc.bounds());
        // Under its lock: somebody may enter it at this moment.
        if let Ok(Some(hold)) = cx.rooms().open(&job.store, &jid, bounds).await {
            run(&cx, &hold, |_, _| ());
        }
    }
    Ok(())
}

/// §11.2
fn gone() -> Gone {
    Gone { codes: vec![332], is_lost: true, ..Gone::default() }
}

fn cx(job: &PeriodicJob, jid: &BareJid) -> Cx {
    Cx {
        who: Requester::Entity(jid.clone().into()),
        now: job.now,
        config: job.config.clone(),
        store: job.store.clone(),
        router: job.router.clone(),
        server: job.server.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Bounds;
    use super::super::settings::Settings;
    use super::*;
    use crate::modules::api::Cause;
    use crate::modules::testing::Server;

    /// §9.1, §9.4: changed while the server was down.
    #[test]
    fn who_may_not_be_in_a_room_any_more_is_out_of_it() {
        use super::super::room::Standing;
        let jid = BareJid::parse("hall@rooms.x").unwrap();
        let mut room = Room::new(jid.clone(), Settings::default(), [0; 32], Bounds::default());
        // §9.2: a whole domain.
        let banned = Standing { affiliation: Affiliation::Outcast, ..Standing::default() };
        room.standing.insert(BareJid::parse("bad.x").unwrap(), banned);
        for (local, domain, affiliation) in [
            ("ann", "x", Affiliation::Owner),
            ("bob", "x", Affiliation::None),
            ("eve", "x", Affiliation::Outcast),
            ("dan", "bad.x", Affiliation::None),
        ] {
            let real = BareJid::parse(&format!("{local}@{domain}")).unwrap();
            let standing = Standing { affiliation, ..Standing::default() };
            room.standing.insert(real.clone(), standing);
            let seat = Seat { jid: real.with_resource("r").unwrap().into(), shown: Bytes::new() };
            let own = jid.with_resource(local).unwrap().into();
            room.seat(Nick::of(local, 99).unwrap(), own, Role::Participant, seat);
        }
        let mut left = |members_only: bool| {
            room.settings.members_only = members_only;
            room.expel_unlisted(&mut Outputs::default());
            room.occupants().map(|one| one.nick.text.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(left(false), ["ann", "bob"]);
        assert_eq!(left(true), ["ann"]);
    }

    /// All of them, in few writes.
    #[tokio::test]
    async fn everybody_is_saved_at_the_end() {
        let server = Server::with(&[]).await;
        let rooms = &server.cx.server.shared().muc;
        let big = Bytes::from(vec![b' '; BATCH_BYTES / 4]);
        for n in 0..9 {
            let name = format!("r{n}@rooms.x");
            let (of, settings) = (name.clone(), Settings::default());
            let make = move |tx: &mut dyn Tx| rows::create(tx, &of, "a@x", &settings, &[0; 32], 0);
            let _ = server.store().write(make).await.unwrap();
            let jid = BareJid::parse(&name).unwrap();
            let hold = rooms.open(server.store(), &jid, Bounds::default()).await.unwrap().unwrap();
            let seat = Seat { jid: Jid::parse("a@x/r").unwrap(), shown: big.clone() };
            let own = jid.with_resource("a").unwrap().into();
            hold.lock().seat(Nick::of("a", 9).unwrap(), own, Role::Participant, seat);
        }
        stopped(server.job(Cause::Due)).await;
        assert_eq!(server.store().read(rows::occupied).await.unwrap().len(), 9);
    }

    #[test]
    fn who_was_in_a_room_is_in_it_again() {
        let jid = BareJid::parse("hall@rooms.x").unwrap();
        let new = || Room::new(jid.clone(), Settings::default(), [0; 32], Bounds::default());
        let mut room = new();
        let seat = |jid: &str| Seat {
            jid: Jid::parse(jid).unwrap(),
            shown: Bytes::from_static(b"<show>away</show>"),
        };
        for real in ["ann@x/1", "ann@x/2"] {
            let nick = Nick::of("Ann", 99).unwrap();
            let own = jid.with_resource("Ann").unwrap().into();
            room.seat(nick, own, Role::Moderator, seat(real));
        }
        let mut back = new();
        // XEP-0500: nobody gets around it by leaving, though the server stops meanwhile.
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        for room in [&mut room, &mut back] {
            room.settings.slow_mode = 60;
        }
        room.spoken.note("eve@x", 930_000_000, room.apart());
        room.spoken.note("bob@x", 950_000_000, room.apart());
        back.seat_written(&room.written(now).unwrap());
        assert!(!back.spoken.may("bob@x", micros(now), back.apart()));
        let waiting: Vec<_> = back.spoken.waiting(micros(now), 1 << 40).collect();
        assert_eq!(waiting, [("bob@x", 950_000_000)], "others may speak anyway");
        let ann = back.occupant("ann").unwrap();
        assert_eq!((&*ann.nick.text, ann.role, ann.seats.len()), ("Ann", Role::Moderator, 2));
        assert_eq!(&ann.seats[1].shown[..], b"<show>away</show>");
        assert_eq!(back.missing(|jid| jid.as_str() == "ann@x/2").len(), 1);
        back.seat_written(b"\xff\xff");
        assert_eq!(back.len(), 1);
        room.clear();
        assert!(room.written(now).is_some() && new().written(now).is_none());
        // As it was written before.
        let mut older = new();
        let seats = vec![("ann@x/1".to_owned(), Vec::new())];
        let (nick, role) = ("Ann".to_owned(), "participant".to_owned());
        let all = [Written { nick, role, spoke: 950_000_000, seats }];
        older.seat_written(&postcard::to_allocvec(&all[..]).unwrap());
        assert_eq!((older.len(), older.spoken.may("ann@x", micros(now), 60_000_000)), (1, false));
    }
}
