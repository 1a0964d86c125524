//! XEP-0463: what changed of the affiliations since a client last looked.

use super::judge::Rank;
use super::lists::List;
use super::outputs::Outputs;
use super::rights::Affiliation;
use super::room::{Room, Standing};
use super::say::NORMAL;
use crate::base::hash::{base64, hmac_sha256, same_secret};
use crate::jid::{BareJid, Jid};
use crate::router::rules::StanzaClass;
use crate::stanza::message::MessageType;
use crate::stanza::{ErrorType, Frame, StanzaError};
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::{Xml, escape_attr};

/// Its namespace.
pub const MAV: &str = "urn:xmpp:muc:affiliations:1";

/// What a client that enters asks for (§5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The version that it knows; none: everything.
    pub since: Option<String>,
}

impl Asked {
    /// Reads it from the `<x/>` of who enters, if it is there.
    pub fn read(x: Node<'_>) -> Option<Self> {
        let mav = x.child(MAV, "mav")?;
        Some(Self { since: mav.attr("since").map(str::to_owned) })
    }
}

impl Room {
    /// A version as clients see it: opaque, unlike those of another room of this name. Nobody can make one up: who
    /// has it was told it by the room, and so was there at the time (§6).
    fn version_name(&self, version: i64) -> String {
        let mac = hmac_sha256(&self.secret, &[b"affiliations", &version.to_be_bytes()]);
        format!("{version}.{}", base64(mac.get(..9).unwrap_or(&mac)))
    }

    /// The reverse; `None` for what is not known, or not any more.
    pub(super) fn version_of(&self, name: &str) -> Option<i64> {
        let version: i64 = name.split_once('.')?.0.parse().ok()?;
        let known = (self.forgotten..=self.version).contains(&version)
            && same_secret(self.version_name(version).as_bytes(), name.as_bytes());
        known.then_some(version)
    }

    /// `<mav/>` from one version to another.
    pub(super) fn mav(&self, since: Option<i64>, until: i64) -> Vec<u8> {
        let mut xml = Xml::new();
        xml.start("mav").attr("xmlns", MAV);
        xml.attr_opt("since", since.map(|since| self.version_name(since)).as_deref());
        xml.attr("until", &self.version_name(until)).end();
        xml.finish().to_vec()
    }

    /// §5.2.1: what somebody who enters does not know yet, before any presence; so many bytes fit into its box.
    pub(super) fn tell_affiliations(
        &self,
        (session, id): (&Jid, Option<&str>),
        reader: Rank,
        (asked, fits): (&Asked, usize),
        out: &mut Outputs,
    ) {
        let own = Jid::from(self.jid.clone());
        let refuse = |error: StanzaError, out: &mut Outputs| {
            let error = error.by(self.jid.clone());
            let from = escape_attr(self.jid.as_str());
            let id = id.map(|id| format!(" id=\"{}\"", escape_attr(id))).unwrap_or_default();
            let head = format!("<message from=\"{from}\" type=\"error\"{id}");
            let frame = Frame::of(head, format!(">{}</message>", error.to_xml()));
            out.tell_one(session, &own, StanzaClass::Message(MessageType::Error), frame);
        };
        if !self.may_read(reader, List::Of(Affiliation::Member)) {
            let error = StanzaError::forbidden().text("the lists of this room are not for you");
            return refuse(error, out);
        }
        let since = asked.since.as_deref().and_then(|name| self.version_of(name));
        if since == Some(self.version) {
            return;
        }
        let answers = self.affiliations_since(reader, since);
        if answers.iter().map(Vec::len).sum::<usize>() > fits {
            // What is longer than what may wait for a client would end its stream.
            let error = StanzaError::resource_constraint()
                .kind(ErrorType::Wait)
                .text("the lists are too long as long as so much else waits to be sent to you");
            return refuse(error, out);
        }
        for payload in answers {
            out.tell_one(session, &own, NORMAL, self.notice(None, &payload));
        }
    }

    /// The `<x/>` of each message of an answer: each begins where the one before ends.
    pub(super) fn affiliations_since(&self, reader: Rank, since: Option<i64>) -> Vec<Vec<u8>> {
        let is_new = |standing: &Standing| match since {
            Some(since) => standing.version > since,
            None => standing.affiliation != Affiliation::None,
        };
        let shown = self.standing.iter().filter(|(_, standing)| is_new(standing));
        let mut shown: Vec<(&BareJid, &Standing)> = shown.collect();
        shown.sort_unstable_by_key(|(_, standing)| standing.version);
        let (mut answers, mut from) = (Vec::new(), since);
        loop {
            let last = shown.get(ITEMS_MAX.min(shown.len()).saturating_sub(1));
            // A client that hears no more than this knows what it says: what has one version stays together.
            let last = last.map_or(self.version, |(_, standing)| standing.version);
            let count = shown.partition_point(|(_, standing)| standing.version <= last);
            let rest = shown.split_off(count);
            let until = if rest.is_empty() { self.version } else { last };
            let mut xml = Xml::new();
            xml.start("x").attr("xmlns", ns::MUC_USER).raw(&self.mav(from, until));
            for (jid, standing) in &shown {
                self.write_change(&mut xml, (jid, standing), reader, from);
            }
            xml.end();
            answers.push(xml.finish().to_vec());
            if rest.is_empty() {
                return answers;
            }
            (shown, from) = (rest, Some(until));
        }
    }

    /// §5.2.3: who may not read a list hears of who is in it now only that it is in none.
    fn write_change(
        &self,
        xml: &mut Xml,
        (jid, standing): (&BareJid, &Standing),
        reader: Rank,
        since: Option<i64>,
    ) {
        let hidden = !self.may_read(reader, List::Of(standing.affiliation));
        if hidden && since.is_none() {
            return;
        }
        let affiliation = if hidden { Affiliation::None } else { standing.affiliation };
        xml.start("item").attr("affiliation", affiliation.as_str()).attr("jid", jid.as_str());
        xml.attr_opt("nick", standing.nick.as_deref().filter(|_| !hidden)).end();
    }
}

/// People in one message.
const ITEMS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::muc::Config;
    use crate::modules::muc::settings::Preset;
    use crate::xml::view::Doc;
    use std::collections::BTreeMap;

    const OWNER: Rank =
        Rank { affiliation: Affiliation::Owner, role: super::super::rights::Role::Moderator };

    fn room(people: i64) -> Room {
        let jid = BareJid::parse("hall@rooms.example").unwrap();
        let mut room =
            Room::new(jid, Preset::Private.settings(), [7; 32], Config::default().bounds());
        for n in 0..people {
            let affiliation = match n {
                0 => Affiliation::Owner,
                _ if n % 5 == 4 => Affiliation::None,
                _ => Affiliation::Member,
            };
            let standing = Standing { affiliation, version: n, ..Standing::default() };
            room.list(BareJid::parse(&format!("u{n}@a.example")).unwrap(), standing);
        }
        room.version = people - 1;
        room
    }

    /// `since` and `until` of an answer, and how many items.
    fn read(payload: &[u8]) -> (Option<String>, String, usize) {
        let doc = Doc::of(payload, ns::MUC_USER).unwrap();
        let mav = doc.root().child(MAV, "mav").unwrap();
        let since = mav.attr("since").map(str::to_owned);
        (since, mav.attr("until").unwrap().to_owned(), doc.root().children().count() - 1)
    }

    /// §5.2.1
    #[test]
    fn an_answer_is_whole_or_what_changed() {
        let room = room(10);
        let all = room.affiliations_since(OWNER, None);
        assert_eq!(
            all.iter().map(|one| read(one)).collect::<Vec<_>>(),
            [(None, room.version_name(9), 8)]
        );
        let part = room.affiliations_since(OWNER, Some(6));
        let expected = (Some(room.version_name(6)), room.version_name(9), 3);
        assert_eq!(part.iter().map(|one| read(one)).collect::<Vec<_>>(), [expected]);
    }

    /// "must have their `until` and `since` attributes match the adjacent message"
    #[test]
    fn a_long_answer_is_a_chain_of_messages() {
        let room = room(3_000);
        let answers = room.affiliations_since(OWNER, None);
        let read: Vec<_> = answers.iter().map(|one| read(one)).collect();
        assert!(read.len() > 3 && read.iter().all(|one| one.2 <= ITEMS_MAX));
        assert_eq!(read.iter().map(|one| one.2).sum::<usize>(), 2_400);
        assert_eq!(read[0].0, None);
        for pair in read.windows(2) {
            assert_eq!(pair[1].0.as_ref(), Some(&pair[0].1));
        }
        assert_eq!(read.last().unwrap().1, room.version_name(2_999));
    }

    /// §6: what nobody was told is not known; nor is what is too old.
    #[test]
    fn versions_cannot_be_made_up() {
        let mut room = room(10);
        for version in 0..10 {
            assert_eq!(room.version_of(&room.version_name(version)), Some(version));
        }
        let mut other = self::room(10);
        other.secret = [8; 32];
        for name in ["", "3", "3.", "3.abcdefghijkl", "-1.x", "99999999999999999999.x"] {
            assert_eq!(room.version_of(name), None, "{name}");
        }
        assert_eq!(room.version_of(&other.version_name(3)), None);
        assert_eq!(room.version_of(&room.version_name(10)), None);
        room.forgotten = 5;
        assert_eq!(room.version_of(&room.version_name(4)), None);
        assert_eq!(room.version_of(&room.version_name(5)), Some(5));
    }

    /// §5.2.3: an admin of a semi-anonymous room may not read who the owners are (XEP-0045 §10.5).
    #[test]
    fn lists_that_one_may_not_read_are_left_out() {
        let mut room = room(4);
        room.settings.whois = super::super::settings::Whois::Moderators;
        let admin = Rank { affiliation: Affiliation::Admin, ..OWNER };
        let all = room.affiliations_since(admin, None);
        assert_eq!(read(&all[0]).2, 3, "no owner");
        let mut seen = BTreeMap::new();
        for payload in room.affiliations_since(admin, Some(-1)) {
            let doc = Doc::of(&payload, ns::MUC_USER).unwrap();
            for item in doc.root().children().filter(|child| child.name() == "item") {
                let affiliation = item.attr("affiliation").unwrap().to_owned();
                seen.insert(item.attr("jid").unwrap().to_owned(), affiliation);
            }
        }
        assert_eq!(seen["u0@a.example"], "none");
        assert_eq!(seen["u1@a.example"], "member");
    }
}
