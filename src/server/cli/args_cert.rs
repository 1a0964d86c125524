//! What `stonechat cert` takes.

use clap::Subcommand;

/// The verbs of `stonechat cert`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Cert {
    /// List the certificates in use: domain, until when, days left, who signed it, for which names, the file; and how
    /// ordering stands
    List,
    /// Order a new certificate if one is due, and wait for it; after failures, without waiting for its turn
    Renew {
        /// Although none is due: authorities bound how often that may be
        #[arg(long)]
        now: bool,
    },
}

pub const CERT_EXAMPLES: &str = "\
Examples:
  stonechat cert list
  stonechat cert renew
  stonechat cert renew --now

Certificates are ordered if acme.agree is true in the configuration. They are renewed by themselves; what is in use \
stays in use until there is a better one. Files that others renew are read again by themselves, too, within seconds.";
