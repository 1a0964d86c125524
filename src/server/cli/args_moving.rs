//! What `stonechat import` and `stonechat export` take.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What is taken in.
#[derive(Debug, Clone, Args)]
pub struct Import {
    /// The data, and of what kind it is: xep0227:FILE, prosody:DIR, ejabberd:FILE, openfire:FILE
    #[arg(long, value_name = "KIND:PATH")]
    pub from: String,
    /// Write nothing: say what would be new, and what could not be taken
    #[arg(long)]
    pub dry_run: bool,
    /// Give accounts that are there already the passwords of the data
    #[arg(long)]
    pub passwords: bool,
}

/// What is given out.
#[derive(Debug, Clone, Args)]
pub struct Export {
    /// Only this account
    #[arg(long, value_name = "ADDRESS", required_unless_present = "all", conflicts_with = "all")]
    pub user: Option<String>,
    /// All accounts and rooms
    #[arg(long)]
    pub all: bool,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Xep0227)]
    pub format: Format,
    /// The new file; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

/// How data is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// XEP-0227, which other servers read, and `stonechat import`; with the keys of passwords
    Xep0227,
    /// JSON, for people and their own programs; without keys
    Json,
}

pub const IMPORT_EXAMPLES: &str = "\
Examples:
  stonechat import --from xep0227:/srv/old/export.xml --dry-run
  stonechat import --from xep0227:/srv/old/export.xml
  stonechat import --from prosody:/var/lib/prosody
  stonechat import --from ejabberd:/tmp/ejabberd.dump

It can be given again: only what is new is added, and nothing that is there is changed. What could not be taken is \
named with the reason. If it ends early (a full disk, a file that is cut off), what was written stays, and the same \
command goes on from there.";

pub const EXPORT_EXAMPLES: &str = "\
Examples:
  stonechat export --all --to /var/backups/everything.xml
  stonechat export --user alice@example.org --format json --to alice.json

The file has everything as of one moment. Only the user who gives the command can read it: with keys of passwords in \
it, whoever has it can try to guess them.";
