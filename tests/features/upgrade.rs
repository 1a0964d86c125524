//! XEP-0480: an account that lacks keys for a mechanism gets them from a client that has the password.

use crate::harness::client::{Client, Failure, Outcome};
use crate::harness::element::Element;
use crate::harness::process::{Lab, PASSWORD, sasl_condition};
use crate::harness::sasl;
use crate::harness::sasl2::{PHONE, SASL2, agent, bind, first};
use crate::harness::scram::Hash;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::path::Path;
use stonechat::store::{Options, Store};

const UPGRADE: &str = "urn:xmpp:sasl:upgrade:0";
const SCRAM: &str = "urn:xmpp:scram-upgrade:0";
const FAST: &str = "urn:xmpp:fast:0";

/// A server whose romeo has keys for SHA-1 alone, as one that was brought from elsewhere.
async fn lab(folder: &Path) -> Lab {
    let args = ["--set", "sasl.delay_first_ms=0"];
    let mut lab = Lab::serve(folder, &args, &["romeo"]);
    lab.process.signal("TERM");
    assert!(lab.process.exit().success());
    let store = Store::open(Options::new(folder.join("data/stonechat.db"))).unwrap();
    let lose = |tx: &mut dyn stonechat::store::Tx| {
        tx.execute("DELETE FROM credential WHERE hash <> 'SHA-1'", &[])
    };
    assert_eq!(store.write(lose).await.unwrap(), 2);
    store.close().await;
    Lab::serve(folder, &args, &[])
}

fn asked(names: &[&str]) -> String {
    names.iter().map(|name| format!("<upgrade xmlns='{UPGRADE}'>{name}</upgrade>")).collect()
}

/// Sends a login by SCRAM-SHA-1 that asks for these tasks; the first answer behind the exchange, whose
/// signature was checked.
async fn log_in(client: &mut Client, inner: &str) -> Outcome<Element> {
    let mut scram = sasl::mechanism("SCRAM-SHA-1", "romeo", PASSWORD, None).map_err(Failure)?;
    client.send(&first("SCRAM-SHA-1", &scram.initial(), inner)).await?;
    let challenge = client.receive().await?;
    let response = scram.response(&BASE64.decode(challenge.text.trim()).unwrap());
    let response = BASE64.encode(response.map_err(|e| Failure(e.to_string()))?);
    client.send(&format!("<response xmlns='{SASL2}'>{response}</response>")).await?;
    let answer = client.receive().await?;
    let proof = answer.child(SASL2, "additional-data").map(|data| BASE64.decode(&data.text));
    match scram.success(&proof.unwrap().unwrap()) {
        Ok(()) => Ok(answer),
        Err(error) => client.fail(format!("the server's signature: {error}")),
    }
}

/// The one task of a `<continue/>`.
fn task(answer: &Element) -> &str {
    assert!(answer.is(SASL2, "continue"), "{answer}");
    let tasks = answer.child(SASL2, "tasks").unwrap();
    assert_eq!(tasks.children.len(), 1, "{answer}");
    &tasks.children[0].text
}

fn next(task: &str) -> String {
    format!("<next xmlns='{SASL2}' task='{task}'/>")
}

fn hash(data: &[u8]) -> String {
    let data = BASE64.encode(data);
    format!("<task-data xmlns='{SASL2}'><hash xmlns='{SCRAM}'>\n {data}\n</hash></task-data>")
}

/// Does a task; what comes next.
async fn run(client: &mut Client, task: &str) -> Outcome<Element> {
    client.send(&next(task)).await?;
    let answer = client.receive().await?;
    let salt = answer.child(SCRAM, "salt").unwrap();
    let rounds = salt.attr("iterations").unwrap().parse().unwrap();
    let bytes = BASE64.decode(&salt.text).unwrap();
    let salted = Hash::of(task.trim_start_matches("UPGR-")).salted(PASSWORD, &bytes, rounds);
    client.send(&hash(&salted)).await?;
    client.receive().await
}

#[tokio::test]
async fn an_account_learns_the_mechanisms_that_it_lacks() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path()).await;
    let both = ["UPGR-SCRAM-SHA-256", "UPGR-SCRAM-SHA-512", "UPGR-NONSENSE"];
    let mut client = lab.connect().await?;
    let offered: Vec<_> = client.features.find("authentication").unwrap().children.clone();
    let offered: Vec<_> =
        offered.iter().filter(|child| child.is(UPGRADE, "upgrade")).map(|c| &*c.text).collect();
    assert_eq!(offered, ["UPGR-SCRAM-SHA-512", "UPGR-SCRAM-SHA-256"]);
    // With all that a login may want besides.
    let wish = format!("<request-token xmlns='{FAST}' mechanism='HT-SHA-256-NONE'/>");
    let inner = [asked(&both), agent(PHONE), wish, bind("")].concat();
    let answer = log_in(&mut client, &inner).await?;
    assert_eq!(task(&answer), "UPGR-SCRAM-SHA-512");
    let answer = run(&mut client, "UPGR-SCRAM-SHA-512").await?;
    assert_eq!(task(&answer), "UPGR-SCRAM-SHA-256");
    // §2.2: the mechanism's last word was said.
    assert!(answer.child(SASL2, "additional-data").is_none(), "{answer}");
    let success = run(&mut client, "UPGR-SCRAM-SHA-256").await?;
    assert!(success.is(SASL2, "success") && success.find("bound").is_some(), "{success}");
    assert!(success.child(FAST, "token").is_some(), "{success}");
    client.entered(&success).await?;
    client.fence().await?;
    for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut second = lab.connect().await?;
        // What it has it is not asked for.
        let success = second.sasl2(mechanism, "romeo", &asked(&both)).await?;
        assert!(success.is(SASL2, "success"), "{mechanism}: {success}");
    }
    // The password is the same: nobody had to leave.
    client.fence().await
}

#[tokio::test]
async fn a_task_that_is_not_done_changes_nothing() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path()).await;
    let (name, other) = ("UPGR-SCRAM-SHA-256", "UPGR-SCRAM-SHA-512");
    let malformed = "malformed-request";
    for (steps, condition) in [
        (vec![next(other)], malformed),
        (vec![hash(&[1; 32])], malformed),
        (vec![next(name), next(name)], malformed),
        (vec![next(name), hash(&[1; 20])], malformed),
        (vec![next(name), hash(&[])], malformed),
        (vec![next(name), hash(&[1; 32]).replace("AQ", "!!")], "incorrect-encoding"),
        (vec![next(name), format!("<task-data xmlns='{SASL2}'/>")], malformed),
        (vec![next(name), format!("<abort xmlns='{SASL2}'/>")], "aborted"),
    ] {
        let mut client = lab.connect().await?;
        let answer = log_in(&mut client, &(asked(&[name]) + &bind(""))).await?;
        assert_eq!(task(&answer), name);
        for step in &steps {
            client.send(step).await?;
        }
        let failure = client.expect(|answer| answer.is(SASL2, "failure")).await?;
        assert_eq!(sasl_condition(&failure), condition, "{steps:?}");
        client.ended().await?;
    }
    // Nothing but the tasks' own elements: RFC 6120 §6.4 and XEP-0388 §2.4.
    let mut client = lab.connect().await?;
    log_in(&mut client, &asked(&[name])).await?;
    client.send("<presence/>").await?;
    assert_eq!(client.stream_error().await?, "not-authorized");
    let mut client = lab.connect().await?;
    let failure = client.sasl2("SCRAM-SHA-256", "romeo", "").await?;
    assert!(failure.is(SASL2, "failure"), "{failure}");
    Ok(())
}

/// XEP-0484: a token must not make itself a password.
#[tokio::test]
async fn a_login_by_token_upgrades_nothing() -> Outcome<()> {
    use hmac::Mac;
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path()).await;
    let mut client = lab.connect().await?;
    let wish = format!("<request-token xmlns='{FAST}' mechanism='HT-SHA-256-NONE'/>");
    let success = client.sasl2("SCRAM-SHA-1", "romeo", &(agent(PHONE) + &wish)).await?;
    let token = success.child(FAST, "token").unwrap().attr("token").unwrap().to_owned();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(b"Initiator");
    let message = [b"romeo\0", &mac.finalize().into_bytes()[..]].concat();
    let inner = format!("{}<fast xmlns='{FAST}'/>{}", agent(PHONE), asked(&["UPGR-SCRAM-SHA-256"]));
    let mut client = lab.connect().await?;
    client.send(&first("HT-SHA-256-NONE", &message, &inner)).await?;
    let success = client.receive().await?;
    assert!(success.is(SASL2, "success"), "{success}");
    Ok(())
}
