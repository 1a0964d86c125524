//! Invitations (XEP-0401, XEP-0445, XEP-0379), links to a new password, and who may register (XEP-0077), as the
//! operator, users and strangers see them.

use crate::commands::{command, result};
use crate::harness::client::{Client, Outcome, Security};
use crate::harness::element::Element;
use crate::harness::process::{Lab, PASSWORD, Said, ends_with, run_in, wrong};
use crate::harness::rooms::{enter, real};
use std::path::Path;
use std::time::SystemTime;
use stonechat::base::time::micros;
use stonechat::store::invitations::{self, Purpose, Terms};
use stonechat::store::{Options, Store};

const NS: &str = "jabber:iq:register";
const DATA: &str = "jabber:x:data";

fn stonechat(folder: &Path, args: &[&str]) -> Said {
    let common = ["--data-dir", "data", "--set", "sasl.iterations=4096"];
    run_in(folder, &[&common, args].concat(), "")
}

/// What a verb prints.
fn good(folder: &Path, args: &[&str]) -> String {
    let said = stonechat(folder, args);
    assert!(said.ok, "{args:?}: {}", said.err);
    said.out
}

/// The link and its token.
fn link(folder: &Path, args: &[&str]) -> (String, String) {
    let out = good(folder, args);
    let uri = out.lines().next().unwrap().to_owned();
    let token = uri.split("preauth=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    assert!(token.len() >= 26, "{uri}");
    (uri, token)
}

async fn show(client: &mut Client, token: &str) -> Outcome<Element> {
    let preauth = format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>");
    client.ask(&format!("<iq type='set' to='localhost' id='pa'>{preauth}</iq>")).await
}

async fn register(client: &mut Client, user: &str, password: &str) -> Outcome<Element> {
    let fields = format!("<username>{user}</username><password>{password}</password>");
    client.ask(&format!("<iq type='set' id='reg'><query xmlns='{NS}'>{fields}</query></iq>")).await
}

fn is_result(answer: &Element) {
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
}

/// Condition and text.
fn refusal(answer: &Element) -> (&str, &str) {
    (answer.condition().unwrap_or_default(), answer.find("text").map_or("", |text| &text.text))
}

/// `jid subscription` of each item of a push or a roster.
fn items(query: &Element) -> Vec<String> {
    let query = query.find("query").unwrap();
    let of = |item: &Element, name| item.attr(name).unwrap_or_default().to_owned();
    query.children.iter().map(|i| format!("{} {}", of(i, "jid"), of(i, "subscription"))).collect()
}

async fn roster(client: &mut Client) -> Outcome<Vec<String>> {
    let get = "<iq type='get' id='ro'><query xmlns='jabber:iq:roster'/></iq>";
    Ok(items(&client.ask(get).await?))
}

fn is_push(element: &Element) -> bool {
    element.name == "iq" && element.attr("type") == Some("set")
}

/// The whole way: the operator's link, a stranger, an account, a contact.
#[tokio::test]
async fn who_was_invited_makes_an_account_and_meets_who_invited() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &["alice"]);
    let mut alice = lab.online("alice", "a").await?;
    let (uri, token) = link(at, &["invite", "--user", "alice@localhost"]);
    assert_eq!(uri, format!("xmpp:localhost?register;preauth={token}"));
    let mut carol = lab.connect().await?;
    let offered = |ns: &str| carol.features.children.iter().any(|one| one.is(ns, "register"));
    assert!(offered("urn:xmpp:ibr-token:0") && offered("urn:xmpp:invite"), "{}", carol.features);
    assert!(offered("http://jabber.org/features/iq-register"), "{}", carol.features);
    // By invitation is the default: nobody else gets in.
    let get = format!("<iq type='get' id='g'><query xmlns='{NS}'/></iq>");
    for answer in [carol.ask(&get).await?, register(&mut carol, "carol", PASSWORD).await?] {
        let (condition, text) = refusal(&answer);
        assert!(condition == "forbidden" && text.contains("by invitation"), "{answer}");
    }
    is_result(&show(&mut carol, &token).await?);
    // XEP-0077 §4: the form and the fields.
    let asked = carol.ask(&get).await?;
    let query = asked.child(NS, "query").unwrap();
    assert!(query.child(NS, "username").is_some() && query.child(NS, "password").is_some());
    let form = query.child(DATA, "x").unwrap();
    let fields: Vec<_> = form.children.iter().filter_map(|field| field.attr("var")).collect();
    assert_eq!(fields, ["FORM_TYPE", "username", "password"], "{form}");
    // The rules for names hold for those who choose them.
    let refused = register(&mut carol, "admin", PASSWORD).await?;
    assert_eq!(refused.condition(), Some("conflict"), "{refused}");
    is_result(&register(&mut carol, "carol", PASSWORD).await?);
    // XEP-0401 §5.5
    assert_eq!(items(&alice.expect(is_push).await?), ["carol@localhost both"]);
    carol.authenticate("carol", PASSWORD).await?;
    carol.bind(Some("c")).await?;
    assert_eq!(roster(&mut carol).await?, ["alice@localhost both"]);
    carol.send("<presence/>").await?;
    alice.expect(|e| e.attr("from") == Some("carol@localhost/c")).await?;
    carol.expect(|e| e.attr("from") == Some("alice@localhost/a")).await?;
    // One invitation, one account.
    let mut other = lab.connect().await?;
    let answer = show(&mut other, &token).await?;
    let (condition, text) = refusal(&answer);
    assert!(condition == "item-not-found" && text.contains("used already"), "{answer}");
    let refused = register(&mut other, "dave", PASSWORD).await?;
    assert_eq!(refused.condition(), Some("forbidden"), "{refused}");
    Ok(())
}

/// An invitation to a team: the new account is in it from the beginning, for both sides.
#[tokio::test]
async fn who_was_invited_to_a_team_is_in_it() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &["alice"]);
    let mut alice = lab.online("alice", "a").await?;
    good(at, &["team", "add", "Support"]);
    good(at, &["team", "join", "Support", "alice@localhost"]);
    good(at, &["room", "create", "hall", "--owner", "alice@localhost"]);
    good(at, &["team", "room", "add", "Support", "hall"]);
    enter(&mut alice, "hall", "Alice").await?;
    let (_, token) = link(at, &["invite", "--team", "support"]);
    let mut carol = lab.connect().await?;
    is_result(&show(&mut carol, &token).await?);
    is_result(&register(&mut carol, "carol", PASSWORD).await?);
    assert_eq!(items(&alice.expect(is_push).await?), ["carol@localhost both"]);
    carol.authenticate("carol", PASSWORD).await?;
    carol.bind(Some("c")).await?;
    assert_eq!(roster(&mut carol).await?, ["alice@localhost both"]);
    carol.send("<presence/>").await?;
    alice.expect(|e| e.attr("from") == Some("carol@localhost/c")).await?;
    carol.expect(|e| e.attr("from") == Some("alice@localhost/a")).await?;
    assert!(good(at, &["team", "show", "Support"]).contains("carol@localhost"));
    // XEP-0045 §9.3: those in a room of the team see a new member.
    let new = alice.expect(|e| e.name == "message" && real(e) == Some("carol@localhost")).await?;
    assert_eq!(new.find("item").and_then(|item| item.attr("affiliation")), Some("member"), "{new}");
    Ok(())
}

/// Each ending is told to who has the token; whoever guesses learns nothing, and soon may not go on.
#[tokio::test]
async fn a_token_that_ended_is_refused_with_the_reason_and_guesses_are_bounded() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Lab::serve(at, &[], &[]);
    let store = Store::open(Options::new(at.join("data/stonechat.db"))).unwrap();
    let terms = Terms {
        purpose: Purpose::Invite,
        account: None,
        host: "localhost".to_owned(),
        local: None,
        registers: true,
        befriends: false,
        team: None,
        uses_left: 1,
        created: 0,
        expires: micros(SystemTime::now()) - 1,
    };
    let elsewhere = Terms { host: "elsewhere".to_owned(), expires: i64::MAX, ..terms.clone() };
    let put = store.write(move |tx| {
        invitations::create(tx, "expired", &terms, 1)?;
        invitations::create(tx, "elsewhere", &elsewhere, 1)
    });
    put.await.unwrap();
    store.close().await;
    let lab = Lab::serve(at, &[], &[]);
    let (_, token) = link(at, &["invite", "--uses", "2"]);
    good(at, &["invite", "revoke", &token]);
    let mut client = lab.connect().await?;
    let unknown = "The provided token is invalid or expired";
    for (token, says) in [
        ("expired", "has expired"),
        (&token, "was taken back"),
        ("elsewhere", unknown),
        (&"a".repeat(5_000), unknown),
    ] {
        let answer = show(&mut client, token).await?;
        let (condition, text) = refusal(&answer);
        assert!(condition == "item-not-found" && text.contains(says), "{token}: {answer}");
    }
    assert_eq!(show(&mut client, "").await?.condition(), Some("bad-request"));
    let (_, token) = link(at, &["invite"]);
    let mut refused = 0;
    for guess in 0..20 {
        let answer = show(&mut client, &format!("guess{guess}")).await?;
        refused += u32::from(answer.condition() == Some("resource-constraint"));
    }
    // What there was is no guess.
    assert_eq!(refused, 2, "twenty wrong ones are enough");
    // In vain: nor would the right one be looked at, and not on another stream.
    let mut other = lab.connect().await?;
    let answer = show(&mut other, &token).await?;
    assert_eq!(answer.condition(), Some("resource-constraint"), "{answer}");
    assert_eq!(answer.find("error").and_then(|error| error.attr("type")), Some("wait"));
    Ok(())
}

/// XEP-0445 §5: nobody else gets the name; and who has the token gets no other.
#[tokio::test]
async fn a_name_is_kept_for_who_was_invited() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &["--set", "modules.register.mode=open"], &["alice"]);
    let (uri, token) = link(at, &["invite", "--name", "Juliet"]);
    assert_eq!(uri, format!("xmpp:juliet@localhost?register;preauth={token}"));
    let again = stonechat(at, &["invite", "--name", "juliet"]);
    assert!(!again.ok && again.err.contains("another invitation"), "{again:?}");
    let taken = stonechat(at, &["invite", "--name", "alice"]);
    assert!(!taken.ok && taken.err.contains("exists already"), "{taken:?}");
    let mut client = lab.connect().await?;
    let answer = register(&mut client, "juliet", PASSWORD).await?;
    assert_eq!(answer.condition(), Some("conflict"), "{answer}");
    is_result(&show(&mut client, &token).await?);
    let asked = client.ask(&format!("<iq type='get' id='g'><query xmlns='{NS}'/></iq>")).await?;
    assert_eq!(asked.find("username").map(|name| &*name.text), Some("juliet"), "{asked}");
    let answer = register(&mut client, "romeo", PASSWORD).await?;
    let (condition, text) = refusal(&answer);
    assert!(condition == "not-acceptable" && text.contains("juliet"), "{answer}");
    is_result(&register(&mut client, "JULIET", PASSWORD).await?);
    client.authenticate("juliet", PASSWORD).await?;
    Ok(())
}

/// What was shown on two streams is used once.
#[tokio::test]
async fn one_use_makes_one_account() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &["--set", "modules.register.per_ip_per_hour=1"], &[]);
    let (_, token) = link(at, &["invite"]);
    let (mut one, mut two) = (lab.connect().await?, lab.connect().await?);
    is_result(&show(&mut one, &token).await?);
    is_result(&show(&mut two, &token).await?);
    is_result(&register(&mut one, "one", PASSWORD).await?);
    let answer = register(&mut two, "two", PASSWORD).await?;
    let (condition, text) = refusal(&answer);
    assert!(condition == "forbidden" && text.contains("used"), "{answer}");
    // Nor twice on one stream. And a party at one address comes in, however many it is.
    let (_, token) = link(at, &["invite", "--uses", "3"]);
    for name in ["a", "b", "c"] {
        let answer = register(&mut one, name, PASSWORD).await?;
        assert_eq!(answer.condition(), Some("forbidden"), "{answer}");
        is_result(&show(&mut one, &token).await?);
        is_result(&register(&mut one, name, PASSWORD).await?);
    }
    let listed = good(at, &["user", "list"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    Ok(())
}

/// A forgotten password: the operator makes a link, and never sees the new one.
#[tokio::test]
async fn a_new_password_is_set_by_a_link_once() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &["alice", "bob"]);
    let mut alice = lab.login("alice").await?;
    let (_, first) = link(at, &["user", "reset-link", "alice@localhost"]);
    let (uri, token) = link(at, &["user", "reset-link", "alice@localhost", "--hours", "2"]);
    assert_eq!(uri, format!("xmpp:alice@localhost?register;preauth={token}"));
    let unknown = stonechat(at, &["user", "reset-link", "nobody@localhost"]);
    assert!(!unknown.ok && unknown.err.contains("no account nobody@localhost"), "{unknown:?}");
    let mut client = lab.connect().await?;
    let answer = show(&mut client, &first).await?;
    assert!(refusal(&answer).1.contains("taken back"), "the newer link is the only one: {answer}");
    is_result(&show(&mut client, &token).await?);
    let asked = client.ask(&format!("<iq type='get' id='g'><query xmlns='{NS}'/></iq>")).await?;
    assert_eq!(asked.find("username").map(|name| &*name.text), Some("alice"), "{asked}");
    let answer = register(&mut client, "bob", "another secret").await?;
    assert_eq!(answer.condition(), Some("not-acceptable"), "{answer}");
    let answer = register(&mut client, "alice", "short").await?;
    assert_eq!(answer.condition(), Some("not-acceptable"), "{answer}");
    is_result(&register(&mut client, "alice", "another secret").await?);
    // Who knew the old one does not stay.
    ends_with(&mut alice, "not-authorized").await?;
    assert!(lab.login("alice").await.is_err());
    Client::login(&lab.target, Security::StartTls, "alice", "another secret").await?;
    lab.login("bob").await?;
    let answer = show(&mut client, &token).await?;
    assert_eq!(answer.condition(), Some("item-not-found"), "{answer}");
    // A password that is set otherwise ends an open link.
    let (_, token) = link(at, &["user", "reset-link", "bob@localhost"]);
    let common = ["--data-dir", "data", "--set", "sasl.iterations=4096", "user", "passwd"];
    let args = [&common[..], &["bob@localhost", "--password-stdin"]].concat();
    assert!(run_in(at, &args, "third secret\n").ok);
    let answer = show(&mut client, &token).await?;
    assert!(refusal(&answer).1.contains("taken back"), "{answer}");
    Ok(())
}

/// The uri of `urn:xmpp:invite#invite`, and its token.
async fn invited(client: &mut Client) -> Outcome<(String, String)> {
    let answer = command(client, "localhost", "node='urn:xmpp:invite#invite'", "").await?;
    let form = result(&answer)?.child(DATA, "x").unwrap().clone();
    let field = form.children.iter().find(|field| field.attr("var") == Some("uri")).unwrap();
    let uri = field.text_of("value").unwrap().to_owned();
    let token = uri.split("preauth=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    Ok((uri, token))
}

/// XEP-0379, in cases that the transcript does not have: a blocked one, somebody else's token, a second use.
#[tokio::test]
async fn a_contact_is_made_by_the_token_of_who_is_asked() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "carol"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "b").await?;
    let mut carol = lab.online("carol", "c").await?;
    let (uri, token) = invited(&mut alice).await?;
    assert_eq!(uri, format!("xmpp:alice@localhost?roster;preauth={token};ibr=y"));
    let ask = |to: &str, token: &str| {
        let preauth = format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>");
        format!("<presence type='subscribe' to='{to}@localhost'>{preauth}</presence>")
    };
    // Alice's token opens no other roster.
    carol.send(&ask("bob", &token)).await?;
    bob.expect(|e| e.attr("type") == Some("subscribe")).await?;
    // Whom alice has blocked is not let in by it.
    let block = |verb: &str| {
        let item = "<item jid='carol@localhost'/>";
        format!("<iq type='set' id='b'><{verb} xmlns='urn:xmpp:blocking'>{item}</{verb}></iq>")
    };
    is_result(&alice.ask(&block("block")).await?);
    carol.send(&ask("alice", &token)).await?;
    carol.fence().await?;
    assert_eq!(roster(&mut alice).await?, [""; 0]);
    is_result(&alice.ask(&block("unblock")).await?);
    // Bob asks, and both see each other. He asks again, as clients do: nothing more happens.
    for _ in 0..2 {
        bob.send(&ask("alice", &token)).await?;
        bob.fence().await?;
    }
    assert_eq!(roster(&mut bob).await?, ["alice@localhost both"]);
    assert_eq!(roster(&mut alice).await?, ["bob@localhost both"]);
    // It was for one.
    carol.send(&ask("alice", &token)).await?;
    carol.fence().await?;
    assert_eq!(roster(&mut alice).await?, ["bob@localhost both"]);
    let mut stranger = lab.connect().await?;
    assert_eq!(show(&mut stranger, &token).await?.condition(), Some("item-not-found"));
    Ok(())
}

/// Where users bring in no accounts their invitations make contacts only, and are bounded.
#[tokio::test]
async fn what_users_may_give_out_is_the_operators_choice() -> Outcome<()> {
    let set = ["modules.invite.users=false", "modules.invite.per_account=2"];
    let page = "modules.invite.landing_url=https://x.example/i/#{token}";
    let lab = Lab::new(&["alice"], &[set[0], set[1], page]);
    let mut alice = lab.online("alice", "a").await?;
    let (uri, token) = invited(&mut alice).await?;
    assert_eq!(uri, format!("xmpp:alice@localhost?roster;preauth={token}"));
    let mut stranger = lab.connect().await?;
    assert_eq!(show(&mut stranger, &token).await?.condition(), Some("item-not-found"));
    let answer = command(&mut alice, "", "node='urn:xmpp:invite#invite'", "").await?;
    assert!(result(&answer)?.to_string().contains("https://x.example/i/#"), "{answer}");
    let answer = command(&mut alice, "", "node='urn:xmpp:invite#invite'", "").await?;
    assert_eq!(answer.condition(), Some("resource-constraint"), "{answer}");
    // They are listed without their tokens, and taken back.
    let answer = command(&mut alice, "", "node='list-invitations'", "").await?;
    let list = result(&answer)?.to_string();
    assert!(list.matches("<item>").count() == 2 && !list.contains(&token), "{list}");
    let answer = command(&mut alice, "", "node='revoke-invitations'", "").await?;
    let session = result(&answer)?.attr("sessionid").unwrap().to_owned();
    let attrs = format!("node='revoke-invitations' sessionid='{session}'");
    let choose = |number: &str| {
        let field = format!("<field var='invitations'><value>{number}</value></field>");
        format!("<x xmlns='{DATA}' type='submit'>{field}</x>")
    };
    let answer = command(&mut alice, "", &attrs, &choose("99")).await?;
    assert_eq!(answer.condition(), Some("bad-request"), "{answer}");
    let answer = command(&mut alice, "", &attrs, &choose("1")).await?;
    assert_eq!(result(&answer)?.attr("status"), Some("completed"));
    invited(&mut alice).await?;
    // Who may make accounts is not every user.
    let answer = command(&mut alice, "", "node='urn:xmpp:invite#create-account'", "").await?;
    assert_eq!(answer.condition(), Some("forbidden"), "{answer}");
    Ok(())
}

/// XEP-0401 §5.4: an admin chooses the name, and whether the two are contacts.
#[tokio::test]
async fn an_admin_invites_for_an_account_by_command() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["admin.owners=alice@localhost"]);
    let mut alice = lab.online("alice", "a").await?;
    let node = "node='urn:xmpp:invite#create-account'";
    let answer = command(&mut alice, "localhost", node, "").await?;
    let first = result(&answer)?;
    let form = first.child(DATA, "x").unwrap();
    let fields: Vec<_> = form.children.iter().filter_map(|field| field.attr("var")).collect();
    assert_eq!(fields, ["username", "roster-subscription"], "{form}");
    let attrs = format!("{node} sessionid='{}'", first.attr("sessionid").unwrap());
    let submit = |name: &str, befriend: &str| {
        let field = |var, value| format!("<field var='{var}'><value>{value}</value></field>");
        let fields = field("username", name) + &field("roster-subscription", befriend);
        format!("<x xmlns='{DATA}' type='submit'>{fields}</x>")
    };
    for (name, befriend, condition) in
        [("a b", "1", "bad-request"), ("bob", "1", "conflict"), ("juliet", "x", "bad-request")]
    {
        let answer = command(&mut alice, "localhost", &attrs, &submit(name, befriend)).await?;
        assert_eq!(answer.condition(), Some(condition), "{answer}");
    }
    let answer = command(&mut alice, "localhost", &attrs, &submit("juliet", "true")).await?;
    let done = result(&answer)?.to_string();
    let uri = "xmpp:juliet@localhost?register;preauth=";
    let token = done.split(uri).nth(1).unwrap().split('<').next().unwrap();
    let mut juliet = lab.connect().await?;
    is_result(&show(&mut juliet, token).await?);
    is_result(&register(&mut juliet, "juliet", PASSWORD).await?);
    assert_eq!(items(&alice.expect(is_push).await?), ["juliet@localhost both"]);
    Ok(())
}

/// The operator's verbs, without a server and with one.
#[tokio::test]
async fn the_operator_makes_lists_and_revokes() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let nowhere = stonechat(at, &["invite"]);
    assert!(!nowhere.ok && nowhere.err.contains("nothing was made"), "{nowhere:?}");
    let lab = Lab::serve(at, &[], &["alice"]);
    drop(lab);
    let none = stonechat(at, &["invite", "list"]);
    assert!(none.ok && none.out.is_empty() && none.err.contains("no invitation"), "{none:?}");
    let nobody = stonechat(at, &["invite", "--team", "sales"]);
    assert!(!nobody.ok && nobody.err.contains("stonechat team add \"sales\""), "{nobody:?}");
    good(at, &["team", "add", "sales"]);
    let made = good(at, &["invite", "--team", "sales", "--uses", "20", "--days", "3", "--qr"]);
    let told = made.lines().nth(2).unwrap();
    assert!(told.contains("20 people") && told.contains("the team sales"), "{made}");
    assert!(made.lines().count() > 20 && made.contains('█'), "{made}");
    let lab = Lab::serve(at, &[], &[]);
    let plain = good(at, &["invite", "--user", "alice@localhost"]);
    assert!(plain.lines().count() == 3 && plain.contains("alice@localhost becomes a contact"));
    let listed = good(at, &["invite", "list"]);
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].starts_with("1  account on localhost, by the operator, team sales; 20 uses"));
    assert!(lines[1].starts_with("2  account on localhost, by alice@localhost; 1 use"), "{listed}");
    good(at, &["invite", "revoke", "1"]);
    let twice = stonechat(at, &["invite", "revoke", "1"]);
    assert!(!twice.ok && twice.err.contains("invite list"), "{twice:?}");
    assert_eq!(good(at, &["invite", "list"]).lines().count(), 1);
    for (args, says) in [
        (&["invite", "--uses", "0"][..], "--uses is a number"),
        (&["invite", "--days", "400"], "--days is a number"),
        (&["invite", "--user", "nobody@localhost"], "no account nobody@localhost"),
        (&["invite", "--domain", "elsewhere.example"], "not served here"),
    ] {
        let said = stonechat(at, args);
        assert!(!said.ok && said.err.contains(says), "{args:?}: {said:?}");
    }
    drop(lab);
    for args in [&["invite"][..], &["user", "reset-link", "alice@localhost"]] {
        let said = stonechat(at, &[args, &["--set", "modules.register.mode=closed"]].concat());
        assert!(!said.ok && said.err.contains("modules.register.mode"), "{said:?}");
    }
    let said = stonechat(at, &["user", "list", "--set", "modules.register.open=true"]);
    if said.ok || !said.err.contains("mode = \"open\"") {
        return wrong(format!("a former key is explained: {said:?}"));
    }
    Ok(())
}
