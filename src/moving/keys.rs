//! Keys as other servers write them: SCRAM's (RFC 5802 §3), in base64 once or twice.

use crate::base::credential::{HashName, ScramKeys};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Keys as they stand in a file.
#[derive(Debug, Clone, Default)]
pub struct Written<'a> {
    /// `SCRAM-SHA-1` and the like. The keys' length decides: Prosody writes this name over keys of SHA-256.
    pub mechanism: &'a str,
    /// The number of rounds; `10000.0` is one.
    pub iterations: &'a str,
    /// In base64.
    pub salt: &'a str,
    /// In base64.
    pub stored_key: &'a str,
    /// In base64.
    pub server_key: &'a str,
}

/// Reads keys; or says what is wrong with them.
pub fn scram(written: &Written<'_>) -> Result<ScramKeys, String> {
    let iterations = iterations(written.iterations)
        .ok_or_else(|| format!("`{}` is no number of rounds", written.iterations))?;
    let (stored_key, twice) = key(written.stored_key).ok_or("StoredKey is no key")?;
    let (server_key, _) = key(written.server_key).ok_or("ServerKey is no key")?;
    let salt = decode(written.salt).ok_or("the salt is not in base64")?;
    // Who writes keys in base64 twice does so with the salt.
    let salt = match twice.then(|| decode_bytes(&salt)).flatten() {
        Some(inner) => inner,
        None => salt,
    };
    let named = written.mechanism.strip_prefix("SCRAM-").and_then(HashName::parse);
    if named.is_none() && !written.mechanism.is_empty() {
        return Err(format!("keys for {} are of no use here", written.mechanism));
    }
    raw(None, iterations.into(), salt, stored_key, server_key)
}

/// Keys of plain bytes, for all who read some: of the hash that is named, or, if none is, of that whose values have
/// their length; with a number of rounds that a login can take. Or says what is wrong with them.
pub fn raw(
    named: Option<HashName>,
    iterations: i64,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
) -> Result<ScramKeys, String> {
    let hash = hash(stored_key.len()).ok_or("StoredKey has the length of no hash")?;
    if server_key.len() != stored_key.len() {
        return Err("StoredKey and ServerKey are of different hashes".to_owned());
    }
    if let Some(named) = named.filter(|named| *named != hash) {
        return Err(format!("StoredKey has not the length of {}", named.as_str()));
    }
    if salt.is_empty() || salt.len() > SALT_MAX {
        return Err(format!("the salt has not 1 to {SALT_MAX} bytes"));
    }
    let rounds = u32::try_from(iterations).ok().filter(|it| (1..=ITERATIONS_MAX).contains(it));
    let iterations = rounds.ok_or_else(|| format!("there are not 1 to {ITERATIONS_MAX} rounds"))?;
    Ok(ScramKeys { hash, salt, iterations, stored_key, server_key })
}

/// A number of rounds, also as a floating-point number that is whole.
pub fn iterations(text: &str) -> Option<u32> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    whole.parse().ok().filter(|rounds| (1..=ITERATIONS_MAX).contains(rounds))
}

/// The hash whose values have this length.
pub fn hash(length: usize) -> Option<HashName> {
    match length {
        20 => Some(HashName::Sha1),
        32 => Some(HashName::Sha256),
        64 => Some(HashName::Sha512),
        _ => None,
    }
}

/// A key, and whether it was in base64 twice.
fn key(text: &str) -> Option<(Vec<u8>, bool)> {
    let once = decode(text)?;
    if hash(once.len()).is_some()
        && decode_bytes(&once).is_none_or(|twice| hash(twice.len()).is_none())
    {
        return Some((once, false));
    }
    let twice = decode_bytes(&once)?;
    hash(twice.len()).map(|_| (twice, true))
}

fn decode_bytes(text: &[u8]) -> Option<Vec<u8>> {
    decode(std::str::from_utf8(text).ok()?)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_ascii_whitespace().collect();
    if text.is_empty() || text.len() > TEXT_MAX {
        return None;
    }
    BASE64.decode(text).ok()
}

/// With or without `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const SALT_MAX: usize = 1_024;
const TEXT_MAX: usize = 4_096;
/// A login with more would take seconds of our time.
const ITERATIONS_MAX: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::base64;

    fn written(salt: &[u8], stored: &[u8], server: &[u8], times: usize) -> [String; 3] {
        [salt, stored, server].map(|bytes| {
            let once = base64(bytes);
            if times == 2 { base64(once.as_bytes()) } else { once }
        })
    }

    #[test]
    fn keys_are_read_in_base64_once_and_twice() {
        for times in [1, 2] {
            for (length, hash) in
                [(20, HashName::Sha1), (32, HashName::Sha256), (64, HashName::Sha512)]
            {
                let (stored, server) = (vec![200; length], vec![7; length]);
                let [salt, stored_key, server_key] = written(b"\xffsalt", &stored, &server, times);
                let keys = scram(&Written {
                    mechanism: "SCRAM-SHA-1",
                    iterations: "10000.0",
                    salt: &salt,
                    stored_key: &stored_key,
                    server_key: &server_key,
                })
                .unwrap();
                assert_eq!((keys.hash, keys.iterations), (hash, 10_000), "{times} {length}");
                assert_eq!((keys.salt, keys.stored_key), (b"\xffsalt".to_vec(), stored));
            }
        }
    }

    #[test]
    fn keys_of_plain_bytes_are_bounded() {
        let of = |named, rounds, salt: usize, stored: usize, server: usize| {
            raw(named, rounds, vec![1; salt], vec![2; stored], vec![3; server]).is_ok()
        };
        for length in [20, 32, 64] {
            assert!(of(None, 1, 1, length, length) && of(None, 10_000_000, 1_024, length, length));
        }
        let sha1 = Some(HashName::Sha1);
        assert!(of(sha1, 4096, 16, 20, 20) && !of(sha1, 4096, 16, 32, 32));
        for (rounds, salt, stored, server) in [
            (0, 16, 20, 20),
            (-1, 16, 20, 20),
            (10_000_001, 16, 20, 20),
            (4096, 0, 20, 20),
            (4096, 1_025, 20, 20),
            (4096, 16, 0, 0),
            (4096, 16, 19, 19),
            (4096, 16, 20, 32),
        ] {
            assert!(!of(None, rounds, salt, stored, server), "{rounds} {salt} {stored} {server}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = written(b"salt", &[200; 20], &[7; 20], 1);
        let [salt, stored_key, server_key] = good.each_ref().map(String::as_str);
        let whole =
            Written { mechanism: "SCRAM-SHA-1", iterations: "4096", salt, stored_key, server_key };
        assert!(scram(&whole).is_ok());
        let long = base64(&[1; 32]);
        for bad in [
            Written { iterations: "0", ..whole.clone() },
            Written { iterations: "4096.5", ..whole.clone() },
            Written { iterations: "99999999999", ..whole.clone() },
            Written { stored_key: "?", ..whole.clone() },
            Written { stored_key: "aGk=", ..whole.clone() },
            Written { server_key: &long, ..whole.clone() },
            Written { salt: "", ..whole.clone() },
            Written { mechanism: "DIGEST-MD5", ..whole.clone() },
        ] {
            assert!(scram(&bad).is_err(), "{bad:?}");
        }
    }
}
