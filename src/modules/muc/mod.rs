//! XEP-0045: Multi-User Chat. Rooms at a domain of their own.
//!
//! `room.rs` is a room, sans I/O; `enter`, `leave`, `say`, `whisper` are what happens in it, `show` how its presence
//! looks, `outputs` what it wants sent. `act.rs` takes stanzas to rooms, `requests.rs` requests; `deliver.rs` sends what
//! comes of them; `rooms.rs` has the rooms in memory, `rows.rs` those in the store. `disco` and `find` say which rooms
//! there are; `mam` and `speaker` show the archive, in which `burial` leaves tombstones, for authors and for `moderate`;
//! `quota` is what it may hold, `together` what an account's may, `spoken` what slow mode goes by;
//! `looks` are avatars (`vcard`) and `hats`. `away` and `activity` tell members that are not in their rooms.

mod absent;
mod act;
mod activity;
mod admin;
mod archive;
mod away;
mod burial;
mod called;
mod changes;
mod channels;
mod clock;
mod config;
mod deliver;
mod disco;
mod enter;
mod figures;
mod find;
mod form;
mod given;
mod hats;
mod history;
mod invite;
mod judge;
mod leave;
mod letters;
mod lists;
mod looks;
mod mam;
mod members;
mod moderate;
mod moves;
mod names;
mod nick;
mod outputs;
mod owner;
mod quota;
mod register;
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
mod speaker;
mod spoken;
mod standing;
mod together;
mod told;
mod vcard;
mod verbs;
mod versions;
mod voice;
mod whisper;

use std::time::Duration;

use super::api::{Identity, IqHandler, IqRoute, Module, Service, Spec, Target};
use crate::stanza::iq::IqType;
use crate::xml::ns;

pub use config::Config;
pub use given::{Known, is_banned, join, known, part};
pub use rooms::Rooms;
pub use settings::Preset;
pub use told::Subscriptions;
pub use verbs::{address, list, run};

/// The module.
pub const MODULE: Module = Module {
    name: "muc",
    specs: &[
        Spec::whole("XEP-0045", "1.35.5", "features/muc.rs"),
        Spec::whole("XEP-0317", "0.3.1", "features/muc_looks.rs"),
        Spec::whole("XEP-0410", "1.1.0", "features/muc.rs"),
        Spec::whole("XEP-0421", "1.0.1", "features/muc_archive.rs"),
        Spec::whole("XEP-0425", "0.3.0", "features/muc_moderation.rs"),
        Spec::partial(
            "XEP-0433",
            "0.1.0",
            "of a service with over 10,000 public rooms, the first 10,000 by address are searched; no \
             limit of rate of its own (§4.2.2.4)",
            "features/muc_find.rs",
        ),
        Spec::partial(
            "XEP-0437",
            "0.2.0",
            "for members of rooms (§5.1) with an account here (§6)",
            "features/muc_activity.rs",
        ),
        Spec::whole("XEP-0463", "0.2.0", "features/muc_affiliations.rs"),
        Spec::whole("XEP-0486", "0.1.0", "features/muc_looks.rs"),
        Spec::partial(
            "XEP-0500",
            "0.1.1",
            "no exceptions but for moderators",
            "features/muc_entry.rs",
        ),
    ],
    service: Some(Service {
        label: |config| Some(&*config.muc.label).filter(|label| !label.is_empty()),
        identity: Identity { category: "conference", ty: "text", name: Some("Rooms") },
        features: &[
            ns::MUC,
            STABLE_ID,
            "muc_rooms",
            ns::RSM,
            names::OCCUPANT_ID,
            names::HATS,
            names::VCARD,
            channels::SEARCH,
            activity::NS,
        ],
        message: act::message,
        presence: act::presence,
        iq: act::iq,
    }),
    iqs: &[
        on_service(names::ITEMS, "query", |cx, iq| Box::pin(disco::rooms(cx, iq))),
        on_service(channels::SEARCH, "search", |cx, iq| Box::pin(channels::search(cx, iq))),
    ],
    figures: Some(|cx| Box::pin(std::future::ready(figures::figures(&cx.server.shared().muc)))),
    sql: &[
        rows::CATALOGUE,
        verbs::CATALOGUE,
        called::CATALOGUE,
        activity::CATALOGUE,
        moves::CATALOGUE,
    ],
    every: Some((Duration::from_secs(60), |job| {
        Box::pin(async move {
            let idle = Duration::from_secs(job.config.muc.idle_secs);
            job.server.shared().muc.forget_idle(job.now, idle);
            mam::tidy(&job).await;
            quota::hold(&job).await;
        })
    })),
    background: Some(|job| {
        Box::pin(async move {
            activity::take_back(&job).await;
            restart::started(job).await;
        })
    }),
    stopped: Some(restart::stopped),
    moves: moves::MOVES,
    ..Module::EMPTY
};

const fn on_service(ns: &'static str, name: &'static str, handler: IqHandler) -> IqRoute {
    IqRoute { ty: IqType::Get, ns, name, targets: &[Target::Service], handler }
}

/// A message keeps the id that its sender gave it (XEP-0045 §7.4).
const STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";
