//! The settings of TLS, and what it reports about its certificates.

use std::path::PathBuf;
use std::time::SystemTime;

/// One hosted domain and where its certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCertificate {
    /// The domainpart that clients log in at.
    pub domain: String,
    /// Where its certificate comes from.
    pub source: Source,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// PEM files that are renewed by others, such as an ACME client.
    Files {
        /// The server's own certificate, then the intermediate ones.
        chain: PathBuf,
        /// The private key, unlocked; may be the same file.
        key: PathBuf,
    },
    /// Made and renewed by the local authority in `data_dir/tls`.
    Local,
    /// Kept by this server, which orders it from an authority; the local authority's until it is there.
    Kept {
        /// The key, the server's own certificate, then the intermediate ones.
        file: PathBuf,
    },
}

/// The oldest TLS version that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    /// TLS 1.2 (AEAD, ECDHE and extended master secret only) and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// The part of the config file that TLS needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The hosted domains; the first serves clients that name none.
    pub hosts: Vec<HostCertificate>,
    /// The folder that contains the local authority's folder `tls`.
    pub data_dir: PathBuf,
    /// The oldest TLS version that is accepted.
    pub min_version: MinVersion,
}

/// A problem that an operator should fix, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Whether clients refuse the certificate as it is.
    pub refused: bool,
    /// The problem; then, after a semicolon, what to do.
    pub text: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// One certificate in use, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInfo {
    /// The hosted domain.
    pub domain: String,
    /// The subject's distinguished name.
    pub subject: String,
    /// The names it is valid for, such as `DNS:example.org`.
    pub names: Vec<String>,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The last second of its validity.
    pub not_after: SystemTime,
    /// The file it was read from.
    pub chain_file: PathBuf,
    /// Whether the server's own authority signed it.
    pub is_own: bool,
    /// In the format of `openssl x509 -fingerprint -sha256`.
    pub fingerprint_sha256: String,
}
