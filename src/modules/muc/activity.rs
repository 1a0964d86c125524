//! XEP-0437: Room Activity Indicators. A session that is not in its rooms is told where something was said: once for
//! each room, and no more than that. A room counts for its members, who may read it.
//!
//! Who wants to be told is known in memory, as long as its session is there; when a member was in a room last is in the
//! store, so that whoever comes hears of what was said meanwhile. What is said is looked at in one task for all rooms,
//! which takes together what came since.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::super::ResourceState;
use super::clock;
use super::rights::Affiliation;
use super::room::Room;
use super::say::NORMAL;
use super::told::Told;
use crate::jid::{BareJid, Jid};
use crate::modules::api::{Cx, PeriodicJob, Requester};
use crate::router::registry::{AccountEntry, Resource};
use crate::router::{HandedOut, Leads};
use crate::stanza::presence::PresenceType;
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::StoreError;
use crate::store::archive;
use crate::store::ids::{ArchiveId, RoomId};
use crate::store::tx::{Tx, query_all};
use crate::xml::writer::{Xml, escape_attr};

pub(super) const NS: &str = "urn:xmpp:rai:0";

/// Who is to be told where something was said.
#[derive(Debug)]
pub struct Indicators {
    state: Mutex<State>,
    /// How many there are: it is looked at for each message.
    count: AtomicUsize,
    /// Few look through their rooms at a time.
    looks: Semaphore,
}

impl Default for Indicators {
    fn default() -> Self {
        let (state, count) = (Mutex::default(), AtomicUsize::new(0));
        Self { state, count, looks: Semaphore::new(LOOKS) }
    }
}

#[derive(Debug, Default)]
struct State {
    /// By their accounts.
    subscribers: HashMap<BareJid, Vec<Subscriber>>,
    /// Rooms in which something was said, to be looked at.
    stirred: HashSet<BareJid>,
    /// Somebody looks at them.
    is_watched: bool,
    /// When sessions that are gone were looked for last.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Subscriber {
    session: Jid,
    told: Arc<Told>,
}

/// The rooms that each session is to be told of.
type Notices = BTreeMap<(Jid, Box<str>), Vec<BareJid>>;

impl Indicators {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session wants to be told from now on; what it was told before is with it.
    fn subscribe(&self, session: &Jid, told: Arc<Told>, max: usize) -> Result<(), StanzaError> {
        let mut state = self.lock();
        let is_new = state.remove(session, &told.service).is_none();
        if is_new && self.count.load(Ordering::Acquire) >= max {
            let text = "as many sessions as may be are told of rooms' activity";
            return Err(StanzaError::resource_constraint().text(text));
        }
        let one = Subscriber { session: session.clone(), told };
        state.subscribers.entry(session.bare()).or_default().push(one);
        self.count.fetch_add(usize::from(is_new), Ordering::AcqRel);
        Ok(())
    }

    fn unsubscribe(&self, session: &Jid, service: &str) {
        if self.lock().remove(session, service).is_some() {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Somebody's last session left a room: what is said from now on is news to those sessions that are told.
    pub(super) fn saw(&self, room: &Room, gone: &[BareJid], now: i64) {
        let Some(id) = room.id.filter(|_| self.count.load(Ordering::Acquire) > 0) else { return };
        // The clock of what is said may be a little ahead.
        let until = room.history.back().map_or(now, |last| now.max(last.at));
        let state = self.lock();
        let own = gone.iter().filter_map(|bare| state.subscribers.get(bare)).flatten();
        let own = own.filter(|one| &*one.told.service == room.jid.domain());
        own.for_each(|one| one.told.saw(id, until, ROOMS_MAX));
    }

    /// Forgets sessions that are not there any more, if their last presence was lost. All are looked at, so that is not
    /// done again at once.
    fn forget_gone(&self, is_there: impl Fn(&Jid) -> bool, now: Instant) {
        let all: Vec<(Jid, Arc<Told>)> = {
            let mut state = self.lock();
            if state.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
                return;
            }
            state.swept = Some(now);
            let all = state.subscribers.values().flatten();
            all.map(|one| (one.session.clone(), one.told.clone())).collect()
        };
        for (session, told) in all.iter().filter(|(session, _)| !is_there(session)) {
            self.unsubscribe(session, &told.service);
        }
    }

    /// Something was said in a room; whether somebody has to begin to look.
    fn stir(&self, room: &BareJid) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut state = self.lock();
        state.stirred.insert(room.clone());
        !std::mem::replace(&mut state.is_watched, true)
    }

    /// Where something was said; if it is nowhere, nobody looks any more.
    fn stirred(&self) -> HashSet<BareJid> {
        let mut state = self.lock();
        state.is_watched = !state.stirred.is_empty();
        std::mem::take(&mut state.stirred)
    }

    /// Nobody looks any more, though there may be something.
    fn unwatched(&self) {
        self.lock().is_watched = false;
    }
}

impl State {
    fn remove(&mut self, session: &Jid, service: &str) -> Option<Subscriber> {
        let bare = session.bare();
        let own = self.subscribers.get_mut(&bare)?;
        let at = own.iter().position(|one| one.is(session, service))?;
        let gone = own.swap_remove(at);
        gone.told.end();
        if own.is_empty() {
            self.subscribers.remove(&bare);
        }
        Some(gone)
    }

    /// Those who hear of a room: its members, but for sessions that are in it, and for who was told already.
    fn audience(&self, room: &Room, notices: &mut Notices) {
        let Some(id) = room.id else { return };
        // The shorter list is gone through.
        if room.standing.len() < self.subscribers.len() {
            for jid in room.standing.keys() {
                for one in self.subscribers.get(jid).into_iter().flatten() {
                    one.hear(room, id, notices);
                }
            }
        } else {
            for one in self.subscribers.values().flatten() {
                one.hear(room, id, notices);
            }
        }
    }
}

impl Subscriber {
    fn is(&self, session: &Jid, service: &str) -> bool {
        self.session == *session && &*self.told.service == service
    }

    fn hear(&self, room: &Room, id: RoomId, notices: &mut Notices) {
        let is_its = &*self.told.service == room.jid.domain()
            && room.occupant_of(&self.session).is_none()
            && may_hear(room, &self.session);
        // Where nothing is kept in memory nobody knows when it was.
        let spoken = room.history.back().map_or(i64::MAX, |last| last.at);
        if is_its && self.told.note(id, spoken, ROOMS_MAX) {
            let to = (self.session.clone(), self.told.service.clone());
            notices.entry(to).or_default().push(room.jid.clone());
        }
    }
}

/// §4: nobody hears of a room that it may not enter; here, of a room of which it is no member either (§5.1).
fn may_hear(room: &Room, who: &Jid) -> bool {
    room.affiliation(who.bare_str()) >= Affiliation::Member && room.may_look(who).is_ok()
}

/// §3: presence for the service itself.
pub(super) async fn presence(cx: &Cx, stanza: &Stanza) -> Result<Vec<Stanza>, StanzaError> {
    let Some(to) = stanza.to() else { return Ok(Vec::new()) };
    let (session, service) = (stanza.from(), to.domain());
    if to.is_full() {
        return nowhere(stanza);
    }
    match PresenceType::parse(stanza.ty().as_deref())? {
        PresenceType::Available if stanza.element().has_child(NS, "rai") => {
            // §6: "by only serving local users".
            if session.is_bare() || cx.router.leads(session) != Leads::Account {
                return Err(StanzaError::not_allowed().text("this is for users of this server"));
            }
            // §4: in one subscription's lifetime it is told once of each room, and of what was said before it began.
            if is_repeated(cx, service) {
                return Ok(Vec::new());
            }
            let (all, max) = (&cx.rooms().indicators, cx.config.muc.activity_subscribers_max);
            let told = Told::new(service);
            if all.subscribe(session, told.clone(), max).is_err() {
                all.forget_gone(|session| cx.router.is_bound(session), clock::now());
                all.subscribe(session, told.clone(), max)?;
            }
            keep(cx, told.clone());
            if let Err(error) = catch_up(cx, session, &told).await {
                all.unsubscribe(session, service);
                return Err(error.into());
            }
        }
        PresenceType::Unavailable | PresenceType::Error => {
            cx.rooms().indicators.unsubscribe(session, service);
        }
        _ => {}
    }
    Ok(Vec::new())
}

/// `conference.example.org/nick`: somebody forgot the room (RFC 6120 §10.5.2; XEP-0045 §7.2 has an address with all
/// three parts). What wants nothing gets nothing.
fn nowhere(stanza: &Stanza) -> Result<Vec<Stanza>, StanzaError> {
    match PresenceType::parse(stanza.ty().as_deref())? {
        PresenceType::Unavailable | PresenceType::Error => Ok(Vec::new()),
        _ => Err(StanzaError::jid_malformed()
            .text("the room is missing: it stands before the @, as in room@service/nickname")),
    }
}

/// Whether the session has a subscription. One that another session of its address left behind is none.
fn is_repeated(cx: &Cx, service: &str) -> bool {
    cx.own(|account| {
        let resource = account.session_mut(cx.session())?;
        let mut open = ResourceState::of(resource)?.muc.open();
        open.any(|told| &*told.service == service).then_some(())
    })
    .flatten()
    .is_some()
}

/// Over a planned restart, too (promise.md 11).
fn keep(cx: &Cx, told: Arc<Told>) {
    cx.own_sessions(|account| {
        let resource = account.session_mut(cx.session())?;
        ResourceState::made(resource)?.muc.add(told);
        Some(())
    });
}

/// At the start: sessions that can be resumed are told as before.
pub(super) async fn take_back(job: &PeriodicJob) {
    let (all, max) = (&job.server.shared().muc.indicators, job.config.muc.activity_subscribers_max);
    for present in job.router.online() {
        let Ok(Some(home)) = job.router.home(&present.bare).await else { continue };
        let kept = |account: &mut AccountEntry| {
            let of = |one: &Resource| Some((one.jid.clone(), ResourceState::of(one)?.muc.clone()));
            account.resources.iter().filter_map(of).collect::<Vec<_>>()
        };
        for (session, kept) in job.router.own(&home, kept).unwrap_or_default() {
            let session = Jid::from(session);
            for told in kept.open() {
                // Beyond the bound, which may be another one now, none is.
                if all.subscribe(&session, told.clone(), max).is_err() {
                    told.end();
                }
            }
        }
    }
}

/// §4: "a list of rooms where activity has occurred since the client was last in the room".
async fn catch_up(cx: &Cx, session: &Jid, told: &Told) -> Result<(), StoreError> {
    let service = &told.service;
    let all = &cx.rooms().indicators;
    let rooms = {
        let _turn = all.looks.acquire().await;
        own_rooms(cx, session, service).await?
    };
    // Each of them is looked at, whenever a client asks.
    if let Some(client) = cx.client() {
        client.outbox.charge(rooms.len().saturating_mul(LOOK_COST));
    }
    let mut notices = Notices::new();
    for Own { id, jid, seen, spoken } in rooms {
        let hold = cx.rooms().find(&jid);
        let spoken = hold.map_or(Some(spoken), |hold| {
            let room = hold.lock();
            // §3.1: another session of its account may be, and may be one that nobody looks at.
            let is_here = room.occupant_of(session).is_some();
            // Of a room without an archive that is all there is.
            let heard = room.history.back().map_or(0, |kept| kept.at);
            (!is_here && may_hear(&room, session)).then(|| spoken.max(heard))
        });
        let Some(spoken) = spoken.filter(|spoken| *spoken > seen) else { continue };
        // It may have been told meanwhile.
        if told.note(id, spoken, ROOMS_MAX) {
            notices.entry((session.clone(), service.clone())).or_default().push(jid);
        }
    }
    tell(cx, notices);
    Ok(())
}

/// A room of an account.
struct Own {
    id: RoomId,
    jid: BareJid,
    /// When the account was there last. 0: never, or before that was written down (schema 27): it is told once too
    /// often rather than never.
    seen: i64,
    /// When something was said there last, as far as it is in an archive.
    spoken: i64,
}

async fn own_rooms(cx: &Cx, session: &Jid, service: &str) -> Result<Vec<Own>, StoreError> {
    // That it left, and what was said.
    cx.store.barrier().await?;
    let (bare, service) = (session.bare(), service.to_owned());
    let mut rooms = cx.store.read(move |tx| memberships(tx, &bare, &service)).await?;
    let runs = cx.store.index_runs();
    if rooms.iter().any(|one| cx.store.is_behind(ArchiveId::of_room(one.id), runs)) {
        cx.store.archives_indexed().await?;
    }
    let look = move |tx: &mut dyn Tx| {
        for one in &mut rooms {
            let bounds = archive::bounds(tx, ArchiveId::of_room(one.id))?;
            one.spoken = bounds.map_or(0, |(_, last)| last.at);
        }
        Ok(rooms)
    };
    cx.store.read(look).await
}

/// Something was said in a room: its members are told, in a task of its own.
pub(super) fn stir(cx: &Cx, room: &BareJid) {
    if !cx.rooms().indicators.stir(room) {
        return;
    }
    // Whoever spoke first is not held for it.
    let watch =
        Watch { cx: Cx { who: Requester::Entity(room.clone().into()), ..cx.clone() }, done: false };
    let (began, since) = (cx.now, clock::now());
    cx.router.tasks.clone().spawn("muc", async move {
        let mut watch = watch;
        loop {
            let cx = &mut watch.cx;
            let stirred = cx.rooms().indicators.stirred();
            if stirred.is_empty() {
                watch.done = true;
                return;
            }
            // It may go on for long.
            cx.now = began + since.elapsed();
            let mut notices = Notices::new();
            for hold in stirred.iter().filter_map(|jid| cx.rooms().find(jid)) {
                let room = hold.lock();
                cx.rooms().indicators.lock().audience(&room, &mut notices);
            }
            tell(cx, notices);
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = cx.router.questions.closed() => return,
            }
        }
    });
}

/// Somebody looks where something was said; if it could not go on the next message begins again.
struct Watch {
    cx: Cx,
    done: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.done {
            self.cx.rooms().indicators.unwatched();
        }
    }
}

/// Whoever is not there any more is told no more.
fn tell(cx: &Cx, notices: Notices) {
    let mut handed = HandedOut::default();
    for ((session, service), mut rooms) in notices {
        let Ok(from) = Jid::parse(&service) else { continue };
        rooms.sort_unstable();
        let to = [session];
        for frame in frames(&service, &rooms) {
            cx.router.hand_out((&from, NORMAL), &frame, &to, cx.now, &mut handed);
        }
        for session in handed.absent.drain(..) {
            cx.rooms().indicators.unsubscribe(&session, &service);
        }
    }
    cx.router.nudge(&mut handed);
}

/// §3.1: one message, but for very many rooms.
fn frames(service: &str, rooms: &[BareJid]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut rooms = rooms.iter().peekable();
    while rooms.peek().is_some() {
        let (mut xml, mut left) = (Xml::new(), FRAME_BYTES);
        xml.start("rai").attr("xmlns", NS);
        while let Some(room) = rooms.next_if(|_| left > 0) {
            xml.element("activity", None, room.as_str());
            left = left.saturating_sub(room.as_str().len());
        }
        xml.end();
        let head = format!("<message from=\"{}\"", escape_attr(service));
        frames.push(Frame::of(head, [b">", &*xml.finish(), b"</message>"].concat()));
    }
    frames
}

/// Of very many those in which it was last.
fn memberships(tx: &mut dyn Tx, bare: &BareJid, service: &str) -> Result<Vec<Own>, StoreError> {
    let max = i64::try_from(ROOMS_MAX).unwrap_or(i64::MAX);
    let member = Affiliation::Member.number();
    let params = [bare.as_str().into(), member.into(), service.into(), max.into()];
    let rows = query_all(tx, MEMBERSHIPS, &params, |row| {
        Ok((RoomId(row.int(0)?), row.text(1)?, row.opt_int(2)?))
    })?;
    let read = |(id, jid, seen): (RoomId, String, Option<i64>)| {
        let jid = BareJid::parse(&jid).ok()?;
        Some(Own { id, jid, seen: seen.unwrap_or_default(), spoken: 0 })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// From one look to the next: nobody is told more often.
const PAUSE: Duration = Duration::from_secs(1);
/// Rooms of which one session is told.
const ROOMS_MAX: usize = 1_000;
/// Sessions that look through their rooms at a time.
const LOOKS: usize = 4;
/// How often sessions that are gone are looked for at most.
const SWEEP: Duration = Duration::from_secs(60);
/// What a room that is looked at costs, in stanzas to somebody.
const LOOK_COST: usize = 5;
/// Bytes of addresses in one message, more or less.
const FRAME_BYTES: usize = 65_536;

crate::store::sql! {
    // In this order: the account has few rooms, and the service many.
    MEMBERSHIPS = "SELECT room.id, room.jid, room_affiliation.seen_at FROM room_affiliation CROSS JOIN room \
        WHERE room_affiliation.jid = $1 AND room_affiliation.affiliation >= $2 \
        AND room.id = room_affiliation.room AND room.domain = $3 \
        ORDER BY COALESCE(room_affiliation.seen_at, 0) DESC LIMIT $4";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(all: &Indicators, session: &str, max: usize) -> bool {
        all.subscribe(&Jid::parse(session).unwrap(), Told::new("rooms.x"), max).is_ok()
    }

    /// Whoever asks in vain does not have all looked at each time.
    #[tokio::test]
    async fn sessions_that_are_gone_are_looked_for_now_and_then() {
        let (all, now) = (Indicators::default(), clock::now());
        assert!(subscribe(&all, "ann@x/1", 1) && !subscribe(&all, "bob@x/1", 1));
        all.forget_gone(|_| true, now);
        all.forget_gone(|_| panic!("again"), now + SWEEP / 2);
        assert!(!subscribe(&all, "bob@x/1", 1));
        all.forget_gone(|_| false, now + SWEEP);
        assert!(subscribe(&all, "bob@x/1", 1));
    }

    #[tokio::test]
    async fn the_next_message_begins_again_after_a_failure() {
        let server = crate::modules::testing::Server::with(&[]).await;
        let all = &server.cx.rooms().indicators;
        let room = BareJid::parse("hall@rooms.x").unwrap();
        assert!(subscribe(all, "ann@x/1", 9));
        assert!(all.stir(&room) && !all.stir(&room));
        drop(Watch { cx: server.cx.clone(), done: false });
        assert!(all.stir(&room));
        drop(Watch { cx: server.cx.clone(), done: true });
        assert!(!all.stir(&room));
    }
}
