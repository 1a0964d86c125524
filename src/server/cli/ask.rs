//! Sends a command to the running server, and prints its answer.

use super::args::Common;
use crate::admin::{Request, Response};
use crate::server::admin_socket::ask;
use crate::server::config::{Config, Problem, Problems, load};
use std::io::Write;
use std::process::ExitCode;

/// Says what came of a command: lines for people, or JSON.
pub(super) fn tell(common: &Common, answer: Result<Response, Problems>) -> ExitCode {
    match answer {
        Ok(Response::Ok { outcome }) => {
            let text = match common.json {
                true => serde_json::to_string_pretty(&outcome.json()).unwrap_or_default(),
                false => outcome.lines().join("\n"),
            };
            if !text.is_empty() {
                // The reader may stop reading: `… | head`.
                let _ = writeln!(std::io::stdout(), "{text}");
            }
            ExitCode::SUCCESS
        }
        Ok(Response::Error { message }) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::FAILURE
        }
    }
}

/// `stonechat status`: only a running server has something to tell.
pub(super) fn status(common: &Common) -> Result<Response, Problems> {
    let config = load(&common.inputs()).map(|loaded| loaded.config)?;
    block_on(ask_server(&config, &Request::Status))??.ok_or_else(|| needs_server(&config))
}

/// What is said when a command needs a running server and there is none.
pub(super) fn needs_server(config: &Config) -> Problems {
    Problems::one(Problem {
        what: "no server is running on this data".to_owned(),
        place: config.admin_socket().display().to_string(),
        fix: "start it, or name its configuration with --config or its folder with --data-dir"
            .to_owned(),
    })
}

/// Runs a command's future to its end.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Problems> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Problems::one(Problem {
            what: format!("the command cannot start: {error}"),
            place: "the operating system".to_owned(),
            fix: "look at the limits of processes and files".to_owned(),
        })
    })?;
    Ok(runtime.block_on(future))
}

/// What the running server says; `None` when none is running.
pub(super) async fn ask_server(
    config: &Config,
    request: &Request,
) -> Result<Option<Response>, Problems> {
    let path = config.admin_socket();
    ask(&path, request).await.map_err(|error| {
        Problems::one(Problem {
            what: format!("the running server cannot be asked: {error}"),
            place: path.display().to_string(),
            fix: "run the command as the server's user, such as with `sudo -u stonechat`; \
                  if that is so already, look at the server's log"
                .to_owned(),
        })
    })
}

/// The database is in use although no server answers, or something else is wrong with it.
pub(super) const IF_IT_RUNS: &str = "if a server is running on this data, name its configuration \
    with --config or its folder with --data-dir; else do as the first line says";
