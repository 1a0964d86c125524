//! The authorities by which other servers are believed: the system's, and files that the operator names.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::error::TlsError;
use super::pair;

/// Whom to believe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerTrust {
    /// PEM files with certificates of authorities, or of single servers.
    pub files: Vec<PathBuf>,
    /// Whether the authorities of the system count, too.
    pub system: bool,
}

/// What certificates are held against.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    /// Those of the operator's files as they are: such a certificate is believed itself.
    pub(super) named: Vec<CertificateDer<'static>>,
}

/// The roots in use. The system's, a few hundred, are read when the first certificate is looked at.
pub(super) struct Trusted {
    trust: PeerTrust,
    named: Mutex<Vec<CertificateDer<'static>>>,
    roots: Mutex<Option<Arc<Roots>>>,
}

impl Trusted {
    /// Reads the operator's files; one that cannot be used is the error.
    pub(super) fn load(trust: PeerTrust) -> Result<Self, TlsError> {
        let named = Mutex::new(named(&trust)?);
        Ok(Self { trust, named, roots: Mutex::default() })
    }

    /// Reads all again. Files that cannot be used any more are told of, and the roots stay as they are.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let fresh = named(&self.trust)?;
        *self.named.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        let roots = Arc::new(self.read());
        *self.roots.lock().unwrap_or_else(PoisonError::into_inner) = Some(roots);
        Ok(())
    }

    pub(super) fn roots(&self) -> Arc<Roots> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        roots.get_or_insert_with(|| Arc::new(self.read())).clone()
    }

    fn read(&self) -> Roots {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut store = RootCertStore::empty();
        // A certificate that is no authority's is no anchor either; it is believed itself.
        store.add_parsable_certificates(named.iter().cloned());
        if self.trust.system {
            let found = rustls_native_certs::load_native_certs();
            if let Some(error) = found.errors.first() {
                tracing::warn!(%error, "not all authorities of the system can be read");
            }
            let (added, _) = store.add_parsable_certificates(found.certs);
            if added == 0 {
                tracing::warn!(
                    "the system names no authorities (ca-certificates is not installed?): certificates of other \
                     servers are believed by the files of s2s.trust alone"
                );
            }
        }
        store.roots.shrink_to_fit();
        Roots { store, named }
    }
}

fn named(trust: &PeerTrust) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut all = Vec::new();
    for file in &trust.files {
        all.extend(pair::chain(&pair::read(file)?).map_err(|problem| problem.at(file))?);
    }
    Ok(all)
}
