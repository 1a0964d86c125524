//! The operator's verbs over certificates are done by the running server.

use super::Doing;
use super::accounts::AdminError;
use super::cert_verbs::{CertError, CertVerb};

/// What an operator asks of the running server's certificates.
pub trait Keeping: Send + Sync {
    /// Carries out a verb; returns lines for people.
    fn run<'a>(&'a self, verb: &'a CertVerb) -> Doing<'a, Vec<String>>;

    /// How ordering stands, in lines for people; none if nothing is ordered.
    fn status(&self) -> Vec<String>;
}

/// Carries out one.
pub(super) async fn run(
    certificates: Option<&dyn Keeping>,
    verb: CertVerb,
) -> Result<Vec<String>, AdminError> {
    certificates.ok_or(CertError::NotRunning)?.run(&verb).await
}
