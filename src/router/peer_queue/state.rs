//! What a queue for another server knows of what waits in it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::router::deferred::Deferred;
use crate::router::later::{Commons, Later};
use crate::stanza::{Frame, StanzaError};

/// Whether the peer takes stanzas.
#[derive(Debug, Clone)]
pub(super) enum Reach {
    /// It is being looked for, or was not yet.
    Sought,
    /// A stream stands.
    Open,
    /// It could not be reached, and is tried again later: for this reason.
    Away(Box<StanzaError>),
}

#[derive(Debug)]
pub(super) struct State {
    /// Messages after the first position, up to the second, are to be read from the store.
    pub(super) stored: Option<(i64, i64)>,
    /// The memory was full: what is in memory goes before what is in the store alone.
    pub(super) overflown: bool,
    /// For each stanza without a row, in the box and then in `later`: the last message that was queued before it.
    pub(super) behind: VecDeque<i64>,
    /// The last message that was queued, and the last one that is in memory.
    pub(super) last: i64,
    pub(super) last_in_memory: i64,
    /// The last one that the peer has acknowledged, or that was given up.
    pub(super) settled: i64,
    /// Rows and their bytes, oldest first: position, bytes, time in microseconds.
    pub(super) rows: VecDeque<(i64, u32, i64)>,
    pub(super) bytes: usize,
    /// Those of the rows that are not written yet.
    pub(super) deferred: Deferred,
    pub(super) reach: Reach,
    /// Presence that the box has no room for.
    pub(super) later: Later,
    /// Somebody waits for what is queued: it is not presence alone.
    pub(super) hurries: bool,
    /// When the peer's stream last took something, or began, in microseconds since 1970.
    pub(super) taken: i64,
    /// A task looks after it.
    pub(super) served: bool,
    /// When the peer is tried again, in microseconds since 1970; 0: that is not known.
    pub(super) next_try: i64,
    /// What waits is to be given up, for this reason; whoever wants that is told how much it was.
    pub(super) giving_up: Option<(Box<StanzaError>, oneshot::Sender<usize>)>,
}

impl State {
    pub(super) fn new(commons: Arc<Commons>) -> Self {
        Self {
            stored: None,
            overflown: false,
            behind: VecDeque::new(),
            last: 0,
            last_in_memory: 0,
            settled: 0,
            rows: VecDeque::new(),
            bytes: 0,
            deferred: Deferred::default(),
            reach: Reach::Sought,
            later: Later::new(commons),
            hurries: false,
            taken: 0,
            served: false,
            next_try: 0,
            giving_up: None,
        }
    }

    /// Nothing waits outside of the box.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.later.is_empty()
    }

    /// Whether a stream stands.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.reach, Reach::Open)
    }

    /// A stanza without a row was queued: it is sent behind the messages of before.
    pub(super) fn comes_behind(&mut self) {
        let last = self.last;
        self.behind.push_back(last);
    }

    /// The next one that waits for room in the box, if this is enough and its turn is not after that of messages
    /// that are in the store alone.
    pub(super) fn next_later(&mut self, room: usize) -> Option<Frame> {
        let behind = self.behind.get(self.behind.len().checked_sub(self.later.len())?)?;
        if self.overflown && *behind > self.last_in_memory.max(self.settled) {
            return None;
        }
        self.later.next(room)
    }

    /// What has no row is gone.
    pub(super) fn forget_rowless(&mut self) {
        self.later.clear();
        self.behind.clear();
    }
}
