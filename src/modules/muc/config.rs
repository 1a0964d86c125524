//! The settings of rooms.

use serde::{Deserialize, Serialize};

use super::settings::Preset;
use crate::modules::api::Create;
use crate::store::grown_step;

/// `[modules.muc]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What stands in front of each hosted domain; empty: there are no rooms.
    pub label: String,
    /// Who may create rooms.
    pub create: Create,
    /// How a room is configured whose creator accepts what there is (an instant room).
    pub preset: Preset,
    /// Rooms that one account may have created.
    pub rooms_per_account_max: usize,
    /// Occupants of a room.
    pub occupants_max: usize,
    /// Sessions of one room, for each of its possible occupants.
    pub sessions_per_occupant_max: usize,
    /// People with an affiliation in a room.
    pub affiliations_max: usize,
    /// Bytes of their lists, with nicknames and reasons.
    pub affiliations_bytes_max: usize,
    /// Bytes of a nickname.
    pub nick_bytes_max: usize,
    /// Bytes of content of presence in rooms.
    pub presence_bytes_max: usize,
    /// Messages that are kept in memory for who enters.
    pub history_max: usize,
    /// Bytes of these messages.
    pub history_bytes_max: usize,
    /// Invitations that one message to a room may have.
    pub invites_max: usize,
    /// Invitations, declines and requests in a minute that a room sends for one person.
    pub invites_per_minute: usize,
    /// Members of a private room up to which those who are away are told of all that is said.
    pub push_all_up_to: usize,
    /// Sessions that are told where something was said (XEP-0437).
    pub activity_subscribers_max: usize,
    /// Seconds after which a room that nobody is in leaves memory.
    pub idle_secs: u64,
    /// Days that messages stay in the archives of rooms; 0: for ever.
    pub retention_days: u32,
    /// Bytes of the archive of one room; over it the oldest messages go. 0: no bound.
    pub archive_bytes_max: u64,
    /// Bytes of the archives of all rooms that one account created and owns; over it the oldest messages go. 0: no
    /// bound.
    pub account_archive_bytes_max: u64,
    /// Bytes of a room's vCard, with its avatar.
    pub vcard_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            label: "conference".to_owned(),
            create: Create::default(),
            preset: Preset::default(),
            rooms_per_account_max: 100,
            occupants_max: 1_000,
            sessions_per_occupant_max: 3,
            affiliations_max: 10_000,
            affiliations_bytes_max: 1_048_576,
            nick_bytes_max: 128,
            presence_bytes_max: 4_096,
            history_max: 50,
            history_bytes_max: 131_072,
            invites_max: 10,
            invites_per_minute: 30,
            push_all_up_to: 10,
            activity_subscribers_max: 10_000,
            idle_secs: 600,
            retention_days: 365,
            archive_bytes_max: 268_435_456,
            account_archive_bytes_max: 1_073_741_824,
            vcard_bytes_max: 98_304,
        }
    }
}

/// What the service allows its rooms.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// As in the config.
    pub occupants_max: usize,
    /// As in the config.
    pub sessions_per_occupant_max: usize,
    /// As in the config.
    pub affiliations_max: usize,
    /// As in the config.
    pub affiliations_bytes_max: usize,
    /// As in the config.
    pub nick_bytes_max: usize,
    /// As in the config.
    pub presence_bytes_max: usize,
    /// As in the config.
    pub history_max: usize,
    /// As in the config.
    pub history_bytes_max: usize,
    /// As in the config.
    pub invites_max: usize,
    /// As in the config.
    pub invites_per_minute: usize,
    /// As in the config.
    pub push_all_up_to: usize,
}

impl Bounds {
    /// Sessions of one room.
    pub const fn sessions_max(self) -> usize {
        self.occupants_max.saturating_mul(self.sessions_per_occupant_max)
    }
}

impl Config {
    /// What an archive grows by before somebody looks. An account may be over its bound by so much for each of its
    /// rooms.
    pub fn grown_step(&self) -> u64 {
        let account = grown_step(self.account_archive_bytes_max / 16);
        [grown_step(self.archive_bytes_max), account]
            .into_iter()
            .filter(|step| *step > 0)
            .min()
            .unwrap_or(0)
    }

    /// What its rooms are allowed.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            occupants_max: self.occupants_max,
            sessions_per_occupant_max: self.sessions_per_occupant_max,
            affiliations_max: self.affiliations_max,
            affiliations_bytes_max: self.affiliations_bytes_max,
            nick_bytes_max: self.nick_bytes_max,
            presence_bytes_max: self.presence_bytes_max,
            history_max: self.history_max,
            history_bytes_max: self.history_bytes_max,
            invites_max: self.invites_max,
            invites_per_minute: self.invites_per_minute,
            push_all_up_to: self.push_all_up_to,
        }
    }
}
