//! XEP-0045: Multi-User Chat. Rooms at a domain of their own.
//!
//! `room.rs` is a room, sans I/O; `enter`, `leave`, `say`, `whisper` are what happens in it, `show` how its presence
//! looks, `outputs` what it wants sent. `act.rs` takes stanzas to rooms, `requests.rs` requests; `deliver.rs` sends what
//! comes of them; `rooms.rs` has the rooms in memory, `rows.rs` those in the store.

mod act;
mod archive;
mod deliver;
mod enter;
mod form;
mod given;
mod history;
mod invite;
mod leave;
mod nick;
mod outputs;
mod owner;
mod requests;
mod restart;
mod rights;
mod room;
mod rooms;
mod rows;
mod say;
mod settings;
mod show;
mod standing;
mod verbs;
mod whisper;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::{Identity, Module, Service, Spec};
use crate::xml::ns;

pub use given::{Known, join, known, part};
pub use rooms::Rooms;
pub use settings::Preset;
pub use verbs::{address, list, run};

/// The module.
pub const MODULE: Module = Module {
    name: "muc",
    specs: &[Spec::partial("XEP-0045", "1.35.1", "being built", "features/muc.rs")],
    service: Some(Service {
        label: |config| Some(&*config.muc.label).filter(|label| !label.is_empty()),
        identity: Identity { category: "conference", ty: "text", name: Some("Rooms") },
        features: &[ns::MUC, OCCUPANT_ID, "http://jabber.org/protocol/muc#stable_id"],
        message: act::message,
        presence: act::presence,
        iq: act::iq,
    }),
    sql: &[rows::CATALOGUE, verbs::CATALOGUE],
    every: Some((Duration::from_secs(60), |job| {
        Box::pin(async move {
            let idle = Duration::from_secs(job.config.muc.idle_secs);
            job.server.shared().muc.forget_idle(job.now, idle);
        })
    })),
    background: Some(restart::started),
    stopped: Some(restart::stopped),
    ..Module::EMPTY
};

/// Occupant ids (XEP-0421).
const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
/// Hats (XEP-0317).
const HATS: &str = "urn:xmpp:hats:0";
/// Ids of origin (XEP-0359).
const ORIGIN_ID: &str = "urn:xmpp:sid:0";

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
    /// Bytes of a nickname.
    pub nick_bytes_max: usize,
    /// Bytes of content of presence in rooms.
    pub presence_bytes_max: usize,
    /// Messages that are kept in memory for who enters.
    pub history_max: usize,
    /// Bytes of these messages.
    pub history_bytes_max: usize,
    /// Seconds after which a room that nobody is in leaves memory.
    pub idle_secs: u64,
}

/// Who may create rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Create {
    /// Everybody, strangers and anonymous users too.
    Anyone,
    /// Who has an account here.
    #[default]
    Accounts,
    /// Operators.
    Operators,
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
            nick_bytes_max: 128,
            presence_bytes_max: 4_096,
            history_max: 50,
            history_bytes_max: 131_072,
            idle_secs: 600,
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
    pub nick_bytes_max: usize,
    /// As in the config.
    pub presence_bytes_max: usize,
    /// As in the config.
    pub history_max: usize,
    /// As in the config.
    pub history_bytes_max: usize,
}

impl Bounds {
    /// Sessions of one room.
    pub const fn sessions_max(self) -> usize {
        self.occupants_max.saturating_mul(self.sessions_per_occupant_max)
    }
}

impl Config {
    fn bounds(&self) -> Bounds {
        Bounds {
            occupants_max: self.occupants_max,
            sessions_per_occupant_max: self.sessions_per_occupant_max,
            affiliations_max: self.affiliations_max,
            nick_bytes_max: self.nick_bytes_max,
            presence_bytes_max: self.presence_bytes_max,
            history_max: self.history_max,
            history_bytes_max: self.history_bytes_max,
        }
    }
}
