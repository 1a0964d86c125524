//! The hash layer of SCRAM: the `ScramProvider` trait of the `sasl` crate, with our own SHA-512.
//!
//! The crate's own server `Scram` is not used: it refuses clients without channel binding, does
//! not know tls-exporter, stores SaltedPassword and compares in variable time. Its traits and
//! primitives are sound, and its client, written by others, tests what we build on them.

use hmac::digest::InvalidLength;
use hmac::{Hmac, Mac};
use sasl::common::Password;
use sasl::common::scram::{DeriveError, ScramProvider, Sha1, Sha256};
use sha2::Digest;

use crate::base::credential::HashName;

/// SHA-512 for `SCRAM-SHA-512`, which the crate lacks.
pub(super) struct Sha512;

/// The crate requires a type for stored secrets; ours are `ScramKeys`.
pub(super) struct NoSecret;

impl sasl::secret::Secret for NoSecret {}

impl ScramProvider for Sha512 {
    type Secret = NoSecret;

    fn name() -> &'static str {
        HashName::Sha512.as_str()
    }

    fn hash(data: &[u8]) -> Vec<u8> {
        sha2::Sha512::digest(data).to_vec()
    }

    fn hmac(data: &[u8], key: &[u8]) -> Result<Vec<u8>, InvalidLength> {
        let mut mac = Hmac::<sha2::Sha512>::new_from_slice(key)?;
        mac.update(data);
        Ok(mac.finalize().into_bytes().to_vec())
    }

    fn derive(password: &Password, salt: &[u8], iterations: u32) -> Result<Vec<u8>, DeriveError> {
        let Password::Plain(plain) = password else {
            return Err(DeriveError::IncorrectSalt);
        };
        let mut salted = vec![0; 64];
        pbkdf2::pbkdf2::<Hmac<sha2::Sha512>>(plain.as_bytes(), salt, iterations, &mut salted)?;
        Ok(salted)
    }
}

/// StoredKey and ServerKey from a prepared password (RFC 5802 §3). `None` never happens: HMAC
/// takes keys of any length.
pub(super) fn keys(
    hash: HashName,
    password: &str,
    salt: &[u8],
    iterations: u32,
) -> Option<(Vec<u8>, Vec<u8>)> {
    match hash {
        HashName::Sha1 => keys_with::<Sha1>(password, salt, iterations),
        HashName::Sha256 => keys_with::<Sha256>(password, salt, iterations),
        HashName::Sha512 => keys_with::<Sha512>(password, salt, iterations),
    }
}

/// StoredKey and ServerKey from SaltedPassword.
pub(super) fn keys_of_salted(hash: HashName, salted: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    match hash {
        HashName::Sha1 => salted_with::<Sha1>(salted),
        HashName::Sha256 => salted_with::<Sha256>(salted),
        HashName::Sha512 => salted_with::<Sha512>(salted),
    }
}

/// `H(data)`.
pub(super) fn digest(hash: HashName, data: &[u8]) -> Vec<u8> {
    match hash {
        HashName::Sha1 => Sha1::hash(data),
        HashName::Sha256 => Sha256::hash(data),
        HashName::Sha512 => Sha512::hash(data),
    }
}

fn keys_with<S: ScramProvider>(
    password: &str,
    salt: &[u8],
    iterations: u32,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let salted = S::derive(&Password::Plain(password.to_owned()), salt, iterations).ok()?;
    salted_with::<S>(&salted)
}

fn salted_with<S: ScramProvider>(salted: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let client_key = S::hmac(b"Client Key", salted).ok()?;
    let server_key = S::hmac(b"Server Key", salted).ok()?;
    Some((S::hash(&client_key), server_key))
}
