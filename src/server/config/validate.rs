//! What the types cannot say: values that contradict a spec, each other, or sense.

use super::domains::prepared_domain;
use super::faults::Faults;
use super::origins::Origins;
use super::schema::nearest;
use super::sections::network;
use super::validate_acme::acme;
use super::validate_component::components;
use super::validate_s2s::s2s;
use super::{Config, Problem};
use crate::jid::BareJid;
use crate::jid::prep::domainpart;
use crate::modules;
use crate::modules::api::is_uri;
use crate::stream::sasl::Mechanism;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::Targets;

/// All faults of a configuration whose types are right.
pub(super) fn validate(config: &Config, origins: &Origins) -> Vec<Problem> {
    let mut faults = Faults::new(origins);
    hosts(config, &mut faults);
    web(config, &mut faults);
    listeners(config, &mut faults);
    s2s(config, &mut faults);
    components(config, &mut faults);
    acme(config, &mut faults);
    sasl(config, &mut faults);
    limits(config, &mut faults);
    archive(config, &mut faults);
    admins(config, &mut faults);
    contacts(config, &mut faults);
    data_policy(config, &mut faults);
    external(config, &mut faults);
    services(config, &mut faults);
    rest(config, &mut faults);
    faults.found
}

fn hosts(config: &Config, faults: &mut Faults<'_>) {
    if config.host.is_empty() {
        faults.add("host", "no domain is served", "add a section [[host]] with a domain");
    }
    let mut seen = BTreeSet::new();
    for (index, host) in config.host.iter().enumerate() {
        let key = |name: &str| format!("host.{index}.{name}");
        if host.domain.is_empty() {
            let fix = "write domain = \"example.org\" in this [[host]]";
            faults.add(&key("domain"), "a host without a domain", fix);
        } else if let Err(why) = prepared_domain(&host.domain) {
            let what = format!("`{}` is no domain: {why}", host.domain);
            let fix = "write the domain as it stands after the @ in addresses, without a port";
            faults.add(&key("domain"), what, fix);
        } else if !seen.insert(prepared_domain(&host.domain)) {
            let what = format!("the domain `{}` is there twice", host.domain);
            faults.add(&key("domain"), what, "remove one of the two [[host]] sections");
        }
        if host.certificate.is_some() != host.key.is_some() {
            let (there, missing) =
                if host.key.is_some() { ("key", "certificate") } else { ("certificate", "key") };
            faults.add(
                &key(there),
                format!("`{}` has a {there}, but no {missing}", host.domain),
                &format!("name the {missing}'s PEM file too, or remove the {there}"),
            );
        }
    }
}

fn web(config: &Config, faults: &mut Faults<'_>) {
    let web = &config.web;
    for (key, list) in [
        ("web.trusted_proxies", &web.trusted_proxies),
        ("web.proxy_protocol", &web.proxy_protocol),
        ("c2s.proxy_protocol", &config.c2s.proxy_protocol),
        ("s2s.proxy_protocol", &config.s2s.proxy_protocol),
    ] {
        for text in list.iter().filter(|text| network(text).is_none()) {
            let what = format!("`{text}` is neither an address nor a network");
            faults.add(key, what, "write it as \"10.0.0.7\" or \"10.0.0.0/8\"");
        }
    }
    let is_https = |url: &str| url.starts_with("https://") && url.len() > 8 && is_uri(url);
    if !web.url.is_empty() && !is_https(&web.url) {
        let what = format!("`{}` is no address of a web server with TLS", web.url);
        faults.add("web.url", what, "write it as \"https://chat.example.org\", or remove it");
    }
    // RFC 7395 §3.6.1: clients do not follow to where they are less secure.
    let is_secure = |uri: &str| uri.starts_with("wss://") || uri.starts_with("https://");
    let leads = |uri: &str| is_secure(uri) && names_a_host(uri);
    if !web.moved_to.is_empty() && !leads(&web.moved_to) {
        let what = format!("`{}` is no address of a WebSocket with TLS", web.moved_to);
        faults.add("web.moved_to", what, "write it as \"wss://chat.example.org/ws\", or remove it");
    }
    for (key, secs) in [
        ("web.head_secs", web.head_secs),
        ("web.body_secs", web.body_secs),
        ("web.idle_secs", web.idle_secs),
    ] {
        faults.at_least(key, secs, 1, "nobody could be served");
        faults.at_most(key, secs, 3_600, "who says nothing would hold the connection");
    }
    for (key, secs) in [
        ("web.bosh_wait_max_secs", web.bosh_wait_max_secs),
        ("web.bosh_inactivity_secs", web.bosh_inactivity_secs),
    ] {
        // XEP-0124 §22: what the protocol can say.
        if !(1..=u64::from(u16::MAX) / 2).contains(&secs) {
            let what = format!("{secs} seconds are no time that BOSH can speak of");
            faults.add(key, what, "set it to 60, say");
        }
    }
}

fn names_a_host(uri: &str) -> bool {
    is_uri(uri) && uri.parse::<axum::http::Uri>().is_ok_and(|uri| uri.authority().is_some())
}

fn listeners(config: &Config, faults: &mut Faults<'_>) {
    let c2s = &config.c2s;
    if c2s.listen.is_empty() && c2s.listen_tls.is_empty() {
        faults.add("c2s.listen", "clients have no address to connect to", "set c2s.listen");
    }
    let of = |key: &'static str, list: &[SocketAddr]| -> Vec<(&'static str, SocketAddr)> {
        list.iter().map(|address| (key, *address)).collect()
    };
    let all: Vec<_> =
        config.listeners().iter().flat_map(|(key, addresses)| of(key, addresses)).collect();
    for (index, (key, address)) in all.iter().enumerate() {
        for (_, other) in all.get(..index).unwrap_or_default() {
            if address.port() == 0 || address.port() != other.port() {
                continue;
            }
            if address == other {
                let what = format!("the address {address} is listed twice");
                faults.add(key, what, "give each listener an address and port of its own");
            } else if covers(address, other) || covers(other, address) {
                let what =
                    format!("{address} and {other} cannot be listened on both: one has the other");
                faults.add(key, what, "leave one of them out, or give it a port of its own");
            }
        }
    }
}

/// Whether a listener on `all` gets what comes to `one`. What `[::]` gets over IPv4 is up to the system.
fn covers(all: &SocketAddr, one: &SocketAddr) -> bool {
    all.ip().is_unspecified() && all.is_ipv6() == one.is_ipv6()
}

fn sasl(config: &Config, faults: &mut Faults<'_>) {
    let sasl = &config.sasl;
    if sasl.mechanisms.is_empty() {
        let fix = "name at least one, or remove the key for the default";
        faults.add("sasl.mechanisms", "nobody can log in: no mechanism is offered", fix);
    }
    let known = Mechanism::ALL.map(|one| one.as_str().to_owned());
    for name in sasl.mechanisms.iter().filter(|name| !known.contains(name)) {
        let fix = nearest(&name.to_uppercase(), &known).map_or_else(
            || format!("use some of {}", known.join(", ")),
            |near| format!("write `{near}` if that is what you mean, else remove it"),
        );
        faults.add("sasl.mechanisms", format!("unknown mechanism `{name}`"), &fix);
    }
    faults.at_least("sasl.iterations", sasl.iterations, 4_096, "RFC 7677 §4 forbids less");
    let why = "each login would keep a processor busy for seconds";
    faults.at_most("sasl.iterations", sasl.iterations, 1_000_000, why);
    let why = "clients give up before the answer comes";
    faults.at_most("sasl.delay_max_ms", sasl.delay_max_ms, 30_000, why);
    if sasl.delay_first_ms > sasl.delay_max_ms {
        faults.add(
            faults.either("sasl.delay_first_ms", "sasl.delay_max_ms"),
            "`sasl.delay_first_ms` is greater than `sasl.delay_max_ms`",
            "make the first delay the smaller one",
        );
    }
}

fn limits(config: &Config, faults: &mut Faults<'_>) {
    let limits = &config.limits;
    let wide = |value: usize| u128::try_from(value).unwrap_or(u128::MAX);
    let rfc = "RFC 6120 §13.12 forbids to refuse stanzas under 10000 bytes";
    let unknown = limits.stanza_bytes_max_unauthenticated;
    faults.at_least("limits.stanza_bytes_max", wide(limits.stanza_bytes_max), 10_000, rfc);
    faults.at_least("limits.stanza_bytes_max_unauthenticated", wide(unknown), 10_000, rfc);
    let most = 64 * 1_048_576;
    let why = "one stanza could fill the memory of every receiver";
    faults.at_most("limits.stanza_bytes_max", wide(limits.stanza_bytes_max), most, why);
    let ordinary = "ordinary stanzas would be refused";
    faults.at_least("limits.depth_max", wide(limits.depth_max), 16, ordinary);
    faults.at_least("limits.attributes_max", wide(limits.attributes_max), 16, ordinary);
    faults.at_least("limits.children_max", wide(limits.children_max), 16, ordinary);
    let time = "no client could ever log in";
    faults.at_least("limits.unauthenticated_secs", limits.unauthenticated_time.as_secs(), 1, time);
    let ping = "the server would do nothing but ping";
    faults.at_least("limits.ping_after_secs", limits.ping_after.as_secs(), 1, ping);
    faults.at_least("limits.ping_timeout_secs", limits.ping_timeout.as_secs(), 1, ping);
    let retry = "RFC 6120 §6.4.5 wants clients to have two retries";
    faults.at_least("limits.auth_attempts_max", limits.auth_attempts_max, 3, retry);
    let one = "nobody could be online";
    faults.at_least("limits.resources_per_account", wide(limits.resources_per_account), 1, one);
    let why = "every message would wait for the one before it";
    let uncommitted = wide(limits.uncommitted_stanzas_max);
    faults.at_least("limits.uncommitted_stanzas_max", uncommitted, 2, why);
    let uncommitted = wide(limits.uncommitted_bytes_max);
    faults.at_least("limits.uncommitted_bytes_max", uncommitted, 10_000, why);
    if limits.outbox_bytes_max < limits.stanza_bytes_max {
        let what = "`limits.outbox_bytes_max` is less than `limits.stanza_bytes_max`: the largest \
                    stanza could not be delivered";
        let key = faults.either("limits.outbox_bytes_max", "limits.stanza_bytes_max");
        faults.add(key, what, "make `limits.outbox_bytes_max` a few times the largest stanza");
    }
    let rates = [
        ("limits.bytes_burst", limits.bytes_burst, limits.bytes_per_second),
        ("limits.stanzas_burst", limits.stanzas_burst, limits.stanzas_per_second),
    ];
    for (key, burst, rate) in rates {
        if rate > 0 {
            faults.at_least(key, burst, 1, "with a rate and no burst nothing gets through");
        }
    }
}

fn archive(config: &Config, faults: &mut Faults<'_>) {
    for (index, host) in config.host.iter().enumerate() {
        let days = host.archive_retention_days;
        if days != -1 && u32::try_from(days).is_err() {
            faults.add(
                &format!("host.{index}.archive_retention_days"),
                format!("`{}` cannot keep messages for {days} days", host.domain),
                "set it to a number of days, 0 for ever, or -1 for modules.mam.retention_days",
            );
        }
    }
    let served: Vec<_> =
        config.host.iter().filter_map(|host| prepared_domain(&host.domain).ok()).collect();
    for account in config.modules.mam.account_retention_days.keys() {
        if !is_ours(account, &served) {
            faults.add(
                "modules.mam.account_retention_days",
                format!("`{account}` is no address of an account here"),
                "write it as user@domain, with a domain that is served",
            );
        }
    }
}

/// Admins are accounts here: others could not be told from whoever claims to be them.
fn admins(config: &Config, faults: &mut Faults<'_>) {
    let served: Vec<_> =
        config.host.iter().filter_map(|host| prepared_domain(&host.domain).ok()).collect();
    let lists =
        [("admin.owners", &config.admin.owners), ("admin.operators", &config.admin.operators)];
    for (key, list) in lists {
        for account in list.iter().filter(|account| !is_ours(account, &served)) {
            let what = format!("`{account}` is no address of an account here");
            faults.add(key, what, "write it as user@domain, with a domain that is served");
        }
    }
}

fn is_ours(account: &str, served: &[String]) -> bool {
    let jid = BareJid::parse(account);
    jid.is_ok_and(|jid| jid.local().is_some() && served.contains(&jid.domain().to_owned()))
}

/// XEP-0157 §3
fn contacts(config: &Config, faults: &mut Faults<'_>) {
    for (key, _, list) in config.modules.contacts.lists() {
        let key = format!("modules.contacts.{key}");
        for address in list.iter().filter(|address| !is_uri(address)) {
            let what = format!("`{address}` is no URI, so no client could use it");
            faults.add(&key, what, "write it like mailto:abuse@example.org or https://example.org");
        }
        faults.at_most(&key, list.len() as u64, 16, "each client is sent all of them");
    }
}

/// XEP-0504 §3
fn data_policy(config: &Config, faults: &mut Faults<'_>) {
    for (key, wanted) in config.modules.data_policy.faults() {
        let key = format!("modules.data_policy.{key}");
        faults.add(&key, format!("`{key}` is not {wanted}"), "correct it, or remove the key");
    }
}

/// XEP-0215 §2
fn external(config: &Config, faults: &mut Faults<'_>) {
    let external = &config.modules.external;
    let key = "modules.external.services";
    for (number, (what, fix)) in external.faults() {
        faults.add(key, format!("service {} of `{key}` {what}", number + 1), fix);
    }
    faults.at_most(key, external.services.len() as u64, 32, "each client is sent all of them");
    let (key, secs) = ("modules.external.credentials_secs", external.credentials_secs);
    faults.at_least(key, secs, 60, "a call could not begin before they are over");
    faults.at_most(key, secs, 31_536_000, "whoever finds old ones could use them still");
}

/// Each service has domains of its own.
fn services(config: &Config, faults: &mut Faults<'_>) {
    let hosts = config.host.iter().filter_map(|host| prepared_domain(&host.domain).ok());
    // One that is there twice is told of as such.
    let hosts: BTreeSet<String> = hosts.collect();
    let mut taken = hosts.clone();
    for (module, label) in labels(&config.modules) {
        let key = format!("modules.{module}.label");
        for host in &hosts {
            let domain = format!("{label}.{host}");
            if !domainpart(&domain).is_ok_and(|normal| normal == domain) {
                let what = format!("`{key}` makes no domain in normal form: {domain}");
                faults.add(&key, what, "use lower-case letters and digits, such as \"echo\"");
            } else if !taken.insert(domain.clone()) {
                let what = format!("`{key}` makes {domain}, which is a host or another service");
                faults.add(&key, what, "choose another name");
            }
        }
    }
}

fn labels(config: &modules::Config) -> impl Iterator<Item = (&'static str, &str)> {
    modules::ALL.iter().filter_map(|module| {
        let label = (module.service?.label)(config)?;
        Some((module.name, label))
    })
}

fn rest(config: &Config, faults: &mut Faults<'_>) {
    let wide = |value: usize| u128::try_from(value).unwrap_or(u128::MAX);
    if config.data_dir.as_os_str().is_empty() {
        faults.add("data_dir", "`data_dir` is empty", "name a folder the server may write to");
    }
    faults.at_least("store.readers", wide(config.store.readers), 1, "nothing could be read");
    faults.at_most("store.readers", wide(config.store.readers), 64, "each is a thread");
    let queue = wide(config.store.queue_bytes_max);
    let why = "every write would wait for the one before it";
    faults.at_least("store.queue_bytes_max", queue, 1_048_576, why);
    faults.at_least("store.queue_jobs_max", wide(config.store.queue_jobs_max), 16, why);
    let longest = wide(config.modules.register.password_length_min);
    let why = "people would write their passwords down";
    faults.at_most("modules.register.password_length_min", longest, 64, why);
    let devices = &config.modules.devices;
    faults.at_least("modules.devices.per_account", devices.per_account, 1, "nobody has a device");
    let why = "whoever finds an old device would be in";
    faults.at_most("modules.devices.token_days", devices.token_days, 365, why);
    let why = "the devices that are used would be forgotten";
    let least = u128::from(devices.token_days.max(1));
    faults.at_least("modules.devices.forget_days", devices.forget_days, least, why);
    if let Some(why) = no_level(&config.log.level) {
        faults.add(
            "log.level",
            format!("`{}` is no log level: {why}", config.log.level),
            "use error, warn, info, debug or trace, with exceptions such as \
             \"info,stonechat::net=debug\"",
        );
    }
    let socket = config.admin_socket();
    if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let key = if config.admin.socket.is_some() { "admin.socket" } else { "data_dir" };
        faults.add(
            key,
            format!("the path of the admin socket is too long: {}", socket.display()),
            "set admin.socket to a path under 104 bytes",
        );
    }
}

/// Why a text is no log level. The filter itself would take a word that it does not know for the name
/// of a part of the program, and then log nothing of the others.
fn no_level(text: &str) -> Option<String> {
    if let Err(error) = text.parse::<Targets>() {
        return Some(error.to_string());
    }
    let whole = |word: &&str| !word.contains(['=', '[']);
    let mut words = text.split(',').map(str::trim).filter(whole);
    let unknown = words.find(|word| word.is_empty() || word.parse::<LevelFilter>().is_err())?;
    Some(if unknown.is_empty() {
        "a word is missing".to_owned()
    } else {
        format!("`{unknown}` means nothing")
    })
}

/// The least `sun_path` among today's systems is 104 bytes with its final zero.
const SOCKET_PATH_BYTES_MAX: usize = 103;
