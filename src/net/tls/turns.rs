//! Handshakes take turns: each is half a millisecond of arithmetic, and of a thousand at once only a few are under
//! way, so that whoever chats waits behind those few.

use std::future::{Future, poll_fn};
use std::num::NonZero;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Semaphore;

/// As many as there are processors.
pub(super) struct Turns(Semaphore);

impl Turns {
    /// Runs the work; each time that it can go on it waits for its turn. It has none while it waits for its peer.
    pub(super) async fn take<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            // Nobody closes it; without a turn the work would be done all the same.
            let turn = self.0.acquire().await;
            let polled = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
            drop(turn);
            if let Poll::Ready(done) = polled {
                return done;
            }
            woken().await;
        }
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(std::thread::available_parallelism().map_or(1, NonZero::get)))
    }
}

/// Until the task is woken, by whatever its last poll left its waker with.
async fn woken() {
    let mut is_asleep = false;
    poll_fn(|_| match std::mem::replace(&mut is_asleep, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// Who waits for a peer keeps nobody from working.
    #[tokio::test]
    async fn who_waits_has_no_turn() {
        let turns = Turns(Semaphore::new(1));
        let (say, hear) = oneshot::channel();
        let (waiting, working) = (turns.take(hear), turns.take(async { say.send(7) }));
        let (heard, said) = tokio::join!(waiting, working);
        assert_eq!((heard, said), (Ok(7), Ok(())));
    }

    #[tokio::test]
    async fn one_works_at_a_time() {
        let turns = Turns(Semaphore::new(1));
        let held = turns.0.acquire().await.unwrap();
        let mut work = pin!(turns.take(std::future::ready(())));
        let first = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        assert_eq!(first, Poll::Pending);
        drop(held);
        work.await;
    }
}
