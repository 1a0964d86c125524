//! The runs of the audit. Only for our own binary: it is ended and started again.

use super::ledger::{Ledger, Seen};
use super::load::{Comes, Device, Load};
use super::place::Server;
use super::run::Run;
use super::settings;
use crate::harness::client::Outcome;
use crate::harness::mount::Mount;
use crate::harness::server::subject;
use std::time::Duration;

/// The accounts of a run: senders with and without stream management, recipients of all kinds.
fn everyone() -> Vec<Device> {
    let device = |account, manages, sends, comes, rooms| Device {
        account,
        manages,
        sends,
        comes,
        rooms,
        // Of each kind some: they and the others must not tell the ways apart.
        web: [1, 4, 6, 8, 11].contains(&account),
    };
    vec![
        device(0, true, true, Comes::Always, &[0, 1, 2]),
        device(1, true, true, Comes::Always, &[0, 2]),
        device(2, true, true, Comes::Always, &[]),
        device(3, false, true, Comes::Always, &[0, 1]),
        device(4, false, true, Comes::Always, &[]),
        device(5, true, false, Comes::Always, &[0, 1, 2]),
        device(6, true, false, Comes::Always, &[2]),
        device(7, false, false, Comes::Always, &[0]),
        device(8, false, false, Comes::Every(2), &[1]),
        device(9, true, false, Comes::Every(3), &[0, 2]),
        // In a short run it comes at the end only.
        device(10, false, false, Comes::Every(25), &[1]),
        // Two devices of one account.
        device(11, true, false, Comes::Always, &[1]),
        device(11, false, false, Comes::Every(2), &[1]),
    ]
}

fn load() -> Load {
    let (rate, seed) = (settings::rate(), settings::seed());
    Load { rate, body: (0, settings::body_max()), in_flight_max: 64, seed }
}

/// promise.md 1 to 8: whatever the moment of a SIGKILL, what was acknowledged arrives, in order,
/// stands in the archives once, and comes twice only for the two causes that are allowed. What was uploaded is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_to_a_kill() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start(Server::over(folder.path()), everyone(), load()).await?;
    run.upload();
    for kill in 0..settings::kills() {
        // Some kills hit clients that are still coming back.
        if kill % 4 != 3 {
            run.all_there().await;
        }
        // The moment of a kill is a timer by purpose. Now and then a life is long enough for
        // confirmations to be written behind: these may not be forgotten (promise.md 2).
        let least = if kill % 20 == 5 { 2500 } else { 10 };
        let moment = Duration::from_millis(least + run.dice.below(390));
        tokio::time::sleep(moment).await;
        run.kill().await?;
    }
    let report = run.finish().await?;
    report.print("kill audit");
    report.must_be_clean();
    report.must_have_uploaded();
    Ok(())
}

/// XEP-0198 §5: connections that are cut under load go on where they were. For any server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_under_load_are_mended() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::start(Server::over(folder.path()), everyone(), load()).await?;
    let enough = settings::rate() as usize * 2;
    run.happens("load", |ledger| ledger.count(|sent| sent.acknowledged) > enough).await;
    let report = run.finish().await?;
    report.print("cuts");
    report.must_be_clean();
    report.must_have_resumed();
    Ok(())
}

/// promise.md 11: a stop under load is a short silence for those who resume. Nobody sees them go, and
/// nothing comes twice to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_is_not_noticed() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start(Server::over(folder.path()), everyone(), load()).await?;
    run.all_there().await;
    run.befriend(0, 5).await?;
    run.befriend(1, 6).await?;
    for (device, friend) in [(0, "user5@"), (5, "user0@"), (1, "user6@"), (6, "user1@")] {
        let sees = |seen: &Seen| seen.device == device && seen.from.starts_with(friend);
        let is_there = |seen: &Seen| seen.kind == "available" && sees(seen);
        run.happens(friend, |ledger| ledger.presence.iter().any(is_there)).await;
    }
    for _ in 0..settings::restarts() {
        // The pace of the load and the moment of the stop are timers by purpose.
        tokio::time::sleep(Duration::from_millis(100 + run.dice.below(300))).await;
        run.restart().await?;
        run.all_there().await;
    }
    let report = run.finish().await?;
    report.print("restart audit");
    report.must_be_clean();
    report.must_have_resumed();
    report.nobody_went(&[0, 1, 5, 6]);
    Ok(())
}

/// promise.md 5: on a full disk each message is acknowledged or answered with an error that passes;
/// what was acknowledged stays, and with room the server goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_load_loses_nothing() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(mount) = Mount::small(&data, 6) else { return Ok(()) };
    let load = Load { rate: 100, body: (20_000, 60_000), in_flight_max: 8, ..load() };
    let run = Run::start(Server::over(&data), everyone(), load).await?;
    run.happens("a refusal", |ledger| ledger.count(|sent| sent.refused) >= 10).await;
    mount.resize(512);
    let taken = |ledger: &Ledger| ledger.count(|sent| sent.acknowledged && !sent.refused);
    let before = taken(&run.book.read());
    run.happens("room again", |ledger| taken(ledger) > before + 50).await;
    let report = run.finish().await?;
    report.print("full disk");
    report.must_be_clean();
    assert!(report.verdict.refused > 0);
    Ok(())
}

/// Not a claim but a figure: how many times the disk is waited for. Needs `strace`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn sync_calls_per_acknowledged_message() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls").display().to_string();
    let trace = format!("strace -f -qq --seccomp-bpf -c -e trace=fsync,fdatasync -o {calls}.{{n}}");
    let mut server = Server::over(&folder.path().join("data")).through(trace);
    let quiet = |n: usize| (0..n).map(|n| format!("idle{n}@localhost")).collect::<Vec<_>>();
    server.start(&quiet(12));
    server.stop();
    let run = Run::start(server, everyone(), load()).await?;
    let enough = settings::rate() as usize * 5;
    run.happens("load", |ledger| ledger.count(|sent| sent.acknowledged) > enough).await;
    let report = run.finish().await?;
    report.print("sync calls");
    let count = |n| sync_calls(&std::fs::read_to_string(format!("{calls}.{n}")).unwrap());
    let (idle, busy) = (count(1), count(2));
    let each = busy.saturating_sub(idle) as f64 / report.verdict.acknowledged.max(1) as f64;
    println!("sync calls: {idle} for start, accounts and stop; {busy} in all; {each:.3} a message");
    report.must_be_clean();
    Ok(())
}

/// From the table of `strace -c`: time, seconds, microseconds, calls, errors if any, name.
fn sync_calls(table: &str) -> u64 {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row.last().is_some_and(|name| name.ends_with("sync")));
    ours.filter_map(|row| row.get(3)?.parse::<u64>().ok()).sum()
}
