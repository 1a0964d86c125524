//! What is wrong with `[acme]`, but for its listeners.

use super::Config;
use super::domains::prepared_domain;
use super::faults::Faults;
use crate::net::acme::Challenge;

/// All faults of the section.
pub(super) fn acme(config: &Config, faults: &mut Faults<'_>) {
    let acme = &config.acme;
    for name in &acme.names {
        if let Err(why) = prepared_domain(name) {
            let what = format!("`{name}` is no name for a certificate: {why}");
            faults.add("acme.names", what, "write it as \"chat.example.org\"");
        }
    }
    let secs = u128::from;
    faults.at_least(
        "acme.dns_command_secs",
        secs(acme.dns_command_secs),
        1,
        "no command is done so soon",
    );
    faults.at_most(
        "acme.dns_command_secs",
        secs(acme.dns_command_secs),
        300,
        "an order takes ten minutes at most",
    );
    faults.at_most(
        "acme.dns_wait_secs",
        secs(acme.dns_wait_secs),
        300,
        "an order takes ten minutes at most",
    );
    if !acme.agree {
        return;
    }
    if !acme.directory.starts_with("https://") || acme.directory.len() < 10 {
        let what = format!("`{}` is no address of an ACME server", acme.directory);
        faults.add(
            "acme.directory",
            what,
            "write it as \"https://ca.example.org/directory\", or remove it",
        );
    }
    let plain = |text: &str| !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if !(acme.email.is_empty() || acme.email.contains('@') && plain(&acme.email)) {
        let what = format!("`{}` is no address for mail", acme.email);
        faults.add("acme.email", what, "write it as \"admin@example.org\", or remove it");
    }
    if acme.challenge == Challenge::Dns01 && acme.dns_command.is_empty() {
        let what = "acme.challenge is \"dns-01\", and there is no command that changes the DNS";
        faults.add(
            "acme.challenge",
            what,
            "name one: acme.dns_command = [\"/usr/local/bin/dns-hook\"]",
        );
    }
    if acme.challenge == Challenge::Http01
        && acme.listen.is_empty()
        && config.web.listen_plain.is_empty()
    {
        let what = "acme.challenge is \"http-01\", and nothing is listened on where an authority could look";
        faults.add(
            "acme.listen",
            what,
            "set acme.listen = [\"[::]:80\"], or web.listen_plain behind a proxy",
        );
    }
    let names = config.ordered_names();
    if names.hosts.is_empty() && config.host.iter().any(|host| host.certificate.is_none()) {
        let what = "acme.agree is true, and no host has a name that the authority could sign";
        faults.add("acme.agree", what, "name a host of the DNS, or set acme.agree = false");
    }
    let count = names.all().len();
    let most = format!("authorities take {NAMES_MAX} names for a certificate");
    faults.at_most("acme.names", u128::try_from(count).unwrap_or(u128::MAX), NAMES_MAX, &most);
}

/// Let's Encrypt's bound.
const NAMES_MAX: u128 = 100;
