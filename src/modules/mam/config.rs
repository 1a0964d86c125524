//! `[modules.mam]`, and the settings of single hosts that override it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::jid::BareJid;

/// Which accounts have an archive, and how long messages stay in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether accounts have archives.
    pub enabled: bool,
    /// Days that messages stay; 0: for ever.
    pub retention_days: u32,
    /// The same for single accounts, by bare JID in normal form.
    pub account_retention_days: BTreeMap<String, u32>,
    /// Whether retracted messages are replaced by tombstones.
    pub tombstones: bool,
    /// The settings of single hosts: `[[host]]`.
    #[serde(skip)]
    pub hosts: BTreeMap<String, HostRule>,
}

/// The archive settings of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostRule {
    /// Whether its accounts have archives, if archives are enabled at all.
    pub archive: bool,
    /// Days that messages stay, if they differ from `[modules.mam]`; 0: for ever.
    pub retention_days: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            retention_days: 365,
            account_retention_days: BTreeMap::new(),
            tombstones: true,
            hosts: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Whether this account's messages are archived.
    pub fn archives(&self, account: &BareJid) -> bool {
        self.archives_domain(account.domain())
    }

    /// Whether the messages of this domain's accounts are archived.
    pub fn archives_domain(&self, domain: &str) -> bool {
        self.enabled && self.hosts.get(domain).is_none_or(|host| host.archive)
    }

    /// Whether the messages of all accounts are archived.
    pub fn archives_all(&self) -> bool {
        self.enabled && self.hosts.values().all(|host| host.archive)
    }

    /// Days that this account's messages stay; 0: for ever. Also applies where archiving has been disabled.
    pub fn retention_days(&self, account: &BareJid) -> u32 {
        let own = self.account_retention_days.get(account.as_str()).copied();
        let host = || self.hosts.get(account.domain()).and_then(|host| host.retention_days);
        own.or_else(host).unwrap_or(self.retention_days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_goes_before_the_host_and_that_before_the_rest() {
        let rule = |archive, retention_days| HostRule { archive, retention_days };
        let mut config = Config {
            account_retention_days: [("a@x".to_owned(), 7), ("a@z".to_owned(), 0)].into(),
            hosts: [("x".to_owned(), rule(true, Some(30))), ("y".to_owned(), rule(false, None))]
                .into(),
            ..Config::default()
        };
        for (account, archives, days) in [
            ("a@x", true, 7),
            ("b@x", true, 30),
            ("a@y", false, 365),
            ("a@z", true, 0),
            ("b@z", true, 365),
        ] {
            let jid = BareJid::parse(account).unwrap();
            assert_eq!((config.archives(&jid), config.retention_days(&jid)), (archives, days));
        }
        assert!(!config.archives_all() && Config::default().archives_all());
        config.enabled = false;
        assert!(!config.archives(&BareJid::parse("a@x").unwrap()));
    }
}
