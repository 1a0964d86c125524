//! Namespace names that more than one file uses.

/// Content namespace of client streams (RFC 6120 §4.8.3).
pub const CLIENT: &str = "jabber:client";
/// Content namespace of federated streams (RFC 6120 §4.8.3).
pub const SERVER: &str = "jabber:server";
/// XEP-0114
pub const COMPONENT: &str = "jabber:component:accept";
/// Server dialback (XEP-0220).
pub const DIALBACK: &str = "jabber:server:dialback";
/// The stream feature of server dialback (XEP-0220 §2.4.2).
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// Streams between servers that carry stanzas both ways (XEP-0288 §2.2).
pub const BIDI: &str = "urn:xmpp:bidi";
/// The stream feature of such streams (XEP-0288 §2.1).
pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// The stream namespace (RFC 6120 §4.8.1).
pub const STREAM: &str = "http://etherx.jabber.org/streams";
/// Stanza error conditions (RFC 6120 §8.3.2).
pub const STANZAS_ERR: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// Stream error conditions (RFC 6120 §4.9.2).
pub const STREAMS_ERR: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// STARTTLS (RFC 6120 §5).
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL (RFC 6120 §6).
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Resource binding (RFC 6120 §7).
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// Rosters (RFC 6121 §2).
pub const ROSTER: &str = "jabber:iq:roster";
/// Channel binding types (XEP-0440).
pub const SASL_CB: &str = "urn:xmpp:sasl-cb:0";
/// Stream limits (XEP-0478).
pub const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";
/// Extensible SASL (XEP-0388).
pub const SASL2: &str = "urn:xmpp:sasl:2";
/// Bind 2 (XEP-0386).
pub const BIND2: &str = "urn:xmpp:bind:0";
/// Tokens for fast logins (XEP-0484).
pub const FAST: &str = "urn:xmpp:fast:0";
/// Authentication ahead of the features (XEP-0509).
pub const IAP: &str = "urn:xmpp:iap:0";
/// Tasks that give an account what it lacks for better mechanisms (XEP-0480).
pub const SASL_UPGRADE: &str = "urn:xmpp:sasl:upgrade:0";
/// The tasks for SCRAM (XEP-0480 §3).
pub const SCRAM_UPGRADE: &str = "urn:xmpp:scram-upgrade:0";
/// Stream management (XEP-0198).
pub const SM: &str = "urn:xmpp:sm:3";
/// Delayed delivery (XEP-0203).
pub const DELAY: &str = "urn:xmpp:delay";
/// Delayed delivery in its old form (XEP-0091).
pub const OLD_DELAY: &str = "jabber:x:delay";
/// Data forms (XEP-0004).
pub const DATA_FORM: &str = "jabber:x:data";
/// Result sets (XEP-0059).
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// Forwarded stanzas (XEP-0297).
pub const FORWARD: &str = "urn:xmpp:forward:0";
/// Ad-hoc commands (XEP-0050).
pub const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// Message carbons (XEP-0280).
pub const CARBONS: &str = "urn:xmpp:carbons:2";
/// Message processing hints (XEP-0334).
pub const HINTS: &str = "urn:xmpp:hints";
/// Chat states (XEP-0085).
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// Message delivery receipts (XEP-0184).
pub const RECEIPTS: &str = "urn:xmpp:receipts";
/// Displayed markers (XEP-0333).
pub const MARKERS: &str = "urn:xmpp:chat-markers:0";
/// What a client says to a room that it enters (XEP-0045).
pub const MUC: &str = "http://jabber.org/protocol/muc";
/// A room's information about its occupants, and mediated invitations (XEP-0045).
pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
/// Direct invitations to rooms (XEP-0249).
pub const CONFERENCE: &str = "jabber:x:conference";
/// Message archives (XEP-0313).
pub const MAM: &str = "urn:xmpp:mam:2";
/// Unique and stable stanza ids (XEP-0359).
pub const STANZA_ID: &str = "urn:xmpp:sid:0";
/// Message retraction (XEP-0424).
pub const RETRACT: &str = "urn:xmpp:message-retract:1";
/// Ping (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// The namespace of `xml:lang`, always bound to the prefix `xml` (Namespaces in XML §3).
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// The namespace of namespace declarations (Namespaces in XML §3).
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
