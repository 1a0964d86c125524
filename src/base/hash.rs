//! Hex, base64 and digest helpers shared by several floors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use sha3::Sha3_256;
use subtle::ConstantTimeEq;

/// Base64 with padding (RFC 4648 §4).
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads strict base64 (RFC 4648 §4): padding in full, no white space, no stray bits.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// FNV-1a in 32 bits. Not for secrets; after a match the texts themselves are compared.
pub fn short(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}

/// SHA-1, for protocols that name it.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    Sha1::digest(bytes).into()
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-512.
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    Sha512::digest(bytes).into()
}

/// SHA3-256.
pub fn sha3_256(bytes: &[u8]) -> [u8; 32] {
    Sha3_256::digest(bytes).into()
}

/// HMAC-SHA-256 over the concatenated parts, under a key of our own.
pub fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // RFC 2104 §2: a key no longer than one block is padded with zeros; ours always is.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA-1 (RFC 2104), for protocols that name it.
pub fn hmac_sha1(key: &[u8], text: &[u8]) -> [u8; 20] {
    // RFC 2104 §2: a key longer than one block is hashed first, all are padded with zeros.
    let (mut block, hashed) = ([0; 64], sha1(key));
    let key = if key.len() > block.len() { &hashed } else { key };
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha1>::new(&block.into());
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Compares secrets in a time that depends only on their lengths.
pub fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_published_ones() {
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(b"abc")), want);
        assert!(hex(&sha512(b"abc")).starts_with("ddaf35a193617abacc417349ae204131"));
        let want = "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532";
        assert_eq!(hex(&sha3_256(b"abc")), want);
        // RFC 4231 §4.3, whose key "Jefe" is padded with zeros like any other.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = hmac_sha256(&key, &[b"what do ya want ", b"for nothing?"]);
        let want = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&mac), want);
        // RFC 2202 §3: a short key, and one of 80 bytes.
        let mac = hmac_sha1(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&mac), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let mac = hmac_sha1(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&mac), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }

    /// The value is stored in databases, so it must never change.
    #[test]
    fn a_short_hash_stays_what_it_is() {
        for (text, hash) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(short(text), hash);
        }
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(unbase64(&base64(b"\xff\x00a")).as_deref(), Some(&b"\xff\x00a"[..]));
        for bad in ["YQ", "YQ=", "YR==", "Y Q==", "YQ==\n", "Y-_=", "=", "YQ==YQ=="] {
            assert_eq!(unbase64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn secrets_compare() {
        assert!(same_secret(b"a", b"a"));
        assert!(!same_secret(b"a", b"b"));
        assert!(!same_secret(b"a", b"ab"));
    }
}
