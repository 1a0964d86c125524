//! The requests of a session that are not answered, and the last ones that are.

use std::time::Instant;

use bytes::Bytes;

use super::body::{Condition, Request};

/// A request that came before its turn.
pub struct Early<W> {
    /// What it says.
    pub request: Request,
    /// Who waits for the answer; none once the connection is gone.
    pub waiter: Option<W>,
    /// When it came.
    pub since: Instant,
    /// How often it came again.
    pub repeats: u32,
}

/// A request that was taken and is held.
pub struct Held<W> {
    /// Its number.
    pub rid: u64,
    /// Its key.
    pub key: Option<String>,
    /// Who waits for the answer; none once the connection is gone.
    pub waiter: Option<W>,
    /// When it came.
    pub since: Instant,
    /// How often it came again.
    pub repeats: u32,
    /// Whether it pauses the session.
    pub pauses: bool,
    /// Whether it only asked for what there is.
    pub is_empty: bool,
    /// A response that its client seems to have missed, and how many milliseconds ago it was sent.
    pub report: Option<(u64, u128)>,
}

/// A request that was answered.
pub struct Answered {
    /// Its number.
    pub rid: u64,
    /// Its key.
    pub key: Option<String>,
    /// The response.
    pub body: Bytes,
    /// When it was sent.
    pub at: Instant,
    /// How often the request came again.
    pub repeats: u32,
}

/// XEP-0124 §14.3: a bounded number of times, and by whoever sent it first.
pub fn may_repeat(
    before: &Option<String>,
    key: &Option<String>,
    repeats: &mut u32,
) -> Result<(), Condition> {
    *repeats += 1;
    match before == key {
        true if *repeats <= REPEATS_MAX => Ok(()),
        true => Err(Condition::PolicyViolation),
        false => Err(Condition::ItemNotFound),
    }
}

/// How often the same request may come again (XEP-0124 §14.3).
pub const REPEATS_MAX: u32 = 10;
