//! XEP-0433: rooms are searched.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{SERVICE, ask, at, enter, found};

const NS: &str = "urn:xmpp:channel-search:0:search";
const RSM: &str = "http://jabber.org/protocol/rsm";

async fn search(client: &mut Client, fields: &[(&str, &str)], set: &str) -> Outcome<Element> {
    let fields: String = fields
        .iter()
        .map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"))
        .collect();
    let form = format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>urn:xmpp:channel-search:0:search-params</value></field>{fields}</x>"
    );
    let set = match set {
        "" => String::new(),
        set => format!("<set xmlns='{RSM}'>{set}</set>"),
    };
    ask(client, "get", SERVICE, &format!("<search xmlns='{NS}'>{set}{form}</search>")).await
}

fn addresses(answer: &Element) -> Vec<&str> {
    let result = answer.child_of("result");
    let items = result.children.iter().filter(|one| one.name == "item");
    items.filter_map(|item| item.attr("address")?.split('@').next()).collect()
}

trait ChildOf {
    fn child_of(&self, name: &str) -> &Element;
}

impl ChildOf for Element {
    fn child_of(&self, name: &str) -> &Element {
        self.child(NS, name).unwrap_or_else(|| panic!("no {name}: {self}"))
    }
}

/// §4.2, §6.1, §6.2: by words in names, descriptions and addresses; ordered, and in pages.
#[tokio::test]
async fn rooms_are_found_by_words() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob"], &[]);
    let (mut ann, mut bob) = (lab.online("ann", "r").await?, lab.online("bob", "r").await?);
    for (room, fields) in [
        (
            "heath",
            &[("roomname", "A Lonely Heath"), ("roomdesc", "Witches meet"), ("lang", "en")][..],
        ),
        (
            "cave",
            &[("roomname", "A Dark Cave"), ("roomdesc", "More witches"), ("membersonly", "1")],
        ),
        ("witches", &[("whois", "anyone")]),
        ("secret", &[("roomname", "Secret witches"), ("publicroom", "0")]),
    ] {
        found(&mut ann, room, "ann", fields).await?;
    }
    enter(&mut bob, "witches", "bob").await?;
    let form = ask(&mut bob, "get", SERVICE, &format!("<search xmlns='{NS}'/>")).await?;
    let form = form.child_of("search").child("jabber:x:data", "x").expect("a form");
    for var in [
        "FORM_TYPE",
        "q",
        "all",
        "sinname",
        "sindescription",
        "sinaddr",
        "min_users",
        "types",
        "key",
    ] {
        assert!(form.children.iter().any(|field| field.attr("var") == Some(var)), "{var}");
    }
    let order = "{urn:xmpp:channel-search:0:order}address";
    for (fields, expected) in [
        (&[("q", "witches")][..], &["witches", "cave", "heath"][..]),
        (&[("q", "WITCHES more")], &["cave"]),
        (&[("q", "witches"), ("key", order)], &["cave", "heath", "witches"]),
        (&[("q", "witches"), ("sindescription", "false")], &["witches"]),
        (&[("q", "witches"), ("sinaddr", "0")], &["cave", "heath"]),
        (&[("q", "heath"), ("sinname", "0"), ("sinaddress", "0")], &[]),
        (&[("all", "true"), ("key", order)], &["cave", "heath", "witches"]),
        (&[("all", "1"), ("min_users", "2")], &["witches"]),
        (&[("all", "1"), ("types", "xep-0369")], &[]),
        (&[("q", "warlocks"), ("unknown", "x")], &[]),
    ] {
        let answer = search(&mut bob, fields, "").await?;
        assert_eq!(addresses(&answer), expected, "{fields:?}");
    }
    let by = [("all", "1"), ("key", order)];
    for (set, expected) in [
        ("<max>2</max>", &["cave", "heath"][..]),
        (&format!("<max>2</max><after>{}</after>", at("heath")), &["witches"]),
        ("<max>1</max><before/>", &["witches"]),
        ("<max>5</max><index>1</index>", &["heath", "witches"]),
    ] {
        let answer = search(&mut bob, &by, set).await?;
        assert_eq!(addresses(&answer), expected, "{set}");
        let count = answer.find("set").and_then(|set| set.child(RSM, "count"));
        assert_eq!(count.map(|count| &*count.text), Some("3"));
    }
    let answer = search(&mut bob, &by, "").await?;
    let items = &answer.child_of("result").children;
    let text = |at: usize, name: &str| items[at].child(NS, name).map(|one| one.text.as_str());
    assert_eq!((text(0, "is-open"), text(1, "is-open")), (None, Some("true")));
    assert_eq!((text(1, "name"), text(1, "language")), (Some("A Lonely Heath"), Some("en")));
    assert_eq!((text(2, "nusers"), text(2, "service-type")), (Some("2"), Some("xep-0045")));
    assert_eq!(text(1, "anonymity-mode"), Some("muc_semianonymous"));
    assert_eq!(text(2, "anonymity-mode"), Some("{urn:xmpp:channel-search:0:anonymity}none"));
    Ok(())
}

/// §4.2.2: the errors, each with its own condition.
#[tokio::test]
async fn what_cannot_be_searched_for_is_refused() -> Outcome<()> {
    let lab = Lab::new(&["ann"], &[]);
    let mut ann = lab.online("ann", "r").await?;
    for (fields, ty, condition, own) in [
        (&[][..], "cancel", "bad-request", Some("no-search-conditions")),
        (&[("q", "a"), ("all", "1")], "modify", "bad-request", Some("conflicting-fields")),
        (&[("q", "a b")], "modify", "bad-request", Some("invalid-search-terms")),
        (
            &[("q", "a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1")],
            "modify",
            "bad-request",
            Some("invalid-search-terms"),
        ),
        (
            &[("all", "1"), ("key", "size")],
            "modify",
            "feature-not-implemented",
            Some("invalid-sort-key"),
        ),
        (&[("all", "1"), ("min_users", "many")], "modify", "bad-request", None),
        (&[("all", "perhaps")], "modify", "bad-request", None),
    ] {
        let answer = search(&mut ann, fields, "").await?;
        assert_eq!(answer.condition(), Some(condition), "{fields:?}");
        let error = answer.find("error").expect("an error");
        assert_eq!(error.attr("type"), Some(ty), "{fields:?}");
        let found = error.children.iter().find(|one| one.ns == "urn:xmpp:channel-search:0:error");
        assert_eq!(found.map(|one| &*one.name), own, "{fields:?}");
    }
    let answer = search(&mut ann, &[("all", "1")], "<after>x</after>").await?;
    assert_eq!(answer.condition(), Some("item-not-found"), "XEP-0059 §2.2");
    Ok(())
}
