//! What is measured of push notifications.

use std::sync::atomic::{AtomicU64, Ordering};

use super::sender::Outcome;
use crate::base::figures::Figures;

/// What came of notifications, since the start.
#[derive(Debug, Default)]
pub struct Sent([AtomicU64; OUTCOMES.len()]);

const OUTCOMES: [&str; 4] = ["sent", "failed", "refused", "unsent"];

impl Sent {
    /// Counts one.
    pub fn count(&self, outcome: &Outcome) {
        let [sent, failed, refused, unsent] = &self.0;
        let count = match outcome {
            Outcome::Done => sent,
            Outcome::Failed(_) => failed,
            Outcome::Refused(_) => refused,
            Outcome::Unsent => unsent,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The figures of the module; so many registrations are to be notified, so many are known.
    pub fn figures(&self, (waiting, known): (usize, usize)) -> Figures {
        let mut out = Figures::default();
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        out.counter(
            "stonechat_push_notifications",
            "Notifications to push services by outcome: failed ones are tried again, refused ones end the \
             registration, unsent ones waited here for too many others.",
        )
        .by("outcome", OUTCOMES.into_iter().zip(counts));
        out.gauge("stonechat_push_queued", "Registrations that are to be notified.")
            .is(waiting as u64);
        out.gauge(
            "stonechat_push_known",
            "Registrations that are to be notified, are being notified, or were of late.",
        )
        .is(known as u64);
        out
    }
}
