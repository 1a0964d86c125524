//! What people reported of whom they blocked (XEP-0377), for the operator.

use std::time::SystemTime;

use super::Outcome;
use super::accounts::AdminError;
use super::told::{MessageLine, ReportLine, ReportList, ReportShown};
use crate::base::time::{from_micros, micros, stamp};
use crate::store::Store;
use crate::store::reports::{self, Report};

/// The reports, the newest first.
pub async fn list(store: &Store, all: bool) -> Result<Outcome, AdminError> {
    let found = store.read(move |tx| reports::list(tx, all, LIST_MAX)).await?;
    Ok(ReportList { reports: found.iter().map(line).collect() }.into())
}

/// All that one report says.
pub async fn show(store: &Store, id: i64) -> Result<Outcome, AdminError> {
    let found = store.read(move |tx| reports::find(tx, id)).await?;
    let found = found.ok_or(AdminError::UnknownReport(id))?;
    let messages = found.report.messages.iter();
    let messages =
        messages.map(|(archive, id)| MessageLine { archive: archive.clone(), id: id.clone() });
    Ok(ReportShown {
        report: line(&found),
        said: found.report.said.clone(),
        to_origin: found.report.consent.origin,
        to_others: found.report.consent.others,
        messages: messages.collect(),
    }
    .into())
}

/// The operator is done with a report.
#[allow(clippy::disallowed_methods)] // the wall clock, for the operator's own commands
pub async fn done(store: &Store, id: i64) -> Result<Outcome, AdminError> {
    let now = micros(SystemTime::now());
    match store.write(move |tx| reports::done(tx, id, now)).await? {
        true => Ok(Outcome::done(format!("report {id} is done with"))),
        false => Err(AdminError::UnknownReport(id)),
    }
}

fn line(found: &Report) -> ReportLine {
    let Report { id, by, report, count, done } = found;
    let at = |micros| stamp(from_micros(micros));
    ReportLine {
        id: *id,
        at: at(report.at),
        jid: report.jid.clone(),
        reason: report.reason.rsplit(':').next().unwrap_or_default().to_owned(),
        messages: *count,
        by: by.clone(),
        done: done.map(at),
    }
}

/// Reports that are listed at once: what was done with makes room for older ones.
const LIST_MAX: usize = 1_000;
