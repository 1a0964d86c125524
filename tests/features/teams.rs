//! Teams: what an operator does on the command line is in the rosters of those who are online, at once.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, Said, run_in};
use std::path::Path;

const ROSTER: &str = "jabber:iq:roster";

fn team(folder: &Path, args: &[&str]) -> Said {
    run_in(folder, &[&["--data-dir", "data", "team"], args].concat(), "")
}

fn good(folder: &Path, args: &[&str]) -> String {
    let said = team(folder, args);
    assert!(said.ok, "{}", said.err);
    said.out
}

/// `jid=name subscription: groups`, one for each item.
fn items(query: &Element) -> Vec<String> {
    let item = |item: &Element| {
        let text = |name| item.attr(name).unwrap_or_default();
        let groups = item.children.iter().filter(|child| child.name == "group");
        let groups: Vec<_> = groups.map(|group| group.text.as_str()).collect();
        format!("{}={} {}: {}", text("jid"), text("name"), text("subscription"), groups.join("+"))
    };
    query.children.iter().filter(|child| child.name == "item").map(item).collect()
}

async fn roster(client: &mut Client) -> Outcome<(String, Vec<String>)> {
    let answer =
        client.ask(&format!("<iq type='get' id='r'><query xmlns='{ROSTER}'/></iq>")).await?;
    let query = answer.child(ROSTER, "query");
    let ver = query.and_then(|query| query.attr("ver")).unwrap_or_default().to_owned();
    Ok((ver, query.map(items).unwrap_or_default()))
}

/// The next roster push.
async fn pushed(client: &mut Client) -> Outcome<Vec<String>> {
    let push = client.expect(|e| e.child(ROSTER, "query").is_some()).await?;
    Ok(push.child(ROSTER, "query").map(items).unwrap_or_default())
}

async fn sees(client: &mut Client, from: &str, ty: Option<&str>) -> Outcome<()> {
    let fits =
        |e: &Element| e.name == "presence" && e.attr("from") == Some(from) && e.attr("type") == ty;
    client.expect(fits).await.map(drop)
}

#[tokio::test]
#[allow(clippy::too_many_lines)] // one story from the first join to the last leave
async fn a_team_is_in_the_rosters_of_its_members() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut lab = Lab::serve(at, &[], &["alice", "bob", "carol"]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "b").await?;
    for client in [&mut alice, &mut bob] {
        assert!(roster(client).await?.1.is_empty());
    }
    good(at, &["add", "Support"]);
    good(at, &["join", "Support", "alice@localhost", "--name", "Alice Smith"]);
    good(at, &["join", "support", "bob@localhost", "carol@localhost"]);
    // Live, both ways.
    assert_eq!(pushed(&mut alice).await?, ["bob@localhost=bob both: Support"]);
    assert_eq!(pushed(&mut bob).await?, ["alice@localhost=Alice Smith both: Support"]);
    sees(&mut alice, "bob@localhost/b", None).await?;
    sees(&mut bob, "alice@localhost/a", None).await?;
    assert_eq!(pushed(&mut alice).await?, ["carol@localhost=carol both: Support"]);
    // What the members cannot change is said so.
    let remove = format!(
        "<iq type='set' id='x'><query xmlns='{ROSTER}'>\
         <item jid='bob@localhost' subscription='remove'/></query></iq>"
    );
    let answer = alice.ask(&remove).await?;
    assert_eq!(answer.condition(), Some("not-allowed"), "{answer}");
    assert!(answer.to_string().contains("in the group Support"), "{answer}");
    alice.send("<presence type='unsubscribed' to='bob@localhost' id='u'/>").await?;
    let error = alice.expect(|e| e.attr("id") == Some("u")).await?;
    assert_eq!(error.condition(), Some("not-allowed"), "{error}");
    // A name of one's own is.
    let name = format!(
        "<iq type='set' id='n'><query xmlns='{ROSTER}'><item jid='bob@localhost' name='Bobby'>\
         <group>Support</group></item></query></iq>"
    );
    assert_eq!(alice.ask(&name).await?.attr("type"), Some("result"));
    let together = ["bob@localhost=Bobby both: Support", "carol@localhost=carol both: Support"];
    let (ver, seen) = roster(&mut alice).await?;
    assert_eq!(seen, together);
    // Kept, though the server is killed; and the version is the same, so nothing is sent again.
    lab.process.kill();
    drop(lab);
    let lab = Lab::serve(at, &[], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let get = format!("<iq type='get' id='v'><query xmlns='{ROSTER}' ver='{ver}'/></iq>");
    assert!(alice.ask(&get).await?.children.is_empty());
    let mut bob = lab.online("bob", "b").await?;
    sees(&mut alice, "bob@localhost/b", None).await?;
    // Shut and open.
    let user = |verb: &str, jid: &str| {
        let said = run_in(at, &["--data-dir", "data", "user", verb, jid], "");
        assert!(said.ok, "{}", said.err);
    };
    user("disable", "carol@localhost");
    assert_eq!(pushed(&mut alice).await?, ["carol@localhost= remove: "]);
    assert_eq!(
        good(at, &["show", "Support"]),
        "alice@localhost  Alice Smith\nbob@localhost  bob\ncarol@localhost  carol (shut)\n"
    );
    user("enable", "carol@localhost");
    assert_eq!(pushed(&mut alice).await?, ["carol@localhost=carol both: Support"]);
    user("del", "carol@localhost");
    assert_eq!(pushed(&mut alice).await?, ["carol@localhost= remove: "]);
    user("restore", "carol@localhost");
    assert_eq!(pushed(&mut alice).await?, ["carol@localhost=carol both: Support"]);
    // Leaving takes along what the team brought; the name that Alice gave is hers.
    roster(&mut bob).await?;
    bob.fence().await?;
    bob.forget();
    good(at, &["leave", "Support", "bob@localhost"]);
    assert_eq!(pushed(&mut alice).await?, ["bob@localhost=Bobby none: "]);
    sees(&mut alice, "bob@localhost/b", Some("unavailable")).await?;
    assert_eq!(pushed(&mut bob).await?, ["alice@localhost= remove: "]);
    assert_eq!(good(at, &["list"]), "Support  2\n");
    good(at, &["remove", "Support"]);
    assert_eq!(pushed(&mut alice).await?, ["carol@localhost= remove: "]);
    let list = team(at, &["list"]);
    assert!(list.ok && list.out.is_empty() && list.err.contains("no teams"), "{list:?}");
    Ok(())
}

/// The verbs without a server: the next one knows of it. What cannot be meant is said.
#[tokio::test]
async fn teams_are_made_without_a_server() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let nowhere = team(at, &["list"]);
    assert!(!nowhere.ok && !at.join("data").exists(), "{nowhere:?}");
    drop(Lab::serve(at, &[], &["alice", "bob"]));
    good(at, &["add", "Support"]);
    good(at, &["join", "Support", "alice@localhost", "bob@localhost"]);
    for (args, says) in [
        (&["add", "support"][..], "a team support already"),
        (&["join", "Support", "nobody@localhost"], "no account nobody@localhost"),
        (&["join", "Other", "alice@localhost"], "no team Other"),
        (&["join", "Support", "alice"], "not the address"),
        (&["join", "Support", "alice@localhost", "bob@localhost", "--name", "x"], "once for each"),
        (&["leave", "Support", "bob@localhost", "bob@localhost"], "bob@localhost is not in"),
    ] {
        let said = team(at, args);
        assert!(!said.ok && said.err.contains(says), "{args:?}: {said:?}");
    }
    good(at, &["join", "Support", "bob@localhost"]);
    let lab = Lab::serve(at, &[], &[]);
    let mut alice = lab.online("alice", "a").await?;
    assert_eq!(roster(&mut alice).await?.1, ["bob@localhost=bob both: Support"]);
    Ok(())
}
