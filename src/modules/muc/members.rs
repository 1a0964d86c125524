//! The members of a room that have an account of this server, found by what a message calls them: a message costs a
//! look at its words and not at all members.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use smallvec::SmallVec;

use crate::base::hash::{base64, hmac_sha256};
use crate::jid::BareJid;
use crate::modules::push::Mentions;
use crate::stanza::Stanza;
use crate::xml::ns;

/// A list that is made anew when somebody's standing or name changed. Members are numbers in it.
#[derive(Debug)]
pub(super) struct Members {
    /// Sorted.
    all: Vec<BareJid>,
    /// By nickname, in lower case: the reserved one, and the one that the member had last.
    names: HashMap<Box<str>, SmallVec<[usize; 1]>>,
    /// The lengths of these names, in bytes.
    lengths: BTreeSet<usize>,
    /// By occupant id (XEP-0421); made when somebody is mentioned so.
    ids: Mutex<HashMap<String, usize>>,
    /// Whether each was in the room since it is a member.
    came: Vec<bool>,
    secret: [u8; 32],
}

impl Members {
    /// Those of a room, each with its nicknames, the second of which it had when it was there last, in the order of
    /// their addresses.
    pub(super) fn of<'a>(
        secret: [u8; 32],
        of: impl Iterator<Item = (&'a BareJid, [Option<&'a str>; 2])>,
    ) -> Self {
        let mut members = Self {
            all: Vec::new(),
            names: HashMap::new(),
            lengths: BTreeSet::new(),
            ids: Mutex::default(),
            came: Vec::new(),
            secret,
        };
        for (number, (jid, names)) in of.enumerate() {
            members.all.push(jid.clone());
            let [_, last] = names;
            members.came.push(last.is_some());
            for name in names.into_iter().flatten().map(lower).filter(|name| !name.is_empty()) {
                members.lengths.insert(name.len());
                let known = members.names.entry(name.into()).or_default();
                if !known.contains(&number) {
                    known.push(number);
                }
            }
        }
        members
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<&BareJid> {
        self.all.get(number)
    }

    /// Whether a member was in the room ever: others may be members without their doing.
    pub(super) fn came(&self, number: usize) -> bool {
        self.came.get(number).is_some_and(|came| *came)
    }

    /// The number of an account, if it is a member.
    pub(super) fn find(&self, jid: &str) -> Option<usize> {
        self.all.binary_search_by(|one| one.as_str().cmp(jid)).ok()
    }

    /// Whom a message of the room mentions.
    pub(super) fn mentioned(&self, message: &Stanza) -> BTreeSet<usize> {
        let doc = message.element().view();
        let body = doc.root().child_text(ns::CLIENT, "body").unwrap_or_default();
        let mut found = self.named(body);
        let Mentions { jids, occupants } = Mentions::of(doc.root());
        for jid in &jids {
            match jid.resource() {
                Some(nick) if jid.bare_str() == message.from().bare_str() => {
                    found.extend(self.names.get(&*lower(nick)).into_iter().flatten());
                }
                _ => found.extend(self.find(jid.bare_str())),
            }
        }
        let ids = occupants.iter().filter_map(|id| self.by_id(id));
        found.extend(ids);
        found
    }

    /// Whose names are in a text, as words of their own.
    fn named(&self, text: &str) -> BTreeSet<usize> {
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = lower(text.get(..end).unwrap_or_default());
        let (mut found, mut before) = (BTreeSet::new(), None);
        for (start, first) in text.char_indices() {
            let begins = !before.is_some_and(char::is_alphanumeric);
            before = Some(first);
            if !begins {
                continue;
            }
            for length in &self.lengths {
                let end = start + length;
                let Some(word) = text.get(start..end) else { continue };
                let after = text.get(end..).and_then(|rest| rest.chars().next());
                if !after.is_some_and(char::is_alphanumeric) {
                    found.extend(self.names.get(word).into_iter().flatten());
                }
            }
        }
        found
    }

    /// The member with this occupant id. All ids are made when the first is asked for.
    fn by_id(&self, id: &str) -> Option<usize> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.is_empty() {
            let made = self.all.iter().enumerate();
            ids.extend(made.map(|(number, jid)| (occupant_id(&self.secret, jid.as_str()), number)));
        }
        ids.get(id).copied()
    }
}

/// XEP-0421: of an account in the room with this secret.
pub(super) fn occupant_id(secret: &[u8; 32], bare: &str) -> String {
    let id = hmac_sha256(secret, &[bare.as_bytes()]);
    base64(id.get(..24).unwrap_or(&id)).replace('+', "-").replace('/', "_")
}

fn lower(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Bytes of a text that are looked at.
const TEXT_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_finds_whom_it_mentions() {
        let listed = [
            ("ann@x", [None, Some("Änn!")]),
            ("bob@x", [Some("Bob"), Some("Robert")]),
            ("cat@x", [Some("The Cat"), None]),
            ("eve@x", [None, None]),
        ];
        let listed = listed.map(|(jid, names)| (BareJid::parse(jid).unwrap(), names));
        let members = Members::of([7; 32], listed.iter().map(|(jid, names)| (jid, *names)));
        let of = |payload: &str| {
            let xml =
                format!("<message from='hall@rooms.x/zoe' type='groupchat'>{payload}</message>");
            let found = members.mentioned(&Stanza::ours(xml.into()).unwrap());
            let jids = found.into_iter().map(|n| members.get(n).unwrap().to_string());
            jids.collect::<Vec<_>>().join(" ")
        };
        assert_eq!([0, 1, 2, 3, 4].map(|n| members.came(n)), [true, true, false, false, false]);
        let long = format!("{} bob", "x ".repeat(TEXT_MAX));
        for (text, expected) in [
            ("hello", ""),
            ("Bob: hello", "bob@x"),
            ("@robert and bob", "bob@x"),
            ("bobby kebob", ""),
            ("is the cat, here? änn!", "ann@x cat@x"),
            ("the  cat", ""),
            ("dan, danny, eve", ""),
            ("", ""),
            (&*long, ""),
        ] {
            assert_eq!(of(&format!("<body>{text}</body>")), expected, "{text:.40}");
        }
        let mention =
            |attributes: &str| format!("<mention xmlns='urn:xmpp:mentions:0' {attributes}/>");
        let id = occupant_id(&[7; 32], "cat@x");
        for (attributes, expected) in [
            (format!("occupantid='{id}'"), "cat@x"),
            ("occupantid='x'".to_owned(), ""),
            ("jid='bob@x'".to_owned(), "bob@x"),
            ("jid='hall@rooms.x/robert'".to_owned(), "bob@x"),
            ("jid='other@rooms.x/robert'".to_owned(), ""),
            ("jid='dan@x'".to_owned(), ""),
            (format!("occupantid='{id}' mentions='urn:xmpp:mentions:0#channel'"), ""),
        ] {
            assert_eq!(of(&mention(&attributes)), expected, "{attributes}");
        }
    }
}
