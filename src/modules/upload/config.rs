//! `[modules.upload]`

use std::path::PathBuf;

use super::super::api::Create;
use crate::admin::Secret;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// Who may upload how much, and for how long it stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What stands in front of each hosted domain; empty: there is no such service.
    pub label: String,
    /// Where files are seen from outside, `https://files.example.org`; empty: where the web door is.
    #[serde(deserialize_with = "url")]
    pub url: String,
    /// Maximum size of a file in bytes.
    #[serde(deserialize_with = "size")]
    pub file_bytes_max: u64,
    /// Maximum size of a file for a profile.
    #[serde(deserialize_with = "size")]
    pub profile_bytes_max: u64,
    /// Media types that are taken, `image/png` or `image/*`; empty: all.
    pub types: Vec<String>,
    /// Bytes that an account may upload in a day, or ask for.
    pub bytes_per_day_max: u64,
    /// Files that an account may upload in a day, or ask for.
    pub files_per_day_max: u32,
    /// Bytes that are kept for an account; its oldest files make room.
    pub bytes_per_account_max: u64,
    /// Bytes that are kept in all; the oldest files make room.
    pub bytes_max: u64,
    /// Who may upload files that stay (§5.4).
    pub permanent: Create,
    /// Bytes of such files that are kept for an account. 0: there are none.
    pub permanent_bytes_per_account_max: u64,
    /// Bytes that uploads leave free on their disk.
    pub free_bytes_min: u64,
    /// Days that a file stays. 0: for ever.
    pub retention_days: u32,
    /// Days that a file for a profile stays. 0: for ever.
    pub profile_retention_days: u32,
    /// Seconds in which an upload has to begin.
    pub slot_seconds: u32,
    /// Where files are instead of the folder, if it has a name.
    pub bucket: BucketConfig,
    /// Where the files are.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            label: "upload".to_owned(),
            url: String::new(),
            file_bytes_max: 100 * MIB,
            profile_bytes_max: MIB,
            types: Vec::new(),
            bytes_per_day_max: 1024 * MIB,
            files_per_day_max: 1_000,
            bytes_per_account_max: 5 * 1024 * MIB,
            bytes_max: 20 * 1024 * MIB,
            permanent: Create::Accounts,
            permanent_bytes_per_account_max: 100 * MIB,
            free_bytes_min: 256 * MIB,
            retention_days: 90,
            profile_retention_days: 0,
            // §8
            slot_seconds: 300,
            bucket: BucketConfig::default(),
            folder: PathBuf::new(),
        }
    }
}

/// A bucket of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketConfig {
    /// Empty: there is none.
    pub name: String,
    /// Where the store answers; empty: Amazon's, of the region.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The folder in it; empty: none.
    pub folder: String,
    /// Who this server is to the store.
    pub key_id: String,
    /// The secret that goes with it.
    pub secret: Secret,
    /// A file that has the secret; empty: none.
    pub secret_file: PathBuf,
    /// Certificates that are trusted besides the system's; empty: none.
    pub ca_file: PathBuf,
    /// Bytes that uploads on their way may hold.
    #[serde(deserialize_with = "memory")]
    pub memory_bytes_max: u64,
}

impl Default for BucketConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            endpoint: String::new(),
            region: "us-east-1".to_owned(),
            folder: String::new(),
            key_id: String::new(),
            secret: Secret(String::new()),
            secret_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            memory_bytes_max: 128 * MIB,
        }
    }
}

const MIB: u64 = 1 << 20;

impl Config {
    /// Whether files of this type are taken.
    pub(super) fn takes(&self, media_type: Option<&str>) -> bool {
        if self.types.is_empty() {
            return true;
        }
        let Some(essence) = media_type.and_then(|media_type| media_type.split(';').next()) else {
            return false;
        };
        self.types.iter().any(|one| match one.strip_suffix('*') {
            Some(kind) => essence.get(..kind.len()).is_some_and(|of| of.eq_ignore_ascii_case(kind)),
            None => essence.trim_end().eq_ignore_ascii_case(one),
        })
    }
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(from)?;
    if size == 0 {
        return Err(D::Error::custom("no file is that small; `label = \"\"` turns uploads off"));
    }
    Ok(size)
}

fn memory<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let bytes = u64::deserialize(from)?;
    if bytes < 16 * MIB {
        return Err(D::Error::custom("a large file takes 10485760 of them; 16777216 is the least"));
    }
    Ok(bytes)
}

fn url<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let url = String::deserialize(from)?;
    let odd = url.chars().any(|c| c.is_whitespace() || c.is_control() || "?#<>\"".contains(c));
    if url.is_empty() || (url.starts_with("https://") && !odd) {
        return Ok(url);
    }
    Err(D::Error::custom("it is like https://files.example.org, or empty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        for (text, is_good) in [
            ("file_bytes_max = 1", true),
            ("file_bytes_max = 0", false),
            ("url = 'https://files.x'", true),
            ("url = 'http://files.x'", false),
            ("url = 'https://files.x/?a'", false),
        ] {
            assert_eq!(toml::from_str::<Config>(text).is_ok(), is_good, "{text}");
        }
    }

    #[test]
    fn types_may_be_whole_families() {
        let types = vec!["image/*".to_owned(), "text/plain".to_owned()];
        let config = Config { types, ..Config::default() };
        for (media_type, is_taken) in [
            (Some("image/png"), true),
            (Some("IMAGE/PNG"), true),
            (Some("text/plain; charset=utf-8"), true),
            (Some("text/html"), false),
            (Some("i"), false),
            (None, false),
        ] {
            assert_eq!(config.takes(media_type), is_taken, "{media_type:?}");
        }
        assert!(Config::default().takes(None));
    }
}
