//! XEP-0363: HTTP File Upload. Files are at addresses that cannot be guessed, on the web door.
//!
//! `slots.rs` answers requests for slots; `put.rs` takes a file, `http.rs`, `range.rs` and `body.rs` give it out.
//! `place.rs` is where files are: `part.rs` on the disk, and `space.rs` looks whether there is room for them there, or
//! `bucket.rs` and `parcel.rs` in a bucket; `files.rs` knows which ones are being written. What is known of files is in
//! [`crate::store::uploads`]. `sweep.rs` deletes both, and `owner.rs` lets owners do so. `name.rs` is what clients say
//! of their files, which decides nothing.

mod body;
mod bucket;
mod config;
mod figures;
mod files;
mod http;
mod name;
mod owner;
mod parcel;
mod part;
mod place;
mod put;
mod range;
mod slots;
mod space;
mod sweep;

pub use bucket::{Bucket, Fault};
pub use config::{BucketConfig, Config};
pub use files::Uploading;

use std::time::Duration;

use super::api::{Answer, Command, Identity, IqHandler, IqRoute, Module, Service, Spec, Target};
use crate::stanza::iq::IqType;
use crate::stanza::{Stanza, StanzaError};
use crate::store::uploads as rows;

/// The module.
pub const MODULE: Module = Module {
    name: "upload",
    specs: &[Spec::whole("XEP-0363", "1.2.0", "features/upload.rs")],
    service: Some(Service {
        label: |config| Some(&*config.upload.label).filter(|label| !label.is_empty()),
        identity: Identity { category: "store", ty: "file", name: Some("HTTP File Upload") },
        features: &[
            slots::NS,
            slots::OLD,
            "urn:xmpp:http:upload:purpose:0#message",
            "urn:xmpp:http:upload:purpose:0#profile",
            "urn:xmpp:http:upload:purpose:0#ephemeral",
        ],
        message: |_, stanza, _| unless_answer(&stanza),
        presence: |_, _| done(Ok(Vec::new())),
        iq: |_, stanza| unless_answer(&stanza),
    }),
    service_forms: Some(|config| config.upload.forms()),
    service_features: Some(|config| match config.upload.permanent_bytes_per_account_max {
        0 => &[],
        _ => &["urn:xmpp:http:upload:purpose:0#permanent"],
    }),
    commands: &[
        Command {
            node: owner::LIST,
            name: "List my files",
            allowed: owner::may_have_files,
            run: |cx, stages| Box::pin(owner::list(cx, stages)),
        },
        Command {
            node: owner::DELETE,
            name: "Delete files of mine",
            allowed: owner::may_have_files,
            run: |cx, stages| Box::pin(owner::delete(cx, stages)),
        },
    ],
    iqs: &[request(slots::NS, slots::request), request(slots::OLD, slots::old_request)],
    web: Some(http::routes),
    figures: Some(|cx| Box::pin(figures::figures(cx))),
    weights: rows::WEIGHTS,
    account_deleted: Some(|tx, account| rows::bury_all(tx, account).map(drop)),
    every: Some((HOUR, |job| Box::pin(sweep::run(job)))),
    background: Some(|job| Box::pin(sweep::tidy(job))),
    ..Module::EMPTY
};

const HOUR: Duration = Duration::from_secs(3_600);

const fn request(ns: &'static str, handler: IqHandler) -> IqRoute {
    IqRoute { ty: IqType::Get, ns, name: "request", targets: &[Target::Service], handler }
}

fn unless_answer(stanza: &Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    done(match stanza.ty().as_deref() {
        Some("result" | "error") => Ok(Vec::new()),
        _ => Err(StanzaError::service_unavailable()),
    })
}

fn done<T: Send + 'static>(outcome: T) -> Answer<T> {
    Box::pin(std::future::ready(outcome))
}
