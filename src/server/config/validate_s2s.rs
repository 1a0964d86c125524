//! What is wrong with `[s2s]`, but for its listeners.

use super::Config;
use super::domains::prepared_domain;
use super::faults::Faults;
use crate::net::dial::Route;

/// All faults of the section.
pub(super) fn s2s(config: &Config, faults: &mut Faults<'_>) {
    domains(config, faults);
    bounds(config, faults);
}

fn domains(config: &Config, faults: &mut Faults<'_>) {
    let s2s = &config.s2s;
    for (key, list) in [
        ("s2s.dialback_domains", &s2s.dialback_domains),
        ("s2s.allow", &s2s.allow),
        ("s2s.deny", &s2s.deny),
    ] {
        for domain in list {
            if let Err(why) = prepared_domain(domain) {
                let what = format!("`{domain}` is no domain: {why}");
                faults.add(key, what, "write it as it stands after the @ in addresses");
            }
        }
    }
    for (domain, place) in &s2s.routes {
        if let Err(why) = prepared_domain(domain) {
            let what = format!("`{domain}` in `s2s.routes` is no domain: {why}");
            faults.add("s2s.routes", what, "write it as it stands after the @ in addresses");
        }
        if let Err(why) = place.parse::<Route>() {
            let what = format!("`s2s.routes` has no place for `{domain}`: {why}");
            let fix = "write it as \"192.0.2.1:5269\" or \"tls://xmpp.example.org:5270\"";
            faults.add("s2s.routes", what, fix);
        }
    }
    for address in s2s.resolver.iter().filter(|address| address.port() == 0) {
        let what = format!("`{address}` is no DNS server: port 0 is none");
        faults.add("s2s.resolver", what, "write it as \"192.0.2.53:53\"");
    }
    faults.at_most("s2s.resolver", s2s.resolver.len() as u64, 8, "nobody needs so many");
}

fn bounds(config: &Config, faults: &mut Faults<'_>) {
    let s2s = &config.s2s;
    let wide = |value: usize| u128::try_from(value).unwrap_or(u128::MAX);
    let none = "no server could be reached";
    faults.at_least("s2s.connect_secs", s2s.connect_secs, 1, none);
    faults.at_most("s2s.connect_secs", s2s.connect_secs, 30, "it is given up after 30");
    faults.at_least("s2s.idle_secs", s2s.idle_secs, 10, "streams would end while they are used");
    faults.at_least("s2s.domains_per_stream_max", wide(s2s.domains_per_stream_max), 1, none);
    faults.at_least("s2s.outgoing_max", wide(s2s.outgoing_max), 1, none);
    faults.at_most(
        "s2s.message_hours",
        s2s.message_hours,
        24 * 30,
        "people would believe that it arrived",
    );
    faults.at_least("s2s.iq_secs", s2s.iq_secs, 1, "no other server could be asked");
    faults.at_most("s2s.iq_secs", s2s.iq_secs, 3_600, "clients would have given up");
    let why = "no message could wait for its server";
    faults.at_least("s2s.queue_stanzas_max", wide(s2s.queue_stanzas_max), 16, why);
    let stanza = wide(config.limits.stanza_bytes_max);
    let largest = "the largest stanza (limits.stanza_bytes_max) would not fit";
    faults.at_least("s2s.queue_bytes_max", s2s.queue_bytes_max, stanza, largest);
    let little = "each stanza would be read from the disk";
    faults.at_least("s2s.memory_bytes_max", wide(s2s.memory_bytes_max), 16_384, little);
}
