//! Limits on the accounts that one address makes and on the passwords that are hashed at a time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;

/// The limits on registration in the whole server.
#[derive(Debug)]
pub struct Gate {
    made: Mutex<HashMap<IpAddr, Hour>>,
    pub(super) hashing: Semaphore,
}

/// Accounts made from one address within an hour.
#[derive(Debug, Clone, Copy)]
struct Hour {
    since: SystemTime,
    accounts: u32,
}

impl Default for Gate {
    fn default() -> Self {
        Self { made: Mutex::default(), hashing: Semaphore::new(HASHING_MAX) }
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
        if limit == 0 {
            return Ok(());
        }
        let mut made = self.lock();
        let over = |hour: &Hour| now.duration_since(hour.since).map_or(true, |age| age >= HOUR);
        if made.len() >= ADDRESSES_MAX {
            made.retain(|_, hour| !over(hour));
        }
        let peer = subscriber(peer);
        if made.len() >= ADDRESSES_MAX && !made.contains_key(&peer) {
            return Err(too_many());
        }
        let hour = made.entry(peer).or_insert(Hour { since: now, accounts: 0 });
        if over(hour) {
            *hour = Hour { since: now, accounts: 0 };
        }
        if hour.accounts >= limit {
            return Err(too_many());
        }
        hour.accounts += 1;
        Ok(())
    }

    /// Takes the count back, because no account was made.
    pub(super) fn give_back(&self, peer: IpAddr) {
        if let Some(hour) = self.lock().get_mut(&subscriber(peer)) {
            hour.accounts = hour.accounts.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Hour>> {
        // A panic under this lock cannot leave the map half-changed.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many() -> StanzaError {
    let error = StanzaError::resource_constraint().kind(ErrorType::Wait);
    error.text("too many accounts were made from this address; try again in an hour")
}

/// The subscriber an address stands for: an IPv6 subscriber has a /64.
fn subscriber(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
/// Maximum of addresses remembered; when all of them are busy, new ones are refused until their hour is
/// over.
const ADDRESSES_MAX: usize = 10_000;
/// Maximum of passwords hashed at a time.
const HASHING_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_makes_so_many_accounts_an_hour() {
        let gate = Gate::default();
        let now = SystemTime::UNIX_EPOCH + HOUR;
        let [a, b, c]: [IpAddr; 3] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|ip| ip.parse().unwrap());
        assert!(gate.take(a, 2, now).is_ok());
        assert!(gate.take(b, 2, now).is_ok());
        assert!(gate.take(a, 2, now).is_err());
        assert!(gate.take(c, 2, now).is_ok());
        assert!(gate.take(a, 0, now).is_ok());
        gate.give_back(b);
        assert!(gate.take(a, 2, now).is_ok());
        assert!(gate.take(a, 2, now + HOUR / 2).is_err());
        assert!(gate.take(a, 2, now + HOUR).is_ok());
        // The clock was set back.
        assert!(gate.take(c, 1, SystemTime::UNIX_EPOCH).is_ok());
    }
}
