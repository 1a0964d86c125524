//! Registrations that wait to be notified, of all accounts: bounded, each once, with a pause between two
//! notifications.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::figures::Sent;
use crate::router::home::Home;

/// The queue; a worker takes what is due.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
    /// What came of those that were taken.
    pub sent: Sent,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<i64, Entry>,
    /// Those that are due, by time.
    due: BTreeSet<(Instant, i64)>,
    /// From so many on, those that are over are looked for.
    swept_at: usize,
    /// Push services to which something is being sent, by domain.
    services: HashMap<String, Service>,
}

/// What a push service is being sent.
#[derive(Debug, Default)]
struct Service {
    sending: usize,
    /// Registrations that wait for one of these to be over: each once.
    waiting: VecDeque<i64>,
}

#[derive(Debug)]
struct Entry {
    home: Home,
    /// When it is to be notified; none while nothing is new.
    at: Option<Instant>,
    /// Not earlier, and not earlier for what cannot wait.
    pause: Option<(Instant, Instant)>,
    /// It is being notified.
    busy: bool,
    /// It waits for its push service to be free.
    parked: bool,
    /// When it was queued, by the wall clock.
    since: SystemTime,
}

/// A registration to be notified.
#[derive(Debug, Clone, Copy)]
pub struct Wake {
    /// Its key.
    pub id: i64,
    /// So much later.
    pub delay: Duration,
    /// What it is to be told cannot wait for the pause after another.
    pub urgent: bool,
}

/// A registration that is due.
#[derive(Debug)]
pub struct Taken {
    /// Its account.
    pub home: Home,
    /// Its key.
    pub id: i64,
    /// When it was queued, by the wall clock.
    pub since: SystemTime,
}

impl Queue {
    /// Has it notified, once with what is queued for it. Where there are too many, it is dropped: a notification
    /// is a hint.
    pub fn put(&self, now: Instant, home: &Home, since: SystemTime, wake: Wake, max: usize) {
        let Wake { id, delay, urgent } = wake;
        let mut inner = self.lock();
        if !inner.entries.contains_key(&id) && inner.entries.len() >= max {
            inner.sweep(now);
            if inner.entries.len() >= max {
                tracing::debug!("too many push notifications wait: one is dropped");
                return;
            }
        }
        let Inner { entries, due, .. } = &mut *inner;
        let entry = entries.entry(id).or_insert_with(|| Entry {
            home: home.clone(),
            at: None,
            pause: None,
            busy: false,
            parked: false,
            since,
        });
        entry.since = since;
        let earliest = entry.pause.map_or(now, |(any, first)| if urgent { first } else { any });
        let at = (now + delay).max(earliest);
        if entry.at.is_some_and(|known| known <= at) {
            return;
        }
        if let Some(known) = entry.at.replace(at) {
            due.remove(&(known, id));
        }
        if !entry.busy {
            due.insert((at, id));
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Waits for the next one that is due.
    pub async fn next(&self) -> Taken {
        loop {
            let changed = self.changed.notified();
            let next = match self.take(now()) {
                Ok(taken) => return taken,
                Err(next) => next,
            };
            match next {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    fn take(&self, now: Instant) -> Result<Taken, Option<Instant>> {
        let mut inner = self.lock();
        let Inner { entries, due, .. } = &mut *inner;
        while let Some(&(at, id)) = due.first() {
            if at > now {
                return Err(Some(at));
            }
            due.pop_first();
            if let Some(entry) = entries.get_mut(&id) {
                (entry.at, entry.busy) = (None, true);
                return Ok(Taken { home: entry.home.clone(), id, since: entry.since });
            }
        }
        Err(None)
    }

    /// Something is to be sent for this registration, which [`Self::next`] gave, to a push service: it is now, until
    /// [`Self::leave`], or when others are through, if this is false. One that answers late, or never, holds up
    /// nobody but itself.
    pub fn enter(&self, id: i64, domain: &str) -> bool {
        let mut inner = self.lock();
        let Inner { entries, services, .. } = &mut *inner;
        let service = services.entry(domain.to_owned()).or_default();
        if service.sending < TO_ONE_MAX {
            service.sending += 1;
            return true;
        }
        if let Some(entry) = entries.get_mut(&id).filter(|entry| !entry.parked) {
            entry.parked = true;
            service.waiting.push_back(id);
        }
        false
    }

    /// The push service has answered, or will not: the next one's turn.
    pub fn leave(&self, now: Instant, domain: &str) {
        let mut inner = self.lock();
        let Inner { entries, due, services, .. } = &mut *inner;
        let Some(service) = services.get_mut(domain) else { return };
        service.sending = service.sending.saturating_sub(1);
        while let Some(id) = service.waiting.pop_front() {
            let Some(entry) = entries.get_mut(&id) else { continue };
            entry.parked = false;
            let at = entry.at.map_or(now, |at| at.min(now));
            if let Some(known) = entry.at.replace(at) {
                due.remove(&(known, id));
            }
            if !entry.busy {
                due.insert((at, id));
            }
            break;
        }
        if service.sending == 0 && service.waiting.is_empty() {
            services.remove(domain);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// How many are to be notified, and how many are known.
    pub fn load(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.due.len(), inner.entries.len())
    }

    /// It is enabled anew: no pause of before holds.
    pub fn renewed(&self, id: i64) {
        if let Some(entry) = self.lock().entries.get_mut(&id) {
            entry.pause = None;
        }
    }

    /// It was notified, or need not be: the next time after these pauses; `again` at that time in any case.
    pub fn done(&self, now: Instant, id: i64, pause: Duration, urgent: Duration, again: bool) {
        let mut inner = self.lock();
        let Inner { entries, due, .. } = &mut *inner;
        let Some(entry) = entries.get_mut(&id) else { return };
        entry.busy = false;
        entry.pause = Some((now + pause, now + urgent));
        if again {
            entry.at = entry.at.into_iter().chain([now + pause]).min();
        }
        if let Some(at) = entry.at {
            // What came meanwhile did not know of the pause.
            let at = at.max(now + urgent);
            entry.at = Some(at);
            due.insert((at, id));
        }
        if entries.len() > inner.swept_at {
            inner.sweep(now);
        }
        drop(inner);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets those that only pause, and no more.
    fn sweep(&mut self, now: Instant) {
        let pauses = |entry: &Entry| entry.pause.is_some_and(|(any, _)| any > now);
        self.entries
            .retain(|_, entry| entry.busy || entry.parked || entry.at.is_some() || pauses(entry));
        self.swept_at = self.entries.len() * 2 + SWEPT_AT;
    }
}

/// By which something is due: a clock that is set wakes nobody, and no stanza's time is it.
pub fn now() -> Instant {
    Instant::now()
}

/// Notifications that one push service is being sent at a time.
const TO_ONE_MAX: usize = 16;
/// Fewer are not looked through.
const SWEPT_AT: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::super::testing::Server;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct At(Queue, Instant, Home);

    impl At {
        fn put(&self, id: i64, delay: Duration, urgent: bool, max: usize) {
            self.0.put(self.1, &self.2, SystemTime::UNIX_EPOCH, Wake { id, delay, urgent }, max);
        }

        fn next(&self) -> Option<i64> {
            self.0.take(self.1).ok().map(|taken| taken.id)
        }

        fn done(&self, id: i64, pause: Duration, urgent: Duration, again: bool) {
            self.0.done(self.1, id, pause, urgent, again);
        }
    }

    async fn queue() -> At {
        let home = Server::with(&["a"]).await.session("a@x/1").await.client().unwrap().home.clone();
        At(Queue::default(), now(), home)
    }

    #[tokio::test]
    async fn each_is_due_once_at_its_earliest_time() {
        let mut queue = queue().await;
        queue.put(1, SECOND * 9, false, 9);
        queue.put(2, SECOND * 5, false, 9);
        assert_eq!(queue.0.take(queue.1).unwrap_err(), Some(queue.1 + SECOND * 5));
        queue.put(1, Duration::ZERO, false, 9);
        assert_eq!((queue.next(), queue.next()), (Some(1), None));
        queue.1 += SECOND * 5;
        assert_eq!((queue.next(), queue.next()), (Some(2), None));
        assert_eq!(queue.0.take(queue.1).unwrap_err(), None);
    }

    #[tokio::test]
    async fn there_is_a_pause_between_two() {
        let mut queue = queue().await;
        queue.put(1, Duration::ZERO, false, 9);
        assert_eq!(queue.next(), Some(1));
        queue.put(1, Duration::ZERO, true, 9);
        assert_eq!(queue.next(), None, "it is being notified");
        queue.done(1, SECOND * 5, SECOND, false);
        assert_eq!(queue.next(), None);
        queue.1 += SECOND;
        assert_eq!(queue.next(), Some(1));
        queue.done(1, SECOND * 5, SECOND, false);
        queue.put(1, Duration::ZERO, false, 9);
        queue.1 += SECOND * 2;
        assert_eq!(queue.next(), None);
        queue.put(1, Duration::ZERO, true, 9);
        assert_eq!(queue.next(), Some(1), "a call goes before");
        queue.done(1, SECOND * 60, SECOND * 60, true);
        queue.1 += SECOND * 60;
        assert_eq!(queue.next(), Some(1), "tried again");
        queue.done(1, SECOND, SECOND, false);
        queue.1 += SECOND * 60;
        assert_eq!(queue.next(), None);
    }

    #[tokio::test]
    async fn it_is_bounded_and_what_is_over_makes_room() {
        let mut queue = queue().await;
        (1..=3).for_each(|id| queue.put(id, Duration::ZERO, false, 2));
        assert_eq!((queue.next(), queue.next(), queue.next()), (Some(1), Some(2), None));
        queue.done(1, SECOND, SECOND, false);
        queue.put(3, Duration::ZERO, false, 2);
        assert_eq!(queue.next(), None, "one pauses, one is being notified");
        queue.1 += SECOND * 2;
        queue.put(3, Duration::ZERO, false, 2);
        assert_eq!(queue.next(), Some(3));
    }

    /// One that never answers, of a hostile client or broken, has its places and no more.
    #[tokio::test]
    async fn a_push_service_that_does_not_answer_holds_up_no_other() {
        let queue = queue().await;
        let most = i64::try_from(TO_ONE_MAX).unwrap();
        for id in 0..most + 2 {
            queue.put(id, Duration::ZERO, false, 99);
            assert_eq!(queue.next(), Some(id));
            assert_eq!(queue.0.enter(id, "dead"), id < most, "{id}");
        }
        for id in [most, most + 1] {
            queue.done(id, Duration::ZERO, Duration::ZERO, false);
        }
        // Asked once more, it waits in one place still.
        queue.put(most, Duration::ZERO, false, 99);
        assert_eq!(queue.next(), Some(most));
        assert!(!queue.0.enter(most, "dead") && queue.0.enter(most, "alive"));
        queue.0.leave(queue.1, "alive");
        queue.done(most, Duration::ZERO, Duration::ZERO, false);
        queue.0.lock().sweep(queue.1);
        assert_eq!(queue.next(), None);
        for id in [most, most + 1] {
            queue.0.leave(queue.1, "dead");
            assert_eq!((queue.next(), queue.next()), (Some(id), None));
            assert!(queue.0.enter(id, "dead"));
        }
        for _ in 0..most {
            queue.0.leave(queue.1, "dead");
        }
        assert!(queue.0.lock().services.is_empty());
    }
}
