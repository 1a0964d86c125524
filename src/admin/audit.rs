//! The audit log: who did what, when, from where, and what came of it. It is written when a verb is done, whatever came
//! of it, and a verb that is refused stands there, too; what only looks is not written down.

use std::time::SystemTime;

use super::accounts::AdminError;
use super::told::{ActLine, AuditList};
use super::{Actor, AuditQuery, Outcome, Request};
use crate::base::time::{from_micros, micros, stamp};
use crate::store::audit::{self, Act};
use crate::store::{Store, api_tokens};

/// What is to be written of a request, taken before it is carried out.
pub(super) struct Entry {
    act: Act,
    /// For the log: `made an account`.
    what: Option<&'static str>,
    /// For the log: the team, and whom or what else it is about.
    team: Option<String>,
    on: Option<String>,
}

impl Entry {
    pub(super) fn of(by: &Actor, request: &Request) -> Self {
        let act = Act {
            actor: by.name.clone(),
            via: by.via.as_str().to_owned(),
            address: by.via.address().map(|ip| ip.to_string()),
            verb: request.name().to_owned(),
            target: request.target().map(|target| shortened(&target)),
            ..Act::default()
        };
        let (team, on) = match request {
            Request::Team(verb) => verb.changes().map_or((None, None), |(_, team, on)| {
                (Some(team.to_owned()), on.map(str::to_owned))
            }),
            _ => (None, act.target.clone()),
        };
        Self { act, what: request.changes(), team, on }
    }

    /// Writes it down.
    pub(super) async fn came_of<T>(
        self,
        store: &Store,
        done: &Result<T, AdminError>,
        now: SystemTime,
    ) {
        let Self { act, what, team, on } = self;
        let refused = matches!(done, Err(AdminError::Above(..) | AdminError::Forbidden(..)));
        if what.is_none() && !refused {
            return;
        }
        let failure = done.as_ref().err().map(|error| shortened(&error.to_string()));
        let Act { actor: by, via, address, verb, .. } = &act;
        match (&failure, what) {
            (None, Some(what)) => tracing::info!(by, via, address, team, on, "an admin {what}"),
            (Some(_), _) if refused => {
                tracing::warn!(by, via, address, team, on, verb, "an admin was refused");
            }
            (Some(why), _) => {
                tracing::info!(by, via, address, team, on, verb, why, "an admin's verb failed")
            }
            (None, None) => {}
        }
        let act = Act { failure, at: micros(now), ..act };
        // What was done is done: that it cannot be written down is for the log.
        if let Err(error) = store.write(move |tx| audit::add(tx, &act)).await {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }
}

/// Lines of it, the newest first.
pub(super) async fn list(store: &Store, query: AuditQuery) -> Result<Outcome, AdminError> {
    let most = query.max.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
    let words = query.search.unwrap_or_default().to_lowercase();
    let (mut before, mut found) = (query.after.unwrap_or(i64::MAX), AuditList::default());
    loop {
        let acts = store.read(move |tx| audit::list(tx, before, BATCH)).await?;
        let Some(last) = acts.last() else { return Ok(found.into()) };
        before = last.id;
        for act in acts {
            let texts = [Some(&act.actor), Some(&act.verb), act.target.as_ref()];
            if !texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&words)) {
                continue;
            }
            if found.acts.len() >= most {
                found.next = found.acts.last().map(|act| act.id);
                return Ok(found.into());
            }
            found.acts.push(line(act));
        }
    }
}

fn line(act: Act) -> ActLine {
    let Act { id, at, actor, via, address, verb, target, failure } = act;
    ActLine { id, at: stamp(from_micros(at)), actor, via, address, verb, target, failure }
}

/// Forgets what is older than `days`, and tokens that ended before; 0 keeps all.
pub async fn forget(store: &Store, days: u32, now: SystemTime) -> Result<(), AdminError> {
    if days == 0 {
        return Ok(());
    }
    let at = micros(now).saturating_sub(i64::from(days).saturating_mul(86_400_000_000));
    let forget = store.write(move |tx| Ok((audit::forget(tx, at)?, api_tokens::forget(tx, at)?)));
    forget.await?;
    Ok(())
}

/// What others write has a bound.
fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Lines in one answer, and if nothing is said.
const LIST_MAX: usize = 1_000;
const LIST_DEFAULT: usize = 100;
/// Lines that are read at once.
const BATCH: usize = 500;
const TEXT_CHARS_MAX: usize = 500;
