//! Rooms on a disk that is full, and what they promise of what they write to people (promise.md 4 and 5; XEP-0045).

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::mount::Mount;
use crate::harness::process::Lab;
use crate::harness::rooms::{
    SERVICE, USER, ask, at, codes, configure, enter, found, gathering, hears, knock, sees, set_item,
};
use crate::harness::sm::Stalled;
use std::path::Path;

const FAST: [&str; 4] =
    ["--set", "limits.bytes_per_second=0", "--set", "limits.stanzas_per_second=0"];

/// Condition and type of an error.
fn error(answer: &Element) -> (&str, &str) {
    let ty = answer.find("error").and_then(|error| error.attr("type"));
    (answer.condition().unwrap_or_default(), ty.unwrap_or_default())
}

const NO_ROOM: (&str, &str) = ("resource-constraint", "wait");

/// Says this much; the error, if it was refused. What it heard of it is forgotten.
async fn says(client: &mut Client, id: &str, bytes: usize) -> Outcome<Option<Element>> {
    let (to, body) = (at("hall"), "x".repeat(bytes));
    let content = format!("<body>{body}</body>");
    let message = format!("<message type='groupchat' id='{id}' to='{to}'>{content}</message>");
    client.send(&message).await?;
    // Its answer waits for what was said (promise.md 4).
    client.fence().await?;
    Ok(client.take().into_iter().find(|e| e.attr("type") == Some("error")))
}

/// Speaks until the disk is full, for small things, too: what was taken, and the last refusal. When the disk is full
/// the log is copied, so that its place is used again; it is full when nothing was taken for some tries.
async fn fill(client: &mut Client) -> Outcome<(Vec<String>, Element)> {
    let (mut taken, mut refusals) = (Vec::new(), 0);
    for n in 0..2_000 {
        let id = format!("f{n}");
        let bytes = if refusals == 0 { 100_000 } else { 10 };
        match says(client, &id, bytes).await? {
            Some(refused) if refusals == 5 => return Ok((taken, refused)),
            Some(_) => refusals += 1,
            None => {
                refusals = refusals.min(1);
                taken.push(id);
            }
        }
    }
    client.fail("the disk is not full")
}

/// The ids of what came, errors and presence too, which have others.
async fn came(client: &mut Client) -> Outcome<Vec<String>> {
    client.fence().await?;
    let id = |e: &Element| e.attr("id").unwrap_or("(none)").to_owned();
    Ok(client.take().iter().map(id).collect())
}

/// The archive as somebody reads it, in pages.
async fn archived(client: &mut Client) -> Outcome<Vec<String>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    client.forget();
    loop {
        let set = format!("<set xmlns='http://jabber.org/protocol/rsm'>{after}</set>");
        let answer =
            ask(client, "set", "hall", &format!("<query xmlns='{MAM}'>{set}</query>")).await?;
        for one in client.take() {
            let Some(result) = one.child(MAM, "result") else { continue };
            after = format!("<after>{}</after>", result.attr("id").unwrap_or_default());
            let said = result.find("message").and_then(|said| said.attr("id"));
            all.push(said.unwrap_or("(none)").to_owned());
        }
        if answer.find("fin").is_none_or(|fin| fin.attr("complete") == Some("true")) {
            return Ok(all);
        }
    }
}

const MAM: &str = "urn:xmpp:mam:2";

/// promise.md 5: who speaks on a full disk is told, and nobody else is; with room the conversation goes on, and the
/// archive holds what was taken.
#[tokio::test]
async fn a_full_disk_at_a_message_is_told_to_its_speaker_alone() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::small(&folder.path().join("data"), 3) else { return Ok(()) };
    let lab = Lab::serve(folder.path(), &FAST, &["ann", "bob", "cat"]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    let (taken, refused) = fill(&mut all[0]).await?;
    assert_eq!(error(&refused), NO_ROOM, "{refused}");
    assert_eq!(refused.attr("from"), Some(&*at("hall")));
    assert!(!taken.is_empty());
    // What was on its way when the disk was full may have been heard; what comes behind it is not.
    let mut heard = came(&mut all[1]).await?;
    heard.retain(|id| taken.contains(id));
    assert_eq!(heard, taken);
    for n in 0..20 {
        let refused = says(&mut all[0], &format!("r{n}"), 10).await?.expect("a refusal");
        assert_eq!(error(&refused), NO_ROOM, "{refused}");
        assert_eq!(refused.attr("id"), Some(&*format!("r{n}")));
    }
    assert!(came(&mut all[1]).await?.is_empty());
    // What is not kept needs no disk, and who comes and goes does not either.
    let composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    let typing =
        format!("<message type='groupchat' id='t' to='{}'>{composing}</message>", at("hall"));
    all[0].send(&typing).await?;
    hears(&mut all[1], "t").await?;
    let mut cat = lab.online("cat", "r").await?;
    enter(&mut cat, "hall", "cat").await?;
    sees(&mut all[1], "hall", "cat").await?;
    cat.forget();
    mount.resize(64);
    // It finds out by itself, within a second or two.
    while says(&mut all[0], "again", 10).await?.is_some() {}
    for hearer in [&mut all[1], &mut cat] {
        assert_eq!(came(hearer).await?, ["again"]);
    }
    let kept = [&taken[..], &["again".to_owned()]].concat();
    assert_eq!(archived(&mut cat).await?, kept);
    drop(lab);
    drop(mount);
    Ok(())
}

/// A field of the configuration as its owner reads it.
async fn configured(owner: &mut Client, var: &str) -> Outcome<String> {
    let query = "<query xmlns='http://jabber.org/protocol/muc#owner'/>";
    let answer = ask(owner, "get", "hall", query).await?;
    let var = format!("muc#roomconfig_{var}");
    let x = answer.find("x").expect("a form");
    let field = x.children.iter().find(|field| field.attr("var") == Some(&var));
    Ok(field.and_then(|field| field.text_of("value")).unwrap_or_default().to_owned())
}

async fn affiliated(owner: &mut Client, affiliation: &str) -> Outcome<Vec<String>> {
    let item = format!("<item affiliation='{affiliation}'/>");
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>");
    let answer = ask(owner, "get", "hall", &query).await?;
    let items = answer.find("query").into_iter().flat_map(|query| &query.children);
    Ok(items.filter_map(|item| item.attr("jid").map(str::to_owned)).collect())
}

const MEMBERS_ONLY: [(&str, &str); 2] = [("roomname", "Club"), ("membersonly", "1")];
const BAN: &str = "<item affiliation='outcast' jid='bob@localhost'/>";
const MEMBER: &str = "<item affiliation='member' jid='cat@localhost'/>";

/// promise.md 5: what an owner changes on a full disk is an error, and nothing is half changed: not in memory, not for
/// those who are there, and not after a start.
#[tokio::test]
async fn a_full_disk_at_a_change_of_a_room_changes_nothing() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::small(&folder.path().join("data"), 3) else { return Ok(()) };
    let mut lab = Lab::serve(folder.path(), &FAST, &["ann", "bob", "cat", "dan"]);
    let mut all = gathering(&lab, "hall", &["ann", "bob"], &[]).await?;
    fill(&mut all[0]).await?;
    // A change is smaller than a message: until there is no place for one either.
    let mut refusals = 0;
    for n in 0..1_000 {
        let described = configure(&mut all[0], "hall", &[("roomdesc", &n.to_string())]).await?;
        refusals = if described.attr("type") == Some("error") { refusals + 1 } else { 0 };
        if refusals == 5 {
            break;
        }
    }
    came(&mut all[1]).await?;
    let mut dan = lab.online("dan", "r").await?;
    for again in [false, true] {
        let refused = configure(&mut all[0], "hall", &MEMBERS_ONLY).await?;
        assert_eq!(error(&refused), NO_ROOM, "{refused}");
        for item in [BAN, MEMBER] {
            let refused = set_item(&mut all[0], "hall", item).await?;
            assert_eq!(error(&refused), NO_ROOM, "{refused}");
        }
        // Nobody hears of it, nobody is thrown out, and who is no member comes in.
        assert!(came(&mut all[1]).await?.is_empty());
        assert_eq!(configured(&mut all[0], "membersonly").await?, "0");
        assert_eq!(configured(&mut all[0], "roomname").await?, "");
        for affiliation in ["outcast", "member"] {
            assert!(affiliated(&mut all[0], affiliation).await?.is_empty(), "{affiliation}");
        }
        if !again {
            enter(&mut dan, "hall", "dan").await?;
            sees(&mut all[1], "hall", "dan").await?;
        }
    }
    // XEP-0045 §10.1: nor is a room made by halves: it stays locked, for its creator to try again.
    let mut eve = lab.online("dan", "other").await?;
    enter(&mut eve, "nook", "eve").await?;
    assert_eq!(error(&configure(&mut eve, "nook", &[]).await?), NO_ROOM);
    knock(&mut all[0], "nook", "ann", "").await?;
    let from = format!("nook@{SERVICE}/ann");
    let locked = all[0].expect(|e| e.attr("from") == Some(&*from)).await?;
    assert_eq!(locked.condition(), Some("item-not-found"), "{locked}");
    mount.resize(64);
    while configure(&mut eve, "nook", &[]).await?.attr("type") != Some("result") {}
    enter(&mut all[0], "nook", "ann").await?;
    // After a start it is as it was, too.
    drop(all);
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &FAST, &[]);
    let (mut ann, mut bob) = (lab.online("ann", "r").await?, lab.online("bob", "r").await?);
    enter(&mut ann, "hall", "ann").await?;
    assert_eq!(configured(&mut ann, "membersonly").await?, "0");
    enter(&mut bob, "hall", "bob").await?;
    bob.forget();
    ann.forget();
    // With room all of it is done, and told.
    assert_eq!(configure(&mut ann, "hall", &MEMBERS_ONLY).await?.attr("type"), Some("result"));
    bob.expect(|e| codes(e).contains(&"322".to_owned())).await?;
    assert_eq!(set_item(&mut ann, "hall", BAN).await?.attr("type"), Some("result"));
    assert_eq!(affiliated(&mut ann, "outcast").await?, ["bob@localhost"]);
    drop(lab);
    drop(mount);
    Ok(())
}

fn again(folder: &Path) -> Lab {
    Lab::serve(folder, &FAST, &[])
}

/// promise.md 4, XEP-0045 §7.8.2 and §9.5: an invitation is acknowledged when it, and the membership that it brings, are
/// durable, for whoever is away.
#[tokio::test]
async fn an_invitation_that_was_acknowledged_survives_a_kill() -> Outcome<()> {
    for fields in [&[][..], &[("membersonly", "1")]] {
        let folder = tempfile::tempdir().unwrap();
        let mut lab = Lab::serve(folder.path(), &FAST, &["ann", "bob", "cat"]);
        let mut ann = lab.online("ann", "r").await?;
        found(&mut ann, "hall", "ann", fields).await?;
        // Bob is a member already, or what he gets would be waited for, too.
        set_item(&mut ann, "hall", "<item affiliation='member' jid='bob@localhost'/>").await?;
        let mut bob = lab.online("bob", "r").await?;
        ann.enable().await?;
        let stalled = Stalled::new(&lab);
        let invites = "<invite to='cat@localhost'/><invite to='bob@localhost'/>";
        let x = format!("<x xmlns='{USER}'>{invites}</x>");
        ann.send(&format!("<message to='{}' id='i'>{x}</message>", at("hall"))).await?;
        if fields.is_empty() {
            // He is there, and needs no disk: the room has done its part.
            bob.expect(|e| e.find("invite").is_some()).await?;
        }
        assert_eq!(ann.r().await?, 0, "it is not durable yet");
        drop(stalled);
        ann.acked().await?;
        lab.process.kill();
        let lab = again(folder.path());
        let mut cat = lab.online("cat", "r").await?;
        let invited = cat.expect(|e| e.name == "message" && e.find("invite").is_some()).await?;
        assert_eq!(invited.attr("from"), Some(&*at("hall")));
        enter(&mut cat, "hall", "cat").await?;
    }
    Ok(())
}
