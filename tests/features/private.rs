//! XEP-0049: Private XML Storage.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;

const NS: &str = "jabber:iq:private";

async fn get(client: &mut Client, to: &str) -> Outcome<Element> {
    let asked = "<storage xmlns='storage:rosternotes'/>";
    client
        .ask(&format!("<iq type='get' id='get'{to}><query xmlns='{NS}'>{asked}</query></iq>"))
        .await
}

fn note(answer: &Element) -> Option<&str> {
    answer.child(NS, "query")?.child("storage:rosternotes", "storage")?.text_of("note")
}

/// §2.2: it is kept for all clients of the account, over a restart too, and goes with the account. §2.3: nobody
/// else gets it or changes it, and what others are answered does not say who is there.
#[tokio::test]
async fn what_is_private_stays_with_its_account() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    let mut alice = lab.online("alice", "a").await?;
    let set = |to: &str, text: &str| {
        let notes = format!("<storage xmlns='storage:rosternotes'><note>{text}</note></storage>");
        format!("<iq type='set' id='set'{to}><query xmlns='{NS}'>{notes}</query></iq>")
    };
    let stored = alice.ask(&set("", "mine")).await?;
    assert_eq!(stored.attr("type"), Some("result"), "{stored}");
    let mut bob = lab.online("bob", "b").await?;
    for to in [" to='alice@localhost'", " to='nobody@localhost'"] {
        for request in [set(to, "forged"), set(to, "x").replace("'set'", "'get'")] {
            let refused = bob.ask(&request).await?;
            assert_eq!(refused.condition(), Some("service-unavailable"), "{refused}");
        }
    }
    assert_eq!(note(&get(&mut bob, "").await?), None);
    lab.process.signal("TERM");
    lab.process.exit();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut phone = lab.online("alice", "phone").await?;
    let found = get(&mut phone, " to='alice@localhost'").await?;
    assert_eq!(note(&found), Some("mine"), "{found}");
    Ok(())
}
