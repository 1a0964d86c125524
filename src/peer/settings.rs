//! What an operator may set for streams with other servers: `[s2s]` of the config file, without what finds and
//! connects them.

use std::time::Duration;

/// The settings of federation. Domains are in normal form, sizes in bytes, times on the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether there is federation at all.
    pub enabled: bool,
    /// How servers prove who they are.
    pub certificates: Certificates,
    /// Domains that may use dialback without a valid certificate.
    pub dialback_domains: Vec<String>,
    /// If not empty, nobody but these domains.
    pub allow: Vec<String>,
    /// Not these domains.
    pub deny: Vec<String>,
    /// How long an outgoing stream may be idle before it is closed.
    pub idle: Duration,
    /// Domains that one stream may speak for.
    pub domains_per_stream_max: usize,
    /// Domains that wait for a connection at a time.
    pub outgoing_max: usize,
    /// Connections per second that are opened for presence alone, or once more; 0: no bound.
    pub connects_per_second: u32,
    /// How long a message waits for its server.
    pub message_time: Duration,
    /// How long a request waits for its server.
    pub iq_time: Duration,
    /// Stanzas that wait for one domain.
    pub queue_stanzas_max: usize,
    /// Their bytes, on disk.
    pub queue_bytes_max: u64,
    /// Bytes of them that are in memory.
    pub memory_bytes_max: usize,
    /// Bytes of presence and probes that wait for one domain beside that.
    pub presence_bytes_max: usize,
    /// Bytes per second that one peer may send on average, by all its streams, before reading pauses; 0: no bound.
    pub bytes_per_second: u32,
    /// Stanzas per second that one peer may send on average, by all its streams, before reading pauses; 0: no bound.
    pub stanzas_per_second: u32,
}

/// How servers prove who they are. Without TLS none does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certificates {
    /// By a valid certificate.
    #[default]
    Require,
    /// By dialback (XEP-0220), if their certificate is not valid.
    Dialback,
}

impl Settings {
    /// Whether `s2s.allow` and `s2s.deny` let a domain (in normal form) in.
    pub fn admits(&self, domain: &str) -> bool {
        let allowed = || self.allow.iter().any(|one| one == domain);
        !self.denies(domain) && (self.allow.is_empty() || allowed())
    }

    /// Whether `s2s.deny` names a domain (in normal form) or one that it is below: whoever has a domain has as many
    /// below it as they like.
    pub fn denies(&self, domain: &str) -> bool {
        self.deny.iter().any(|denied| is_within(domain, denied))
    }

    /// Whether a domain (in normal form) may use dialback without a valid certificate.
    pub fn may_dial_back(&self, domain: &str) -> bool {
        self.certificates == Certificates::Dialback
            || self.dialback_domains.iter().any(|one| one == domain)
    }
}

/// Whether a domain is this one or below it.
pub(super) fn is_within(domain: &str, other: &str) -> bool {
    let above = domain.strip_suffix(other);
    above.is_some_and(|below| below.is_empty() || (!other.is_empty() && below.ends_with('.')))
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            certificates: Certificates::Require,
            dialback_domains: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            idle: Duration::from_secs(900),
            domains_per_stream_max: 50,
            outgoing_max: 200,
            connects_per_second: 100,
            message_time: Duration::from_secs(24 * 3_600),
            iq_time: Duration::from_secs(30),
            queue_stanzas_max: 10_000,
            queue_bytes_max: 64 * 1_048_576,
            memory_bytes_max: 256 * 1_024,
            presence_bytes_max: 2 * 1_048_576,
            bytes_per_second: 1_048_576,
            stanzas_per_second: 1_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_let_in_and_keep_out() {
        let of = |allow: &[&str], deny: &[&str]| Settings {
            allow: allow.iter().map(|one| (*one).to_owned()).collect(),
            deny: deny.iter().map(|one| (*one).to_owned()).collect(),
            ..Settings::default()
        };
        let cases = [
            (of(&[], &[]), true),
            (of(&["a.example"], &[]), true),
            (of(&["b.example"], &[]), false),
            (of(&[], &["a.example"]), false),
            (of(&["a.example"], &["a.example"]), false),
            (of(&[], &["b.a.example", "le", "xa.example"]), true),
            (of(&[], &["example"]), false),
            (of(&["example"], &[]), false),
        ];
        for (settings, admitted) in cases {
            assert_eq!(settings.admits("a.example"), admitted, "{settings:?}");
        }
    }
}
