//! Who sends a request: the client itself, or the one whom a trusted proxy names.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::http::HeaderMap;

use super::settings::Settings;
use crate::net::acceptor::Counted;
use crate::stream::sasl::ChannelBindings;

/// The connection under a request.
pub struct Connection {
    /// The other side's address.
    pub peer: IpAddr,
    /// When it was accepted.
    pub since: Instant,
    /// Set if TLS ends here.
    pub bindings: Option<ChannelBindings>,
    /// Counts it among those of its address.
    pub counted: Arc<Counted>,
}

impl Connection {
    /// See the fields.
    pub fn new(
        peer: IpAddr,
        since: Instant,
        bindings: Option<ChannelBindings>,
        counted: Counted,
    ) -> Arc<Self> {
        Arc::new(Self { peer, since, bindings, counted: Arc::new(counted) })
    }
}

/// Who sends a request.
#[derive(Clone)]
pub struct Visitor {
    /// The client's address.
    pub ip: IpAddr,
    /// Whether nobody in between can read along, as far as this side knows.
    pub secure: bool,
    /// The connection that the request came on.
    pub connection: Arc<Connection>,
}

impl Visitor {
    /// Judges by the connection and, if that is a trusted proxy's, by its headers.
    pub fn of(connection: Arc<Connection>, headers: &HeaderMap, settings: &Settings) -> Self {
        let trusts = |ip: IpAddr| settings.trusted_proxies.iter().any(|net| net.contains(&ip));
        let secure = connection.bindings.is_some();
        if !trusts(connection.peer) {
            return Self { ip: connection.peer, secure, connection };
        }
        // Each proxy adds who came to it at the end; what stands before the last stranger is his own word.
        let named = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
        let chain: Vec<IpAddr> = named
            .flat_map(|line| line.split(','))
            .filter_map(|ip| ip.trim().parse().ok())
            .collect();
        let stranger = chain.iter().rev().map(IpAddr::to_canonical).find(|ip| !trusts(*ip));
        let first = || chain.first().map(IpAddr::to_canonical);
        let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        Self {
            ip: stranger.or_else(first).unwrap_or(connection.peer),
            secure: secure || proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https")),
            connection,
        }
    }
}
