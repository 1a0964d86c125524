//! The verbs of [`crate::admin`] on rooms (XEP-0045), as forms. XEP-0133 has none, so the names are our own.

use super::super::api::{Answers, Cx};
use super::forms::{self, Blank, bad};
use super::users::{Done, act, refused};
use crate::admin::{Request, RoomQuery, RoomVerb};
use crate::stanza::form;
use crate::xml::writer::Xml;

const ROOM: Blank = Blank::required("jid-single", "room", "The address of the room");
const REASON: Blank = Blank::optional("text-single", "reason", "Why, for those who are told");

/// Some rooms, in the order of their addresses, as a table.
pub(super) async fn list(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let fields = [
            Blank::optional("text-single", "search", "Part of the address, name or description"),
            Blank::optional("jid-single", "after", "Only rooms behind this one"),
            Blank::optional("text-single", "max_items", "How many at most [100]"),
        ];
        let told = "This lists rooms. If there are more, ask again for those behind the last one.";
        return Ok(forms::ask_blank("List rooms", told, &fields));
    };
    let text = |var| optional(answers, var);
    let max = forms::how_many(answers)?.min(PAGE_MAX);
    let query = RoomQuery { search: text("search")?, after: text("after")?, max };
    let page = cx.operator().rooms(query).await.map_err(refused)?;
    let mut xml = Xml::new();
    let columns =
        [("room", "Room"), ("name", "Name"), ("occupants", "In it now"), ("kind", "Kind")];
    form::reported(&mut xml, &columns);
    for room in &page.rooms {
        let occupants = room.occupants.to_string();
        let row = [("room", &room.jid), ("name", &room.name), ("occupants", &occupants)];
        let row: Vec<(&str, &str)> =
            row.into_iter().map(|(var, text)| (var, text.as_str())).collect();
        form::item(&mut xml, &[row.as_slice(), &[("kind", room.kind.as_str())]].concat());
    }
    let last = page.rooms.last().filter(|_| page.more).map(|room| room.jid.clone());
    let fields = [("after", "There are more behind", last.into_iter().collect())];
    let fields = if page.more { &fields[..] } else { &[] };
    Ok(forms::result(fields, &xml.finish()))
}

/// §10.1, for somebody else.
pub(super) async fn create(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let owner = Blank::required("jid-single", "owner", "Who owns it");
        let preset = Blank::optional("text-single", "preset", "Kind of room: public or private");
        let name = Blank::optional("text-single", "name", "Its name");
        let told = "This makes a room that stays, though nobody be in it.";
        return Ok(forms::ask_blank("Make a room", told, &[ROOM, owner, preset, name]));
    };
    let (preset, name) = (optional(answers, "preset")?, optional(answers, "name")?);
    let (room, owner) = (one(answers, "room")?, one(answers, "owner")?);
    act(cx, vec![Request::Room(RoomVerb::Create { room, owner, preset, name })]).await
}

/// §10.9
pub(super) async fn destroy(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let venue = Blank::optional("jid-single", "venue", "Another room, for those who are in it");
        let told = "This destroys a room with its archive. It CANNOT be restored.";
        return Ok(forms::ask_blank("Destroy a room", told, &[ROOM, REASON, venue]));
    };
    let (reason, venue) = (optional(answers, "reason")?, optional(answers, "venue")?);
    let room = one(answers, "room")?;
    act(cx, vec![Request::Room(RoomVerb::Destroy { room, reason, venue })]).await
}

/// §5.2
pub(super) async fn affiliation(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let jid = Blank::required("jid-single", "jid", "The address of whom it is about");
        let affiliation = Blank::required(
            "text-single",
            "affiliation",
            "What it is to the room: owner, admin, member, outcast or none",
        );
        let told = "This makes somebody something to a room.";
        let fields = [ROOM, jid, affiliation, REASON];
        return Ok(forms::ask_blank("Set an affiliation", told, &fields));
    };
    let (room, jid) = (one(answers, "room")?, one(answers, "jid")?);
    let (affiliation, reason) = (one(answers, "affiliation")?, optional(answers, "reason")?);
    act(cx, vec![Request::Room(RoomVerb::Affiliation { room, jid, affiliation, reason })]).await
}

/// What was said is gone.
pub(super) async fn purge(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let told = "This deletes what was said in a room up to now. It CANNOT be restored.";
        return Ok(forms::ask_blank("Delete the archive of a room", told, &[ROOM]));
    };
    act(cx, vec![Request::Room(RoomVerb::Purge { room: one(answers, "room")? })]).await
}

fn one(answers: &Answers, var: &'static str) -> Result<String, crate::stanza::StanzaError> {
    forms::one(answers, var).map(|text| text.trim().to_owned())
}

fn optional(
    answers: &Answers,
    var: &'static str,
) -> Result<Option<String>, crate::stanza::StanzaError> {
    match answers.get(var) {
        [] => Ok(None),
        [text] => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        _ => Err(bad(format!("the field {var} has more than one value"))),
    }
}

/// Rooms in one answer, so that it fits into a stanza.
const PAGE_MAX: usize = 200;
