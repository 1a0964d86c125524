//! What is remembered of orders over restarts: when the next may begin, and why the last one failed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::base::id::Rng;
use crate::net::local_ca::write_private;
use crate::net::tls::TlsError;

/// Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// When the last order began.
    pub tried: Option<u64>,
    /// When the last one succeeded.
    pub ordered: Option<u64>,
    /// How many have failed since.
    pub failures: u32,
    /// When the last one failed, if none has succeeded since.
    pub failed: Option<u64>,
    /// What was wrong then, and what to do.
    pub failure: Option<String>,
    /// The authority wants to be left alone until then.
    pub not_before: Option<u64>,
    /// When the authority wants the certificate to be renewed.
    pub window: Option<(u64, u64)>,
    /// When it is asked for that again.
    pub window_due: Option<u64>,
    /// Names that the authority refused, and which are not in the certificate.
    pub left_out: Vec<String>,
    /// Records that were set in the DNS and not removed yet: name and value.
    pub records: Vec<(String, String)>,
    /// Chooses a moment within what is allowed.
    pub roll: u32,
}

impl Memory {
    /// What an earlier run left; nothing of it if it cannot be read: then orders begin as at the first start.
    pub fn read(folder: &Path) -> Self {
        let mut text = String::new();
        let read = File::open(folder.join(FILE))
            .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
        match read
            .map_err(|error| error.to_string())
            .and_then(|_| serde_json::from_str(&text).map_err(|error| error.to_string()))
        {
            Ok(memory) => memory,
            Err(error) => {
                tracing::debug!(%error, "nothing is remembered of orders of certificates");
                Self::default()
            }
        }
    }

    /// Keeps it.
    pub(super) fn write(&self, folder: &Path) -> Result<(), TlsError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_private(&folder.join(FILE), &text)
    }

    /// A moment of the next certificate's life.
    pub(super) fn roll(&mut self, rng: &mut dyn Rng) {
        let mut bits = [0; 4];
        rng.fill(&mut bits);
        self.roll = u32::from_be_bytes(bits);
    }

    /// The share of one that was rolled.
    pub(super) fn share(&self) -> f64 {
        f64::from(self.roll) / (f64::from(u32::MAX) + 1.0)
    }
}

/// The memory, and the file that has it.
pub(super) struct Notes {
    folder: PathBuf,
    memory: Mutex<Memory>,
}

impl Notes {
    /// What an earlier run left in the folder.
    pub(super) fn open(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), memory: Mutex::new(Memory::read(folder)) }
    }

    /// What is remembered now.
    pub(super) fn look(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it. If the file cannot be written, this process remembers nevertheless.
    pub(super) fn change(&self, change: impl FnOnce(&mut Memory)) -> Result<(), Failure> {
        let mut memory = self.look();
        change(&mut memory);
        memory.write(&self.folder).map_err(|error| {
            let what = format!("what came of orders of certificates cannot be kept: {error}");
            Failure::of(what, "make room, and let the server write into its data folder")
        })
    }

    /// Remembers a record before it is set.
    pub(super) fn record(&self, name: &str, value: &str) -> Result<(), Failure> {
        self.change(|memory| {
            let more = memory.records.len().saturating_add(1).saturating_sub(RECORDS_MAX);
            memory.records.drain(..more);
            memory.records.push((name.to_owned(), value.to_owned()));
        })
    }

    /// Forgets one that is removed.
    pub(super) fn forget(&self, name: &str, value: &str) {
        let done = self.change(|memory| memory.records.retain(|(n, v)| n != name || v != value));
        if let Err(failure) = done {
            tracing::warn!("{failure}");
        }
    }
}

/// A time as it is remembered.
pub(super) fn secs(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The reverse of [`secs`]; none for what no clock can show.
pub(super) fn time(secs: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(secs))
}

const FILE: &str = "state.json";
const BYTES_MAX: u64 = 1_048_576;
/// An order has a record for each of its names; authorities take a hundred names.
const RECORDS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_read_again_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Memory::read(folder.path()), Memory::default());
        let memory = Memory { failures: 3, failure: Some("why".to_owned()), ..Memory::default() };
        memory.write(folder.path()).unwrap();
        assert_eq!(Memory::read(folder.path()), memory);
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(folder.path().join(FILE), "{\"tried\": \"x").unwrap();
        assert_eq!(Memory::read(folder.path()), Memory::default());
    }

    #[test]
    fn records_outlive_the_process_and_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::open(folder.path());
        for number in 0..RECORDS_MAX + 3 {
            // Each is written to disk: the bound needs not that.
            notes.look().records.push((format!("n{number}"), "v".to_owned()));
        }
        notes.record("last", "v").unwrap();
        let again = Notes::open(folder.path());
        assert_eq!(again.look().records.len(), RECORDS_MAX);
        again.forget("last", "other");
        assert_eq!(again.look().records.last(), Some(&("last".to_owned(), "v".to_owned())));
        again.forget("last", "v");
        assert_eq!(Memory::read(folder.path()).records.len(), RECORDS_MAX - 1);
    }

    #[test]
    fn what_cannot_be_kept_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::open(&folder.path().join("none"));
        let told = notes.change(|memory| memory.failures = 1).unwrap_err().to_string();
        assert!(told.contains("state.json") && told.contains("make room"), "{told}");
        assert_eq!(notes.look().failures, 1);
    }

    #[test]
    fn a_share_is_less_than_one() {
        for (roll, low, high) in [(0, 0.0, 0.0), (u32::MAX, 0.99, 0.999_999_999_9)] {
            let share = Memory { roll, ..Memory::default() }.share();
            assert!((low..=high).contains(&share), "{share}");
        }
    }
}
