//! How often something comes from one network address within an hour.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// A count for each address from which something came within the hour.
#[derive(Debug, Default)]
pub struct Hourly(Mutex<HashMap<IpAddr, Hour>>);

/// What came from one address within an hour.
#[derive(Debug, Clone, Copy)]
struct Hour {
    since: SystemTime,
    count: u32,
}

impl Hourly {
    /// Counts one, unless `limit` were counted for the address within the last hour; false then. 0: no bound.
    pub fn take(&self, peer: IpAddr, limit: u32, now: SystemTime) -> bool {
        if limit == 0 {
            return true;
        }
        let mut counts = self.lock();
        let over = |hour: &Hour| now.duration_since(hour.since).map_or(true, |age| age >= HOUR);
        if counts.len() >= ADDRESSES_MAX {
            counts.retain(|_, hour| !over(hour));
        }
        let peer = subscriber(peer);
        if counts.len() >= ADDRESSES_MAX && !counts.contains_key(&peer) {
            return false;
        }
        let hour = counts.entry(peer).or_insert(Hour { since: now, count: 0 });
        if over(hour) {
            *hour = Hour { since: now, count: 0 };
        }
        if hour.count >= limit {
            return false;
        }
        hour.count += 1;
        true
    }

    /// Takes one back that need not count.
    pub fn give_back(&self, peer: IpAddr) {
        if let Some(hour) = self.lock().get_mut(&subscriber(peer)) {
            hour.count = hour.count.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Hour>> {
        // A panic under this lock cannot leave the map half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_an_hour() {
        let hourly = Hourly::default();
        let now = SystemTime::UNIX_EPOCH + HOUR;
        let [a, b, c]: [IpAddr; 3] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|ip| ip.parse().unwrap());
        assert!(hourly.take(a, 2, now));
        assert!(hourly.take(b, 2, now));
        assert!(!hourly.take(a, 2, now));
        assert!(hourly.take(c, 2, now));
        assert!(hourly.take(a, 0, now));
        hourly.give_back(b);
        assert!(hourly.take(a, 2, now));
        assert!(!hourly.take(a, 2, now + HOUR / 2));
        assert!(hourly.take(a, 2, now + HOUR));
        // The clock was set back.
        assert!(hourly.take(c, 1, SystemTime::UNIX_EPOCH));
    }
}
