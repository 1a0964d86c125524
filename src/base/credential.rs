//! What an account keeps instead of a password: SCRAM keys, one set per hash (RFC 5802 §3).

/// The hash functions of the SCRAM family that Stonechat stores keys for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashName {
    /// SCRAM-SHA-1 (RFC 5802)
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677)
    Sha256,
    /// SCRAM-SHA-512 (draft-melnikov-scram-sha-512)
    Sha512,
}

impl HashName {
    /// All of them, weakest first.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// The name as IANA's SASL registry spells it, after `SCRAM-`; also the key in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.as_str() == name)
    }
}

/// StoredKey and ServerKey of RFC 5802 §3 with what made them. Neither reveals the password, but
/// ServerKey lets its holder pose as the server, so there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The hash that all four belong to.
    pub hash: HashName,
    /// PBKDF2 salt.
    pub salt: Vec<u8>,
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// `H(ClientKey)`
    pub stored_key: Vec<u8>,
    /// `HMAC(SaltedPassword, "Server Key")`
    pub server_key: Vec<u8>,
}
