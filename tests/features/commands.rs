//! XEP-0050: commands; those for devices serve as the example.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, wrong};
use std::path::Path;
use stonechat::base::credential::AgentId;
use stonechat::store::devices::{self, Seen};
use stonechat::store::{Options, Store, Tx, accounts};

pub const COMMANDS: &str = "http://jabber.org/protocol/commands";
const DATA: &str = "jabber:x:data";

/// A server on which romeo has two devices.
async fn lab(folder: &Path) -> Lab {
    with_devices(folder, &[("one", "Gajim", "desk"), ("two", "Dino", "")]).await;
    Lab::serve(folder, &[], &[])
}

/// Creates romeo and juliet, and gives romeo devices: `(id, software, device)`.
pub async fn with_devices(folder: &Path, all: &'static [(&str, &str, &str)]) {
    use crate::harness::process::{PASSWORD, run_in};
    for jid in ["romeo@localhost", "juliet@localhost"] {
        let add = ["user", "add", jid, "--password-stdin", "--data-dir", "data"];
        let add = [&add[..], &["--set", "sasl.iterations=4096"]].concat();
        assert!(run_in(folder, &add, PASSWORD).ok);
    }
    let store = Store::open(Options::new(folder.join("data/stonechat.db"))).unwrap();
    let put = move |tx: &mut dyn Tx| {
        let id = accounts::find(tx, "romeo", "localhost")?.unwrap().id;
        for (agent, software, name) in all {
            devices::put_seen(tx, id, &Seen::new(AgentId::of(agent), software, name, now()), 9)?;
        }
        Ok(())
    };
    store.write(put).await.unwrap();
    store.close().await;
}

fn now() -> i64 {
    stonechat::base::time::micros(std::time::SystemTime::now())
}

/// Sends one `<command/>` and returns the whole answer.
pub async fn command(client: &mut Client, to: &str, attrs: &str, inner: &str) -> Outcome<Element> {
    let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
    let command = format!("<command xmlns='{COMMANDS}' {attrs}>{inner}</command>");
    client.ask(&format!("<iq type='set' id='c'{to}>{command}</iq>")).await
}

fn submit(fields: &[(&str, &str)], ty: &str) -> String {
    let field =
        |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = fields.iter().map(field).collect();
    format!("<x xmlns='{DATA}' type='{ty}'>{fields}</x>")
}

/// The command's element in a result.
pub fn result(answer: &Element) -> Outcome<&Element> {
    match answer.child(COMMANDS, "command") {
        Some(command) if answer.attr("type") == Some("result") => Ok(command),
        _ => wrong(format!("not a command's result: {answer}")),
    }
}

/// Type, condition and application condition of an error.
fn error(answer: &Element) -> (String, String, String) {
    let error = answer.find("error").unwrap_or_else(|| panic!("no error: {answer}"));
    let own = error.children.iter().find(|child| child.ns == COMMANDS);
    (
        error.attr("type").unwrap_or_default().to_owned(),
        answer.condition().unwrap_or_default().to_owned(),
        own.map(|own| own.name.clone()).unwrap_or_default(),
    )
}

fn device(id: &str) -> String {
    AgentId::of(id).name()
}

/// XEP-0050 §2.1, §2.2
#[tokio::test]
async fn commands_are_found_by_service_discovery() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path()).await;
    let mut romeo = lab.login("romeo").await?;
    for (to, jid) in [("localhost", "localhost"), ("romeo@localhost", "romeo@localhost")] {
        let ask = |kind: &str, node: &str| {
            let query = format!("<query xmlns='http://jabber.org/protocol/disco#{kind}'{node}/>");
            format!("<iq type='get' id='d' to='{to}'>{query}</iq>")
        };
        let info = romeo.ask(&ask("info", "")).await?;
        assert!(info.to_string().contains(&format!("var='{COMMANDS}'")), "{info}");
        let items = romeo.ask(&ask("items", &format!(" node='{COMMANDS}'"))).await?;
        let query = items.find("query").unwrap();
        let found: Vec<_> = query
            .children
            .iter()
            .map(|i| (i.attr("jid").unwrap(), i.attr("node").unwrap()))
            .collect();
        for node in ["list-devices", "revoke-devices"] {
            assert!(found.contains(&(jid, node)), "{items}");
        }
        assert!(query.children.iter().all(|item| item.attr("name").is_some()));
        let info = romeo.ask(&ask("info", " node='list-devices'")).await?;
        let identity = info.find("identity").unwrap();
        assert_eq!(identity.attr("type"), Some("command-node"));
        assert_eq!(info.find("query").unwrap().attr("node"), Some("list-devices"));
    }
    // No other account has commands.
    let mut juliet = lab.login("juliet").await?;
    let refused = command(&mut juliet, "romeo@localhost", "node='list-devices'", "").await?;
    assert_eq!(refused.condition(), Some("service-unavailable"));
    Ok(())
}

/// §2.4.1, §2.4.2: a command of one stage, and one of two.
#[tokio::test]
async fn a_command_runs_through_its_stages() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path()).await;
    let mut romeo = lab.login("romeo").await?;
    let answer = command(&mut romeo, "", "node='list-devices' action='execute'", "").await?;
    let list = result(&answer)?;
    assert_eq!((list.attr("status"), list.attr("node")), (Some("completed"), Some("list-devices")));
    assert!(list.attr("sessionid").is_some_and(|id| !id.is_empty()));
    let form = list.child(DATA, "x").unwrap();
    assert_eq!(form.attr("type"), Some("result"));
    assert_eq!(form.children.iter().filter(|child| child.name == "item").count(), 2);
    assert!(form.to_string().contains("<value>Gajim</value>"), "{form}");

    let answer = command(&mut romeo, "localhost", "node='revoke-devices'", "").await?;
    let first = result(&answer)?;
    assert_eq!(first.attr("status"), Some("executing"));
    let actions = first.child(COMMANDS, "actions").unwrap();
    assert_eq!(actions.attr("execute"), Some("complete"));
    assert!(actions.child(COMMANDS, "complete").is_some() && actions.children.len() == 1);
    let form = first.child(DATA, "x").unwrap().to_string();
    assert!(form.contains("Gajim, desk") && form.contains(&device("one")), "{form}");
    // `execute` stands for the default in `actions`, and a form of type `cancel` is treated as `submit`
    // (§3.5.1).
    let session = first.attr("sessionid").unwrap();
    let attrs = format!("node='revoke-devices' sessionid='{session}' action='execute'");
    let fields = [("devices", &*device("one"))];
    let answer = command(&mut romeo, "localhost", &attrs, &submit(&fields, "cancel")).await?;
    let done = result(&answer)?;
    assert_eq!((done.attr("status"), done.attr("sessionid")), (Some("completed"), Some(session)));
    assert_eq!(done.child(COMMANDS, "note").unwrap().attr("type"), Some("info"));
    let answer = command(&mut romeo, "", "node='list-devices'", "").await?;
    assert!(!result(&answer)?.to_string().contains("Gajim"));
    Ok(())
}

/// §2.4.3, §4.4
#[tokio::test]
async fn what_does_not_fit_is_refused_and_the_stage_stays() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path()).await;
    let (mut romeo, mut other) = (lab.login("romeo").await?, lab.login("romeo").await?);
    let answer = command(&mut romeo, "", "node='revoke-devices'", "").await?;
    let session = result(&answer)?.attr("sessionid").unwrap().to_owned();
    let own = format!("node='revoke-devices' sessionid='{session}'");
    let (good, bad) = (submit(&[("devices", &device("two"))], "submit"), "bad-request");
    let nonsense = submit(&[("devices", "nonsense")], "submit");
    for (attrs, form, want) in [
        ("node='nonsense'", "", ("cancel", "item-not-found", "")),
        ("", "", ("modify", bad, "")),
        ("node='list-devices' action='jump'", "", ("modify", bad, "malformed-action")),
        ("node='list-devices' action='next'", "", ("modify", bad, "bad-sessionid")),
        ("node='list-devices' sessionid='x'", "", ("cancel", "not-allowed", "session-expired")),
        (
            &format!("node='list-devices' sessionid='{session}'"),
            "",
            ("modify", bad, "bad-sessionid"),
        ),
        (&format!("{own} action='prev'"), "", ("modify", bad, "bad-action")),
        (&format!("{own} action='next'"), &good, ("modify", bad, "bad-action")),
        (&own, "", ("modify", bad, "bad-payload")),
        (&own, &submit(&[], "submit"), ("modify", bad, "bad-payload")),
        (&own, &submit(&[], "form"), ("modify", bad, "bad-payload")),
        (&own, &nonsense, ("modify", bad, "bad-payload")),
    ] {
        let (ty, condition, own) = error(&command(&mut romeo, "", attrs, form).await?);
        assert_eq!((&*ty, &*condition, &*own), want, "{attrs} {form}");
    }
    // §3.3: a session belongs to one requester and one responder.
    let (_, condition, _) = error(&command(&mut other, "", &own, &good).await?);
    assert_eq!(condition, "not-allowed");
    let canceled = command(&mut romeo, "", &format!("{own} action='cancel'"), "").await?;
    assert_eq!(result(&canceled)?.attr("status"), Some("canceled"));
    let (_, condition, own) = error(&command(&mut romeo, "", &own, &good).await?);
    assert_eq!((&*condition, &*own), ("not-allowed", "session-expired"));
    // None of these requests revoked a device.
    let answer = command(&mut romeo, "", "node='list-devices'", "").await?;
    assert_eq!(result(&answer)?.to_string().matches("<item>").count(), 2);
    Ok(())
}
