//! What `stonechat web` takes.

use clap::Subcommand;
use std::path::PathBuf;

/// The verbs of `stonechat web`.
#[derive(Debug, Clone, Subcommand)]
pub enum WebVerb {
    /// Unpack Converse.js, a web client, which the server then gives browsers at /chat/
    #[command(after_help = CONVERSE_EXAMPLES)]
    GetConverse {
        /// The package as npm gives it
        #[arg(value_name = "FILE.tgz")]
        file: PathBuf,
    },
}

const CONVERSE_EXAMPLES: &str = "\
Examples:
  npm pack converse.js
  stonechat web get-converse converse.js-14.0.0.tgz";
