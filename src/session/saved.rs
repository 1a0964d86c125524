//! A session as it is saved over a restart of the server (promise.md 11).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::binding::Binding;
use super::bound::Session;
use super::clock::{now, wall};
use super::ending::Ending;
use super::link::Link;
use super::liveness::Delivery;
use super::resumption::Resumption;
use super::{Context, run};
use crate::base::credential::AgentId;
use crate::base::hash::sha256;
use crate::base::time::micros;
use crate::jid::{FullJid, Jid};
use crate::modules;
use crate::modules::api::{Channel, Client, Via};
use crate::router::handled_count::HandledCount;
use crate::router::outbox::{Outbox, Outgoing};
use crate::router::registry::{Available, BindOutcome, Conflict, Resource};
use crate::stanza::Frame;
use crate::store::StoreError;
use crate::store::damage;
use crate::store::handled::{self, DurableCount, SAVED_TABLE, SavedSession, StreamOwner};
use crate::stream::sm::StreamManagement;

/// What is saved. Before it are [`VERSION`], which is one byte, and a hash of the rest: what it
/// has for the client goes there as it is.
#[derive(Serialize, Deserialize)]
struct Saved {
    jid: String,
    /// Seconds since 1970.
    until: u64,
    resume_secs: u64,
    h: u32,
    acked: u32,
    lang: Option<String>,
    interested: bool,
    presence: Option<(i8, Pieces)>,
    directed: Vec<String>,
    device: Option<[u8; 16]>,
    /// Sent and not acknowledged, then not sent at all.
    unacked: Vec<Item>,
    queued: Vec<Item>,
    unconfirmed: Vec<i64>,
    status: Option<String>,
    /// State of modules: name, version, bytes.
    modules: Vec<modules::Saved>,
}

/// A frame's head, tail and end.
type Pieces = (Vec<u8>, Vec<u8>, Vec<u8>);

#[derive(Serialize, Deserialize)]
struct Item {
    frame: Pieces,
    owed: Option<i64>,
    at: i64,
}

impl From<&Outgoing> for Item {
    fn from(item: &Outgoing) -> Self {
        Self { frame: pieces(&item.frame), owed: item.owed, at: item.at }
    }
}

fn pieces(frame: &Frame) -> Pieces {
    (frame.head.to_vec(), frame.tail.to_vec(), frame.end.to_vec())
}

fn frame((head, tail, end): Pieces) -> Frame {
    Frame { head: head.into(), tail: tail.into(), end: end.into() }
}

impl Session {
    /// Saves the session: it goes on after the restart. One that cannot be written ends here,
    /// without a word to anybody; what it is owed is in the store.
    pub(super) async fn save(mut self: Box<Self>) {
        let cx = self.binding.cx.clone();
        let (Some(sm), Some(resumption)) = (self.sm.take(), self.resumption.take()) else { return };
        self.binding.keep();
        let state = self.to_saved_bytes(&sm, &resumption);
        let (Some(account), Some(state)) = (self.binding.client.account, state) else { return };
        let id = resumption.id();
        let durable_count = DurableCount {
            id,
            owner: StreamOwner::Account(account),
            h: self.handled_count.h(),
            at: micros(wall()),
        };
        let write = cx.store.write(move |tx| {
            handled::put(tx, &durable_count)?;
            handled::save_session(tx, &id, account, &state)
        });
        if let Err(error) = write.await {
            tracing::warn!(%error, jid = %self.binding.client.jid, "a session could not be saved for the restart");
        }
    }

    fn to_saved_bytes(
        &self,
        sm: &StreamManagement<Outgoing>,
        resumption: &Resumption,
    ) -> Option<Vec<u8>> {
        let who = &self.binding.client;
        let resource = self.binding.cx.own(|entry| {
            let resource = entry.session_mut(who.session)?;
            let presence = resource.presence.as_ref();
            let presence = presence.map(|kept| (kept.priority, pieces(&kept.frame)));
            let directed = resource.directed.iter().map(|jid| jid.as_str().to_owned()).collect();
            let device = resource.agent.as_ref().map(|device| *device.bytes());
            let modules = modules::save(&self.state, resource);
            Some((presence, directed, resource.interested, device, modules))
        });
        // Replaced by a newer session of its resource: nobody resumes it.
        let (presence, directed, interested, device, modules) = resource??;
        let left = resumption.hibernates_until()?.saturating_duration_since(now());
        let until = wall() + left;
        let saved = Saved {
            jid: who.jid.as_str().to_owned(),
            until: until.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs(),
            resume_secs: resumption.time().as_secs(),
            h: self.handled_count.h(),
            acked: sm.acked(),
            lang: self.link.lang.as_deref().map(str::to_owned),
            interested,
            presence,
            directed,
            device,
            unacked: sm.unacked().map(Item::from).collect(),
            queued: self.outbox.waiting().iter().map(Item::from).collect(),
            unconfirmed: self.delivery.unconfirmed().to_vec(),
            status: self.binding.session_end.status.clone(),
            modules,
        };
        let saved = postcard::to_allocvec(&saved).ok()?;
        Some([&[VERSION], &sha256(&saved)[..], &saved].concat())
    }
}

/// Brings the saved sessions back after a restart; how many, and how many could not be.
pub async fn restore_all(context: &Arc<Context>) -> Result<(usize, usize), StoreError> {
    let (mut sessions, mut lost) = (Vec::new(), 0);
    loop {
        let batch =
            context.router.store.write(|tx| handled::take_saved(tx, RESTORED_AT_ONCE)).await?;
        if batch.is_empty() {
            break;
        }
        for stored in batch {
            let session = match stored {
                Some(stored) => restore(context, stored).await,
                None => None,
            };
            match session {
                Some(session) => sessions.push(session),
                None => lost += 1,
            }
        }
    }
    let back = sessions.iter().filter(|session| session.ending.is_none()).count();
    lost += sessions.len() - back;
    // All are in the registry before the first one, whose time is over, tells the others.
    for session in sessions {
        context.router.tasks.spawn("session", run::run(Box::new(session)));
    }
    Ok((back, lost))
}

/// A state that cannot be read, or whose account cannot, refuses that resumption only.
async fn restore(context: &Arc<Context>, stored: SavedSession) -> Option<Session> {
    if stored.state.first().is_some_and(|version| *version < VERSION_3) {
        let account = stored.account.0;
        tracing::info!(
            account,
            "a session that an older release saved is over; its client logs in anew"
        );
        return None;
    }
    let Some((jid, saved)) = read(&stored.state) else {
        damage::note((SAVED_TABLE, stored.account), &"its state is broken, or of another release");
        return None;
    };
    if let Err(error) = context.router.load(&jid.bare()).await {
        damage::note((SAVED_TABLE, stored.account), &error);
        return None;
    }
    restored(context, &stored, jid, saved)
}

fn read(state: &[u8]) -> Option<(FullJid, Saved)> {
    let (version, state) = state.split_first()?;
    let (hash, state) = state.split_first_chunk::<32>()?;
    let saved = Some(state).filter(|state| sha256(state) == *hash)?;
    let saved = match *version {
        VERSION => postcard::from_bytes(saved).ok()?,
        VERSION_3 => of_version_3(saved)?,
        _ => return None,
    };
    Some((FullJid::parse(&saved.jid).ok()?, saved))
}

/// Until 0.1 one module's state was a field of its own, behind all others.
fn of_version_3(saved: &[u8]) -> Option<Saved> {
    let (mut saved, carbons) = postcard::take_from_bytes::<Saved>(saved).ok()?;
    saved.modules.push(("carbons/resource".to_owned(), 1, carbons.to_vec()));
    Some(saved)
}

fn restored(
    context: &Arc<Context>,
    stored: &SavedSession,
    jid: FullJid,
    saved: Saved,
) -> Option<Session> {
    let router = &context.router;
    let (time, left) = times(&saved, router.limits.resume_time);
    let quota = context.resume_table.quota(&router.limits);
    let outbox = Arc::new(Outbox::new(router.limits.outbox_bytes_max));
    let session = router.next_session();
    let queued: Vec<Outgoing> = saved.queued.into_iter().map(outgoing).collect();
    let unacked: Vec<Outgoing> = saved.unacked.into_iter().map(outgoing).collect();
    let state = modules::load(&saved.modules);
    let (state, features) = match state {
        Some((state, features)) if quota.is_some() => (Some(state), features),
        _ => (None, None),
    };
    let resource = Resource {
        presence: saved.presence.map(|(priority, kept)| Available { priority, frame: frame(kept) }),
        interested: saved.interested,
        directed: saved.directed.iter().filter_map(|jid| Jid::parse(jid).ok()).collect(),
        hibernating: true,
        features,
        agent: saved.device.map(AgentId::from_bytes),
        ..Resource::new(jid.clone(), session, outbox.clone())
    };
    let mut binding = bind(context, stored, resource)?;
    binding.session_end.status = saved.status;
    router.own(&binding.client.home, |entry| {
        let held = unacked.iter().chain(&queued).filter_map(|item| item.owed);
        for seq in held.chain(saved.unconfirmed.iter().copied()) {
            // One that another device confirmed meanwhile is still this one's to see.
            entry.owed.hold(seq, session);
        }
    });
    for item in queued {
        // It fitted before.
        let _ = outbox.push(item);
    }
    outbox.watch(true);
    let slot = context.resume_table.add(stored.id, jid.bare(), outbox);
    let mut resumption = Resumption::new(stored.id, time, slot);
    resumption.hibernate(now() + left, quota, None);
    let link = Link::disconnected(&binding.context().router.limits, now());
    let link = link.speaking(saved.lang.as_deref());
    let mut restored = Session::new(binding, link, now());
    let handled_count = HandledCount::restored(stored.id, stored.account, saved.h, &router.limits);
    restored.handled_count = Arc::new(handled_count);
    let mut sm = restored.new_management(saved.acked);
    for item in unacked {
        let bytes = item.frame.len();
        sm.push(item, bytes);
    }
    restored.sm = Some(sm);
    restored.resumption = Some(resumption);
    restored.delivery = Delivery::restored(saved.unconfirmed, now());
    match state {
        Some(state) => restored.state = state,
        // It cannot go on, and those who see it learn that.
        None => restored.ending = Some(Ending::Expired),
    }
    restored.check_hibernation();
    Some(restored)
}

/// It takes the place that it had among the account's sessions, unless that is gone.
fn bind(context: &Arc<Context>, stored: &SavedSession, resource: Resource) -> Option<Binding> {
    let router = &context.router;
    let (jid, session, outbox) = (resource.jid.clone(), resource.session, resource.outbox.clone());
    if !router.is_home_of(&jid.bare(), stored.account) {
        return None;
    }
    let policy = Conflict::Refuse;
    let BindOutcome::Done(home, None) = router.registry.bind(resource, false, policy, usize::MAX)
    else {
        return None;
    };
    let account = Some(stored.account);
    Some(Binding::new(
        context.clone(),
        Client { jid, account, session, outbox, home, channel: NOWHERE },
    ))
}

/// Where its client is, a resumption tells.
const NOWHERE: Channel = Channel {
    peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    secure: true,
    by_token: false,
    via: Via::Tcp,
};

/// How long a session may be resumed, and how long still.
fn times(saved: &Saved, most: Duration) -> (Duration, Duration) {
    let time = Duration::from_secs(saved.resume_secs).min(most);
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(saved.until);
    // One whose time ran out meanwhile ends at once, and those who saw it learn that. A clock that
    // was set back does not keep it for ever.
    (time, until.duration_since(wall()).unwrap_or_default().min(time))
}

fn outgoing(item: Item) -> Outgoing {
    Outgoing { frame: frame(item.frame), owed: item.owed, at: item.at }
}

/// Of [`Saved`]: another one cannot be read.
const VERSION: u8 = 4;
const VERSION_3: u8 = 3;
/// Sessions taken from the store in one write.
const RESTORED_AT_ONCE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::ResourceState;
    use crate::modules::api::Persist;

    fn saved() -> Saved {
        Saved {
            jid: "a@x/r".to_owned(),
            until: 7,
            resume_secs: 600,
            h: 3,
            acked: 2,
            lang: None,
            interested: true,
            presence: None,
            directed: vec!["room@y/me".to_owned()],
            device: None,
            unacked: Vec::new(),
            queued: Vec::new(),
            unconfirmed: vec![4],
            status: None,
            modules: vec![("presence".to_owned(), 1, b"bye".to_vec())],
        }
    }

    fn sealed(version: u8, state: &[u8]) -> Vec<u8> {
        [&[version], &sha256(state)[..], state].concat()
    }

    /// Written before carbons were a module's own: whoever wanted copies still gets them.
    #[test]
    fn a_session_of_the_version_before_is_read() {
        let state = postcard::to_allocvec(&saved()).unwrap();
        for wanted in [false, true] {
            let before = [&state[..], &[u8::from(wanted)]].concat();
            let (jid, read) = read(&sealed(VERSION_3, &before)).unwrap();
            assert_eq!((jid.as_str(), read.h, read.unconfirmed), ("a@x/r", 3, vec![4]));
            let (_, features) = modules::load(&read.modules).unwrap();
            let mut resource = Resource::new(jid, 1, Arc::new(Outbox::new(9)));
            resource.features = features;
            let resource_state = ResourceState::of(&resource).unwrap();
            assert_eq!(resource_state.carbons.save(), [u8::from(wanted)]);
        }
    }

    #[test]
    fn what_is_broken_or_of_another_release_is_not_read() {
        let state = postcard::to_allocvec(&saved()).unwrap();
        assert!(read(&sealed(VERSION, &state)).is_some());
        let mut broken = sealed(VERSION, &state);
        *broken.last_mut().unwrap() ^= 1;
        for broken in [broken, sealed(2, &state), sealed(VERSION, b""), Vec::new()] {
            assert!(read(&broken).is_none());
        }
    }
}
