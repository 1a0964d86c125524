//! Plays every file of `tests/transcripts`, a line of report each.
//!
//! `STONECHAT_TEST_ONLY=roster` plays those whose name holds the word; `STONECHAT_TEST_SUBJECT`
//! (see `harness::server::subject`) plays them against another server.

use crate::harness::client::Target;
use crate::harness::server::{Options, Server, subject};
use crate::harness::transcript::{Script, play, register};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transcripts() {
    let files = found();
    assert!(!files.is_empty(), "no transcripts found");
    let foreign = subject();
    let ours = foreign.is_none();
    let run = run_name(ours);
    let domain = foreign.as_ref().map_or("localhost", |target| &target.domain).to_owned();
    let scripts: Vec<_> =
        files.iter().map(|file| (title(file), read(file, &run, &domain))).collect();
    // One server for all that need no settings of their own.
    let shared =
        ours.then(|| Server::start(&options(&domain, scripts.iter().map(|(_, s)| s))).unwrap());
    let target = foreign.or_else(|| shared.as_ref().map(|s| s.target.clone())).unwrap();
    let places = Arc::new(Semaphore::new(8));
    let mut playing = JoinSet::new();
    for (title, script) in scripts {
        let (target, places) = (target.clone(), places.clone());
        playing.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let started = Instant::now();
            let outcome = perform(&script, &target, ours).await;
            report(&title, &script, outcome, ours, started)
        });
    }
    let reports = playing.join_all().await;
    let bad = reports.iter().filter(|fine| !**fine).count();
    println!("{} transcripts, {bad} failed", reports.len());
    assert_eq!(bad, 0, "transcripts failed");
}

/// Says how it went; true if that is as it should be.
fn report(
    title: &str,
    script: &Script,
    outcome: Result<(), String>,
    ours: bool,
    started: Instant,
) -> bool {
    let excuse = script.tagged(if ours { "pending" } else { "differs" }).next();
    let took = started.elapsed().as_millis();
    match (outcome, excuse) {
        (Ok(()), None) => println!("ok       {title} ({took} ms)"),
        (Ok(()), Some(why)) => println!("ok       {title} ({took} ms), though marked: {why}"),
        (Err(_), Some(why)) => println!("expected {title}: {why}"),
        (Err(error), None) => {
            println!("FAILED   {title}: {error}\n");
            return false;
        }
    }
    true
}

async fn perform(script: &Script, target: &Target, ours: bool) -> Result<(), String> {
    if !ours {
        register(script, target).await.map_err(|e| e.to_string())?;
        return play(script, target).await;
    }
    if script.tagged("set").next().is_none() {
        return play(script, target).await;
    }
    let server = Server::start(&options(&target.domain, std::iter::once(script)))?;
    play(script, &server.target).await
}

fn options<'a>(domain: &str, scripts: impl Iterator<Item = &'a Script> + Clone) -> Options {
    let cast = scripts.clone().flat_map(|script| &script.cast);
    let mut users: Vec<_> = cast.map(|c| (c.account.clone(), c.password.clone())).collect();
    users.sort();
    users.dedup();
    // Settings belong to one script alone.
    let alone = scripts.clone().count() == 1;
    let set =
        scripts.filter(|_| alone).flat_map(|script| script.tagged("set")).filter_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        });
    Options { domains: vec![domain.to_owned()], users, set: set.collect(), data: None }
}

fn read(file: &Path, run: &str, domain: &str) -> Script {
    let text = std::fs::read_to_string(file).unwrap();
    let suffix = format!("{}{run}", title(file).replace(|c: char| !c.is_ascii_alphanumeric(), ""));
    Script::parse(&text, &suffix, domain).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// On a server that outlives us, accounts of another run must not be met again.
fn run_name(ours: bool) -> String {
    if ours {
        return String::new();
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("-{:x}", now.map_or(0, |d| d.as_millis()))
}

fn title(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn found() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let only = std::env::var("STONECHAT_TEST_ONLY").unwrap_or_default();
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "scs"))
        .filter(|path| title(path).contains(&only))
        .collect();
    files.sort();
    files
}
