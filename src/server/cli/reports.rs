//! `stonechat reports`: what users reported of those whom they blocked.

use super::args::{Common, Reports};
use super::ask::tell;
use super::location;
use super::user::run;
use crate::admin::Request;
use crate::server::config::load;
use std::process::ExitCode;

/// Does one verb and says what came of it.
pub(super) fn main(common: &Common, verb: Reports) -> ExitCode {
    let request = match verb {
        Reports::List { all } => Request::ReportList { all },
        Reports::Show { id } => Request::ReportShow { id },
        Reports::Done { id } => Request::ReportDone { id },
    };
    let answer = load(&common.inputs()).and_then(|loaded| {
        location::must_be(&loaded)?;
        run(&loaded.config, request)
    });
    if let (Reports::List { .. }, Ok(response)) = (verb, &answer)
        && response.is_empty()
    {
        // Not on standard output: each line there is a report.
        eprintln!("there are no reports");
    }
    tell(common, answer)
}
