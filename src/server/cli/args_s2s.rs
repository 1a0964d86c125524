//! What `stonechat s2s` takes.

use clap::{Args, Subcommand};

/// The verbs of `stonechat s2s`.
#[derive(Debug, Clone, Subcommand)]
pub enum S2s {
    /// List the streams with other servers and what waits for each: who opened it (in: they), our domain, theirs, the address,
    /// TLS, how they are known, what both agreed on, age, what waits
    List,
    /// Say what failed lately with a domain, what waits for it, when it is tried again, and what to do
    Why(PeerDomain),
    /// Try to reach a domain and say each step with its time: DNS, addresses, TLS, certificate, authentication, a ping
    Test {
        /// The other server's domain, such as example.org
        domain: String,
        /// Our domain that wants to talk to it [default: the first]
        #[arg(long, value_name = "OURDOMAIN")]
        from: Option<String>,
    },
    /// Try a domain at once for which something waits
    Retry(PeerDomain),
    /// Give up what waits for a domain: the senders get errors
    Drop {
        /// The other server's domain, such as example.org
        domain: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let a domain in, although s2s.allow in the configuration does not name it
    Allow(PeerDomain),
    /// Keep a domain out: its streams end, and what waits for it is given up; `*` keeps all out that no rule names
    Deny(PeerDomain),
    /// Take back what allow or deny said of a domain
    Forget(PeerDomain),
    /// List what allow and deny said, and the lists of the configuration
    Rules,
}

/// A domain to act on.
#[derive(Debug, Clone, Args)]
pub struct PeerDomain {
    /// The other server's domain, such as example.org
    pub domain: String,
}

pub const S2S_EXAMPLES: &str = "\
Examples:
  stonechat s2s list
  stonechat s2s why example.org
  stonechat s2s test example.org
  stonechat s2s retry example.org
  stonechat s2s deny spam.example
  stonechat s2s deny '*'                 talk to nobody but whom a rule or s2s.allow names
  stonechat s2s rules

Rules count at once and are kept; they are for the domain that they name and none below it. What s2s.deny in the \
configuration keeps out no rule lets in.";
