//! How files end (XEP-0363): by their owners, by the operator, with the message that they came in, on a full disk; and
//! that a backup has them.

use crate::backup::{bad, good, stonechat};
use crate::commands::{command, result};
use crate::harness::client::{Client, DEADLINE, Outcome};
use crate::harness::element::Element;
use crate::harness::https::{get, put};
use crate::harness::mount::Mount;
use crate::harness::process::Lab;
use crate::harness::rooms::{ask as ask_room, at, enter, gathering, hears};
use crate::upload::{ask, bytes, files, slot, wanted};
use std::path::Path;
use tokio::time::Instant;

const PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";
const RETRACT: &str = "urn:xmpp:message-retract:1";

/// Uploads a file; its address.
async fn file(lab: &Lab, client: &mut Client, name: &str, content: &[u8]) -> Outcome<String> {
    let (to, from) = slot(client, name, content.len()).await?;
    let status = put(&lab.target, &to, content).await?.status;
    if status != 201 {
        return client.fail(format!("{name}: status {status}"));
    }
    Ok(from)
}

async fn status(lab: &Lab, url: &str) -> Outcome<u16> {
    Ok(get(&lab.target, url).await?.status)
}

fn id_of(url: &str) -> String {
    url.rsplit('/').nth(1).expect("an id").to_owned()
}

fn submit(id: &str) -> String {
    let field = format!("<field var='files'><value>{id}</value></field>");
    format!("<x xmlns='jabber:x:data' type='submit'>{field}</x>")
}

/// XEP-0050: the owner's list has all that is there, and what is deleted is gone at once, from the disk, too.
#[tokio::test]
async fn owners_list_and_delete_their_files() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let one = file(&lab, &mut alice, "one.txt", b"1").await?;
    let two = file(&lab, &mut alice, "zwei & drei.txt", &bytes(3_000)).await?;
    // A slot is no file.
    slot(&mut alice, "none.txt", 9).await?;
    let told = command(&mut alice, "", "node='list-files'", "").await?;
    let list = result(&told)?;
    let cells = |of: &Element, var: &str| -> Vec<String> {
        let form = of.find("x").expect("a form");
        let items = form.children.iter().filter(|e| e.name == "item");
        let cell = |item: &Element| {
            let field = item.children.iter().find(|e| e.attr("var") == Some(var));
            field.and_then(|field| field.text_of("value")).unwrap_or_default().to_owned()
        };
        items.map(cell).collect()
    };
    assert_eq!(cells(list, "name"), ["zwei & drei.txt", "one.txt"]);
    assert_eq!(cells(list, "size"), ["2.9 KiB", "1 byte"]);
    assert_eq!(cells(list, "link"), [two.clone(), one.clone()]);
    let mut bob = lab.login("bob").await?;
    let told = command(&mut bob, "", "node='list-files'", "").await?;
    assert!(result(&told)?.find("note").is_some(), "{told}");

    let form = command(&mut alice, "", "node='delete-files'", "").await?;
    let session = result(&form)?.attr("sessionid").expect("a session").to_owned();
    let attrs = format!("node='delete-files' sessionid='{session}'");
    let done = command(&mut alice, "", &attrs, &submit(&id_of(&one))).await?;
    assert!(result(&done)?.find("note").is_some(), "{done}");
    assert_eq!((status(&lab, &one).await?, status(&lab, &two).await?), (404, 200));
    let until = Instant::now() + DEADLINE;
    while files(&lab) != [id_of(&two)] {
        assert!(Instant::now() < until, "{:?}", files(&lab));
        status(&lab, &two).await?;
    }
    Ok(())
}

/// `stonechat upload`, with a server and without one.
#[tokio::test]
async fn an_operator_lists_and_deletes_files() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut lab = Lab::serve(at, &[], &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    let mut bob = lab.login("bob").await?;
    let one = file(&lab, &mut alice, "one.txt", &bytes(2_048)).await?;
    let two = file(&lab, &mut alice, "two.txt", &bytes(2_048)).await?;
    let three = file(&lab, &mut bob, "three.txt", b"3").await?;
    let told = good(stonechat(at, &["upload", "list"]));
    let lines = ["alice@localhost  2 files, 4 KiB", "bob@localhost  1 file, 1 byte"];
    let all = "in all: 3 files, 4 KiB of 2 accounts";
    assert_eq!(told.lines().collect::<Vec<_>>(), [lines[0], lines[1], all]);
    let told = good(stonechat(at, &["upload", "list", "alice@localhost", "--max", "1"]));
    let mut lines = told.lines();
    let line = lines.next().unwrap_or_default();
    assert!(line.starts_with(&format!("{}  2", id_of(&two))), "{told}");
    assert!(line.ends_with("  2 KiB  message  two.txt"), "{told}");
    let rest = lines.next().and_then(|line| line.strip_prefix("there are more: --before "));
    let told = good(stonechat(
        at,
        &["upload", "list", "alice@localhost", "--before", rest.expect("more")],
    ));
    assert!(told.contains(&id_of(&one)), "{told}");
    let said = stonechat(at, &["upload", "list", "alice@localhost", "--before", "2020-01-01"]);
    assert!(said.ok && said.out.is_empty() && said.err.contains("has no files"), "{said:?}");

    assert!(good(stonechat(at, &["upload", "delete", &one])).contains("1 file is deleted"));
    assert_eq!((status(&lab, &one).await?, status(&lab, &two).await?), (404, 200));
    for (args, words) in [
        (&["delete", one.as_str()][..], &*id_of(&one)),
        (&["list", "--max", "0"][..], "at least 1"),
        (&["delete", "holiday.jpg"][..], "neither the id"),
        (&["delete-all", "alice@localhost"][..], "add --yes"),
        (&["delete-all", "carol@localhost", "--yes"][..], "no account carol"),
        (&["list", "alice@localhost", "--before", "soon"][..], "no time"),
    ] {
        let told = bad(stonechat(at, &[&["upload"], args].concat()));
        assert!(told.contains(words), "{args:?}: {told}");
    }
    lab.process.signal("TERM");
    lab.process.exit();
    let told = good(stonechat(at, &["upload", "delete-all", "alice@localhost", "--yes"]));
    assert!(told.contains("1 file, 2 KiB"), "{told}");
    let lab = Lab::serve(at, &[], &[]);
    assert_eq!((status(&lab, &two).await?, status(&lab, &three).await?), (404, 200));
    let until = Instant::now() + DEADLINE;
    while files(&lab) != [id_of(&three)] {
        assert!(Instant::now() < until, "{:?}", files(&lab));
        status(&lab, &three).await?;
    }
    Ok(())
}

/// XEP-0363 §5.4
#[tokio::test]
async fn what_is_to_stay_is_for_those_who_may() -> Outcome<()> {
    let permanent =
        |size: &str| wanted("a", size, &format!("><permanent xmlns='{PURPOSE}'/></request>"));
    let set = "modules.upload.permanent_bytes_per_account_max=100";
    let lab = Lab::new(&["alice"], &[set]);
    let mut alice = lab.login("alice").await?;
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let feature = format!("{PURPOSE}#permanent");
    assert!(ask(&mut alice, info).await?.to_string().contains(&feature));
    for (size, condition) in [
        ("101", Some("not-acceptable")),
        ("60", None),
        ("60", Some("resource-constraint")),
        ("40", None),
    ] {
        assert_eq!(ask(&mut alice, &permanent(size)).await?.condition(), condition, "{size}");
    }
    for (set, shown, condition) in [
        ("modules.upload.permanent=\"operators\"", true, "forbidden"),
        ("modules.upload.permanent_bytes_per_account_max=0", false, "feature-not-implemented"),
    ] {
        let lab = Lab::new(&["alice"], &[set]);
        let mut alice = lab.login("alice").await?;
        let told = ask(&mut alice, info).await?.to_string();
        assert_eq!(told.contains(&feature), shown, "{set}: {told}");
        assert_eq!(ask(&mut alice, &permanent("1")).await?.condition(), Some(condition), "{set}");
    }
    Ok(())
}

/// A message to bob that names a file in some way.
fn shares(id: &str, inner: &str) -> String {
    format!("<message to='bob@localhost' type='chat' id='{id}'>{inner}</message>")
}

fn retracts(id: &str) -> String {
    format!(
        "<message to='bob@localhost' type='chat' id='r-{id}'><retract xmlns='{RETRACT}' id='{id}'/>\
         <store xmlns='urn:xmpp:hints'/></message>"
    )
}

/// XEP-0424: what its author uploaded for a message goes with it; nothing else does.
#[tokio::test]
async fn a_file_goes_with_its_message() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    let plain = file(&lab, &mut alice, "a.png", b"1").await?;
    let oob = file(&lab, &mut alice, "b.png", b"2").await?;
    let source = file(&lab, &mut alice, "c.png", b"3").await?;
    let quoted = file(&lab, &mut alice, "d.png", b"4").await?;
    let foreign = file(&lab, &mut bob, "e.png", b"5").await?;
    let stays = file(&lab, &mut alice, "f.png", b"6").await?;
    let profile = wanted("g.png", "1", &format!("><profile xmlns='{PURPOSE}'/></request>"));
    let answer = ask(&mut alice, &profile).await?;
    let url = |name: &str| answer.find(name).and_then(|e| e.attr("url")).unwrap().to_owned();
    let (to, avatar) = (url("put"), url("get"));
    assert_eq!(put(&lab.target, &to, b"7").await?.status, 201);
    for (id, inner) in [
        ("m1", format!("<body>{plain}</body>")),
        ("m2", format!("<body>{oob}</body><x xmlns='jabber:x:oob'><url>{oob}</url></x>")),
        (
            "m3",
            format!(
                "<file-sharing xmlns='urn:xmpp:sfs:0'><sources><url-data target='{source}' \
                 xmlns='http://jabber.org/protocol/url-data'/></sources></file-sharing>\
                 <store xmlns='urn:xmpp:hints'/>"
            ),
        ),
        ("m4", format!("<body>&gt; {quoted}\nnice, and {foreign} and {avatar}</body>")),
        ("m5", format!("<body>{stays}</body>")),
    ] {
        alice.send(&shares(id, &inner)).await?;
        bob.expect(|e| e.attr("id") == Some(id)).await?;
    }
    for id in ["m1", "m2", "m3", "m4"] {
        alice.send(&retracts(id)).await?;
        bob.expect(|e| e.attr("id") == Some(&format!("r-{id}"))).await?;
    }
    // Bob cannot take back what alice said.
    let of_bob = retracts("m5").replace("bob@localhost", "alice@localhost");
    bob.send(&of_bob).await?;
    alice.expect(|e| e.attr("id") == Some("r-m5")).await?;
    alice.fence().await?;
    bob.fence().await?;
    for (url, want) in [
        (&plain, 404),
        (&oob, 404),
        (&source, 404),
        (&quoted, 200),
        (&foreign, 200),
        (&avatar, 200),
        (&stays, 200),
    ] {
        assert_eq!(status(&lab, url).await?, want, "{url}");
    }
    Ok(())
}

/// XEP-0425, XEP-0424: the same in rooms, whoever takes the message back, if its author uploaded the file.
#[tokio::test]
async fn a_file_goes_with_what_was_said_in_a_room() -> Outcome<()> {
    let lab = Lab::new(&["ann", "bob", "eve"], &[]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let mut urls = Vec::new();
    for name in ["one", "two", "three"] {
        urls.push(file(&lab, &mut all[1], name, b"x").await?);
    }
    let eve = &mut lab.online("eve", "r").await?;
    enter(eve, "hall", "eve").await?;
    let mut ids = Vec::new();
    for (n, url) in urls.iter().enumerate() {
        // The last is bob's file, but eve says it.
        let id = format!("m{n}");
        let said = format!(
            "<message type='groupchat' to='{}' id='{id}'><body>{url}</body></message>",
            at("hall")
        );
        match n {
            2 => eve.send(&said).await?,
            _ => all[1].send(&said).await?,
        }
        let heard = hears(&mut all[0], &id).await?;
        let stamped = heard.child("urn:xmpp:sid:0", "stanza-id").and_then(|id| id.attr("id"));
        ids.push(stamped.expect("an id").to_owned());
    }
    // By its author.
    let own = format!(
        "<message type='groupchat' to='{}' id='r'><retract xmlns='{RETRACT}' id='{}'/></message>",
        at("hall"),
        ids[0]
    );
    all[1].send(&own).await?;
    hears(&mut all[0], "r").await?;
    // By a moderator.
    for id in &ids[1..] {
        let moderate = format!(
            "<moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'><retract xmlns='{RETRACT}'/></moderate>"
        );
        let answer = ask_room(&mut all[0], "set", "hall", &moderate).await?;
        assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    }
    for (url, want) in urls.iter().zip([404, 404, 200]) {
        assert_eq!(status(&lab, url).await?, want, "{url}");
    }
    Ok(())
}

/// XEP-0363 §7: what does not fit is refused, with nothing left of it; messages have room still.
#[tokio::test]
async fn a_full_disk_takes_messages_and_no_files() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(mount) = Mount::small(&data, 14) else { return Ok(()) };
    let reserve = "modules.upload.free_bytes_min=4000000";
    let set = ["--set", reserve, "--set", "limits.bytes_per_second=0"];
    let lab = Lab::serve(folder.path(), &set, &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    // Slots for what fits, each of them; both do not.
    let big = bytes(6_000_000);
    let (first_to, first) = slot(&mut alice, "a", big.len()).await?;
    let (second_to, second) = slot(&mut alice, "b", big.len()).await?;
    let (small_to, small) = slot(&mut alice, "c", 1_000).await?;
    // What one is still to bring is not free for another.
    let mut half = crate::upload::begun(&lab, &first_to, &big).await?;
    assert_eq!(put(&lab.target, &second_to, &big).await?.status, 507);
    half.write(&big[200_000..]).await?;
    assert_eq!(half.answer().await?.status, 201);
    let refused = put(&lab.target, &second_to, &big).await?;
    assert_eq!(refused.status, 507, "{:?}", refused.body);
    assert_eq!((status(&lab, &first).await?, status(&lab, &second).await?), (200, 404));
    assert_eq!(files(&lab), [id_of(&first)], "nothing is left");
    // No slot for what would not fit.
    let refused = ask(&mut alice, &wanted("d", "6000000", "/>")).await?;
    assert_eq!(refused.condition(), Some("resource-constraint"), "{refused}");
    // Somebody else fills the disk up to the reserve: not even a small one.
    let filling = data.join("filling");
    std::fs::write(&filling, vec![1; free(&data) as usize - 3_900_000]).unwrap();
    assert_eq!(put(&lab.target, &small_to, &bytes(1_000)).await?.status, 507);
    for n in 0..100 {
        let body = "x".repeat(2_000);
        alice
            .send(&format!("<message to='bob@localhost' id='{n}'><body>{body}</body></message>"))
            .await?;
    }
    alice.nothing().await?;
    // With room it goes on by itself, and the slot is good still.
    std::fs::remove_file(filling).unwrap();
    assert_eq!(put(&lab.target, &small_to, &bytes(1_000)).await?.status, 201);
    assert_eq!(get(&lab.target, &small).await?.body, bytes(1_000));
    drop(lab);
    drop(mount);
    Ok(())
}

/// A disk that is full indeed, in the middle of it: without a reserve.
#[tokio::test]
async fn an_upload_that_fills_the_disk_leaves_nothing() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(mount) = Mount::small(&data, 12) else { return Ok(()) };
    let reserve = "modules.upload.free_bytes_min=0";
    let lab = Lab::serve(folder.path(), &["--set", reserve], &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    let size = free(&data) as usize - 1_000_000;
    let (to, from) = slot(&mut alice, "a", size).await?;
    // It begins when there is room, and then there is none.
    let file = bytes(size);
    let mut half = crate::upload::begun(&lab, &to, &file).await?;
    let filling = data.join("filling");
    std::fs::write(&filling, vec![1; free(&data) as usize / 2]).unwrap();
    let _ = half.write(&file[200_000..]).await;
    assert_eq!(half.answer().await?.status, 507);
    assert_eq!((status(&lab, &from).await?, files(&lab)), (404, Vec::new()));
    alice.send("<message to='bob@localhost' id='m'><body>x</body></message>").await?;
    alice.nothing().await?;
    std::fs::remove_file(filling).unwrap();
    assert_eq!(put(&lab.target, &to, &file).await?.status, 201);
    drop(lab);
    drop(mount);
    Ok(())
}

/// Bytes that may be written.
fn free(folder: &Path) -> u64 {
    let said =
        std::process::Command::new("df").args(["-B1", "--output=avail"]).arg(folder).output();
    let text = String::from_utf8(said.unwrap().stdout).unwrap();
    text.lines().last().and_then(|line| line.trim().parse().ok()).expect("df")
}

/// A backup has the files that its rows speak of, though they were deleted since; a restore brings them back.
#[tokio::test]
async fn a_backup_has_the_files_and_a_restore_brings_them() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut lab = Lab::serve(at, &[], &["alice"]);
    let mut alice = lab.login("alice").await?;
    let (first, second) = (bytes(70_000), bytes(10));
    let one = file(&lab, &mut alice, "one", &first).await?;
    let two = file(&lab, &mut alice, "two", &second).await?;
    let gone = file(&lab, &mut alice, "gone", b"gone").await?;
    good(stonechat(at, &["upload", "delete", &gone]));
    let told = good(stonechat(at, &["backup", "copy.db"]));
    assert!(told.contains("copy.db.uploads holds its 2 uploaded files: 68.3 KiB"), "{told}");
    let mut there = crate::upload::files_in(&at.join("copy.db.uploads"));
    there.sort();
    let mut both = [id_of(&one), id_of(&two)];
    both.sort();
    assert_eq!(there, both);
    // What is deleted later is in the backup still, and what comes later is not.
    good(stonechat(at, &["upload", "delete", &one]));
    let later = file(&lab, &mut alice, "later", b"later").await?;
    lab.process.signal("TERM");
    lab.process.exit();
    let lab = Lab::serve(at, &[], &[]);
    let until = Instant::now() + DEADLINE;
    while files(&lab).contains(&id_of(&one)) {
        assert!(Instant::now() < until, "{:?}", files(&lab));
        status(&lab, &two).await?;
    }
    drop(lab);

    let told = good(stonechat(at, &["restore", "copy.db"]));
    assert!(told.contains("its 2 uploaded files are in "), "{told}");
    let lab = Lab::serve(at, &[], &[]);
    assert_eq!(get(&lab.target, &one).await?.body, first);
    assert_eq!(get(&lab.target, &two).await?.body, second);
    assert_eq!(status(&lab, &later).await?, 404);
    drop(lab);
    // The backup was not touched by it, and is good elsewhere; without its files that is said.
    let other = tempfile::tempdir().unwrap();
    let copy = at.join("copy.db").display().to_string();
    good(stonechat(other.path(), &["restore", &copy]));
    let lab = Lab::serve(other.path(), &[], &[]);
    assert_eq!(get(&lab.target, &one).await?.body, first);
    drop(lab);
    let third = tempfile::tempdir().unwrap();
    std::fs::copy(at.join("copy.db"), third.path().join("alone.db")).unwrap();
    let told = stonechat(third.path(), &["restore", "alone.db"]);
    assert!(!told.ok && told.out.contains("2 of its 2 uploaded files are MISSING"), "{told:?}");
    assert!(told.out.contains("the exit code is 3"), "{told:?}");
    Ok(())
}
