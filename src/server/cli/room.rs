//! `stonechat room …`: what changes a room goes to the running server, so that those who are in it see it.

use super::args::Common;
use super::args_room::Room;
use super::ask::{ask_server, block_on, needs_server, tell};
use super::{location, user};
use crate::admin::{Request, RoomQuery, RoomVerb};
use crate::server::config::{Problem, Problems, load};
use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;

/// Does one verb and says what came of it.
pub(super) fn main(common: &Common, verb: &Room) -> ExitCode {
    let answer = load(&common.inputs()).and_then(|loaded| {
        location::must_be(&loaded)?;
        let (config, request) = (loaded.config, Request::Room(request(verb)));
        if matches!(verb, Room::List { .. } | Room::Show(_)) {
            return user::run(&config, request);
        }
        sure(verb).map_err(Problems::one)?;
        block_on(ask_server(&config, &request))??.ok_or_else(|| needs_server(&config))
    });
    if let (Room::List { .. }, Ok(response)) = (verb, &answer)
        && response.is_empty()
    {
        // Not on standard output: each line there is a room.
        let is_all = matches!(verb, Room::List { search: None, after: None, .. });
        eprintln!("{}", if is_all { NONE_YET } else { "there are no such rooms" });
    }
    tell(common, answer)
}

const NONE_YET: &str = "there are no rooms yet; users make them in their clients, and \
    `stonechat room create NAME --owner ADDRESS` makes one";

fn request(verb: &Room) -> RoomVerb {
    match verb.clone() {
        Room::List { search, after, max } => RoomVerb::List(RoomQuery { search, after, max }),
        Room::Show(name) => RoomVerb::Show { room: name.room },
        Room::Create { room, owner, preset, name } => {
            RoomVerb::Create { room, owner, preset, name }
        }
        Room::Destroy { room, reason, venue, .. } => RoomVerb::Destroy { room, reason, venue },
        Room::Affiliation { room, jid, affiliation, reason } => {
            RoomVerb::Affiliation { room, jid, affiliation, reason }
        }
        Room::Purge { room, .. } => RoomVerb::Purge { room },
    }
}

/// What cannot be undone: a person types the room again, a script says `--yes`.
fn sure(verb: &Room) -> Result<(), Problem> {
    let (room, what) = match verb {
        Room::Destroy { room, yes: false, .. } => (room, "destroys the room with its archive"),
        Room::Purge { room, yes: false } => (room, "deletes what was said in the room"),
        _ => return Ok(()),
    };
    ask(room, what)
}

/// Has a person type the name again.
pub(super) fn ask(name: &str, what: &str) -> Result<(), Problem> {
    let stopped = |what: String, fix: &str| Problem {
        what,
        place: format!("the command about {name}"),
        fix: fix.to_owned(),
    };
    if !std::io::stdin().is_terminal() {
        let told = format!("this {what}, and there is no terminal to ask on");
        return Err(stopped(told, "add --yes if it is meant"));
    }
    eprint!("{name}: this {what}. It CANNOT be restored.\nType the name again: ");
    let mut line = String::new();
    let read = std::io::stdin().lock().take(4_096).read_line(&mut line).is_ok();
    match read && line.trim() == name {
        true => Ok(()),
        false => {
            Err(stopped("that is not the same name: nothing was done".to_owned(), "give it again"))
        }
    }
}
