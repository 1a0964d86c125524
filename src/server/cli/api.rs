//! `stonechat token`, `audit`, `config`, `log` and `api`.

use super::args::Common;
use super::args_api::{Audit, Log, Token};
use super::ask::{ask_server, block_on, needs_server, tell};
use super::{location, user};
use crate::admin::{AuditQuery, Request, openapi};
use crate::server::config::load;
use std::io::Write;
use std::process::ExitCode;

/// Does one verb over tokens, while a server runs or not.
pub(super) fn token(common: &Common, verb: Token) -> ExitCode {
    let request = match verb {
        Token::Add { name, role, days } => Request::TokenAdd { name, role, days },
        Token::List => Request::TokenList,
        Token::Revoke { name } => Request::TokenRevoke { name },
    };
    look(common, request, "there are no tokens; `stonechat token add NAME --role ROLE` makes one")
}

/// Lists what operators did.
pub(super) fn audit(common: &Common, args: Audit) -> ExitCode {
    let Audit { search, after, max } = args;
    let query = AuditQuery { search, after, max: Some(max) };
    look(common, Request::AuditList(query), "nothing was done that stands in the audit log")
}

/// A verb that works without a server, too; `nothing` is said of an empty list.
pub(super) fn look(common: &Common, request: Request, nothing: &str) -> ExitCode {
    user::send(common, request, nothing)
}

/// Only a running server has a log.
pub(super) fn log(common: &Common, args: Log) -> ExitCode {
    let Log { search, max } = args;
    let request = Request::LogTail { max: Some(max), search };
    let answer = load(&common.inputs()).and_then(|loaded| {
        location::must_be(&loaded)?;
        let config = &loaded.config;
        block_on(ask_server(config, &request))??.ok_or_else(|| needs_server(config))
    });
    tell(common, answer)
}

/// Prints the OpenAPI document.
pub(super) fn describe() -> ExitCode {
    // The reader may stop reading: `… | head`.
    let _ = std::io::stdout().write_all(openapi::text().as_bytes());
    ExitCode::SUCCESS
}
