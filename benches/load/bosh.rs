//! A client's BOSH session (XEP-0124, XEP-0206), as little as measuring takes: two connections under TLS, one
//! request held.

use super::fault::{Fault, Res, fault};
use super::framer::attr;
use super::pieces::{Piece, pieces};
use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A session, or none yet.
pub struct Bosh {
    first: Http,
    second: Http,
    domain: String,
    sid: Option<String>,
    rid: u64,
    /// What came while something was sent.
    came: Vec<u8>,
    ended: bool,
}

impl Bosh {
    /// On these connections.
    pub fn new(first: TlsStream<TcpStream>, second: TlsStream<TcpStream>, domain: &str) -> Self {
        let (first, second) = (Http::new(first), Http::new(second));
        let domain = domain.to_owned();
        Self { first, second, domain, sid: None, rid: 4_711, came: Vec::new(), ended: false }
    }

    /// In one request.
    pub async fn send(&mut self, bytes: &[u8]) -> Res<()> {
        let (mut more, mut payload) = (String::new(), Vec::new());
        for piece in pieces(bytes) {
            match piece {
                Piece::Open if self.sid.is_none() => more.push_str(
                    " wait='60' hold='1' ver='1.6' xmpp:version='1.0' xml:lang='en' \
                     content='text/xml; charset=utf-8'",
                ),
                Piece::Open => more.push_str(" xmpp:restart='true'"),
                Piece::Close => more.push_str(" type='terminate'"),
                Piece::Element(element) => payload.extend_from_slice(&element),
            }
        }
        self.post(&more, &payload).await
    }

    /// Appends what came, waiting for the first of it; 0 at the end.
    pub async fn fill(&mut self, into: &mut Vec<u8>) -> Res<usize> {
        while self.came.is_empty() {
            if self.ended {
                return Ok(0);
            }
            if !self.first.busy && !self.second.busy {
                self.post("", b"").await?;
            }
            self.hear().await?;
        }
        let len = self.came.len();
        into.append(&mut self.came);
        Ok(len)
    }

    async fn post(&mut self, more: &str, payload: &[u8]) -> Res<()> {
        while self.first.busy && self.second.busy {
            self.hear().await?;
        }
        let sid = self.sid.as_ref().map(|sid| format!(" sid='{sid}'")).unwrap_or_default();
        self.rid += 1;
        let head = format!(
            "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' rid='{}' \
             to='{}'{sid}{more}>",
            self.rid, self.domain
        );
        let len = head.len() + payload.len() + CLOSE.len();
        let mut request = format!(
            "POST /http-bind HTTP/1.1\r\nHost: {}\r\nContent-Type: text/xml; charset=utf-8\r\n\
             Content-Length: {len}\r\n\r\n{head}",
            self.domain
        )
        .into_bytes();
        request.extend_from_slice(payload);
        request.extend_from_slice(CLOSE);
        let free = if self.first.busy { &mut self.second } else { &mut self.first };
        free.busy = true;
        free.tls.write_all(&request).await?;
        free.tls.flush().await?;
        Ok(())
    }

    /// Waits for one answer, or a part of one.
    async fn hear(&mut self) -> Res<()> {
        let read = match (self.first.busy, self.second.busy) {
            (true, false) => self.first.read().await?,
            (false, true) => self.second.read().await?,
            _ => tokio::select! {
                read = self.first.read() => read?,
                read = self.second.read() => read?,
            },
        };
        if read == 0 {
            self.ended = true;
        }
        for http in [&mut self.first, &mut self.second] {
            let Some(body) = http.answer()? else { continue };
            if self.sid.is_none() {
                let sid = attr(&body, "sid").map(|sid| String::from_utf8_lossy(sid).into_owned());
                self.sid = Some(sid.ok_or_else(|| Fault("no session by BOSH".to_owned()))?);
            }
            self.ended |= attr(&body, "type") == Some(b"terminate");
            if body.ends_with(CLOSE) {
                let from = inside(&body);
                self.came.extend(body.get(from..body.len() - CLOSE.len()).unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// Where what is in a body begins.
fn inside(body: &[u8]) -> usize {
    let mut quote = None;
    for (at, byte) in body.iter().enumerate() {
        match (quote, *byte) {
            (None, b'>') => return at + 1,
            (None, b'\'' | b'"') => quote = Some(*byte),
            (Some(open), byte) if byte == open => quote = None,
            _ => {}
        }
    }
    body.len()
}

struct Http {
    tls: TlsStream<TcpStream>,
    raw: Vec<u8>,
    busy: bool,
}

impl Http {
    fn new(tls: TlsStream<TcpStream>) -> Self {
        Self { tls, raw: Vec::new(), busy: false }
    }

    async fn read(&mut self) -> Res<usize> {
        self.raw.reserve(READ_BYTES);
        Ok(self.tls.read_buf(&mut self.raw).await?)
    }

    /// The body of a whole answer.
    fn answer(&mut self) -> Res<Option<Vec<u8>>> {
        let Some(end) = memmem::find(&self.raw, b"\r\n\r\n") else { return Ok(None) };
        let head = self.raw.get(..end).unwrap_or_default().to_ascii_lowercase();
        if !head.starts_with(b"http/1.1 200") {
            return fault(format!("BOSH: {}", String::from_utf8_lossy(&self.raw)));
        }
        let name = b"content-length:";
        let length = memmem::find(&head, name).map(|at| at + name.len());
        let line = length.and_then(|at| head.get(at..)).unwrap_or_default();
        let line = line.get(..memchr(b'\r', line).unwrap_or(line.len())).unwrap_or_default();
        let length = std::str::from_utf8(line).ok().and_then(|text| text.trim().parse().ok());
        let Some(length): Option<usize> = length else { return fault("BOSH: no length") };
        let (from, to) = (end + 4, end + 4 + length);
        let Some(body) = self.raw.get(from..to).map(<[u8]>::to_vec) else { return Ok(None) };
        self.raw.drain(..to);
        self.busy = false;
        Ok(Some(body))
    }
}

const CLOSE: &[u8] = b"</body>";
const READ_BYTES: usize = 4096;
