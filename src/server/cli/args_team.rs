//! What `stonechat team` takes.

use clap::{Args, Subcommand};

/// The verbs of `stonechat team`.
#[derive(Debug, Clone, Subcommand)]
pub enum Team {
    /// Make a team without members
    Add(TeamName),
    /// Take a team away: its members no longer see each other through it
    Remove(TeamName),
    /// List teams, with how many accounts are in each
    List,
    /// List the members of a team, with the names under which the others see them, and its rooms
    Show(TeamName),
    /// Put accounts into a team, or give a member another name there
    Join {
        /// The team
        team: String,
        /// The addresses, such as alice@example.org
        #[arg(required = true)]
        jid: Vec<String>,
        /// How the others' rosters call it [default: the part before the @]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Give rooms to a team, and take them from it
    #[command(subcommand)]
    Room(TeamRoom),
    /// Take accounts out of a team
    Leave {
        /// The team
        team: String,
        /// The addresses, such as alice@example.org
        #[arg(required = true)]
        jid: Vec<String>,
    },
}

/// A team to act on.
#[derive(Debug, Clone, Args)]
pub struct TeamName {
    /// The team, which is a group in the rosters of its members
    pub team: String,
}

/// The verbs of `stonechat team room`.
#[derive(Debug, Clone, Subcommand)]
pub enum TeamRoom {
    /// Give a room to a team: its members become members of the room, and get it as a bookmark
    Add {
        /// The team
        team: String,
        /// The room's address, or its name alone where there is one domain
        room: String,
    },
    /// Take a room from a team, and from its members what it brought them
    Remove {
        /// The team
        team: String,
        /// The room's address, or its name alone where there is one domain
        room: String,
    },
    /// List the rooms of a team
    List(TeamName),
}

pub const TEAM_EXAMPLES: &str = "\
Examples:
  stonechat team add Support
  stonechat team join Support alice@example.org bob@example.org
  stonechat team join Support carol@example.org --name 'Carol Smith'
  stonechat team show Support
  stonechat team leave Support bob@example.org
  stonechat team room add Support helpdesk@conference.example.org
  stonechat team remove Support

The members see each other as contacts in a group of the team's name, at once and without asking. They \
can give each other names of their own, but not remove each other. They are members of its rooms, and have \
them among their bookmarks, so that their clients enter them by themselves. Leaving a team takes away what it \
brought and nothing else.";
