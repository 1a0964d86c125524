//! What is remembered of orders over restarts: when the next may begin, and why the last one failed.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

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
    fn a_share_is_less_than_one() {
        for (roll, low, high) in [(0, 0.0, 0.0), (u32::MAX, 0.99, 0.999_999_999_9)] {
            let share = Memory { roll, ..Memory::default() }.share();
            assert!((low..=high).contains(&share), "{share}");
        }
    }
}
