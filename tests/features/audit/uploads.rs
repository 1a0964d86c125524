//! Uploads (XEP-0363) in a run: a 201 is a promise like an acknowledgement. Whatever became of the server, the file is
//! there byte for byte, and of what was not whole nothing is left.

use super::ledger::Book;
use super::load::{Phase, Place};
use super::settings::Dice;
use crate::harness::client::{Client, Outcome, Security, Target};
use crate::harness::https::{get, put};
use crate::harness::process::PASSWORD;
use crate::upload::slot;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// A file whose upload was begun.
#[derive(Clone, Debug)]
struct File {
    /// Its address for GET.
    from: String,
    seed: u64,
    size: usize,
    /// It got its 201.
    told: bool,
}

impl File {
    /// Each file has bytes of its own.
    fn bytes(&self) -> Vec<u8> {
        let mut dice = Dice::new(self.seed);
        (0..self.size).map(|_| dice.below(256) as u8).collect()
    }

    /// Its name on disk.
    fn id(&self) -> &str {
        let rest = self.from.split_once("/upload/").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }
}

/// All that was begun in a run.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Vec<File>>>);

/// One account that uploads one file after the other.
pub struct Uploader {
    pub account: String,
    pub place: watch::Receiver<Place>,
    pub dice: Dice,
    pub shelf: Shelf,
    pub book: Arc<Book>,
}

impl Uploader {
    pub async fn live(mut self) {
        loop {
            let place = self.place.borrow_and_update().clone();
            if place.phase != Phase::Load {
                return;
            }
            if place.up {
                let outcome = self.attend(&place).await;
                let now = self.place.borrow().clone();
                if let Err(failure) = outcome
                    && now.up
                    && now.generation == place.generation
                {
                    self.book.fault(format!("an upload of {}: {}", self.account, failure.0));
                    return;
                }
                if now.generation != place.generation {
                    continue;
                }
            }
            if self.place.changed().await.is_err() {
                return;
            }
        }
    }

    /// Uploads as long as the server lives.
    async fn attend(&mut self, place: &Place) -> Outcome<()> {
        let user = self.account.split('@').next().unwrap_or_default();
        let security = Security::StartTls;
        let mut client = Client::login(&place.target, security, user, PASSWORD).await?;
        while self.place.borrow().phase == Phase::Load {
            self.upload(&mut client, &place.target).await?;
            // The pace of the load is a timer by purpose.
            tokio::time::sleep(Duration::from_millis(self.dice.below(60))).await;
        }
        client.close().await
    }

    async fn upload(&mut self, client: &mut Client, target: &Target) -> Outcome<()> {
        // Some are long on their way.
        let most = if self.dice.one_in(4) { 3_000_000 } else { 60_000 };
        let (seed, size) = (self.dice.below(1 << 40), 1 + self.dice.below(most) as usize);
        let (to, from) = slot(client, "file.bin", size).await?;
        let file = File { from, seed, size, told: false };
        let bytes = file.bytes();
        let number = {
            let mut shelf = self.shelf.0.lock().unwrap();
            shelf.push(file);
            shelf.len() - 1
        };
        let status = put(target, &to, &bytes).await?.status;
        if status != 201 {
            return client.fail(format!("status {status}"));
        }
        self.shelf.0.lock().unwrap()[number].told = true;
        Ok(())
    }
}

/// What the audit of uploads has found.
#[derive(Default)]
pub struct UploadVerdict {
    pub told: usize,
    /// Begun, and nobody was told what became of them; how many of these are there.
    pub untold: (usize, usize),
    pub wrong: Vec<String>,
}

impl Shelf {
    /// Fetches all, and looks at what is on the disk.
    pub async fn judge(&self, target: &Target, data: &Path) -> Outcome<UploadVerdict> {
        let all = self.0.lock().unwrap().clone();
        let mut verdict = UploadVerdict::default();
        let mut there = BTreeSet::new();
        for file in &all {
            let got = get(target, &file.from).await?;
            let is_whole = got.status == 200 && got.body == file.bytes();
            match file.told {
                true => verdict.told += 1,
                false => {
                    verdict.untold.0 += 1;
                    verdict.untold.1 += usize::from(is_whole);
                }
            }
            if is_whole {
                there.insert(file.id().to_owned());
            } else if file.told || got.status != 404 {
                let (id, told, size) = (file.id(), file.told, file.size);
                let (status, length) = (got.status, got.body.len());
                verdict.wrong.push(format!(
                    "{id} of {size} bytes, told {told}: status {status}, {length} bytes"
                ));
            }
        }
        let entries = std::fs::read_dir(data.join("uploads")).into_iter().flatten().flatten();
        let names: BTreeSet<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let stray = names.difference(&there).map(|name| format!("{name} is left on the disk"));
        verdict.wrong.extend(stray);
        Ok(verdict)
    }
}
