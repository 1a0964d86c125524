//! Federation is joined here: certificates, the DNS, listeners for other servers.

use std::sync::Arc;

use super::config::{Config, Origins, Problem};
use crate::net::c2s::ListenerKind;
use crate::net::dial::Dial;
use crate::net::dns::Names;
use crate::net::s2s::{PeerDoor, PeerStreams, Strangers};
use crate::net::tls::Tls;
use crate::net::tls::peer::PeerTls;
use crate::peer::dial::Dialer;
use crate::session::Context;

/// What finds and secures other servers.
pub struct Federation {
    /// The certificates that are shown and believed.
    pub tls: PeerTls,
    /// Connects to them.
    #[allow(dead_code)] // for the streams that this server opens
    pub dialer: Arc<dyn Dialer>,
    door: Arc<PeerDoor>,
}

impl Federation {
    /// Reads the files that `[s2s]` names, and which DNS servers to ask.
    pub fn new(
        config: &Config,
        origins: &Origins,
        context: &Context,
        tls: Tls,
    ) -> Result<Self, Problem> {
        let s2s = &config.s2s;
        let unusable = |error| Problem::told(&error, origins.of("s2s.trust"), FIX);
        let tls = PeerTls::new(tls, s2s.trust()).map_err(unusable)?;
        let names = Names::new(&s2s.resolver, s2s.dane).map_err(|error| Problem {
            what: format!("the DNS cannot be asked: {error}"),
            place: origins.of("s2s.resolver"),
            fix: "name DNS servers in s2s.resolver, or none for those of the system".to_owned(),
        })?;
        let limits = context.router.limits.clone();
        let dialer = Dial::new(s2s.dial(limits.ping_timeout), names, tls.clone());
        let (all, of_address) =
            (s2s.streams_unauthenticated_max, s2s.streams_unauthenticated_per_ip_max);
        let door = PeerDoor {
            tls: tls.clone(),
            limits,
            host: context.policy.hosts.first().cloned().unwrap_or_default(),
            proxies: s2s.proxies(),
            strangers: Strangers::new(all, of_address),
            stopping: context.stopping.clone(),
        };
        Ok(Self { tls, dialer: Arc::new(dialer), door: Arc::new(door) })
    }

    /// The streams on listeners of this kind.
    pub fn streams(&self, kind: ListenerKind) -> PeerStreams {
        PeerStreams { door: self.door.clone(), kind }
    }
}

const FIX: &str = "name PEM files with certificates in s2s.trust, or none";
