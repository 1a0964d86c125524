//! The operator's verbs over rooms (XEP-0045), and what can be wrong with them. The module of rooms carries them out.

use crate::stanza::StanzaError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum RoomVerb {
    /// Lists rooms.
    List(RoomQuery),
    /// Shows a room, who is in it, and who is what to it.
    Show {
        /// Its address, or its name alone where there is one domain.
        room: String,
    },
    /// Makes a room.
    Create {
        /// Its address.
        room: String,
        /// Who owns it.
        owner: String,
        /// How it is configured; none: as instant rooms are.
        #[serde(default)]
        preset: Option<String>,
        /// Its name for people.
        #[serde(default)]
        name: Option<String>,
    },
    /// Destroys a room (§10.9).
    Destroy {
        /// Its address.
        room: String,
        /// What its occupants are told.
        #[serde(default)]
        reason: Option<String>,
        /// Where they may go.
        #[serde(default)]
        venue: Option<String>,
    },
    /// Makes somebody something to a room (§5.2).
    Affiliation {
        /// Its address.
        room: String,
        /// Whom.
        jid: String,
        /// owner, admin, member, outcast or none
        affiliation: String,
        /// Why.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Deletes what was said in a room.
    Purge {
        /// Its address.
        room: String,
    },
}

impl RoomVerb {
    /// Its name in [`super::VERBS`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::List(_) => "room.list",
            Self::Show { .. } => "room.show",
            Self::Create { .. } => "room.create",
            Self::Destroy { .. } => "room.destroy",
            Self::Affiliation { .. } => "room.affiliation",
            Self::Purge { .. } => "room.purge",
        }
    }

    /// For the log: what it does; `None` if it changes nothing.
    pub const fn changes(&self) -> Option<&'static str> {
        Some(match self {
            Self::Create { .. } => "made a room",
            Self::Destroy { .. } => "destroyed a room",
            Self::Affiliation { .. } => "changed an affiliation in a room",
            Self::Purge { .. } => "deleted the archive of a room",
            Self::List(_) | Self::Show { .. } => return None,
        })
    }

    /// The room that it is about, as it was written.
    pub fn about(&self) -> Option<&str> {
        match self {
            Self::List(_) => None,
            Self::Show { room }
            | Self::Create { room, .. }
            | Self::Destroy { room, .. }
            | Self::Affiliation { room, .. }
            | Self::Purge { room } => Some(room),
        }
    }
}

/// Which rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoomQuery {
    /// Words that stand in the address, the name or the description, in any case.
    pub search: Option<String>,
    /// Only those behind this address.
    pub after: Option<String>,
    /// How many at most.
    #[serde(default = "a_page")]
    pub max: usize,
}

const fn a_page() -> usize {
    100
}

/// Some rooms, in the order of their addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomPage {
    /// These.
    pub rooms: Vec<RoomLine>,
    /// There are more behind them.
    pub more: bool,
}

/// A room in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomLine {
    /// Its address.
    pub jid: String,
    /// Its name for people.
    pub name: String,
    /// How many are in it now.
    pub occupants: usize,
    /// How it is configured, in a few words.
    pub kind: String,
}

/// Why a verb over rooms failed; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// The server has none.
    #[error("there are no rooms here: `modules.muc.label` is empty; set it and restart the server")]
    None,
    /// The text is no address of a room.
    #[error("`{0}` is not the address of a room ({1}); write it like {2}")]
    Address(String, String, String),
    /// The name could be a room of several domains.
    #[error("there are several domains, and each may have a room `{0}`; write {1}")]
    Which(String, String),
    /// Who is in a room that ends cannot go there.
    #[error("the room {0} is the one that ends; name another venue, or none")]
    Itself(String),
    /// No such room.
    #[error("there is no room {0}; `stonechat room list` shows all")]
    Unknown(String),
    /// The name is taken.
    #[error("there is a room {0} already; `stonechat room show` says whose it is")]
    Exists(String),
    /// No such kind of room.
    #[error("there is no kind of room `{0}`: public and private stay; give the command again")]
    Preset(String),
    /// The text is no name.
    #[error("the name of a room has at most {0} bytes and no line breaks; give the command again")]
    Name(usize),
    /// No such affiliation.
    #[error("`{0}` is none of: owner, admin, member, outcast, none; give the command again")]
    Affiliation(String),
    /// A team's room has to stay.
    #[error("the room {0} goes when the last one leaves it; let an owner make it persistent first")]
    Temporary(String),
    /// The room refused it.
    #[error("the room did not do it ({0}); correct the command, or look at the room")]
    Refused(StanzaError),
}

impl From<StanzaError> for RoomError {
    fn from(error: StanzaError) -> Self {
        Self::Refused(error)
    }
}
