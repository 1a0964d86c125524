//! Which names have a place in the DNS that everybody sees.

/// Names without a place in the DNS: RFC 6761 §6, RFC 6762 §3, RFC 8375, RFC 9476; one without a dot has none either.
pub fn is_public(host: &str) -> bool {
    if host.ends_with(".home.arpa") {
        return false;
    }
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_local = ["localhost", "local", "test", "invalid", "internal", "lan", "home", "alt"];
    let is_ip = host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[');
    host.contains('.') && !is_ip && !is_local.contains(&last)
}
