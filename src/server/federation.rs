//! Federation is joined here: certificates, the DNS, listeners for other servers.

use std::net::SocketAddr;
use std::sync::Arc;

use super::config::{Config, Origins, Problem, places};
use crate::net::c2s::ListenerKind;
use crate::net::component::{ComponentDoor, ComponentStreams};
use crate::net::dial::Dial;
use crate::net::dns::Names;
use crate::net::proxies::Proxies;
use crate::net::s2s::{PeerDoor, PeerStreams, Strangers};
use crate::net::tls::Tls;
use crate::net::tls::peer::PeerTls;
use crate::peer::component::{self, Components};
use crate::peer::operator::Verbs;
use crate::peer::{self, Rules, link};
use crate::router::peer_queue::PeerQueue;
use crate::router::peers::Peers;
use crate::session::Context;

/// Who may be reached, and what waits for them: made before the router is.
pub fn peers(config: &Config) -> (Peers, Arc<Rules>) {
    let settings = Arc::new(config.s2s.settings());
    let components = places(&config.component).into_iter().map(|place| place.domain);
    let rules = Rules::new(settings.clone()).with_components(components.collect());
    let rules = Arc::new(rules);
    (Peers::new(rules.clone(), peer::Federation::bounds(&settings)), rules)
}

/// What finds and secures other servers.
pub struct Federation {
    /// The certificates that are shown and believed.
    pub tls: PeerTls,
    /// The streams.
    pub streams: Arc<peer::Federation>,
    /// All domains that are reached here, services' and components' included, in normal form.
    pub domains: Vec<String>,
    dialer: Arc<Dial>,
    door: Arc<PeerDoor>,
    components: Arc<ComponentDoor>,
}

impl Federation {
    /// Reads the files that `[s2s]` names, and which DNS servers to ask.
    pub fn new(
        config: &Config,
        origins: &Origins,
        context: &Arc<Context>,
        (rules, secret): (Arc<Rules>, [u8; 32]),
        tls: Tls,
    ) -> Result<Self, Problem> {
        let s2s = &config.s2s;
        let unusable = |error| Problem::told(&error, origins.of("s2s.trust"), FIX);
        let mut trust = s2s.trust();
        // Only this server has its key.
        trust.files.extend(tls.ca_file());
        let tls = PeerTls::new(tls, trust).map_err(unusable)?;
        let names = Names::new(&s2s.resolver, s2s.dane).map_err(|error| Problem {
            what: format!("the DNS cannot be asked: {error}"),
            place: origins.of("s2s.resolver"),
            fix: "name DNS servers in s2s.resolver, or none for those of the system".to_owned(),
        })?;
        let limits = context.router.limits.clone();
        let dialer = Arc::new(Dial::new(s2s.dial(limits.ping_timeout), names, tls.clone()));
        let components_of = places(&config.component);
        // A component talks to other servers in its own name.
        let of_components = components_of.iter().map(|place| place.domain.clone());
        let domains: Vec<_> = context.router.domains().into_iter().chain(of_components).collect();
        let streams = Arc::new(peer::Federation::new(
            context.clone(),
            Arc::new(s2s.settings()),
            rules,
            dialer.clone(),
            domains.clone(),
            &secret,
        ));
        let bounds = component::Settings {
            bytes_per_second: config.components.bytes_per_second,
            stanzas_per_second: config.components.stanzas_per_second,
            privileged_requests_max: config.components.privileged_requests_max,
            message_time: streams.settings.message_time,
        };
        let components =
            Components::new(context.clone(), bounds, streams.streams.clone(), components_of);
        let (all, of_address) =
            (s2s.streams_unauthenticated_max, s2s.streams_unauthenticated_per_ip_max);
        let components = ComponentDoor {
            tls: tls.clone(),
            limits: limits.clone(),
            strangers: Strangers::new(all, of_address),
            stopping: context.stopping.clone(),
            proxies: Proxies::default(),
            components: Arc::new(components),
        };
        let door = PeerDoor {
            tls: tls.clone(),
            limits,
            host: context.policy.hosts.first().cloned().unwrap_or_default(),
            proxies: s2s.proxies(),
            strangers: Strangers::new(all, of_address),
            stopping: context.stopping.clone(),
            federation: streams.clone(),
        };
        let (door, components) = (Arc::new(door), Arc::new(components));
        Ok(Self { tls, streams, domains, dialer, door, components })
    }

    /// Has the rules count that the operator made while a server ran.
    pub async fn read_rules(&self) -> Result<(), Problem> {
        self.streams.read_rules().await.map_err(|error| unread(&error))
    }

    /// Says where domains of other servers of this process are.
    pub fn meet(&self, places: Vec<(String, SocketAddr)>) {
        self.dialer.meet(places);
    }

    /// What an operator asks of the streams.
    pub fn verbs(&self) -> Arc<Verbs> {
        Arc::new(Verbs(self.streams.clone()))
    }

    /// Takes up what an earlier run left for other servers and for components, before anything else is put there.
    pub async fn restore(&self) -> Result<Vec<Arc<PeerQueue>>, Problem> {
        let router = &self.streams.context.router;
        let left = router.peers.restore(&router.store).await.map_err(|error| unread(&error))?;
        Ok(self.components.components.begin(left))
    }

    /// Looks after what waits for other servers; `left` by an earlier run.
    pub fn begin(&self, left: Vec<Arc<PeerQueue>>) {
        let (tls, tasks) = (self.tls.clone(), &self.streams.context.router.tasks);
        // So that no handshake waits for some hundred files.
        #[allow(clippy::disallowed_methods)] // reading them takes a while, and ends by itself
        drop(tokio::task::spawn_blocking(move || tls.prepare()));
        tasks.spawn("peers", link::serve(self.streams.clone()));
        tasks.spawn("peers", link::resume(self.streams.clone(), left));
    }

    /// The streams of components on listeners of this kind.
    pub fn components_on(&self, kind: ListenerKind) -> ComponentStreams {
        ComponentStreams { door: self.components.clone(), kind }
    }

    /// The streams on listeners of this kind.
    pub fn on_listeners(&self, kind: ListenerKind) -> PeerStreams {
        PeerStreams { door: self.door.clone(), kind }
    }
}

fn unread(error: &dyn std::fmt::Display) -> Problem {
    Problem {
        what: error.to_string(),
        place: "the database".to_owned(),
        fix: "run `stonechat check --deep`".to_owned(),
    }
}

const FIX: &str = "name PEM files with certificates in s2s.trust, or none";
