//! The operator's verbs over what accounts uploaded (XEP-0363). A file that is deleted cannot be fetched any more when
//! the verb is done; the running server deletes its bytes soon after, or the next start.

use serde::{Deserialize, Serialize};

use super::accounts::{self, AdminError};
use crate::base::id::is_random;
use crate::base::size::readable;
use crate::base::time::{from_micros, micros, parse, stamp};
use crate::stanza::files;
use crate::store::Store;
use crate::store::accounts as stored;
use crate::store::ids::AccountId;
use crate::store::uploads::{self, Listed, Sum};

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum UploadVerb {
    /// Lists the accounts that have the most, and the total.
    Owners {
        /// How many accounts at most.
        max: usize,
    },
    /// Lists files of an account, the newest first.
    List {
        /// Its address.
        jid: String,
        /// Only those from before this time.
        before: Option<String>,
        /// How many at most.
        max: usize,
    },
    /// Deletes files, whosever they are.
    Delete {
        /// Their ids or links.
        files: Vec<String>,
    },
    /// Deletes all files of an account.
    DeleteAll {
        /// Its address.
        jid: String,
    },
}

impl UploadVerb {
    /// The account that it is about.
    pub fn about(&self) -> Option<&str> {
        match self {
            Self::Owners { .. } | Self::Delete { .. } => None,
            Self::List { jid, .. } | Self::DeleteAll { jid } => Some(jid),
        }
    }
}

/// Carries out one.
pub async fn run(store: &Store, verb: UploadVerb) -> Result<Vec<String>, AdminError> {
    match verb {
        UploadVerb::Owners { max } => owners(store, max).await,
        UploadVerb::List { jid, before, max } => list(store, &jid, before, max).await,
        UploadVerb::Delete { files } => delete(store, &files).await,
        UploadVerb::DeleteAll { jid } => delete_all(store, &jid).await.map(|line| vec![line]),
    }
}

async fn owners(store: &Store, max: usize) -> Result<Vec<String>, AdminError> {
    let (mut after, mut all) = (Some(AccountId(i64::MIN)), Vec::new());
    while let Some(from) = after {
        let (more, next) = store.read(move |tx| uploads::owners(tx, from, BATCH)).await?;
        all.extend(more);
        after = next;
    }
    let total = all.iter().fold(Sum::default(), |sum, (_, own)| Sum {
        files: sum.files.saturating_add(own.files),
        bytes: sum.bytes.saturating_add(own.bytes),
    });
    let count = all.len();
    all.sort_by_key(|(account, own)| (std::cmp::Reverse(own.bytes), *account));
    all.truncate(max.min(LIST_MAX));
    let named = store.read(move |tx| {
        let mut named = Vec::new();
        for (id, own) in &all {
            let name = stored::name(tx, *id)?.flatten();
            let name = name.map(|(local, host)| format!("{local}@{host}"));
            named.push((name.unwrap_or_else(|| format!("account {}", id.0)), *own));
        }
        Ok(named)
    });
    let named = named.await?;
    let line = |(name, own): &(String, Sum)| format!("{name}  {}", written(own));
    let sum = format!("in all: {} of {count} accounts", written(&total));
    Ok(named.iter().map(line).chain([sum]).collect())
}

fn written(sum: &Sum) -> String {
    let files = if sum.files == 1 { "file" } else { "files" };
    format!("{} {files}, {}", sum.files, readable(sum.bytes))
}

async fn list(
    store: &Store,
    jid: &str,
    before: Option<String>,
    max: usize,
) -> Result<Vec<String>, AdminError> {
    let account = accounts::find(store, &accounts::parse(jid)?).await?.id;
    let before = match before {
        None => i64::MAX,
        Some(text) => {
            let at = parse(&text).or_else(|| parse(&format!("{text}T00:00:00Z")));
            at.map(micros).ok_or(AdminError::Time(text))?
        }
    };
    let max = max.min(LIST_MAX);
    let mut files = store.read(move |tx| uploads::list(tx, account, before, max + 1)).await?;
    let more = files.len() > max;
    files.truncate(max);
    let rest = files.last().filter(|_| more).map(|last| {
        let next = stamp(from_micros(last.made.saturating_add(999)));
        format!("there are more: --before {next}")
    });
    Ok(files.iter().map(line).chain(rest).collect())
}

/// `ID  2026-01-02T03:04:05Z  1.5 MiB  message  holiday.jpg`
fn line(file: &Listed) -> String {
    let Listed { id, kind, name, size, made, expires } = file;
    let until = match *expires {
        i64::MAX => String::new(),
        end => format!(" until {}", stamp(from_micros(end))),
    };
    let (made, size) = (stamp(from_micros(*made)), readable(*size));
    format!("{id}  {made}  {size}  {}{until}  {name}", kind.as_str())
}

async fn delete(store: &Store, files: &[String]) -> Result<Vec<String>, AdminError> {
    let id = |text: &String| id_of(text).ok_or_else(|| AdminError::File(text.clone()));
    let ids = files.iter().map(id).collect::<Result<Vec<String>, _>>()?;
    let wanted = ids.len();
    let missing = store.write(move |tx| {
        let mut missing = Vec::new();
        for id in ids {
            if uploads::bury_some(tx, std::slice::from_ref(&id))? == 0 {
                missing.push(id);
            }
        }
        Ok(missing)
    });
    let missing = missing.await?;
    let told = match wanted.saturating_sub(missing.len()) {
        0 => return Err(AdminError::NoFile(missing.join(", "))),
        1 => "1 file is deleted".to_owned(),
        count => format!("{count} files are deleted"),
    };
    let line = |id| format!("no such file is there (any more): {id}");
    Ok([told].into_iter().chain(missing.into_iter().map(line)).collect())
}

/// Of a link `…/upload/ID/NAME`, or the id itself.
fn id_of(text: &str) -> Option<String> {
    let text = text.trim();
    let id = files::id_of(text).or_else(|| is_random(text).then_some(text))?;
    Some(id.to_owned())
}

async fn delete_all(store: &Store, jid: &str) -> Result<String, AdminError> {
    let jid = accounts::parse(jid)?;
    let account = accounts::find(store, &jid).await?.id;
    let deleted = store.write(move |tx| {
        let sum = uploads::sum(tx, account)?;
        uploads::bury_all(tx, account).map(|_| sum)
    });
    let sum = deleted.await?;
    Ok(format!("what {jid} uploaded is deleted: {}", written(&sum)))
}

/// Lines in one answer.
const LIST_MAX: usize = 1_000;
/// Accounts that are looked at in one read.
const BATCH: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_id_or_a_link() {
        let id = "AAAAAAAAAAAAAAAAAAAA_-";
        for (text, found) in [
            (id.to_owned(), true),
            (format!("https://x:5443/upload/{id}/a%20b.png"), true),
            (format!(" aesgcm://x/upload/{id}/a#key"), true),
            (format!("https://x/upload/upload/{id}/a"), true),
            (format!("https://x/{id}/a"), false),
            ("a.png".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(id_of(&text).as_deref(), found.then_some(id), "{text}");
        }
    }
}
