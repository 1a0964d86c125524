//! What all streams with other servers share.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::calls::Calls;
use super::counts::Counts;
use super::dial::Dialer;
use super::former::Former;
use super::guests::{Carriers, Place};
use super::paces::Paces;
use super::resumable::Resumables;
use super::sending::Sending;
use super::settings::Settings;
use super::streams::Streams;
use crate::base::figures::Figures;
use crate::router::peer_queue::{Pair, PeerBounds, PeerQueue};
use crate::router::peers::Reaches;
use crate::session::Context;
use crate::stanza::StanzaError;
use crate::stream::s2s::{Admission, Certificates, DialbackSecret, PeerLimits, Policy};
use crate::stream::sm::Bounds;

/// What all streams with other servers share.
pub struct Federation {
    /// What all streams of this server share.
    pub context: Arc<Context>,
    /// The settings.
    pub settings: Arc<Settings>,
    /// How servers are found.
    pub dialer: Arc<dyn Dialer>,
    /// Streams, for the operator.
    pub streams: Arc<Streams>,
    /// Who may be reached.
    pub rules: Arc<Rules>,
    pub(super) policy: Arc<Policy>,
    pub(super) counts: Counts,
    pub(super) resumables: Resumables,
    /// What others have to ask first that take over a queue: from one task to the next.
    formers: Mutex<HashMap<Pair, (Former, Sending)>>,
    /// How much of ours peers had when they resumed streams of theirs, by SM-ID.
    told: Mutex<VecDeque<(String, u32)>>,
    pub(super) carriers: Arc<Carriers>,
    /// When connections begin that nobody waits for.
    pub(super) calls: Calls,
    /// How fast peers are read from.
    pub(super) paces: Paces,
    /// Domains that are connected to at this moment: one attempt for each.
    dialling: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// All attempts of this moment, and those that strangers cause (dialback).
    attempts: Arc<Semaphore>,
    verifications: Arc<Semaphore>,
}

/// Who may be reached: known before the router is. The configuration's lists, and what was said since.
pub struct Rules {
    settings: Arc<Settings>,
    /// By domain, whether it is let in; `*` stands for all that are named nowhere.
    said: ArcSwap<HashMap<String, bool>>,
    /// The domains of components, in order.
    components: Vec<String>,
}

impl Rules {
    /// The rules of these settings.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, said: ArcSwap::default(), components: Vec::new() }
    }

    /// The same with these domains of components, in normal form.
    pub fn with_components(mut self, mut components: Vec<String>) -> Self {
        components.sort();
        self.components = components;
        self
    }

    fn is_component(&self, domain: &str) -> bool {
        self.components.binary_search_by(|one| one.as_str().cmp(domain)).is_ok()
    }

    /// Replaces what was said beside the configuration.
    pub fn say(&self, said: HashMap<String, bool>) {
        self.said.store(Arc::new(said));
    }

    /// Whether a domain (in normal form) is let in. What `s2s.deny` keeps out nobody lets in.
    pub fn admits(&self, domain: &str) -> bool {
        let said = self.said.load();
        if self.settings.denies(domain) {
            return false;
        }
        match (said_of(&said, domain), said.get(EVERYBODY)) {
            (Some(allowed), _) => allowed,
            (None, Some(false)) => self.settings.allow.iter().any(|one| one == domain),
            (None, _) => self.settings.admits(domain),
        }
    }

    /// What is told to whoever wants to reach a domain that is kept out.
    pub(super) fn denies(&self, domain: &str) -> Option<StanzaError> {
        let why =
            || StanzaError::not_allowed().text(format!("this server does not talk to {domain}"));
        (!self.admits(domain)).then(why)
    }
}

/// What was said of a domain itself, or that one is denied that it is below.
fn said_of(said: &HashMap<String, bool>, domain: &str) -> Option<bool> {
    let denied = |above: &str| said.get(above) == Some(&false);
    let mut above = domain;
    while let Some((_, next)) = above.split_once('.') {
        if denied(next) {
            return Some(said.get(domain).copied().unwrap_or(false));
        }
        above = next;
    }
    said.get(domain).copied()
}

impl Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rules")
    }
}

impl Admission for Rules {
    fn admits(&self, domain: &str) -> bool {
        self.settings.enabled && Self::admits(self, domain)
    }
}

impl Reaches for Rules {
    fn may_reach(&self, _: &str, remote: &str) -> Result<(), StanzaError> {
        if self.is_component(remote) {
            return Ok(());
        }
        if !self.settings.enabled {
            return Err(
                StanzaError::remote_server_not_found().text("this server talks to no other server")
            );
        }
        self.denies(remote).map_or(Ok(()), Err)
    }

    fn in_name_of<'a>(&self, local: &'a str, remote: &str) -> &'a str {
        // All of ours, and other servers that talk to a component, have one queue there.
        if self.is_component(remote) { "" } else { local }
    }
}

/// [`Rules`] as the streams ask for them.
struct Admits(Arc<Rules>);

impl Admission for Admits {
    fn admits(&self, domain: &str) -> bool {
        Admission::admits(&*self.0, domain)
    }
}

impl Federation {
    /// Federation with these settings. `domains` are all that are served, services' included; `secret` is what
    /// dialback keys are made of (XEP-0185).
    pub fn new(
        context: Arc<Context>,
        settings: Arc<Settings>,
        rules: Arc<Rules>,
        dialer: Arc<dyn Dialer>,
        mut domains: Vec<String>,
        secret: &[u8],
    ) -> Self {
        domains.sort();
        let mut dialback_domains = settings.dialback_domains.clone();
        dialback_domains.sort();
        let limits = &context.router.limits;
        let announced =
            |bytes: usize| PeerLimits { max_bytes: u64::try_from(bytes).ok(), idle_seconds: None };
        let policy = Policy {
            domains,
            secret: DialbackSecret::new(secret),
            certificates: match settings.certificates {
                super::settings::Certificates::Require => Certificates::Require,
                super::settings::Certificates::Dialback => Certificates::Dialback,
            },
            dialback_domains,
            admission: Box::new(Admits(rules.clone())),
            domains_per_stream_max: settings.domains_per_stream_max,
            external: true,
            bidi: true,
            sm: true,
            limits: announced(limits.stanza_bytes_max),
            limits_unauthenticated: announced(limits.stanza_bytes_max_unauthenticated),
        };
        let attempts = Arc::new(Semaphore::new(settings.outgoing_max.max(1)));
        let paces = Paces::new(settings.bytes_per_second, settings.stanzas_per_second);
        let calls = Calls::new(settings.connects_per_second);
        Self {
            context,
            settings,
            dialer,
            streams: Arc::default(),
            rules,
            policy: Arc::new(policy),
            counts: Counts::default(),
            resumables: Resumables::default(),
            formers: Mutex::default(),
            told: Mutex::default(),
            carriers: Arc::default(),
            calls,
            paces,
            dialling: Mutex::default(),
            attempts,
            verifications: Arc::new(Semaphore::new(VERIFICATIONS)),
        }
    }

    /// The bounds of the queues.
    pub fn bounds(settings: &Settings) -> PeerBounds {
        PeerBounds {
            stanzas_max: settings.queue_stanzas_max,
            bytes_max: usize::try_from(settings.queue_bytes_max).unwrap_or(usize::MAX),
            memory_bytes_max: settings.memory_bytes_max,
            presence_bytes_max: settings.presence_bytes_max,
            waiting_max: settings.outgoing_max.saturating_mul(WAITING_FOR_EACH),
        }
    }

    /// Adds the figures of federation, without those of the queues, which are the router's.
    pub fn figures(&self, out: &mut Figures) {
        self.counts.figures(&self.streams, out);
    }

    /// How much may be sent without an acknowledgement.
    pub(super) fn sent_bounds(&self) -> Bounds {
        Bounds {
            stanzas: UNACKED_STANZAS,
            bytes: self.settings.memory_bytes_max,
            answers_within: self.context.router.limits.ping_timeout,
            asks_after: ASKED_AFTER,
        }
    }

    /// A peer resumed one of its streams and said how much of ours it has: it counts on from there, with whatever is sent
    /// then, so that nobody may ask it again by the same SM-ID.
    pub(super) fn note_count(&self, previd: &str, h: u32) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(id, _)| id != previd);
        if told.len() >= TOLD_MAX {
            told.pop_front();
        }
        told.push_back((previd.to_owned(), h));
    }

    /// What [`Federation::note_count`] knows of a former stream.
    pub(super) fn noted_count(&self, previd: &str) -> Option<u32> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().find(|(id, _)| id == previd).map(|(_, h)| *h)
    }

    /// A former stream's state, for the task that looks after the queue next.
    pub(super) fn leave_former(&self, pair: &Pair, former: (Former, Sending)) {
        let mut formers = self.formers.lock().unwrap_or_else(PoisonError::into_inner);
        formers.insert(pair.clone(), former);
    }

    /// See [`Federation::leave_former`].
    pub(super) fn take_former(&self, pair: &Pair) -> Option<(Former, Sending)> {
        self.formers.lock().unwrap_or_else(PoisonError::into_inner).remove(pair)
    }

    /// A place on a stream that leads there already, or that comes about at this moment.
    pub(super) async fn place(&self, queue: &Arc<PeerQueue>) -> Option<Place> {
        let remote = queue.pair.remote.to_string();
        let under_way = {
            let dialling = self.dialling.lock().unwrap_or_else(PoisonError::into_inner);
            dialling.get(&remote).cloned()
        };
        if let Some(of_domain) = under_way {
            let held = (of_domain.acquire_owned().await.ok(), None);
            drop(Turn { federation: self, remote, held });
        }
        self.carriers.ask(queue).await
    }

    /// Waits for the right to connect to a domain: one attempt at a time for each, and a bound for all. The peer may
    /// have to ask us about a key of ours while we ask it about one of its own: neither waits for the other, and what
    /// strangers have us ask takes no place of what waits.
    pub(super) async fn turn(&self, remote: &str, verifies: bool) -> Turn<'_> {
        let (remote, all) = match verifies {
            true => (format!("?{remote}"), &self.verifications),
            false => (remote.to_owned(), &self.attempts),
        };
        let of_domain = {
            let mut dialling = self.dialling.lock().unwrap_or_else(PoisonError::into_inner);
            let one = || Arc::new(Semaphore::new(1));
            dialling.entry(remote.clone()).or_insert_with(one).clone()
        };
        // Neither is ever closed.
        let of_domain = of_domain.acquire_owned().await.ok();
        let of_all = all.clone().acquire_owned().await.ok();
        Turn { federation: self, remote, held: (of_domain, of_all) }
    }
}

/// The right to connect.
pub(super) struct Turn<'a> {
    federation: &'a Federation,
    remote: String,
    held: (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>),
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = (None, None);
        let dialling = &self.federation.dialling;
        let mut dialling = dialling.lock().unwrap_or_else(PoisonError::into_inner);
        if dialling.get(&self.remote).is_some_and(|one| Arc::strong_count(one) == 1) {
            dialling.remove(&self.remote);
        }
    }
}

/// Stanzas that a peer is sent without acknowledging any of them.
const UNACKED_STANZAS: usize = 500;
/// It is asked after so many of them at the latest: each answer costs it a commit.
const ASKED_AFTER: usize = UNACKED_STANZAS / 2;
/// Counts that are remembered of streams that were resumed.
const TOLD_MAX: usize = 1_024;
/// Keys that are verified at a time.
const VERIFICATIONS: usize = 50;
/// Queues that may wait for each attempt that is made at a time.
const WAITING_FOR_EACH: usize = 10;
/// In the rules: all that are named nowhere.
pub const EVERYBODY: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_adds_to_the_configuration() {
        let list = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let of = |allow: &[&str], deny: &[&str], said: &[(&str, bool)]| {
            let (allow, deny) = (list(allow), list(deny));
            let rules = Rules::new(Arc::new(Settings { allow, deny, ..Settings::default() }));
            rules.say(
                said.iter().map(|(domain, allowed)| ((*domain).to_owned(), *allowed)).collect(),
            );
            rules.admits("a.example")
        };
        assert!(of(&[], &[], &[]));
        assert!(!of(&[], &[], &[("a.example", false)]));
        assert!(of(&["b.example"], &[], &[("a.example", true)]));
        assert!(!of(&["a.example"], &[], &[("a.example", false)]));
        // The configuration's no stays.
        assert!(!of(&[], &["a.example"], &[("a.example", true)]));
        // Nobody but who is named.
        assert!(!of(&[], &[], &[("*", false)]));
        assert!(of(&[], &[], &[("*", false), ("a.example", true)]));
        assert!(of(&["a.example"], &[], &[("*", false)]));
        // What is below who is denied is, too, but for what is allowed by itself.
        assert!(!of(&[], &[], &[("example", false)]));
        assert!(of(&[], &[], &[("example", false), ("a.example", true)]));
        assert!(!of(&[], &["example"], &[("a.example", true)]));
        assert!(!of(&["b.example"], &[], &[("example", true)]));
    }
}
