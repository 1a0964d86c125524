//! Hats (XEP-0317): what somebody is in a room beyond roles. Owners make them, admins give them, by commands of the
//! room (XEP-0050); the room shows them in presence.

use std::sync::Arc;

use super::deliver::{Plan, change};
use super::looks::{Hat, Looks};
use super::names::{INFO, ITEMS, identity};
use super::outputs::Outputs;
use super::rights::Affiliation;
use super::room::Room;
use super::rooms::Hold;
use super::route::Route;
use super::rows;
use super::settings::Settings;
use super::standing::By;
use crate::base::id::{self, OsRng};
use crate::jid::{BareJid, Jid};
use crate::modules::api::{Cx, Reply};
use crate::stanza::StanzaError;
use crate::stanza::form::{Form, Written, field, item, reported, start};
use crate::stanza::iq::{Iq, IqType};
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The commands.
pub(super) const ROUTES: &[Route] = &[Route {
    ty: IqType::Set,
    ns: ns::COMMANDS,
    name: "command",
    handler: |cx, hold, iq| Box::pin(command(cx, hold, iq)),
}];

const FORM: &str = "urn:xmpp:hats:commands";
const JID: &str = "hats#jid";
const TITLE: &str = "hats#title";
const URI: &str = "hats#uri";
const HUE: &str = "hats#hue";

/// A command of a room (XEP-0317 §3.2 to §3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Create,
    Destroy,
    List,
    Assign,
    Unassign,
    ListAssigned,
}

/// All of them, with their nodes, and for people.
const COMMANDS: [(Command, &str, &str); 6] = [
    (Command::Create, "urn:xmpp:hats:commands:create", "Make or change a hat"),
    (Command::Destroy, "urn:xmpp:hats:commands:destroy", "Do away with a hat"),
    (Command::List, "urn:xmpp:hats:commands:list", "The hats that there are"),
    (Command::Assign, "urn:xmpp:hats:commands:assign", "Give somebody a hat"),
    (Command::Unassign, "urn:xmpp:hats:commands:unassign", "Take a hat from somebody"),
    (Command::ListAssigned, "urn:xmpp:hats:commands:list-assigned", "Who wears a hat"),
];

impl Command {
    fn of(node: &str) -> Option<Self> {
        COMMANDS.iter().find(|(_, known, _)| *known == node).map(|(command, ..)| *command)
    }

    /// Whether somebody may run it.
    fn allowed(self, room: &Room, who: &Jid) -> Result<(), StanzaError> {
        let least = match self {
            // What hats there are, everybody sees who sees the room.
            Self::List => return room.may_look(who),
            Self::Create | Self::Destroy => Affiliation::Owner,
            Self::Assign | Self::Unassign | Self::ListAssigned => Affiliation::Admin,
        };
        match room.affiliation(who.bare_str()) >= least {
            true => Ok(()),
            false => Err(StanzaError::forbidden().text("this is for those who run the room")),
        }
    }
}

/// XEP-0050 §2.2: what the list of commands, or one of them, is.
pub(super) fn write_info(
    room: &Room,
    who: &Jid,
    node: &str,
    xml: &mut Xml,
) -> Result<(), StanzaError> {
    if node == ns::COMMANDS {
        identity(xml, "automation", "command-list", None);
        xml.start("feature").attr("var", ns::COMMANDS).end();
        xml.start("feature").attr("var", ITEMS).end();
        return Ok(());
    }
    let known = COMMANDS.iter().find(|(_, known, _)| *known == node);
    let (command, _, name) = known.ok_or_else(StanzaError::item_not_found)?;
    command.allowed(room, who)?;
    identity(xml, "automation", "command-node", Some(name));
    for feature in [ns::COMMANDS, ns::DATA_FORM, INFO] {
        xml.start("feature").attr("var", feature).end();
    }
    Ok(())
}

/// XEP-0050 §2.2: those that somebody may run.
pub(super) fn write_items(
    room: &Room,
    who: &Jid,
    node: &str,
    xml: &mut Xml,
) -> Result<(), StanzaError> {
    if node != ns::COMMANDS {
        return Err(StanzaError::item_not_found());
    }
    for (command, node, name) in COMMANDS {
        if command.allowed(room, who).is_ok() {
            xml.start("item").attr("jid", room.jid.as_str());
            xml.attr("node", node).attr("name", name).end();
        }
    }
    Ok(())
}

/// A command that was filled in, or not yet.
struct Asked {
    command: Command,
    node: String,
    session: String,
    is_cancelled: bool,
    filled: Option<Filled>,
}

/// What stands in the form; what is missing is empty.
#[derive(Debug, Clone, Default)]
struct Filled {
    jid: String,
    hat: Hat,
}

impl Asked {
    fn read(iq: &Iq) -> Result<Self, StanzaError> {
        let doc = iq.stanza().element().view();
        let command = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        let node = command.attr("node").unwrap_or_default().to_owned();
        let session = command.attr("sessionid").filter(|id| id.len() <= SESSION_MAX);
        let session = session.map_or_else(|| id::short(&mut OsRng), str::to_owned);
        let form = Form::answered(command)?;
        let filled = form.map(|form| {
            let one = |var: &str| {
                let value = form.value(var)?.unwrap_or_default();
                Ok::<_, StanzaError>(value.trim().to_owned())
            };
            let hue = Some(one(HUE)?).filter(|hue| !hue.is_empty());
            let hat = Hat { uri: one(URI)?, title: one(TITLE)?, hue };
            Ok::<_, StanzaError>(Filled { jid: one(JID)?, hat })
        });
        Ok(Self {
            command: Command::of(&node).ok_or_else(StanzaError::item_not_found)?,
            node,
            session,
            is_cancelled: command.attr("action") == Some("cancel"),
            filled: filled.transpose()?,
        })
    }

    fn reply(&self, status: &str, payload: &[u8]) -> Reply {
        let mut xml = Xml::new();
        xml.start("command").attr("xmlns", ns::COMMANDS).attr("node", &self.node);
        xml.attr("sessionid", &self.session).attr("status", status);
        if status == "executing" {
            xml.start("actions").attr("execute", "complete").start("complete").end().end();
        }
        xml.raw(payload).end();
        Reply::payload(xml.finish())
    }
}

async fn command(cx: Cx, hold: Arc<Hold>, iq: Iq) -> Result<Reply, StanzaError> {
    let asked = Asked::read(&iq)?;
    {
        let room = hold.lock();
        asked.command.allowed(&room, cx.jid())?;
        let looks = &room.settings.looks;
        match (asked.command, &asked.filled) {
            _ if asked.is_cancelled => return Ok(asked.reply("canceled", b"")),
            (Command::List, _) => return Ok(asked.reply("completed", &list(looks))),
            (Command::ListAssigned, _) => return Ok(asked.reply("completed", &list_worn(looks))),
            (command, None) => return Ok(asked.reply("executing", &empty_form(command, looks))),
            (_, Some(_)) => {}
        }
    }
    run(&cx, &hold, &asked).await?;
    Ok(asked.reply("completed", b""))
}

/// Changes the room's looks: durable before they are shown.
async fn run(cx: &Cx, hold: &Arc<Hold>, asked: &Asked) -> Result<(), StanzaError> {
    let (by, command) = (cx.jid().clone(), asked.command);
    let Some(filled) = asked.filled.clone() else { return Ok(()) };
    change(cx, hold, move |room| {
        command.allowed(room, &by)?;
        let id = room.id.ok_or_else(|| {
            StanzaError::not_allowed().text("the room has to be configured first")
        })?;
        let looks = changed(&room.settings.looks, command, filled)?;
        let settings = Settings { looks: looks.clone(), ..room.settings.clone() };
        let write = move |tx: &mut dyn Tx| rows::configure(tx, id, &settings);
        let apply = move |room: &mut Room, (), out: &mut Outputs| room.dress(looks, out);
        Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
    })
    .await
}

/// What the looks are after a command.
fn changed(looks: &Looks, command: Command, filled: Filled) -> Result<Looks, StanzaError> {
    let Filled { jid, hat } = filled;
    let unknown = || StanzaError::item_not_found().text("there is no such hat");
    let full = |text| StanzaError::resource_constraint().text(text);
    let mut looks = looks.clone();
    match command {
        Command::Create => {
            check(&hat)?;
            let count = looks.hats.len();
            match looks.hats.iter_mut().find(|known| known.uri == hat.uri) {
                Some(known) => *known = hat,
                None if count >= HATS_MAX => return Err(full("too many hats")),
                None => looks.hats.push(hat),
            }
        }
        Command::Destroy => {
            looks.hat(&hat.uri).ok_or_else(unknown)?;
            looks.hats.retain(|known| known.uri != hat.uri);
            looks.worn.values_mut().for_each(|worn| worn.retain(|uri| *uri != hat.uri));
        }
        Command::Assign => {
            looks.hat(&hat.uri).ok_or_else(unknown)?;
            let count: usize = looks.worn.values().map(Vec::len).sum();
            let worn = looks.worn.entry(bare(&jid)?).or_default();
            if !worn.contains(&hat.uri) {
                if count >= WORN_MAX {
                    return Err(full("too many people wear hats"));
                }
                worn.push(hat.uri);
                // They are read with the room's settings by whoever lists rooms.
                let bytes = looks.worn.iter().map(|(jid, worn)| {
                    jid.len().saturating_add(worn.iter().map(String::len).sum())
                });
                if bytes.sum::<usize>() > WORN_BYTES_MAX {
                    return Err(full("too many people wear hats"));
                }
            }
        }
        Command::Unassign => {
            let worn = looks.worn.get_mut(&bare(&jid)?).ok_or_else(unknown)?;
            let at = worn.iter().position(|uri| *uri == hat.uri).ok_or_else(unknown)?;
            worn.remove(at);
        }
        Command::List | Command::ListAssigned => {}
    }
    looks.worn.retain(|_, worn| !worn.is_empty());
    Ok(looks)
}

fn bare(jid: &str) -> Result<String, StanzaError> {
    let jid = BareJid::parse(jid).ok().or_else(|| Some(Jid::parse(jid).ok()?.bare()));
    Ok(jid.ok_or_else(StanzaError::jid_malformed)?.to_string())
}

/// §3.1
fn check(hat: &Hat) -> Result<(), StanzaError> {
    let bad = |text| Err(StanzaError::not_acceptable().text(text));
    if hat.title.is_empty() || hat.uri.is_empty() {
        return Err(StanzaError::bad_request().text("a hat has a title and a URI"));
    }
    if hat.title.len() > TITLE_MAX || hat.uri.len() > URI_MAX {
        return bad("a title or a URI is too long");
    }
    if !hat.uri.contains(':') || hat.uri.contains(char::is_whitespace) {
        return bad("a hat is known by a URI");
    }
    let Some(hue) = hat.hue.as_deref() else { return Ok(()) };
    match hue.len() <= HUE_MAX && hue.parse().is_ok_and(|hue: f64| (0.0..=360.0).contains(&hue)) {
        true => Ok(()),
        false => bad("a hue is an angle in degrees"),
    }
}

impl Room {
    /// The looks are committed: §3.2 to §3.6, whose hats are others now is shown anew.
    fn dress(&mut self, looks: Looks, out: &mut Outputs) {
        let old = std::mem::replace(&mut self.settings.looks, looks);
        let new = &self.settings.looks;
        let is_other = |bare: &str| !old.worn_by(bare).eq(new.worn_by(bare));
        let others = self.occupants.iter().filter(|(_, one)| is_other(one.bare()));
        let others: Vec<_> = others.map(|(key, one)| (key.clone(), one.role)).collect();
        let is_other_list = old.hats != new.hats;
        for (key, role) in others {
            self.change_role(&key, role, &By::default(), &[], out);
        }
        if is_other_list {
            self.announce_codes(&[104], out);
        }
    }
}

fn empty_form(command: Command, looks: &Looks) -> Vec<u8> {
    let mut xml = Xml::new();
    start(&mut xml, Written::Form, FORM);
    let required = |xml: &mut Xml, ty: &str, var: &str, label: &str| {
        xml.start("field").attr("type", ty).attr("var", var).attr("label", label);
        xml.start("required").end().end();
    };
    if command == Command::Create {
        required(&mut xml, "text-single", TITLE, "Title");
        required(&mut xml, "text-single", URI, "URI that it is known by");
        field(&mut xml, "text-single", HUE, &[]);
    } else {
        if command != Command::Destroy {
            required(&mut xml, "jid-single", JID, "Address");
        }
        xml.start("field").attr("type", "list-single").attr("var", URI).attr("label", "Hat");
        xml.start("required").end();
        for hat in &looks.hats {
            xml.start("option").attr("label", &hat.title).element("value", None, &hat.uri).end();
        }
        xml.end();
    }
    xml.end();
    xml.finish().to_vec()
}

/// §3.4
fn list(looks: &Looks) -> Vec<u8> {
    let mut xml = Xml::new();
    start(&mut xml, Written::Result, FORM);
    reported(&mut xml, &[(TITLE, "Title"), (URI, "URI"), (HUE, "Hue")]);
    for hat in &looks.hats {
        item(&mut xml, &columns(hat));
    }
    xml.end();
    xml.finish().to_vec()
}

fn columns(hat: &Hat) -> Vec<(&str, &str)> {
    let hue = hat.hue.as_deref().map(|hue| (HUE, hue));
    [(TITLE, &*hat.title), (URI, &*hat.uri)].into_iter().chain(hue).collect()
}

/// §3.7
fn list_worn(looks: &Looks) -> Vec<u8> {
    let mut xml = Xml::new();
    start(&mut xml, Written::Result, FORM);
    reported(&mut xml, &[(JID, "Address"), (TITLE, "Title"), (URI, "URI"), (HUE, "Hue")]);
    for jid in looks.worn.keys() {
        for hat in looks.worn_by(jid) {
            let columns: Vec<_> = [(JID, &**jid)].into_iter().chain(columns(hat)).collect();
            item(&mut xml, &columns);
        }
    }
    xml.end();
    xml.finish().to_vec()
}

const HATS_MAX: usize = 32;
/// Hats on heads.
const WORN_MAX: usize = 1_000;
/// Bytes of the addresses of those who wear them, and of the hats' URIs.
const WORN_BYTES_MAX: usize = 65_536;
const TITLE_MAX: usize = 128;
const URI_MAX: usize = 256;
const HUE_MAX: usize = 16;
const SESSION_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(jid: &str, uri: &str, title: &str) -> Filled {
        let hat = Hat { uri: uri.to_owned(), title: title.to_owned(), hue: None };
        Filled { jid: jid.to_owned(), hat }
    }

    #[test]
    fn hats_are_made_worn_and_done_away_with() {
        let mut looks = Looks::default();
        let mut run = |command, jid: &str, uri: &str, title: &str| match changed(
            &looks,
            command,
            filled(jid, uri, title),
        ) {
            Ok(new) => {
                looks = new;
                format!("{:?}", looks.worn_by("a@x").map(|hat| &*hat.title).collect::<Vec<_>>())
            }
            Err(error) => error.condition.as_str().to_owned(),
        };
        use Command::{Assign, Create, Destroy, Unassign};
        for (command, jid, uri, title, outcome) in [
            (Create, "", "u:1", "", "bad-request"),
            (Create, "", "", "One", "bad-request"),
            (Create, "", "one", "One", "not-acceptable"),
            (Create, "", "u:1", "One", "[]"),
            (Assign, "a@x", "u:2", "", "item-not-found"),
            (Assign, "@", "u:1", "", "jid-malformed"),
            (Assign, "A@x/r", "u:1", "", "[\"One\"]"),
            (Assign, "a@x", "u:1", "", "[\"One\"]"),
            (Create, "", "u:1", "Uno", "[\"Uno\"]"),
            (Unassign, "b@x", "u:1", "", "item-not-found"),
            (Unassign, "a@x", "u:1", "", "[]"),
            (Unassign, "a@x", "u:1", "", "item-not-found"),
            (Assign, "a@x", "u:1", "", "[\"Uno\"]"),
            (Destroy, "", "u:1", "", "[]"),
            (Destroy, "", "u:1", "", "item-not-found"),
        ] {
            assert_eq!(run(command, jid, uri, title), outcome, "{command:?} {jid} {uri} {title}");
        }
        assert_eq!(looks, Looks::default());
    }

    #[test]
    fn there_are_only_so_many() {
        let mut looks = Looks::default();
        for n in 0..HATS_MAX {
            looks = changed(&looks, Command::Create, filled("", &format!("u:{n}"), "T")).unwrap();
        }
        let one_more = changed(&looks, Command::Create, filled("", "u:x", "T"));
        assert_eq!(one_more.unwrap_err().condition.as_str(), "resource-constraint");
        let long = "x".repeat(1_000);
        let mut heads = 0;
        let refused = loop {
            let assign = filled(&format!("{heads}{long}@x"), "u:1", "");
            match changed(&looks, Command::Assign, assign) {
                Ok(new) => looks = new,
                Err(error) => break error,
            }
            heads += 1;
        };
        assert_eq!((refused.condition.as_str(), heads), ("resource-constraint", 65));
        for (hue, is_right) in [
            ("0", true),
            ("327.255249", true),
            ("360.1", false),
            ("-1", false),
            ("red", false),
            ("nan", false),
        ] {
            let hat = Hat { uri: "u:1".into(), title: "T".into(), hue: Some(hue.into()) };
            assert_eq!(check(&hat).is_ok(), is_right, "{hue}");
        }
    }
}
