//! What the resolver's answers say: the records that were asked for and nothing else, with a bound.

use std::net::IpAddr;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError as Refused, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record};

use super::found::{ADDRESSES_MAX, Addresses, DnsError, Tlsa};
use super::select::{Srv, SrvSet};

/// The records of an answer that belong to the name that was asked for, or to one that it is an alias of; with the
/// aliases. The resolver itself gives others, too.
#[derive(Default)]
pub(super) struct Answer(Vec<Record>);

impl Answer {
    /// Of the resolver's answer to a question for this name.
    pub(super) fn to(name: &Name, found: &Lookup) -> Self {
        let mut names = vec![name.clone()];
        let mut at = 0;
        while let Some(name) = names.get(at).cloned() {
            for record in found.answers().iter().filter(|record| record.name == name) {
                if let RData::CNAME(alias) = &record.data
                    && names.len() < ALIASES_MAX
                    && !names.contains(&alias.0)
                {
                    names.push(alias.0.clone());
                }
            }
            at += 1;
        }
        let own = found.answers().iter().filter(|record| names.contains(&record.name));
        Self(own.cloned().collect())
    }

    /// These records and those.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What the name is an alias of.
    pub(super) fn alias_of(&self, name: &Name) -> Option<Name> {
        self.0.iter().filter(|record| record.name == *name).find_map(|record| match &record.data {
            RData::CNAME(alias) => Some(alias.0.clone()),
            _ => None,
        })
    }

    /// Whether it says something of the name.
    pub(super) fn is_about(&self, name: &Name) -> bool {
        self.0.iter().any(|record| record.name == *name)
    }

    fn read<T>(&self, max: usize, of: impl Fn(&RData) -> Option<T>) -> Vec<T> {
        self.0.iter().filter_map(|record| of(&record.data)).take(max).collect()
    }

    /// Whether DNSSEC vouches for all of it, aliases included.
    fn is_secure(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|record| record.proof == Proof::Secure)
    }
}

/// The SRV records of an answer.
pub(super) fn srv_set(found: &Answer) -> Result<SrvSet, DnsError> {
    let records: Vec<Srv> = found.read(SRV_MAX, |data| match data {
        RData::SRV(srv) => Some(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: host(&srv.target),
        }),
        _ => None,
    });
    match records.is_empty() {
        true => Err(DnsError::Absent { secure: false }),
        false => Ok(SrvSet { records, secure: found.is_secure() }),
    }
}

/// The TLSA records of an answer that DNSSEC vouches for.
pub(super) fn tlsa_set(found: &Answer) -> Vec<Tlsa> {
    if !found.is_secure() {
        return Vec::new();
    }
    found.read(TLSA_MAX, |data| match data {
        RData::TLSA(tlsa) => Some(Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        }),
        _ => None,
    })
}

/// Both families in turns, IPv6 first (RFC 8305 §4). An error of one does not hide the other.
pub(super) fn addresses(
    four: Result<Answer, DnsError>,
    six: Result<Answer, DnsError>,
) -> Result<Addresses, DnsError> {
    let of = |found: &Result<Answer, DnsError>| -> Vec<IpAddr> {
        let Ok(found) = found else { return Vec::new() };
        found.read(ADDRESSES_MAX, |data| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        })
    };
    let mut all = Vec::new();
    let (mut fours, mut sixes) = (of(&four).into_iter(), of(&six).into_iter());
    while all.len() < ADDRESSES_MAX {
        let before = all.len();
        for next in [sixes.next(), fours.next()].into_iter().flatten() {
            if !all.contains(&next) && is_reachable(next) {
                all.push(next);
            }
        }
        if all.len() == before && fours.len() == 0 && sixes.len() == 0 {
            break;
        }
    }
    all.truncate(ADDRESSES_MAX);
    if all.is_empty() {
        return Err(match (four, six) {
            (Err(DnsError::Absent { .. }), Err(error)) | (Err(error), _) => error,
            (_, Err(error)) if !matches!(error, DnsError::Absent { .. }) => error,
            _ => DnsError::Useless,
        });
    }
    let secure = [&four, &six].into_iter().flatten().all(Answer::is_secure);
    Ok(Addresses { all, secure })
}

/// Whether a connection can lead there; the unspecified address would be this machine.
fn is_reachable(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}

/// A host in lower case, without the final dot; empty for the root. What is not a host name stays as it is, escaped,
/// and is not found.
fn host(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').map_or(text.as_str(), |text| text).to_owned()
}

/// Whether it is another name than this one that has no records: one that the resolver was led to.
pub(super) fn is_of_another(error: &NetError, name: &Name) -> bool {
    match error {
        NetError::Dns(Refused::NoRecordsFound(none)) => none.query.name() != name,
        NetError::Dns(Refused::Nsec { query, .. }) => query.name() != name,
        _ => false,
    }
}

/// What became of a question that has no answer.
pub(super) fn error_of(error: &NetError) -> DnsError {
    match error {
        NetError::Timeout => DnsError::Timeout,
        NetError::Dns(Refused::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => DnsError::NoDomain,
            ResponseCode::NoError => DnsError::Absent { secure: false },
            code => DnsError::Failed(code.to_string()),
        },
        NetError::Dns(Refused::Nsec { response, proof, .. }) => {
            match (proof, response.response_code) {
                (Proof::Bogus, _) => DnsError::Bogus,
                (_, ResponseCode::NXDomain) => DnsError::NoDomain,
                (proof, _) => DnsError::Absent { secure: *proof == Proof::Secure },
            }
        }
        NetError::Dns(Refused::DnssecBogus) => DnsError::Bogus,
        NetError::Dns(Refused::ResponseCode(ResponseCode::NXDomain)) => DnsError::NoDomain,
        NetError::Dns(Refused::ResponseCode(code)) => DnsError::Failed(code.to_string()),
        other => DnsError::Failed(other.to_string()),
    }
}

/// Records of one answer that are looked at: more than are tried, so that useless ones hide no others.
const SRV_MAX: usize = 64;
const TLSA_MAX: usize = 16;
/// As many as the resolver follows.
pub(super) const ALIASES_MAX: usize = 8;
