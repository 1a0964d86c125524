//! The operator's verbs over teams, and what can be wrong with them. The module of teams carries them out.

use crate::jid::BareJid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum TeamVerb {
    /// Makes a team without members.
    Add {
        /// Its name: the group in the rosters of its members.
        name: String,
    },
    /// Takes a team away.
    Remove {
        /// Its name.
        name: String,
    },
    /// Lists all teams.
    List,
    /// Lists the members of a team, and its rooms.
    Show {
        /// Its name.
        name: String,
    },
    /// Puts an account into a team, or gives a member another name there.
    Join {
        /// The team's name.
        name: String,
        /// The account's address.
        jid: String,
        /// How the others' rosters call it; none: by the part before the @, or as they do already.
        #[serde(default)]
        called: Option<String>,
    },
    /// Takes an account out of a team.
    Leave {
        /// The team's name.
        name: String,
        /// The account's address.
        jid: String,
    },
    /// Lists the rooms of a team.
    Rooms {
        /// The team's name.
        name: String,
    },
    /// Gives a room to a team: its members are the room's, and have it among their bookmarks.
    AddRoom {
        /// The team's name.
        name: String,
        /// The room's address.
        room: String,
    },
    /// Takes a room from a team, and from its members what it brought them.
    RemoveRoom {
        /// The team's name.
        name: String,
        /// The room's address.
        room: String,
    },
}

impl TeamVerb {
    /// Its name in [`super::VERBS`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "team.add",
            Self::Remove { .. } => "team.remove",
            Self::List => "team.list",
            Self::Show { .. } => "team.show",
            Self::Join { .. } => "team.join",
            Self::Leave { .. } => "team.leave",
            Self::Rooms { .. } => "team.rooms",
            Self::AddRoom { .. } => "team.room.add",
            Self::RemoveRoom { .. } => "team.room.remove",
        }
    }

    /// For the log: what it does, to which team, and whom or what room it is about; `None` if it changes nothing.
    pub fn changes(&self) -> Option<(&'static str, &str, Option<&str>)> {
        Some(match self {
            Self::Add { name } => ("made a team", name, None),
            Self::Remove { name } => ("removed a team", name, None),
            Self::Join { name, jid, .. } => ("put an account into a team", name, Some(jid)),
            Self::Leave { name, jid } => ("took an account out of a team", name, Some(jid)),
            Self::AddRoom { name, room } => ("gave a room to a team", name, Some(room)),
            Self::RemoveRoom { name, room } => ("took a room from a team", name, Some(room)),
            Self::List | Self::Show { .. } | Self::Rooms { .. } => return None,
        })
    }
}

/// Why a verb over teams failed; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TeamError {
    /// The text is no name.
    #[error("the name of {0} has 1 to {1} bytes and no line breaks; give the command again")]
    Name(&'static str, usize),
    /// The name is taken.
    #[error("there is a team {0} already; `stonechat team show` says who is in it")]
    Exists(String),
    /// No such team.
    #[error("there is no team {0}; `stonechat team list` shows all")]
    Unknown(String),
    /// The team has as many members as one may have.
    #[error("the team {0} has {1} members, and a team has no more; make another one")]
    Full(String, usize),
    /// The team has as many rooms as one may have.
    #[error("the team {0} has {1} rooms, and a team has no more; take one from it first")]
    FullOfRooms(String, usize),
    /// The room is not the team's.
    #[error("{0} is no room of the team {1}; `stonechat team room list` shows all")]
    NoRoom(String, String),
    /// The account is not in the team.
    #[error("{0} is not in the team {1}; `stonechat team show` says who is")]
    NoMember(BareJid, String),
}
