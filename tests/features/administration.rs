//! XEP-0133 and the roles of those who may do it.

use super::commands::{COMMANDS, command, result};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::{Element, escape};
use crate::harness::process::{Lab, PASSWORD, Said, ends_with, run_in, sasl_condition};
use std::path::Path;

const ADMIN: &str = "http://jabber.org/protocol/admin";

fn user(folder: &Path, args: &[&str]) -> Said {
    run_in(folder, &[&["--data-dir", "data", "user"], args].concat(), PASSWORD)
}

/// A server whose owner is romeo and whose operator is benvolio.
fn lab(users: &[&str]) -> Lab {
    let all = [&["romeo", "benvolio"], users].concat();
    Lab::new(&all, &["admin.owners=romeo@localhost", "admin.operators=benvolio@localhost"])
}

/// Runs a command of two stages to the server, or what its first stage refused.
async fn run(client: &mut Client, node: &str, fields: &[(&str, &[&str])]) -> Outcome<Element> {
    let first = command(client, "localhost", &format!("node='{ADMIN}#{node}'"), "").await?;
    let Ok(asked) = result(&first) else { return Ok(first) };
    if asked.attr("status") == Some("completed") {
        return Ok(first);
    }
    let form = first.find("x").unwrap();
    assert_eq!(form.find("field").unwrap().text_of("value"), Some(ADMIN), "{first}");
    let session = asked.attr("sessionid").unwrap();
    let attrs = format!("node='{ADMIN}#{node}' sessionid='{session}' action='complete'");
    let field = |(var, values): &(&str, &[&str])| {
        let value = |value: &&str| format!("<value>{}</value>", escape(value));
        format!("<field var='{var}'>{}</field>", values.iter().map(value).collect::<String>())
    };
    let fields: String = fields.iter().map(field).collect();
    let form = format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{ADMIN}</value></field>\
         {fields}</x>"
    );
    command(client, "localhost", &attrs, &form).await
}

/// The same, which must succeed; what it says.
async fn done(client: &mut Client, node: &str, fields: &[(&str, &[&str])]) -> Outcome<String> {
    let answer = run(client, node, fields).await?;
    let done = result(&answer)?;
    assert_eq!(done.attr("status"), Some("completed"), "{answer}");
    Ok(done.text_of("note").unwrap_or_default().to_owned())
}

/// The values of a field of the result.
async fn values(
    client: &mut Client,
    node: &str,
    fields: &[(&str, &[&str])],
    var: &str,
) -> Outcome<Vec<String>> {
    let answer = run(client, node, fields).await?;
    let form = result(&answer)?.find("x").unwrap_or_else(|| panic!("no form: {answer}"));
    let field = form.children.iter().find(|field| field.attr("var") == Some(var));
    let field = field.unwrap_or_else(|| panic!("no {var}: {answer}"));
    Ok(field.children.iter().map(|value| value.text.clone()).collect())
}

async fn condition(client: &mut Client, node: &str, fields: &[(&str, &[&str])]) -> Outcome<String> {
    let answer = run(client, node, fields).await?;
    Ok(answer.condition().unwrap_or_else(|| panic!("no error: {answer}")).to_owned())
}

/// Whether a login is let in; else the condition.
async fn login(lab: &Lab, user: &str, password: &str) -> Outcome<Result<Client, String>> {
    let mut client = lab.connect().await?;
    match client.authenticate(user, password).await {
        Ok(()) => {
            client.bind(None).await?;
            Ok(Ok(client))
        }
        Err(_) => {
            let failure = Element::parse_many(&client.conversation()).unwrap_or_default();
            Ok(Err(failure.last().map_or(String::new(), |it| sasl_condition(it).to_owned())))
        }
    }
}

/// Without a server and beside one.
#[test]
fn a_role_is_given_and_taken_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let add = ["add", "romeo@localhost", "--password-stdin", "--set", "sasl.iterations=4096"];
    assert!(user(at, &add).ok);
    let mut lab = None;
    for _ in 0..2 {
        for (args, out) in [
            (&["role", "romeo@localhost"][..], "romeo@localhost is user"),
            (&["role", "romeo@localhost", "owner"], "romeo@localhost is owner"),
            (&["role"], "romeo@localhost  owner"),
            (&["role", "romeo@localhost", "user"], "romeo@localhost is user"),
            (&["role"], ""),
        ] {
            let said = user(at, args);
            assert!(said.ok && said.out.trim() == out, "{args:?}: {said:?}");
        }
        lab = lab.or_else(|| Some(Lab::serve(at, &[], &[])));
    }
    let said = user(at, &["role", "tybalt@localhost", "owner"]);
    assert!(!said.ok && said.err.contains("no account tybalt@localhost"), "{said:?}");
}

/// §3, §5, §6: for others the commands are not there, and an account of its own has none of them.
#[tokio::test]
async fn only_admins_see_and_run_the_commands() -> Outcome<()> {
    let lab = lab(&["juliet"]);
    let mut who = Vec::new();
    for name in ["romeo", "benvolio", "juliet"] {
        who.push((name, lab.login(name).await?));
    }
    let ask = |to: &str| {
        let query =
            format!("<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>");
        format!("<iq type='get' id='d' to='{to}'>{query}</iq>")
    };
    for (name, client) in &mut who {
        let own = format!("{name}@localhost");
        let (server, own) = (client.ask(&ask("localhost")).await?, client.ask(&ask(&own)).await?);
        let count = |items: &Element| items.to_string().matches(ADMIN).count();
        let expected = match *name {
            "romeo" => 27,
            "benvolio" => 25,
            _ => 0,
        };
        assert_eq!((count(&server), count(&own)), (expected, 0), "{name}: {server}");
        let may = expected > 0;
        let answer = run(client, "get-registered-users-num", &[]).await?;
        assert_eq!(answer.condition(), (!may).then_some("forbidden"), "{name}: {answer}");
    }
    let new = [("adminjids", &["juliet@localhost"][..])];
    for (_, client) in &mut who[1..] {
        assert_eq!(condition(client, "edit-admin", &new).await?, "forbidden");
    }
    // Romeo loses nothing: the configuration names him.
    done(&mut who[0].1, "edit-admin", &new).await?;
    // §4.29 took effect for the session that is there.
    assert_eq!(values(&mut who[2].1, "get-online-users-num", &[], "onlineusersnum").await?, ["3"]);
    done(&mut who[0].1, "edit-admin", &[("adminjids", &["romeo@localhost"])]).await?;
    assert_eq!(condition(&mut who[2].1, "get-online-users-num", &[]).await?, "forbidden");
    // §5: an unknown command.
    assert_eq!(condition(&mut who[0].1, "get-user-password", &[]).await?, "item-not-found");
    Ok(())
}

/// §4.1 to §4.7
#[tokio::test]
async fn accounts_are_made_shut_and_deleted() -> Outcome<()> {
    let lab = lab(&["juliet"]);
    let mut admin = lab.login("benvolio").await?;
    let tybalt: (&str, &[&str]) = ("accountjid", &["tybalt@localhost"]);
    let both = |password| [tybalt, ("password", password), ("password-verify", password)];
    for (fields, want) in [
        (
            &[tybalt, ("password", &["king-of-cats"][..]), ("password-verify", &["x"])][..],
            "bad-request",
        ),
        (&[tybalt], "bad-request"),
        (
            &[("accountjid", &["tybalt"]), ("password", &["p"]), ("password-verify", &["p"])],
            "bad-request",
        ),
        (
            &[("accountjid", &["a@elsewhere"]), ("password", &["p"]), ("password-verify", &["p"])],
            "item-not-found",
        ),
        (
            &[
                ("accountjid", &["juliet@localhost"]),
                ("password", &["p"]),
                ("password-verify", &["p"]),
            ],
            "conflict",
        ),
        // Who has the owner's password is the owner.
        (
            &[
                ("accountjid", &["romeo@localhost"]),
                ("password", &["p"]),
                ("password-verify", &["p"]),
            ],
            "forbidden",
        ),
    ] {
        assert_eq!(condition(&mut admin, "add-user", fields).await?, want, "{fields:?}");
    }
    done(&mut admin, "add-user", &both(&["king-of-cats"])).await?;
    let mut cat = login(&lab, "tybalt", "king-of-cats").await?.unwrap();
    let jids: (&str, &[&str]) = ("accountjids", &["tybalt@localhost"]);

    done(&mut admin, "end-user-session", &[jids]).await?;
    ends_with(&mut cat, "policy-violation").await?;
    assert_eq!(condition(&mut admin, "end-user-session", &[jids]).await?, "item-not-found");
    let mut cat = login(&lab, "tybalt", "king-of-cats").await?.unwrap();
    let password = [tybalt, ("password", &["good-king"][..])];
    done(&mut admin, "change-user-password", &password).await?;
    ends_with(&mut cat, "not-authorized").await?;
    assert!(login(&lab, "tybalt", "king-of-cats").await?.is_err());
    let mut cat = login(&lab, "tybalt", "good-king").await?.unwrap();

    done(&mut admin, "disable-user", &[jids]).await?;
    ends_with(&mut cat, "not-authorized").await?;
    assert!(login(&lab, "tybalt", "good-king").await?.is_err());
    let shut = values(&mut admin, "get-disabled-users-list", &[], "disableduserjids").await?;
    assert_eq!(shut, ["tybalt@localhost"]);
    done(&mut admin, "reenable-user", &[jids]).await?;
    let mut cat = login(&lab, "tybalt", "good-king").await?.unwrap();

    // A slip in one of them changes nothing.
    let slip: (&str, &[&str]) = ("accountjids", &["tybalt@localhost", "romeo@localhost"]);
    assert_eq!(condition(&mut admin, "delete-user", &[slip]).await?, "forbidden");
    cat.fence().await?;
    done(&mut admin, "delete-user", &[jids]).await?;
    ends_with(&mut cat, "not-authorized").await?;
    assert!(login(&lab, "tybalt", "good-king").await?.is_err());
    // Who did what to whom; never a password.
    lab.process.logs(&["an admin deleted an account", "benvolio@localhost", "tybalt@localhost"]);
    lab.process.logs(&["an admin was refused", "benvolio@localhost", "romeo@localhost"]);
    let log = lab.process.log();
    assert!(!log.contains("king-of-cats") && !log.contains("good-king"), "{log}");
    Ok(())
}

/// §4.8 to §4.10, §4.13 to §4.22
#[tokio::test]
async fn numbers_and_lists_are_told() -> Outcome<()> {
    let lab = lab(&["juliet", "tybalt"]);
    let mut romeo = lab.online("romeo", "orchard").await?;
    let mut juliet = lab.online("juliet", "balcony").await?;
    juliet.send("<presence><show>xa</show></presence>").await?;
    juliet.fence().await?;
    let all = ["benvolio@localhost", "juliet@localhost", "romeo@localhost", "tybalt@localhost"];
    for (of, list, number) in [
        ("registered", "registered-users-list", 4),
        ("disabled", "disabled-users-list", 0),
        ("online", "online-users-list", 2),
        ("active", "active-users", 1),
        ("idle", "idle-users", 1),
    ] {
        let node = format!("get-{of}-users-num");
        let got = values(&mut romeo, &node, &[], &format!("{of}usersnum")).await?;
        assert_eq!(got, [number.to_string()], "{of}");
        // §4.22 names its field so.
        let name = if of == "idle" { "active" } else { of };
        let (node, var) = (format!("get-{list}"), format!("{name}userjids"));
        let names = values(&mut romeo, &node, &[("max_items", &["none"])], &var).await?;
        let want: &[&str] = match of {
            "registered" => &all,
            "disabled" => &[],
            "online" => &["juliet@localhost", "romeo@localhost"],
            "active" => &["romeo@localhost"],
            _ => &["juliet@localhost"],
        };
        assert_eq!(names, want, "{of}");
    }
    let two = [("max_items", &["2"][..])];
    let names = values(&mut romeo, "get-registered-users-list", &two, "registereduserjids").await?;
    assert_eq!(names, all[..2]);
    let jid: (&str, &[&str]) = ("accountjid", &["juliet@localhost/balcony"]);
    let online = values(&mut romeo, "user-stats", &[jid], "onlineresources").await?;
    assert_eq!(online, ["balcony"]);
    let jids: (&str, &[&str]) = ("accountjids", &["juliet@localhost", "tybalt@localhost"]);
    let seen = values(&mut romeo, "get-user-lastlogin", &[jids], "lastlogin").await?;
    assert!(seen[0].starts_with("20") && seen[1] == "never", "{seen:?}");
    let add = "<query xmlns='jabber:iq:roster'><item jid='nurse@localhost' name='Nurse'/></query>";
    juliet.ask(&format!("<iq type='set' id='r'>{add}</iq>")).await?;
    let jids: (&str, &[&str]) = ("accountjids", &["juliet@localhost"]);
    let answer = run(&mut romeo, "get-user-roster", &[jids]).await?;
    let roster = answer.find("x").unwrap().child("jabber:iq:roster", "query").unwrap();
    assert!(roster.to_string().contains("nurse@localhost"), "{answer}");
    let nobody: (&str, &[&str]) = ("accountjids", &["nobody@localhost"]);
    for node in ["get-user-roster", "get-user-lastlogin"] {
        assert_eq!(condition(&mut romeo, node, &[nobody]).await?, "item-not-found");
    }
    Ok(())
}

/// Nothing was said to it.
async fn quiet(client: &mut Client) -> Outcome<()> {
    client.fence().await?;
    match client.take().into_iter().find(|it| it.name == "message") {
        None => Ok(()),
        Some(message) => client.fail(format!("this came: {message}")),
    }
}

async fn body(client: &mut Client) -> Outcome<String> {
    let message = client.expect(|e| e.name == "message" && e.find("body").is_some()).await?;
    assert_eq!(message.attr("from"), Some("localhost"), "{message}");
    Ok(message.text_of("body").unwrap_or_default().to_owned())
}

/// §4.23: to whoever is there, or to all.
#[tokio::test]
async fn an_announcement_reaches_those_it_is_for() -> Outcome<()> {
    let lab = lab(&["juliet", "tybalt"]);
    let mut romeo = lab.online("romeo", "orchard").await?;
    let mut juliet = lab.online("juliet", "balcony").await?;
    let text = [("announcement", &["We <close> soon.", "Log off!"][..])];
    done(&mut romeo, "announce", &text).await?;
    assert_eq!(body(&mut juliet).await?, "We <close> soon.\nLog off!");
    assert_eq!(body(&mut romeo).await?, "We <close> soon.\nLog off!");
    let note = done(&mut romeo, "announce-all", &[("announcement", &["To all."])]).await?;
    assert!(note.contains("4 accounts"), "{note}");
    assert_eq!(body(&mut juliet).await?, "To all.");
    assert_eq!(
        condition(&mut romeo, "announce", &[("announcement", &[" "])]).await?,
        "bad-request"
    );
    // The first one was for those who were there.
    let mut tybalt = lab.online("tybalt", "street").await?;
    assert_eq!(body(&mut tybalt).await?, "To all.");
    quiet(&mut tybalt).await?;
    Ok(())
}

/// §4.24 to §4.26: once for each account, over devices and a restart.
#[tokio::test]
async fn the_message_of_the_day_comes_once() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let owner = ["--set", "admin.owners=romeo@localhost"];
    let mut lab = Lab::serve(folder.path(), &owner, &["romeo", "juliet", "tybalt"]);
    {
        let mut romeo = lab.online("romeo", "orchard").await?;
        done(&mut romeo, "set-motd", &[("motd", &["The Globe opens.", "--Stuff"])]).await?;
        assert_eq!(body(&mut romeo).await?, "The Globe opens.\n--Stuff");
        let mut juliet = lab.online("juliet", "balcony").await?;
        assert_eq!(body(&mut juliet).await?, "The Globe opens.\n--Stuff");
        // §4.25: the form has it; whoever got it is not told again.
        let asked =
            command(&mut romeo, "localhost", &format!("node='{ADMIN}#edit-motd'"), "").await?;
        assert!(asked.to_string().contains("<value>--Stuff</value>"), "{asked}");
        done(&mut romeo, "edit-motd", &[("motd", &["The Globe opens.", "--Staff"])]).await?;
        let mut other = lab.online("juliet", "garden").await?;
        quiet(&mut other).await?;
        quiet(&mut juliet).await?;
        // What was not confirmed would come again.
        juliet.close().await?;
        romeo.close().await?;
    }
    lab.process.signal("TERM");
    assert!(lab.process.exit().success());
    let lab = Lab::serve(folder.path(), &owner, &[]);
    let mut juliet = lab.online("juliet", "balcony").await?;
    let mut tybalt = lab.online("tybalt", "street").await?;
    assert_eq!(body(&mut tybalt).await?, "The Globe opens.\n--Staff");
    quiet(&mut juliet).await?;
    let mut romeo = lab.online("romeo", "orchard").await?;
    done(&mut romeo, "delete-motd", &[]).await?;
    let said = run_in(folder.path(), &["--data-dir", "data", "motd"], "");
    assert!(said.ok && said.err.contains("no message of the day"), "{said:?}");
    // From the command line, another one.
    let said = run_in(folder.path(), &["--data-dir", "data", "motd", "Again."], "");
    assert!(said.ok && said.out.trim() == "Again.", "{said:?}");
    for client in [&mut juliet, &mut tybalt, &mut romeo] {
        assert_eq!(body(client).await?, "Again.");
    }
    Ok(())
}

/// §4.27: who is new is welcomed, at the first login.
#[tokio::test]
async fn a_new_user_is_welcomed_once() -> Outcome<()> {
    let lab = lab(&["juliet"]);
    let mut romeo = lab.online("romeo", "orchard").await?;
    done(&mut romeo, "set-welcome", &[("welcome", &["Welcome to Verona."])]).await?;
    let password: (&str, &[&str]) = ("password", &[PASSWORD]);
    let again: (&str, &[&str]) = ("password-verify", &[PASSWORD]);
    done(&mut romeo, "add-user", &[("accountjid", &["paris@localhost"]), password, again]).await?;
    let mut paris = lab.online("paris", "street").await?;
    assert_eq!(body(&mut paris).await?, "Welcome to Verona.");
    let mut other = lab.online("paris", "square").await?;
    let mut juliet = lab.online("juliet", "balcony").await?;
    quiet(&mut other).await?;
    quiet(&mut juliet).await?;
    done(&mut romeo, "delete-welcome", &[]).await?;
    done(&mut romeo, "add-user", &[("accountjid", &["nurse@localhost"]), password, again]).await?;
    let mut nurse = lab.online("nurse", "street").await?;
    quiet(&mut nurse).await?;
    Ok(())
}

/// The same verbs on the command line, to a running server.
#[tokio::test]
async fn the_command_line_does_the_same() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["juliet", "tybalt"]);
    let mut juliet = lab.online("juliet", "balcony").await?;
    let mut garden = lab.online("juliet", "garden").await?;
    let say = |args: &[&str]| run_in(folder.path(), &[&["--data-dir", "data"], args].concat(), "");
    let said = say(&["announce", "--online", "Hear ye!"]);
    assert!(said.ok && said.out.contains("1 accounts"), "{said:?}");
    assert_eq!(body(&mut juliet).await?, "Hear ye!");
    let said = say(&["announce", "All of ye!"]);
    assert!(said.ok && said.out.contains("2 accounts"), "{said:?}");
    assert_eq!(body(&mut juliet).await?, "All of ye!");
    let said = say(&["user", "logout", "juliet@localhost/garden"]);
    assert!(said.ok, "{said:?}");
    ends_with(&mut garden, "policy-violation").await?;
    juliet.fence().await?;
    let said = say(&["user", "logout", "tybalt@localhost"]);
    assert!(!said.ok && said.err.contains("not online"), "{said:?}");
    Ok(())
}
