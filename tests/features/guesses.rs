//! What somebody may try with tokens of invitations: guess them, use one twice at once, invite without end.

use std::path::Path;

use crate::commands::{command, result};
use crate::harness::client::{Client, Outcome, Security};
use crate::harness::element::Element;
use crate::harness::process::{Lab, PASSWORD, run_in};

const NS: &str = "jabber:iq:register";

/// What a verb prints.
fn good(folder: &Path, args: &[&str]) -> String {
    let common = ["--data-dir", "data", "--set", "sasl.iterations=4096"];
    let said = run_in(folder, &[&common, args].concat(), "");
    assert!(said.ok, "{args:?}: {}", said.err);
    said.out
}

/// The token of a link.
fn token(link: &str) -> String {
    link.split("preauth=").nth(1).unwrap().split([';', '\n', '<']).next().unwrap().to_owned()
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

async fn invite(client: &mut Client) -> Outcome<Element> {
    command(client, "localhost", "node='urn:xmpp:invite#invite'", "").await
}

/// A request for subscription that shows a token.
fn request(to: &str, token: &str) -> String {
    let preauth = format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>");
    format!("<presence type='subscribe' to='{to}'>{preauth}</presence>")
}

async fn roster(client: &mut Client) -> Outcome<Vec<String>> {
    let get = "<iq type='get' id='ro'><query xmlns='jabber:iq:roster'/></iq>";
    let answer = client.ask(get).await?;
    let items = answer.find("query").map(|query| query.children.clone()).unwrap_or_default();
    let of = |item: &Element, name| item.attr(name).unwrap_or_default().to_owned();
    Ok(items.iter().map(|one| format!("{} {}", of(one, "jid"), of(one, "subscription"))).collect())
}

/// XEP-0445 §4: whatever is not a token here gets one answer, however near it comes; and soon none.
#[tokio::test]
async fn a_guess_learns_nothing_and_is_one_of_a_few() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &["--set", "modules.invite.users=false"], &["alice"]);
    let mut alice = lab.online("alice", "a").await?;
    let right = token(&good(folder.path(), &["invite"]));
    // One that makes contacts is none for a stranger.
    let contact = token(&result(&invite(&mut alice).await?)?.to_string());
    let mut client = lab.connect().await?;
    // A right one is no guess, however often it is shown.
    for _ in 0..25 {
        is_result(&show(&mut client, &right).await?);
    }
    let (head, last) = right.split_at(right.len() - 1);
    let near = format!("{head}{}", if last == "a" { "b" } else { "a" });
    let guesses = [
        near,
        head.to_owned(),
        format!("{right} "),
        right.chars().rev().collect(),
        contact,
        "x".to_owned(),
        "\u{202e}&apos; OR 1=1".to_owned(),
        "a".repeat(128),
        "a".repeat(129),
        "a".repeat(5_000),
    ];
    let mut answers = Vec::new();
    for guess in &guesses {
        answers.push(show(&mut client, guess).await?.to_string());
    }
    answers.dedup();
    assert!(answers.len() == 1 && answers[0].contains("item-not-found"), "{answers:?}");
    // What it had shown before the guesses is taken back.
    assert_eq!(register(&mut client, "carol", PASSWORD).await?.condition(), Some("forbidden"));
    // One of them is a token that there is.
    for _ in guesses.len() - 1..20 {
        assert_eq!(show(&mut client, "guess").await?.condition(), Some("item-not-found"));
    }
    for (client, token) in [(&mut client, "guess"), (&mut lab.connect().await?, &*right)] {
        let answer = show(client, token).await?;
        assert_eq!(answer.condition(), Some("resource-constraint"), "{answer}");
    }
    Ok(())
}

/// XEP-0379 §4.1, §5.2: a request with a wrong token is one like any other; who tries many has no more tries.
#[tokio::test]
async fn guesses_in_requests_are_bounded_too() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "carol"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let (mut bob, mut carol) = (lab.online("bob", "b").await?, lab.online("carol", "c").await?);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        tokens.push(token(&result(&invite(&mut alice).await?)?.to_string()));
    }
    // What is for somebody on another server is no guess here.
    for _ in 0..25 {
        carol.send(&request("alice@elsewhere.example", "theirs")).await?;
    }
    carol.fence().await?;
    bob.send(&request("alice@localhost", &tokens[0])).await?;
    bob.fence().await?;
    assert_eq!(roster(&mut bob).await?, ["alice@localhost both"]);
    // Nor is the token that it used: clients show it again.
    for _ in 0..25 {
        bob.send(&request("alice@localhost", &tokens[0])).await?;
    }
    bob.fence().await?;
    let mut stranger = lab.connect().await?;
    assert_eq!(show(&mut stranger, "guess").await?.condition(), Some("item-not-found"));
    for guess in 0..20 {
        carol.send(&request("alice@localhost", &format!("guess{guess}"))).await?;
    }
    carol.send(&request("alice@localhost", &tokens[1])).await?;
    carol.fence().await?;
    assert_eq!(roster(&mut alice).await?, ["bob@localhost both"]);
    alice.expect(|e| e.attr("type") == Some("subscribe")).await?;
    // One count for all that comes from an address.
    assert_eq!(show(&mut stranger, &tokens[1]).await?.condition(), Some("resource-constraint"));
    Ok(())
}

/// One use is one account, or one password, whoever comes at the same moment.
#[tokio::test]
async fn a_link_that_two_use_at_once_is_used_once() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &[], &["alice"]);
    for (link, [a, b], accounts) in [
        (good(at, &["invite"]), ["one", "two"], 2),
        (good(at, &["user", "reset-link", "alice@localhost"]), ["alice", "alice"], 2),
    ] {
        let token = token(&link);
        let (mut one, mut two) = (lab.connect().await?, lab.connect().await?);
        is_result(&show(&mut one, &token).await?);
        is_result(&show(&mut two, &token).await?);
        let (first, second) =
            tokio::join!(register(&mut one, a, "password-1"), register(&mut two, b, "password-2"));
        let answers = [first?, second?];
        let won = answers.iter().position(|one| one.attr("type") == Some("result"));
        let won = won.unwrap_or_else(|| panic!("{answers:?}"));
        assert_eq!(answers[1 - won].condition(), Some("forbidden"), "{answers:?}");
        assert_eq!(good(at, &["user", "list"]).lines().count(), accounts);
        let (user, password) = ([a, b][won], ["password-1", "password-2"][won]);
        Client::login(&lab.target, Security::StartTls, user, password).await?;
        let (user, password) = ([a, b][1 - won], ["password-1", "password-2"][1 - won]);
        assert!(Client::login(&lab.target, Security::StartTls, user, password).await.is_err());
        // It is of no use on the stream that came late, without another look.
        let answer = register(&mut [one, two][1 - won], "three", PASSWORD).await?;
        assert_eq!(answer.condition(), Some("forbidden"), "{answer}");
    }
    Ok(())
}

/// A result is on disk: the account, its contact and the use of the token, all or nothing of it.
#[tokio::test]
async fn an_account_by_invitation_outlives_a_crash() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut lab = Lab::serve(at, &[], &["alice"]);
    let invitation = token(&good(at, &["invite", "--user", "alice@localhost"]));
    let link = token(&good(at, &["user", "reset-link", "alice@localhost"]));
    let mut carol = lab.connect().await?;
    is_result(&show(&mut carol, &invitation).await?);
    is_result(&register(&mut carol, "carol", PASSWORD).await?);
    lab.process.kill();
    lab = Lab::serve(at, &[], &[]);
    let mut carol = lab.online("carol", "c").await?;
    assert_eq!(roster(&mut carol).await?, ["alice@localhost both"]);
    let mut client = lab.connect().await?;
    let used = show(&mut client, &invitation).await?;
    assert!(used.to_string().contains("used already"), "{used}");
    is_result(&show(&mut client, &link).await?);
    is_result(&register(&mut client, "alice", "another secret").await?);
    lab.process.kill();
    lab = Lab::serve(at, &[], &[]);
    Client::login(&lab.target, Security::StartTls, "alice", "another secret").await?;
    assert!(lab.login("alice").await.is_err());
    let mut client = lab.connect().await?;
    assert_eq!(show(&mut client, &link).await?.condition(), Some("item-not-found"));
    Ok(())
}

/// Whoever was invited may invite: one spammer would have any number of accounts.
#[tokio::test]
async fn accounts_do_not_bring_each_other_in_without_end() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["modules.invite.per_account=3"]);
    let mut inviter = lab.online("alice", "a").await?;
    let (mut made, mut last) = (0, None);
    for name in ["b", "c", "d", "e", "f"] {
        let answer = invite(&mut inviter).await?;
        if answer.attr("type") != Some("result") {
            last = Some(answer);
            break;
        }
        let mut client = lab.connect().await?;
        is_result(&show(&mut client, &token(&answer.to_string())).await?);
        is_result(&register(&mut client, name, PASSWORD).await?);
        made += 1;
        inviter = lab.online(name, "r").await?;
    }
    let refused = last.expect("a bound");
    assert_eq!((made, refused.condition()), (3, Some("resource-constraint")), "{refused}");
    assert_eq!(refused.find("error").and_then(|error| error.attr("type")), Some("wait"));
    Ok(())
}
