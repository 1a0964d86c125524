//! Strangers who wait: the account is told of them, and lets them in or not.

use std::borrow::Cow;

use super::super::api::{Answers, Cause, Cx, Note, PeriodicJob, StageOutcome};
use super::held::{self, Waiting};
use super::policy::{Own, put_let_in};
use crate::base::time::{from_micros, micros, stamp};
use crate::jid::BareJid;
use crate::router::registry::AccountEntry;
use crate::router::{Origin, Routed};
use crate::stanza::delay::delay;
use crate::stanza::form::{self, Written};
use crate::stanza::{Stanza, StanzaError};
use crate::store::StoreError;
use crate::store::accounts;
use crate::store::ids::AccountId;
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The command: one form, one answer.
pub(super) async fn decide(cx: Cx, stages: Vec<Answers>) -> Result<StageOutcome, StanzaError> {
    let account = cx.account()?;
    let waiting = cx.store.read(move |tx| held::waiting(tx, account)).await?;
    let Some(answers) = stages.first() else { return Ok(form(&waiting)) };
    let wanted = answers.get(WHO).to_vec();
    let known = |jid: &String| waiting.iter().any(|one| one.jid == *jid);
    let lets_in = match answers.get(WHAT) {
        [what] if what == LET_IN => Some(true),
        [what] if what == FORGET => Some(false),
        _ => None,
    };
    let Some(lets_in) = lets_in.filter(|_| !wanted.is_empty() && wanted.iter().all(known)) else {
        let unknown = StanzaError::bad_request().text("choose among those of the form");
        return Err(unknown.application(ns::COMMANDS, "bad-payload"));
    };
    let work = cx.clone();
    cx.finish("strangers", async move {
        for jid in wanted {
            match lets_in {
                true => let_in(&work, account, jid).await?,
                false => forget(&work, account, jid, i64::MAX).await?,
            }
        }
        Ok(StageOutcome::done(Note::info(match lets_in {
            true => "Their messages are on their way, and further ones come.",
            false => "Their messages are deleted.",
        })))
    })
    .await
}

fn form(waiting: &[Waiting]) -> StageOutcome {
    if waiting.is_empty() {
        return StageOutcome::done(Note::info("Nobody waits."));
    }
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Form, "Strangers who wait");
    let label = |one: &Waiting| {
        let since = stamp(from_micros(one.since));
        format!("{} ({}, since {since})", one.jid, messages(one.count))
    };
    let options: Vec<_> = waiting.iter().map(|one| (label(one), one.jid.clone())).collect();
    form::choice(&mut xml, "list-multi", WHO, "Strangers", &options);
    let options = [("Let them in", LET_IN), ("Delete their messages", FORGET)];
    let options = options.map(|(label, value)| (label.to_owned(), value.to_owned()));
    form::choice(&mut xml, "list-single", WHAT, "What is to be done", &options);
    xml.end();
    StageOutcome::Ask { form: xml.finish().into(), last: true }
}

fn messages(count: i64) -> Cow<'static, str> {
    if count == 1 { "1 message".into() } else { format!("{count} messages").into() }
}

/// First the door, then what waited at it, then the rows: a crash in between sends something again and loses
/// nothing. What finds no room waits on: it was taken from its sender.
async fn let_in(cx: &Cx, account: AccountId, jid: String) -> Result<(), StanzaError> {
    let takes = |account: &mut AccountEntry| Own::of(account).is_none_or(|own| own.takes(&jid));
    if cx.own(takes) == Some(false) {
        let error = StanzaError::resource_constraint();
        return Err(error.text("too many are let in: add this one to your contacts instead"));
    }
    let (row, entry) = (jid.clone(), jid.clone());
    let write = move |tx: &mut dyn Tx| put_let_in(tx, account, &row);
    let apply = move |account: &mut AccountEntry| {
        Own::change(account, |own| {
            own.let_in(&entry);
        });
    };
    cx.router.change(cx.bare(), write, apply).await?;
    let of = jid.clone();
    let rows = cx.store.read(move |tx| held::of_one(tx, account, &of)).await?;
    let (mut last, mut passed) = (i64::MIN, Ok(()));
    for (seq, at, stanza) in rows {
        passed = pass(cx, at, stanza).await;
        if passed.is_err() {
            break;
        }
        last = last.max(seq);
    }
    forget(cx, account, jid, last).await?;
    passed
}

/// Delivers one message with its time; one that is damaged is left out.
async fn pass(cx: &Cx, at: i64, stanza: Vec<u8>) -> Result<(), StanzaError> {
    let Some(stanza) = Stanza::ours(stanza.into()) else { return Ok(()) };
    let delayed = stanza.frame_with(&delay(cx.jid().domain(), from_micros(at)));
    let Some(stanza) = Stanza::ours(delayed.to_vec().into()) else { return Ok(()) };
    let driven = cx.drive(&stanza, None, None, None).await;
    for made in &driven.made {
        cx.send(made).await;
    }
    match driven.routed {
        Routed::Bounce(error) => Err(error),
        _ => Ok(()),
    }
}

async fn forget(cx: &Cx, account: AccountId, jid: String, last: i64) -> Result<(), StanzaError> {
    Ok(cx.store.write(move |tx| held::forget(tx, account, &jid, last)).await?)
}

/// Tells accounts who waits, once for each that comes, and deletes what waited too long.
pub(super) async fn look(job: PeriodicJob) {
    if job.cause != Cause::Due {
        return;
    }
    match looked(&job).await {
        Ok(()) | Err(StoreError::Closed) => {}
        Err(error) => {
            tracing::warn!(%error, "messages of strangers could not be looked at; tried again later");
        }
    }
}

async fn looked(job: &PeriodicJob) -> Result<(), StoreError> {
    let days = i64::from(job.config.strangers.hold_days);
    let before = micros(job.now).saturating_sub(days * DAY);
    while job.store.write(move |tx| held::forget_before(tx, before, BATCH)).await? == BATCH {}
    while let Some(account) = job.store.read(held::untold).await? {
        let seen = job
            .store
            .read(move |tx| Ok((accounts::name(tx, account)?, held::waiting(tx, account)?)));
        let (name, waiting) = seen.await?;
        if let Some(Some((local, host))) = name
            && let Ok(bare) = BareJid::from_parts(Some(&local), &host)
        {
            tell(job, &bare, &waiting).await?;
        }
        job.store.write(move |tx| held::told(tx, account)).await?;
    }
    Ok(())
}

/// A message as any other, from the server, which waits for who is away.
async fn tell(job: &PeriodicJob, bare: &BareJid, waiting: &[Waiting]) -> Result<(), StoreError> {
    let who =
        waiting.iter().take(NAMED).map(|one| format!("{} ({})", one.jid, messages(one.count)));
    let who = who.collect::<Vec<_>>().join(", ");
    let more = match waiting.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let body = format!(
        "People who are not among your contacts have written to you: {who}{more}. Their messages wait. \
         To read them, use the command \"Strangers who wait\" of your account, or add who you know to your \
         contacts and ask them to write again. What waits for {} days is deleted.",
        job.config.strangers.hold_days
    );
    let mut xml = Xml::new();
    xml.start("message").attr("from", bare.domain()).attr("to", bare.as_str());
    xml.attr("xml:lang", "en").start("body").text(&body).end().end();
    let Some(stanza) = Stanza::ours(xml.finish()) else { return Ok(()) };
    let mut origin = Origin::server();
    if let Routed::Load(bare) = job.router.route(&stanza, job.now, &mut origin) {
        job.router.load(&bare).await?;
        job.router.route(&stanza, job.now, &mut origin);
    }
    Ok(())
}

const WHO: &str = "strangers";
const WHAT: &str = "what";
const LET_IN: &str = "let-in";
const FORGET: &str = "delete";
/// Of those who wait, in the message that tells of them.
const NAMED: usize = 10;
/// A day in microseconds.
const DAY: i64 = 86_400_000_000;
/// Rows that are deleted in one transaction.
const BATCH: usize = 500;
