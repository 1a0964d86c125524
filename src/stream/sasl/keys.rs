//! Derives the keys that are stored of a password (RFC 5802 §3).

use std::borrow::Cow;

use stringprep::tables;
use unicode_normalization::UnicodeNormalization;

use super::hash;
use crate::base::credential::{HashName, ScramKeys};
use crate::base::hash::hmac_sha256;
use crate::base::id::Rng;
use crate::base::limits::PASSWORD_BYTES_MAX;
use crate::jid::precis::{self, Class};

/// Prepares a password with SASLprep, which RFC 5802 §2.2 requires and clients do before they hash.
///
/// SASLprep knows only Unicode 3.2 (2002), which has no emoji. A password with later characters is mapped
/// in the same way, as RFC 3454 §7 describes for queries and most clients do. It must then be valid by
/// OpaqueString (RFC 8265 §4.2), which replaced SASLprep.
pub fn prepare(password: &str) -> Result<Cow<'_, str>, PasswordError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong);
    }
    let prepared = match stringprep::saslprep(password) {
        Ok(prepared) => prepared,
        Err(_) => modern(password).map(Cow::Owned).ok_or(PasswordError::Forbidden)?,
    };
    match prepared.len() {
        0 => Err(PasswordError::Empty),
        len if len > PASSWORD_BYTES_MAX => Err(PasswordError::TooLong),
        _ => Ok(prepared),
    }
}

/// Applies SASLprep's mapping (RFC 4013 §2.1, §2.2) to a password that SASLprep refuses only because of its
/// age.
fn modern(password: &str) -> Option<String> {
    password.contains(tables::unassigned_code_point).then_some(())?;
    let mapped = password.chars().filter(|c| !tables::commonly_mapped_to_nothing(*c));
    let spaced = mapped.map(|c| if tables::non_ascii_space_character(c) { ' ' } else { c });
    let prepared: String = spaced.nfkc().collect();
    precis::allows(Class::Freeform, &prepared).then_some(prepared)
}

/// Derives one set of keys. Costs `iterations` rounds of PBKDF2: not for a network thread.
pub fn derive(
    password: &str,
    hash: HashName,
    salt: &[u8],
    iterations: u32,
) -> Result<ScramKeys, PasswordError> {
    let password = prepare(password)?;
    let (stored_key, server_key) =
        hash::keys(hash, &password, salt, iterations).ok_or(PasswordError::Forbidden)?;
    Ok(ScramKeys { hash, salt: salt.to_vec(), iterations, stored_key, server_key })
}

/// Derives the keys of all hashes, each with its own salt, for a password that is being set.
pub fn derive_all(
    password: &str,
    iterations: u32,
    rng: &mut dyn Rng,
) -> Result<[ScramKeys; 3], PasswordError> {
    let mut one = |hash| {
        let mut salt = [0; SALT_BYTES];
        rng.fill(&mut salt);
        derive(password, hash, &salt, iterations)
    };
    let [a, b, c] = HashName::ALL;
    Ok([one(a)?, one(b)?, one(c)?])
}

/// Keys for an account that does not exist: the same at each attempt, as a real account's would be (RFC
/// 5802 §9: the two must not be distinguishable), and no password matches them.
pub(super) fn fake(
    localpart: &str,
    hash: HashName,
    iterations: u32,
    secret: &[u8; 32],
) -> ScramKeys {
    let bytes = |what: &str, len: usize| {
        let mut bytes = Vec::new();
        for block in 0_u8..2 {
            let parts = [what.as_bytes(), hash.as_str().as_bytes(), b"\0", localpart.as_bytes()];
            let mac = hmac_sha256(secret, &[&parts.concat(), &[0, block]]);
            bytes.extend_from_slice(&mac);
        }
        bytes.truncate(len);
        bytes
    };
    ScramKeys {
        hash,
        salt: bytes("salt\0", SALT_BYTES),
        iterations,
        stored_key: bytes("stored key\0", hash_bytes(hash)),
        server_key: bytes("server key\0", hash_bytes(hash)),
    }
}

/// Why a password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Empty, or empty after SASLprep.
    #[error("the password is empty")]
    Empty,
    /// Longer than [`PASSWORD_BYTES_MAX`].
    #[error("the password is too long")]
    TooLong,
    /// Control characters, mixed directions, or code points that Unicode does not assign.
    #[error("the password has characters that SASLprep (RFC 4013) does not allow")]
    Forbidden,
}

const fn hash_bytes(hash: HashName) -> usize {
    match hash {
        HashName::Sha1 => 20,
        HashName::Sha256 => 32,
        HashName::Sha512 => 64,
    }
}

/// Bytes of a salt: enough that no two are ever equal.
pub(super) const SALT_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::OsRng;

    #[test]
    fn passwords_are_prepared() {
        for (input, want) in [
            ("pencil", Ok("pencil")),
            (" two words ", Ok(" two words ")),
            // RFC 4013 §3, examples 1 to 7.
            ("I\u{ad}X", Ok("IX")),
            ("user", Ok("user")),
            ("USER", Ok("USER")),
            ("\u{aa}", Ok("a")),
            ("\u{2168}", Ok("IX")),
            ("\u{7}", Err(PasswordError::Forbidden)),
            ("\u{627}1", Err(PasswordError::Forbidden)),
            ("e\u{301}", Ok("\u{e9}")),
            ("", Err(PasswordError::Empty)),
            ("\u{ad}", Err(PasswordError::Empty)),
            // Not in Unicode 3.2: mapped in the same way, and checked by today's Unicode.
            ("\u{1f512}", Ok("\u{1f512}")),
            ("\u{1f9cb}\u{a0}\u{1f468}\u{1f3fd}", Ok("\u{1f9cb} \u{1f468}\u{1f3fd}")),
            ("\u{2764}\u{fe0f}\u{1f9e1}\u{200d}\u{1f9e1}", Ok("\u{2764}\u{1f9e1}\u{1f9e1}")),
            ("\u{1f130}\u{2168}", Ok("AIX")),
            ("\u{1f512}\u{7}", Err(PasswordError::Forbidden)),
            ("\u{1f512}\u{e000}", Err(PasswordError::Forbidden)),
            ("\u{1f512}\u{378}", Err(PasswordError::Forbidden)),
        ] {
            assert_eq!(prepare(input).as_deref(), want.as_ref().map(|s| *s), "{input:?}");
        }
        let long = "a".repeat(PASSWORD_BYTES_MAX);
        assert!(prepare(&long).is_ok());
        assert_eq!(prepare(&(long + "a")), Err(PasswordError::TooLong));
    }

    #[test]
    fn one_password_gives_all_keys() {
        let all = derive_all("pencil", 2, &mut OsRng).ok().unwrap();
        assert_eq!([all[0].hash, all[1].hash, all[2].hash], HashName::ALL);
        for keys in all {
            assert_eq!(keys.stored_key.len(), hash_bytes(keys.hash));
            assert_eq!(keys.server_key.len(), hash_bytes(keys.hash));
            assert!(derive("pencil", keys.hash, &keys.salt, 2).ok() == Some(keys));
        }
    }

    #[test]
    fn fake_keys_look_real_and_stay() {
        for hash in HashName::ALL {
            let keys = fake("nobody", hash, 4096, &[7; 32]);
            assert_eq!((keys.salt.len(), keys.stored_key.len()), (SALT_BYTES, hash_bytes(hash)));
            assert_eq!(keys.server_key.len(), hash_bytes(hash));
            assert!(keys == fake("nobody", hash, 4096, &[7; 32]));
            assert!(keys.salt != fake("nobody2", hash, 4096, &[7; 32]).salt);
            assert!(keys.salt != fake("nobody", hash, 4096, &[8; 32]).salt);
            assert!(keys.stored_key != keys.server_key);
        }
    }
}
