//! A client's WebSocket (RFC 7395), as little as measuring takes: it trusts its server.

use super::fault::{Res, fault};
use super::pieces::{Piece, pieces};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// An open WebSocket under TLS.
pub struct WebSocket {
    tls: TlsStream<TcpStream>,
    raw: Vec<u8>,
    domain: String,
}

impl WebSocket {
    /// Shakes hands.
    pub async fn open(mut tls: TlsStream<TcpStream>, domain: &str, path: &str) -> Res<Self> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {domain}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: xmpp\r\n\r\n"
        );
        tls.write_all(request.as_bytes()).await?;
        tls.flush().await?;
        let mut raw = Vec::new();
        let end = loop {
            if let Some(end) = memmem::find(&raw, b"\r\n\r\n") {
                break end;
            }
            if tls.read_buf(&mut raw).await? == 0 {
                return fault("no answer to the handshake of the WebSocket");
            }
        };
        if !raw.starts_with(b"HTTP/1.1 101") {
            return fault(format!("no WebSocket: {}", String::from_utf8_lossy(&raw)));
        }
        raw.drain(..end + 4);
        Ok(Self { tls, raw, domain: domain.to_owned() })
    }

    /// Each piece in a frame of its own.
    pub async fn send(&mut self, bytes: &[u8]) -> Res<()> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        for piece in pieces(bytes) {
            let text = match piece {
                Piece::Open => format!(
                    "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{}' version='1.0'/>",
                    self.domain
                )
                .into_bytes(),
                Piece::Close => b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>".to_vec(),
                Piece::Element(bytes) => bytes,
            };
            frame(&mut out, TEXT, &text);
        }
        self.tls.write_all(&out).await?;
        self.tls.flush().await?;
        Ok(())
    }

    /// Appends what came, waiting for the first of it; 0 at the end.
    pub async fn fill(&mut self, into: &mut Vec<u8>) -> Res<usize> {
        let before = into.len();
        loop {
            while let Some((opcode, text, whole)) = parsed(&self.raw) {
                let payload = self.raw.get(text).unwrap_or_default();
                let mut pong = Vec::new();
                match opcode {
                    TEXT | CONTINUED => into.extend_from_slice(payload),
                    PING => frame(&mut pong, PONG, payload),
                    CLOSE => return Ok(0),
                    _ => {}
                }
                self.raw.drain(..whole);
                if !pong.is_empty() {
                    self.tls.write_all(&pong).await?;
                    self.tls.flush().await?;
                }
            }
            if into.len() > before {
                if self.raw.is_empty() {
                    self.raw = Vec::new();
                }
                return Ok(into.len() - before);
            }
            self.raw.reserve(READ_BYTES);
            if self.tls.read_buf(&mut self.raw).await? == 0 {
                return Ok(0);
            }
        }
    }
}

/// A masked frame (RFC 6455 §5.2); that everybody knows the mask harms nobody here.
fn frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match u16::try_from(payload.len()) {
        Ok(len @ ..=125) => out.push(0x80 | u8::try_from(len).unwrap_or_default()),
        Ok(len) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The first frame: its opcode, where its payload is, and its end.
fn parsed(raw: &[u8]) -> Option<(u8, std::ops::Range<usize>, usize)> {
    let (opcode, short) = (raw.first()? & 0x0F, *raw.get(1)? & 0x7F);
    let (len, from) = match short {
        126 => (u64::from(u16::from_be_bytes(raw.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(raw.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let end = from + usize::try_from(len).ok()?;
    (raw.len() >= end).then_some((opcode, from..end, end))
}

const CONTINUED: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const READ_BYTES: usize = 4096;
