//! Ids that grant or name something: stream ids, stanza ids, generated resources.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A source of randomness, passed in from above so that the floors below stay deterministic.
pub trait Rng {
    /// Fills the whole buffer.
    fn fill(&mut self, buf: &mut [u8]);
}

/// 128 random bits as 22 URL-safe characters. RFC 6120 §4.7.3 requires stream ids to be unpredictable.
pub fn random(rng: &mut dyn Rng) -> String {
    let mut bits = [0; 16];
    rng.fill(&mut bits);
    URL_SAFE_NO_PAD.encode(bits)
}

/// Whether a text may be one of [`random`]'s: then it is a file's name, and no path.
pub fn is_random(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() == 22 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// 130 random bits as 26 small letters and digits that people do not mix up: for links that are read from paper.
pub fn token(rng: &mut dyn Rng) -> String {
    let mut bits = [0; 26];
    rng.fill(&mut bits);
    let letter = |byte: u8| LETTERS.get(usize::from(byte & 31)).map_or('a', |one| char::from(*one));
    bits.into_iter().map(letter).collect()
}

/// RFC 4648 §6, in small letters.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// 64 random bits, for ids of the server's own IQs and for generated resources.
pub fn short(rng: &mut dyn Rng) -> String {
    let mut bits = [0; 8];
    rng.fill(&mut bits);
    of_bits(bits)
}

/// An id like those of [`short`], from bits that already look random.
pub fn of_bits(bits: [u8; 8]) -> String {
    URL_SAFE_NO_PAD.encode(bits)
}

/// The operating system's generator. Floors above `stream` make one where they need it.
///
/// Small requests are served from a few hundred bytes that a thread requested at once, which saves system
/// calls. Each byte is handed out once and wiped from the pool.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRng;

impl Rng for OsRng {
    fn fill(&mut self, buf: &mut [u8]) {
        if buf.len() > POOLED_MAX {
            return fill_now(buf);
        }
        POOL.with_borrow_mut(|(pool, left)| {
            if *left < buf.len() {
                fill_now(pool);
                *left = POOL_BYTES;
            }
            for (to, from) in buf.iter_mut().zip(pool.iter_mut().take(*left).rev()) {
                *to = std::mem::take(from);
            }
            *left -= buf.len();
        });
    }
}

#[allow(clippy::expect_used)]
fn fill_now(buf: &mut [u8]) {
    getrandom::fill(buf).expect("the operating system gives random bytes");
}

thread_local! {
    /// The bytes, and the number of those that were not handed out yet.
    static POOL: RefCell<([u8; POOL_BYTES], usize)> = const { RefCell::new(([0; POOL_BYTES], 0)) };
}

const POOL_BYTES: usize = 256;
/// Larger requests are long-lived keys, or large enough to be worth a system call.
const POOLED_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_path() {
        assert!(is_random(&random(&mut OsRng)));
        for text in [
            "",
            "..",
            "../../../../../etc/pass",
            "aaaaaaaaaaaaaaaaaaaaa/",
            "ä234567890123456789012",
        ] {
            assert!(!is_random(text), "{text}");
        }
    }

    #[test]
    fn no_byte_is_given_twice() {
        let mut seen = std::collections::HashSet::new();
        for turn in 0..200 {
            // Lengths that do not divide the pool.
            let mut buf = vec![0; 9 + turn % 23];
            OsRng.fill(&mut buf);
            assert!(buf.windows(8).all(|window| seen.insert(window.to_vec())), "{turn}");
        }
        let wiped = |(pool, left): &([u8; POOL_BYTES], usize)| {
            pool.iter().skip(*left).all(|byte| *byte == 0)
        };
        assert!(POOL.with_borrow(wiped));
    }
}
