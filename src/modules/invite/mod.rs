//! Invitations: links with which people come in and become contacts (XEP-0401). Whoever holds the token of one
//! makes an account with it (XEP-0445), or becomes the contact of who invites (XEP-0379).
//!
//! The verbs are the operator's too, and so in `admin/invitations.rs`; the table, which registration looks into,
//! is `store/invitations.rs`. `admit.rs` is where tokens are shown, also on the page of an invitation.

mod admit;
mod commands;
mod config;
mod forget;
mod guesses;
mod preauth;
mod subscribe;
#[cfg(test)]
mod tests;
mod welcome;

pub use admit::{NotAdmitted, admit, registers};
pub use config::Config;
pub use guesses::Guesses;

use std::time::Duration;

use super::api::{Command, IqRoute, Module, Spec, Stage, Target};
use crate::stanza::iq::IqType;

/// The module.
pub const MODULE: Module = Module {
    name: "invite",
    specs: &[
        Spec::whole("XEP-0379", "0.3.3", "transcripts/0379-preauth.scs"),
        Spec::whole("XEP-0401", "0.6.0", "transcripts/0401-invite.scs"),
        Spec::whole("XEP-0445", "0.2.0", "transcripts/0445-preauth.scs"),
    ],
    commands: &[
        Command {
            node: "urn:xmpp:invite#invite",
            name: "Invite user",
            allowed: commands::may_invite,
            run: |cx, _| Box::pin(commands::invite(cx)),
        },
        Command {
            node: "urn:xmpp:invite#create-account",
            name: "Create account",
            allowed: commands::may_create,
            run: |cx, stages| Box::pin(commands::create_account(cx, stages)),
        },
        Command {
            node: "list-invitations",
            name: "List my invitations",
            allowed: commands::may_invite,
            run: |cx, _| Box::pin(commands::list(cx)),
        },
        Command {
            node: "revoke-invitations",
            name: "Revoke invitations",
            allowed: commands::may_invite,
            run: |cx, stages| Box::pin(commands::revoke(cx, stages)),
        },
    ],
    iqs: &[IqRoute {
        ty: IqType::Set,
        ns: preauth::NS,
        name: "preauth",
        targets: &[Target::Stream],
        handler: |cx, iq| Box::pin(preauth::show(cx, iq)),
    }],
    stream_features: Some(|config, stage| {
        let is_offered = stage == Stage::Authenticate && config.register.takes_invited();
        is_offered.then(|| preauth::FEATURES.to_owned())
    }),
    subscription_out: Some(subscribe::from_here),
    subscription_in: Some(subscribe::from_elsewhere),
    account_created: Some(welcome::befriend),
    every: Some((HOUR, |job| Box::pin(forget::forget(job)))),
    ..Module::EMPTY
};

const HOUR: Duration = Duration::from_secs(3_600);
