//! Power cuts (promise.md 1, 4 to 6): a preloaded library records every write and sync of a server
//! under load; files are rebuilt as a cut at random moments could leave them, and audited.
//!
//! `STONECHAT_POWER_CUTS` sets the number of moments, `STONECHAT_POWER_SEED` repeats a run's
//! choices. `tests/power/shim.c` says how to record another run, of the kill audit for instance.

mod audit;
mod copies;
mod disk;
mod load;
mod record;

use crate::harness::client::Outcome;
use disk::{Before, Dice, Disk, Syncs};
use load::{Notes, Told};
use record::{Record, Shim, What};
use std::process::Command;

/// The data folder below the one that is followed; neither of its parts is there at first.
const DATA: &str = "var/data";

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut() -> Outcome<()> {
    let Some(shim) = Shim::build() else { return Ok(()) };
    let folder = tempfile::tempdir().unwrap();
    let (root, path) = (folder.path().join("disk"), folder.path().join("record"));
    std::fs::create_dir(&root).unwrap();
    let follow = |command: &mut Command| shim.follow(command, &root, &path);
    let notes = Box::pin(load::run(&root.join(DATA), &path, MESSAGES, follow)).await?;
    let record = Record::read(&path);
    // Nothing escaped the shim: without a cut the files are rebuilt to the byte.
    let mut whole = Disk::new(&record, Syncs::Kept);
    whole.go_to(record.events.len() - 1);
    compare(&whole, Before::of(&root));
    figures(&record, &notes);

    let mut dice = dice();
    let count = number("STONECHAT_POWER_CUTS").unwrap_or(CUTS);
    let mut disk = Disk::new(&record, Syncs::Kept);
    let cuts = moments(&record, &notes, count, &mut dice);
    for (n, cut) in cuts.iter().enumerate() {
        disk.go_to(*cut);
        let at = record.events[*cut].end;
        let wrong = files(&disk, &mut dice, &notes, at).await;
        assert!(wrong.is_empty(), "{}{wrong:#?}", place(&record, *cut));
        if at >= notes.ready() && n % count.div_ceil(SERVERS) == 0 {
            let left = tempfile::tempdir().unwrap();
            disk.leave(&mut dice, left.path());
            let wrong = audit::server(&left.path().join(DATA), &notes, at).await?;
            assert!(wrong.is_empty(), "{}{wrong:#?}", place(&record, *cut));
        }
    }
    the_judge_finds_losses(&record, &notes, &mut dice).await;
    Ok(())
}

/// The same files, had no sync been asked for: the audit must be able to fail.
async fn the_judge_finds_losses(record: &Record, notes: &Notes, dice: &mut Dice) {
    let mut disk = Disk::new(record, Syncs::Ignored);
    let mut lost = 0;
    let cuts = moments(record, notes, 8, dice);
    for cut in &cuts {
        disk.go_to(*cut);
        let wrong = files(&disk, dice, notes, record.events[*cut].end).await;
        lost += usize::from(!wrong.is_empty());
    }
    println!("without syncs {lost} of {} cuts lose something", cuts.len());
    assert!(lost > 0, "the audit finds nothing wrong where nothing was synced");
}

async fn files(disk: &Disk<'_>, dice: &mut Dice, notes: &Notes, at: u64) -> Vec<String> {
    let left = tempfile::tempdir().unwrap();
    disk.leave(dice, left.path());
    audit::files(&left.path().join(DATA), notes, at).await
}

/// A third anywhere, a third right behind an acknowledgement, a third right before a sync.
fn moments(record: &Record, notes: &Notes, count: usize, dice: &mut Dice) -> Vec<usize> {
    let last = record.events.len() - 1;
    let syncs: Vec<usize> =
        (1..=last).filter(|at| record.events[*at].what.is_sync()).map(|at| at - 1).collect();
    let mut cuts: Vec<usize> = (0..count)
        .map(|n| match n % 3 {
            0 => dice.below(last + 1),
            1 => {
                let (told, _) = notes.told[dice.below(notes.told.len())];
                record.events.partition_point(|event| event.end < told).min(last)
            }
            _ => syncs[dice.below(syncs.len())],
        })
        .collect();
    cuts.sort_unstable();
    cuts
}

fn place(record: &Record, cut: usize) -> String {
    let around = &record.events[cut.saturating_sub(3)..(cut + 3).min(record.events.len())];
    format!("cut behind event {cut} of {}, with {around:#?} around it: ", record.events.len())
}

fn compare(disk: &Disk<'_>, there: Before) {
    let (mut rebuilt, there) = (disk.all(), there.contents());
    for (name, content) in there {
        assert!(rebuilt.remove(&name) == Some(content), "{name} is not as it was recorded");
    }
    assert!(rebuilt.is_empty(), "recorded, and not there: {:?}", rebuilt.keys());
}

fn figures(record: &Record, notes: &Notes) {
    let messages = notes
        .told
        .iter()
        .filter(|(at, told)| matches!(told, Told::Message(_)) && *at <= notes.stopped)
        .count();
    let (first, last) = (notes.ready(), notes.stopped);
    let (syncs, events) = (record.syncs(first, last), record.events.len());
    let each = syncs as f64 / messages as f64;
    let bytes = record.bytes.len() / 1_048_576;
    println!("{} messages acknowledged, {syncs} syncs: {each:.2} each", messages);
    let (written, begun) = checkpoints(record, notes);
    println!("{events} effects, {bytes} MiB recorded; {written} pages copied into the database");
    // Depends on a pause at the right moment, so on the machine.
    println!("the log began anew {begun} times");
    assert!(written > 0, "no checkpoint under load");
}

/// Writes to the database under load; and in the second run, how often the log's head was written
/// without a new file.
fn checkpoints(record: &Record, notes: &Notes) -> (usize, usize) {
    let (mut database, mut log, mut written, mut begun) = (None, None, 0, 0_usize);
    for event in &record.events {
        match &event.what {
            What::Create { inode, name } if name.ends_with(".db") => database = Some(*inode),
            What::Create { inode, name } if name.ends_with(".db-wal") => {
                (log, begun) = (Some(*inode), 0);
            }
            What::Write { inode, .. } if Some(*inode) == database => {
                written += usize::from(event.end > notes.ready() && event.end < notes.stopped);
            }
            What::Write { inode, offset: 0, .. } if Some(*inode) == log => begun += 1,
            _ => {}
        }
    }
    (written, begun.saturating_sub(1))
}

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn dice() -> Dice {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let seed = number("STONECHAT_POWER_SEED").map_or(random >> 16, |seed| seed as u64);
    println!("STONECHAT_POWER_SEED={seed}");
    Dice(seed)
}

const MESSAGES: usize = 280;
const CUTS: usize = 40;
const SERVERS: usize = 6;
