//! What a room wants sent, in order.

use std::sync::Arc;

use crate::jid::Jid;
use crate::router::rules::StanzaClass;
use crate::stanza::{Frame, Stanza};

/// What is to be sent for one event.
#[derive(Debug, Default)]
pub struct Outputs {
    /// In this order, to each addressee.
    pub sent: Vec<Sent>,
    /// Stanzas that go their own ways afterwards: private messages, invitations, answers.
    pub routed: Vec<Stanza>,
    /// The room is gone: whoever lists it forgets it, and deletes its rows.
    pub vanished: bool,
}

/// One text for some sessions.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Who says it: the room or an occupant.
    pub from: Jid,
    /// What it is.
    pub class: StanzaClass,
    /// The stanza without 'to'.
    pub frame: Frame,
    /// The real addresses.
    pub to: Arc<[Jid]>,
}

impl Outputs {
    /// One text for these.
    pub fn tell(&mut self, to: Arc<[Jid]>, from: &Jid, class: StanzaClass, frame: Frame) {
        if !to.is_empty() {
            self.sent.push(Sent { from: from.clone(), class, frame, to });
        }
    }

    /// For one session.
    pub fn tell_one(&mut self, to: &Jid, from: &Jid, class: StanzaClass, frame: Frame) {
        self.tell(Arc::from([to.clone()]), from, class, frame);
    }

    /// Something with a way of its own.
    pub fn route(&mut self, stanza: Option<Stanza>) {
        self.routed.extend(stanza);
    }
}
