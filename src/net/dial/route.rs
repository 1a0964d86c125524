//! Static routes: where a domain is, whatever the DNS says.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::net::dns::a_labels;
use crate::net::dns::select::{Begin, PORT, Target};

/// A place as `127.0.0.1:5269`, `[::1]:5269`, `xmpp.example.org` or `xmpp.example.org:5269`; with `tls://` before it,
/// TLS begins with the first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route(pub(super) Target);

impl Route {
    /// An address where TLS is started.
    pub(super) fn to(place: SocketAddr) -> Self {
        let (host, port) = (place.ip().to_string(), place.port());
        Self(Target { host, port, begin: Begin::StartTls, secure: false })
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (begin, place) = match text.strip_prefix("tls://") {
            Some(rest) => (Begin::Direct, rest),
            None => (Begin::StartTls, text),
        };
        let target = |host, port| Ok(Self(Target { host, port, begin, secure: false }));
        if let Ok(address) = place.parse::<SocketAddr>() {
            return target(address.ip().to_string(), some(address.port())?);
        }
        if let Ok(ip) = place.parse::<std::net::IpAddr>() {
            return target(ip.to_string(), PORT);
        }
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| format!("`{port}` is no port"))?),
            None => (place, PORT),
        };
        let host = a_labels(host).ok_or_else(|| format!("`{host}` is no host"))?;
        target(host, some(port)?)
    }
}

fn some(port: u16) -> Result<u16, String> {
    if port == 0 { Err("0 is no port".to_owned()) } else { Ok(port) }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { host, port, begin, .. } = &self.0;
        let tls = if *begin == Begin::Direct { "tls://" } else { "" };
        if host.contains(':') {
            write!(f, "{tls}[{host}]:{port}")
        } else {
            write!(f, "{tls}{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_in_few_ways() {
        for (text, read) in [
            ("127.0.0.1:5269", "127.0.0.1:5269"),
            ("127.0.0.1", "127.0.0.1:5269"),
            ("[::1]:15269", "[::1]:15269"),
            ("::1", "[::1]:5269"),
            ("tls://127.0.0.1:5270", "tls://127.0.0.1:5270"),
            ("xmpp.Example.org", "xmpp.example.org:5269"),
            ("bücher.example:1", "xn--bcher-kva.example:1"),
            ("tls://xmpp.example.org:443", "tls://xmpp.example.org:443"),
        ] {
            assert_eq!(text.parse::<Route>().unwrap().to_string(), read, "{text}");
        }
        for wrong in ["", ":5269", "a b", "host:0", "127.0.0.1:0", "host:x", "http://host", "a..b"]
        {
            assert!(wrong.parse::<Route>().is_err(), "{wrong}");
        }
    }
}
