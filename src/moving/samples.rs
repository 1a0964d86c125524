//! For tests of readers: what a source gives, sorted by whose it is, and held against what real clients saw.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::piece::{MovedAccount, Piece, Source};
use crate::xml::Doc;

/// Where the samples are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/moving")
}

/// Makes a database of a compressed file of SQL.
pub fn restore(sql: &Path, path: &Path) {
    let mut text = String::new();
    let file = std::fs::File::open(sql).expect("the sample");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the sample is text");
    let db = rusqlite::Connection::open(path).expect("a database");
    // Tables stand in the order of their names.
    db.execute_batch("PRAGMA foreign_keys = OFF").expect("a setting");
    db.execute_batch(&text).expect("the sample is SQL");
}

/// All pieces.
#[derive(Debug, Default)]
pub struct Found {
    /// By address, as they first came.
    pub accounts: BTreeMap<String, MovedAccount>,
    /// What could not be taken, in one line each.
    pub untaken: Vec<String>,
    /// Owner, what it stands in and its name, the element.
    parts: Vec<(String, String, String)>,
    files: Vec<String>,
    seen: Json,
}

impl Found {
    /// Reads a source; `seen`: the name of the file that says what clients saw.
    pub fn of(mut source: Box<dyn Source>, seen: &str) -> Self {
        let seen =
            std::fs::read_to_string(folder().join(format!("{seen}.json"))).unwrap_or_default();
        let mut found =
            Self { seen: serde_json::from_str(&seen).unwrap_or_default(), ..Self::default() };
        let mut owner = String::new();
        while let Some(piece) = source.next().expect("it can be read") {
            match piece {
                Piece::Account(it) => {
                    owner = format!("{}@{}", it.name, it.host);
                    found.accounts.entry(owner.clone()).or_insert(it);
                }
                Piece::Room { jid } => owner = jid,
                Piece::Part { within, xml } => {
                    let xml = String::from_utf8(xml).expect("UTF-8");
                    let doc = Doc::of(xml.as_bytes(), "jabber:client").expect("XML");
                    let names =
                        within.iter().map(|tag| tag.name.as_str()).chain([doc.root().name()]);
                    let kind = names.collect::<Vec<_>>().join("/");
                    found.parts.push((owner.clone(), kind, xml));
                }
                Piece::File(file) => {
                    found.files.push(format!("{owner} {} {}", file.name, file.size))
                }
                Piece::Untaken { what, which, why } => {
                    found.untaken.push(format!("{what} {which}: {why}"))
                }
            }
        }
        found
    }

    /// How many parts of each kind there are.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for (_, kind, _) in &self.parts {
            *counts.entry(kind.as_str()).or_insert(0) += 1;
        }
        counts
    }

    /// The elements of an account or room, with their kinds.
    pub fn parts_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let own = self.parts.iter().filter(move |(of, ..)| of == owner);
        own.map(|(_, kind, xml)| (kind.as_str(), xml.as_str()))
    }

    /// Each account's keys are those of the password that it had.
    pub fn judge_passwords(&self, but: &[&str]) {
        let passwords = self.seen["passwords"].as_object().expect("passwords");
        assert!(passwords.len() > 10);
        for (jid, password) in passwords.iter().filter(|(jid, _)| !but.contains(&jid.as_str())) {
            let account = self.accounts.get(jid).unwrap_or_else(|| panic!("{jid} is missing"));
            let password = password.as_str().expect("a password");
            if let Some(plain) = &account.password {
                assert_eq!(plain.0, password, "{jid}");
                continue;
            }
            let keys = account.keys.first().unwrap_or_else(|| panic!("{jid} has no keys"));
            let derived =
                crate::stream::sasl::keys::derive(password, keys.hash, &keys.salt, keys.iterations);
            assert!(derived.expect("keys").stored_key == keys.stored_key, "{jid}");
        }
    }

    fn account(&self, jid: &str) -> &Json {
        &self.seen["seen"]["accounts"][jid]
    }

    fn elements(&self, owner: &str, kind: &str) -> Vec<&str> {
        let own = self.parts.iter().filter(|(of, its, _)| of == owner && its == kind);
        own.map(|(.., xml)| xml.as_str()).collect()
    }

    /// The contacts with their states, names and groups.
    pub fn judge_roster(&self, jid: &str) {
        let items = self.elements(jid, "query/item");
        let seen = self.account(jid)["roster"].as_object().expect("a roster");
        assert!(seen.len() >= 10);
        for (contact, wanted) in seen {
            let item = items.iter().map(|xml| Doc::of(xml.as_bytes(), "").expect("XML"));
            let item =
                item.into_iter().find(|doc| doc.root().attr("jid") == Some(contact.as_str()));
            let item = item.unwrap_or_else(|| panic!("{contact} is missing"));
            let root = item.root();
            let attr = |name: &'static str| root.attr(name).unwrap_or_default();
            let mut groups: Vec<&str> = root.children().map(|it| it.text()).collect();
            groups.sort_unstable();
            let got = serde_json::json!([attr("name"), attr("subscription"), attr("ask"), groups]);
            assert_eq!(&got, wanted, "{contact}");
        }
        let requests = self.elements(jid, "presence").len();
        assert_eq!(requests, self.seen["pending_in"].as_array().map_or(0, Vec::len));
    }

    /// Archive, nodes, private elements, blocks: as many as were seen.
    pub fn judge_things(&self, jid: &str) {
        let count =
            |part: &str| self.account(jid)[part].as_object().map_or(0, serde_json::Map::len);
        let have = |kind: &str| self.elements(jid, kind).len();
        assert!(have("archive/result") >= count("archive") && count("archive") > 9, "archive");
        assert!(have("pubsub/items/item") >= count("pep") - 1 && count("pep") > 4, "nodes");
        assert_eq!(have("blocklist/item"), count("blocks"), "blocks");
        assert_eq!(count("blocks"), 4);
        for (node, _) in self.account(jid)["pep"].as_object().expect("nodes") {
            let (node, id) = node.split_once(' ').expect("a node and an item");
            let item = format!("id='{}'", crate::xml::writer::escape_attr(id));
            assert!(
                self.elements(jid, "pubsub/items/item").iter().any(|it| it.contains(&item)),
                "{node} {id}"
            );
        }
        let prefs = self.elements(jid, "prefs");
        let [prefs] = prefs.as_slice() else { panic!("{prefs:?}") };
        assert!(
            prefs.contains("default='roster'") && prefs.contains("<jid>spy@old.test</jid>"),
            "{prefs}"
        );
        assert_eq!(
            self.elements(jid, "vCard").len() + usize::from(self.has_vcard4(jid)),
            1,
            "vCard"
        );
    }

    /// Where the legacy vCard is kept as a node.
    fn has_vcard4(&self, jid: &str) -> bool {
        self.elements(jid, "pubsub/items/item").iter().any(|it| it.contains("vcard-4.0"))
    }

    /// Affiliations, archives and names of rooms.
    pub fn judge_rooms(&self) {
        let rooms = self.seen["seen"]["rooms"].as_object().expect("rooms");
        assert_eq!(rooms.len(), 2);
        for (jid, seen) in rooms {
            let people = self.elements(jid, "query/item");
            let wanted = seen["affiliations"].as_object().expect("people");
            assert_eq!(people.len(), wanted.len(), "{jid}: {people:?}");
            for (person, affiliation) in wanted {
                let affiliation = affiliation.as_str().expect("a word");
                let item = format!("jid='{person}' affiliation='{affiliation}'");
                assert!(people.iter().any(|it| it.contains(&item)), "{item}: {people:?}");
            }
            let archive = self.elements(jid, "archive/result");
            let wanted = seen["archive"].as_object().expect("an archive");
            assert!(archive.len() >= wanted.len(), "{jid}");
            for (_, message) in wanted {
                let from = message[1].as_str().expect("a sender");
                assert!(
                    archive.iter().any(|it| it.contains(&format!("from='{from}'"))),
                    "{from}: {archive:?}"
                );
            }
            let config = self.elements(jid, "query/x").concat();
            for (name, field) in
                [("roomname", "muc#roomconfig_roomname"), ("whois", "muc#roomconfig_whois")]
            {
                let wanted = seen["config"][field][0].as_str().expect(name);
                let wanted = crate::xml::writer::escape_text(wanted).into_owned();
                assert!(
                    config.contains(&format!("<field var='{field}'><value>{wanted}</value>")),
                    "{config}"
                );
            }
        }
    }
}
