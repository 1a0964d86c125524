//! What a room keeps for members that are not in it, until they are told of it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::members::Members;
use crate::jid::Jid;
use crate::stanza::Frame;

/// Those who are not in a room.
#[derive(Debug, Default)]
pub struct Absent {
    /// What was said since they were told last, oldest first.
    heard: VecDeque<Frame>,
    bytes: usize,
    /// Somebody tells them.
    is_told: bool,
    members: Option<(Stamp, Arc<Members>)>,
    /// Nobody was away while this was so.
    all_here: Option<(Stamp, Arc<[Jid]>)>,
}

/// Changes with the list of members.
pub(super) type Stamp = (i64, u64, usize);

impl Absent {
    /// Whether it is known that nobody is away.
    pub(super) fn is_nobody(&self, stamp: Stamp, everyone: &Arc<[Jid]>) -> bool {
        let all_here = self.all_here.as_ref();
        all_here.is_some_and(|(of, were)| *of == stamp && Arc::ptr_eq(were, everyone))
    }

    /// Nobody is, until somebody leaves or becomes a member.
    pub(super) fn nobody(&mut self, stamp: Stamp, everyone: Arc<[Jid]>) {
        self.all_here = Some((stamp, everyone));
    }

    /// Keeps a message for them, in place of the oldest one if there are too many; whether somebody has to begin to
    /// tell them.
    pub(super) fn keep(&mut self, frame: Frame, bytes_max: usize) -> bool {
        self.bytes = self.bytes.saturating_add(frame.len());
        self.heard.push_back(frame);
        while self.heard.len() > HEARD_MAX || self.bytes > bytes_max {
            let Some(oldest) = self.heard.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.len());
        }
        !std::mem::replace(&mut self.is_told, true)
    }

    /// What they are to be told; if it is nothing, nobody tells them any more: the next message begins again.
    pub(super) fn take(&mut self) -> VecDeque<Frame> {
        self.is_told = !self.heard.is_empty();
        self.bytes = 0;
        std::mem::take(&mut self.heard)
    }

    /// Nobody tells them, though something may wait.
    pub(super) fn stopped(&mut self) {
        self.is_told = false;
    }

    /// The members, made anew if they are others than before.
    pub(super) fn members(&self, stamp: Stamp) -> Option<Arc<Members>> {
        let known = self.members.as_ref().filter(|(of, _)| *of == stamp);
        known.map(|(_, members)| members.clone())
    }

    /// Keeps them.
    pub(super) fn set_members(&mut self, stamp: Stamp, members: Arc<Members>) {
        self.members = Some((stamp, members));
    }
}

/// Messages that wait to be told of.
const HEARD_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_room_does_not_queue_without_end() {
        let mut absent = Absent::default();
        let frame = |n: usize| Frame::whole(format!("<message id='{n:03}'/>").into());
        assert!(absent.keep(frame(0), 9_999), "somebody begins");
        for n in 1..200 {
            assert!(!absent.keep(frame(n), 9_999), "once");
        }
        let heard = absent.take();
        assert_eq!(heard.len(), HEARD_MAX);
        assert_eq!(heard.back().map(Frame::to_vec), Some(frame(199).to_vec()));
        assert!(!absent.keep(frame(200), 10), "what is too long for all is not kept");
        assert!(absent.take().is_empty());
        assert!(absent.keep(frame(201), 9_999), "the next one begins again");
        assert_eq!(absent.take().len(), 1);
        assert!(!absent.keep(frame(202), 9_999), "somebody is at it");
        absent.stopped();
        assert!(absent.keep(frame(203), 9_999), "it is not any more");
        assert_eq!(absent.take().len(), 2);
    }
}
