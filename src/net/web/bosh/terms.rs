//! What a session of BOSH is agreed to be, and who is answered what.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

/// Whoever waits for the answer to a request.
pub trait Waiter {
    /// Whether the connection of the request is gone.
    fn is_gone(&self) -> bool;
}

/// What was agreed when the session began.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How long a request is held.
    pub wait: Duration,
    /// How many are held.
    pub hold: usize,
    /// How many may be unanswered (XEP-0124 §11).
    pub requests: usize,
    /// How long there may be no request (XEP-0124 §10).
    pub inactivity: Duration,
    /// The same if the client asks for it.
    pub pause_max: Duration,
    /// The shortest time between two empty requests where nothing is held (XEP-0124 §12).
    pub polling: Duration,
    /// Whether the client says what it has, and is told (XEP-0124 §9).
    pub acks: bool,
    /// Whether the client knows no conditions, only statuses (XEP-0124 §17.1).
    pub legacy: bool,
    /// How many bytes may wait for the stream to read them.
    pub input_max: usize,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// Who gets which answer.
pub type Answers<W> = Vec<(W, Reply)>;

impl Reply {
    /// An answer without a fault.
    pub fn ok(body: Bytes) -> Self {
        Self { status: 200, body }
    }
}

/// What the client has yet to be sent.
#[derive(Default)]
pub struct Output {
    /// Elements that can stand alone.
    pub payloads: VecDeque<Bytes>,
    /// Their bytes.
    pub bytes: usize,
    /// Whether the prefix `stream` is in them.
    pub stream: bool,
}
