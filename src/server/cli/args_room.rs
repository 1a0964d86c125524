//! What `stonechat room` takes.

use super::args_list::most;
use clap::{Args, Subcommand};

/// The verbs of `stonechat room`.
#[derive(Debug, Clone, Subcommand)]
pub enum Room {
    /// List rooms, with how many are in each now
    List {
        /// Only those with this in the address, the name or the description
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only those behind this address
        #[arg(long, value_name = "ROOM")]
        after: Option<String>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = most)]
        max: usize,
    },
    /// Show how a room is configured, who is in it, and who is what to it
    Show(RoomName),
    /// Make a room that stays though nobody be in it
    Create {
        /// The room's address, or its name alone where there is one domain
        room: String,
        /// The account that owns it, such as alice@example.org
        #[arg(long, value_name = "ADDRESS")]
        owner: String,
        /// public (anybody may enter) or private (members only, fit for OMEMO) [default: modules.muc.preset]
        #[arg(long, value_name = "KIND")]
        preset: Option<String>,
        /// Its name for people
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Destroy a room with its archive; those who are in it are told
    Destroy {
        /// The room's address, or its name alone where there is one domain
        room: String,
        /// Why, for those who are in it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Another room, where they may go
        #[arg(long, value_name = "ROOM")]
        venue: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Make somebody something to a room
    Affiliation {
        /// The room's address, or its name alone where there is one domain
        room: String,
        /// The address of whom it is about, such as bob@example.org
        jid: String,
        /// owner, admin, member, outcast (banned) or none
        affiliation: String,
        /// Why, for those who are in the room
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Delete what was said in a room up to now
    Purge {
        /// The room's address, or its name alone where there is one domain
        room: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// A room to look at.
#[derive(Debug, Clone, Args)]
pub struct RoomName {
    /// The room's address, or its name alone where there is one domain
    pub room: String,
}

pub const ROOM_EXAMPLES: &str = "\
Examples:
  stonechat room list --search help
  stonechat room create helpdesk --owner alice@example.org --preset private --name 'Help desk'
  stonechat room show helpdesk@conference.example.org
  stonechat room affiliation helpdesk bob@example.org admin
  stonechat room purge helpdesk
  stonechat room destroy helpdesk --reason 'We have moved' --venue support

A room is written with its address, or with what stands before the @ where the server has one domain. Rooms \
are listed and shown while the server runs or not; what changes them needs a running server, so that those \
who are in them see it.";
