//! Labs that federate: two servers of one lab (`--split`), and labs that find each other (`--peer`).

use crate::harness::client::{Client, Outcome, Target};
use crate::harness::interest::befriend;
use crate::harness::peers::{Site, lab};
use crate::harness::process::{Lab, OPEN_ROOMS, PASSWORD, run_in};
use crate::harness::sm::chat;
use crate::s2s::across;
use crate::s2s_streams::hears;

async fn online(target: &Target, user: &str) -> Outcome<Client> {
    let mut client = Client::connect(target, crate::harness::client::Security::StartTls).await?;
    client.authenticate(user, PASSWORD).await?;
    client.bind(Some("x")).await?;
    client.become_available().await?;
    Ok(client)
}

/// Two domains of one lab over a real socket: as the operator sees them, each is the other's other server.
#[tokio::test]
async fn domains_of_one_lab_speak_over_sockets() -> Outcome<()> {
    let users =
        ["alice@a.test", "bob@b.test", "carol@c.test"].map(|user| format!("{user}:{PASSWORD}"));
    let users = users.iter().flat_map(|user| ["--user", user]);
    let more = [
        "--split",
        "b.test",
        "--split",
        "c.test",
        "--set",
        "sasl.iterations=4096",
        "--set",
        OPEN_ROOMS,
    ];
    let mut lab = Lab::start(&users.chain(more).collect::<Vec<_>>());
    let domains: Vec<_> = lab.split.iter().map(|(target, _)| target.domain.clone()).collect();
    assert_eq!(
        (lab.target.domain.as_str(), domains),
        ("a.test", vec!["b.test".into(), "c.test".into()])
    );
    let mut alice = online(&lab.target, "alice").await?;
    let mut bob = online(&lab.split[0].0, "bob").await?;
    let mut carol = online(&lab.split[1].0, "carol").await?;
    befriend(&mut alice, &mut bob).await?;
    alice.send(&chat("bob@b.test", "1")).await?;
    hears(&mut bob, "1").await?;
    bob.send(&chat("carol@c.test", "2")).await?;
    hears(&mut carol, "2").await?;
    carol.send(&chat("alice@a.test", "3")).await?;
    hears(&mut alice, "3").await?;
    // Services are found, too.
    across(&mut bob, "conference.a.test").await?;
    across(&mut alice, "pubsub.c.test").await?;
    // Each has its own data, socket and streams.
    for (data, own, other) in
        [(&lab.data, "a.test", "b.test"), (&lab.split[0].1, "b.test", "a.test")]
    {
        let shown = data.display().to_string();
        let said = run_in(data, &["--data-dir", &shown, "s2s", "test", other], "");
        assert!(said.ok && said.out.contains("authenticated by external"), "{said:?}");
        let said = run_in(data, &["--data-dir", &shown, "s2s", "list"], "");
        let has =
            |line: &str| line.contains(own) && line.contains(other) && line.contains("TLSv1.3");
        assert!(said.ok && said.out.lines().any(has), "{said:?}");
    }
    // What is served by another server of the lab is not served by the first one.
    let mut stranger =
        Client::connect(&lab.target, crate::harness::client::Security::StartTls).await?;
    assert!(stranger.authenticate("bob", PASSWORD).await.is_err());
    lab.process.signal("TERM");
    assert!(lab.process.exit().success(), "{}", lab.process.log());
    assert!(!lab.data.exists(), "nothing is left");
    Ok(())
}

#[test]
fn a_split_is_a_domain() {
    let said = crate::harness::process::run(&["lab", "--split", "bob@b.test"], "");
    assert!(!said.ok && said.err.contains("--split") && said.err.contains("no domain"), "{said:?}");
}

/// Three labs in processes of their own, each told where the two others are.
#[tokio::test]
async fn three_labs_find_and_trust_each_other() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority");
    let sites = ["a.test", "b.test", "c.test"].map(Site::new);
    let names = ["alice", "bob", "carol"];
    let mut labs = Vec::new();
    for (at, user) in names.iter().enumerate() {
        let others: Vec<&Site> =
            sites.iter().filter(|site| site.domain != sites[at].domain).collect();
        labs.push(lab(&sites[at], &others, &authority, &[user], &[]));
    }
    let mut people = Vec::new();
    for (lab, user) in labs.iter().zip(names) {
        people.push(lab.online(user, "x").await?);
    }
    for from in 0..3 {
        for to in (0..3).filter(|to| *to != from) {
            let id = format!("{from}-{to}");
            let address = format!("{}@{}", names[to], sites[to].domain);
            people[from].send(&chat(&address, &id)).await?;
            let got = hears(&mut people[to], &id).await?;
            assert_eq!(got.attr("from"), Some(people[from].jid.as_str()), "{got}");
        }
    }
    // A room at one of them, with people of all three.
    let room = "hall@conference.a.test";
    people[0]
        .send(&format!(
            "<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await?;
    people[0].expect(|e| e.name == "message" && e.find("subject").is_some()).await?;
    let form = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>";
    people[0].ask(&format!("<iq type='set' id='open' to='{room}'>{form}</iq>")).await?;
    for (person, name) in people.iter_mut().zip(names).skip(1) {
        person.send(&format!("<presence to='{room}/{name}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")).await?;
        person.expect(|e| e.name == "message" && e.find("subject").is_some()).await?;
    }
    people[2]
        .send(&format!("<message to='{room}' type='groupchat' id='g'><body>all</body></message>"))
        .await?;
    for person in &mut people {
        let said = person
            .expect(|e| e.attr("type") == Some("groupchat") && e.text_of("body") == Some("all"))
            .await?;
        assert_eq!(said.attr("from"), Some("hall@conference.a.test/carol"), "{said}");
    }
    Ok(())
}
