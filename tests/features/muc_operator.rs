//! What an operator does to rooms (XEP-0045), on the command line and by commands (XEP-0050): those who are in them see
//! it.

use super::commands::{command, result};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::{Element, escape};
use crate::harness::process::{Lab, PORTS, Said, run_in};
use crate::harness::rooms::{
    at, codes, configure, enter, entered, gathering, hears, item, knock, say, sees,
};
use std::path::Path;

const NODE: &str = "https://stonechat.im/muc#";

fn room(folder: &Path, args: &[&str]) -> Said {
    run_in(folder, &[&["--data-dir", "data", "room"], args].concat(), "")
}

fn good(folder: &Path, args: &[&str]) -> String {
    let said = room(folder, args);
    assert!(said.ok, "{args:?}: {}", said.err);
    said.out
}

fn bad(folder: &Path, args: &[&str]) -> String {
    let said = room(folder, args);
    assert!(!said.ok, "{args:?}: {}", said.out);
    said.err
}

#[tokio::test]
async fn a_room_is_made_for_its_owner() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let lab = Lab::serve(here, &[], &["alice", "bob"]);
    let make = ["create", "hall", "--owner", "alice@localhost", "--preset", "private"];
    let said = good(here, &[&make[..], &["--name", "The hall"]].concat());
    assert!(
        said.contains("hall@conference.localhost is there, private, and alice@localhost owns it"),
        "{said}"
    );
    // It stays, and is locked for nobody; but members only.
    let mut bob = lab.online("bob", "b").await?;
    knock(&mut bob, "hall", "Bob", "").await?;
    let refused = bob.expect(|e| e.attr("type") == Some("error")).await?;
    assert_eq!(refused.condition(), Some("registration-required"), "{refused}");
    let mut alice = lab.online("alice", "a").await?;
    let own = enter(&mut alice, "hall", "Alice").await?;
    let own = own.iter().find(|one| codes(one).contains(&"110".to_owned())).unwrap();
    assert_eq!(item(own).as_deref(), Some("owner moderator"));
    assert!(!codes(own).contains(&"201".to_owned()), "it is no new room: {own}");
    let listed = good(here, &["list"]);
    assert_eq!(
        listed,
        "hall@conference.localhost  1 in it  hidden, members only, non-anonymous, archived  The hall\n"
    );
    let shown = good(here, &["show", "hall"]);
    for line in
        ["name: The hall", "owner: alice@localhost", "in it: Alice, alice@localhost, moderator"]
    {
        assert!(shown.lines().any(|one| one == line), "no `{line}` in {shown}");
    }
    // What cannot be.
    for (args, why) in [
        (&make[..], "there is a room hall@conference.localhost already"),
        (&["create", "b", "--owner", "nobody@localhost"], "no account nobody@localhost"),
        (&["create", "b", "--owner", "bob@localhost", "--preset", "odd"], "no kind of room `odd`"),
        (
            &["create", "b", "--owner", "bob@localhost", "--preset", "temporary"],
            "public and private stay",
        ),
        (
            &["create", "b@localhost", "--owner", "bob@localhost"],
            "rooms are at conference.localhost",
        ),
        (&["create", "a@b@c", "--owner", "bob@localhost"], "is not the address of a room"),
        (&["show", "nowhere"], "there is no room nowhere@conference.localhost"),
        (&["destroy", "hall"], "add --yes if it is meant"),
        (&["purge", "hall"], "add --yes if it is meant"),
        (&["affiliation", "hall", "bob@localhost", "king"], "none of: owner, admin"),
        (&["affiliation", "hall", "nobody@localhost", "member"], "no account nobody@localhost"),
        (&["affiliation", "hall", "alice@localhost", "none"], "a room needs an owner"),
    ] {
        let said = bad(here, args);
        assert!(said.contains(why), "{args:?}: {said}");
    }
    Ok(())
}

/// What changes a room needs those who are in it; what looks does not.
#[tokio::test]
async fn a_room_is_changed_by_the_running_server_alone() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let mut lab = Lab::serve(here, &[], &["alice"]);
    good(here, &["create", "hall", "--owner", "alice@localhost"]);
    lab.process.kill();
    drop(lab);
    assert!(
        good(here, &["list"]).starts_with("hall@conference.localhost  0 in it  public, archived")
    );
    assert!(good(here, &["show", "hall"]).contains("owner: alice@localhost"));
    for args in [
        &["create", "b", "--owner", "alice@localhost"][..],
        &["destroy", "hall", "--yes"],
        &["purge", "hall", "--yes"],
        &["affiliation", "hall", "alice@localhost", "admin"],
    ] {
        let said = bad(here, args);
        assert!(said.contains("no server is running on this data"), "{args:?}: {said}");
    }
    Ok(())
}

/// §9, §10: seen as though an owner had done it.
#[tokio::test]
async fn who_is_in_a_room_sees_what_an_operator_does() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let lab = Lab::serve(here, &[], &["alice", "bob", "carol"]);
    let users = ["alice", "bob", "carol"];
    let mut all = gathering(&lab, "hall", &users, &[("persistentroom", "1")]).await?;
    assert_eq!(
        good(here, &["affiliation", "hall", "bob@localhost", "admin"]),
        "bob@localhost is admin of hall@conference.localhost\n"
    );
    for client in &mut all {
        let seen = sees(client, "hall", "bob").await?;
        assert_eq!(item(&seen).as_deref(), Some("admin moderator"), "{seen}");
    }
    assert!(good(here, &["affiliation", "hall", "bob@localhost", "admin"]).contains("already"));
    good(here, &["affiliation", "hall", "carol@localhost", "outcast", "--reason", "Noise"]);
    for client in &mut all {
        let gone = |e: &Element| {
            e.attr("type") == Some("unavailable")
                && e.attr("from") == Some(&*format!("{}/carol", at("hall")))
        };
        let seen = client.expect(|e| gone(e)).await?;
        assert_eq!(item(&seen).as_deref(), Some("outcast none"), "{seen}");
        assert!(codes(&seen).contains(&"301".to_owned()), "{seen}");
        assert_eq!(seen.find("reason").map(|reason| reason.text.as_str()), Some("Noise"));
    }
    // Nobody is sent to where nothing is.
    for (venue, why) in [("lobby", "there is no room lobby@"), ("hall", "is the one that ends")] {
        let told = bad(here, &["destroy", "hall", "--yes", "--venue", venue]);
        assert!(told.contains(why), "{told}");
    }
    good(here, &["create", "lobby", "--owner", "alice@localhost"]);
    let said = good(here, &["destroy", "hall", "--yes", "--reason", "Over", "--venue", "lobby"]);
    assert_eq!(said, "the room hall@conference.localhost is gone; 2 were in it\n");
    for (client, nick) in all.iter_mut().zip(["alice", "bob"]) {
        let seen = sees(client, "hall", nick).await?;
        assert_eq!(seen.attr("type"), Some("unavailable"), "{seen}");
        let destroy = seen.find("destroy").unwrap();
        assert_eq!(destroy.attr("jid"), Some("lobby@conference.localhost"), "{seen}");
        assert_eq!(destroy.text_of("reason"), Some("Over"), "{seen}");
    }
    good(here, &["destroy", "lobby", "--yes"]);
    let empty = room(here, &["list"]);
    assert!(empty.out.is_empty() && empty.err.contains("there are no rooms yet"), "{empty:?}");
    let empty = room(here, &["list", "--search", "x"]);
    assert!(empty.err.contains("there are no such rooms"), "{empty:?}");
    Ok(())
}

/// What was said is in no archive and no history any more; what is said then is.
#[tokio::test]
async fn the_archive_of_a_room_is_purged() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let lab = Lab::serve(here, &[], &["alice", "bob"]);
    let mut all = gathering(&lab, "hall", &["alice"], &[("persistentroom", "1")]).await?;
    let alice = &mut all[0];
    for id in ["m1", "m2", "m3"] {
        say(alice, "hall", id, "secret").await?;
        hears(alice, id).await?;
    }
    let shown = good(here, &["show", "hall"]);
    assert!(shown.contains("archive: 3 messages, "), "{shown}");
    assert_eq!(
        good(here, &["purge", "hall", "--yes"]),
        "3 messages are deleted from the archive of hall@conference.localhost\n"
    );
    assert!(good(here, &["show", "hall"]).contains("archive: 0 messages, 0 bytes"));
    say(alice, "hall", "m4", "anew").await?;
    hears(alice, "m4").await?;
    let mut bob = lab.online("bob", "b").await?;
    let seen = enter(&mut bob, "hall", "Bob").await?;
    let said: Vec<_> = seen.iter().filter_map(|one| one.text_of("body")).collect();
    assert_eq!(said, ["anew"]);
    assert!(good(here, &["show", "hall"]).contains("archive: 1 messages, "));
    Ok(())
}

/// Runs a command of two stages, or what its first stage refused.
async fn run(client: &mut Client, node: &str, fields: &[(&str, &str)]) -> Outcome<Element> {
    let node = format!("node='{NODE}{node}'");
    let first = command(client, "localhost", &node, "").await?;
    let Ok(asked) = result(&first) else { return Ok(first) };
    let session = asked.attr("sessionid").unwrap().to_owned();
    let field = |(var, value): &(&str, &str)| {
        format!("<field var='{var}'><value>{}</value></field>", escape(value))
    };
    let form = format!(
        "<x xmlns='jabber:x:data' type='submit'>{}</x>",
        fields.iter().map(field).collect::<String>()
    );
    let attrs = format!("{node} sessionid='{session}' action='complete'");
    command(client, "localhost", &attrs, &form).await
}

async fn noted(client: &mut Client, node: &str, fields: &[(&str, &str)]) -> Outcome<String> {
    let answer = run(client, node, fields).await?;
    let done = result(&answer)?;
    assert_eq!(done.attr("status"), Some("completed"), "{answer}");
    Ok(done.text_of("note").unwrap_or_default().to_owned())
}

/// The rooms in a table, and behind which there are more.
async fn listed(
    client: &mut Client,
    fields: &[(&str, &str)],
) -> Outcome<(Vec<String>, Option<String>)> {
    let answer = run(client, "list-rooms", fields).await?;
    let form = result(&answer)?.find("x").unwrap().clone();
    let value = |field: &Element| field.text_of("value").unwrap_or_default().to_owned();
    let rows = form.children.iter().filter(|child| child.name == "item");
    let rows = rows.map(|row| row.children.iter().map(value).collect::<Vec<_>>().join("|"));
    let after = form.children.iter().find(|child| child.attr("var") == Some("after"));
    Ok((rows.collect(), after.map(value)))
}

#[tokio::test]
async fn operators_have_commands_for_rooms() -> Outcome<()> {
    let lab = Lab::new(&["alice", "root"], &["admin.operators=root@localhost"]);
    let mut root = lab.online("root", "r").await?;
    let mut alice = lab.online("alice", "a").await?;
    for (name, preset) in [("one", "public"), ("two", "private"), ("three", "public")] {
        let fields = [
            ("room", name),
            ("owner", "alice@localhost"),
            ("preset", preset),
            ("name", "Room <&>"),
        ];
        let said = noted(&mut root, "create-room", &fields).await?;
        assert!(said.contains("alice@localhost owns it"), "{said}");
    }
    enter(&mut alice, "two", "Alice").await?;
    let (first, after) = listed(&mut root, &[("max_items", "2")]).await?;
    assert_eq!(
        first,
        [
            "one@conference.localhost|Room <&>|0|public, archived",
            "three@conference.localhost|Room <&>|0|public, archived"
        ]
    );
    assert_eq!(after.as_deref(), Some("three@conference.localhost"));
    let (rest, after) =
        listed(&mut root, &[("max_items", "2"), ("after", &after.unwrap())]).await?;
    assert_eq!(
        (rest, after),
        (
            vec![
                "two@conference.localhost|Room <&>|1|hidden, members only, non-anonymous, archived"
                    .to_owned()
            ],
            None
        )
    );
    let (found, _) = listed(&mut root, &[("search", "THREE")]).await?;
    assert_eq!(found.len(), 1, "{found:?}");
    let (found, _) = listed(&mut root, &[("search", "room <")]).await?;
    assert_eq!(found.len(), 3, "{found:?}");
    let fields = [("room", "two"), ("jid", "root@localhost"), ("affiliation", "member")];
    let said = noted(&mut root, "set-affiliation", &fields).await?;
    assert_eq!(said, "root@localhost is member of two@conference.localhost");
    enter(&mut root, "two", "Root").await?;
    let said = noted(&mut root, "purge-room", &[("room", "two")]).await?;
    assert!(said.starts_with("0 messages"), "{said}");
    noted(&mut root, "destroy-room", &[("room", "two"), ("reason", "Over")]).await?;
    for (client, nick) in [(&mut alice, "Alice"), (&mut root, "Root")] {
        let gone = client
            .expect(|e| {
                e.attr("from") == Some(&*format!("{}/{nick}", at("two")))
                    && e.find("destroy").is_some()
            })
            .await?;
        assert_eq!(gone.attr("type"), Some("unavailable"));
    }
    Ok(())
}

#[tokio::test]
async fn commands_say_what_is_wrong_and_are_for_operators() -> Outcome<()> {
    let lab = Lab::new(&["alice", "root"], &["admin.operators=root@localhost"]);
    let mut root = lab.online("root", "r").await?;
    let mut alice = lab.online("alice", "a").await?;
    noted(&mut root, "create-room", &[("room", "one"), ("owner", "alice@localhost")]).await?;
    for (node, fields, condition) in [
        ("destroy-room", &[("room", "two")][..], "item-not-found"),
        ("create-room", &[("room", "one"), ("owner", "alice@localhost")], "conflict"),
        ("create-room", &[("room", "x@y"), ("owner", "alice@localhost")], "bad-request"),
        ("create-room", &[("owner", "alice@localhost")], "bad-request"),
        (
            "set-affiliation",
            &[("room", "one"), ("jid", "a@b"), ("affiliation", "x")],
            "bad-request",
        ),
        (
            "set-affiliation",
            &[("room", "one"), ("jid", "alice@localhost"), ("affiliation", "none")],
            "conflict",
        ),
    ] {
        let answer = run(&mut root, node, fields).await?;
        assert_eq!(answer.condition(), Some(condition), "{node}: {answer}");
    }
    for node in ["list-rooms", "create-room", "destroy-room", "set-affiliation", "purge-room"] {
        let answer = run(&mut alice, node, &[("room", "one")]).await?;
        assert_eq!(answer.condition(), Some("forbidden"), "{node}: {answer}");
    }
    Ok(())
}

/// A room that was just made for somebody is configured by it as any other.
#[tokio::test]
async fn a_room_from_an_operator_is_its_owners() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    good(folder.path(), &["create", "hall", "--owner", "alice@localhost"]);
    let mut alice = lab.online("alice", "a").await?;
    let done = configure(&mut alice, "hall", &[("membersonly", "1")]).await?;
    assert_eq!(done.attr("type"), Some("result"), "{done}");
    let mut bob = lab.online("bob", "b").await?;
    knock(&mut bob, "hall", "Bob", "").await?;
    assert!(entered(&mut bob, "hall").await.is_err());
    Ok(())
}

/// Names of services that other servers will look for, and those that they cannot.
#[test]
fn check_says_which_names_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let check = |more: &[&str]| {
        let said = run_in(folder.path(), &[&PORTS, more, &["check"]].concat(), "");
        said.out
    };
    let said = check(&[]);
    assert!(said.contains("service: conference.localhost (rooms); no DNS record"), "{said}");
    let said = check(&["--set", "host.0.domain=example.org", "--set", "modules.muc.label=talk"]);
    let wanted = "service: talk.example.org (rooms); its users need no DNS record for it; other servers find \
                  it by _xmpp-server._tcp.talk.example.org";
    assert!(said.contains(wanted), "{said}");
    assert!(!check(&["--set", "modules.muc.label="]).contains("(rooms)"));
}

/// With two domains a name alone says too little; without the service there is nothing to list.
#[tokio::test]
async fn what_to_write_is_told() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let hosts = ["host.0.domain=localhost", "host.1.domain=two.example"];
    let set: Vec<&str> = hosts.iter().flat_map(|host| ["--set", host]).collect();
    let _lab = Lab::serve(here, &set, &["alice"]);
    let with = |args: &[&str]| {
        run_in(here, &[&["--data-dir", "data"], &set[..], &["room"], args].concat(), "")
    };
    let told = with(&["create", "hall", "--owner", "alice@localhost"]);
    let example = "hall@conference.localhost or hall@conference.two.example";
    assert!(!told.ok && told.err.contains(example), "{told:?}");
    assert!(with(&["create", "hall@conference.two.example", "--owner", "alice@localhost"]).ok);
    let told = with(&["show", "conference.localhost"]);
    assert!(told.err.contains("the part before the @ is missing"), "{told:?}");
    let off = tempfile::tempdir().unwrap();
    let set = ["--set", "modules.muc.label="];
    let _lab = Lab::serve(off.path(), &set, &[]);
    let args = [&["--data-dir", "data"], &set[..], &["room", "list"]].concat();
    let told = run_in(off.path(), &args, "");
    assert!(!told.ok && told.err.contains("there are no rooms here"), "{told:?}");
    Ok(())
}
