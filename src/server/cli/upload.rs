//! `stonechat upload …`: what accounts uploaded.

use super::args::Common;
use super::args_upload::{List, Upload};
use super::ask::tell;
use super::user::run;
use super::{location, room};
use crate::admin::{Request, UploadVerb};
use crate::server::config::{Problems, load};
use std::process::ExitCode;

/// Does one verb and says what came of it.
pub(super) fn main(common: &Common, verb: Upload) -> ExitCode {
    let of = match &verb {
        Upload::List(List { jid: Some(jid), .. }) => Some(jid.clone()),
        _ => None,
    };
    let answer = load(&common.inputs()).and_then(|loaded| {
        location::must_be(&loaded)?;
        if let Upload::DeleteAll { jid, yes: false } = &verb {
            room::ask(jid, "deletes all that it uploaded").map_err(Problems::one)?;
        }
        run(&loaded.config, Request::Upload(request(verb)))
    });
    if let (Some(jid), Ok(response)) = (of, &answer)
        && response.is_empty()
    {
        // Not on standard output: each line there is a file.
        eprintln!("{jid} has no files here");
    }
    tell(common, answer)
}

fn request(verb: Upload) -> UploadVerb {
    match verb {
        Upload::List(List { jid: None, max, .. }) => UploadVerb::Owners { max },
        Upload::List(List { jid: Some(jid), before, max }) => UploadVerb::List { jid, before, max },
        Upload::Delete { file } => UploadVerb::Delete { files: file },
        Upload::DeleteAll { jid, .. } => UploadVerb::DeleteAll { jid },
    }
}
