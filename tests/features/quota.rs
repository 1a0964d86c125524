//! What one account may store (`modules.quota.bytes_max`): the oldest messages of its archive go.

use crate::archive::{form, query};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::{CLIENT, Element};
use crate::harness::process::Lab;
use std::time::{Duration, Instant};

const NS: &str = "urn:xmpp:mam:2";
const RSM: &str = "http://jabber.org/protocol/rsm";
/// Some fifty of the messages below.
const QUOTA: usize = 65_536;
const MOST: usize = 60;

async fn chat(client: &mut Client, to: &str, numbers: std::ops::Range<usize>) -> Outcome<()> {
    let filler = "x".repeat(1_000);
    for n in numbers {
        let body = format!("<body>word{n:04} {filler}</body>");
        client.send(&format!("<message to='{to}@localhost' type='chat'>{body}</message>")).await?;
    }
    client.fence().await
}

fn number(message: &Element) -> Option<usize> {
    message.text_of("body")?.strip_prefix("word")?.get(..4)?.parse().ok()
}

/// Is this what the server says of the quota?
fn tells(message: &Element) -> bool {
    message.attr("from") == Some("localhost") && message.text_of("body").is_some()
}

/// How many messages an archive has, and the numbers of the newest ones.
async fn archived(client: &mut Client, fields: &str) -> Outcome<(usize, Vec<usize>)> {
    let page = format!("{}<set xmlns='{RSM}'><max>100</max><before/></set>", form(fields));
    client.send(&query("q", &page)).await?;
    let mut numbers = Vec::new();
    loop {
        let fits = |e: &Element| e.child(NS, "result").is_some() || e.attr("id") == Some("q");
        let next = client.expect(fits).await?;
        if let Some(result) = next.child(NS, "result") {
            let message = result.find("forwarded").and_then(|f| f.child(CLIENT, "message"));
            numbers.extend(message.and_then(number));
            continue;
        }
        let set = next.child(NS, "fin").and_then(|fin| fin.child(RSM, "set"));
        let count = set.and_then(|set| set.text_of("count")).and_then(|count| count.parse().ok());
        return match count {
            Some(count) => Ok((count, numbers)),
            None => client.fail(format!("no count: {next}")),
        };
    }
}

/// Waits until an archive is within the quota; the newest messages up to `newest` are there, without a hole.
async fn bounded(client: &mut Client, newest: usize) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (count, numbers) = archived(client, "").await?;
        if count <= MOST {
            assert!(numbers.len() > 30, "{numbers:?}");
            let expected: Vec<_> = (newest + 1 - numbers.len()..=newest).collect();
            assert_eq!(numbers, expected);
            return Ok(());
        }
        assert!(Instant::now() < deadline, "{count} messages");
    }
}

async fn found(client: &mut Client, word: &str) -> Outcome<usize> {
    let field = "<field var='{urn:xmpp:fulltext:0}fulltext'>";
    let (_, numbers) = archived(client, &format!("{field}<value>{word}</value></field>")).await?;
    Ok(numbers.len())
}

#[tokio::test]
async fn who_stores_too_much_loses_the_oldest_of_its_archive() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let set = format!("modules.quota.bytes_max={QUOTA}");
    let args = ["--set", set.as_str()];
    let mut lab = Lab::serve(folder.path(), &args, &["romeo", "juliet", "mercutio"]);
    let mut mercutio = lab.online("mercutio", "m").await?;
    chat(&mut mercutio, "mercutio", 0..3).await?;
    let mut romeo = lab.online("romeo", "r").await?;
    chat(&mut romeo, "juliet", 0..10).await?;
    assert_eq!(found(&mut romeo, "word0001").await?, 1);
    chat(&mut romeo, "juliet", 10..200).await?;

    // The owner is told, once.
    romeo.expect(tells).await?;
    bounded(&mut romeo, 199).await?;
    assert_eq!(
        (found(&mut romeo, "word0001").await?, found(&mut romeo, "word0199").await?),
        (0, 1)
    );
    romeo.fence().await?;
    assert_eq!(romeo.take().iter().filter(|e| tells(e)).count(), 0);

    // What she is owed stays, and goes when she has had it.
    let mut juliet = lab.online("juliet", "j").await?;
    for n in 0..200 {
        juliet.expect(|e| number(e) == Some(n)).await?;
    }
    juliet.close().await?;
    chat(&mut romeo, "juliet", 200..210).await?;
    let mut juliet = lab.online("juliet", "j").await?;
    juliet.expect(tells).await?;

    // What was counted in memory is forgotten; what is stored is not.
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &args, &[]);
    let mut romeo = lab.online("romeo", "r").await?;
    chat(&mut romeo, "juliet", 210..220).await?;
    bounded(&mut romeo, 219).await?;
    let mut mercutio = lab.online("mercutio", "m").await?;
    assert!(archived(&mut mercutio, "").await?.0 >= 3);
    mercutio.fence().await?;
    assert_eq!(mercutio.take().iter().filter(|e| tells(e)).count(), 0);
    Ok(())
}
