//! `stonechat import` and `stonechat export`: what another server kept is there for its users' clients, who log in with
//! the passwords that they always had.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::archive::query;
use super::backup::{bad, good, stonechat};
use crate::harness::client::{Client, Outcome, Security};
use crate::harness::mount::Mount;
use crate::harness::nodes::items;
use crate::harness::process::Lab;

const OLD: &str = "old password";

/// Keys of [`OLD`] as servers write them: Prosody with the name of another hash and a number of rounds that is none;
/// ejabberd in base64 twice.
const KEYS: [(&str, &str, &str, &str); 3] = [
    ("sha1", "c2FsdCBvZiBzaGEx", "uqvrdD5I+8CvjODAckaQOEbvIQE=", "2F7Fx/upUt6PSA+7+6XG2FT7VOA="),
    (
        "sha256",
        "c2FsdCBvZiBzaGEyNTY=",
        "XrrKe+g7DBKQAwAUysxvLTwm4gz9ZHzko3DRKzU2zLo=",
        "vo0SKlytEwdsqded/rv79EuS8ZYTaYiHIFDL8yc2Hcw=",
    ),
    (
        "twice",
        "YzJGc2RDQnZaaUIwZDJsalpRPT0=",
        "ZTVvNGx6QVlVNkFEbXRucjRKVkhzTHlKTk1RPQ==",
        "Ky9QS3lJTHJwNE5CTFB0OVdKZENGcGhLMmt3PQ==",
    ),
];

fn keys((_, salt, stored, server): (&str, &str, &str, &str)) -> String {
    format!(
        "<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>10000.0</iter-count>\
         <salt>{salt}</salt><server-key>{server}</server-key><stored-key>{stored}</stored-key></scram-credentials>"
    )
}

fn message(at: &str, from: &str, to: &str, body: &str) -> String {
    format!(
        "<result xmlns='urn:xmpp:mam:2' id='{at}'><forwarded xmlns='urn:xmpp:forward:0'>\
         <delay xmlns='urn:xmpp:delay' stamp='{at}'/><message xmlns='jabber:client' type='chat' id='{at}' from='{from}' \
         to='{to}'><body>{body}</body></message></forwarded></result>"
    )
}

fn write(folder: &Path, name: &str, users: &str) {
    let data = format!(
        "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='urn:xmpp:pie:0'>\
         <host jid='localhost'>{users}</host></server-data>"
    );
    std::fs::write(folder.join(name), data).unwrap();
}

/// Years ago nobody said anything that the server would not delete by its age.
fn recently(seconds: i64) -> String {
    let at = time::OffsetDateTime::now_utc() - time::Duration::hours(1);
    let at = (at + time::Duration::seconds(seconds)).replace_nanosecond(0).unwrap();
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

fn everything() -> String {
    let (one, two) = (recently(0), recently(0));
    let archive = [
        message(&one, "sha1@localhost/a", "bob@localhost", "first"),
        message(&two, "bob@localhost/b", "sha1@localhost", "second"),
    ]
    .concat();
    let users: String = KEYS.iter().map(|key| {
        let own = if key.0 == "sha1" {
            format!(
                "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='Bob' subscription='both'>\
                 <group>Friends</group></item></query>\
                 <presence xmlns='jabber:client' type='subscribe' from='carol@elsewhere.example'/>\
                 <archive xmlns='urn:xmpp:pie:0#mam'>{archive}</archive>\
                 <offline-messages><message xmlns='jabber:client' type='chat' id='w' from='bob@localhost/b' \
                 to='sha1@localhost'><body>waits</body><delay xmlns='urn:xmpp:delay' stamp='{one}'/></message></offline-messages>\
                 <query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'><conference \
                 jid='r@conference.localhost' autojoin='1' name='R'/></storage></query>\
                 <blocklist xmlns='urn:xmpp:blocking'><item jid='spam@elsewhere.example'/></blocklist>"
            )
        } else {
            String::new()
        };
        format!("<user name='{}'>{}{own}</user>", key.0, keys(*key))
    }).collect();
    let emoji = "<user name='emoji' password='p🦀ssword'/><user name='bob' password='plain'/>";
    let room = format!(
        "<room xmlns='urn:x-stonechat:moving:0' jid='r@conference.localhost'>\
         <query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='form'>\
         <field var='muc#roomconfig_roomname'><value>The room</value></field>\
         <field var='muc#roomconfig_membersonly'><value>0</value></field></x></query>\
         <query xmlns='http://jabber.org/protocol/muc#admin'><item jid='sha1@localhost' affiliation='owner'/></query>\
         <archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'>\
         <delay xmlns='urn:xmpp:delay' stamp='{one}'/><message xmlns='jabber:client' type='groupchat' id='1' \
         from='r@conference.localhost/al'><body>said in the room</body></message></forwarded></result></archive></room>"
    );
    format!("{users}{emoji}{room}")
}

async fn login(lab: &Lab, user: &str, password: &str) -> Outcome<Client> {
    let mut client = Client::connect(&lab.target, Security::StartTls).await?;
    client.authenticate(user, password).await?;
    client.bind(None).await?;
    client.ignores_presence = true;
    Ok(client)
}

/// SCRAM of the hash that the keys are of, and no other way.
async fn by_scram(lab: &Lab, user: &str, mechanism: &str) -> Outcome<()> {
    let mut client = Client::connect(&lab.target, Security::StartTls).await?;
    let done = client.authenticate_with(mechanism, user, OLD).await?;
    assert!(done.is_ok(), "{user} {mechanism}: {done:?}");
    Ok(())
}

#[tokio::test]
async fn people_find_everything_with_their_old_passwords() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "old.xml", &everything());
    let tried = good(stonechat(at, &["import", "--from", "xep0227:old.xml", "--dry-run"]));
    assert!(tried.contains("accounts: 5 would be new"), "{tried}");
    assert!(!at.join("data").exists(), "it is tried out only");
    let told = good(stonechat(at, &["import", "--from", "xep0227:old.xml"]));
    assert_eq!(told, tried.replace("would be new", "new"));
    assert!(!told.contains("NOT"), "{told}");
    let again = good(stonechat(at, &["import", "--from", "xep0227:old.xml"]));
    assert!(again.contains("archived messages: 0 new, 2 there already"), "{again}");

    let lab = Lab::serve(at, &[], &[]);
    let busy = bad(stonechat(at, &["import", "--from", "xep0227:old.xml"]));
    assert!(busy.contains("stop the server"), "{busy}");
    for (user, mechanism) in
        [("sha1", "SCRAM-SHA-1"), ("sha256", "SCRAM-SHA-256"), ("twice", "SCRAM-SHA-1")]
    {
        by_scram(&lab, user, mechanism).await?;
    }
    login(&lab, "emoji", "p🦀ssword").await?;
    let mut client = login(&lab, "sha1", OLD).await?;
    let roster = client.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await?;
    let roster = roster.to_string();
    assert!(roster.contains("Friends") && roster.contains("subscription='both'"), "{roster}");
    client.send(&query("q", "")).await?;
    let mut bodies = Vec::new();
    loop {
        let one = client.expect(|e| e.name == "message" || e.attr("id") == Some("q")).await?;
        if one.name != "message" {
            break;
        }
        bodies.push(one.find("body").map(|body| body.text.clone()).unwrap_or_default());
    }
    assert_eq!(bodies, ["first", "second"]);
    let bookmarks = items(&mut client, "sha1@localhost", "urn:xmpp:bookmarks:1").await?;
    assert_eq!(
        bookmarks.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
        ["r@conference.localhost"]
    );
    let list = "<iq type='get' id='b'><blocklist xmlns='urn:xmpp:blocking'/></iq>";
    assert!(client.ask(list).await?.to_string().contains("spam@elsewhere.example"));
    // What waited comes once, and the request that was not answered.
    client.ignores_presence = false;
    client.send("<presence/>").await?;
    client.expect(|e| e.name == "presence" && e.attr("type") == Some("subscribe")).await?;
    client.fence().await?;
    let said = client.conversation();
    assert_eq!(said.matches("<body>waits</body>").count(), 1, "{said}");
    let ask = query("m", "").replace("<iq ", "<iq to='r@conference.localhost' ");
    client.send(&ask).await?;
    let one = client.expect(|e| e.name == "message" && e.find("result").is_some()).await?;
    assert!(one.to_string().contains("said in the room"), "{one}");
    Ok(())
}

/// Out of a running server and into another one: the same.
#[tokio::test]
async fn what_goes_out_comes_in_again() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "old.xml", &everything());
    good(stonechat(at, &["import", "--from", "xep0227:old.xml"]));
    let lab = Lab::serve(at, &[], &[]);
    good(stonechat(at, &["export", "--all", "--to", "first.xml"]));
    drop(lab);
    let mode = std::fs::metadata(at.join("first.xml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let there = bad(stonechat(at, &["export", "--all", "--to", "first.xml"]));
    assert!(there.contains("exists"), "{there}");
    let other = at.join("other");
    std::fs::create_dir(&other).unwrap();
    good(stonechat(&other, &["import", "--from", "xep0227:../first.xml"]));
    good(stonechat(&other, &["export", "--all", "--to", "second.xml"]));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(&at.join("first.xml")), read(&other.join("second.xml")));
    // What a person has, to be read.
    let export = ["export", "--user", "sha1@localhost", "--format", "json", "--to", "own.json"];
    good(stonechat(at, &export));
    let own: serde_json::Value = serde_json::from_str(&read(&at.join("own.json"))).unwrap();
    assert_eq!(own[0]["account"], "sha1@localhost");
    let text = own.to_string();
    assert!(text.contains("second") && !text.contains("stored-key"), "{text}");
    bad(stonechat(at, &["export", "--user", "nobody@localhost", "--to", "nobody.xml"]));
    assert!(!at.join("nobody.xml").exists());
    Ok(())
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("cut.xml"), "<server-data xmlns='urn:xmpp:pie:0'>\n<host jid='localhost'>\n<user name='a' password='b'/>\n<user").unwrap();
    for (from, words) in [
        ("xep0227:none.xml", "No such file"),
        ("xep0227:.", "no file"),
        ("cisco:x", "xep0227:FILE"),
        ("x", "xep0227:FILE"),
    ] {
        let said = bad(stonechat(at, &["import", "--from", from]));
        assert!(said.contains(words), "{from}: {said}");
    }
    assert!(!at.join("data").exists());
    let said = stonechat(at, &["import", "--from", "xep0227:cut.xml"]);
    assert!(!said.ok && said.err.contains("cut.xml:4"), "{said:?}");
}

/// A full disk in the middle: what was written stays, and the same command goes on.
#[test]
fn a_full_disk_ends_an_import_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let Some(mount) = Mount::small(&at.join("data"), 12) else { return };
    let text = "x".repeat(1_000);
    let messages: String = (0..20_000)
        .map(|n| message(&recently(n / 10), "a@localhost/a", "b@elsewhere.example", &text))
        .collect();
    let archive = format!("<archive xmlns='urn:xmpp:pie:0#mam'>{messages}</archive>");
    write(at, "old.xml", &format!("<user name='a' password='p'>{archive}</user>"));
    let import = ["import", "--from", "xep0227:old.xml"];
    let said = stonechat(at, &import);
    assert!(!said.ok && said.err.contains("nothing more can be written"), "{said:?}");
    mount.resize(200);
    let told = good(stonechat(at, &import));
    let line = told.lines().find(|line| line.starts_with("archived")).unwrap();
    let numbers: Vec<usize> =
        line.split([' ', ':', ',']).filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers.iter().sum::<usize>(), 20_000, "{line}");
    assert!(numbers.iter().all(|number| *number > 0), "{line}");
}
