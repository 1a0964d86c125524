//! Streams that other servers open.

use std::net::IpAddr;
use std::time::Instant;

use super::dial::PeerTransport;
use crate::session::link::Guard;
use crate::session::transport::PeerSecured;

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
pub async fn serve(connection: NewPeer, guard: Guard) {
    drop((connection, guard));
    std::future::ready(()).await;
}
