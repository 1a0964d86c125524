//! Rooms of teams: what an operator gives to a team is there for its members at once, and goes with the membership,
//! taking away what the team brought and nothing else.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::interest::interested;
use crate::harness::nodes::{items, news, published, retracted};
use crate::harness::process::{Lab, run_in};
use crate::harness::rooms::{ADMIN, at, codes, enter, entered, item, knock, sees, set_item};
use std::path::Path;

const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
const STORAGE: &str = "storage:bookmarks";

fn good(folder: &Path, args: &[&str]) -> String {
    let said = run_in(folder, &[&["--data-dir", "data"], args].concat(), "");
    assert!(said.ok, "{args:?}: {}", said.err);
    said.out
}

fn bad(folder: &Path, args: &[&str]) -> String {
    let said = run_in(folder, &[&["--data-dir", "data"], args].concat(), "");
    assert!(!said.ok, "{args:?}: {}", said.out);
    said.err
}

/// A private room of root's, and a team without members that has it.
fn with_room(here: &Path) {
    good(
        here,
        &[
            "room",
            "create",
            "help",
            "--owner",
            "root@localhost",
            "--preset",
            "private",
            "--name",
            "Help",
        ],
    );
    good(here, &["team", "add", "Support"]);
    let said = good(here, &["team", "room", "add", "support", "help"]);
    assert_eq!(said, "help@conference.localhost is a room of the team Support, with 0 members\n");
}

/// Rooms that the account has as items, with autojoin and name.
async fn bookmarks(client: &mut Client) -> Outcome<Vec<String>> {
    let own = client.jid.split('/').next().unwrap_or_default().to_owned();
    let items = items(client, &own, BOOKMARKS).await?;
    let text = |(id, one): (String, Element)| {
        format!("{id} {} {}", one.attr("autojoin").unwrap_or("-"), one.attr("name").unwrap_or("-"))
    };
    Ok(items.into_iter().map(text).collect())
}

/// The same, as older clients have it (XEP-0048).
async fn list(client: &mut Client) -> Outcome<Vec<String>> {
    let get = format!(
        "<iq type='get' id='l'><query xmlns='jabber:iq:private'><storage xmlns='{STORAGE}'/></query></iq>"
    );
    let answer = client.ask(&get).await?;
    let storage = answer.find("storage").unwrap();
    let rooms = storage.children.iter().filter(|one| one.name == "conference");
    let text = |one: &Element| {
        let attr = |name| one.attr(name).unwrap_or("-").to_owned();
        format!("{} {} {}", attr("jid"), attr("autojoin"), attr("name"))
    };
    Ok(rooms.map(text).collect())
}

/// Whether somebody is let in.
async fn may_enter(client: &mut Client) -> Outcome<bool> {
    knock(client, "help", "Nick", "").await?;
    let room = at("help");
    let first = client
        .expect(|e| {
            e.attr("from").is_some_and(|from| from.starts_with(&*room)) && e.name == "presence"
        })
        .await?;
    if first.attr("type") == Some("error") {
        assert_eq!(first.condition(), Some("registration-required"), "{first}");
        return Ok(false);
    }
    entered(client, "help").await?;
    client.send(&format!("<presence type='unavailable' to='{room}/Nick'/>")).await?;
    client.expect(|e| e.attr("type") == Some("unavailable")).await?;
    Ok(true)
}

const HELP: &str = "help@conference.localhost true Help";

#[tokio::test]
async fn a_teams_room_comes_and_goes_with_membership() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let mut lab = Lab::serve(here, &[], &["root", "alice", "bob"]);
    with_room(here);
    let mut alice = interested(&lab, "alice", "new", &[BOOKMARKS]).await?;
    let mut old = interested(&lab, "alice", "old", &[STORAGE]).await?;
    assert_eq!(bookmarks(&mut alice).await?, [""; 0]);
    assert!(!may_enter(&mut alice).await?);
    assert_eq!(list(&mut old).await?, [""; 0]);
    old.fence().await?;
    old.forget();
    good(here, &["team", "join", "Support", "alice@localhost"]);
    // Live, in both forms.
    assert_eq!(news(&mut alice, BOOKMARKS).await?, ["help@conference.localhost"]);
    assert_eq!(news(&mut old, STORAGE).await?, ["current"]);
    assert_eq!(bookmarks(&mut alice).await?, [HELP]);
    assert_eq!(list(&mut old).await?, [HELP]);
    assert!(may_enter(&mut alice).await?);
    // Kept over a crash; and brought to who joins while no server runs.
    lab.process.kill();
    drop(lab);
    good(here, &["team", "join", "Support", "bob@localhost"]);
    let lab = Lab::serve(here, &[], &[]);
    for user in ["alice", "bob"] {
        let mut client = interested(&lab, user, "new", &[BOOKMARKS]).await?;
        assert_eq!(bookmarks(&mut client).await?, [HELP], "{user}");
        assert!(may_enter(&mut client).await?, "{user}");
    }
    assert_eq!(good(here, &["team", "room", "list", "Support"]), "help@conference.localhost\n");
    // Out of the team is out of the room, which shows it (§9.4: 321), and the bookmark is gone.
    let mut alice = interested(&lab, "alice", "new", &[BOOKMARKS]).await?;
    enter(&mut alice, "help", "Alice").await?;
    good(here, &["team", "leave", "Support", "alice@localhost"]);
    let gone = sees(&mut alice, "help", "Alice").await?;
    assert_eq!(item(&gone).as_deref(), Some("none none"), "{gone}");
    assert!(codes(&gone).contains(&"321".to_owned()), "{gone}");
    assert_eq!(news(&mut alice, BOOKMARKS).await?, ["-help@conference.localhost"]);
    assert_eq!(list(&mut alice).await?, [""; 0]);
    assert!(!may_enter(&mut alice).await?);
    // Taken from the team, it is gone for all.
    let mut bob = interested(&lab, "bob", "new", &[BOOKMARKS]).await?;
    assert_eq!(bookmarks(&mut bob).await?, [HELP]);
    bob.forget();
    good(here, &["team", "room", "remove", "Support", "help"]);
    assert_eq!(news(&mut bob, BOOKMARKS).await?, ["-help@conference.localhost"]);
    assert!(!may_enter(&mut bob).await?);
    Ok(())
}

/// What somebody had before stays: a bookmark, an affiliation, a ban. What the owner or the user changes meanwhile is
/// theirs.
#[tokio::test]
async fn a_team_takes_away_only_what_it_brought() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let users = ["root", "alice", "bob", "carol", "dave"];
    let lab = Lab::serve(here, &[], &users);
    with_room(here);
    let affiliation = |who: &str, what: &str| {
        good(here, &["room", "affiliation", "help", &format!("{who}@localhost"), what]);
    };
    // Alice has a bookmark of her own in another spelling; bob is an admin; carol was a member; dave is banned.
    let mut alice = interested(&lab, "alice", "new", &[BOOKMARKS]).await?;
    let own = format!(
        "<item id='Help@conference.localhost'><conference xmlns='{BOOKMARKS}' name='Mine'/></item>"
    );
    published(&mut alice, BOOKMARKS, &own).await?;
    affiliation("bob", "admin");
    affiliation("carol", "member");
    affiliation("dave", "outcast");
    for user in &users[1..] {
        let said = good(here, &["team", "join", "Support", &format!("{user}@localhost")]);
        let is_told = said.contains("is banned from the team's room help@conference.localhost");
        assert_eq!(is_told, *user == "dave", "{said}");
    }
    lab.process.logs(&["put an account into a team", "team=\"Support\"", "on=\"dave@localhost\""]);
    assert_eq!(bookmarks(&mut alice).await?, ["Help@conference.localhost - Mine"]);
    let standing = || {
        let shown = good(here, &["room", "show", "help"]);
        let of = |line: &str| {
            let (what, who) = line.split_once(": ")?;
            ["owner", "admin", "member", "outcast"].contains(&what).then(|| format!("{who} {what}"))
        };
        let mut all: Vec<_> = shown.lines().filter_map(of).collect();
        all.sort();
        all
    };
    let together = [
        "alice@localhost member",
        "bob@localhost admin",
        "carol@localhost member",
        "dave@localhost outcast",
        "root@localhost owner",
    ];
    assert_eq!(standing(), together);
    // Whoever deletes the team's bookmark is not given it again.
    let mut bob = interested(&lab, "bob", "new", &[BOOKMARKS]).await?;
    assert_eq!(bookmarks(&mut bob).await?, [HELP]);
    retracted(&mut bob, BOOKMARKS, "help@conference.localhost").await?;
    good(here, &["team", "join", "Support", "bob@localhost", "--name", "Bobby"]);
    assert_eq!(bookmarks(&mut bob).await?, [""; 0]);
    good(here, &["team", "remove", "Support"]);
    assert_eq!(standing(), [together[1], together[2], together[3], together[4]]);
    assert_eq!(bookmarks(&mut alice).await?, ["Help@conference.localhost - Mine"]);
    let mut carol = interested(&lab, "carol", "new", &[]).await?;
    assert_eq!(bookmarks(&mut carol).await?, [""; 0]);
    assert!(may_enter(&mut carol).await?);
    Ok(())
}

/// Who becomes more than a member while in the team stays that. In two teams with one room it stays until both are left.
#[tokio::test]
async fn two_teams_have_one_room() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let lab = Lab::serve(here, &[], &["root", "alice", "bob"]);
    with_room(here);
    good(here, &["team", "add", "Night"]);
    good(here, &["team", "room", "add", "Night", "help@conference.localhost"]);
    for team in ["Support", "Night"] {
        good(here, &["team", "join", team, "alice@localhost", "bob@localhost"]);
    }
    let mut root = lab.online("root", "r").await?;
    enter(&mut root, "help", "Root").await?;
    let done =
        set_item(&mut root, "help", "<item jid='bob@localhost' affiliation='admin'/>").await?;
    if done.attr("type") != Some("result") {
        // By the operator, where rooms do not answer the namespace of admins yet.
        assert!(done.find("error").is_some() && ADMIN.ends_with("admin"));
        good(here, &["room", "affiliation", "help", "bob@localhost", "admin"]);
    }
    good(here, &["team", "leave", "Support", "alice@localhost", "bob@localhost"]);
    let mut alice = interested(&lab, "alice", "new", &[BOOKMARKS]).await?;
    assert_eq!(bookmarks(&mut alice).await?, [HELP]);
    assert!(may_enter(&mut alice).await?);
    good(here, &["team", "leave", "Night", "alice@localhost", "bob@localhost"]);
    assert_eq!(bookmarks(&mut alice).await?, [""; 0]);
    assert!(!may_enter(&mut alice).await?);
    let shown = good(here, &["room", "show", "help"]);
    assert!(shown.contains("admin: bob@localhost") && !shown.contains("alice@"), "{shown}");
    Ok(())
}

/// A shut account is no member while it is shut, a deleted one leaves nothing to its namesake, and a room that is
/// destroyed leaves no bookmarks.
#[tokio::test]
async fn what_ends_leaves_nothing_behind() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let lab = Lab::serve(here, &[], &["root", "alice", "bob"]);
    with_room(here);
    good(here, &["team", "join", "Support", "alice@localhost", "bob@localhost"]);
    let is_member = |who: &str| {
        good(here, &["room", "show", "help"]).contains(&format!("member: {who}@localhost"))
    };
    assert!(is_member("alice") && is_member("bob"));
    good(here, &["user", "disable", "alice@localhost"]);
    assert!(!is_member("alice"));
    good(here, &["user", "enable", "alice@localhost"]);
    assert!(is_member("alice"));
    good(here, &["user", "del", "bob@localhost", "--yes"]);
    assert!(!is_member("bob"));
    good(here, &["user", "restore", "bob@localhost"]);
    assert!(is_member("bob"));
    let mut bob = interested(&lab, "bob", "new", &[BOOKMARKS]).await?;
    assert_eq!(bookmarks(&mut bob).await?, [HELP]);
    drop(bob);
    good(here, &["user", "del", "bob@localhost", "--yes", "--now"]);
    assert!(!is_member("bob"));
    let mut alice = interested(&lab, "alice", "new", &[BOOKMARKS]).await?;
    assert_eq!(bookmarks(&mut alice).await?, [HELP]);
    alice.forget();
    good(here, &["room", "destroy", "help", "--yes"]);
    assert_eq!(news(&mut alice, BOOKMARKS).await?, ["-help@conference.localhost"]);
    assert_eq!(good(here, &["team", "room", "list", "Support"]), "");
    // Another room of that name has nothing to do with it.
    good(here, &["room", "create", "help", "--owner", "root@localhost"]);
    assert!(!is_member("alice"));
    Ok(())
}

#[tokio::test]
async fn what_is_no_room_for_a_team_is_said() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let lab = Lab::serve(here, &[], &["root", "alice"]);
    with_room(here);
    let mut root = lab.online("root", "r").await?;
    crate::harness::rooms::found(&mut root, "brief", "Root", &[("persistentroom", "0")]).await?;
    for (args, why) in [
        (["add", "Nobody", "help"], "there is no team Nobody"),
        (["add", "Support", "nowhere"], "there is no room nowhere@conference.localhost"),
        (["add", "Support", "brief"], "goes when the last one leaves it"),
        (["add", "Support", "help@localhost"], "rooms are at conference.localhost"),
        (["remove", "Support", "brief"], "is no room of the team Support"),
        (["remove", "Nobody", "help"], "there is no team Nobody"),
    ] {
        let said = bad(here, &[&["team", "room"], &args[..]].concat());
        assert!(said.contains(why), "{args:?}: {said}");
    }
    for (user, members) in [("", "0 members"), ("root", "1 member"), ("alice", "2 members")] {
        if !user.is_empty() {
            good(here, &["team", "join", "Support", &format!("{user}@localhost")]);
        }
        let again = good(here, &["team", "room", "add", "Support", "help"]);
        let said = "help@conference.localhost is a room of the team Support already, with";
        assert_eq!(again, format!("{said} {members}\n"));
    }
    let shown = good(here, &["team", "show", "Support"]);
    let lines: Vec<&str> = shown.lines().collect();
    let people = ["alice@localhost  alice", "root@localhost  root"];
    assert_eq!(lines, [people[0], people[1], "help@conference.localhost  (room)"]);
    Ok(())
}
