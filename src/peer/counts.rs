//! What is counted of the streams with other servers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cause::{OUTCOMES, REASONS};
use super::streams::Streams;
use crate::base::figures::Figures;
use crate::base::tally::Tally;

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Stanzas, in and out.
    stanzas: Tally<2>,
    attempts: [AtomicU64; OUTCOMES.len()],
    refused: [AtomicU64; REASONS.len()],
}

impl Counts {
    /// A stanza came.
    pub(super) fn came(&self) {
        self.stanzas.add(0, 1);
    }

    /// Stanzas were sent.
    pub(super) fn went(&self, stanzas: u64) {
        if stanzas > 0 {
            self.stanzas.add(1, stanzas);
        }
    }

    /// An attempt to connect ended.
    pub(super) fn attempted(&self, outcome: usize) {
        if let Some(count) = self.attempts.get(outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A server was refused.
    pub(super) fn refused(&self, reason: usize) {
        if let Some(count) = self.refused.get(reason) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds the figures, with those of the streams that stand.
    pub(super) fn figures(&self, streams: &Streams, out: &mut Figures) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        out.gauge("stonechat_s2s_streams", "Streams with other servers, by who opened them.")
            .by("direction", streams.count());
        out.counter("stonechat_s2s_connects", "Attempts to open a stream to a domain, by outcome.")
            .by("outcome", OUTCOMES.into_iter().zip(self.attempts.iter().map(read)));
        out.counter("stonechat_s2s_stanzas", "Stanzas between other servers and this one.")
            .by("direction", [("in", self.stanzas.sum(0)), ("out", self.stanzas.sum(1))]);
        out.counter(
            "stonechat_s2s_refused",
            "Domains of other servers that were refused, by reason.",
        )
        .by("reason", REASONS.into_iter().zip(self.refused.iter().map(read)));
    }
}
