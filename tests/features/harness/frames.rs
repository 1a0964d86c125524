//! WebSocket frames by hand (RFC 6455 §5.2): what is sent may break any rule.

use super::client::{Client, DEADLINE, Failure, Outcome};
use super::io::Io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

pub const FIN: u8 = 0x80;
pub const CONTINUE: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    Text(String),
    Pong(Vec<u8>),
    /// With its code, if it has one.
    Close(Option<u16>),
    /// The connection is over.
    End,
}

/// A WebSocket whose handshake is done.
pub struct Frames {
    io: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Frames {
    /// That of a client whose stream is open; nothing may be on its way to it.
    pub fn of(client: &mut Client) -> Frames {
        match std::mem::replace(&mut client.io, Io::Gone) {
            Io::Ws(ws) => Frames { io: ws.into_raw(), read: Vec::new() },
            _ => panic!("no WebSocket"),
        }
    }

    /// Sends frames: in one piece, each alone, or in pieces of so many bytes.
    pub async fn send(&mut self, frames: &[Vec<u8>], chop: Chop) {
        let whole = frames.concat();
        let pieces: Vec<&[u8]> = match chop {
            Chop::None => vec![&whole],
            Chop::Frames => frames.iter().map(Vec::as_slice).collect(),
            Chop::Bytes(length) => whole.chunks(length).collect(),
        };
        for piece in pieces {
            // The server may have ended it meanwhile, which is seen when it is read.
            let _ = self.io.write_all(piece).await;
            let _ = self.io.flush().await;
        }
    }

    /// The next frame.
    pub async fn next(&mut self) -> Outcome<Got> {
        match timeout(DEADLINE, self.frame()).await {
            Ok(got) => Ok(got),
            Err(_) => Err(Failure("no frame in time".into())),
        }
    }

    async fn frame(&mut self) -> Got {
        loop {
            if let Some((opcode, payload)) = self.cut() {
                return match opcode {
                    TEXT => Got::Text(String::from_utf8(payload).unwrap()),
                    PONG => Got::Pong(payload),
                    CLOSE => {
                        Got::Close(payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code)))
                    }
                    other => panic!("the server sent opcode {other}"),
                };
            }
            match self.io.read_buf(&mut self.read).await {
                Ok(1..) => {}
                _ => return Got::End,
            }
        }
    }

    fn cut(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (*self.read.first()?, *self.read.get(1)?);
        // §5.1: a server masks nothing; ours sends no fragments, and knows no extensions.
        assert_eq!((first & 0xf0, second & 0x80), (FIN, 0), "{:02x?}", self.read);
        let (begin, length) = match second {
            126 => (4, u16::from_be_bytes(*self.read.get(2..)?.first_chunk()?) as usize),
            127 => (10, u64::from_be_bytes(*self.read.get(2..)?.first_chunk()?) as usize),
            short => (2, usize::from(short)),
        };
        let payload = self.read.get(begin..begin + length)?.to_vec();
        self.read.drain(..begin + length);
        Some((first & 0x0f, payload))
    }
}

/// How what is sent is cut.
#[derive(Debug, Clone, Copy)]
pub enum Chop {
    None,
    Frames,
    Bytes(usize),
}

/// A frame; `first` has the bits and the opcode.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let (payload, mask) = (payload.as_ref(), [0x11, 0xa2, 0x33, 0xc4]);
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        middle @ ..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A text message in fragments of so many bytes.
pub fn fragments(text: impl AsRef<[u8]>, length: usize) -> Vec<Vec<u8>> {
    let pieces: Vec<&[u8]> = text.as_ref().chunks(length).collect();
    let last = pieces.len() - 1;
    let sent = pieces.into_iter().enumerate().map(|(at, piece)| {
        let opcode = if at == 0 { TEXT } else { CONTINUE };
        frame(if at == last { FIN | opcode } else { opcode }, piece)
    });
    sent.collect()
}
