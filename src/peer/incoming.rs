//! Streams that other servers open.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::now;
use super::dial::PeerTransport;
use super::federation::Federation;
use super::former::Former;
use super::machine::Machine;
use super::sending::PeerWire;
use super::stream::{Begun, Ended, Managed, Resumption, Stream};
use crate::base::hash::sha256;
use crate::router::Router;
use crate::router::handled_count::HandledCount;
use crate::router::peer_queue::PeerQueue;
use crate::session::link::Guard;
use crate::session::transport::PeerSecured;
use crate::stream::framing::Framing;
use crate::stream::s2s::{Incoming, Secured};
use crate::xml::ns;

/// A connection that another server opened.
pub struct NewPeer {
    /// The connection, on which nothing was read yet, but for TLS.
    pub transport: Box<dyn PeerTransport>,
    /// Where it comes from.
    pub peer: IpAddr,
    /// With direct TLS (XEP-0368).
    pub secured: Option<PeerSecured>,
    /// When it was accepted: the deadline of negotiation counts from here.
    pub since: Instant,
    /// Its place among those that are not authenticated (`s2s.streams_unauthenticated_max`): dropped as soon as it is.
    pub stranger: Guard,
}

/// Serves a stream to its end. `guard` is dropped when it ends (it counts streams per address).
pub async fn serve(federation: Arc<Federation>, connection: NewPeer, guard: Guard) {
    let NewPeer { transport, peer, secured, since, stranger } = connection;
    let proved = secured.as_ref().map(|secured| Secured(secured.certificate.clone()));
    let machine = Incoming::new(federation.policy.clone(), proved);
    let limits = &federation.context.router.limits;
    let begun = Begun {
        wire: PeerWire::new(transport, Framing::tcp(ns::SERVER, limits)),
        machine: Machine::Incoming(Box::new(machine)),
        names: Default::default(),
        address: peer,
        since,
        secured,
        stranger: Some(stranger),
    };
    let mut stream = Box::new(Stream::new(federation.clone(), begun));
    Box::pin(stream.run()).await;
    // What came on it is whole before another connection is told how much it was.
    stream.receiving.settled(SETTLE_TIME).await;
    let previd = match &stream.managed {
        Managed::On(Some(Resumption::Theirs(previd, _))) => Some(previd.clone()),
        _ => None,
    };
    if let Some(previd) = &previd {
        let id = sha256(previd.as_bytes());
        match stream.ending {
            Some(Ended::Closed) => federation.resumables.forget(&id),
            _ => federation.resumables.disconnected(&id, now()),
        }
    }
    give_back(&federation, &mut stream, previd);
    stream.hang_up().await;
    drop(guard);
}

/// What the stream took of ours waits for another one, which begins by asking how much of it the peer has: by the SM-ID
/// of this one, which a peer like ours keeps the count of, too (see [`Stream::manage`]).
fn give_back(federation: &Federation, stream: &mut Stream, previd: Option<String>) {
    let router = &federation.context.router;
    let mut sending = stream.take_sending();
    let Some(previd) = previd.filter(|_| sending.is_counted()) else {
        let (queues, requests) = sending.end();
        stream.lose(requests);
        return queues.iter().for_each(|queue| leave(router, queue, || {}));
    };
    stream.lose(sending.keep_counts(federation.sent_bounds()));
    for (queue, sending) in sending.split(federation.sent_bounds()) {
        let handled_count = Arc::new(HandledCount::new(&router.limits));
        let former = (Former::new(previd.clone(), handled_count), sending);
        leave(router, &queue, || federation.leave_former(&queue.pair, former));
    }
}

/// Leaves a queue to a stream of our own, if something waits in it.
fn leave(router: &Router, queue: &Arc<PeerQueue>, first: impl FnOnce()) {
    if queue.release() {
        drop(first);
        return router.peers.forget(queue);
    }
    first();
    router.peers.call_again(queue);
}

/// How long what came may take to be durable.
const SETTLE_TIME: Duration = Duration::from_secs(10);
