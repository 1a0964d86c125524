//! What clients of other servers want to hear of: learnt from the presence that they send to contacts here
//! (XEP-0163 §4.3.2), and kept for the whole server, as it is the same for all who see it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::super::api::Cx;
use super::info::{self, Info};
use super::learn::{ANSWER_TIME, find};
use super::said::Said;
use super::state::{State, Step};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::stanza::iq::IqType;
use crate::xml::writer::Xml;

/// The clients of other servers that are available to somebody here. Bounded: more are not told news.
#[derive(Debug, Default)]
pub struct Remote {
    /// By bare JID, then by resource.
    clients: Mutex<HashMap<String, HashMap<String, State>>>,
    count: AtomicUsize,
}

impl Remote {
    /// Whether nobody is known: most servers' every event asks.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// The client is not available any more.
    pub fn forget(&self, client: &Jid) {
        let mut clients = self.lock();
        let Some(of_bare) = clients.get_mut(client.bare_str()) else { return };
        if of_bare.remove(client.resource().unwrap_or_default()).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        if of_bare.is_empty() {
            clients.remove(client.bare_str());
        }
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
        let of_bare = clients.get(contact).into_iter().flatten().filter(|(_, state)| fits(state));
        of_bare.map(|(resource, _)| Jid::normal(&format!("{contact}/{resource}"))).collect()
    }

    fn with<T>(&self, client: &Jid, change: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut clients = self.lock();
        let state = clients.get_mut(client.bare_str())?.get_mut(client.resource()?)?;
        Some(change(state))
    }

    /// The same for one that may be new. None beyond the bounds.
    fn hear<T>(&self, client: &Jid, change: impl FnOnce(&mut State) -> T) -> Option<T> {
        let resource = client.resource()?;
        let mut clients = self.lock();
        let of_bare = clients.get_mut(client.bare_str());
        let known = of_bare.as_ref().is_some_and(|of_bare| of_bare.contains_key(resource));
        let full = of_bare.map_or(0, |of_bare| of_bare.len()) >= RESOURCES_MAX;
        if !known && (full || self.count.load(Ordering::Relaxed) >= CLIENTS_MAX) {
            return None;
        }
        let of_bare = clients.entry(client.bare_str().to_owned()).or_default();
        let state = of_bare.entry(resource.to_owned()).or_default();
        if !known {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Some(change(state))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, State>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody of another server is available to an account here (`cx.who`), which sees it. When what its client
/// wants is known, or is known to be something else, `then` is called.
pub fn heard(cx: &Cx, presence: &Stanza, then: impl FnOnce(Cx, Jid) + Send + 'static) {
    let client = presence.from().clone();
    let Some(said) = Said::of(presence) else { return };
    let known = said.key.as_ref().and_then(|key| cx.server.shared().caps.get(key));
    let remote = &cx.server.shared().caps.remote;
    match remote.hear(&client, |state| state.hear(said, known)) {
        None => {}
        Some(Step::Nothing | Step::Changed(..)) => then(cx.clone(), client),
        Some(Step::Ask(said)) => {
            let (cx, router) = (cx.clone(), cx.router.clone());
            router.tasks.spawn("caps", async move {
                let router = cx.router.clone();
                tokio::select! {
                    () = router.questions.closed() => {}
                    () = learn(&cx, &client, said) => then(cx, client),
                }
            });
        }
    }
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
        assert!(remote.is_empty() && remote.lock().is_empty());
    }
}
