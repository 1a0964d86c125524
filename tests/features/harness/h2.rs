//! Frames of HTTP/2 by hand (RFC 9113 §4.1): what is sent may break any rule.

use super::client::{Client, DEADLINE, Failure, Outcome, Target};
use super::io::Io;
use super::process::wrong;
use tokio::time::timeout;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A connection of HTTP/2.
pub struct H2 {
    io: Io,
    read: Vec<u8>,
}

/// What came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl H2 {
    /// The preface and empty settings are sent.
    pub async fn open(target: &Target) -> Outcome<H2> {
        let Some(addr) = target.web else { return wrong("no web here") };
        let mut client = Client::dial(target, addr).await?;
        client.handshake(&["h2"]).await?;
        let mut h2 = H2 { io: client.io, read: Vec::new() };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        h2.write(&[preface, &frame(SETTINGS, 0, 0, &[])[..]].concat()).await?;
        Ok(h2)
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.io.write(bytes).await.map_err(|error| Failure(error.to_string()))
    }

    /// The next frame; none once the connection is over.
    pub async fn next(&mut self) -> Outcome<Option<Frame>> {
        loop {
            if let Some(frame) = self.cut() {
                return Ok(Some(frame));
            }
            match timeout(DEADLINE, self.io.read(&mut self.read)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Ok(None),
                Err(_) => return wrong("no frame in time"),
            }
        }
    }

    /// The next frame of this kind; none once the connection is over.
    pub async fn expect(&mut self, kind: u8) -> Outcome<Option<Frame>> {
        loop {
            match self.next().await? {
                Some(frame) if frame.kind == kind => return Ok(Some(frame)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    fn cut(&mut self) -> Option<Frame> {
        let [a, b, c, kind, flags, stream @ ..] = *self.read.first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = self.read.get(9..9 + length)?.to_vec();
        self.read.drain(..9 + length);
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A GET of this path as HPACK (RFC 7541), without compression.
pub fn head(path: &str) -> Vec<u8> {
    let literal =
        |index: u8, value: &str| [&[index, value.len() as u8][..], value.as_bytes()].concat();
    // :method GET, :scheme https, :authority, :path
    [vec![0x82, 0x87], literal(0x41, "localhost"), literal(0x44, path)].concat()
}

/// A field with a name of its own.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let mut bytes = vec![];
        match text.len() {
            short @ ..127 => bytes.push(short as u8),
            long => {
                bytes.push(127);
                let mut rest = long - 127;
                while rest >= 128 {
                    bytes.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                bytes.push(rest as u8);
            }
        }
        bytes.extend(text.as_bytes());
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}

/// A whole request without a body.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head(path))
}
