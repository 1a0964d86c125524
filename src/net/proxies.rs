//! The proxies before the server: which addresses are theirs, and what is believed of them.

use std::net::IpAddr;

use ipnet::IpNet;

/// The proxies of a kind of listener. Nobody else is believed anything but where it connects from.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Those that carry the requests of others, whom they name in each of them (`X-Forwarded-For`).
    pub carry: Vec<IpNet>,
    /// Those that begin each connection with who is behind it (the PROXY protocol).
    pub announce: Vec<IpNet>,
}

impl Proxies {
    /// Whether requests of others come from this address.
    pub fn carries(&self, address: IpAddr) -> bool {
        has(&self.carry, address)
    }

    /// Whether connections from this address begin with the PROXY protocol.
    pub fn announces(&self, address: IpAddr) -> bool {
        has(&self.announce, address)
    }
}

fn has(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}
