//! `stonechat team …`: to the running server, or to the database when none runs.

use super::args::Common;
use super::args_team::{Team, TeamRoom};
use super::ask::tell;
use super::{location, user};
use crate::admin::{Outcome, Request, Response, TeamVerb};
use crate::server::config::{Config, Problem, Problems, load};
use std::process::ExitCode;

/// Does one verb, for each of the addresses, and says what came of it.
pub(super) fn main(common: &Common, verb: &Team) -> ExitCode {
    let done = prepare(common).and_then(|config| {
        let mut all: Option<Outcome> = None;
        for verb in verbs(verb)? {
            match (user::run(&config, Request::Team(verb))?, &mut all) {
                // Several are changes, which are said in words.
                (Response::Ok { outcome: Outcome::Done(more) }, Some(Outcome::Done(done))) => {
                    done.told.extend(more.told);
                }
                (Response::Ok { outcome }, _) => all = Some(outcome),
                (error @ Response::Error { .. }, _) => return Ok((all, Some(error))),
            }
        }
        Ok((all, None))
    });
    let (all, error) = match done {
        Err(problems) => return tell(common, Err(problems)),
        Ok(done) => done,
    };
    let mut code = ExitCode::SUCCESS;
    if let Some(outcome) = all {
        let response = Response::from(outcome);
        if let (Some(nothing), true) = (nothing(verb), response.is_empty()) {
            // Not on standard output: each line there is a team, a member or a room.
            eprintln!("{nothing}");
        }
        code = tell(common, Ok(response));
    }
    // What was done before one failed is said, too.
    error.map_or(code, |error| tell(common, Ok(error)))
}

fn prepare(common: &Common) -> Result<Config, Problems> {
    let loaded = load(&common.inputs())?;
    location::must_be(&loaded)?;
    Ok(loaded.config)
}

/// What is said when a list is empty.
fn nothing(verb: &Team) -> Option<String> {
    match verb {
        Team::List => Some("there are no teams; `stonechat team add NAME` makes one".to_owned()),
        Team::Show(name) => Some(format!(
            "the team {0} has no members and no rooms; `stonechat team join {0} ADDRESS` puts one in",
            name.team
        )),
        Team::Room(TeamRoom::List(name)) => Some(format!(
            "the team {0} has no rooms; `stonechat team room add {0} ROOM` gives it one",
            name.team
        )),
        _ => None,
    }
}

fn verbs(verb: &Team) -> Result<Vec<TeamVerb>, Problems> {
    let name = |team: &str| team.to_owned();
    Ok(match verb {
        Team::Add(add) => vec![TeamVerb::Add { name: name(&add.team) }],
        Team::Remove(remove) => vec![TeamVerb::Remove { name: name(&remove.team) }],
        Team::List => vec![TeamVerb::List],
        Team::Show(show) => vec![TeamVerb::Show { name: name(&show.team) }],
        Team::Join { jid, name: Some(called), .. } if jid.len() > 1 => {
            return Err(Problems::one(Problem {
                what: format!("{} accounts cannot all be called {called}", jid.len()),
                place: "stonechat team join".to_owned(),
                fix: "give the command once for each of them".to_owned(),
            }));
        }
        Team::Join { team, jid, name: called } => {
            let join = |jid: &String| {
                let (jid, called) = (jid.clone(), called.clone());
                TeamVerb::Join { name: name(team), jid, called }
            };
            jid.iter().map(join).collect()
        }
        Team::Room(TeamRoom::Add { team, room }) => {
            vec![TeamVerb::AddRoom { name: name(team), room: room.clone() }]
        }
        Team::Room(TeamRoom::Remove { team, room }) => {
            vec![TeamVerb::RemoveRoom { name: name(team), room: room.clone() }]
        }
        Team::Room(TeamRoom::List(team)) => vec![TeamVerb::Rooms { name: name(&team.team) }],
        Team::Leave { team, jid } => {
            let leave = |jid: &String| TeamVerb::Leave { name: name(team), jid: jid.clone() };
            jid.iter().map(leave).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_for_one_account() {
        let join = |jid: &[&str], name: Option<&str>| {
            let jid = jid.iter().map(ToString::to_string).collect();
            let join = Team::Join { team: "t".to_owned(), jid, name: name.map(str::to_owned) };
            verbs(&join).map(|verbs| verbs.len()).map_err(|error| error.to_string())
        };
        assert_eq!(join(&["a@x", "b@x"], None), Ok(2));
        assert_eq!(join(&["a@x"], Some("A")), Ok(1));
        assert!(join(&["a@x", "b@x"], Some("A")).unwrap_err().contains("once for each"));
    }
}
