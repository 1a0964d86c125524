//! The names of the server's services beside its hosts: rooms, nodes and more, each at a domain of its own.

use crate::modules;
use crate::server::config::{Config, is_public};

/// Says which there are, and which need a DNS record if other servers are to find them. Clients of this server need
/// none: they reach all of them through it.
pub fn lines(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for host in &config.host {
        for (domain, what) in of(&config.module_config(), &host.domain) {
            let record = match (is_public(&host.domain), config.s2s.enabled) {
                (true, true) => format!(
                    "its users need no DNS record for it; other servers find it by _xmpp-server._tcp.{domain}"
                ),
                (true, false) => "no DNS record is needed, as s2s.enabled is false".to_owned(),
                (false, _) => "no DNS record is needed, as no other server can reach it".to_owned(),
            };
            lines.push(format!("service: {domain} ({what}); {record}"));
        }
    }
    lines
}

/// Domains of the services at a host, and what each is.
pub(super) fn of(config: &modules::Config, host: &str) -> Vec<(String, String)> {
    let served = |module: &&'static modules::api::Module| {
        let service = module.service.as_ref()?;
        let label = (service.label)(config)?;
        let name = service.identity.name.unwrap_or(module.name);
        Some((format!("{label}.{host}"), name.to_lowercase()))
    };
    modules::ALL.iter().filter_map(served).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_a_public_domain_needs_a_record() {
        for (host, needs) in [
            ("example.org", true),
            ("chat.example.org", true),
            ("localhost", false),
            ("box.local", false),
            ("chat.home.arpa", false),
            ("server", false),
            ("192.0.2.1", false),
            ("[2001:db8::1]", false),
        ] {
            assert_eq!(is_public(host), needs, "{host}");
        }
    }

    #[test]
    fn services_are_named_with_their_hosts() {
        let mut config = modules::Config::default();
        let rooms = |config: &modules::Config| {
            let all = of(config, "example.org");
            all.into_iter().find(|(_, what)| what == "rooms").map(|(domain, _)| domain)
        };
        assert_eq!(rooms(&config).as_deref(), Some("conference.example.org"));
        config.muc.label = "talk".to_owned();
        assert_eq!(rooms(&config).as_deref(), Some("talk.example.org"));
        config.muc.label = String::new();
        assert_eq!(rooms(&config), None);
    }
}
