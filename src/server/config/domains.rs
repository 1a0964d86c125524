//! Domains as an operator writes them.

use std::borrow::Cow;

use crate::jid::prep::domainpart;

/// A configured domain in normal form; streams and addresses are compared with that.
pub(super) fn prepared_domain(domain: &str) -> Result<String, String> {
    domainpart(domain).map(Cow::into_owned).map_err(|error| error.to_string())
}
