//! Every bound in the server, named, with its unit and the reason for its default.
//!
//! Values that an operator may change arrive through [`Limits`], filled from the config file;
//! the constants below are bounds that nobody has a reason to change.

use std::time::Duration;

/// Declares [`Limits`]: description, type and default of each bound. Its name is its key in `[limits]`.
macro_rules! limits {
    ($($(#[$about:meta])* $name:ident: $ty:ty = $default:expr;)*) => {
        /// The configurable bounds that all floors share: `[limits]` of the config file. Durations are wall
        /// time on the monotonic clock, and seconds in the file.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "server", serde(default, deny_unknown_fields))]
        pub struct Limits {
            $($(#[$about])* pub $name: $ty,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }
    };
}

limits! {
    /// Bytes of one stanza or other top-level element after authentication.
    /// RFC 6120 §13.12 forbids less than 10,000; 256 KiB carries an avatar.
    stanza_bytes_max: usize = 262_144;
    /// Like `stanza_bytes_max`, but before authentication, when the peer may be anybody.
    stanza_bytes_max_unauthenticated: usize = 10_000;
    /// Element nesting inside one top-level element, that element included.
    depth_max: usize = 100;
    /// Attributes of one element, namespace declarations included.
    attributes_max: usize = 64;
    /// Top-level payloads of one stanza.
    children_max: usize = 256;
    /// Time from accept to bound resource, whatever arrives in between.
    #[cfg_attr(feature = "server", serde(rename = "unauthenticated_secs", with = "seconds"))]
    unauthenticated_time: Duration = Duration::from_secs(60);
    /// Silence of a bound session after which the server pings it.
    #[cfg_attr(feature = "server", serde(rename = "ping_after_secs", with = "seconds"))]
    ping_after: Duration = Duration::from_secs(300);
    /// How long the answer to that ping may take before the stream is closed.
    #[cfg_attr(feature = "server", serde(rename = "ping_timeout_secs", with = "seconds"))]
    ping_timeout: Duration = Duration::from_secs(60);
    /// Bytes per second a bound session may send on average before reading pauses (0: no bound).
    bytes_per_second: u32 = 131_072;
    /// Burst in bytes above the average.
    bytes_burst: u32 = 1_048_576;
    /// Stanzas per second a bound session may send on average before reading pauses (0: no bound).
    stanzas_per_second: u32 = 100;
    /// Burst in stanzas above the average.
    stanzas_burst: u32 = 1_000;
    /// Concurrent client streams from one IP address (IPv6: one /64). 0: no bound.
    streams_per_ip: u32 = 200;
    /// Concurrent connections of trusted proxies that carry the requests of many; whoever is behind them is
    /// counted by `streams_per_ip`. 0: no bound.
    proxy_connections_max: u32 = 10_000;
    /// New connections per second from one IP address (IPv6: one /64) on average; further ones wait before
    /// they are served (0: no bound).
    connections_per_second: u32 = 10;
    /// Burst in connections above the average: a whole office that reconnects after an outage.
    connections_burst: u32 = 200;
    /// SASL attempts on one stream before it is closed (RFC 6120 §6.4.5 asks for two to five retries). One
    /// secret tried by several mechanisms counts once.
    auth_attempts_max: u32 = 5;
    /// Bound resources of one account.
    resources_per_account: usize = 20;
    /// Bytes that may wait in one session's outbox.
    outbox_bytes_max: usize = 2 * 1_048_576;
    /// Items that an account added to its roster; strangers' requests have a bound of their own.
    roster_items_max: usize = 2_000;
    /// Pending subscription requests of one account (RFC 6121 §3.1.3); more are dropped silently.
    subscription_requests_max: usize = 100;
    /// Of these, requests from one remote domain and those beside it (the same last two labels), so that a hostile
    /// server leaves room for others. All remote ones together have half.
    subscription_requests_per_domain_max: usize = 25;
    /// Messages that wait for one account.
    offline_messages_max: usize = 1_000;
    /// Bytes of the messages that wait for one account.
    offline_bytes_max: usize = 8 * 1_048_576;
    /// Stanzas that wait for one of the server's own services (rooms and the like) and that no session waits
    /// for: presence, mostly. More are dropped.
    service_queue_max: usize = 65_536;
    /// Their bytes. Beyond them presence loses its content, and other stanzas are dropped.
    service_queue_bytes_max: usize = 32 * 1_048_576;
    /// Entities to which one session may hold directed presence.
    directed_presence_max: usize = 500;
    /// Stanzas sent and not acknowledged (XEP-0198); above it, sending pauses.
    unacked_stanzas_max: usize = 1_000;
    /// The same in bytes.
    unacked_bytes_max: usize = 4 * 1_048_576;
    /// Messages of one stream that are not on disk yet; above it, reading pauses until half of them are.
    uncommitted_stanzas_max: usize = 256;
    /// The same in bytes.
    uncommitted_bytes_max: usize = 1_048_576;
    /// How long a session without a connection can be resumed (XEP-0198 §5). 0: never.
    #[cfg_attr(feature = "server", serde(rename = "resume_secs", with = "seconds"))]
    resume_time: Duration = Duration::from_secs(3_600);
    /// Hibernating sessions in the whole server.
    sleepers_max: usize = 10_000;
    /// Bytes held for them. Above it, sessions that hold more than an even share end.
    sleepers_bytes_max: usize = 256 * 1_048_576;
}

/// Durations as whole seconds.
#[cfg(feature = "server")]
mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

/// Bytes of an `xml:lang` value; a longer one is `bad-format`. BCP 47 §4.4.1 asks for 35.
pub const LANG_BYTES_MAX: usize = 35;
/// Bytes of one top-level element of a stream between servers before authentication: headers, features, TLS, SASL and
/// dialback, of which none is long. RFC 6120 §13.12 asks for 10,000 where there are stanzas.
pub const PEER_BYTES_MAX_UNAUTHENTICATED: usize = 4_096;
/// Bytes of one part of a JID (RFC 7622 §3.1).
pub const JID_PART_BYTES_MAX: usize = 1023;
/// Characters of the name and the device that a client gives for itself (XEP-0388 §2.3).
pub const DEVICE_TEXT_CHARS_MAX: usize = 64;
/// A device seen within this time, in microseconds, is not updated again: one write an hour.
pub const SEEN_AGAIN_MICROS: i64 = 3_600_000_000;
/// Bytes of one base64-decoded SASL message; legitimate ones have a few hundred.
pub const SASL_BYTES_MAX: usize = 4_096;
/// Bytes of a client's software and device names (XEP-0388 §2.3), which are shown in a list.
pub const USER_AGENT_BYTES_MAX: usize = 128;
/// Characters of a password, before and after preparation (no specification sets a bound; PBKDF2 needs one).
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Bytes of the open tag of broadcast presence, which is rewritten for each contact.
pub const PRESENCE_TAG_BYTES_MAX: usize = 4_096;
/// Bytes of a roster item's name and of each of its groups (RFC 6121 §2.3.3).
pub const ROSTER_TEXT_BYTES_MAX: usize = 1_023;
/// Groups of one roster item; clients show them as folders, so nobody needs more than a hundred.
pub const ROSTER_GROUPS_MAX: usize = 100;
/// Bytes of a roster item's name and groups together: a roster is held in memory and sent whole.
pub const ROSTER_ITEM_BYTES_MAX: usize = 4_096;
/// Messages stored for one account in addition to `offline_messages_max` while its sessions have not
/// confirmed them. A well-behaved client confirms after a hundred.
pub const UNCONFIRMED_MESSAGES_MAX: usize = 10_000;
/// The same in bytes.
pub const UNCONFIRMED_BYTES_MAX: usize = 64 * 1_048_576;
/// Bytes of one subscription request; it is stored whole, and this leaves ample room for a greeting.
pub const REQUEST_BYTES_MAX: usize = 8_192;
