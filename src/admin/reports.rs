//! What people reported of whom they blocked (XEP-0377), for the operator.

use std::time::SystemTime;

use super::accounts::AdminError;
use crate::base::time::{from_micros, micros, stamp};
use crate::store::Store;
use crate::store::reports::{self, Report};

/// The reports, the newest first: a line for each.
pub async fn list(store: &Store, all: bool) -> Result<Vec<String>, AdminError> {
    let found = store.read(move |tx| reports::list(tx, all, LIST_MAX)).await?;
    Ok(found.iter().map(line).collect())
}

/// All that one report says.
pub async fn show(store: &Store, id: i64) -> Result<Vec<String>, AdminError> {
    let found = store.read(move |tx| reports::find(tx, id)).await?;
    let found = found.ok_or(AdminError::UnknownReport(id))?;
    let mut lines = vec![line(&found)];
    let said = &found.report.said;
    lines.push(format!("said: {}", if said.is_empty() { "nothing" } else { said }));
    let consent = match (found.report.consent.origin, found.report.consent.others) {
        (false, false) => "nobody",
        (true, false) => "the server of who is reported",
        (false, true) => "others who gather such reports",
        (true, true) => "the server of who is reported, others who gather such reports",
    };
    lines.push(format!("may be passed on to: {consent}"));
    let messages = found.report.messages.iter();
    lines.extend(messages.map(|(owner, id)| format!("message: {id} in the archive of {owner}")));
    Ok(lines)
}

/// The operator is done with a report.
#[allow(clippy::disallowed_methods)] // the wall clock, for the operator's own commands
pub async fn done(store: &Store, id: i64) -> Result<String, AdminError> {
    let now = micros(SystemTime::now());
    match store.write(move |tx| reports::done(tx, id, now)).await? {
        true => Ok(format!("report {id} is done with")),
        false => Err(AdminError::UnknownReport(id)),
    }
}

/// `7  2026-01-02T03:04:05Z  spam@x  spam, 2 messages, by me@y`
fn line(found: &Report) -> String {
    let Report { id, by, report, count, done } = found;
    let reason = report.reason.rsplit(':').next().unwrap_or_default();
    let messages = match count {
        0 => String::new(),
        1 => ", 1 message".to_owned(),
        count => format!(", {count} messages"),
    };
    let done = done.map(|at| format!("; done {}", stamp(from_micros(at))));
    format!(
        "{id}  {}  {}  {reason}{messages}, by {by}{}",
        stamp(from_micros(report.at)),
        report.jid,
        done.unwrap_or_default()
    )
}

/// Reports that are listed at once: what was done with makes room for older ones.
const LIST_MAX: usize = 1_000;
