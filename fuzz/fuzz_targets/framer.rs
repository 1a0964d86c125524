//! Any split of the input gives the same pieces as the whole.
//!
//! The first four bytes choose the bounds and where the input is cut; the rest is the stream.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use stonechat::xml::{Framer, FramerLimits, Piece, XmlError};

fuzz_target!(|data: &[u8]| {
    let Some((&[bytes, depth, step, restart], input)) = data.split_first_chunk::<4>() else {
        return;
    };
    let limits = FramerLimits {
        bytes_max: 8 + usize::from(bytes) * 4,
        depth_max: 1 + usize::from(depth % 8),
    };
    let restart = usize::from(restart % 8);
    let whole = run(limits, restart, [input]);
    let split = run(limits, restart, input.chunks(1 + usize::from(step)));
    assert_eq!(whole, split);
    assert_eq!(whole, run(limits, restart, input.chunks(1)));
});

/// `restart`: the stream starts anew after this many pieces, as after SASL.
fn run<'a>(
    limits: FramerLimits,
    restart: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Piece>, Option<XmlError>) {
    let mut framer = Framer::new(limits);
    let mut buf = BytesMut::new();
    let mut pieces = Vec::new();
    let mut elements = 0;
    for chunk in chunks {
        buf.extend_from_slice(chunk);
        loop {
            match framer.next(&mut buf) {
                Ok(Some(Piece::Whitespace(n))) => match pieces.last_mut() {
                    Some(Piece::Whitespace(sum)) => *sum += n,
                    _ => pieces.push(Piece::Whitespace(n)),
                },
                Ok(Some(piece)) => {
                    if let Piece::Element(raw) | Piece::Open(raw) = &piece {
                        assert!(raw.starts_with(b"<") && raw.ends_with(b">"));
                        assert!(raw.len() <= limits.bytes_max);
                        elements += 1;
                    }
                    pieces.push(piece);
                    if elements == restart + 1 && elements > 1 {
                        elements += 1;
                        framer.restart();
                    }
                }
                Ok(None) => break,
                Err(error) => return (pieces, Some(error)),
            }
            assert!(buf.len() <= limits.bytes_max || !framer.is_between() || !buf.is_empty());
        }
    }
    (pieces, None)
}
