//! The operator's verbs over certificates are done by the running server.

use super::accounts::AdminError;
use super::cert_verbs::{CertError, CertVerb};
use super::told::CertOrders;
use super::{Doing, Outcome};

/// What an operator asks of the running server's certificates.
pub trait Keeping: Send + Sync {
    /// Carries out a verb.
    fn run<'a>(&'a self, verb: &'a CertVerb) -> Doing<'a, Outcome>;

    /// How ordering stands; none if nothing is ordered.
    fn status(&self) -> Option<CertOrders>;
}

/// Carries out one.
pub(super) async fn run(
    certificates: Option<&dyn Keeping>,
    verb: CertVerb,
) -> Result<Outcome, AdminError> {
    certificates.ok_or(CertError::NotRunning)?.run(&verb).await
}
