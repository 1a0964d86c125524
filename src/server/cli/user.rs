//! `stonechat user …`: to the running server, or to the database when none runs.

use super::args::Common;
use super::args_user::{Deletion, RoleOf, User, WithPassword};
use super::ask::{IF_IT_RUNS, ask_server, block_on, tell};
use super::{location, qr};
use crate::admin::{Request, Response, Secret, UserQuery, accounts, served};
use crate::jid::Jid;
use crate::modules::api::{Cx, Requester};
use crate::modules::{self, Pipeline};
use crate::router::Router;
use crate::server::around::Around;
use crate::server::clock::now;
use crate::server::config::{Config, Problem, Problems, load};
use crate::store::Store;
use std::io::{BufRead, IsTerminal, Read};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

/// Does one verb and says what came of it.
pub(super) fn main(common: &Common, verb: &User) -> ExitCode {
    let answer = prepare(common, verb).and_then(|(config, request)| run(&config, request));
    if let (Ok(response), Some(nothing)) = (&answer, nothing(verb))
        && response.is_empty()
    {
        // Not on standard output: each line there is an account or a device.
        eprintln!("{nothing}");
    }
    let code = match verb {
        User::ResetLink(wanted) => qr::of(&answer, wanted.qr),
        _ => None,
    };
    let told = tell(common, answer);
    qr::draw(code);
    told
}

/// Does a verb that is about no single account.
pub(super) fn send(common: &Common, request: Request, nothing: &str) -> ExitCode {
    let loaded = load(&common.inputs()).and_then(|loaded| {
        location::must_be(&loaded)?;
        Ok(loaded.config)
    });
    let answer = loaded.and_then(|config| run(&config, request));
    if matches!(&answer, Ok(response) if response.is_empty()) && !nothing.is_empty() {
        eprintln!("{nothing}");
    }
    tell(common, answer)
}

/// What is said when a list is empty.
fn nothing(verb: &User) -> Option<String> {
    match verb {
        User::Devices(account) => Some(format!("{} has no known devices", account.jid)),
        User::Role(RoleOf { jid: None, .. }) => {
            Some("there are no admins; `stonechat user role ADDRESS owner` makes one".to_owned())
        }
        User::Sessions(account) => Some(format!("{} has no sessions now", account.jid)),
        User::List { search: Some(_), .. } | User::List { after: Some(_), .. } => {
            Some("there are no such accounts".to_owned())
        }
        User::List { deleted: true, .. } => Some("no deleted account can be restored".to_owned()),
        User::List { domain: Some(domain), .. } => Some(format!("{domain} has no accounts")),
        User::List { .. } => {
            Some("there are no accounts; `stonechat user add ADDRESS` makes one".to_owned())
        }
        _ => None,
    }
}

/// Looks at everything that can be wrong before a person types a password.
fn prepare(common: &Common, verb: &User) -> Result<(Config, Request), Problems> {
    let loaded = load(&common.inputs())?;
    let config = &loaded.config;
    let checked = |jid: &str| {
        accounts::parse(jid)
            .map(|jid| jid.to_string())
            .map_err(|error| Problems::one(argument(&error)))
    };
    let request = match verb {
        User::Add(with) => {
            let jid =
                accounts::parse(&with.jid).map_err(|error| Problems::one(argument(&error)))?;
            served(&hosts(config), &jid).map_err(|error| Problems::one(argument(&error)))?;
            location::may_make(&loaded)?;
            Request::UserAdd {
                jid: jid.to_string(),
                password: password(with).map_err(Problems::one)?,
            }
        }
        User::Passwd(with) => {
            let jid = checked(&with.jid)?;
            location::must_be(&loaded)?;
            Request::UserPasswd { jid, password: password(with).map_err(Problems::one)? }
        }
        User::ResetLink(wanted) => {
            Request::UserResetLink { jid: checked(&wanted.jid)?, hours: wanted.hours }
        }
        User::Disable(account) => Request::UserDisable { jid: checked(&account.jid)? },
        User::Enable(account) => Request::UserEnable { jid: checked(&account.jid)? },
        User::Del(deletion) => {
            let jid = checked(&deletion.jid)?;
            location::must_be(&loaded)?;
            let grace = config.modules.register.grace_days;
            sure(deletion, &jid, grace).map_err(Problems::one)?;
            Request::UserDel { jid, now: deletion.now }
        }
        User::Restore(account) => Request::UserRestore { jid: checked(&account.jid)? },
        User::Logout(session) => Request::UserLogout { jid: session.jid.clone() },
        User::Devices(account) => Request::UserDevices { jid: checked(&account.jid)? },
        User::Revoke(which) => Request::revoke(checked(&which.jid)?, which.device.clone()),
        User::Role(RoleOf { jid: Some(jid), role }) => Request::role(checked(jid)?, *role),
        User::Role(RoleOf { jid: None, .. }) => Request::AdminList,
        User::Show(account) => Request::UserShow { jid: checked(&account.jid)? },
        User::Sessions(account) => Request::UserSessions { jid: checked(&account.jid)? },
        User::List { domain, deleted, search, after, max } => Request::UserList(UserQuery {
            domain: domain.clone(),
            deleted: *deleted,
            search: search.clone(),
            after: after.clone(),
            max: *max,
        }),
    };
    if !matches!(verb, User::Add(_)) {
        location::must_be(&loaded)?;
    }
    Ok((loaded.config, request))
}

/// A person types the address again; a script says `--yes`, unless the account can be restored.
fn sure(deletion: &Deletion, jid: &str, grace_days: u32) -> Result<(), Problem> {
    let stopped = |what: String, fix: &str| {
        Err(Problem { what, place: "stonechat user del".to_owned(), fix: fix.to_owned() })
    };
    if deletion.yes {
        return Ok(());
    }
    let restorable = grace_days > 0 && !deletion.now;
    if !std::io::stdin().is_terminal() {
        if restorable {
            return Ok(());
        }
        let what = format!("{jid} could not be restored, and there is no terminal to ask on");
        return stopped(what, "add --yes if it is meant");
    }
    let undo = match restorable {
        true => format!("It can be restored for {grace_days} days."),
        false => "It CANNOT be restored.".to_owned(),
    };
    eprint!("This deletes {jid} with its contacts and messages. {undo}\nType the address again: ");
    if is_again(std::io::stdin().lock(), jid) {
        return Ok(());
    }
    stopped("that is not the same address: nothing was deleted".to_owned(), "give it again")
}

fn is_again(mut input: impl BufRead, jid: &str) -> bool {
    let mut line = String::new();
    let read = input.by_ref().take(ADDRESS_BYTES_MAX).read_line(&mut line).is_ok();
    read && accounts::parse(line.trim()).is_ok_and(|again| again.as_str() == jid)
}

/// Has it done by the server, or without one.
pub(super) fn run(config: &Config, request: Request) -> Result<Response, Problems> {
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
        Problems::one(Problem {
            what: error.to_string(),
            place: config.database().display().to_string(),
            fix: IF_IT_RUNS.to_owned(),
        })
    })?;
    let response = match cx(config, &store) {
        Some(cx) => {
            let around = Arc::new(Around::alone(config));
            cx.operator().with_surroundings(around).run(request).await
        }
        None => Response::error("no domain is served"),
    };
    store.close().await;
    if fresh {
        // Most likely the wrong folder: a change made here reaches no server that runs elsewhere.
        eprintln!("{}", location::made_new(config));
    }
    Ok(response)
}

/// A server that nobody is connected to.
fn cx(config: &Config, store: &Store) -> Option<Cx> {
    let settings = Arc::new(config.module_config());
    let features = modules::features(modules::ALL, settings.clone());
    let limits = Arc::new(config.limits.clone());
    let router = Router::new(hosts(config), store.clone(), limits).with_features(features);
    let server = Pipeline::build(modules::ALL, &settings, now());
    // Where the door will be, unless the system chooses its port.
    let port = config.web.listen.iter().map(SocketAddr::port).find(|port| *port != 0);
    let port = port.or(config.web.listen_plain.first().map(|_| 443));
    server.shared().web_address.set(&config.web.url, port, config.web.pages);
    Some(Cx {
        who: Requester::Entity(Jid::parse(&config.host.first()?.domain).ok()?),
        now: now(),
        server,
        config: settings,
        store: store.clone(),
        router: Arc::new(router),
    })
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
        return first_line(std::io::stdin().lock()).inspect(remark);
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
    let password = Secret(first);
    remark(&password);
    Ok(password)
}

/// The operator decides; what clients choose has a bound (`modules.register.password_length_min`).
fn remark(password: &Secret) {
    let length = password.0.chars().count();
    if length < SHORT {
        eprintln!(
            "note: a password of {length} characters is soon guessed; {SHORT} or more are better"
        );
    }
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

/// Shorter ones are remarked on.
const SHORT: usize = 8;
/// RFC 7622 §3.1, and the end of the line.
const ADDRESS_BYTES_MAX: u64 = 3 * 1023 + 4;

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
        let made = run(&config, add()).unwrap();
        let told = |it: &Response| match it {
            Response::Ok { outcome } => outcome.lines().join("\n"),
            Response::Error { message } => message.clone(),
        };
        assert_eq!(told(&made), "a@localhost can log in now");
        let list = run(&config, Request::UserList(UserQuery::default())).unwrap();
        assert!(matches!(&list, Response::Ok { outcome } if outcome.lines() == ["a@localhost"]));
        // For example a server without a socket: the database's lock shows it.
        let held = Store::open(config.store_options()).unwrap();
        let told = run(&config, add()).unwrap_err().to_string();
        assert!(told.contains("in use") && told.contains("--data-dir"), "{told}");
        drop(held);
    }

    #[test]
    fn the_address_is_typed_again_in_any_spelling() {
        for (typed, right) in [
            ("a@localhost\n", true),
            (" A@LOCALHOST \n", true),
            ("a@localhost", true),
            ("b@localhost\n", false),
            ("y\n", false),
            ("", false),
        ] {
            assert_eq!(is_again(typed.as_bytes(), "a@localhost"), right, "{typed:?}");
        }
    }

    #[test]
    fn what_cannot_be_undone_needs_a_yes() {
        // Tests have no terminal, or are asked on one and get no answer.
        let asked = |now, yes, grace| {
            let deletion = Deletion { jid: "a@localhost".to_owned(), now, yes };
            sure(&deletion, "a@localhost", grace).map_err(|problem| problem.to_string())
        };
        assert_eq!(asked(true, true, 7), Ok(()));
        if std::io::stdin().is_terminal() {
            return;
        }
        assert_eq!(asked(false, false, 7), Ok(()));
        for (now, grace) in [(true, 7), (false, 0)] {
            assert!(asked(now, false, grace).unwrap_err().contains("add --yes"));
        }
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
