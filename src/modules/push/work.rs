//! Notifies what is due: looks again whether it must be, sends it, and notes what came of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::super::Config;
use super::super::api::{Answer, Cx, PeriodicJob, Pipeline, Requester};
use super::queue::{self, Taken};
use super::registration::{self, Place, Summary};
use super::sender::{self, Notification, Outcome};
use crate::base::time::micros;
use crate::router::registry::AccountEntry;
use crate::store::tx::Tx;

/// Runs as long as the server does.
pub(super) fn work(job: PeriodicJob) -> Answer<()> {
    Box::pin(async move {
        let free = Arc::new(Semaphore::new(AT_ONCE));
        // Those that are being sent do not hold up the server's stop.
        let (_running, stop) = watch::channel(());
        loop {
            // The semaphore is never closed.
            let Ok(permit) = free.clone().acquire_owned().await else { return };
            let taken = job.server.shared().push.next().await;
            let mut stop = stop.clone();
            let turn = Turn::of(&job, &taken, permit);
            let cx = cx(&job, &taken);
            job.router.tasks.spawn("push", async move {
                tokio::select! {
                    () = notify(cx, taken, turn) => {}
                    _ = stop.changed() => {}
                }
            });
        }
    })
}

fn cx(job: &PeriodicJob, taken: &Taken) -> Cx {
    Cx {
        who: Requester::Entity(taken.home.bare().clone().into()),
        now: taken.since,
        config: job.config.clone(),
        store: job.store.clone(),
        router: job.router.clone(),
        server: job.server.clone(),
    }
}

/// A registration's turn; when it is over, however it ends, the registration may be queued again.
struct Turn {
    server: Arc<Pipeline>,
    id: i64,
    pause: Duration,
    urgent: Duration,
    again: bool,
    /// The domain of the push service that it is sent to.
    service: Option<String>,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    fn of(job: &PeriodicJob, taken: &Taken, permit: OwnedSemaphorePermit) -> Self {
        let pause = Duration::from_secs(job.config.push.interval_secs);
        let (server, urgent) = (job.server.clone(), pause.min(URGENT_PAUSE));
        let (again, service) = (false, None);
        Self { server, id: taken.id, pause, urgent, again, service, _permit: permit }
    }

    /// Nothing was sent; looked at again after this time.
    fn wait(&mut self, delay: Duration, again: bool) {
        (self.pause, self.urgent, self.again) = (delay, Duration::ZERO, again);
    }

    /// Tried again, later each time.
    fn back_off(&mut self, failures: u32) {
        let times = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.pause = FIRST_PAUSE.saturating_mul(times).min(LAST_PAUSE);
        (self.urgent, self.again) = (self.pause, true);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let queue = &self.server.shared().push;
        if let Some(service) = &self.service {
            queue.leave(queue::now(), service);
        }
        queue.done(queue::now(), self.id, self.pause, self.urgent, self.again);
    }
}

async fn notify(cx: Cx, taken: Taken, mut turn: Turn) {
    let queue = &cx.server.shared().push;
    let enter = |domain: &str| queue.enter(taken.id, domain);
    let look = |account: &mut AccountEntry| ready(account, taken.id, &cx.config, enter);
    let notification = match cx.router.own(&taken.home, look).flatten() {
        Some(Ready::Now(notification)) => notification,
        Some(Ready::In(delay)) => return turn.wait(delay, true),
        Some(Ready::Crowded) | None => return turn.wait(Duration::ZERO, false),
    };
    turn.service = Some(notification.target.jid.domain().to_owned());
    // Its device may be revoked, or forgotten.
    let id = taken.id;
    if let Ok(false) = cx.store.read(move |tx| registration::is_there(tx, id)).await {
        cx.router.own(&taken.home, |account| registration::drop_from(account, |one| one.id == id));
        return;
    }
    let outcome = sender::send(&cx, cx.jid(), &notification).await;
    queue.sent.count(&outcome);
    let failures = match &outcome {
        Outcome::Done => 0,
        // What this server had no room for says nothing of the push service.
        Outcome::Unsent => {
            untold(&cx, &taken);
            return turn.wait(FIRST_PAUSE, true);
        }
        Outcome::Failed(_) | Outcome::Refused(_) => untold(&cx, &taken).saturating_add(1),
    };
    let most = cx.config.push.failures_max;
    let (error, ends) = match outcome {
        Outcome::Done | Outcome::Unsent => (String::new(), false),
        Outcome::Failed(error) => (error, failures >= most),
        Outcome::Refused(error) => (error, true),
    };
    if failures > 0 && !ends {
        turn.back_off(failures);
    }
    let target = &notification.target;
    match (ends, failures) {
        (true, _) => tracing::warn!(
            account = %cx.jid(), service = %target.jid, error, failures,
            "push notifications to this service are disabled for the account, until its client enables them again"
        ),
        (false, 1..) => tracing::info!(
            account = %cx.jid(), service = %target.jid, error, failures,
            "a push notification failed; it is tried again"
        ),
        (false, 0) => {}
    }
    settle(&cx, &taken, failures, error, ends).await;
}

/// The device was not told; its errors before this one.
fn untold(cx: &Cx, taken: &Taken) -> u32 {
    let known = |account: &mut AccountEntry| {
        let one = registration::all_mut(account)?.get_mut(taken.id)?;
        one.waiting.untold(queue::now());
        Some(one.failures)
    };
    cx.router.own(&taken.home, known).flatten().unwrap_or(0)
}

/// What is to be done for a device.
enum Ready {
    /// It is told.
    Now(Notification),
    /// It is told later.
    In(Duration),
    /// Its push service has enough to do; it is looked at again when that has less.
    Crowded,
}

/// Nothing if the device is there, or knows all. `enter` asks for a place at the push service.
fn ready(
    account: &mut AccountEntry,
    id: i64,
    config: &Config,
    enter: impl FnOnce(&str) -> bool,
) -> Option<Ready> {
    let one = registration::all(account)?.0.iter().find(|one| one.id == id)?;
    let place = one.target.place(&account.resources);
    let unconfirmed = match place {
        Place::Quiet(session) => account.owed.held_by(session),
        Place::Away | Place::Asleep(_) | Place::Here => Vec::new(),
    };
    let one = registration::all_mut(account)?.get_mut(id)?;
    match place {
        Place::Here => one.waiting.clear(),
        Place::Quiet(_) => one.waiting.retain(|seq| unconfirmed.binary_search(&seq).is_ok()),
        Place::Away | Place::Asleep(_) => {}
    }
    let left = one.waiting.due()?.saturating_duration_since(queue::now());
    if !left.is_zero() {
        return Some(Ready::In(left));
    }
    if !enter(one.target.jid.domain()) {
        return Some(Ready::Crowded);
    }
    let count = one.waiting.count();
    one.waiting.told();
    let Summary { sender, body } = one.target.summary.allowed(&config.push);
    let last = one.waiting.last.as_ref();
    Some(Ready::Now(Notification {
        target: one.target.clone(),
        count,
        sender: last.filter(|_| sender).map(|last| last.sender.clone()),
        body: last.filter(|_| body).and_then(|last| last.body.clone()),
    }))
}

/// Notes what came of it, if that changes anything: §7.1.
async fn settle(cx: &Cx, taken: &Taken, failures: u32, error: String, ends: bool) {
    let id = taken.id;
    let before = |account: &mut AccountEntry| {
        registration::all_mut(account)?.get_mut(id).map(|one| one.failures)
    };
    if cx.router.own(&taken.home, before).flatten().is_none_or(|before| before == failures) {
        return;
    }
    let ended = ends.then(|| micros(cx.now));
    let write = move |tx: &mut dyn Tx| registration::note(tx, id, failures, &error, ended);
    let apply = move |account: &mut AccountEntry| match ends {
        true => registration::drop_from(account, |one| one.id == id),
        false => {
            let one = registration::all_mut(account).and_then(|all| all.get_mut(id));
            one.into_iter().for_each(|one| one.failures = failures);
        }
    };
    if let Err(error) = cx.router.change(taken.home.bare().clone(), write, apply).await {
        tracing::warn!(%error, "what came of a push notification could not be noted");
    }
}

/// How many are sent at a time; so many to one push service: see [`super::Queue`].
const AT_ONCE: usize = 256;
/// From one to the next for what cannot wait.
const URGENT_PAUSE: Duration = Duration::from_secs(1);
/// After the first error, twice as long after the next.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(3_600);
