//! What the archive of a room may hold (`modules.muc.archive_bytes_max`): the oldest messages go.

use std::time::{Duration, Instant};

use crate::harness::client::{Client, Outcome};
use crate::harness::process::Lab;
use crate::harness::rooms::{enter, gathering, hears, say};
use crate::muc_archive::queried;

/// Some fifty of the messages below.
const BOUND: &str = "modules.muc.archive_bytes_max=65536";
const MOST: usize = 60;

async fn talk(client: &mut Client, room: &str, numbers: std::ops::Range<usize>) -> Outcome<()> {
    let filler = "x".repeat(1_000);
    for n in numbers {
        say(client, room, &format!("m{n}"), &filler).await?;
        hears(client, &format!("m{n}")).await?;
    }
    client.fence().await
}

/// The numbers of the messages in the archive, the newest hundred of them.
async fn kept(client: &mut Client, room: &str) -> Outcome<Vec<usize>> {
    let page = "<set xmlns='http://jabber.org/protocol/rsm'><max>100</max><before/></set>";
    let (results, _) = queried(client, room, page).await?;
    let number = |id: &str| id.strip_prefix('m')?.parse().ok();
    Ok(results.iter().filter_map(|one| number(one.find("message")?.attr("id")?)).collect())
}

/// Waits until the archive is within the bound; the newest messages up to `newest` are there, without a hole.
async fn bounded(client: &mut Client, room: &str, newest: usize) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let numbers = kept(client, room).await?;
        if numbers.len() <= MOST {
            assert!(numbers.len() > 30, "{numbers:?}");
            let expected: Vec<_> = (newest + 1 - numbers.len()..=newest).collect();
            assert_eq!(numbers, expected);
            return Ok(());
        }
        assert!(Instant::now() < deadline, "{} messages", numbers.len());
    }
}

#[tokio::test]
async fn a_room_that_stores_too_much_loses_the_oldest() -> Outcome<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lab = Lab::serve(folder.path(), &["--set", BOUND], &["ann"]);
    let mut ann = gathering(&lab, "hall", &["ann"], &[]).await?.remove(0);
    talk(&mut ann, "hall", 0..150).await?;
    bounded(&mut ann, "hall", 149).await?;
    // Other rooms have bounds of their own.
    crate::harness::rooms::found(&mut ann, "den", "ann", &[]).await?;
    talk(&mut ann, "den", 0..3).await?;
    talk(&mut ann, "hall", 150..200).await?;
    bounded(&mut ann, "hall", 199).await?;
    assert_eq!(kept(&mut ann, "den").await?, [0, 1, 2]);
    // What was counted in memory is forgotten; what is stored is not.
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &["--set", BOUND], &[]);
    let mut ann = lab.online("ann", "r").await?;
    enter(&mut ann, "hall", "ann").await?;
    talk(&mut ann, "hall", 200..210).await?;
    bounded(&mut ann, "hall", 209).await
}
