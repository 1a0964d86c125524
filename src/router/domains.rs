//! What this server serves, and where an address leads.

use std::sync::Arc;

use super::mailbox::Mailbox;
use crate::jid::Jid;

/// Who answers for a domain of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// People's accounts, and the server itself for them.
    Accounts,
    /// A service.
    Service(ServiceId),
}

/// A service: its place in the list that the floor above gave at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceId(pub usize);

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// To an account of this server, which may not exist.
    Account,
    /// To the server itself.
    Server,
    /// To a service of this server.
    Service(ServiceId),
    /// To another server.
    Elsewhere,
}

/// The domains of one server.
#[derive(Debug)]
pub(super) struct Domains {
    /// Sorted: asked several times for each stanza, and mostly of one.
    served: Vec<(String, Served)>,
    /// The way to each service for those who cannot wait for it.
    mailboxes: Vec<Arc<Mailbox>>,
}

impl Domains {
    /// Domains with accounts, in normal form.
    pub(super) fn of_accounts(hosts: impl IntoIterator<Item = String>) -> Self {
        let mut served: Vec<_> = hosts.into_iter().map(|host| (host, Served::Accounts)).collect();
        served.sort_by(|one, other| one.0.cmp(&other.0));
        Self { served, mailboxes: Vec::new() }
    }

    /// One more service at these domains.
    pub(super) fn add(
        &mut self,
        domains: impl IntoIterator<Item = String>,
        mailbox: Mailbox,
    ) -> ServiceId {
        let id = ServiceId(self.mailboxes.len());
        self.served.extend(domains.into_iter().map(|domain| (domain, Served::Service(id))));
        self.served.sort_by(|one, other| one.0.cmp(&other.0));
        self.mailboxes.push(Arc::new(mailbox));
        id
    }

    /// Who answers for a domain; nobody of this server for others'.
    pub(super) fn served(&self, domain: &str) -> Option<Served> {
        let at = self.served.binary_search_by(|(served, _)| served.as_str().cmp(domain));
        at.ok().and_then(|at| self.served.get(at)).map(|(_, served)| *served)
    }

    /// The domains with accounts, in order.
    pub(super) fn hosts(&self) -> Vec<String> {
        let hosts = self.served.iter().filter(|(_, served)| *served == Served::Accounts);
        hosts.map(|(host, _)| host.clone()).collect()
    }

    /// All domains, in order.
    pub(super) fn all(&self) -> Vec<String> {
        self.served.iter().map(|(domain, _)| domain.clone()).collect()
    }

    pub(super) fn leads(&self, to: &Jid) -> Leads {
        match self.leads_by(to.domain()) {
            Leads::Account if to.local().is_none() => Leads::Server,
            leads => leads,
        }
    }

    /// Where the addresses of a domain lead; for a domain with accounts, to one of these.
    pub(super) fn leads_by(&self, domain: &str) -> Leads {
        match self.served(domain) {
            Some(Served::Accounts) => Leads::Account,
            Some(Served::Service(service)) => Leads::Service(service),
            None => Leads::Elsewhere,
        }
    }

    /// The way to a service for those who cannot wait for it.
    pub(super) fn mailbox(&self, service: ServiceId) -> Option<&Arc<Mailbox>> {
        self.mailboxes.get(service.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_whoever_serves_its_domain() {
        let mut domains = Domains::of_accounts(["x".to_owned(), "a.x".to_owned()]);
        let mailbox = || Mailbox::new(1, 1);
        domains.add(["rooms.x".to_owned(), "rooms.a.x".to_owned()], mailbox());
        domains.add(["nodes.x".to_owned()], mailbox());
        for (to, leads) in [
            ("x", Leads::Server),
            ("x/r", Leads::Server),
            ("u@x", Leads::Account),
            ("u@a.x/r", Leads::Account),
            ("rooms.x", Leads::Service(ServiceId(0))),
            ("hall@rooms.a.x/nick", Leads::Service(ServiceId(0))),
            ("n@nodes.x", Leads::Service(ServiceId(1))),
            ("u@elsewhere", Leads::Elsewhere),
            ("nodes.a.x", Leads::Elsewhere),
        ] {
            assert_eq!(domains.leads(&Jid::parse(to).unwrap()), leads, "{to}");
        }
        assert_eq!(domains.leads_by("rooms.x"), Leads::Service(ServiceId(0)));
        assert_eq!(domains.leads_by("x"), Leads::Account);
    }
}
