//! `stonechat web …`: a web client beside the server.

use super::args::Common;
use super::args_web::WebVerb;
use super::ask::tell;
use super::{converse, location};
use crate::admin::told::Done;
use crate::admin::{Outcome, Response};
use crate::server::config::{Loaded, Problem, Problems, load};
use std::path::Path;
use std::process::ExitCode;

/// Does one verb and says what came of it.
pub(super) fn main(common: &Common, verb: &WebVerb) -> ExitCode {
    let WebVerb::GetConverse { file } = verb;
    let answer = load(&common.inputs()).and_then(|loaded| {
        location::must_be(&loaded)?;
        get_converse(&loaded, file)
    });
    tell(common, answer)
}

fn get_converse(loaded: &Loaded, file: &Path) -> Result<Response, Problems> {
    let web = &loaded.config.web;
    let folder = web.converse(&loaded.config.data_dir);
    let unpacked = converse::unpack(file, &folder).map_err(|fault| {
        Problems::one(Problem {
            what: format!("Converse.js was not unpacked: {fault}"),
            place: file.display().to_string(),
            fix: fault.fix().to_owned(),
        })
    })?;
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let mut lines = vec![format!(
        "{} files ({} MB) are in {}",
        unpacked.files,
        unpacked.bytes.div_ceil(1_000_000),
        folder.display()
    )];
    lines.push(match web.listen.is_empty() && web.listen_plain.is_empty() {
        true => "set web.listen, such as to \"[::]:443\": the server has no address for browsers".to_owned(),
        false => "browsers find it at /chat/ of the server's web address; the configuration needs nothing, and a \
                  running server no restart"
            .to_owned(),
    });
    Ok(Outcome::Done(Done { told: lines }).into())
}
