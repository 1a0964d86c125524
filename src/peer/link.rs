//! Looks after the queue of one pair of domains: opens streams for it, and gives up what waited too long.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::clock::{now, wall};
use super::connect::{self, Unreached};
use super::federation::Federation;
use super::former::Former;
use super::guests::Place;
use super::leaving::{self, lost};
use super::rows::{give_up, settle};
use super::sending::Sending;
use super::stream::{Ended, Managed, Resumption, Stream};
use super::waits::{back_off, before, its_moment, rested, spread};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::modules::api::{Cx, Requester};
use crate::router::peer_queue::PeerQueue;
use crate::stanza::{Condition, Frame, StanzaError};
use crate::store::peer_queue;
use crate::stream::s2s::Purpose;

/// Begins a task for each queue that needs one. Ends with the server.
pub async fn serve(federation: Arc<Federation>) {
    let router = federation.context.router.clone();
    let context = &federation.context;
    let (mut stopping, mut saving) = (context.stopping.clone(), context.saving.clone());
    // While the server stops, this waits for the others.
    let mut parked = None;
    loop {
        let queue = tokio::select! {
            queue = router.peers.unserved() => queue,
            _ = saving.wait_for(|saving| *saving) => return,
            _ = stopping.wait_for(|stopping| *stopping), if parked.is_none() => {
                parked = Some(router.tasks.park());
                continue;
            }
        };
        let former = federation.take_former(&queue.pair);
        let link = Link {
            federation: federation.clone(),
            queue,
            begun: micros(wall()) - A_MOMENT,
            met: false,
            tries: 0,
            short: 0,
            former,
        };
        router.tasks.spawn("peer", link.run());
    }
}

/// What an earlier run left is sent, few domains at a time: clients come first.
pub async fn resume(federation: Arc<Federation>, queues: Vec<Arc<PeerQueue>>) {
    let router = federation.context.router.clone();
    let mut stopping = federation.context.stopping.clone();
    for queue in queues {
        router.peers.call(&queue);
        tokio::select! {
            () = sleep(RESUME_STEP) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

struct Link {
    federation: Arc<Federation>,
    queue: Arc<PeerQueue>,
    /// When this began, in microseconds since 1970, and whether there was a stream since.
    begun: i64,
    met: bool,
    /// Attempts in a row that led to nothing.
    tries: u32,
    /// Streams in a row that ended as soon as they stood.
    short: u32,
    /// The stream before, if it may be resumed, with what it sent.
    former: Option<(Former, Sending)>,
}

impl Link {
    async fn run(mut self) {
        let context = self.federation.context.clone();
        // While the server stops, sessions still say that they are gone.
        let mut stopping = context.stopping.clone();
        let mut saving = context.saving.clone();
        let parked = async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        let router = context.router.clone();
        let (queue, tasks) = (self.queue.clone(), router.tasks.clone());
        let work = async move {
            loop {
                if self.once().await && !self.has_guests() && self.queue.release() {
                    return;
                }
            }
        };
        tokio::pin!(work, parked);
        let ended = tokio::select! {
            () = &mut work => true,
            () = &mut parked => false,
        };
        if !ended {
            let _parked = tasks.park();
            tokio::select! {
                () = &mut work => {}
                // The stream ends itself; whoever has none has nothing to end.
                () = async { let _ = saving.wait_for(|saving| *saving).await; sleep(STOP_TIME).await } => {}
            }
        }
        router.peers.forget(&queue);
    }

    /// Looks for the peer; `None` if what waits is to be given up meanwhile.
    async fn open(&mut self) -> Option<Result<Opened, Unreached>> {
        let (federation, queue) = (self.federation.clone(), self.queue.clone());
        // Whoever has a former stream has to ask on its own how much of it the peer has.
        // So has whoever met a peer that ends each stream, which may be for what this domain sends. Once may be a restart.
        let (alone, again) = (self.former.is_some() || self.short > 1, self.tries > 0);
        // What is awaited one after the other shares no room in an idle stream's task: it is boxed.
        let mut opening = Box::pin(async {
            if !alone && let Some(place) = federation.place(&queue).await {
                return Ok(Opened::Shared(place));
            }
            its_moment(&federation, &queue, again).await;
            let (pair, purpose) = (&queue.pair, Purpose::Stanzas);
            let opening = connect::open(&federation, &pair.local, &pair.remote, &purpose);
            opening.await.map(|(stream, _)| Opened::Own(stream))
        });
        let given_up = told_to_give_up(&federation, &queue);
        tokio::pin!(given_up);
        tokio::select! {
            opened = &mut opening => return Some(opened),
            () = &mut given_up => return None,
            () = sleep(federation.settings.iq_time) => {}
        }
        Box::pin(self.lose_patience()).await;
        tokio::select! {
            opened = opening => Some(opened),
            () = given_up => None,
        }
    }

    /// One stream, or one attempt. True if there may be nothing more to do.
    async fn once(&mut self) -> bool {
        if Box::pin(self.given_up()).await {
            return true;
        }
        let Some(opened) = Box::pin(self.open()).await else { return true };
        let mut stream = match opened {
            Ok(Opened::Own(stream)) => stream,
            Ok(Opened::Shared(place)) => {
                Box::pin(self.share(place)).await;
                return true;
            }
            Err(unreached) => {
                Box::pin(self.unreached(unreached)).await;
                return true;
            }
        };
        (self.tries, self.met) = (0, true);
        let offered = stream.ready.is_some_and(|ready| ready.sm);
        let former = match Box::pin(self.whole_former()).await {
            Some((former, sending)) if offered => {
                stream.sending = sending;
                Some(former)
            }
            Some((_, sending)) => {
                stream.lose(sending.end().1);
                stream.sending.add(self.queue.clone());
                None
            }
            None => {
                stream.sending.add(self.queue.clone());
                None
            }
        };
        self.queue.opened(micros(wall()));
        let takes_guests = stream.ready.is_some_and(|ready| ready.dialback_errors);
        let carrying = takes_guests.then(|| self.federation.carriers.stand(&self.queue)).map(
            |(carrying, guests)| {
                stream.guests = Some(guests);
                carrying
            },
        );
        stream.begin_managing(offered, former.as_ref());
        let (since, settled) = (now(), self.queue.settled());
        Box::pin(stream.run()).await;
        drop(carrying);
        let progress = self.queue.settled() > settled || self.queue.load().messages == 0;
        let resumable = match (&stream.managed, &stream.ending) {
            (Managed::On(Some(Resumption::Ours(previd))), Some(Ended::Lost)) => {
                let handled_count = stream.receiving.handled_count.clone();
                Some(Former::new(previd.clone(), handled_count))
            }
            // It has not said yet how much it has.
            (Managed::Asked { resuming: true }, Some(Ended::Lost)) => {
                former.and_then(Former::again)
            }
            _ => None,
        };
        let sending = stream.take_sending();
        // The peer may take its time to hang up; what waits goes by another stream meanwhile.
        let tasks = &self.federation.context.router.tasks;
        tasks.spawn("peer", async move { stream.hang_up().await });
        Box::pin(self.left(resumable, sending)).await;
        let cx = self.cx();
        Box::pin(self.expire(&cx, &lost())).await;
        Box::pin(self.pause(now().saturating_duration_since(since), progress)).await;
        self.former.is_none()
    }

    /// What a stream that is over leaves.
    async fn left(&mut self, resumable: Option<Former>, mut sending: Sending) {
        let cx = self.cx();
        let Some(former) = resumable else {
            return give_up(&cx, sending.end().1, &lost()).await;
        };
        sending.disconnected();
        self.queue.seek();
        let shared = sending.guests().inspect(|queue| queue.seek()).count() > 0;
        self.former = Some((former, sending));
        if shared {
            // On another connection the peer knows none of them at first.
            self.keep_counts(&cx, &lost()).await;
        }
    }

    /// Somebody's stanzas of a former stream are looked after here, too.
    fn has_guests(&self) -> bool {
        self.former.as_ref().is_some_and(|(_, sending)| sending.guests().next().is_some())
    }

    /// Another task's stream takes what waits, as long as it stands; and after that, until it is known how much of it
    /// the peer has.
    async fn share(&mut self, place: Place) {
        let Place { mut lost, host } = place;
        (self.tries, self.met) = (0, true);
        let (since, settled) = (now(), self.queue.settled());
        loop {
            tokio::select! {
                _ = &mut lost => break,
                // Something is wanted while there is no stream: it comes to that of the host, or has to be done here.
                () = self.queue.called() => {
                    host.wake();
                    if !self.queue.load().open {
                        self.given_up().await;
                    }
                }
                () = sleep(EXPIRY_STEP) => {
                    if !self.queue.load().open {
                        let cx = self.cx();
                        self.expire(&cx, &leaving::lost()).await;
                    }
                }
            }
        }
        self.queue.seek();
        self.queue.send_anew();
        let progress = self.queue.settled() > settled || self.queue.load().messages == 0;
        self.pause(now().saturating_duration_since(since), progress).await;
    }

    /// A peer that ends each stream as soon as it stands is not called all the time.
    async fn pause(&mut self, lived: Duration, progress: bool) {
        if lived >= SHORT && progress {
            self.short = 0;
            return;
        }
        if !progress && self.short >= POISONED {
            self.give_up_head().await;
        }
        // Once may be a restart.
        if let Some(doublings) = self.short.checked_sub(1) {
            let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
            rested(&self.queue, FIRST_PAUSE.saturating_mul(factor).min(LAST_PAUSE)).await;
        }
        self.short = self.short.saturating_add(1);
    }

    /// The former stream, if all that came on it is durable: only then its count can be told.
    async fn whole_former(&mut self) -> Option<(Former, Sending)> {
        let (former, sending) = self.former.take()?;
        self.federation.context.router.flush_deferred();
        let count = &former.handled_count;
        let whole = timeout(SETTLE_TIME, count.reached(count.issued())).await.is_ok();
        if whole {
            return Some((former, sending));
        }
        give_up(&self.cx(), sending.end().1, &lost()).await;
        None
    }

    /// One message after which each stream ended does not hold up all others.
    async fn give_up_head(&mut self) {
        let Some(span) = self.queue.head() else { return };
        let why = "the other server ends each stream at this message";
        let cx = self.cx();
        self.keep_counts(&cx, &lost()).await;
        give_up_span(&cx, &self.queue, span, &StanzaError::undefined_condition().text(why)).await;
        self.short = 0;
    }

    /// Of the former stream, only how much was sent matters now: a peer that comes back may know how much of it it has
    /// (XEP-0198 §5), and messages are in the store.
    async fn keep_counts(&mut self, cx: &Cx, why: &StanzaError) {
        if let Some((_, sending)) = &mut self.former {
            let requests = sending.keep_counts(self.federation.sent_bounds());
            give_up(cx, requests, why).await;
        }
    }

    /// Requests have waited long enough.
    async fn lose_patience(&mut self) {
        let seconds = self.federation.settings.iq_time.as_secs();
        let remote = &self.queue.pair.remote;
        let error = StanzaError::remote_server_timeout()
            .text(format!("{remote} could not be reached in {seconds} seconds"));
        let given_up = self.queue.refuse(error.clone());
        let mut stanzas = given_up.stanzas;
        for guest in self.former.iter().flat_map(|(_, sending)| sending.guests()) {
            stanzas.extend(guest.refuse(error.clone()).stanzas);
        }
        give_up(&self.cx(), stanzas, &error).await;
    }

    /// Where no message waits, nobody needs to know how much a peer has that is not there.
    async fn drop_former(&mut self, cx: &Cx, why: &StanzaError) {
        let waits = |queue: &Arc<PeerQueue>| queue.load().messages > 0;
        let needed = waits(&self.queue)
            || self.former.iter().flat_map(|(_, sending)| sending.guests()).any(waits);
        if !needed && let Some((_, sending)) = self.former.take() {
            give_up(cx, sending.end().1, why).await;
        }
    }

    /// There is no stream now: messages wait, all else is given up, and so is what has waited too long.
    async fn unreached(&mut self, unreached: Unreached) {
        let Unreached { error, .. } = unreached;
        let cx = self.cx();
        self.keep_counts(&cx, &error).await;
        self.drop_former(&cx, &error).await;
        let mut given_up = self.queue.lost(Some(error.clone())).stanzas;
        for guest in self.former.iter().flat_map(|(_, sending)| sending.guests()) {
            given_up.extend(guest.lost(Some(error.clone())).stanzas);
        }
        give_up(&cx, given_up, &error).await;
        let unknown = error.condition == Condition::RemoteServerNotFound && !self.met;
        match unknown && self.queue.load().oldest >= self.begun {
            // Nobody was ever there, as far as is known: most likely the address is wrong, and its writer should know.
            true => expire(&cx, &self.queue, i64::MAX, &error).await,
            false => self.expire(&cx, &error).await,
        }
        self.tries = self.tries.saturating_add(1);
        let wait = spread(back_off(self.tries));
        self.queue.tries_at(micros(wall() + wait));
        // What comes meanwhile is told the same; a message that has waited long enough is given up in time.
        let until = now() + wait;
        while now() < until {
            if rested(&self.queue, EXPIRY_STEP.min(until.saturating_duration_since(now()))).await {
                break;
            }
            self.expire(&cx, &error).await;
            if self.queue.load().messages == 0 && now() + REMEMBERED < until {
                rested(&self.queue, REMEMBERED).await;
                break;
            }
        }
        self.queue.seek();
        self.former.iter().flat_map(|(_, sending)| sending.guests()).for_each(|guest| guest.seek());
    }

    /// Gives up all that waits, if an operator wants that or keeps the domain out.
    async fn given_up(&mut self) -> bool {
        let told = self.queue.gives_up();
        let denied = || self.federation.rules.denies(&self.queue.pair.remote);
        let (why, done) = match told {
            Some((why, done)) => (why, Some(done)),
            None => match denied() {
                Some(why) => (why, None),
                None => return false,
            },
        };
        self.former = None;
        let given_up = self.queue.lost(None);
        let (cx, messages) = (self.cx(), self.queue.load().messages);
        give_up(&cx, given_up.stanzas, &why).await;
        self.give_up_before(&cx, i64::MAX, &why).await;
        tracing::info!(local = %self.queue.pair.local, peer = %self.queue.pair.remote, messages,
            "what waited for a server is given up");
        if let Some(done) = done {
            // Whoever wants it may have gone.
            let _ = done.send(messages);
        }
        if self.queue.load().messages > 0 {
            // The store does not answer, or more came.
            rested(&self.queue, EXPIRY_STEP).await;
        }
        true
    }

    /// Gives up messages that have waited too long.
    async fn expire(&mut self, cx: &Cx, why: &StanzaError) {
        let before = before(self.federation.settings.message_time);
        if self.queue.outdated(before).is_some() {
            // What goes back to its sender is not sent after all when the stream is resumed.
            self.keep_counts(cx, why).await;
        }
        expire(cx, &self.queue, before, why).await;
    }

    /// Gives up messages that came before a time, in microseconds since 1970.
    async fn give_up_before(&mut self, cx: &Cx, before: i64, why: &StanzaError) {
        expire(cx, &self.queue, before, why).await;
    }

    fn cx(&self) -> Cx {
        self.federation.context.cx(Requester::Entity(Jid::normal(&self.queue.pair.remote)))
    }
}

/// How what waits is sent.
#[allow(clippy::large_enum_variant)] // lives for a moment, on the stack
enum Opened {
    Own(Box<Stream>),
    /// On a stream of another domain of ours.
    Shared(Place),
}

/// Gives up messages that came before this time, in microseconds since 1970.
pub(super) async fn expire(cx: &Cx, queue: &Arc<PeerQueue>, before: i64, why: &StanzaError) {
    while let Some(span) = queue.outdated(before) {
        if !give_up_span(cx, queue, span, why).await {
            return;
        }
    }
}

/// Gives up the first messages of a span. False if they cannot be read.
async fn give_up_span(
    cx: &Cx,
    queue: &Arc<PeerQueue>,
    (from, to): (i64, i64),
    why: &StanzaError,
) -> bool {
    let (pair, store) = (queue.pair.clone(), &cx.store);
    let read = async {
        queue.written(store).await?;
        store
            .read(move |tx| {
                peer_queue::page(tx, (&pair.local, &pair.remote), (from, to), EXPIRED_ROWS)
            })
            .await
    };
    let rows = match read.await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::error!(%error, "what waits for a server could not be read");
            return false;
        }
    };
    let last = if rows.len() < EXPIRED_ROWS { to } else { rows.last().map_or(to, |row| row.seq) };
    let frames = rows.into_iter().map(|row| Frame::whole(row.stanza.into()));
    give_up(cx, frames, why).await;
    settle(&cx.router, queue, last);
    true
}

/// Waits until an operator wants what waits to be given up.
async fn told_to_give_up(federation: &Federation, queue: &PeerQueue) {
    loop {
        queue.called().await;
        if federation.rules.denies(&queue.pair.remote).is_some() || queue.is_to_give_up() {
            return;
        }
    }
}

/// How long it is remembered that a server could not be reached, if no message waits.
const REMEMBERED: Duration = Duration::from_secs(30);
/// How long what came may take to be durable.
const SETTLE_TIME: Duration = Duration::from_secs(10);
/// So many streams in a row on which nothing was acknowledged: the first message is to blame.
const POISONED: u32 = 8;
/// A stream that ends before is not worth much.
const SHORT: Duration = Duration::from_secs(10);
/// In microseconds: a message is queued before the task begins.
const A_MOMENT: i64 = 5_000_000;
/// Pauses between such streams.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(60);
const EXPIRY_STEP: Duration = Duration::from_secs(10);
const EXPIRED_ROWS: usize = 64;
/// Between two domains for which something waits when the server starts.
const RESUME_STEP: Duration = Duration::from_millis(20);
/// For a stream to be closed when the server stops.
const STOP_TIME: Duration = Duration::from_secs(4);
