//! Limits on the accounts that one address makes, on the names that it tries, and on the passwords that are hashed
//! at a time.

use std::net::IpAddr;
use std::time::SystemTime;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::refused::Refused;
use crate::base::hourly::Hourly;
use crate::stanza::StanzaError;

/// The limits on registration in the whole server.
#[derive(Debug)]
pub struct Gate {
    made: Hourly,
    tried: Hourly,
    hashing: Semaphore,
    places: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        let (hashing, places) = (Semaphore::new(HASHING_MAX), Semaphore::new(HASHING_QUEUE_MAX));
        Self { made: Hourly::default(), tried: Hourly::lenient(), hashing, places }
    }
}

impl Gate {
    /// Counts one account, unless the address has made `limit` accounts within the last hour.
    pub(super) fn take(
        &self,
        peer: IpAddr,
        limit: u32,
        now: SystemTime,
    ) -> Result<(), Refused> {
        if self.made.take(peer, limit, now) {
            return Ok(());
        }
        Err(Refused::TooManyAccounts)
    }

    /// Takes the count back, because no account was made.
    pub(super) fn give_back(&self, peer: IpAddr) {
        self.made.give_back(peer);
    }

    /// Counts a name before it is said whether it is taken: so nobody learns all accounts of the server.
    /// Where addresses make as many accounts as they like (`limit` is 0), they try as many names.
    pub(super) fn try_name(
        &self,
        peer: IpAddr,
        limit: u32,
        now: SystemTime,
    ) -> Result<(), Refused> {
        if limit == 0 || self.tried.take(peer, TAKEN_NAMES_MAX, now) {
            return Ok(());
        }
        Err(Refused::TooManyNames)
    }

    /// It was not taken.
    pub(super) fn was_free(&self, peer: IpAddr) {
        self.tried.give_back(peer);
    }

    /// A turn to hash a password: at most two at a time, so that a hundred strangers do not occupy all
    /// processors, and no more wait than are served in a few seconds. Work goes on when its stream is gone, so
    /// streams are no bound.
    pub(super) async fn turn(
        &self,
    ) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), Refused> {
        let place = self.places.try_acquire().map_err(|_| Refused::Busy)?;
        // The semaphores are never closed.
        let turn =
            self.hashing.acquire().await.map_err(|_| StanzaError::internal_server_error())?;
        Ok((place, turn))
    }
}

/// Maximum of passwords hashed at a time.
const HASHING_MAX: usize = 2;
/// Of those that are hashed or wait.
const HASHING_QUEUE_MAX: usize = 64;
/// Names that one address finds taken in an hour: a class of children at one address finds its names.
pub(super) const TAKEN_NAMES_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Work goes on when its stream is gone: without a bound whoever comes again and again piles it up.
    #[tokio::test]
    async fn so_many_wait_and_no_more() {
        let gate = Arc::new(Gate::default());
        let running = [gate.turn().await.unwrap(), gate.turn().await.unwrap()];
        #[allow(clippy::disallowed_methods)] // there is no server here whose tasks they were
        let waiting = (2..HASHING_QUEUE_MAX).map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move { gate.turn().await.map(drop) })
        });
        let waiting: Vec<_> = waiting.collect();
        while gate.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(gate.turn().await.is_err());
        drop(running);
        for one in waiting {
            assert!(one.await.unwrap().is_ok());
        }
        assert!(gate.turn().await.is_ok());
    }
}
