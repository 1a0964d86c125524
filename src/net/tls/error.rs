//! Faults of certificate and key files, worded so that the operator can fix them.

use std::path::{Path, PathBuf};

/// One file and what is wrong with it; `Display` gives one line for people, including what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct TlsError {
    /// The file that was read or written.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: TlsProblem,
}

/// The reasons for which a certificate or key is refused.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The settings name no host.
    #[error("no host has a certificate; name at least one domain")]
    NoHosts,
    /// The file is not there.
    #[error("there is no such file; correct the path in the config file, or put the file there")]
    Missing,
    /// The operating system does not let us read the file.
    #[error("cannot be read ({0}); let the account that runs the server read it")]
    Unreadable(std::io::Error),
    /// The operating system does not let us write the file or make its folder.
    #[error("cannot be written ({0}); let the account that runs the server write there")]
    Unwritable(std::io::Error),
    /// The file is larger than any real chain.
    #[error(
        "is larger than {FILE_BYTES_MAX} bytes and so is no certificate or key; correct the path"
    )]
    TooLarge,
    /// The file is not PEM text.
    #[error(
        "is not a PEM file ({0}); it must hold text that begins with -----BEGIN; a DER file becomes \
         one by `openssl x509 -inform der` (a key: `openssl pkey -inform der`)"
    )]
    NotPem(String),
    /// PEM, but no CERTIFICATE section.
    #[error("holds no certificate; it must hold the server's certificate first, then the chain")]
    NoCertificate,
    /// PEM, but no private key section.
    #[error("holds no private key; it must hold the key that the certificate was made for")]
    NoKey,
    /// The key needs a passphrase.
    #[error("holds a key locked with a passphrase; unlock it with `openssl pkey -in old -out new`")]
    EncryptedKey,
    /// The certificate cannot be parsed or is of a kind that TLS does not accept.
    #[error("holds a certificate that cannot be used ({0}); ask its issuer for a new one")]
    BadCertificate(String),
    /// The key cannot be parsed or is of a kind that TLS does not accept.
    #[error(
        "holds a key that cannot be used ({0}); make a new one, ECDSA P-256 or RSA 2048 or more"
    )]
    BadKey(String),
    /// Both are fine, but do not belong together.
    #[error(
        "this key does not belong to the certificate in {}; put the two of one order together, \
         and the server's own certificate first in its file", .0.display()
    )]
    Mismatch(PathBuf),
    /// The domain cannot be written as a name in a certificate.
    #[error("{0:?} is no name that a certificate can carry; correct the domain")]
    BadDomain(String),
    /// The local authority's two files are not a usable pair.
    #[error(
        "the local authority is broken ({0}); put ca.pem and ca.key back from a backup, or delete \
         both to make a new one that every device must then trust again"
    )]
    BrokenCa(String),
    /// rustls or rcgen refused for a reason of its own.
    #[error("TLS cannot be set up with it ({0})")]
    Setup(String),
}

impl TlsProblem {
    /// The problem with the file that has it.
    pub(crate) fn at(self, file: &Path) -> TlsError {
        TlsError { file: file.to_owned(), problem: self }
    }

    /// A failed read: a missing file and an unreadable one need different advice.
    pub(crate) fn reading(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error),
        }
    }
}

/// A chain of ten RSA certificates has about 20 KiB.
pub(crate) const FILE_BYTES_MAX: u64 = 1_048_576;
