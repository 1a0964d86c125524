//! The runs of the audit. Only for our own binary: it is ended and started again.

use super::load::{Comes, Device, Load};
use super::run::Run;
use super::settings;
use crate::harness::client::Outcome;
use crate::harness::server::subject;
use std::time::Duration;

/// The accounts of a run: senders with and without stream management, recipients of all kinds.
fn everyone() -> Vec<Device> {
    let device = |account, manages, sends, comes| Device { account, manages, sends, comes };
    vec![
        device(0, true, true, Comes::Always),
        device(1, true, true, Comes::Always),
        device(2, true, true, Comes::Always),
        device(3, false, true, Comes::Always),
        device(4, false, true, Comes::Always),
        device(5, true, false, Comes::Always),
        device(6, true, false, Comes::Always),
        device(7, false, false, Comes::Always),
        device(8, false, false, Comes::Every(2)),
        device(9, true, false, Comes::Every(3)),
        // In a short run it comes at the end only.
        device(10, false, false, Comes::Every(25)),
        // Two devices of one account.
        device(11, true, false, Comes::Always),
        device(11, false, false, Comes::Every(2)),
    ]
}

fn load() -> Load {
    let (rate, seed) = (settings::rate(), settings::seed());
    Load { rate, body: (0, settings::body_max()), in_flight_max: 64, seed }
}

/// promise.md 1 to 8: whatever the moment of a SIGKILL, what was acknowledged arrives, in order,
/// stands in the archives once, and comes twice only for the two causes that are allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_to_a_kill() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start(folder.path(), everyone(), load()).await?;
    for kill in 0..settings::kills() {
        // Some kills hit clients that are still coming back.
        if kill % 4 != 3 {
            run.all_there().await;
        }
        // The moment of a kill is a timer by purpose.
        let moment = Duration::from_millis(10 + run.dice.below(390));
        tokio::time::sleep(moment).await;
        run.kill().await?;
    }
    let report = run.finish().await?;
    report.print("kill audit");
    report.must_be_clean();
    Ok(())
}
