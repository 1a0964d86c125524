//! The pairs of domains of a stream.

use tokio::sync::oneshot;

use super::clock::now;
use super::guests::Guest;
use super::machine::Input;
use super::sending::Confirms;
use super::stream::{Managed, Stream};
use super::streams::Direction;

impl Stream {
    pub(super) fn authenticated(&mut self) {
        (self.deadline, self.stranger) = (None, None);
    }

    pub(super) fn paired(&mut self, local: String, remote: String, how: &'static str) {
        let direction = if self.machine.is_outgoing() { "out" } else { "in" };
        tracing::info!(local, peer = %remote, address = %self.address, direction, how, "a server is connected");
        self.listed.change(|facts| facts.pairs.push((local.clone(), remote.clone(), how)));
        self.pairs.push((local.clone(), remote.clone()));
        let pace = self.federation.paces.of_domain(&remote, now());
        self.receiving.speaks_for(pace);
        if self.machine.is_outgoing() {
            return self.seat(&local);
        }
        self.federation.context.router.peers.heard_of(&local, &remote);
        if self.bidi {
            self.attach(&local, &remote);
        }
    }

    /// What is for this pair goes by this stream, unless it has one already (XEP-0288).
    pub(super) fn attach(&mut self, local: &str, remote: &str) {
        let queue = self.federation.context.router.peers.of_pair(local, remote);
        if queue.claim() {
            self.sending.add(queue);
            if matches!(self.managed, Managed::Off) {
                self.sending.confirmed_by(Confirms::Pings);
            }
        }
    }

    /// Another domain of ours wants to send on this stream, too (XEP-0220 §2.6.1).
    pub(super) async fn invite(&mut self, guest: Guest) {
        let pair = &guest.queue.pair;
        let (local, remote) = (pair.local.to_string(), pair.remote.to_string());
        // Who asked before and has given up, as the peer said nothing, is in nobody's way.
        self.asking.retain(|guest| !guest.told.is_closed());
        self.asking.push(guest);
        let acts = self.machine.feed(Input::AddPair { local, remote });
        self.perform(acts).await;
    }

    /// The peer takes what that domain sends.
    fn seat(&mut self, local: &str) {
        let is_its = |guest: &Guest| &*guest.queue.pair.local == local;
        while let Some(at) = self.asking.iter().position(is_its) {
            let Guest { queue, told } = self.asking.swap_remove(at);
            let (place, lost) = oneshot::channel();
            // Whoever waits no longer has a stream of its own.
            if told.send(lost).is_ok() {
                self.sending.add_guest(queue, place);
            }
        }
    }

    /// The peer does not take it.
    pub(super) fn unpaired(&mut self, local: &str, remote: &str, why: String) {
        self.asking.retain(|guest| &*guest.queue.pair.local != local);
        self.federation.note((local, remote), Direction::Out, why, "", Vec::new());
    }
}
