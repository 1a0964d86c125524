//! The two forms of bookmarks: an item for each room (XEP-0402), and one list of all (XEP-0048).

use std::collections::BTreeMap;

use crate::jid::Jid;
use crate::xml::view::{Doc, Node};
use crate::xml::writer::Xml;

/// A bookmark as both forms know it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bookmark {
    name: Option<String>,
    autojoin: bool,
    nick: Option<String>,
    password: Option<String>,
    /// What else there is, by namespace and name; in a list the children of `<conference/>`, in an item those
    /// of `<extensions/>`.
    extensions: BTreeMap<(String, String), String>,
}

/// An item: its id, which is the room's JID, and its payload.
pub type Item = (String, Vec<u8>);

/// What a new list changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Items that are new or other than before.
    pub publish: Vec<Item>,
    /// Ids of those that are not in the list.
    pub retract: Vec<String>,
}

impl Bookmark {
    /// Reads a `<conference/>` of this namespace.
    fn read(conference: Node<'_>, ns: &str) -> Self {
        let text = |name| {
            let text = conference.child_text(ns, name).map(str::trim);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        // XML Schema Part 2 §3.2.2.1
        let autojoin = matches!(conference.attr("autojoin").map(str::trim), Some("true" | "1"));
        let is_field = |node: &Node<'_>| {
            node.ns() == ns && ["nick", "password", "extensions"].contains(&node.name())
        };
        let mut extensions = BTreeMap::new();
        let deeper = conference.child(ns, "extensions");
        let deeper = deeper.filter(|_| ns == BOOKMARKS).into_iter().flat_map(Node::children);
        for one in conference.children().filter(|node| !is_field(node)).chain(deeper) {
            // With more attributes than any stanza may have it could not be given out.
            let Some(text) = one.standalone() else { continue };
            let key = (one.ns().to_owned(), one.name().to_owned());
            let all: &mut String = extensions.entry(key).or_default();
            all.push_str(&text);
        }
        let name = conference.attr("name").filter(|name| !name.is_empty()).map(str::to_owned);
        let (nick, password) = (text("nick"), text("password"));
        Self { name, autojoin, nick, password, extensions }
    }

    fn of_payload(payload: &[u8]) -> Option<Self> {
        let doc = Doc::of(payload, BOOKMARKS).ok()?;
        let is_one = doc.root().is(BOOKMARKS, "conference");
        is_one.then(|| Self::read(doc.root(), BOOKMARKS))
    }

    /// Attributes and texts, which have the same names in both forms.
    fn fields(&self, xml: &mut Xml) {
        xml.attr_opt("name", self.name.as_deref());
        xml.attr("autojoin", if self.autojoin { "true" } else { "false" });
        for (name, text) in [("nick", &self.nick), ("password", &self.password)] {
            if let Some(text) = text {
                xml.element(name, None, text);
            }
        }
    }

    /// XEP-0402 §2
    fn payload(&self) -> Vec<u8> {
        let mut xml = Xml::new();
        xml.start("conference").attr("xmlns", BOOKMARKS);
        self.fields(&mut xml);
        if !self.extensions.is_empty() {
            xml.start("extensions");
            self.extensions.values().for_each(|one| _ = xml.raw(one.as_bytes()));
            xml.end();
        }
        xml.end();
        xml.finish().to_vec()
    }
}

/// The payload of a bookmark of a room that clients enter by themselves.
pub fn joined(name: &str, password: Option<&str>) -> Vec<u8> {
    let name = Some(name).filter(|name| !name.is_empty()).map(str::to_owned);
    let (password, extensions) = (password.map(str::to_owned), BTreeMap::new());
    Bookmark { name, autojoin: true, nick: None, password, extensions }.payload()
}

/// XEP-0402 §5.3.1: the list of these items, with what else (web pages) the list before had. An item whose id is no
/// JID (§2) is no room's.
pub fn list(items: &[Item], before: Option<&[u8]>) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("storage").attr("xmlns", STORAGE);
    for (id, payload) in items.iter().filter(|(id, _)| Jid::parse(id).is_ok()) {
        let Some(bookmark) = Bookmark::of_payload(payload) else { continue };
        xml.start("conference").attr("jid", id);
        bookmark.fields(&mut xml);
        bookmark.extensions.values().for_each(|one| _ = xml.raw(one.as_bytes()));
        xml.end();
    }
    let doc = before.and_then(|before| Doc::of(before, STORAGE).ok());
    let rest = doc.iter().flat_map(|doc| doc.root().children());
    rest.filter(|one| room(*one).is_none())
        .filter_map(Node::standalone)
        .for_each(|one| _ = xml.raw(one.as_bytes()));
    xml.end();
    xml.finish().to_vec()
}

/// XEP-0402 §5.3.2: what a new list means for the items. What an item has and a list cannot say, or a client
/// that wrote the list did not know (extensions), stays; what did not change is not published again.
pub fn changes(items: &[Item], storage: Node<'_>) -> Changes {
    let mut changes = Changes::default();
    let mut left: BTreeMap<String, (&str, &[u8])> = BTreeMap::new();
    for (id, payload) in items {
        // What is no bookmark was not in the list that the client knew.
        if Bookmark::of_payload(payload).is_none() {
            continue;
        }
        let Ok(room) = Jid::parse(id) else { continue };
        // Of several ways to write a room's address one is enough: the list has the room once.
        let before = left.insert(room.as_str().to_owned(), (id, payload));
        changes.retract.extend(before.map(|(id, _)| id.to_owned()));
    }
    let mut listed: BTreeMap<String, Bookmark> = BTreeMap::new();
    for conference in storage.children() {
        let Some(room) = room(conference) else { continue };
        // Of several for one room the first counts.
        listed.entry(room).or_insert_with(|| Bookmark::read(conference, STORAGE));
    }
    for (room, mut bookmark) in listed {
        let before = left.remove(&room);
        let old = before.and_then(|(_, payload)| Bookmark::of_payload(payload));
        if let Some(old) = &old {
            for (key, one) in &old.extensions {
                bookmark.extensions.entry(key.clone()).or_insert_with(|| one.clone());
            }
        }
        if old.as_ref() != Some(&bookmark) {
            let id = before.map_or(room, |(id, _)| id.to_owned());
            changes.publish.push((id, bookmark.payload()));
        }
    }
    changes.retract.extend(left.into_values().map(|(id, _)| id.to_owned()));
    changes
}

/// The room of a `<conference/>` in a list that can be an item; none of what else is in lists.
fn room(child: Node<'_>) -> Option<String> {
    let is_room = child.is(STORAGE, "conference");
    let jid = child.attr("jid").filter(|_| is_room)?;
    Some(Jid::parse(jid.trim()).ok()?.bare_str().to_owned())
}

/// The node of items, and the namespace of their payloads.
pub const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
/// The node of the list, and its namespace.
pub const STORAGE: &str = "storage:bookmarks";

#[cfg(test)]
mod tests {
    use super::*;

    fn conference(inner: &str) -> String {
        format!("<conference xmlns='urn:xmpp:bookmarks:1'{inner}")
    }

    fn item(id: &str, inner: &str) -> Item {
        (id.to_owned(), conference(inner).into_bytes())
    }

    fn storage(inner: &str) -> String {
        format!("<storage xmlns='storage:bookmarks'>{inner}</storage>")
    }

    fn changed(items: &[Item], inner: &str) -> Changes {
        let list = storage(inner);
        changes(items, Doc::of(list.as_bytes(), "").unwrap().root())
    }

    /// Both forms of the same, in our own writing.
    const PAIRS: &[(&str, &str)] = &[
        (" autojoin='false'/>", "<conference jid='r@c.x' autojoin='false'/>"),
        (
            " name='The Play&apos;s the Thing' autojoin='true'><nick>JC</nick><password>&lt;</password></conference>",
            "<conference jid='r@c.x' name='The Play&apos;s the Thing' autojoin='true'><nick>JC</nick>\
             <password>&lt;</password></conference>",
        ),
        (
            " autojoin='true'><extensions><state xmlns='http://myclient.example/bookmark/state' minimized='true'/>\
             <p:y xmlns:p='z' xmlns=''>1<o/>2</p:y></extensions></conference>",
            "<conference jid='r@c.x' autojoin='true'>\
             <state xmlns='http://myclient.example/bookmark/state' minimized='true'/>\
             <p:y xmlns:p='z' xmlns=''>1<o/>2</p:y></conference>",
        ),
        (
            " autojoin='false'><extensions><minimize xmlns='storage:bookmarks'/></extensions></conference>",
            "<conference jid='r@c.x' autojoin='false'><minimize xmlns='storage:bookmarks'/></conference>",
        ),
    ];

    #[test]
    fn items_and_lists_say_the_same() {
        for (inner, listed) in PAIRS {
            let one = item("r@c.x", inner);
            let made = String::from_utf8(list(std::slice::from_ref(&one), None)).unwrap();
            assert_eq!(made, storage(listed));
            assert_eq!(changed(std::slice::from_ref(&one), listed), Changes::default(), "{listed}");
            let publish = changed(&[], listed).publish;
            assert_eq!(publish.len(), 1);
            assert_eq!(String::from_utf8_lossy(&publish[0].1), String::from_utf8_lossy(&one.1));
            assert_eq!(publish[0].0, "r@c.x");
        }
    }

    /// Spellings of the same are no change (XEP-0402 §5.3.2).
    #[test]
    fn what_did_not_change_is_not_published() {
        let one = item("r@c.x", " autojoin='1' name='n'>\n<nick> N </nick>\n</conference>");
        let same = "<conference jid='R@c.x' name='n' autojoin='true'><nick>N</nick><password/></conference>";
        assert_eq!(changed(&[one], same), Changes::default());
        let plain = item("r@c.x", "/>");
        assert_eq!(
            changed(&[plain], "<conference name='' jid='r@c.x' autojoin='0'/>"),
            Changes::default()
        );
    }

    #[test]
    fn a_list_changes_adds_and_takes_away() {
        let items = [
            item("a@x", "/>"),
            item("b@x", " autojoin='true'/>"),
            item("odd id", "/>"),
            ("z@x".into(), b"<z/>".to_vec()),
        ];
        let list = "<conference jid='c@x'/><conference jid='b@x' name='B'/><conference jid='b@x' name='C'/>\
            <conference/><conference jid='@'/><url url='http://x'/>";
        let publish =
            vec![item("b@x", " name='B' autojoin='false'/>"), item("c@x", " autojoin='false'/>")];
        // What is no room's was not in the list that the client knew.
        let retract = vec!["a@x".to_owned()];
        assert_eq!(changed(&items, list), Changes { publish, retract });
    }

    /// Two ways to write the address of one room would be two bookmarks, of which an older client changes one.
    #[test]
    fn a_room_is_in_the_items_once() {
        let items = [item("R@x", "/>"), item("r@x", " name='N'/>")];
        let same = "<conference jid='r@x' name='N' autojoin='false'/>";
        let retract = vec!["R@x".to_owned()];
        assert_eq!(changed(&items, same), Changes { publish: vec![], retract });
        let retract = vec!["R@x".to_owned(), "r@x".to_owned()];
        assert_eq!(changed(&items, ""), Changes { publish: vec![], retract });
    }

    /// A list is written again with each change: what it keeps of the one before must not be in it twice.
    #[test]
    fn a_list_does_not_grow_by_itself() {
        let items = [item("odd id", " name='O'/>"), item("r@x", "/>"), item("", "/>")];
        let once = list(&items, None);
        let wanted = storage("<conference jid='r@x' autojoin='false'/>");
        assert_eq!(String::from_utf8_lossy(&once), wanted);
        assert_eq!(list(&items, Some(&once)), once);
    }

    /// XEP-0402 §2: extensions MUST be preserved, by clients that do not know of them too.
    #[test]
    fn a_list_without_extensions_keeps_them() {
        let one = item(
            "r@c.x",
            " autojoin='true'><extensions><a xmlns='u' b='1'/><c xmlns='u'/></extensions></conference>",
        );
        let publish =
            changed(&[one], "<conference jid='r@c.x' name='N'><a xmlns='u' b='2'/></conference>")
                .publish;
        let wanted = " name='N' autojoin='false'><extensions><a xmlns='u' b='2'/><c xmlns='u'/></extensions></conference>";
        assert_eq!(publish, [item("r@c.x", wanted)]);
    }

    /// XEP-0402 has no web pages: they stay in the list, with what else cannot be an item.
    #[test]
    fn a_list_keeps_what_is_no_room() {
        let before = storage(
            "<url name='W' url='http://x'/><conference jid='old@x'/><conference jid=''/><x xmlns='y'/>",
        );
        let made = list(
            &[item("r@c.x", "/>"), ("z@x".into(), b"<other/>".to_vec())],
            Some(before.as_bytes()),
        );
        let wanted = "<conference jid='r@c.x' autojoin='false'/><url xmlns='storage:bookmarks' name='W' url='http://x'/>\
            <conference xmlns='storage:bookmarks' jid=''/><x xmlns='y'/>";
        assert_eq!(String::from_utf8(made).unwrap(), storage(wanted));
        assert_eq!(list(&[], Some(b"broken")), b"<storage xmlns='storage:bookmarks'/>");
    }
}
