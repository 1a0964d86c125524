//! What `stonechat upload` takes.

use super::args_list::most;
use clap::{Args, Subcommand};

/// The verbs of `stonechat upload`.
#[derive(Debug, Clone, Subcommand)]
pub enum Upload {
    /// List what an account uploaded, the newest first; without an address: which accounts have the most, and all together
    List(List),
    /// Delete files, whosever they are; their links end at once
    Delete {
        /// The files' ids, as the list has them, or links to them
        #[arg(required = true)]
        file: Vec<String>,
    },
    /// Delete all that an account uploaded
    DeleteAll {
        /// The account's address, such as alice@example.org
        jid: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What is listed.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// The account's address, such as alice@example.org
    pub jid: Option<String>,
    /// Only files from before this time: 2026-01-31, or as the list says
    #[arg(long, value_name = "TIME", requires = "jid")]
    pub before: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = most)]
    pub max: usize,
}

pub const UPLOAD_EXAMPLES: &str = "\
Examples:
  stonechat upload list
  stonechat upload list alice@example.org --before 2026-01-31
  stonechat upload delete hFOpGE2gR4u6hE9a4vW3qA
  stonechat upload delete https://example.org/upload/hFOpGE2gR4u6hE9a4vW3qA/holiday.jpg
  stonechat upload delete-all alice@example.org

What is deleted cannot be fetched any more when the command is done, while the server runs or not. Its bytes go \
from the disk within a minute, or at the next start. It cannot be restored but from a backup.";
