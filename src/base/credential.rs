//! What an account stores instead of a password: SCRAM keys, one set per hash (RFC 5802 §3). Also the ids of
//! the client installations that use the account.

use super::hash::{hex, sha256};

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

/// StoredKey and ServerKey of RFC 5802 §3 with their parameters. Neither reveals the password, but ServerKey
/// lets its holder pose as the server, so there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The hash function of all four values.
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

/// A client's installation: the id of XEP-0388's `<user-agent/>`, hashed. So all ids have the same length,
/// and the id itself, which must not be revealed to others (§2.3), is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentId([u8; 16]);

impl AgentId {
    /// Hashes the `id` attribute: a UUID, compared without regard to case (RFC 4122 §3).
    pub fn of(id: &str) -> Self {
        let digest = sha256(id.to_ascii_lowercase().as_bytes());
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    /// The stored form.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the stored form.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A readable name, unique among the devices of an account.
    pub fn name(&self) -> String {
        hex(self.0.first_chunk::<NAME_BYTES>().unwrap_or(&[0; NAME_BYTES]))
    }
}

/// Length of [`AgentId::name`]: enough that no two devices of an account share one.
const NAME_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_the_same_in_either_case_and_has_a_short_name() {
        let agent = AgentId::of("d4565fa7-4d72-4749-b3d3-740edbf87770");
        assert_eq!(agent, AgentId::of("D4565FA7-4D72-4749-B3D3-740EDBF87770"));
        assert_ne!(agent, AgentId::of("d4565fa7-4d72-4749-b3d3-740edbf87771"));
        assert_eq!(agent, AgentId::from_bytes(*agent.bytes()));
        assert_eq!(agent.name().len(), 12);
        assert!(!"d4565fa74d724749b3d3740edbf87770".contains(&agent.name()));
    }
}
