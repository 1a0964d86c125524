//! What clients of other servers want to hear of: learnt from the presence that they send to contacts here
//! (XEP-0163 §4.3.2), and kept for the whole server, as it is the same for all who see it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::super::api::Cx;
use super::info::{self, Info};
use super::learn::{ANSWER_TIME, find};
use super::places::{Job, Places};
use super::said::Said;
use super::state::{State, Step};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::stanza::iq::IqType;
use crate::xml::writer::Xml;

/// The clients of other servers that are available to somebody here. Bounded in all and for each domain: beyond
/// that those are forgotten that nobody has heard of for longest, of the domain that there are too many of.
#[derive(Debug, Default)]
pub struct Remote {
    clients: Mutex<Clients>,
    count: AtomicUsize,
    /// Who is asked.
    places: Places,
}

#[derive(Debug, Default)]
struct Clients {
    domains: HashMap<String, Domain>,
    /// By when they were heard of last.
    order: BTreeMap<u64, Jid>,
    /// Counts what is heard.
    heard: u64,
}

/// The clients of one domain.
#[derive(Debug, Default)]
struct Domain {
    /// By bare JID, then by resource; with when each was heard of last.
    clients: HashMap<String, HashMap<String, (State, u64)>>,
    order: BTreeSet<u64>,
}

impl Clients {
    fn get_mut(&mut self, client: &Jid) -> Option<&mut (State, u64)> {
        let domain = self.domains.get_mut(client.domain())?;
        domain.clients.get_mut(client.bare_str())?.get_mut(client.resource()?)
    }

    fn remove(&mut self, client: &Jid) {
        let Some(domain) = self.domains.get_mut(client.domain()) else { return };
        let Some(of_bare) = domain.clients.get_mut(client.bare_str()) else { return };
        let Some((_, heard)) = of_bare.remove(client.resource().unwrap_or_default()) else { return };
        if of_bare.is_empty() {
            domain.clients.remove(client.bare_str());
        }
        domain.order.remove(&heard);
        if domain.clients.is_empty() {
            self.domains.remove(client.domain());
        }
        self.order.remove(&heard);
    }

    /// The client, which may be new, and counts as heard of now.
    fn hear(&mut self, client: &Jid, resource: &str) -> &mut State {
        let domain = self.domains.entry(client.domain().to_owned()).or_default();
        let of_bare = domain.clients.entry(client.bare_str().to_owned()).or_default();
        let (state, heard) = of_bare.entry(resource.to_owned()).or_default();
        domain.order.remove(heard);
        self.order.remove(heard);
        self.heard += 1;
        *heard = self.heard;
        domain.order.insert(self.heard);
        self.order.insert(self.heard, client.clone());
        state
    }

    /// Makes room for one more of a domain: who had to go.
    fn make_room(&mut self, domain: &str) -> Option<Jid> {
        let of_domain = self.domains.get(domain).map(|domain| &domain.order);
        let count = of_domain.map_or(0, BTreeSet::len);
        if count < DOMAIN_MAX && self.order.len() < CLIENTS_MAX {
            return None;
        }
        // Of its own, if there are any: who has many gives way before others do.
        let own = of_domain.and_then(BTreeSet::first).and_then(|heard| self.order.get(heard));
        let gone = own.or_else(|| self.order.values().next()).cloned()?;
        self.remove(&gone);
        Some(gone)
    }
}

impl Remote {
    /// Whether nobody is known: most servers' every event asks.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// The client is not available any more.
    pub fn forget(&self, client: &Jid) {
        let mut clients = self.lock();
        clients.remove(client);
        self.count.store(clients.order.len(), Ordering::Relaxed);
    }

    /// The resources of a contact that want the news of a node.
    pub fn wanting(&self, contact: &str, node: &str) -> Vec<Jid> {
        let wants = |state: &State| state.wanted().is_some_and(|wanted| wanted.has(node));
        self.of(contact, wants)
    }

    /// The resources of a contact that want any.
    pub fn all_of(&self, contact: &str) -> Vec<Jid> {
        self.of(contact, |state| state.wanted().is_some())
    }

    /// The nodes whose news a client wants.
    pub fn nodes(&self, client: &Jid) -> Vec<Arc<str>> {
        let wanted = self.with(client, |state| state.wanted().cloned()).flatten();
        wanted.map(|wanted| wanted.nodes().to_vec()).unwrap_or_default()
    }

    fn of(&self, contact: &str, fits: impl Fn(&State) -> bool) -> Vec<Jid> {
        if self.is_empty() {
            return Vec::new();
        }
        let clients = self.lock();
        let domain = contact.rsplit('@').next().unwrap_or_default();
        let of_bare = clients.domains.get(domain).and_then(|domain| domain.clients.get(contact));
        let fitting = of_bare.into_iter().flatten().filter(|(_, (state, _))| fits(state));
        fitting.map(|(resource, _)| Jid::normal(&format!("{contact}/{resource}"))).collect()
    }

    fn with<T>(&self, client: &Jid, change: impl FnOnce(&mut State) -> T) -> Option<T> {
        self.lock().get_mut(client).map(|(state, _)| change(state))
    }

    /// The same for one that may be new, and who had to go for it. None beyond the bound of resources.
    fn hear<T>(
        &self,
        client: &Jid,
        change: impl FnOnce(&mut State) -> T,
    ) -> Option<(T, Option<Jid>)> {
        let resource = client.resource()?;
        let mut clients = self.lock();
        let of_domain = clients.domains.get(client.domain());
        let of_bare = of_domain.and_then(|domain| domain.clients.get(client.bare_str()));
        let known = of_bare.is_some_and(|of_bare| of_bare.contains_key(resource));
        if !known && of_bare.map_or(0, HashMap::len) >= RESOURCES_MAX {
            return None;
        }
        let gone = if known { None } else { clients.make_room(client.domain()) };
        let changed = change(clients.hear(client, resource));
        self.count.store(clients.order.len(), Ordering::Relaxed);
        Some((changed, gone))
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What clients of other servers want to hear of.
pub fn remote(cx: &Cx) -> &Remote {
    &cx.server.shared().caps.remote
}

/// Somebody of another server is available to an account here (`cx.who`), which sees it. When what its client
/// wants is known, or is known to be something else, `then` is called. Gives a client that is forgotten for it.
pub fn heard(
    cx: &Cx,
    presence: &Stanza,
    then: impl FnOnce(Cx, Jid) + Send + 'static,
) -> Option<Jid> {
    let client = presence.from().clone();
    let said = Said::of(presence)?;
    let known = said.key.as_ref().and_then(|key| cx.server.shared().caps.known.get(key));
    let remote = &cx.server.shared().caps.remote;
    let (step, gone) = remote.hear(&client, |state| state.hear(said, known))?;
    match step {
        Step::Nothing | Step::Changed(..) => then(cx.clone(), client),
        Step::Ask(said) => wait(cx, Job { cx: cx.clone(), client, said, then: Box::new(then) }),
    }
    gone
}

/// Asks when there is a place for it.
fn wait(cx: &Cx, job: Job) {
    let (client, mark) = (job.client.clone(), job.said.mark);
    let remote = &cx.server.shared().caps.remote;
    match remote.places.enter(client.domain(), job) {
        Ok(None) => {}
        Ok(Some(job)) => ask_all(job),
        Err(()) => {
            tracing::info!(domain = client.domain(), "too many clients to ask for their capabilities");
            remote.with(&client, |state| state.learnt(mark, None));
        }
    }
}

/// One place: this client is asked, and then others of its domain that wait.
fn ask_all(mut job: Job) {
    let router = job.cx.router.clone();
    router.tasks.spawn("caps", async move {
        let (cx, domain) = (job.cx.clone(), job.client.domain().to_owned());
        let places = &cx.server.shared().caps.remote.places;
        let work = async {
            loop {
                let Job { cx, client, said, then } = job;
                learn(&cx, &client, said).await;
                then(cx, client);
                match places.next(&domain) {
                    Some(next) => job = next,
                    None => return,
                }
            }
        };
        tokio::select! {
            () = cx.router.questions.closed() => places.close(&domain),
            () = work => {}
        }
    });
}

async fn learn(cx: &Cx, client: &Jid, mut said: Said) {
    let remote = &cx.server.shared().caps.remote;
    loop {
        let found = find(cx, &said, ask(cx, client, &said)).await;
        let learnt = remote.with(client, |state| state.learnt(said.mark, found));
        match learnt.and_then(|(_, next)| next) {
            Some(next) => said = next,
            None => return,
        }
    }
}

/// The account that sees it asks: its server would tell nobody else (RFC 6121 §8.5.3.1).
async fn ask(cx: &Cx, client: &Jid, said: &Said) -> Option<Info> {
    let remote = &cx.server.shared().caps.remote;
    let wait = remote.with(client, |state| state.pace(micros(cx.now)))?;
    if wait > 0 {
        sleep(Duration::from_micros(wait.unsigned_abs())).await;
    }
    let mut query = Xml::new();
    query.start("query").attr("xmlns", info::NS).attr_opt("node", said.node.as_deref()).end();
    let from = cx.jid().bare();
    let asked = cx.ask(from.as_str(), client, IqType::Get, &query.finish(), ANSWER_TIME).await;
    let answer = asked.inspect_err(|why| tracing::debug!(?why, "no answer about capabilities"));
    Info::of(&answer.ok()?)
}

/// Clients of other servers that are remembered.
const CLIENTS_MAX: usize = 20_000;
/// Of these, of one domain.
const DOMAIN_MAX: usize = 2_000;
/// Of these, of one bare JID.
const RESOURCES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(n: u8) -> Said {
        Said { key: None, node: None, mark: [n; 16] }
    }

    #[test]
    fn clients_come_and_go_and_are_bounded() {
        let remote = Remote::default();
        let jid = |n: usize| Jid::parse(&format!("u@far.example/{n}")).unwrap();
        assert!(remote.is_empty());
        for n in 0..RESOURCES_MAX {
            assert!(remote.hear(&jid(n), |state| state.hear(said(1), None)).is_some());
        }
        assert!(remote.hear(&jid(99), |_| ()).is_none());
        assert!(remote.hear(&jid(0), |_| ()).is_some(), "who is known stays so");
        assert!(remote.wanting("u@far.example", "a").is_empty());
        (0..RESOURCES_MAX).for_each(|n| remote.forget(&jid(n)));
        remote.forget(&jid(0));
        assert!(remote.is_empty() && remote.lock().domains.is_empty());
        assert!(remote.lock().order.is_empty());
    }

    #[test]
    fn a_domain_with_too_many_forgets_its_own() {
        let remote = Remote::default();
        let jid = |domain: &str, n: usize| Jid::parse(&format!("u{n}@{domain}/r")).unwrap();
        let hear = |jid: &Jid| remote.hear(jid, |_| ()).unwrap().1;
        let other = jid("other.example", 0);
        assert_eq!(hear(&other), None);
        (0..DOMAIN_MAX).for_each(|n| assert_eq!(hear(&jid("far.example", n)), None));
        // The first is heard of again, so the second is the one that goes.
        assert_eq!(hear(&jid("far.example", 0)), None);
        assert_eq!(hear(&jid("far.example", DOMAIN_MAX)), Some(jid("far.example", 1)));
        // All are too many: who has some gives way first, and whoever was heard of longest ago to who has none.
        for domain in 1..10 {
            let name = format!("far{domain}.example");
            (0..DOMAIN_MAX).for_each(|n| drop(hear(&jid(&name, n))));
        }
        assert_eq!(remote.lock().order.len(), CLIENTS_MAX);
        assert!(remote.with(&other, |_| ()).is_some());
        assert_eq!(hear(&jid("new.example", 0)), Some(other));
        assert_eq!(remote.count.load(Ordering::Relaxed), CLIENTS_MAX);
    }
}
