//! Keeps the certificate: orders it, remembers what came of that, and has it used.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use instant_acme::{Account, CertificateIdentifier};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::ORDER_TIME;
use super::client::Client;
use super::failure::Failure;
use super::files;
use super::memory::{Memory, Notes, secs, time};
use super::order::{self, Issued};
use super::plan::{self, Known, Validity};
use super::proofs::{Answers, Proofs, sweep};
use super::settings::Settings;
use crate::admin::told::{CertOrders, OrderFailure};
use crate::base::figures::Figures;
use crate::base::id::OsRng;
use crate::base::time::{is_plausible, stamp};
use crate::net::tls::{Tls, facts::Facts};

/// Looks after one certificate for all names.
pub struct Keeper {
    settings: Settings,
    answers: Answers,
    tls: Tls,
    notes: Notes,
    /// Somebody wants an order now.
    wanted: Mutex<bool>,
    wake: Notify,
    rounds: watch::Sender<Round>,
}

/// Where the orders are.
#[derive(Debug, Clone, Default)]
struct Round {
    begun: u64,
    done: u64,
    outcome: Option<Result<SystemTime, String>>,
}

/// What came of a wish for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// None is due before then.
    NotDue(SystemTime),
    /// A new certificate is in use, until then.
    Done(SystemTime),
    /// There is none; why, and what to do.
    Failed(String),
}

impl Keeper {
    /// One that remembers what an earlier run did.
    pub fn new(settings: Settings, tls: Tls) -> Self {
        let notes = Notes::open(&settings.folder);
        let (rounds, _) = watch::channel(Round::default());
        let answers = Answers::default();
        Self {
            settings,
            answers,
            tls,
            notes,
            wanted: Mutex::default(),
            wake: Notify::new(),
            rounds,
        }
    }

    /// What is answered on port 80.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Works until the server stops.
    pub async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        if let Err(failure) = files::prepare(&self.settings.folder) {
            tracing::error!("{failure}");
        }
        tokio::select! {
            () = self.keep() => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    async fn keep(&self) {
        self.swept().await;
        loop {
            let now = clock();
            let asked =
                std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
            let known = self.known();
            let next = plan::next_order(&known);
            // A board without a battery must not think that everything has expired.
            if asked || (is_plausible(now) && next <= now) {
                Box::pin(self.round()).await;
                continue;
            }
            let window = self.notes.look().window_due.and_then(time);
            if known.certificate.is_some() && window.is_none_or(|at| at <= now) {
                Box::pin(self.ask_window()).await;
                continue;
            }
            let next = window.map_or(next, |window| window.min(next));
            // The clock may be set, or the machine sleep.
            let wait = next.duration_since(now).unwrap_or_default().clamp(WAIT_MIN, WAIT_MAX);
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Has an order done at once if one is due, or in any case if `now`; waits for it. One that is under way counts.
    pub async fn renew(&self, now: bool) -> Ordered {
        let mut rounds = self.rounds.subscribe();
        let before = rounds.borrow().clone();
        if before.begun == before.done {
            let due = plan::due(&self.known());
            if !now && due > clock() {
                return Ordered::NotDue(due);
            }
            *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.wake.notify_one();
        }
        let done = rounds.wait_for(|round| round.done > before.done).await;
        match done.ok().and_then(|round| round.outcome.clone()) {
            Some(Ok(until)) => Ordered::Done(until),
            Some(Err(why)) => Ordered::Failed(why),
            None => Ordered::Failed("the server stops".to_owned()),
        }
    }

    /// One order, or some with ever fewer names.
    async fn round(&self) {
        self.rounds.send_modify(|round| round.begun += 1);
        let known = self.known();
        let began = clock();
        // What cannot be remembered would be ordered again after each restart, up to the authority's limits.
        let noted = files::prepare(&self.settings.folder)
            .and_then(|()| self.notes.change(|memory| memory.tried = Some(secs(began))));
        let outcome = match noted {
            Ok(()) => self.timed_order(&known).await,
            Err(failure) => Err(failure),
        };
        let outcome = outcome.map_err(|failure| match self.is_minor(&failure, &known) {
            true => {
                tracing::warn!("{failure}; the certificate in use stays, without these names");
                failure.to_string()
            }
            false => self.failed(&failure),
        });
        self.rounds.send_modify(|round| {
            round.done = round.begun;
            round.outcome = Some(outcome);
        });
    }

    async fn timed_order(&self, known: &Known) -> Result<SystemTime, Failure> {
        self.swept().await;
        match timeout(ORDER_TIME, self.some_order(known)).await {
            Ok(done) => done.and_then(|(issued, left_out)| self.take(&issued, left_out)),
            Err(_) => Err(Failure::of(
                format!(
                    "the authority did not get done within {} minutes",
                    ORDER_TIME.as_secs() / 60
                ),
                "it is tried again by itself; if that lasts, look at the authority's status page",
            )),
        }
    }

    /// Takes back what an earlier order, maybe of an earlier process, left in the DNS.
    async fn swept(&self) {
        if timeout(ORDER_TIME, Box::pin(sweep(&self.settings, &self.notes))).await.is_err() {
            tracing::warn!(
                "records of earlier orders are still in the DNS; they are removed later"
            );
        }
    }

    /// Orders for all names; if the authority refuses some without which the certificate is of use, and there is no
    /// better one, for the others.
    async fn some_order(&self, known: &Known) -> Result<(Issued, Vec<String>), Failure> {
        let client = Client::new(&self.settings)?;
        let done = Box::pin(self.orders(known, &client)).await;
        done.map_err(|failure| {
            let wait = client.heard().and_then(|wait| clock().checked_add(wait));
            Failure { not_before: wait.or(failure.not_before), ..failure }
        })
    }

    async fn orders(
        &self,
        known: &Known,
        client: &Client,
    ) -> Result<(Issued, Vec<String>), Failure> {
        let account = order::account(&self.settings, client).await?;
        let names = &self.settings.names;
        let mut wanted = names.all();
        for attempt in 0..ATTEMPTS_MAX {
            let failure = match Box::pin(self.one_order(&account, &wanted, known)).await {
                Ok(issued) => {
                    let left = names.all().into_iter().filter(|name| !wanted.contains(name));
                    return Ok((issued, left.collect()));
                }
                Err(failure) => failure,
            };
            if !self.spares(&failure) || !plan::may_shrink(known, clock()) {
                return Err(failure);
            }
            tracing::warn!(
                "{failure}; ordered without these names, which are tried again in a day"
            );
            let last = attempt + 2 == ATTEMPTS_MAX;
            wanted.retain(|name| match last {
                true => names.hosts.contains(name),
                false => !failure.names.contains(name),
            });
        }
        Err(Failure::of("the authority refuses one name after the other", ""))
    }

    /// Whether it is about names alone that the certificate in use is not for either.
    fn is_minor(&self, failure: &Failure, known: &Known) -> bool {
        self.spares(failure) && !known.complete && !plan::may_shrink(known, clock())
    }

    /// Whether the authority refused only names that are not needed.
    fn spares(&self, failure: &Failure) -> bool {
        let others = &self.settings.names.others;
        !failure.names.is_empty() && failure.names.iter().all(|name| others.contains(name))
    }

    async fn one_order(
        &self,
        account: &Account,
        names: &[String],
        known: &Known,
    ) -> Result<Issued, Failure> {
        let (challenge, now) = (self.settings.challenge, clock());
        // That an authority cannot say what it dislikes about it must not be the end of renewals.
        let replaces = self.replaced().filter(|_| known.failures < REPLACING_MAX);
        let least = plan::least_end(known, now);
        let mut proofs = Proofs::new(&self.settings, &self.answers, &self.tls, &self.notes);
        let work = order::obtain(account, names, replaces, challenge, &mut proofs, now, least);
        // Whatever comes of it, what was shown is taken back; that takes its own time.
        let done = timeout(ONE_ORDER_TIME, Box::pin(work)).await;
        proofs.clear().await;
        done.unwrap_or_else(|_| {
            Err(Failure::of(
                "the authority takes too long",
                "it is tried again by itself; if that lasts, look at the authority's status page",
            ))
        })
    }

    /// The certificate in the place of which another is ordered (RFC 9773 §5).
    fn replaced(&self) -> Option<CertificateIdentifier<'static>> {
        let (_, der) = files::kept(&self.settings.folder)?;
        let der = CertificateDer::from(der);
        CertificateIdentifier::try_from(&der).ok().map(CertificateIdentifier::into_owned)
    }

    /// Puts it in the place of the one before, and has it used.
    fn take(&self, issued: &Issued, left_out: Vec<String>) -> Result<SystemTime, Failure> {
        files::keep(&self.settings.folder, &issued.key, &issued.chain)?;
        let now = secs(clock());
        self.remember(|memory| {
            *memory = Memory {
                tried: memory.tried,
                ordered: Some(now),
                left_out: left_out.clone(),
                records: std::mem::take(&mut memory.records),
                ..Memory::default()
            };
            memory.roll(&mut OsRng);
        });
        self.tls.reload();
        let until = stamp(issued.until);
        tracing::info!(until, "a certificate of {} is in use", self.settings.directory);
        if !left_out.is_empty() {
            let names = left_out.join(", ");
            tracing::warn!(
                "it is not for {names}: other servers cannot reach these; see the line above"
            );
        }
        Ok(issued.until)
    }

    /// Says so, and remembers it; what an operator is to read.
    fn failed(&self, failure: &Failure) -> String {
        let told = failure.to_string();
        let now = secs(clock());
        self.remember(|memory| {
            memory.failures = memory.failures.saturating_add(1);
            memory.failed = Some(now);
            memory.failure = Some(told.clone());
            memory.not_before = failure.not_before.map(secs);
            memory.roll(&mut OsRng);
        });
        let known = self.known();
        let stays = match known.certificate {
            Some(one) => format!("the one in use stays, and is good until {}", stamp(one.until)),
            None => {
                "the one that the server made itself is in use, which few clients accept".to_owned()
            }
        };
        let next = stamp(plan::next_order(&known).max(clock()));
        tracing::error!("no new certificate: {told}. {stays}; the next try is at {next}");
        told
    }

    /// Asks when to renew (RFC 9773 §4). Nothing hangs on the answer.
    async fn ask_window(&self) {
        let asked = timeout(WINDOW_TIME, Box::pin(self.window())).await.ok().flatten();
        let again = plan::ask_again(asked.as_ref().map(|(_, again)| *again));
        let due = secs(clock() + again);
        self.remember(|memory| {
            memory.window_due = Some(due);
            if let Some((window, _)) = asked {
                memory.window = Some(window);
            }
        });
    }

    async fn window(&self) -> Option<((u64, u64), Duration)> {
        let replaced = self.replaced()?;
        let client = Client::new(&self.settings).ok()?;
        let account = order::account(&self.settings, &client).await.ok()?;
        let (info, again) = account.renewal_info(&replaced).await.ok()?;
        let secs_of = |at: time::OffsetDateTime| u64::try_from(at.unix_timestamp()).unwrap_or(0);
        let window = info.suggested_window;
        Some(((secs_of(window.start), secs_of(window.end)), again))
    }

    fn known(&self) -> Known {
        let kept = files::kept(&self.settings.folder).map(|(facts, _)| facts);
        let names = &self.settings.names;
        let all = |facts: &Facts, names: &[String]| names.iter().all(|name| facts.covers(name));
        let certificate = kept.as_ref().filter(|facts| all(facts, &names.hosts));
        let memory = self.notes.look();
        Known {
            certificate: certificate
                .map(|facts| Validity { from: facts.not_before, until: facts.not_after }),
            complete: kept.as_ref().is_some_and(|facts| all(facts, &names.others)),
            window: memory.window.and_then(|(start, end)| Some((time(start)?, time(end)?))),
            ordered: memory.ordered.and_then(time),
            tried: memory.tried.and_then(time),
            failures: memory.failures,
            not_before: memory.not_before.and_then(time),
            share: memory.share(),
        }
    }

    fn remember(&self, change: impl FnOnce(&mut Memory)) {
        if let Err(failure) = self.notes.change(change) {
            tracing::warn!("{failure}");
        }
    }

    /// How it stands.
    pub fn status(&self) -> CertOrders {
        let known = self.known();
        status(&self.settings.directory, &known, &self.notes.look())
    }

    /// How many orders failed in a row, and when the last one did.
    pub fn figures(&self) -> (u64, u64) {
        let memory = self.notes.look();
        (u64::from(memory.failures), memory.failed.unwrap_or(0))
    }
}

/// The figures of a keeper, or of a server without one.
pub fn figures(keeper: Option<&Keeper>, figures: &mut Figures) {
    let (failures, failed) = keeper.map(Keeper::figures).unwrap_or_default();
    figures
        .gauge(
            "stonechat_acme_failures",
            "Orders of a certificate by ACME that failed since the last one that did not.",
        )
        .is(failures);
    figures
        .gauge(
            "stonechat_acme_failed_seconds",
            "When the last order of a certificate by ACME failed, in seconds since 1970; 0 if none did since one succeeded.",
        )
        .is(failed);
}

fn status(directory: &str, known: &Known, memory: &Memory) -> CertOrders {
    let next = || stamp(plan::next_order(&Known { complete: true, ..*known }));
    let failure = memory.failure.as_ref().zip(memory.failed.and_then(time));
    CertOrders {
        directory: directory.to_owned(),
        until: known.certificate.map(|one| stamp(one.until)),
        renewed: known.certificate.map(|_| next()),
        refused: memory.left_out.clone(),
        failure: failure.map(|(why, at)| OrderFailure {
            at: stamp(at),
            failures: memory.failures,
            why: why.clone(),
            next_try: stamp(plan::next_order(known)),
        }),
    }
}

#[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
fn clock() -> SystemTime {
    SystemTime::now()
}

/// Without what was refused, then again, then with the hosts alone.
const ATTEMPTS_MAX: u32 = 4;
/// Of [`ORDER_TIME`].
const ONE_ORDER_TIME: Duration = Duration::from_secs(420);
/// After so many failures an order does not say what it replaces.
const REPLACING_MAX: u32 = 3;
const WINDOW_TIME: Duration = Duration::from_secs(60);
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(600);
