//! The operator's verbs over what accounts uploaded (XEP-0363). A file that is deleted cannot be fetched any more when
//! the verb is done; the running server deletes its bytes soon after, or the next start.

use super::accounts::{self, AdminError};
use super::told::{UploadLine, UploadList, UploadOwner, UploadOwners, UploadsDeleted};
use super::{Outcome, UploadVerb};
use crate::base::id::is_random;
use crate::base::time::{from_micros, micros, parse, stamp};
use crate::stanza::files;
use crate::store::Store;
use crate::store::accounts as stored;
use crate::store::ids::AccountId;
use crate::store::uploads::{self, Listed, Sum};

/// Carries out one.
pub async fn run(store: &Store, verb: UploadVerb) -> Result<Outcome, AdminError> {
    match verb {
        UploadVerb::Owners { max } => owners(store, max).await,
        UploadVerb::List { jid, before, max } => list(store, &jid, before, max).await,
        UploadVerb::Delete { files } => delete(store, &files).await,
        UploadVerb::DeleteAll { jid } => delete_all(store, &jid).await,
    }
}

async fn owners(store: &Store, max: usize) -> Result<Outcome, AdminError> {
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
    let owner = |(jid, own): (String, Sum)| UploadOwner { jid, files: own.files, bytes: own.bytes };
    Ok(UploadOwners {
        owners: named.await?.into_iter().map(owner).collect(),
        accounts: count,
        files: total.files,
        bytes: total.bytes,
    }
    .into())
}

async fn list(
    store: &Store,
    jid: &str,
    before: Option<String>,
    max: usize,
) -> Result<Outcome, AdminError> {
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
    let next = files.last().filter(|_| more);
    let next = next.map(|last| stamp(from_micros(last.made.saturating_add(999))));
    Ok(UploadList { files: files.into_iter().map(line).collect(), next }.into())
}

fn line(file: Listed) -> UploadLine {
    let Listed { id, kind, name, size, made, expires } = file;
    UploadLine {
        id,
        made: stamp(from_micros(made)),
        size,
        kind: kind.as_str().to_owned(),
        until: Some(expires).filter(|end| *end != i64::MAX).map(|end| stamp(from_micros(end))),
        name,
    }
}

async fn delete(store: &Store, files: &[String]) -> Result<Outcome, AdminError> {
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
    let files = wanted.saturating_sub(missing.len());
    if files == 0 {
        return Err(AdminError::NoFile(missing.join(", ")));
    }
    let files = i64::try_from(files).unwrap_or(i64::MAX);
    Ok(UploadsDeleted { jid: None, files, bytes: None, missing }.into())
}

/// Of a link `…/upload/ID/NAME`, or the id itself.
fn id_of(text: &str) -> Option<String> {
    let text = text.trim();
    let id = files::id_of(text).or_else(|| is_random(text).then_some(text))?;
    Some(id.to_owned())
}

async fn delete_all(store: &Store, jid: &str) -> Result<Outcome, AdminError> {
    let jid = accounts::parse(jid)?;
    let account = accounts::find(store, &jid).await?.id;
    let deleted = store.write(move |tx| {
        let sum = uploads::sum(tx, account)?;
        uploads::bury_all(tx, account).map(|_| sum)
    });
    let sum = deleted.await?;
    let Sum { files, bytes } = sum;
    let (jid, missing) = (Some(jid.to_string()), Vec::new());
    Ok(UploadsDeleted { jid, files, bytes: Some(bytes), missing }.into())
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
