//! Streams that other servers open.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::now;
use super::dial::PeerTransport;
use super::federation::Federation;
use super::machine::Machine;
use super::sending::PeerWire;
use super::stream::{Begun, Ended, Managed, Resumption, Stream};
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
    let end = match (&stream.managed, &stream.ending) {
        (Managed::On(Some(Resumption::Theirs(id, _))), ending) => Some((*id, ending.clone())),
        _ => None,
    };
    if let Some((id, ending)) = end {
        match ending {
            Some(Ended::Closed) => federation.resumables.forget(&id),
            _ => federation.resumables.disconnected(&id, now()),
        }
    }
    give_back(&federation, &mut stream);
    stream.hang_up().await;
    drop(guard);
}

/// What the stream took of ours waits for another one.
fn give_back(federation: &Federation, stream: &mut Stream) {
    let peers = &federation.context.router.peers;
    let (queues, requests) = stream.take_sending().end();
    stream.lose(requests);
    for queue in queues {
        match queue.release() {
            true => peers.forget(&queue),
            // For a stream of our own.
            false => peers.call_again(&queue),
        }
    }
}

/// How long what came may take to be durable.
const SETTLE_TIME: Duration = Duration::from_secs(10);
