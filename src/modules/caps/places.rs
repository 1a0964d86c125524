//! Who of another server's clients is asked now, and who waits: a server whose clients do not answer keeps no more
//! than a few tasks and questions of ours.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::api::Cx;
use super::said::Said;
use crate::jid::Jid;

/// By domain. Bounded for each, and by the clients that are known.
#[derive(Debug)]
pub(super) struct Places<J = Job>(Mutex<HashMap<String, Domain<J>>>);

impl<J> Default for Places<J> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A client to be asked.
pub(super) struct Job {
    pub(super) cx: Cx,
    pub(super) client: Jid,
    pub(super) said: Said,
    /// Called when it was asked.
    pub(super) then: Box<dyn FnOnce(Cx, Jid) + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("client", &self.client).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Domain<J> {
    /// Places that are taken.
    taken: usize,
    waiting: VecDeque<J>,
}

impl<J> Places<J> {
    /// Gives the job back if there is a place for it, which it takes until [`Self::next`] has no other. The error:
    /// too many wait.
    pub(super) fn enter(&self, domain: &str, job: J) -> Result<Option<J>, ()> {
        let mut domains = self.lock();
        let new = || Domain { taken: 0, waiting: VecDeque::new() };
        let domain = domains.entry(domain.to_owned()).or_insert_with(new);
        if domain.taken < PLACES {
            domain.taken += 1;
            return Ok(Some(job));
        }
        if domain.waiting.len() >= WAITING_MAX {
            return Err(());
        }
        domain.waiting.push_back(job);
        Ok(None)
    }

    /// The next job for a place; without one it is given up.
    pub(super) fn next(&self, domain: &str) -> Option<J> {
        let mut domains = self.lock();
        let of_domain = domains.get_mut(domain)?;
        if let Some(job) = of_domain.waiting.pop_front() {
            return Some(job);
        }
        of_domain.taken = of_domain.taken.saturating_sub(1);
        if of_domain.taken == 0 {
            domains.remove(domain);
        }
        None
    }

    /// Nobody is asked any more.
    pub(super) fn close(&self, domain: &str) {
        let closed = self.lock().remove(domain);
        // After the lock is free: a job holds much.
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Domain<J>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients of one domain that are asked at a time.
const PLACES: usize = 16;
/// And that wait: as many as are known of it.
const WAITING_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_domain_has_a_few_places_and_a_bounded_queue() {
        let places = Places::default();
        for n in 0..PLACES {
            assert_eq!(places.enter("a", n), Ok(Some(n)));
        }
        for n in 0..WAITING_MAX {
            assert_eq!(places.enter("a", n), Ok(None));
        }
        assert_eq!(places.enter("a", 0), Err(()));
        assert_eq!(places.enter("b", 7), Ok(Some(7)), "another domain's are its own");
        assert_eq!(places.next("b"), None);
        (0..WAITING_MAX).for_each(|n| assert_eq!(places.next("a"), Some(n)));
        (0..PLACES).for_each(|_| assert_eq!(places.next("a"), None));
        assert!(places.lock().is_empty());
    }
}
