//! What `stonechat token`, `audit`, `config`, `log` and `api` take.

use super::args_list::most;
use crate::admin::Rank;
use clap::{Args, Subcommand};

/// The verbs of `stonechat token`.
#[derive(Debug, Clone, Subcommand)]
pub enum Token {
    /// Make a token; it is shown this once
    Add {
        /// What it is called here and in the audit log, such as `backup-job`
        name: String,
        /// reader: looks; inviter: makes invitations; operator: all but what is for owners; owner: all
        #[arg(long, value_parser = rank)]
        role: Rank,
        /// For how many days it is good
        #[arg(long, value_name = "N", default_value_t = 90)]
        days: u32,
    },
    /// List the tokens, without what would let somebody use them
    List,
    /// Take a token back: it opens nothing any more
    Revoke {
        /// What it is called
        name: String,
    },
}

/// What `stonechat audit` takes.
#[derive(Debug, Clone, Args)]
pub struct Audit {
    /// Only lines with this in who did it, in the verb, or in whom it was about
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Only lines from before the one of this number
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<i64>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = most)]
    pub max: usize,
}

/// The verbs of `stonechat config`.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigVerb {
    /// Show all keys with their values, those of the running server if one runs; secrets are hidden
    Show {
        /// Only this section or key, such as `web` or `modules.mam`
        section: Option<String>,
    },
}

/// What `stonechat log` takes.
#[derive(Debug, Clone, Args)]
pub struct Log {
    /// Only lines with this in them
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// How many at most; the server keeps 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = most)]
    pub max: usize,
}

/// The verbs of `stonechat api`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ApiVerb {
    /// Print the OpenAPI 3.1 document of the JSON API
    Describe,
}

fn rank(text: &str) -> Result<Rank, String> {
    Rank::parse(text).ok_or_else(|| "write reader, inviter, operator or owner".to_owned())
}

pub const TOKEN_EXAMPLES: &str = "\
Examples:
  stonechat token add monitoring --role reader --days 365
  stonechat token add welcome-desk --role inviter
  stonechat token list
  stonechat token revoke monitoring
  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:5445/api/v1/status

Whoever has a token has its rights until it expires or is revoked: keep it as you keep a password.";

pub const AUDIT_EXAMPLES: &str = "\
Examples:
  stonechat audit
  stonechat audit --search alice@example.org
  stonechat audit --search 'token monitoring' --json

What only looks is not written down, but what is refused is. Lines go after admin.audit_days.";
