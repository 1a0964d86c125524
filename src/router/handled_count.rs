//! Tickets: which of a stream's stanzas still have writes in flight (promise.md 4).
//!
//! A stanza that causes a write takes a ticket, and each job that writes for it holds a clone. When the
//! last clone is dropped the stanza counts as handled. `handled` is the length of the unbroken run,
//! what XEP-0198 calls `h`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use tokio::sync::Notify;

use crate::base::limits::Limits;
use crate::store::handled::{DurableCount, StreamOwner};
use crate::store::ids::AccountId;

/// The number of handled stanzas of one stream. Shared with the tickets it issued.
#[derive(Debug, Default)]
pub struct HandledCount {
    runs: Mutex<Runs>,
    /// `handled` grew.
    moved: Notify,
    /// The stream is gone: stanzas that are not routed yet will not be.
    over: AtomicBool,
}

/// How the stream counts stanzas (XEP-0198).
#[derive(Debug, Clone)]
pub struct Counting {
    /// SHA-256 of the SM-ID.
    pub id: [u8; 32],
    /// Whose stream it is; `None` if its count is stored nowhere, as for anonymous users.
    pub owner: Option<StreamOwner>,
    /// Stanzas of the stream before it began to count.
    pub before: u64,
}

impl Counting {
    /// XEP-0198 §4: the count wraps at 2^32.
    #[allow(clippy::cast_possible_truncation)]
    fn h(&self, stanzas: u64) -> u32 {
        stanzas.saturating_sub(self.before) as u32
    }
}

#[derive(Debug, Default)]
struct Runs {
    /// Number of stanzas at the head of the stream that are all handled.
    handled: u64,
    /// For each stanza from `handled` on: its weight in the store's queue, or [`RELEASED`].
    open: VecDeque<u32>,
    counting: Option<Counting>,
    /// Number of the stanzas that have a weight, and the sum of their weights.
    queued: u32,
    queued_bytes: u32,
    bound: Bound,
    /// Set when the bound is reached, until the queue is down to half of it.
    full: bool,
}

/// Maximum of one stream's writes that are not yet committed.
#[derive(Debug, Clone, Copy)]
struct Bound {
    stanzas: u32,
    bytes: u32,
}

impl Default for Bound {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

impl From<&Limits> for Bound {
    fn from(limits: &Limits) -> Self {
        let small = |bound: usize| u32::try_from(bound).unwrap_or(u32::MAX);
        Self {
            stanzas: small(limits.uncommitted_stanzas_max),
            bytes: small(limits.uncommitted_bytes_max),
        }
    }
}

/// Held by every task and job that still writes for one stanza. Dropping the last clone releases it.
#[derive(Debug, Clone)]
pub struct Ticket {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    /// `None` once it is released.
    handled_count: Option<Arc<HandledCount>>,
    number: u64,
}

impl Runs {
    fn issued(&self) -> u64 {
        self.handled + self.open.len() as u64
    }

    fn open_at(&mut self, number: u64) -> Option<&mut u32> {
        let index = usize::try_from(number.checked_sub(self.handled)?).ok()?;
        self.open.get_mut(index)
    }

    fn load(&mut self, weight: u32) {
        self.queued += 1;
        self.queued_bytes = self.queued_bytes.saturating_add(weight);
        self.full |= self.queued >= self.bound.stanzas || self.queued_bytes >= self.bound.bytes;
    }

    /// Returns true when tasks that wait in [`HandledCount::eased`] may continue.
    fn unload(&mut self, weight: u32) -> bool {
        if weight == 0 {
            return false;
        }
        self.queued -= 1;
        self.queued_bytes = self.queued_bytes.saturating_sub(weight);
        let half =
            self.queued <= self.bound.stanzas / 2 && self.queued_bytes <= self.bound.bytes / 2;
        half && std::mem::take(&mut self.full)
    }
}

/// The weight of a write of this many bytes; never 0.
fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, RELEASED - 1)
}

/// Stands in the place of a weight.
const RELEASED: u32 = u32::MAX;

impl Ticket {
    /// The count to write with the rows of this stanza: it and all stanzas before it are handled. The
    /// writes of the earlier ones are in the store's queue already, because a stream's stanzas are
    /// routed one after another.
    pub fn durable_count(&self, at: i64) -> Option<DurableCount> {
        let runs = self.held.handled_count.as_ref()?.lock();
        let counting = runs.counting.as_ref().filter(|it| self.held.number >= it.before)?;
        let (id, owner) = (counting.id, counting.owner.clone()?);
        Some(DurableCount { id, owner, h: counting.h(self.held.number + 1), at })
    }

    /// Whether some earlier stanza of the stream is not handled yet.
    pub fn has_predecessors(&self) -> bool {
        self.held
            .handled_count
            .as_ref()
            .is_some_and(|handled_count| handled_count.handled() < self.held.number)
    }

    /// Waits until every earlier stanza of the stream is handled.
    pub async fn predecessors(&self) {
        if let Some(handled_count) = &self.held.handled_count {
            handled_count.reached(self.held.number).await;
        }
    }

    /// Notes that its write is now in the store's queue. Returns whether the stream is full.
    pub fn weigh(&self, bytes: usize) -> bool {
        let Some(handled_count) = &self.held.handled_count else { return false };
        let mut runs = handled_count.lock();
        let weight = weight(bytes);
        if let Some(open) = runs.open_at(self.held.number)
            && *open == 0
        {
            *open = weight;
            runs.load(weight);
        }
        runs.full
    }

    /// Drops it without counting its stanza, which was never routed and will not be: the stream's run
    /// ends before it (promise.md 6).
    pub fn abandon(self) {
        if let Some(mut held) = Arc::into_inner(self.held) {
            held.handled_count = None;
        }
    }

    /// Drops it. If that makes the stream's run longer or eases it, returns the waker for the waiting
    /// tasks.
    pub fn release(self) -> Option<Waker> {
        let mut held = Arc::into_inner(self.held)?;
        let handled_count = held.handled_count.take()?;
        handled_count.release(held.number).then(|| handled_count.into())
    }
}

impl HandledCount {
    /// A new count with the bounds of these limits.
    pub fn new(limits: &Limits) -> Self {
        let runs = Runs { bound: limits.into(), ..Runs::default() };
        Self { runs: Mutex::new(runs), ..Self::default() }
    }

    /// Marks the stream as gone.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the stream is gone.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Starts counting, under this id. Returns false if the stream counts already.
    pub fn enable(&self, id: [u8; 32], owner: Option<StreamOwner>) -> bool {
        let mut runs = self.lock();
        let before = runs.issued();
        let first = runs.counting.is_none();
        runs.counting.get_or_insert(Counting { id, owner, before });
        first
    }

    /// The count of a stream that was saved over a restart of the server, which continues.
    pub fn restored(id: [u8; 32], account: AccountId, h: u32, limits: &Limits) -> Self {
        let handled_count = Self::new(limits);
        let mut runs = handled_count.lock();
        runs.handled = u64::from(h);
        let owner = Some(StreamOwner::Account(account));
        runs.counting = Some(Counting { id, owner, before: 0 });
        drop(runs);
        handled_count
    }

    /// Whether the stream counts stanzas.
    pub fn is_enabled(&self) -> bool {
        self.lock().counting.is_some()
    }

    /// XEP-0198's `h`: the unbroken run of stanzas handled since the stream began to count.
    pub fn h(&self) -> u32 {
        let runs = self.lock();
        runs.counting.as_ref().map_or(0, |counting| counting.h(runs.handled))
    }

    /// The number of stanzas taken up so far, handled or not.
    pub fn issued(&self) -> u64 {
        self.lock().issued()
    }

    /// Waits until this many stanzas are handled.
    pub async fn reached(&self, stanzas: u64) {
        loop {
            let wake = self.moved.notified();
            if self.handled() >= stanzas {
                return;
            }
            wake.await;
        }
    }

    /// A ticket for the stream's next stanza.
    pub fn issue(self: &Arc<Self>) -> Ticket {
        self.issue_and_look().0
    }

    /// Like [`HandledCount::issue`], but also returns whether the stream is full.
    pub fn issue_and_look(self: &Arc<Self>) -> (Ticket, bool) {
        let mut runs = self.lock();
        let (number, full) = (runs.issued(), runs.full);
        runs.open.push_back(0);
        drop(runs);
        (Ticket { held: Arc::new(Held { handled_count: Some(self.clone()), number }) }, full)
    }

    /// Whether so much of the stream waits for the disk that nothing more should be read from it for
    /// now.
    pub fn is_full(&self) -> bool {
        self.lock().full
    }

    /// Waits until the stream is no longer full, which is at half of the bound.
    pub async fn eased(&self) {
        loop {
            let wake = self.moved.notified();
            if !self.is_full() {
                return;
            }
            wake.await;
        }
    }

    /// Counts a stanza that needs no write; it never overtakes an earlier one.
    pub fn pass(&self) {
        let mut runs = self.lock();
        if runs.open.is_empty() {
            runs.handled += 1;
        } else {
            runs.open.push_back(RELEASED);
        }
    }

    /// The unbroken run of handled stanzas.
    pub fn handled(&self) -> u64 {
        self.lock().handled
    }

    /// Whether every stanza so far is handled.
    pub fn is_settled(&self) -> bool {
        self.lock().open.is_empty()
    }

    /// Waits until every stanza is handled. The caller bounds the wait.
    pub async fn settled(&self) {
        loop {
            let wake = self.moved.notified();
            if self.is_settled() {
                return;
            }
            wake.await;
        }
    }

    /// Returns true when there may be tasks to wake: the run is longer now, or the stream has room
    /// again.
    fn release(&self, number: u64) -> bool {
        let mut runs = self.lock();
        let weight = runs.open_at(number).map(|open| std::mem::replace(open, RELEASED));
        let eased = runs.unload(weight.unwrap_or(0));
        let before = runs.handled;
        while runs.open.front() == Some(&RELEASED) {
            runs.open.pop_front();
            runs.handled += 1;
        }
        let moved = runs.handled > before;
        if runs.open.is_empty() {
            runs.open.shrink_to_fit();
        }
        moved || eased
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(handled_count) =
            self.handled_count.take().filter(|handled_count| handled_count.release(self.number))
        {
            handled_count.wake();
        }
    }
}

/// Wakes the tasks that wait for the run to grow.
impl Wake for HandledCount {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_breaks_at_the_first_open_ticket() {
        let handled_count = Arc::new(HandledCount::default());
        let first = handled_count.issue();
        handled_count.pass();
        let third = handled_count.issue();
        let clone = third.clone();
        drop(third);
        assert_eq!(handled_count.handled(), 0);
        drop(first);
        assert_eq!(handled_count.handled(), 2);
        drop(clone);
        assert_eq!(handled_count.handled(), 3);
        handled_count.pass();
        assert_eq!(handled_count.handled(), 4);
    }

    #[test]
    fn what_was_never_routed_ends_the_run() {
        let handled_count = Arc::new(HandledCount::default());
        let (first, lost, third) =
            (handled_count.issue(), handled_count.issue(), handled_count.issue());
        lost.abandon();
        drop((first, third));
        assert_eq!(handled_count.handled(), 1);
    }

    #[test]
    fn a_durable_count_counts_from_where_the_stream_began_to_count() {
        let handled_count = Arc::new(HandledCount::default());
        let early = handled_count.issue();
        handled_count.pass();
        assert_eq!((handled_count.h(), early.durable_count(0)), (0, None));
        assert!(
            handled_count.enable([7; 32], Some(StreamOwner::Account(AccountId(1))))
                && !handled_count.enable([8; 32], None)
        );
        assert_eq!(early.durable_count(0), None, "it came before");
        let (first, second) = (handled_count.issue(), handled_count.issue());
        let h = |ticket: &Ticket| {
            ticket
                .durable_count(9)
                .map(|durable_count| (durable_count.id[0], durable_count.h, durable_count.at))
        };
        assert_eq!((h(&first), h(&second)), (Some((7, 1, 9)), Some((7, 2, 9))));
        drop(first);
        assert_eq!(handled_count.h(), 0, "the stanza before the count is open");
        drop(early);
        assert_eq!(handled_count.h(), 1);
        drop(second);
        assert_eq!(handled_count.h(), 2);
    }

    #[test]
    fn the_count_wraps() {
        let limits = Limits::default();
        let handled_count =
            Arc::new(HandledCount::restored([7; 32], AccountId(1), u32::MAX, &limits));
        assert_eq!(handled_count.h(), u32::MAX);
        let ticket = handled_count.issue();
        assert_eq!(ticket.durable_count(0).map(|durable_count| durable_count.h), Some(0));
        drop(ticket);
        assert_eq!(handled_count.h(), 0);
        handled_count.pass();
        assert_eq!(handled_count.h(), 1);
    }

    #[tokio::test]
    async fn a_stream_with_much_on_its_way_to_the_disk_is_full_until_half_of_it_is_there() {
        let limits =
            Limits { uncommitted_stanzas_max: 4, uncommitted_bytes_max: 100, ..Limits::default() };
        let handled_count = Arc::new(HandledCount::new(&limits));
        let ticket = |bytes: Option<usize>| {
            let ticket = handled_count.issue();
            if let Some(bytes) = bytes {
                ticket.weigh(bytes);
            }
            ticket
        };
        // A stanza without a write does not count towards the bound, but holds up the run.
        let first = ticket(None);
        let mut four: Vec<_> = (0..4).map(|_| ticket(Some(0))).collect();
        assert!(four.iter().all(|ticket| ticket.weigh(1_000)));
        assert!(handled_count.is_full());
        four.pop();
        assert!(handled_count.is_full() && handled_count.handled() == 0);
        // The task is woken although the run did not grow.
        tokio::join!(handled_count.eased(), async { drop(four.pop()) });
        assert!(!handled_count.is_full() && handled_count.handled() == 0);
        drop((first, four));
        let heavy = [ticket(Some(60)), ticket(Some(usize::MAX))];
        assert!(handled_count.is_full());
        drop(heavy);
        assert!(!handled_count.is_full() && handled_count.is_settled());
        let runs = handled_count.lock();
        assert_eq!((runs.queued, runs.queued_bytes), (0, 0));
    }

    #[tokio::test]
    async fn a_ticket_waits_for_those_before_it_and_no_others() {
        let handled_count = Arc::new(HandledCount::default());
        let (first, second) = (handled_count.issue(), handled_count.issue());
        let third = handled_count.issue();
        first.predecessors().await;
        tokio::join!(second.predecessors(), async move { drop(first) });
        tokio::join!(async { drop(second) }, third.predecessors());
    }
}
