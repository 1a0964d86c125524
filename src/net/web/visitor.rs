//! Who sends a request: the client itself, or the one whom a trusted proxy names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::http::{HeaderMap, Version};

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
    /// Whether TLS ends at a proxy that passes the connection on.
    pub secured: bool,
    /// Counts it among those of its address, or of all proxies.
    pub counted: Arc<Counted>,
    /// Whether the log says that something was refused.
    pub told: AtomicBool,
}

impl Connection {
    /// True once: nobody fills the log by what is refused.
    pub fn tells(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
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
    /// Counts the visitor: the connection, or what came on a proxy's.
    pub counted: Arc<Counted>,
}

impl Visitor {
    /// Judges by the connection and, if that is a trusted proxy's, by its headers. None beyond
    /// `limits.streams_per_ip`.
    pub fn of(
        connection: Arc<Connection>,
        version: Version,
        headers: &HeaderMap,
        settings: &Settings,
    ) -> Option<Self> {
        let secure = connection.bindings.is_some() || connection.secured;
        if !connection.counted.is_proxys() {
            let ip = connection.peer;
            // HTTP/2 has many at once.
            let counted = match version {
                Version::HTTP_2 => Arc::new(connection.counted.another(ip)?),
                _ => connection.counted.clone(),
            };
            return Some(Self { ip, secure, connection, counted });
        }
        let named = headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().ok());
        let ip = behind(connection.peer, named, |ip| settings.proxies.carries(ip));
        let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        let secure = secure || proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        let counted = Arc::new(connection.counted.another(ip)?);
        Some(Self { ip, secure, connection, counted })
    }

    /// Waits until somebody behind a proxy may open a stream; whoever connects without has waited. Returns false
    /// if the server stops meanwhile.
    pub async fn wait_its_turn(&self) -> bool {
        let counted = &self.connection.counted;
        !counted.is_proxys() || counted.wait_its_turn(self.ip).await
    }
}

/// Who is behind a proxy. Each proxy adds at the end who came to it: read from there, the first who is no proxy
/// is who it is, and what stands before is his own word. Where a trusted word ends, nobody is believed further.
fn behind<'a>(
    proxy: IpAddr,
    lines: impl DoubleEndedIterator<Item = Option<&'a str>>,
    trusts: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut last = proxy;
    for line in lines.rev() {
        let Some(line) = line else { return last };
        for one in line.rsplit(',') {
            let Some(ip) = address(one.trim()) else { return last };
            last = ip;
            if !trusts(ip) {
                return ip;
            }
        }
    }
    last
}

/// An address, which some proxies write with the port.
fn address(text: &str) -> Option<IpAddr> {
    let ip: IpAddr = match text.parse() {
        Ok(ip) => ip,
        Err(_) => match text.parse::<SocketAddr>() {
            Ok(address) => address.ip(),
            Err(_) => text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?,
        },
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_believed_nothing() {
        let proxy = IpAddr::from([10, 0, 0, 1]);
        let trusts = |ip: IpAddr| ip.to_string().starts_with("10.");
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9", "192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["203.0.113.9, unknown"], "10.0.0.1"),
            (&["203.0.113.9,"], "10.0.0.1"),
        ] {
            let named = lines.iter().map(|line| Some(*line));
            assert_eq!(behind(proxy, named, trusts).to_string(), expected, "{lines:?}");
        }
    }
}
