//! XEP-0198 of the bench's clients: counts, requests and answers.

use super::conn::Conn;
use super::fault::{Fault, Res, fault};
use super::framer::{attr, is};

/// A managed stream.
#[derive(Debug)]
pub struct Managed {
    /// What `<resume/>` names, if the stream may be resumed.
    pub id: String,
    /// Stanzas that came.
    pub came: u32,
    /// Stanzas that were sent.
    pub sent: u32,
    /// Those of them that the server acknowledged.
    pub acked: u32,
}

impl Managed {
    /// Enables it, resumable.
    pub async fn enable(conn: &mut Conn) -> Res<Self> {
        conn.send(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await?;
        let answer = conn.until(|piece| is(piece, "enabled") || is(piece, "failed")).await?;
        if !is(&answer, "enabled") {
            return fault(format!("XEP-0198: {}", String::from_utf8_lossy(&answer)));
        }
        let id = attr(&answer, "id").map(|id| String::from_utf8_lossy(id).into_owned());
        Ok(Self { id: id.unwrap_or_default(), came: 0, sent: 0, acked: 0 })
    }

    /// A stanza was appended to `out`: asks for its acknowledgement.
    pub fn sent(&mut self, out: &mut Vec<u8>) {
        self.sent += 1;
        out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
    }

    /// Something came; an answer that is due goes to `out`.
    pub fn note(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Res<()> {
        if is(piece, "message") || is(piece, "iq") || is(piece, "presence") {
            self.came += 1;
        } else if is(piece, "r") {
            out.extend_from_slice(self.ack().as_bytes());
        } else if is(piece, "a") {
            self.acked = count(piece)?;
            if self.acked > self.sent {
                return fault(format!("{} stanzas acknowledged of {}", self.acked, self.sent));
            }
        }
        Ok(())
    }

    /// All that came is handled.
    pub fn ack(&self) -> String {
        format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.came)
    }

    /// The server has acknowledged all.
    pub fn is_settled(&self) -> bool {
        self.acked == self.sent
    }
}

/// The `h` of the piece.
pub fn count(piece: &[u8]) -> Res<u32> {
    let h = attr(piece, "h").and_then(|h| std::str::from_utf8(h).ok()?.parse().ok());
    h.ok_or_else(|| Fault(format!("no count: {}", String::from_utf8_lossy(piece))))
}
