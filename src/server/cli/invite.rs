//! `stonechat invite …`: invitations, made by the running server or in the database when none runs.

use super::args::{Common, Invitations, InviteArgs};
use super::ask::tell;
use super::{location, qr, user};
use crate::admin::{Invite, Request, Secret};
use crate::server::config::{Config, Problems, load};
use std::process::ExitCode;

/// Does one verb and says what came of it.
pub(super) fn main(common: &Common, args: &InviteArgs) -> ExitCode {
    let prepared = prepare(common, args);
    let answer = prepared.and_then(|(config, request)| user::run(&config, request));
    if let (Ok(response), Some(Invitations::List)) = (&answer, &args.verb)
        && response.is_empty()
    {
        eprintln!("no invitation is open; `stonechat invite` makes one");
    }
    let code = args.verb.is_none().then(|| qr::of(&answer, args.new.qr)).flatten();
    let told = tell(common, answer);
    qr::draw(code);
    told
}

fn prepare(common: &Common, args: &InviteArgs) -> Result<(Config, Request), Problems> {
    let loaded = load(&common.inputs())?;
    let new = args.new.clone();
    let request = match &args.verb {
        None => Request::Invite(Invite {
            domain: new.domain,
            user: new.user,
            name: new.name,
            team: new.team,
            uses: new.uses,
            days: new.days,
        }),
        Some(Invitations::List) => Request::InviteList,
        Some(Invitations::Revoke { which }) => {
            Request::InviteRevoke { which: Secret(which.clone()) }
        }
    };
    location::must_be(&loaded)?;
    Ok((loaded.config, request))
}
