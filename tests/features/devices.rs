//! Devices as the operator sees them (`stonechat user devices`, `stonechat user revoke`), and as their owner
//! sees them.

use super::commands::{command, result, with_devices};
use crate::harness::client::Outcome;
use crate::harness::process::{Lab, Said, ends_with, run_in};
use crate::harness::sasl2::{LAPTOP, PHONE, agent, bind};
use std::path::Path;
use stonechat::base::credential::AgentId;

fn stonechat(folder: &Path, args: &[&str]) -> Said {
    run_in(folder, &[&["--data-dir", "data", "user"], args].concat(), "")
}

fn lines(said: Said) -> Vec<String> {
    assert!(said.ok, "{}", said.err);
    said.out.lines().map(str::to_owned).collect()
}

const DEVICES: &[(&str, &str, &str)] =
    &[("one", "Gajim", "desk"), ("two", "Dino", ""), ("three", "", "")];

/// With and without a running server, the results are the same.
#[tokio::test]
async fn an_operator_lists_and_revokes_devices() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_devices(at, DEVICES).await;
    let one = AgentId::of("one").name();
    let list = lines(stonechat(at, &["devices", "romeo@localhost"]));
    assert_eq!(list.len(), 3);
    let line = list.iter().find(|line| line.starts_with(&one)).unwrap();
    assert!(line.contains("Gajim, desk; first seen 20"), "{line}");
    assert_eq!(lines(stonechat(at, &["revoke", "romeo@localhost", &one])).len(), 1);
    assert_eq!(lines(stonechat(at, &["devices", "romeo@localhost"])).len(), 2);

    let lab = Lab::serve(at, &[], &[]);
    let mut romeo = lab.login("romeo").await?;
    let mut juliet = lab.login("juliet").await?;
    assert_eq!(lines(stonechat(at, &["devices", "juliet@localhost"])), [""; 0]);
    let two = AgentId::of("two").name();
    lines(stonechat(at, &["revoke", "romeo@localhost", &two]));
    // The session named no device when it logged in, so it is not revoked with this one.
    romeo.fence().await?;
    for (args, told) in [
        (&["devices", "nobody@localhost"][..], "nobody@localhost"),
        (&["revoke", "romeo@localhost", &two], "has no device"),
        (&["revoke", "juliet@localhost", "nonsense"], "has no device nonsense"),
        (&["revoke", "romeo@localhost"], "<DEVICE>"),
        (&["revoke", "romeo@localhost", &two, "--all"], "--all"),
    ] {
        let said = stonechat(at, args);
        assert!(!said.ok && said.err.contains(told), "{args:?}: {}", said.err);
    }
    // Revokes all devices, and ends sessions that named none.
    lines(stonechat(at, &["revoke", "romeo@localhost", "--all"]));
    ends_with(&mut romeo, "not-authorized").await?;
    assert_eq!(lines(stonechat(at, &["devices", "romeo@localhost"])).len(), 0);
    juliet.fence().await?;
    lab.login("romeo").await?;
    Ok(())
}

/// XEP-0050: the stream of the requesting device ends after the answer, those of other devices at once.
#[tokio::test]
async fn a_user_logs_devices_out() -> Outcome<()> {
    let lab = Lab::new(&["romeo"], &[]);
    let inner = [agent(PHONE), bind("")].concat();
    let mut phone = lab.connect().await?;
    phone.sasl2("SCRAM-SHA-1", "romeo", &inner).await?;
    let mut laptop = lab.connect().await?;
    laptop.sasl2("SCRAM-SHA-1", "romeo", &inner.replace(PHONE, LAPTOP)).await?;
    let mut old = lab.login("romeo").await?;
    let answer = command(&mut laptop, "", "node='list-devices'", "").await?;
    let list = result(&answer)?.to_string();
    assert!(list.matches("<item>").count() == 2 && list.contains("1 (this one)"), "{list}");
    for (id, sessions) in [(PHONE, 1), (LAPTOP, 2)] {
        let answer = command(&mut laptop, "localhost", "node='revoke-devices'", "").await?;
        let session = result(&answer)?.attr("sessionid").unwrap().to_owned();
        let value = format!("<value>{}</value>", AgentId::of(id).name());
        let form = format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='devices'>{value}</field></x>"
        );
        let attrs = format!("node='revoke-devices' sessionid='{session}' action='complete'");
        let done = command(&mut laptop, "localhost", &attrs, &form).await?;
        assert_eq!(result(&done)?.attr("status"), Some("completed"));
        match sessions {
            1 => ends_with(&mut phone, "not-authorized").await?,
            _ => ends_with(&mut laptop, "not-authorized").await?,
        }
    }
    // A session that named no device is not among them.
    old.fence().await?;
    let answer = command(&mut old, "", "node='list-devices'", "").await?;
    assert!(result(&answer)?.find("item").is_none(), "{answer}");
    Ok(())
}

/// XEP-0494 §3.1, §3.2: what knows the password goes by another password alone.
#[tokio::test]
async fn a_client_shows_what_has_access() -> Outcome<()> {
    let lab = Lab::new(&["romeo"], &[]);
    let inner = [agent(PHONE), bind("")].concat();
    let mut phone = lab.connect().await?;
    phone.sasl2("SCRAM-SHA-1", "romeo", &inner).await?;
    let mut laptop = lab.connect().await?;
    laptop.sasl2("SCRAM-SHA-1", "romeo", &inner.replace(PHONE, LAPTOP)).await?;
    let (of_phone, of_laptop) = (AgentId::of(PHONE).name(), AgentId::of(LAPTOP).name());
    let list = "<iq type='get' id='l'><list xmlns='urn:xmpp:cam:0'/></iq>";
    let revoke =
        format!("<iq type='set' id='r'><revoke xmlns='urn:xmpp:cam:0' id='{of_phone}'/></iq>");
    let told = laptop.ask(list).await?;
    let clients = &told.find("clients").unwrap().children;
    assert_eq!(clients.len(), 2, "{told}");
    for client in clients {
        assert!([&*of_phone, &*of_laptop].contains(&client.attr("id").unwrap()), "{told}");
        assert_eq!(
            (client.attr("connected"), client.attr("type")),
            (Some("true"), Some("session"))
        );
        assert!(client.find("auth").unwrap().find("password").is_some(), "{told}");
        assert!(client.find("first-seen").is_some() && client.find("last-seen").is_some());
    }
    let refused = laptop.ask(&revoke).await?;
    assert_eq!(refused.condition(), Some("service-unavailable"), "{refused}");
    assert!(refused.find("password-reset-required").is_some(), "{refused}");
    phone.fence().await?;
    let query = "<query xmlns='jabber:iq:register'><username>romeo</username>\
                 <password>another-pencil</password></query>";
    let changed = laptop.ask(&format!("<iq type='set' id='p' to='localhost'>{query}</iq>")).await?;
    assert_eq!(changed.attr("type"), Some("result"), "{changed}");
    ends_with(&mut phone, "not-authorized").await?;
    let told = laptop.ask(list).await?;
    let clients = &told.find("clients").unwrap().children;
    assert_eq!(clients.len(), 1, "{told}");
    assert_eq!(clients[0].attr("id"), Some(&*of_laptop));
    let done = laptop.ask(&revoke).await?;
    assert_eq!(done.attr("type"), Some("result"), "{done}");
    assert_eq!(laptop.ask(&revoke).await?.condition(), Some("item-not-found"));
    laptop.fence().await?;
    Ok(())
}
