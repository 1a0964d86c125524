//! What goes into a queue for another server, and comes out of it.

use std::sync::Arc;

use crate::router::outbox::{Outbox, Taken};
use crate::stanza::{Frame, StanzaError};
use crate::store::StoreError;

/// The domain of this server that stanzas come from, and the one that they go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// The domain of this server.
    pub local: Box<str>,
    /// The other one.
    pub remote: Box<str>,
}

/// Bounds of each queue.
#[derive(Debug, Clone, Copy)]
pub struct PeerBounds {
    /// Messages that the peer has not acknowledged.
    pub stanzas_max: usize,
    /// Their bytes.
    pub bytes_max: usize,
    /// Bytes of what waits in memory.
    pub memory_bytes_max: usize,
    /// Bytes of presence and probes that wait beside that; of all pairs, sixteen times as much.
    pub presence_bytes_max: usize,
    /// Pairs of domains that wait for a stream.
    pub waiting_max: usize,
}

impl Default for PeerBounds {
    fn default() -> Self {
        Self {
            stanzas_max: 10_000,
            bytes_max: 64 << 20,
            memory_bytes_max: 256 << 10,
            presence_bytes_max: 2 << 20,
            waiting_max: 200,
        }
    }
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerLoad {
    /// Messages that the peer has not acknowledged.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// When the oldest of them came, in microseconds since 1970; 0 without any.
    pub oldest: i64,
    /// Whether a stream stands.
    pub open: bool,
    /// When the peer is tried again, in microseconds since 1970; 0: at once, or when something comes.
    pub next_try: i64,
}

/// What a put led to.
pub(in crate::router) enum Queued {
    /// It waits, and the peer takes what waits.
    Easy,
    /// Its sender should wait for this box.
    Slow(Arc<Outbox>),
}

/// Why a message was not queued.
pub(in crate::router) enum NotQueued {
    /// There is no room for it: the sender gets this.
    Bounce(StanzaError),
    /// The store took no row.
    Store(StoreError),
}

/// What the task takes next.
#[derive(Debug)]
pub enum Next {
    /// These.
    Batch(Taken),
    /// Messages of the store, after the first position, up to the second: when they were sent, call
    /// `PeerQueue::read_to`.
    Stored(i64, i64),
}

/// What a peer that cannot be reached leaves behind.
#[derive(Debug, Default)]
pub struct GivenUp {
    /// Stanzas without rows.
    pub stanzas: Vec<Frame>,
}
