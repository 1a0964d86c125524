//! `stonechat s2s …`: what is between this server and others.

use super::args::Common;
use super::args_s2s::S2s;
use super::ask::{ask_server, block_on, needs_server, tell};
use super::{location, room, user};
use crate::admin::{PeerVerb, Request, Response};
use crate::server::config::{Problems, load};
use std::process::ExitCode;

/// Does one verb and says what came of it: rules without a server, too. A test that reached nobody is a failure.
pub(super) fn main(common: &Common, verb: S2s) -> ExitCode {
    let tests = matches!(verb, S2s::Test { .. });
    let nothing = match &verb {
        S2s::List => "there are no streams with other servers, and nothing waits for any",
        S2s::Rules => "there are no rules: this server talks to all others",
        _ => "",
    };
    let answer = load(&common.inputs()).and_then(|loaded| {
        location::must_be(&loaded)?;
        if let S2s::Drop { domain, yes: false } = &verb {
            room::ask(domain, "gives up what waits for it").map_err(Problems::one)?;
        }
        let (verb, config) = (request(verb), &loaded.config);
        if alone(&verb) {
            return user::run(config, Request::Peers(verb));
        }
        block_on(ask_server(config, &Request::Peers(verb)))??.ok_or_else(|| needs_server(config))
    });
    let reached = match &answer {
        Ok(Response::Ok { outcome }) => {
            let lines = outcome.lines();
            if lines.is_empty() {
                // Not on standard output: each line there is a stream or a rule.
                eprintln!("{nothing}");
            }
            lines.last().is_some_and(|line| line.starts_with("REACHED"))
        }
        _ => false,
    };
    let told = tell(common, answer);
    if tests && !reached { ExitCode::FAILURE } else { told }
}

/// Whether it can be done without a server.
fn alone(verb: &PeerVerb) -> bool {
    use PeerVerb::{Allow, Deny, Forget, Rules};
    matches!(verb, Allow { .. } | Deny { .. } | Forget { .. } | Rules)
}

fn request(verb: S2s) -> PeerVerb {
    match verb {
        S2s::List => PeerVerb::List,
        S2s::Why(of) => PeerVerb::Why { domain: of.domain },
        S2s::Test { domain, from } => PeerVerb::Test { domain, from },
        S2s::Retry(of) => PeerVerb::Retry { domain: of.domain },
        S2s::Drop { domain, .. } => PeerVerb::Drop { domain },
        S2s::Allow(of) => PeerVerb::Allow { domain: of.domain },
        S2s::Deny(of) => PeerVerb::Deny { domain: of.domain },
        S2s::Forget(of) => PeerVerb::Forget { domain: of.domain },
        S2s::Rules => PeerVerb::Rules,
    }
}
