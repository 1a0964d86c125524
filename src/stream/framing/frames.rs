//! The frames of one WebSocket (RFC 6455 §5), as a server sees them. The crate reads and writes their
//! headers; its own connection keeps a buffer for as long as it lives, which an idle session must not.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::xml::framer::cut_out;

/// The frames in both directions.
pub struct Frames {
    /// The fragments of an unfinished message (RFC 6455 §5.4).
    fragments: Option<BytesMut>,
    message_max: u32,
    /// A close frame was sent: nothing may follow it (RFC 6455 §5.5.1).
    closed: bool,
}

/// What the peer sent.
pub enum Received {
    /// A text message, whose encoding is not checked yet.
    Text(Bytes),
    /// A close frame, which is answered.
    Close,
}

/// Why the connection must fail (RFC 6455 §7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A rule of frames is broken.
    Protocol(&'static str),
    /// A message that is not text.
    Binary,
    /// A message of more than `limits.stanza_bytes_max`.
    TooLarge,
}

impl Frames {
    /// A connection whose handshake is done.
    pub fn new(message_max: usize) -> Self {
        let mut frames = Self { fragments: None, message_max: 0, closed: false };
        frames.set_message_max(message_max);
        frames
    }

    /// Sets the maximum size of a message, over all its fragments.
    pub fn set_message_max(&mut self, bytes: usize) {
        self.message_max = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// See [`Frames::set_message_max`].
    pub fn message_max(&self) -> usize {
        self.message_max as usize
    }

    /// Cuts the next message off the buffer; answers the control frames before it.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        mut out: impl FnMut(Bytes),
    ) -> Result<Option<Received>, Violation> {
        loop {
            if self.closed {
                buffer.clear();
                return Ok(None);
            }
            let Some((header, payload)) = self.frame(buffer)? else { return Ok(None) };
            match header.opcode {
                OpCode::Control(Control::Ping) => {
                    out(framed(OpCode::Control(Control::Pong), payload.len()));
                    out(payload.freeze());
                }
                OpCode::Control(Control::Close) => {
                    self.close(closing_reply(&payload), out);
                    return Ok(Some(Received::Close));
                }
                OpCode::Control(_) => {}
                OpCode::Data(data) => {
                    if let Some(text) = self.message(data, header.is_final, payload)? {
                        return Ok(Some(Received::Text(text)));
                    }
                }
            }
        }
    }

    /// The next whole frame, unmasked.
    fn frame(&self, buffer: &mut BytesMut) -> Result<Option<(FrameHeader, BytesMut)>, Violation> {
        let mut cursor = Cursor::new(&*buffer);
        let parsed = FrameHeader::parse(&mut cursor);
        let parsed = parsed.map_err(|_| Violation::Protocol("frame of an unknown kind"))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let begin = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        self.judge(&header, length)?;
        let (Some(mask), Ok(length)) = (header.mask, usize::try_from(length)) else {
            return Err(Violation::Protocol("frame without a mask"));
        };
        if buffer.len() - begin < length {
            return Ok(None);
        }
        buffer.advance(begin);
        let mut payload = cut_out(buffer, length);
        unmask(&mut payload, mask);
        Ok(Some((header, payload)))
    }

    /// RFC 6455 §5.1, §5.2, §5.5, as soon as the header is there.
    fn judge(&self, header: &FrameHeader, length: u64) -> Result<(), Violation> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::Protocol("reserved bit without an extension"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                Err(Violation::Protocol("fragmented control frame"))
            }
            OpCode::Control(_) if length > CONTROL_BYTES_MAX => {
                Err(Violation::Protocol("control frame of more than 125 bytes"))
            }
            OpCode::Control(_) => Ok(()),
            OpCode::Data(_) => {
                let before = self.fragments.as_ref().map_or(0, BytesMut::len) as u64;
                match before.saturating_add(length) > u64::from(self.message_max) {
                    true => Err(Violation::TooLarge),
                    false => Ok(()),
                }
            }
        }
    }

    /// RFC 6455 §5.4: a message may come in fragments.
    fn message(
        &mut self,
        data: Data,
        last: bool,
        payload: BytesMut,
    ) -> Result<Option<Bytes>, Violation> {
        let message = match (data, self.fragments.take()) {
            (Data::Text, None) => payload,
            (Data::Continue, Some(mut fragments)) => {
                fragments.extend_from_slice(&payload);
                fragments
            }
            (Data::Binary, None) => return Err(Violation::Binary),
            (Data::Continue, None) => return Err(Violation::Protocol("nothing to continue")),
            _ => return Err(Violation::Protocol("message inside another")),
        };
        if last {
            return Ok(Some(message.freeze()));
        }
        self.fragments = Some(message);
        Ok(None)
    }

    /// Writes a text message: calls `out` with its bytes, in order.
    pub fn text(&self, parts: impl AsRef<[Bytes]>, mut out: impl FnMut(Bytes)) {
        if !self.closed {
            let parts = parts.as_ref();
            let length = parts.iter().map(Bytes::len).sum();
            out(framed(OpCode::Data(Data::Text), length));
            parts.iter().cloned().for_each(out);
        }
    }

    /// Begins or answers the closing handshake (RFC 6455 §7.1.2), once.
    pub fn close(&mut self, code: Option<CloseCode>, mut out: impl FnMut(Bytes)) {
        if !std::mem::replace(&mut self.closed, true) {
            let code = code.map(|code| u16::from(code).to_be_bytes());
            let payload = code.as_ref().map_or(&[][..], |code| &code[..]);
            out(framed(OpCode::Control(Control::Close), payload.len()));
            out(Bytes::copy_from_slice(payload));
        }
    }
}

/// RFC 6455 §5.5.1, §7.4: the peer's code comes back, if it is one that may be sent.
fn closing_reply(payload: &[u8]) -> Option<CloseCode> {
    match payload {
        [] => None,
        [high, low, reason @ ..] => {
            let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
            let fine = simdutf8::basic::from_utf8(reason).is_ok();
            Some(match code.is_allowed() {
                true if fine => code,
                // §8.1
                true => CloseCode::Invalid,
                false => CloseCode::Protocol,
            })
        }
        _ => Some(CloseCode::Protocol),
    }
}

/// The header of a whole message or control frame from a server, which masks nothing (RFC 6455 §5.1).
fn framed(opcode: OpCode, length: usize) -> Bytes {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let mut bytes = Vec::with_capacity(10);
    // A vector takes everything.
    let _ = header.format(length as u64, &mut bytes);
    bytes.into()
}

/// RFC 6455 §5.3
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

/// RFC 6455 §5.5
const CONTROL_BYTES_MAX: u64 = 125;

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame as a client sends it; `first` is the first byte.
    fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 250];
        let mut frame = vec![first];
        match payload.len() {
            short @ ..126 => frame.push(0x80 | short as u8),
            long => {
                frame.push(0x80 | 126);
                frame.extend((long as u16).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// What comes of these bytes: texts, then the answers, then how it ends.
    fn heard(bytes: &[u8], step: usize) -> (Vec<String>, Vec<u8>, Option<Violation>) {
        let (mut frames, mut buffer) = (Frames::new(1_000), BytesMut::new());
        let (mut texts, mut answers) = (Vec::new(), Vec::new());
        for some in bytes.chunks(step) {
            buffer.extend_from_slice(some);
            loop {
                match frames.next(&mut buffer, |bytes| answers.extend_from_slice(&bytes)) {
                    Ok(None) => break,
                    Ok(Some(Received::Text(text))) => {
                        texts.push(String::from_utf8_lossy(&text).into_owned());
                    }
                    Ok(Some(Received::Close)) => texts.push("(close)".to_owned()),
                    Err(violation) => return (texts, answers, Some(violation)),
                }
            }
        }
        (texts, answers, None)
    }

    fn both(bytes: &[u8]) -> (Vec<String>, Vec<u8>, Option<Violation>) {
        let at_once = heard(bytes, usize::MAX);
        assert_eq!(heard(bytes, 1), at_once, "the result depends on how the input was split");
        at_once
    }

    /// RFC 6455 §5.4, §5.5: fragments, with control frames in between
    #[test]
    fn messages_come_whole_and_pings_are_answered() {
        let input = [
            sent(0x81, b"<a/>"),
            sent(0x01, b"<b>"),
            sent(0x89, b"are you there"),
            sent(0x00, b""),
            sent(0x8a, b"unasked"),
            sent(0x80, b"</b>"),
            sent(0x81, &[b'x'; 300]),
            sent(0x88, &[0x03, 0xe8]),
            sent(0x81, b"late"),
        ];
        let (texts, answers, end) = both(&input.concat());
        assert_eq!(texts, ["<a/>", "<b></b>", &"x".repeat(300), "(close)"]);
        assert_eq!(answers, [b"\x8a\x0dare you there".as_slice(), b"\x88\x02\x03\xe8"].concat());
        assert_eq!(end, None);
    }

    /// RFC 6455 §5.1, §5.2, §5.4, §5.5
    #[test]
    fn frames_that_break_the_rules_end_the_connection() {
        let unmasked = b"\x81\x04<a/>".to_vec();
        for (input, violation) in [
            (unmasked, Violation::Protocol("frame without a mask")),
            (sent(0xc1, b"<a/>"), Violation::Protocol("reserved bit without an extension")),
            (sent(0x83, b"<a/>"), Violation::Protocol("frame of an unknown kind")),
            (sent(0x8b, b""), Violation::Protocol("frame of an unknown kind")),
            (sent(0x09, b""), Violation::Protocol("fragmented control frame")),
            (sent(0x89, &[0; 126]), Violation::Protocol("control frame of more than 125 bytes")),
            (sent(0x80, b"<a/>"), Violation::Protocol("nothing to continue")),
            (
                [sent(0x01, b"<a>"), sent(0x81, b"</a>")].concat(),
                Violation::Protocol("message inside another"),
            ),
            (sent(0x82, b"<a/>"), Violation::Binary),
            (sent(0x81, &[b'x'; 1_001]), Violation::TooLarge),
            ([sent(0x01, &[b'x'; 600]), sent(0x80, &[b'x'; 401])].concat(), Violation::TooLarge),
            (
                vec![0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4],
                Violation::TooLarge,
            ),
        ] {
            let (texts, _, end) = both(&input);
            assert_eq!((texts, end), (vec![], Some(violation)), "{input:02x?}");
        }
    }

    /// RFC 6455 §5.5.1, §7.4
    #[test]
    fn a_close_frame_comes_back() {
        for (payload, reply) in [
            (b"".as_slice(), b"".as_slice()),
            (&[0x03, 0xe9], &[0x03, 0xe9]),
            (b"\x0f\xa0bye", &[0x0f, 0xa0]),
            (&[0x03], &[0x03, 0xea]),
            (&[0x03, 0xed], &[0x03, 0xea]),
            (&[0x03, 0xe8, 0xff], &[0x03, 0xef]),
        ] {
            let (texts, answers, end) = both(&sent(0x88, payload));
            assert_eq!((texts, end), (vec!["(close)".to_owned()], None));
            assert_eq!(answers, [&[0x88, reply.len() as u8], reply].concat());
        }
    }
}
