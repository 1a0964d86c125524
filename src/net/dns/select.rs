//! In which order the servers of a domain are tried (RFC 2782, RFC 6120 §3.2.1, XEP-0368 §3), without I/O.

use std::net::IpAddr;

use super::found::DnsError;
use crate::base::id::Rng;

/// How TLS begins at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// After `<proceed/>` (RFC 6120 §5).
    StartTls,
    /// With the first byte (XEP-0368).
    Direct,
}

impl Begin {
    /// The labels of its SRV records before the domain.
    pub const fn service(self) -> &'static str {
        match self {
            Self::StartTls => "_xmpp-server._tcp",
            Self::Direct => "_xmpps-server._tcp",
        }
    }
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Those with the least are tried first.
    pub priority: u16,
    /// How often it comes first among those of its priority.
    pub weight: u16,
    /// Its port; 0 is none.
    pub port: u16,
    /// The host, lower case, without a final dot; empty: "decidedly not available" (RFC 2782).
    pub target: String,
}

/// A host to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// An A-label domain, or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// How TLS begins there.
    pub begin: Begin,
    /// Whether DNSSEC vouches for all that led here (RFC 7673 §3.1).
    pub secure: bool,
}

/// The records of one service that were found, and whether DNSSEC vouches for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvSet {
    /// Never empty: where there are none, the answer is [`DnsError::Absent`].
    pub records: Vec<Srv>,
    /// Whether they were validated.
    pub secure: bool,
}

/// The servers of `domain` (A-labels) in the order in which they are tried, at most [`TARGETS_MAX`].
///
/// - Both sets are one list (XEP-0368 §3 rule 1).
/// - Where there is no `_xmpp-server` record, and nothing of the other set, it is the domain itself, port 5269
///   (RFC 6120 §3.2.2). Records that lead nowhere are no reason for that.
/// - A target of `.` says that this service is not offered; the other one may be.
pub fn targets(
    domain: &str,
    starttls: Result<SrvSet, DnsError>,
    direct: Result<SrvSet, DnsError>,
    rng: &mut dyn Rng,
) -> Result<Vec<Target>, DnsError> {
    let mut all = Vec::new();
    for (found, begin) in [(&starttls, Begin::StartTls), (&direct, Begin::Direct)] {
        let Ok(set) = found else { continue };
        all.extend(set.records.iter().filter(|one| leads(one)).map(|srv| (srv, begin, set.secure)));
    }
    if !all.is_empty() {
        return Ok(in_order(all, rng));
    }
    match (starttls, direct) {
        (Err(DnsError::Absent { secure }), _) => {
            Ok(vec![Target { host: domain.to_owned(), port: PORT, begin: Begin::StartTls, secure }])
        }
        (Err(error), _) => Err(error),
        (Ok(set), _) if set.records.iter().any(|one| one.target.is_empty()) => {
            Err(DnsError::NotOffered)
        }
        (Ok(_), _) => Err(DnsError::Useless),
    }
}

/// Whether a record names a host and a port. RFC 2782 wants a name: an address in its place, or no port, are lies.
fn leads(srv: &Srv) -> bool {
    let is_address = srv.target.parse::<IpAddr>().is_ok();
    srv.port != 0 && !srv.target.is_empty() && !is_address
}

/// RFC 2782 "Usage rules".
fn in_order(mut all: Vec<(&Srv, Begin, bool)>, rng: &mut dyn Rng) -> Vec<Target> {
    // Those without a weight stand first among those of their priority.
    all.sort_by_key(|(srv, ..)| (srv.priority, srv.weight != 0));
    let mut ordered: Vec<Target> = Vec::new();
    while let Some((first, ..)) = all.first() {
        let priority = first.priority;
        let same = all.iter().take_while(|(srv, ..)| srv.priority == priority);
        let weights: Vec<u64> = same.map(|(srv, ..)| u64::from(srv.weight)).collect();
        let (srv, begin, secure) = all.remove(chosen(&weights, rng));
        let target = Target { host: srv.target.clone(), port: srv.port, begin, secure };
        if ordered.len() < TARGETS_MAX && !ordered.contains(&target) {
            ordered.push(target);
        }
    }
    ordered
}

/// The first whose running sum is not less than a random number between 0 and the whole sum.
fn chosen(weights: &[u64], rng: &mut dyn Rng) -> usize {
    let sum: u64 = weights.iter().sum();
    let mut bits = [0; 8];
    rng.fill(&mut bits);
    let number = u64::from_le_bytes(bits) % (sum + 1);
    let mut running = 0;
    let reached = weights.iter().position(|weight| {
        running += weight;
        running >= number
    });
    reached.unwrap_or(0)
}

/// Where servers listen that have no SRV records (RFC 6120 §3.2.2).
pub const PORT: u16 = 5269;

/// Targets of one domain that are tried.
pub const TARGETS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Always the same number.
    struct Fixed(u64);

    impl Rng for Fixed {
        fn fill(&mut self, buf: &mut [u8]) {
            let bytes = self.0.to_le_bytes();
            buf.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
    }

    /// `priority weight port target`, a line each.
    fn set(text: &str) -> Result<SrvSet, DnsError> {
        if text.is_empty() {
            return Err(DnsError::Absent { secure: false });
        }
        let srv = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| words[at].parse().unwrap();
            let target = words[3].trim_end_matches('.').to_owned();
            Srv { priority: number(0), weight: number(1), port: number(2), target }
        };
        Ok(SrvSet { records: text.split(';').map(srv).collect(), secure: false })
    }

    fn told(found: Result<Vec<Target>, DnsError>) -> String {
        match found {
            Err(error) => format!("{error:?}"),
            Ok(targets) => {
                let tls = |begin| if begin == Begin::Direct { "+tls" } else { "" };
                let one = |t: &Target| format!("{}:{}{}", t.host, t.port, tls(t.begin));
                targets.iter().map(one).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn both_services_are_one_list() {
        let cases = [
            // Neither: the domain itself (RFC 6120 §3.2.2).
            ("", "", "d:5269"),
            ("0 0 5269 a", "", "a:5269"),
            ("", "0 0 443 a", "a:443+tls"),
            // XEP-0368 §3 rule 1.
            ("10 0 5269 a", "5 0 443 b", "b:443+tls a:5269"),
            ("5 0 5269 a;20 0 5269 c", "10 0 443 b", "a:5269 b:443+tls c:5269"),
            // A host with both is there twice.
            ("5 0 5269 a", "6 0 5270 a", "a:5269 a:5270+tls"),
            ("5 0 5269 a;5 0 5269 a", "", "a:5269"),
            // RFC 2782: not available; of one service only.
            ("0 0 0 .", "", "NotOffered"),
            ("0 0 5269 .", "", "NotOffered"),
            ("0 0 0 .", "0 0 0 .", "NotOffered"),
            ("0 0 0 .", "0 0 443 b", "b:443+tls"),
            ("0 0 5269 a", "0 0 0 .", "a:5269"),
            ("", "0 0 0 .", "d:5269"),
            // Lies.
            ("0 0 0 a", "", "Useless"),
            ("0 0 5269 192.0.2.1", "", "Useless"),
            ("0 0 5269 2001:db8::1", "", "Useless"),
            ("0 0 5269 192.0.2.1;9 0 5269 a", "", "a:5269"),
        ];
        for (starttls, direct, expected) in cases {
            let found = targets("d", set(starttls), set(direct), &mut Fixed(0));
            assert_eq!(told(found), expected, "{starttls} + {direct}");
        }
    }

    #[test]
    fn a_service_that_cannot_be_asked_for_does_not_hide_the_other() {
        let slow = || Err(DnsError::Timeout);
        let cases = [
            (slow(), set("0 0 443 b"), "b:443+tls"),
            (set("0 0 5269 a"), slow(), "a:5269"),
            (set(""), slow(), "d:5269"),
            (slow(), set(""), "Timeout"),
            (slow(), slow(), "Timeout"),
            (Err(DnsError::NoDomain), Err(DnsError::NoDomain), "NoDomain"),
        ];
        for (starttls, direct, expected) in cases {
            assert_eq!(told(targets("d", starttls, direct, &mut Fixed(0))), expected);
        }
    }

    /// RFC 2782: the running sums, with those of weight 0 in front.
    #[test]
    fn weights_decide_among_equals() {
        let records = "1 30 1 a;1 0 1 z;1 60 1 b;2 9 1 last";
        for (number, expected) in [
            // Sums: z 0, a 30, b 90; of the next draws the number is taken modulo their sum and 1.
            (0, "z:1 a:1 b:1 last:1"),
            (1, "a:1 b:1 z:1 last:1"),
            (30, "a:1 b:1 z:1 last:1"),
            (31, "b:1 z:1 a:1 last:1"),
            (90, "b:1 a:1 z:1 last:1"),
        ] {
            let found = targets("d", set(records), set(""), &mut Fixed(number));
            let found = told(found);
            assert_eq!(found.split(' ').next(), expected.split(' ').next(), "{number}: {found}");
            assert!(found.ends_with("last:1"), "{found}");
            assert_eq!(found.split(' ').count(), 4);
        }
    }

    #[test]
    fn weights_are_kept_over_many_draws() {
        let mut first = 0;
        for _ in 0..2_000 {
            let found = targets("d", set("1 3 1 a;1 1 1 b"), set(""), &mut crate::base::id::OsRng);
            first += usize::from(found.unwrap()[0].host == "a");
        }
        // RFC 2782's draw has sum + 1 numbers, of which 4 of 5 are a's.
        assert!((1_450..1_750).contains(&first), "{first} of 2000");
    }

    #[test]
    fn there_is_a_bound() {
        let many: Vec<String> = (0..100).map(|n| format!("{n} 0 5269 h{n}")).collect();
        let found = targets("d", set(&many.join(";")), set(""), &mut Fixed(0)).unwrap();
        assert_eq!(found.len(), TARGETS_MAX);
        assert_eq!(found[15].host, "h15");
    }
}
