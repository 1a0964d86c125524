//! XEP-0377: who blocks somebody says why, and the operator reads it.

use crate::harness::client::{Client, Outcome};
use crate::harness::process::{Lab, Said, run_in};
use std::path::Path;

fn reports(folder: &Path, args: &[&str]) -> Said {
    run_in(folder, &[&["--data-dir", "data", "reports"], args].concat(), "")
}

async fn block(client: &mut Client, items: &str) -> Outcome<()> {
    let block = format!("<block xmlns='urn:xmpp:blocking'>{items}</block>");
    let answer = client.ask(&format!("<iq type='set' id='block'>{block}</iq>")).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    Ok(())
}

fn item(jid: &str, report: &str) -> String {
    format!("<item jid='{jid}'>{report}</item>")
}

fn report(reason: &str, inside: &str) -> String {
    format!(
        "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:{reason}'>{inside}</report>"
    )
}

/// §6: with and without ids of messages, several at once; §4: what each says. A report that says no reason
/// or an unknown one is none; whoever is reported is blocked in any case.
#[tokio::test]
async fn the_operator_reads_what_was_reported() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &["alice", "bob"]);
    let mut alice = lab.online("alice", "a").await?;
    let said = reports(at, &["list"]);
    assert!(said.ok && said.out.is_empty() && said.err.contains("no reports"), "{said:?}");
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let info = alice.ask(&format!("<iq type='get' id='i' to='localhost'>{info}</iq>")).await?;
    assert!(info.to_string().contains("urn:xmpp:reporting:1"), "{info}");
    let id =
        |id: &str| format!("<stanza-id xmlns='urn:xmpp:sid:0' by='alice@localhost' id='{id}'/>");
    let whole = format!(
        "{}{}<text xml:lang='en'>Never came\n trouble</text><report-origin/>",
        id("28482"),
        id("38383")
    );
    let items = [
        item("spam@localhost", &report("spam", "")),
        item("troll@localhost", &report("abuse", &whole)),
        item("plain@localhost", ""),
        item("strange@localhost", &report("other", "")),
        item("mute@localhost", "<report xmlns='urn:xmpp:reporting:1'/>"),
    ];
    block(&mut alice, &items.concat()).await?;
    let list = "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>";
    let blocked = alice.ask(list).await?.to_string();
    for name in ["spam", "troll", "plain", "strange", "mute"] {
        assert!(blocked.contains(&format!("{name}@localhost")), "{blocked}");
    }
    let said = reports(at, &["list"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(said.ok && lines.len() == 2, "{said:?}");
    assert!(
        lines[0].starts_with("2  ")
            && lines[0].contains("troll@localhost  abuse, 2 messages, by alice@localhost"),
        "{said:?}"
    );
    assert!(lines[1].contains("spam@localhost  spam, by alice@localhost"), "{said:?}");
    let said = reports(at, &["show", "2"]);
    for part in [
        "said: Never came trouble",
        "may be passed on to: the server of who is reported",
        "message: 28482 in the archive of alice@localhost",
        "message: 38383 in the archive of alice@localhost",
    ] {
        assert!(said.out.contains(part), "{said:?}");
    }
    let said = reports(at, &["done", "2"]);
    assert!(said.ok && said.out.contains("report 2 is done with"), "{said:?}");
    assert_eq!(reports(at, &["list"]).out.lines().count(), 1);
    assert!(reports(at, &["list", "--all"]).out.contains("; done "));
    for verb in ["show", "done"] {
        let said = reports(at, &[verb, "9"]);
        assert!(!said.ok && said.err.contains("there is no report 9"), "{said:?}");
    }
    // Without a server, too.
    alice.close().await?;
    drop(lab);
    assert_eq!(reports(at, &["list", "--all"]).out.lines().count(), 2);
    Ok(())
}

/// Of one account the newest are kept.
#[tokio::test]
async fn nobody_fills_the_list() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &["--set", "modules.reports.per_account=2"], &["alice"]);
    let mut alice = lab.online("alice", "a").await?;
    for n in 0..5 {
        block(&mut alice, &item(&format!("spam{n}@localhost"), &report("spam", ""))).await?;
    }
    let said = reports(at, &["list"]);
    let names: Vec<bool> = (0..5).map(|n| said.out.contains(&format!("spam{n}@"))).collect();
    assert_eq!(names, [false, false, false, true, true], "{said:?}");
    Ok(())
}

/// Gajim writes the form of XEP-0377 0.2 still.
#[tokio::test]
async fn the_old_form_counts() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &["alice"]);
    let mut alice = lab.online("alice", "a").await?;
    let old = |reason: &str| format!("<report xmlns='urn:xmpp:reporting:0'>{reason}</report>");
    let items = [item("spam@localhost", &old("<spam/>")), item("none@localhost", &old("<other/>"))];
    block(&mut alice, &items.concat()).await?;
    let said = reports(at, &["list"]);
    assert!(said.out.contains("spam@localhost  spam, by alice@localhost"), "{said:?}");
    assert!(!said.out.contains("none@localhost"), "{said:?}");
    Ok(())
}
