//! Limits on the accounts that one address makes and on the passwords that are hashed at a time.

use std::net::IpAddr;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use crate::base::hourly::Hourly;
use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;

/// The limits on registration in the whole server.
#[derive(Debug)]
pub struct Gate {
    made: Hourly,
    pub(super) hashing: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self { made: Hourly::default(), hashing: Semaphore::new(HASHING_MAX) }
    }
}

impl Gate {
    /// Counts one account, unless the address has made `limit` accounts within the last hour.
    pub(super) fn take(
        &self,
        peer: IpAddr,
        limit: u32,
        now: SystemTime,
    ) -> Result<(), StanzaError> {
        if self.made.take(peer, limit, now) {
            return Ok(());
        }
        let error = StanzaError::resource_constraint().kind(ErrorType::Wait);
        Err(error.text("too many accounts were made from this address; try again in an hour"))
    }

    /// Takes the count back, because no account was made.
    pub(super) fn give_back(&self, peer: IpAddr) {
        self.made.give_back(peer);
    }
}

/// Maximum of passwords hashed at a time.
const HASHING_MAX: usize = 2;
