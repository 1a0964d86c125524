//! `stonechat cert …`: the certificates of the running server.

use super::args::Common;
use super::args_cert::Cert;
use super::ask::{ask_server, block_on, needs_server, tell};
use crate::admin::{CertVerb, Request};
use crate::server::config::load;
use std::process::ExitCode;

/// Does one verb and says what came of it.
pub(super) fn main(common: &Common, verb: Cert) -> ExitCode {
    let verb = match verb {
        Cert::List => CertVerb::List,
        Cert::Renew { now } => CertVerb::Renew { now },
    };
    tell(
        common,
        load(&common.inputs()).and_then(|loaded| {
            let config = &loaded.config;
            let asked = block_on(ask_server(config, &Request::Certificates(verb)))??;
            asked.ok_or_else(|| needs_server(config))
        }),
    )
}
