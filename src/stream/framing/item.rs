//! What is said on a stream, whatever its transport.

use bytes::Bytes;
use bytestring::ByteString;

use crate::jid::Jid;
use crate::stream::error::StreamFailure;
use crate::xml::element::Element;
use crate::xml::header::Header;

/// What the server writes on a stream: a first-level element, or the start or end tag of the root.
#[derive(Debug, Clone)]
pub enum Item {
    /// The server's header.
    Header(Greeting),
    /// The current offer (RFC 6120 §4.3.2): the children of `<features/>`.
    Features(ByteString),
    /// A whole element that declares its namespace, or is in the content namespace.
    Element(Bytes),
    /// The stream cannot continue (RFC 6120 §4.9); [`Item::Close`] follows.
    Failure(StreamFailure),
    /// The end of the stream from this side (RFC 6120 §4.4).
    Close,
}

/// The content of the server's header (RFC 6120 §4.7).
#[derive(Debug, Clone)]
pub struct Greeting {
    /// The stream's id; empty in the header of an initiating entity, which has none (§4.7.3).
    pub id: String,
    /// The host that sends it.
    pub from: String,
    /// The sender of the header that it answers, if that had a `from`: the bare address. In the header of an
    /// initiating entity, whom it calls.
    pub to: Option<Jid>,
}

/// A whole piece of what the peer sends.
pub enum Event {
    /// The peer's header.
    Open(Header),
    /// An element that passed the gate.
    Element(Element),
    /// Keepalive between elements.
    Whitespace,
    /// The end of the peer's stream.
    Close,
    /// The end of the transport, without that of the stream (RFC 7395 §3.6).
    Gone,
}
