//! Connecting to the first of several addresses that answers (RFC 8305 §5): each next one has its turn a moment after
//! the one before, or at once when that has failed.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::socket::now;

/// One connection that was tried.
pub(super) struct Tried {
    /// Where to.
    pub(super) address: SocketAddr,
    /// How long it took, or had taken when another one won.
    pub(super) took: Duration,
    /// None if it won.
    pub(super) failure: Option<Failure>,
}

/// Why a connection is not the one.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answered in time.
    Timeout,
    /// Refused, unreachable, …
    Refused(io::Error),
    /// Another one was faster.
    Slower,
}

type Connecting = Pin<Box<dyn Future<Output = Result<TcpStream, Failure>> + Send>>;

struct Runner {
    address: SocketAddr,
    since: Instant,
    connecting: Connecting,
}

/// Races; each connection may take `limit`. All that were tried are noted. None if none answered.
pub(super) async fn race(
    addresses: Vec<SocketAddr>,
    limit: Duration,
    tried: &mut Vec<Tried>,
) -> Option<(TcpStream, SocketAddr)> {
    let mut waiting = VecDeque::from(addresses);
    let mut running: Vec<Runner> = Vec::new();
    loop {
        if let Some(address) = waiting.pop_front() {
            running.push(start(address, limit));
        } else if running.is_empty() {
            return None;
        }
        // Until the next one's turn, or to the end.
        loop {
            let (index, done) = tokio::select! {
                done = first(&mut running) => done,
                () = sleep(ATTEMPT_DELAY), if !waiting.is_empty() => break,
            };
            let Runner { address, since, .. } = running.swap_remove(index);
            let took = now() - since;
            match done {
                Ok(stream) => {
                    tried.push(Tried { address, took, failure: None });
                    let slower = running.iter().map(|one| Tried {
                        address: one.address,
                        took: now() - one.since,
                        failure: Some(Failure::Slower),
                    });
                    tried.extend(slower);
                    return Some((stream, address));
                }
                Err(failure) => tried.push(Tried { address, took, failure: Some(failure) }),
            }
            if running.is_empty() || !waiting.is_empty() {
                break;
            }
        }
    }
}

fn start(address: SocketAddr, limit: Duration) -> Runner {
    let connecting = Box::pin(async move {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Failure::Refused(error)),
            Err(_) => Err(Failure::Timeout),
        }
    });
    Runner { address, since: now(), connecting }
}

/// The first that is done; never, if there is none.
async fn first(running: &mut [Runner]) -> (usize, Result<TcpStream, Failure>) {
    poll_fn(|cx| {
        for (index, runner) in running.iter_mut().enumerate() {
            if let Poll::Ready(done) = runner.connecting.as_mut().poll(cx) {
                return Poll::Ready((index, done));
            }
        }
        Poll::Pending
    })
    .await
}

/// RFC 8305 §8
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(5);

    async fn bound() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn a_refusal_gives_the_turn_to_the_next_at_once() {
        let (closed, gone) = bound().await;
        drop(closed);
        let (_open, there) = bound().await;
        let (mut tried, start) = (Vec::new(), now());
        let won = race(vec![gone, gone, there], LIMIT, &mut tried).await;
        assert_eq!(won.map(|(_, address)| address), Some(there));
        assert!(now() - start < ATTEMPT_DELAY);
        let failed: Vec<bool> = tried.iter().map(|one| one.failure.is_some()).collect();
        assert_eq!(failed, [true, true, false]);
    }

    #[tokio::test]
    async fn none_answers() {
        let (closed, gone) = bound().await;
        drop(closed);
        let mut tried = Vec::new();
        assert!(race(vec![gone, gone], LIMIT, &mut tried).await.is_none());
        assert!(matches!(&tried[1].failure, Some(Failure::Refused(_))));
        assert!(race(Vec::new(), LIMIT, &mut tried).await.is_none());
    }

    /// Its queue of connections is full, so it answers nothing, as a firewall that drops.
    #[tokio::test]
    async fn silence_gives_the_turn_to_the_next_after_a_moment() {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let silent = socket.local_addr().unwrap().as_socket().unwrap();
        let short = Duration::from_millis(100);
        let mut held = Vec::new();
        while let Some((stream, _)) = race(vec![silent], short, &mut Vec::new()).await {
            held.push(stream);
        }
        let (_open, there) = bound().await;
        let (mut tried, start) = (Vec::new(), now());
        let won = race(vec![silent, there], LIMIT, &mut tried).await;
        assert_eq!(won.map(|(_, address)| address), Some(there));
        assert!(now() - start >= ATTEMPT_DELAY);
        assert!(matches!(tried[1].failure, Some(Failure::Slower)));
    }
}
