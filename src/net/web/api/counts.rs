//! What the API counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::figures::Figures;

/// Since the start.
#[derive(Debug, Default)]
pub struct ApiCounts {
    /// Verbs that were done.
    pub done: AtomicU64,
    /// Requests that were refused, or whose verb failed.
    pub refused: AtomicU64,
    /// Requests with a token that is none, or not good any more.
    pub tokens: AtomicU64,
}

impl ApiCounts {
    /// Counts one.
    pub fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// For whoever watches the server.
    pub fn figures(&self, out: &mut Figures) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        out.counter(
            "stonechat_api_requests",
            "Requests to the operator's JSON API, by what came of them.",
        )
        .with([("result", "done")], of(&self.done))
        .with([("result", "refused")], of(&self.refused));
        out.counter(
            "stonechat_api_tokens_refused",
            "Requests to the operator's JSON API with a token that is none, expired or revoked.",
        )
        .is(of(&self.tokens));
    }
}
