//! For how long a connection to a server is put off.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::clock::{now, wall};
use super::federation::Federation;
use crate::base::id::{OsRng, Rng};
use crate::base::time::micros;
use crate::router::peer_queue::PeerQueue;

/// What came before this has waited for so long; in microseconds since 1970.
pub(super) fn before(time: Duration) -> i64 {
    let time = i64::try_from(time.as_micros());
    micros(wall()).saturating_sub(time.unwrap_or(i64::MAX))
}

/// Waits until a connection may begin that nobody waits for, or that is tried again.
pub(super) async fn its_moment(federation: &Federation, queue: &PeerQueue, again: bool) {
    if !again && queue.hurries() {
        return;
    }
    let at = federation.calls.moment(now());
    // Somebody may come to wait for it.
    while now() < at && (again || !queue.hurries()) {
        sleep(MOMENT_STEP.min(at.saturating_duration_since(now()))).await;
    }
}

/// Waits. True if an operator wants something before it is over.
pub(super) async fn rested(queue: &PeerQueue, time: Duration) -> bool {
    timeout(time, queue.called()).await.is_ok()
}

/// Doubled from try to try.
pub(super) fn back_off(tries: u32) -> Duration {
    let factor = 1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_WAIT.saturating_mul(factor).min(LAST_WAIT)
}

/// Servers that were lost at one moment are not all tried again at one moment: up to a quarter is added.
pub(super) fn spread(wait: Duration) -> Duration {
    let mut random = [0];
    OsRng.fill(&mut random);
    let [some] = random;
    wait + wait * u32::from(some) / 1_024
}

const FIRST_WAIT: Duration = Duration::from_secs(5);
const LAST_WAIT: Duration = Duration::from_secs(900);
/// How often it is looked whether somebody waits for a connection.
const MOMENT_STEP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_growing() {
        let waits: Vec<_> = (1..12).map(|tries| back_off(tries).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900]);
        assert_eq!(back_off(u32::MAX), LAST_WAIT);
        let spread: Vec<_> = (0..64).map(|_| spread(LAST_WAIT)).collect();
        assert!(spread.iter().all(|wait| (LAST_WAIT..LAST_WAIT * 5 / 4).contains(wait)));
        assert!(spread.iter().any(|wait| *wait != spread[0]));
    }
}
