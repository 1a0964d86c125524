//! What a client of the bench writes, as it is said over the web: each piece by itself, with its namespace.

use super::framer::Framer;

/// One thing that is said.
pub enum Piece {
    /// A stream is opened, or opened anew.
    Open,
    /// It is closed.
    Close,
    /// An element.
    Element(Vec<u8>),
}

/// The pieces of what would be written to TCP.
pub fn pieces(bytes: &[u8]) -> Vec<Piece> {
    let mut framer = Framer::default();
    let mut all = Vec::new();
    // A closing tag has nothing before it that it could close.
    while let Some(range) = framer.next(bytes) {
        let piece = bytes.get(range).unwrap_or_default();
        if piece.starts_with(b"<stream:stream") {
            all.push(Piece::Open);
        } else if piece.starts_with(b"</stream:stream") {
            all.push(Piece::Close);
        } else if !piece.starts_with(b"<?") {
            all.push(Piece::Element(named(piece)));
        }
    }
    all
}

/// A stanza says its namespace, as no header does it (RFC 7395 §3.3.3).
fn named(piece: &[u8]) -> Vec<u8> {
    let stanza = ["message", "iq", "presence"].iter().find(|name| super::framer::is(piece, name));
    let Some(name) = stanza else { return piece.to_vec() };
    let (head, rest) = piece.split_at((1 + name.len()).min(piece.len()));
    [head, b" xmlns='jabber:client'", rest].concat()
}
