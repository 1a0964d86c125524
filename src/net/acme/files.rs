//! The files in the folder: the key of the account, and the certificate with its key. Nobody else may read them.

use std::path::{Path, PathBuf};

use instant_acme::Key;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::failure::Failure;
use crate::net::local_ca::{make_private, write_private};
use crate::net::tls::facts::Facts;
use crate::net::tls::pair;

/// The file of the certificate, its chain and its key, in the data folder's folder for ACME.
pub fn certificate_file(folder: &Path) -> PathBuf {
    folder.join("certificate.pem")
}

/// Makes the folder.
pub(super) fn prepare(folder: &Path) -> Result<(), Failure> {
    make_private(folder)
        .map_err(|error| Failure::here(format!("{} cannot be made: {error}", folder.display())))
}

/// The account's key: the one that is there, or a new one, kept before anybody hears of it. So the account stays
/// the same, whatever happens on the way (RFC 8555 §7.3.1).
pub(super) fn account_key(
    folder: &Path,
) -> Result<(PrivatePkcs8KeyDer<'static>, PathBuf), Failure> {
    let file = folder.join("account.key");
    if !file.exists() {
        let made = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        let pem = made.map_err(|error| Failure::here(format!("no key can be made: {error}")))?;
        write_private(&file, pem.serialize_pem().as_bytes())
            .map_err(|error| Failure::here(error.to_string()))?;
    }
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::here(format!(
            "the key of the account, {}, cannot be used ({why}); put it back from a backup, or delete it to \
             have a new account made",
            file.display()
        ))
    };
    let bytes = pair::read(&file).map_err(|error| unusable(&error.problem))?;
    let key = match PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| unusable(&error))? {
        PrivateKeyDer::Pkcs8(key) => key,
        _ => return Err(unusable(&"it is not PKCS #8")),
    };
    Key::from_pkcs8_der(key.clone_key()).map_err(|error| unusable(&error))?;
    Ok((key, file))
}

/// Puts a certificate in the place of the one before, whole or not at all. The one before is kept with its key, too, in
/// case that somebody wants it back.
pub(super) fn keep(folder: &Path, key: &str, chain: &str) -> Result<(), Failure> {
    if kept(folder).is_some() {
        let former = folder.join("certificate.old.pem");
        let copied =
            pair::read(&certificate_file(folder)).and_then(|old| write_private(&former, &old));
        if let Err(error) = copied {
            tracing::warn!("the certificate before this one is not kept: {error}");
        }
    }
    let text = format!("{}\n{}", key.trim_end(), chain.trim_start());
    write_private(&certificate_file(folder), text.as_bytes())
        .map_err(|error| Failure::here(error.to_string()))
}

/// The certificate that is there and can be used, as far as that can be seen: what it says, and its DER.
pub(super) fn kept(folder: &Path) -> Option<(Facts, Vec<u8>)> {
    let file = certificate_file(folder);
    let pair = pair::load(&file, &file, &pair::provider()).ok()?;
    let leaf = pair.certified.cert.first()?.to_vec();
    Some((pair.facts, leaf))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_account_keeps_its_key_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let (first, file) = account_key(folder.path()).unwrap();
        let (again, _) = account_key(folder.path()).unwrap();
        assert_eq!(first.secret_pkcs8_der(), again.secret_pkcs8_der());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&file, "-----BEGIN").unwrap();
        let told = account_key(folder.path()).unwrap_err().to_string();
        assert!(told.contains("account.key") && told.contains("backup"), "{told}");
    }

    #[test]
    fn a_certificate_is_kept_with_its_key() {
        use crate::net::tls::testing::Authority;
        let folder = tempfile::tempdir().unwrap();
        assert!(kept(folder.path()).is_none());
        let (chain, key) = Authority::new().issue(&["a.example"]);
        keep(folder.path(), &key, &chain).unwrap();
        assert!(kept(folder.path()).unwrap().0.covers_host_name("a.example"));
        let mode = std::fs::metadata(certificate_file(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let before = std::fs::read(certificate_file(folder.path())).unwrap();
        let (chain, key) = Authority::new().issue(&["b.example"]);
        keep(folder.path(), &key, &chain).unwrap();
        assert!(kept(folder.path()).unwrap().0.covers_host_name("b.example"));
        let former = folder.path().join("certificate.old.pem");
        assert_eq!(std::fs::read(&former).unwrap(), before);
        let mode = std::fs::metadata(&former).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What is of no use takes the place of nothing.
        std::fs::write(certificate_file(folder.path()), "-----BEGIN").unwrap();
        keep(folder.path(), &key, &chain).unwrap();
        assert_eq!(std::fs::read(&former).unwrap(), before);
    }
}
