//! What the operator's verbs find around them: the configuration, the log, and the operator of each moment.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::interval;

use super::clock::now;
use super::config::{Config, shown};
use super::federation::Federation;
use super::recent;
use crate::admin::told::Setting;
use crate::admin::{Keeping, Operators, Peering, Surroundings, forget_audit as forget};
use crate::jid::Jid;
use crate::modules::api::Requester;
use crate::session::Context;

/// The server around the verbs.
pub struct Around {
    settings: Vec<Setting>,
}

impl Around {
    /// Around a command that works without a server: the configuration is that of the command.
    pub fn alone(config: &Config) -> Self {
        Self { settings: shown(config) }
    }
}

impl Surroundings for Around {
    fn configuration(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn recent_log(&self) -> Vec<String> {
        recent::lines()
    }
}

/// Gives the operator's verbs, with the time of now.
pub fn operators(
    context: &Arc<Context>,
    federation: &Federation,
    config: &Config,
    certificates: Arc<dyn Keeping>,
) -> Operators {
    let context = context.clone();
    let peering: Arc<dyn Peering> = federation.verbs();
    // For commands in forms; what is given here holds it until the server stops.
    let known = &context.pipeline.shared().peering;
    *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(&peering));
    let around = Arc::new(Around { settings: shown(config) });
    Arc::new(move || {
        let host = Jid::parse(context.router.hosts().first()?).ok()?;
        let operator = context.cx(Requester::Entity(host)).operator();
        let operator = operator.with_peering(peering.clone());
        Some(operator.with_certificates(certificates.clone()).with_surroundings(around.clone()))
    })
}

/// Forgets what is too old of the audit log, at the start and every hour.
pub fn forget_audit(context: &Arc<Context>, days: u32) {
    let (store, mut stopping) = (context.router.store.clone(), context.stopping.clone());
    context.router.tasks.spawn("audit", async move {
        let mut tick = interval(EVERY);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            if let Err(error) = forget(&store, days, now()).await {
                tracing::warn!(%error, "old lines of the audit log stay");
            }
        }
    });
}

const EVERY: Duration = Duration::from_secs(3_600);
