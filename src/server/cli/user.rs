//! `stonechat user …`: to the running server, or to the database when none runs.

use super::ask::{IF_IT_RUNS, ask_server, block_on, tell};
use super::{Common, User, WithPassword, one};
use crate::admin::{Operator, Request, Response, Secret, accounts, served};
use crate::router::Router;
use crate::server::config::{Config, Problem, Problems, load};
use crate::server::effects::Live;
use crate::store::Store;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

/// Does one verb and says what came of it.
pub(super) fn main(common: &Common, verb: &User) -> ExitCode {
    tell(prepare(common, verb).and_then(|(config, request)| run(&config, request)))
}

/// Looks at everything that can be wrong before a person types a password.
fn prepare(common: &Common, verb: &User) -> Result<(Config, Request), Problems> {
    let config = load(&common.inputs())?.config;
    let checked = |jid: &str| {
        accounts::parse(jid).map(|jid| jid.to_string()).map_err(|error| one(argument(&error)))
    };
    let request = match verb {
        User::Add(with) => {
            let jid = accounts::parse(&with.jid).map_err(|error| one(argument(&error)))?;
            served(&hosts(&config), &jid).map_err(|error| one(argument(&error)))?;
            Request::UserAdd { jid: jid.to_string(), password: password(with).map_err(one)? }
        }
        User::Passwd(with) => {
            let jid = checked(&with.jid)?;
            Request::UserPasswd { jid, password: password(with).map_err(one)? }
        }
        User::Disable(account) => Request::UserDisable { jid: checked(&account.jid)? },
        User::Enable(account) => Request::UserEnable { jid: checked(&account.jid)? },
        User::Del(account) => Request::UserDel { jid: checked(&account.jid)? },
        User::Devices(account) => Request::UserDevices { jid: checked(&account.jid)? },
        User::Revoke(which) => {
            Request::UserRevoke { jid: checked(&which.jid)?, device: which.device.clone() }
        }
        User::List { domain } => Request::UserList { domain: domain.clone() },
    };
    Ok((config, request))
}

/// Has it done by the server, or without one.
fn run(config: &Config, request: Request) -> Result<Response, Problems> {
    block_on(async {
        match ask_server(config, &request).await? {
            Some(response) => Ok(response),
            None => alone(config, request).await,
        }
    })?
}

/// No server runs: the verb works on the database itself.
async fn alone(config: &Config, request: Request) -> Result<Response, Problems> {
    let fresh = !config.database().exists();
    let store = Store::open(config.store_options()).map_err(|error| {
        one(Problem {
            what: error.to_string(),
            place: config.database().display().to_string(),
            fix: IF_IT_RUNS.to_owned(),
        })
    })?;
    let limits = Arc::new(config.limits.to_limits());
    let router = Router::new(hosts(config), store.clone(), limits);
    let effects = Arc::new(Live(Arc::new(router), Arc::default()));
    let operator = Operator::new(store.clone(), hosts(config), config.sasl.iterations, effects);
    let response = operator.run(request).await;
    store.close().await;
    if fresh {
        // Most likely the wrong folder: what was done here reaches no server that runs elsewhere.
        eprintln!("{}", made_new(config));
    }
    Ok(response)
}

fn made_new(config: &Config) -> String {
    let folder = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    format!(
        "note: no server runs on the data folder {}, which is new; if one runs elsewhere, give the \
         command in the folder in which it was started, or name its data with --data-dir",
        folder.display()
    )
}

fn hosts(config: &Config) -> Vec<String> {
    config.host.iter().map(|host| host.domain.clone()).collect()
}

fn argument(error: &accounts::AdminError) -> Problem {
    let told = error.to_string();
    let (what, fix) = told.split_once("; ").unwrap_or((&told, "give the command again"));
    let place = "the address in the command".to_owned();
    Problem { what: what.to_owned(), place, fix: fix.to_owned() }
}

/// Asks twice on a terminal, or takes one line of standard input.
fn password(with: &WithPassword) -> Result<Secret, Problem> {
    if with.password_stdin {
        return first_line(std::io::stdin().lock());
    }
    if !std::io::stdin().is_terminal() {
        return Err(problem(
            "there is no terminal to ask for the password on".to_owned(),
            "add --password-stdin to take it from standard input",
        ));
    }
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt).map_err(|error| {
            problem(format!("the password cannot be read: {error}"), "use --password-stdin")
        })
    };
    let first = ask(format!("Password for {}: ", with.jid))?;
    if first != ask("The same again: ".to_owned())? {
        return Err(problem("the two passwords differ".to_owned(), "give the command again"));
    }
    Ok(Secret(first))
}

fn first_line(input: impl BufRead) -> Result<Secret, Problem> {
    let mut line = String::new();
    let bound = crate::base::limits::PASSWORD_BYTES_MAX as u64 + 2;
    input.take(bound).read_line(&mut line).map_err(|error| {
        problem(format!("the password cannot be read: {error}"), "write it as UTF-8 text")
    })?;
    let password =
        line.strip_suffix('\n').map_or(line.as_str(), |l| l.strip_suffix('\r').unwrap_or(l));
    if password.is_empty() {
        return Err(problem("standard input holds no password".to_owned(), "write it as one line"));
    }
    Ok(Secret(password.to_owned()))
}

fn problem(what: String, fix: &str) -> Problem {
    Problem { what, place: "the password".to_owned(), fix: fix.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::admin_socket::AdminSocket;

    #[test]
    fn a_password_is_one_line_of_standard_input() {
        for (input, wanted) in [
            ("secret\n", Some("secret")),
            ("secret\r\n", Some("secret")),
            ("secret", Some("secret")),
            (" two words \nrest", Some(" two words ")),
            ("", None),
            ("\nsecret", None),
        ] {
            let got = first_line(input.as_bytes()).ok().map(|secret| secret.0);
            assert_eq!(got.as_deref(), wanted, "{input:?}");
        }
    }

    fn config(folder: &tempfile::TempDir) -> Config {
        let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        config.sasl.iterations = 1;
        config
    }

    fn add() -> Request {
        Request::UserAdd { jid: "a@localhost".into(), password: Secret("p".into()) }
    }

    #[test]
    fn without_a_server_the_database_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let new = made_new(&config);
        assert!(new.contains(&config.data_dir.display().to_string()), "{new}");
        assert_eq!(run(&config, add()).unwrap(), Response::done("a@localhost can log in now"));
        let list = run(&config, Request::UserList { domain: None }).unwrap();
        assert_eq!(list, Response::done("a@localhost"));
        // A server without a socket, say: the database's lock is seen.
        let held = Store::open(config.store_options()).unwrap();
        let told = run(&config, add()).unwrap_err().to_string();
        assert!(told.contains("in use") && told.contains("--data-dir"), "{told}");
        drop(held);
    }

    #[tokio::test]
    async fn with_a_server_it_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        std::fs::create_dir(&config.data_dir).unwrap();
        let socket = AdminSocket::bind(&config.admin_socket()).await.unwrap();
        let client = tokio::task::spawn_blocking(move || run(&config, add()));
        let answer = tokio::select! {
            () = socket.serve(|_| async { Response::done("by the server") }) => unreachable!(),
            answer = client => answer.unwrap(),
        };
        assert_eq!(answer.unwrap(), Response::done("by the server"));
    }
}
