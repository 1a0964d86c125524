//! Which addresses are those of other servers: whoever writes a domain's records must not choose among what this
//! machine alone can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is reachable from everywhere (RFC 6890): not this machine, a private network, a group or an
/// example. What translates IPv4 counts as the address inside.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => is_public_four(four),
        IpAddr::V6(six) => embedded(six).map_or_else(|| is_public_six(six), is_public_four),
    }
}

fn is_public_four(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_loopback()
        || address.is_private() // RFC 1918
        || address.is_link_local() // RFC 3927
        || address.is_documentation() // RFC 5737
        || address.is_multicast();
    let reserved = match (a, b, c) {
        // "This network" and what is reserved, broadcast included (RFC 1122 §3.2.1.3, RFC 1112 §4).
        (0, ..) | (240.., ..) => true,
        // Behind a provider's translation (RFC 6598).
        (100, 64..128, _) => true,
        // For protocols (RFC 6890 §2.1), the old 6to4 relays (RFC 7526), and benchmarks (RFC 2544).
        (192, 0, 0) | (192, 88, 99) | (198, 18..20, _) => true,
        _ => false,
    };
    !special && !reserved
}

fn is_public_six(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Global unicast is 2000::/3 (RFC 4291 §2.4): neither `::1`, nor fc00::/7 (RFC 4193), fe80::/10 or ff00::/8.
    let global = first & 0xe000 == 0x2000;
    // RFC 3849, RFC 9637; Teredo and other protocols (RFC 2928).
    let example = (first == 0x2001 && second == 0xdb8) || (first == 0x3fff && second < 0x1000);
    let protocols = first == 0x2001 && second < 0x200;
    global && !example && !protocols
}

/// The IPv4 address that NAT64 (RFC 6052 §2.1) or 6to4 (RFC 3056 §2) leads to.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let four = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(four(high, low)),
        [0x2002, high, low, ..] => Some(four(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_machine_reaches_is_not_public() {
        for public in
            ["9.9.9.9", "172.32.0.1", "100.128.0.1", "2620:fe::fe", "64:ff9b::909:909", "2a01::1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for own in [
            "0.0.0.0",
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::",
            "::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(own.parse().unwrap()), "{own}");
        }
    }
}
