//! Ids that grant or name something: stream ids, stanza ids, made resources.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A source of randomness, handed in from above so that the floors below stay deterministic.
pub trait Rng {
    /// Fills the whole buffer.
    fn fill(&mut self, buf: &mut [u8]);
}

/// 128 random bits as 22 URL-safe characters. RFC 6120 §4.7.3 wants stream ids unpredictable.
pub fn random(rng: &mut dyn Rng) -> String {
    let mut bits = [0; 16];
    rng.fill(&mut bits);
    URL_SAFE_NO_PAD.encode(bits)
}

/// 64 random bits, for ids of the server's own IQs and for made resources.
pub fn short(rng: &mut dyn Rng) -> String {
    let mut bits = [0; 8];
    rng.fill(&mut bits);
    URL_SAFE_NO_PAD.encode(bits)
}

/// The operating system's generator. Floors above `stream` make one where they need it.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRng;

impl Rng for OsRng {
    #[allow(clippy::expect_used)]
    fn fill(&mut self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("the operating system gives random bytes");
    }
}
