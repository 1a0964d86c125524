//! What is measured of the router.

use super::Router;
use crate::base::figures::Figures;

impl Router {
    /// Adds the figures of the router.
    pub fn figures(&self, out: &mut Figures) {
        out.counter(
            "stonechat_messages",
            "Messages by what became of them: delivered to a session (which may wait to be resumed), held for the \
             next one, bounced to the sender, dropped without a word, given to a service such as rooms, or unstored: \
             taken before, and bounced because the database could not write them.",
        )
        .by("outcome", self.fates.sums());
        out.gauge(
            "stonechat_accounts_loaded",
            "Accounts in memory: with sessions, or used of late.",
        )
        .is(self.registry.entries() as u64);
        out.gauge("stonechat_tasks", "Tasks that run, a session's among them.")
            .is(self.tasks.running() as u64);
        let loads: Vec<_> = self.peers.all().iter().map(|queue| queue.load()).collect();
        let waiting = || loads.iter().filter(|load| load.messages > 0);
        out.gauge("stonechat_s2s_queued", "Messages that other servers have not acknowledged.")
            .is(waiting().map(|load| load.messages as u64).sum());
        out.gauge("stonechat_s2s_queued_bytes", "Bytes of them.")
            .is(waiting().map(|load| load.bytes as u64).sum());
        out.gauge(
            "stonechat_s2s_queued_pairs",
            "Pairs of domains, one of them ours, between which such messages wait.",
        )
        .is(waiting().count() as u64);
        out.gauge(
            "stonechat_s2s_away",
            "Pairs of domains for which messages wait and no stream stands.",
        )
        .is(waiting().filter(|load| !load.open).count() as u64);
    }
}
