//! Every bound in the server, named, with its unit and the reason for its default.
//!
//! Values that an operator may change arrive through [`Limits`], filled from the config file;
//! the constants below are bounds that nobody has a reason to change.

use std::time::Duration;

/// The configurable bounds that all floors share. Durations are wall time on the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one stanza or other top-level element after authentication.
    /// RFC 6120 §13.12 forbids less than 10,000; 256 KiB carries an avatar.
    pub stanza_bytes_max: usize,
    /// The same before authentication, when the peer is still anybody.
    pub stanza_bytes_max_unauthenticated: usize,
    /// Element nesting inside one top-level element, that element included.
    pub depth_max: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes_max: usize,
    /// Top-level payloads of one stanza.
    pub children_max: usize,
    /// From accept to bound resource, whatever arrives in between.
    pub unauthenticated_time: Duration,
    /// Silence of a bound session after which the server pings it.
    pub ping_after: Duration,
    /// How long the answer to that ping may take before the stream is closed.
    pub ping_timeout: Duration,
    /// Bytes per second a bound session may send on average before reading pauses (0: no bound).
    pub bytes_per_second: u32,
    /// Burst in bytes above the average.
    pub bytes_burst: u32,
    /// Stanzas per second a bound session may send on average before reading pauses (0: no bound).
    pub stanzas_per_second: u32,
    /// Burst in stanzas above the average.
    pub stanzas_burst: u32,
    /// Concurrent client streams from one IP address (IPv6: one /64). 0: no bound.
    pub streams_per_ip: u32,
    /// New connections a second from one IP address (IPv6: one /64) on average; more of them wait
    /// before they are served (0: no bound).
    pub connections_per_second: u32,
    /// Burst in connections above the average: a whole office that comes back after a cut.
    pub connections_burst: u32,
    /// SASL attempts on one stream before it is closed (RFC 6120 §6.4.5 asks for two to five retries). One
    /// secret by several mechanisms is one.
    pub auth_attempts_max: u32,
    /// Bound resources of one account.
    pub resources_per_account: usize,
    /// Bytes that may wait in one session's outbox.
    pub outbox_bytes_max: usize,
    /// Roster items of one account, those that it listed: requests of strangers have a bound of their own.
    pub roster_items_max: usize,
    /// Subscription requests that wait for one account (RFC 6121 §3.1.3); more are dropped in silence.
    pub subscription_requests_max: usize,
    /// Of these, requests from one domain that is not ours: a hostile server leaves room for others.
    pub subscription_requests_per_domain_max: usize,
    /// Messages that wait for one account.
    pub offline_messages_max: usize,
    /// Bytes of the messages that wait for one account.
    pub offline_bytes_max: usize,
    /// Entities to which one session may hold directed presence.
    pub directed_presence_max: usize,
    /// Stanzas sent and not acknowledged (XEP-0198); no more are sent until some are.
    pub unacked_stanzas_max: usize,
    /// Their bytes.
    pub unacked_bytes_max: usize,
    /// Messages of one stream on their way to the disk; no more are read until half of them are there.
    pub uncommitted_stanzas_max: usize,
    /// Their bytes.
    pub uncommitted_bytes_max: usize,
    /// How long a session without a connection waits to be resumed (XEP-0198 §5). 0: none does.
    pub resume_time: Duration,
    /// Sessions that wait to be resumed at one time.
    pub sleepers_max: usize,
    /// Bytes of all that waits for them. Above it, whoever has more than an even share ends.
    pub sleepers_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stanza_bytes_max: 262_144,
            stanza_bytes_max_unauthenticated: 10_000,
            depth_max: 100,
            attributes_max: 64,
            children_max: 256,
            unauthenticated_time: Duration::from_secs(60),
            ping_after: Duration::from_secs(300),
            ping_timeout: Duration::from_secs(60),
            bytes_per_second: 131_072,
            bytes_burst: 1_048_576,
            stanzas_per_second: 100,
            stanzas_burst: 1_000,
            streams_per_ip: 200,
            connections_per_second: 10,
            connections_burst: 200,
            auth_attempts_max: 5,
            resources_per_account: 20,
            outbox_bytes_max: 2 * 1_048_576,
            roster_items_max: 2_000,
            subscription_requests_max: 100,
            subscription_requests_per_domain_max: 25,
            offline_messages_max: 1_000,
            offline_bytes_max: 8 * 1_048_576,
            directed_presence_max: 500,
            unacked_stanzas_max: 1_000,
            unacked_bytes_max: 4 * 1_048_576,
            uncommitted_stanzas_max: 256,
            uncommitted_bytes_max: 1_048_576,
            resume_time: Duration::from_secs(3_600),
            sleepers_max: 10_000,
            sleepers_bytes_max: 256 * 1_048_576,
        }
    }
}

/// Bytes of an `xml:lang` value; a longer one is `bad-format`. BCP 47 §4.4.1 asks for 35.
pub const LANG_BYTES_MAX: usize = 35;
/// Bytes of one part of a JID (RFC 7622 §3.1).
pub const JID_PART_BYTES_MAX: usize = 1023;
/// Characters of what a client says of itself and its device (XEP-0388 §2.3).
pub const DEVICE_TEXT_CHARS_MAX: usize = 64;
/// A device that was seen within this time, in microseconds, is not noted again: one write an hour.
pub const SEEN_AGAIN_MICROS: i64 = 3_600_000_000;
/// Bytes of one base64-decoded SASL message; the longest honest one is a few hundred.
pub const SASL_BYTES_MAX: usize = 4_096;
/// Bytes of what a client calls its program and its device (XEP-0388 §2.3): shown in a list.
pub const USER_AGENT_BYTES_MAX: usize = 128;
/// Characters of a password, before and after preparation (XEP-0077 sets no bound; PBKDF2 needs one).
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Bytes of the open tag of broadcast presence: it is written anew for each contact.
pub const PRESENCE_TAG_BYTES_MAX: usize = 4_096;
/// Bytes of a roster item's name and of each of its groups (RFC 6121 §2.3.3).
pub const ROSTER_TEXT_BYTES_MAX: usize = 1_023;
/// Groups of one roster item; clients show them as folders, so a hundred is more than anybody has.
pub const ROSTER_GROUPS_MAX: usize = 100;
/// Bytes of a roster item's name and groups together: a roster is kept in memory and sent whole.
pub const ROSTER_ITEM_BYTES_MAX: usize = 4_096;
/// Messages stored for one account, beyond those that may wait, while its sessions have not
/// confirmed them. An honest client confirms after a hundred.
pub const UNCONFIRMED_MESSAGES_MAX: usize = 10_000;
/// Their bytes.
pub const UNCONFIRMED_BYTES_MAX: usize = 64 * 1_048_576;
/// Bytes of one subscription request; it is kept whole, and a greeting fits many times.
pub const REQUEST_BYTES_MAX: usize = 8_192;
