//! Makes a certified key and the TLS configuration around it from two PEM files.

use super::MinVersion;
use super::error::{FILE_BYTES_MAX, TlsError, TlsProblem};
use super::facts::Facts;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    InconsistentKeys, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version,
};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// A chain with its key, proved to belong together, and the facts of the first certificate.
pub(crate) struct Pair {
    pub(crate) certified: CertifiedKey,
    pub(crate) facts: Facts,
}

/// Reads both files, which may be the same one, and proves that they match. An expired certificate
/// loads.
pub(crate) fn load(
    chain_file: &Path,
    key_file: &Path,
    provider: &CryptoProvider,
) -> Result<Pair, TlsError> {
    let chain = chain(&read(chain_file)?).map_err(|problem| problem.at(chain_file))?;
    let first = chain.first().ok_or_else(|| TlsProblem::NoCertificate.at(chain_file))?;
    let facts = Facts::read(first).map_err(|why| TlsProblem::BadCertificate(why).at(chain_file))?;
    let key = key(&read(key_file)?).map_err(|problem| problem.at(key_file))?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| TlsProblem::BadKey(error.to_string()).at(key_file))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Unknown: the key type does not reveal its public half; a mismatch shows in the handshake.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(TlsProblem::Mismatch(chain_file.to_owned()).at(key_file));
        }
        Err(error) => return Err(TlsProblem::BadCertificate(error.to_string()).at(chain_file)),
    }
    Ok(Pair { certified, facts })
}

/// The suites of RFC 9325 §4.2 and RFC 8446 §9.1, AES-128 with SHA-256 before AES-256 with SHA-384: no
/// attack comes near either, and processors have instructions for SHA-256, which accounts for most of a
/// handshake's key schedule.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let slow = |suite: &SupportedCipherSuite| {
        !suite.suite().as_str().is_some_and(|name| name.contains("AES_128"))
    };
    provider.cipher_suites.sort_by_key(slow);
    provider
}

/// The whole configuration for one certificate. Each has its own ticket key and accepts no ticket of an
/// earlier one, so a resumed TLS session always belongs to the certificate whose hash is its
/// `tls-server-end-point`.
pub(crate) fn server_config(
    certified: impl Into<SingleCertAndKey>,
    min_version: MinVersion,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(min_version))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certified.into()));
    config.ignore_client_order = true;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    // Early data can be replayed, and here the first data from a client are credentials.
    config.max_early_data_size = 0;
    // RFC 9266 §4.2: without it the exporter of TLS 1.2 is not unique. RFC 9325 §3.5 asks for it too.
    config.require_ems = true;
    // RFC 7301 §3.2: a client that sends ALPN without this name gets no_application_protocol;
    // one that sends no ALPN is served (XEP-0368 §3 makes it optional).
    config.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    Ok(config)
}

/// The versions of TLS, the newest first.
pub(crate) fn versions(min_version: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min_version {
        MinVersion::Tls12 => BOTH,
        MinVersion::Tls13 => NEW,
    }
}

static BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
static NEW: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// Reads a PEM file as text without byte order marks: some editors put one at the beginning, and joined
/// files have them in between.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| TlsProblem::reading(error).at(file))?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(TlsProblem::TooLarge.at(file)),
        false if bytes.starts_with(&UTF16_LE) || bytes.starts_with(&UTF16_BE) => {
            Err(TlsProblem::NotPem("it is UTF-16, not UTF-8".to_owned()).at(file))
        }
        false => Ok(without_marks(bytes)),
    }
}

fn without_marks(bytes: Vec<u8>) -> Vec<u8> {
    let mut marks = memchr::memmem::find_iter(&bytes, MARK).peekable();
    if marks.peek().is_none() {
        return bytes;
    }
    let mut text = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for at in marks {
        text.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        from = at + MARK.len();
    }
    text.extend_from_slice(bytes.get(from..).unwrap_or_default());
    text
}

/// The certificates of a PEM text, at least one.
pub(crate) fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(not_pem)?;
    match chain.is_empty() {
        false => Ok(chain),
        true if has(text, "-----BEGIN") => Err(TlsProblem::NoCertificate),
        true => Err(TlsProblem::NotPem("no -----BEGIN line".to_owned())),
    }
}

fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsProblem> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) if !has(text, "Proc-Type: 4,ENCRYPTED") => Ok(key),
        _ if has(text, "ENCRYPTED") => Err(TlsProblem::EncryptedKey),
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if has(text, "-----BEGIN") => Err(TlsProblem::NoKey),
        Err(pem::Error::NoItemsFound) => Err(TlsProblem::NotPem("no -----BEGIN line".to_owned())),
        Err(error) => Err(not_pem(error)),
    }
}

/// Names the broken rule but never quotes the file, which may contain a key.
fn not_pem(error: pem::Error) -> TlsProblem {
    TlsProblem::NotPem(match error {
        pem::Error::MissingSectionEnd { .. } => "the -----END line is missing".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line is damaged".to_owned(),
        pem::Error::Base64Decode(_) => "its base64 is damaged".to_owned(),
        _ => "it cannot be parsed".to_owned(),
    })
}

fn has(text: &[u8], needle: &str) -> bool {
    memchr::memmem::find(text, needle.as_bytes()).is_some()
}

const MARK: &[u8] = b"\xef\xbb\xbf";
const UTF16_LE: [u8; 2] = [0xff, 0xfe];
const UTF16_BE: [u8; 2] = [0xfe, 0xff];

/// Registered by XEP-0368 §7.
pub(crate) const ALPN_CLIENT: &[u8] = b"xmpp-client";

/// Number of tickets per handshake. Two would let a client resume twice at once, which no XMPP client
/// does.
const TICKETS: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::testing::{Authority, keys_of};

    /// Loads `chain` and `key` from files and returns the error that an operator would read.
    fn refusal(chain: &str, key: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let (chain_file, key_file) = (folder.path().join("chain"), folder.path().join("key"));
        std::fs::write(&chain_file, chain).unwrap();
        std::fs::write(&key_file, key).unwrap();
        match load(&chain_file, &key_file, &aws_lc_rs::default_provider()) {
            Ok(_) => "fine".to_owned(),
            Err(error) => {
                let name = error.file.file_name().unwrap().to_str().unwrap().to_owned();
                assert!(error.to_string().contains(&name), "{error}");
                assert!(!error.to_string().contains("MIG"), "no key material: {error}");
                format!("{name}: {}", error.problem)
            }
        }
    }

    #[test]
    fn each_kind_of_broken_file_is_named() {
        let authority = Authority::new();
        let (chain, key) = authority.issue(&["a.example"]);
        let (_, other) = authority.issue(&["a.example"]);
        let cut = &key[..key.len() / 2];
        let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let old_locked =
            key.replace("PRIVATE KEY-----\nM", "PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nM");
        let rubbish = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        let bad_key = "-----BEGIN PRIVATE KEY-----\nMAMCAQE=\n-----END PRIVATE KEY-----\n";
        let both = format!("{key}{chain}");
        let (issuer, _) = authority.issue(&["b.example"]);
        let marked = |text: &str| format!("\u{feff}{text}");
        let full = format!("{}{}", marked(&chain), marked(&issuer));
        let twice = format!("{}{}", marked(&key), marked(&chain));
        let big = " ".repeat(FILE_BYTES_MAX as usize + 1);
        let cases: &[(&str, &str, &str)] = &[
            (&chain, &key, "fine"),
            (&both, &both, "fine"),
            (&marked(&chain), &marked(&key), "fine"),
            (&full, &key, "fine"),
            (&twice, &twice, "fine"),
            (&chain, &other, "key: this key does not belong"),
            ("", &key, "chain: is not a PEM file"),
            ("0\u{1}", &key, "chain: is not a PEM file"),
            (&key, &key, "chain: holds no certificate"),
            (&chain[..200], &key, "chain: is not a PEM file (the -----END"),
            (rubbish, &key, "chain: holds a certificate that cannot be used"),
            (&big, &key, "chain: is larger than"),
            (&chain, "", "key: is not a PEM file"),
            (&chain, &chain, "key: holds no private key"),
            (&chain, cut, "key: is not a PEM file"),
            (&chain, bad_key, "key: holds a key that cannot be used"),
            (&chain, &locked, "key: holds a key locked"),
            (&chain, &old_locked, "key: holds a key locked"),
        ];
        for (chain, key, expected) in cases {
            let text = refusal(chain, key);
            assert!(text.starts_with(expected), "{expected:?} but {text:?}");
        }
    }

    #[test]
    fn a_missing_and_an_unreadable_file_ask_for_different_help() {
        let folder = tempfile::tempdir().unwrap();
        let provider = aws_lc_rs::default_provider();
        let problem = |file: &Path| load(file, file, &provider).err().unwrap().problem;
        assert!(matches!(problem(&folder.path().join("none")), TlsProblem::Missing));
        assert!(matches!(problem(folder.path()), TlsProblem::Unreadable(_)));
    }

    /// RFC 9325 §4.1 and §4.2: AEAD and forward secrecy only.
    #[test]
    fn the_configuration_is_strict() {
        let (chain, key) = Authority::new().issue(&["a.example"]);
        let certified = keys_of(&chain, &key);
        let provider = Arc::new(provider());
        let config = server_config(certified, MinVersion::Tls12, provider).unwrap();
        for suite in &config.crypto_provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            assert!(name.contains("GCM") || name.contains("CHACHA20"), "{name}");
            assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name}");
        }
        assert!(config.require_ems);
        assert!(config.ticketer.enabled());
        assert_eq!((config.max_early_data_size, config.send_tls13_tickets), (0, 1));
    }
}
