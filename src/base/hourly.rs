//! How often something comes from one network address within an hour.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// A count for each address from which something came within the hour.
#[derive(Debug, Default)]
pub struct Hourly {
    counts: Mutex<HashMap<IpAddr, Hour>>,
    is_lenient: bool,
}

/// What came from one address within an hour.
#[derive(Debug, Clone, Copy)]
struct Hour {
    since: SystemTime,
    count: u32,
}

impl Hourly {
    /// One that counts nothing of new addresses while it knows of too many. For what is no harm by itself: else
    /// whoever has a large network shuts everybody out.
    pub fn lenient() -> Self {
        Self { is_lenient: true, ..Self::default() }
    }

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
            return self.is_lenient;
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
        let (mut counts, peer) = (self.lock(), subscriber(peer));
        let Some(hour) = counts.get_mut(&peer) else { return };
        hour.count = hour.count.saturating_sub(1);
        // Of whom nothing counts nothing is remembered: there is room for so many addresses only.
        if hour.count == 0 {
            counts.remove(&peer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Hour>> {
        // A panic under this lock cannot leave the map half-changed.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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
/// Maximum of addresses remembered; when all of them are busy, new ones are refused, or not counted, until their hour
/// is over.
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
        hourly.give_back(c);
        assert!(!hourly.lock().contains_key(&subscriber(c)), "nothing is left of it");
        // The clock was set back.
        assert!(hourly.take(c, 1, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_large_network_shuts_out_nobody_where_it_need_not() {
        let now = SystemTime::UNIX_EPOCH + HOUR;
        let address = |n: usize| IpAddr::V4(u32::try_from(n).unwrap().into());
        for (hourly, others_pass) in [(Hourly::default(), false), (Hourly::lenient(), true)] {
            for n in 0..ADDRESSES_MAX {
                assert!(hourly.take(address(n), 1, now));
            }
            assert!(!hourly.take(address(0), 1, now), "it is counted");
            assert_eq!(hourly.take(address(ADDRESSES_MAX), 1, now), others_pass);
            assert_eq!(hourly.lock().len(), ADDRESSES_MAX);
        }
    }
}
