//! What a room says to all who are in it: one text, addressed anew for each session. Beside `presence` and `notify`
//! the only file that hands something to an account without a passage; and where a feature may have something to do
//! with it, as the device sleeps, it goes by one.

use std::sync::Arc;
use std::time::SystemTime;

use super::outbox::{Level, Outbox, Outgoing};
use super::passage::{GuardQuery, Side};
use super::rules::StanzaClass;
use super::{Leads, Origin, Routed, Router};
use crate::jid::Jid;
use crate::stanza::message::MessageType;
use crate::stanza::{Frame, Stanza};

/// What became of a text for many.
#[derive(Debug, Default)]
pub struct HandedOut {
    /// Addressees that there are no more.
    pub absent: Vec<Jid>,
    /// The boxes of those that have little room left: whoever causes more should wait for them.
    pub slow: Vec<Arc<Outbox>>,
    /// Sessions to be woken when the caller holds no lock any more.
    pub wake: Vec<Arc<Outbox>>,
}

/// What is done with a text for one session.
enum Way {
    /// It has it.
    Put,
    /// Its account does not want it.
    Refused,
    /// There is no such session.
    Absent,
    /// A feature may have to do with it.
    Passage,
}

impl Router {
    /// Wakes who waits for what was put: a thousand sessions not all at once, so that nobody else's waits behind
    /// all of them.
    pub fn nudge(&self, handed: &mut HandedOut) {
        let mut wake = std::mem::take(&mut handed.wake);
        let later = wake.split_off(wake.len().min(WAKE_AT_ONCE));
        wake.iter().for_each(|outbox| outbox.nudge());
        if later.is_empty() {
            return;
        }
        self.tasks.spawn("wake", async move {
            for some in later.chunks(WAKE_AT_ONCE) {
                // Those that were woken write first, and so do others.
                tokio::task::yield_now().await;
                some.iter().for_each(|outbox| outbox.nudge());
            }
        });
    }

    /// Gives a text of `from` to the sessions with these full JIDs; a headline may be for bare ones, too, and goes
    /// to whoever is there (RFC 6121 §8.5.2.1.1). `frame` has no `to`. In the order of the calls
    /// for each session; never waits, and may be called under a lock of the caller's.
    pub fn hand_out(
        self: &Arc<Self>,
        (from, class): (&Jid, StanzaClass),
        frame: &Frame,
        to: &[Jid],
        now: SystemTime,
        handed: &mut HandedOut,
    ) {
        // What is for one person has gone through its account already.
        let personal = [MessageType::Chat, MessageType::Normal].map(StanzaClass::Message);
        let sleepers_pass = matches!(class, StanzaClass::Message(_)) && !personal.contains(&class);
        for jid in to {
            if self.leads(jid) != Leads::Account {
                if !self.hand_on(frame, jid, now, handed) {
                    handed.absent.push(jid.clone());
                }
                continue;
            }
            match self.put_one((from, class), frame, jid, sleepers_pass, handed) {
                Way::Put | Way::Refused => {}
                Way::Absent => handed.absent.push(jid.clone()),
                // What does not pass is not wanted: the session is there.
                Way::Passage => drop(self.hand_on(frame, jid, now, handed)),
            }
        }
    }

    /// Whether there is a session with this full JID, though it hibernate.
    pub fn is_bound(&self, jid: &Jid) -> bool {
        let is = |entry: &super::account::AccountEntry| entry.resource(jid).is_some();
        self.registry.look(jid.bare_str(), is).unwrap_or(false)
    }

    fn put_one(
        &self,
        (from, class): (&Jid, StanzaClass),
        frame: &Frame,
        jid: &Jid,
        sleepers_pass: bool,
        handed: &mut HandedOut,
    ) -> Way {
        let own = jid.bare_str();
        if jid.is_bare() {
            return self.put_to_each((from, class), frame, own, handed);
        }
        let way = self.registry.look(own, |entry| {
            let Some(resource) = entry.resource(jid) else { return Way::Absent };
            if sleepers_pass && (resource.hibernating || resource.quiet) {
                return Way::Passage;
            }
            let query = GuardQuery { side: Side::Incoming, kind: class, own, peer: from };
            if self.features.guard(entry, &query).ended().is_err() {
                return Way::Refused;
            }
            let item = Outgoing::from(frame.addressed(jid.as_str()));
            match resource.outbox.put_among_many(item) {
                Ok(put) => {
                    if put.wake {
                        handed.wake.push(resource.outbox.clone());
                    }
                    if put.level == Level::OverHalf {
                        handed.slow.push(resource.outbox.clone());
                    }
                    Way::Put
                }
                // It ends, and says so itself.
                Err(_) => Way::Refused,
            }
        });
        way.unwrap_or(Way::Absent)
    }

    /// To all sessions of an account that take messages; of an account that is not in memory there are none.
    fn put_to_each(
        &self,
        (from, class): (&Jid, StanzaClass),
        frame: &Frame,
        own: &str,
        handed: &mut HandedOut,
    ) -> Way {
        if class != StanzaClass::Message(MessageType::Headline) {
            return Way::Passage;
        }
        let way = self.registry.look(own, |entry| {
            if entry.non_negative().next().is_none() {
                return Way::Refused;
            }
            if entry.non_negative().any(|resource| resource.hibernating || resource.quiet) {
                return Way::Passage;
            }
            let query = GuardQuery { side: Side::Incoming, kind: class, own, peer: from };
            if self.features.guard(entry, &query).ended().is_err() {
                return Way::Refused;
            }
            let frame = frame.addressed(own);
            for resource in entry.non_negative() {
                // A box that is full or closed belongs to a session that ends.
                let item = Outgoing::from(frame.clone());
                let Ok(put) = resource.outbox.put_among_many(item) else { continue };
                if put.wake {
                    handed.wake.push(resource.outbox.clone());
                }
                if put.level == Level::OverHalf {
                    handed.slow.push(resource.outbox.clone());
                }
            }
            Way::Put
        });
        way.unwrap_or(Way::Absent)
    }

    /// By an ordinary passage, or to wherever else the address leads; false if it does not get there.
    fn hand_on(
        self: &Arc<Self>,
        frame: &Frame,
        to: &Jid,
        now: SystemTime,
        handed: &mut HandedOut,
    ) -> bool {
        let stanza = Stanza::ours(frame.addressed(to.as_str()).to_vec().into());
        let Some(stanza) = stanza else { return true };
        match self.route(&stanza, now, &mut Origin::server()) {
            Routed::Done | Routed::Crowded | Routed::Handle(_) => true,
            Routed::Slow(outbox) => {
                handed.slow.push(outbox);
                true
            }
            Routed::Load(_) | Routed::Bounce(_) => false,
        }
    }
}

/// A write each: half a millisecond.
const WAKE_AT_ONCE: usize = 32;
