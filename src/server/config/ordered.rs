//! Which names the certificate by `[acme]` is for, and what ordering needs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::domains::prepared_domain;
use super::public::is_public;
use crate::modules;
use crate::net::acme::{Challenge, LETS_ENCRYPT, Names, Settings, certificate_file};
use crate::net::tls::{bare_ip, in_certificates};

impl Config {
    /// Whether an authority that anybody knows may sign this name; one of one's own signs what it likes.
    fn signs(&self, domain: &str) -> bool {
        self.acme.directory != LETS_ENCRYPT || (is_public(domain) && bare_ip(domain).is_none())
    }

    /// Whether this host's certificate is ordered.
    pub fn is_ordered(&self, domain: &str, has_own: bool) -> bool {
        self.acme.agree && !has_own && self.signs(domain)
    }

    /// The names of the certificate that is ordered.
    pub fn ordered_names(&self) -> Names {
        let hosts = self.host.iter();
        let hosts = hosts.filter(|host| self.is_ordered(&host.domain, host.certificate.is_some()));
        let hosts: Vec<&str> = hosts.map(|host| host.domain.as_str()).collect();
        let mut names = Names {
            hosts: hosts.iter().map(|host| in_certificate(host)).collect(),
            others: self.acme.names.iter().map(|name| in_certificate(name)).collect(),
        };
        if self.acme.services {
            let module_config = self.module_config();
            let services = modules::ALL.iter().filter_map(|module| module.service.as_ref());
            let labels: Vec<_> = services.filter_map(|one| (one.label)(&module_config)).collect();
            for host in hosts.iter().filter(|host| bare_ip(host).is_none()) {
                names
                    .others
                    .extend(labels.iter().map(|label| in_certificate(&format!("{label}.{host}"))));
            }
            let components = self.component.iter();
            let components = components.filter_map(|one| prepared_domain(&one.domain).ok());
            let below = components
                .filter(|domain| hosts.iter().any(|host| domain.ends_with(&format!(".{host}"))));
            names.others.extend(below.map(|domain| in_certificate(&domain)));
        }
        let mut seen = names.hosts.clone();
        names.others.retain(|name| {
            let new = !seen.contains(name);
            seen.push(name.clone());
            new
        });
        names
    }

    /// What ordering needs; none if nothing is ordered.
    pub fn acme_settings(&self) -> Option<Settings> {
        let acme = &self.acme;
        let names = self.ordered_names();
        (acme.agree && !names.hosts.is_empty()).then(|| Settings {
            directory: acme.directory.clone(),
            email: acme.email.clone(),
            authority: acme.authority.clone(),
            challenge: acme.challenge,
            dns_command: acme.dns_command.clone(),
            dns_command_time: Duration::from_secs(acme.dns_command_secs),
            dns_wait: Duration::from_secs(acme.dns_wait_secs),
            names,
            folder: self.acme_folder(),
        })
    }

    /// The folder of the account's key, the certificate, and what is remembered.
    pub fn acme_folder(&self) -> PathBuf {
        self.data_dir.join("acme")
    }

    /// The certificate that is ordered.
    pub fn acme_file(&self) -> PathBuf {
        certificate_file(&self.acme_folder())
    }

    /// What an operator should know of it.
    pub(super) fn acme_warnings(&self) -> Vec<String> {
        let (config, acme) = (self, &self.acme);
        let mut lines = Vec::new();
        if !acme.agree {
            return lines;
        }
        for host in config.host.iter().filter(|host| host.certificate.is_none()) {
            if !config.is_ordered(&host.domain, false) {
                lines.push(format!(
                    "no certificate is ordered for {}: it has no place in the DNS that all know, so {} signs none",
                    host.domain, acme.directory
                ));
            }
        }
        let is_443 = |address: &SocketAddr| address.port() == 443;
        let c2s = &config.c2s.listen_tls;
        if acme.challenge == Challenge::TlsAlpn01
            && !config.web.listen.iter().chain(c2s).any(is_443)
        {
            lines.push(
                "acme.challenge is \"tls-alpn-01\", and no port of this server that begins with TLS is 443, which is \
                 where authorities look: add \"[::]:443\" to web.listen, or have 443 led to one of them"
                    .to_owned(),
            );
        }
        let mut plain = acme.listen.iter().chain(&config.web.listen_plain);
        if acme.challenge == Challenge::Http01 && !plain.any(|address| address.port() == 80) {
            lines.push(
                "acme.challenge is \"http-01\", and this server does not listen on port 80, which is where authorities \
                 look: set acme.listen = [\"[::]:80\"], or have what listens there pass /.well-known/acme-challenge/ on"
                    .to_owned(),
            );
        }
        lines
    }
}

/// A domain as it stands in a certificate.
fn in_certificate(domain: &str) -> String {
    bare_ip(domain).map_or_else(|| in_certificates(domain), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::{Inputs, load};

    fn loaded(sets: &[(&str, &str)]) -> Config {
        let sets = sets.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        load(&Inputs { sets: sets.collect(), ..Inputs::default() }).unwrap().config
    }

    #[test]
    fn the_certificate_is_for_hosts_services_and_what_is_added() {
        let base = [
            ("acme.agree", "true"),
            ("host.0.domain", "Bücher.example"),
            ("host.1.domain", "own.example"),
            ("host.1.certificate", "/c.pem"),
            ("host.1.key", "/c.key"),
            ("host.2.domain", "box.lan"),
            ("acme.names", "xmpp.example,xn--bcher-kva.example"),
        ];
        let names = loaded(&base).ordered_names();
        assert_eq!(names.hosts, ["xn--bcher-kva.example"]);
        for name in ["xmpp.example", "conference.xn--bcher-kva.example"] {
            assert!(names.others.contains(&name.to_owned()), "{names:?}");
        }
        assert!(!names.others.iter().any(|name| name.contains("own") || name.contains("lan")));
        assert_eq!(names.others.iter().filter(|name| names.hosts.contains(name)).count(), 0);
        // An authority of one's own signs what it likes.
        let own = [&base[..], &[("acme.directory", "https://ca.lan/dir")]].concat();
        assert_eq!(loaded(&own).ordered_names().hosts, ["xn--bcher-kva.example", "box.lan"]);
        let bare = [&base[..], &[("acme.services", "false")]].concat();
        assert_eq!(loaded(&bare).ordered_names().others, ["xmpp.example"]);
    }

    #[test]
    fn nothing_is_ordered_unless_somebody_says_so() {
        let config = loaded(&[("host.0.domain", "a.example")]);
        assert!(config.acme_settings().is_none());
        assert!(config.acme.listeners().is_empty() && config.acme_warnings().is_empty());
    }

    #[test]
    fn a_port_where_no_authority_looks_is_told() {
        let told = |more: &[(&str, &str)]| {
            let base = [("acme.agree", "true"), ("host.0.domain", "a.example")];
            loaded(&[&base[..], more].concat()).acme_warnings().join("\n")
        };
        assert_eq!(told(&[]), "");
        assert!(told(&[("acme.listen", "[::]:8080")]).contains("port 80"));
        let alpn = ("acme.challenge", "tls-alpn-01");
        assert!(told(&[alpn]).contains("443"));
        assert_eq!(told(&[alpn, ("web.listen", "[::]:443")]), "");
        assert!(told(&[("host.1.domain", "box.lan")]).contains("box.lan"));
    }
}
