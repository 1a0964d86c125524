//! Rooms (XEP-0045) as a client of the audit is in them: it enters with each new stream and reads in the
//! archive what it missed (XEP-0313); when it resumes (XEP-0198 §5) it is in them still.

use super::archive::{MAM, RSM};
use super::driver::{Driver, SID, body};
use super::ledger::{Heard, How, Key};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::{Element, escape};
use crate::harness::rooms::{MUC, at, codes, configure, found, is_subject, set_item};

/// The rooms of a run, by name and configuration: as they come, and for members only.
pub const ROOMS: [(&str, &[(&str, &str)]); 3] = [
    ("hall", &[]),
    ("annex", &[("whois", "anyone")]),
    ("club", &[("membersonly", "1"), ("publicroom", "0"), ("whois", "anyone")]),
];

/// A room that a device belongs to.
pub struct Stay {
    pub room: usize,
    jid: String,
    /// Its own presence has come on this stream (§7.2.2).
    pub entered: bool,
    /// It knows all up to this id.
    last: Option<String>,
    /// Its request for what it missed, until it has that.
    asked: Option<String>,
    /// What comes is what follows the last id.
    caught_up: bool,
}

impl Stay {
    pub fn of(room: usize) -> Stay {
        let jid = at(ROOMS[room].0);
        Stay { room, jid, entered: false, last: None, asked: None, caught_up: false }
    }
}

/// Makes the rooms; these accounts may enter them.
pub async fn make(founder: &mut Client, members: &[String]) -> Outcome<()> {
    for (name, fields) in ROOMS {
        found(founder, name, "founder", &[]).await?;
        // Before it is for members only, which would invite them.
        for member in members {
            let item = format!("<item affiliation='member' jid='{}'/>", escape(member));
            let answer = set_item(founder, name, &item).await?;
            is_done(founder, &answer)?;
        }
        let answer = configure(founder, name, fields).await?;
        is_done(founder, &answer)?;
    }
    Ok(())
}

fn is_done(client: &Client, answer: &Element) -> Outcome<()> {
    match answer.attr("type") {
        Some("result") => Ok(()),
        _ => client.fail(format!("not done: {answer}")),
    }
}

/// Each device is somebody of its own in a room.
pub fn nick(device: usize) -> String {
    format!("d{device}")
}

impl Driver {
    /// §7.2: enters all its rooms, and asks for what it missed. Some want history, all read the archive.
    pub async fn enter_rooms(&mut self) -> Outcome<()> {
        for n in 0..self.rooms.len() {
            let own = self.own_address(n);
            let stay = &mut self.rooms[n];
            (stay.entered, stay.caught_up) = (false, false);
            let history =
                if self.device.is_multiple_of(2) { "<history maxstanzas='0'/>" } else { "" };
            let x = format!("<x xmlns='{MUC}'>{history}</x>");
            self.send(format!("<presence to='{own}'>{x}</presence>")).await?;
            self.ask_missed(n).await?;
        }
        Ok(())
    }

    /// Asks for what is in the archive behind the last id that it knows, be that lost or not.
    async fn ask_missed(&mut self, n: usize) -> Outcome<()> {
        let stay = &mut self.rooms[n];
        let after = stay.last.as_deref().map(|last| format!("<after>{}</after>", escape(last)));
        let set = format!("<set xmlns='{RSM}'><max>100</max>{}</set>", after.unwrap_or_default());
        let id = format!("missed-{n}-{}", self.stream);
        let (to, query) = (&stay.jid, format!("<query xmlns='{MAM}' queryid='{id}'>{set}</query>"));
        let iq = format!("<iq type='set' id='{id}' to='{to}'>{query}</iq>");
        stay.asked = Some(id);
        self.send(iq).await
    }

    /// XEP-0410: in its rooms after a resumption, without having entered again.
    pub async fn ask_rooms(&mut self) -> Outcome<()> {
        for n in 0..self.rooms.len() {
            let (to, ping) = (self.own_address(n), "<ping xmlns='urn:xmpp:ping'/>");
            self.send(format!("<iq type='get' id='still-{n}' to='{to}'>{ping}</iq>")).await?;
        }
        Ok(())
    }

    /// §7.4
    pub async fn say_in(&mut self, key: Key, room: usize, length: usize) -> Outcome<()> {
        self.message_to(key, &at(ROOMS[room].0), "groupchat", length).await
    }

    /// Nothing more is asked: the stream ends.
    pub fn leave_rooms(&mut self) {
        self.rooms.iter_mut().for_each(|stay| stay.asked = None);
    }

    pub fn misses_something(&self) -> bool {
        self.rooms.iter().any(|stay| stay.asked.is_some())
    }

    /// A message of a room; false if it is none.
    pub fn got_room_message(&mut self, message: &Element) -> bool {
        let Some((n, nick)) = self.place_of(message) else { return false };
        if let Some(result) = message.child(MAM, "result") {
            self.got_missed(n, result);
            return true;
        }
        if is_subject(message) {
            return true;
        }
        let Some(key) = message.attr("id").and_then(Key::parse) else {
            self.book.fault(format!("{}: unexpected {message}", self.name()));
            return true;
        };
        let jid = self.rooms[n].jid.clone();
        let marks: Vec<&Element> =
            message.children.iter().filter(|child| child.is(SID, "stanza-id")).collect();
        let mark = marks.iter().find(|mark| mark.attr("by") == Some(&jid));
        let mark = mark.and_then(|mark| mark.attr("id")).map(str::to_owned);
        let is_right = is_as_sent(key, nick, message) && mark.is_some() && marks.len() == 1;
        if !is_right {
            self.book.fault(format!("{}: {key} was changed: {message}", self.name()));
        }
        // §7.2.13: what was said before.
        let delay = message.child("urn:xmpp:delay", "delay");
        let is_history = delay.is_some_and(|delay| delay.attr("from") == Some(&jid));
        if self.rooms[n].caught_up {
            self.rooms[n].last.clone_from(&mark);
        }
        self.heard(n, key, mark, if is_history { How::History } else { How::Live });
        true
    }

    /// A row of the archive, in its order.
    fn got_missed(&mut self, n: usize, result: &Element) {
        let message = result.find("forwarded").and_then(|forwarded| forwarded.find("message"));
        let key = message.and_then(|message| message.attr("id")).and_then(Key::parse);
        let (Some(key), Some(message), Some(uid)) = (key, message, result.attr("id")) else {
            return self.book.fault(format!("{}: in the archive: {result}", self.name()));
        };
        let from = message.attr("from").unwrap_or_default();
        if !is_as_sent(key, from.split_once('/').map_or("", |(_, nick)| nick), message) {
            self.book.fault(format!("{}: {key} was changed: {result}", self.name()));
        }
        if self.rooms[n].asked.as_deref() == result.attr("queryid") {
            self.rooms[n].last = Some(uid.to_owned());
        }
        self.heard(n, key, Some(uid.to_owned()), How::Page);
    }

    fn heard(&mut self, n: usize, key: Key, mark: Option<String>, how: How) {
        let (device, room, stream) = (self.device, self.rooms[n].room, self.stream);
        let heard = Heard { key, device, room, stream, mark, how, when: self.now() };
        self.book.write(|ledger| ledger.heard(heard));
    }

    /// An answer about a room; false if it is none.
    pub async fn got_room_iq(&mut self, iq: &Element) -> Outcome<bool> {
        let id = iq.attr("id").unwrap_or_default();
        let is_error = iq.attr("type") == Some("error");
        if id.starts_with("still-") {
            if is_error {
                self.book.fault(format!("{}: not in the room any more: {iq}", self.name()));
            }
            return Ok(true);
        }
        if !id.starts_with("missed-") {
            return Ok(false);
        }
        if is_error {
            self.book.fault(format!("{}: what it missed: {iq}", self.name()));
        }
        let asks = |stay: &Stay| stay.asked.as_deref() == Some(id);
        let Some(n) = self.rooms.iter().position(asks) else { return Ok(true) };
        let fin = iq.child(MAM, "fin").and_then(|fin| fin.attr("complete"));
        match fin {
            Some("true" | "1") => {
                self.rooms[n].asked = None;
                self.rooms[n].caught_up = true;
            }
            _ if is_error => self.rooms[n].asked = None,
            _ => self.ask_missed(n).await?,
        }
        Ok(true)
    }

    /// Presence, which may be that of an occupant of its rooms.
    pub fn got_room_presence(&mut self, presence: &Element) {
        let Some((n, _)) = self.place_of(presence) else { return };
        let codes = codes(presence);
        let has = |code: &str| codes.iter().any(|other| other == code);
        match presence.attr("type") {
            None if has("110") => self.rooms[n].entered = true,
            Some("error") => self.book.fault(format!("{}: {presence}", self.name())),
            // 332: the server stops.
            Some("unavailable") if has("110") && !has("332") => {
                self.book.fault(format!("{}: thrown out: {presence}", self.name()));
            }
            _ => {}
        }
    }

    fn own_address(&self, n: usize) -> String {
        format!("{}/{}", self.rooms[n].jid, nick(self.device))
    }

    /// Which of its rooms it is from, and whose in it.
    fn place_of<'a>(&self, stanza: &'a Element) -> Option<(usize, &'a str)> {
        let from = stanza.attr("from")?;
        let (room, nick) = from.split_once('/').unwrap_or((from, ""));
        Some((self.rooms.iter().position(|stay| stay.jid == room)?, nick))
    }
}

/// What came is what was sent, under the nickname of who sent it.
fn is_as_sent(key: Key, from: &str, message: &Element) -> bool {
    let text = message.text_of("body").unwrap_or_default();
    let length = text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or_default();
    let origin = message.child(SID, "origin-id").and_then(|origin| origin.attr("id"));
    message.attr("type") == Some("groupchat")
        && text == body(key, length)
        && origin == Some(&key.to_string())
        && from == nick(key.sender)
}
