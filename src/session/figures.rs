//! All that is measured of a server: of its sessions, and of the floors and modules below.

use std::time::Duration;

use tokio::time::timeout;

use super::Context;
use crate::base::figures::Figures;
use crate::modules::api::Serving;
use crate::router::ServiceId;

impl Context {
    /// All that is measured of the server, as of now.
    pub async fn figures(&self) -> Figures {
        let mut out = Figures::default();
        self.counts.figures(&mut out);
        let (sleepers, bytes) = self.resume_table.load();
        out.gauge(
            "stonechat_sessions_hibernating",
            "Sessions without a connection that wait to be resumed.",
        )
        .is(sleepers as u64);
        out.gauge("stonechat_sessions_hibernating_bytes", "Bytes of stanzas that wait for them.")
            .is(bytes as u64);
        self.router.figures(&mut out);
        self.services(&mut out);
        self.router.store.figures(&mut out);
        for measure in self.pipeline.modules().iter().filter_map(|module| module.figures) {
            // Of one that waits for a disk that does not answer the others are told all the same.
            if let Ok(of_module) = timeout(PATIENCE, measure(self.web_cx())).await {
                out.extend(of_module);
            }
        }
        out
    }

    fn services(&self, out: &mut Figures) {
        let load = |(id, serving): (usize, &Serving)| {
            let (waiting, dropped) = self.router.mailbox(ServiceId(id))?.load();
            Some((serving.module, waiting, dropped))
        };
        let loads: Vec<_> = self.pipeline.services().iter().enumerate().filter_map(load).collect();
        out.gauge(
            "stonechat_service_queued",
            "Stanzas of nobody who waits, in the mailbox of a service.",
        )
        .by("service", loads.iter().map(|(service, waiting, _)| (*service, *waiting)));
        out.counter(
            "stonechat_service_dropped",
            "Stanzas dropped because the mailbox of a service was full.",
        )
        .by("service", loads.iter().map(|(service, _, dropped)| (*service, *dropped)));
    }
}

/// How long a module may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(2);
