//! XEP-0045: Multi-User Chat. Rooms at a domain of their own.
//!
//! `room.rs` is a room, sans I/O; `enter`, `leave`, `say`, `whisper` are what happens in it, `show` how its presence
//! looks, `outputs` what it wants sent. `act.rs` takes stanzas to rooms, `requests.rs` requests; `deliver.rs` sends what
//! comes of them; `rooms.rs` has the rooms in memory, `rows.rs` those in the store.

mod absent;
mod act;
mod archive;
mod away;
mod called;
mod config;
mod deliver;
mod enter;
mod find;
mod form;
mod history;
mod invite;
mod leave;
mod members;
mod names;
mod nick;
mod outputs;
mod owner;
mod requests;
mod restart;
mod rights;
mod room;
mod rooms;
mod route;
mod rows;
mod say;
mod settings;
mod show;
mod standing;
mod whisper;

use std::time::Duration;

use super::api::{Identity, Module, Service, Spec};
use crate::xml::ns;

pub use config::Config;
pub use rooms::Rooms;

/// The module.
pub const MODULE: Module = Module {
    name: "muc",
    specs: &[Spec::partial("XEP-0045", "1.35.1", "being built", "features/muc.rs")],
    service: Some(Service {
        label: |config| Some(&*config.muc.label).filter(|label| !label.is_empty()),
        identity: Identity { category: "conference", ty: "text", name: Some("Rooms") },
        features: &[ns::MUC, names::OCCUPANT_ID, STABLE_ID],
        message: act::message,
        presence: act::presence,
        iq: act::iq,
    }),
    sql: &[rows::CATALOGUE, called::CATALOGUE],
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

/// A message keeps the id that its sender gave it (XEP-0045 §7.4).
const STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";
