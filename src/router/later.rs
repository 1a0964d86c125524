//! Presence and probes for which the box of a queue has no room: they wait, in order, until it has. After a restart all
//! accounts say at once that they are there, and ask who else is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stanza::Frame;

/// What all queues share.
#[derive(Debug, Default)]
pub(super) struct Commons {
    /// Queues without a stream.
    unopened: AtomicUsize,
    /// Bytes of presence that wait in all queues together.
    bytes: AtomicUsize,
}

impl Commons {
    /// Queues without a stream.
    pub(super) fn unopened(&self) -> usize {
        self.unopened.load(Ordering::Relaxed)
    }

    /// One more queue has no stream, or one less.
    pub(super) fn count(&self, unopened: bool) {
        match unopened {
            true => self.unopened.fetch_add(1, Ordering::Relaxed),
            false => self.unopened.fetch_sub(1, Ordering::Relaxed),
        };
    }
}

/// What waits for room in one queue's box.
#[derive(Debug)]
pub(super) struct Later {
    commons: Arc<Commons>,
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Later {
    pub(super) fn new(commons: Arc<Commons>) -> Self {
        Self { commons, frames: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Puts one behind the others. False if there is no room, in this queue or in all.
    pub(super) fn put(&mut self, frame: Frame, bytes_max: usize) -> bool {
        let bytes = frame.len() + ITEM_COST;
        let all = self.commons.bytes.load(Ordering::Relaxed);
        if self.bytes + bytes > bytes_max || all + bytes > bytes_max.saturating_mul(FULL_QUEUES) {
            return false;
        }
        self.commons.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self.frames.push_back(frame);
        true
    }

    /// The first one, if it has at most so many bytes.
    pub(super) fn next(&mut self, room: usize) -> Option<Frame> {
        let frame = self.frames.pop_front_if(|frame| frame.len() <= room)?;
        self.forget(frame.len() + ITEM_COST);
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
        Some(frame)
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.frames = VecDeque::new();
        self.forget(self.bytes);
    }

    fn forget(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.commons.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Bookkeeping counted per stanza.
const ITEM_COST: usize = 96;
/// In all there is room for as much as so many full queues have.
const FULL_QUEUES: usize = 16;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame::whole(Bytes::from(vec![b'x'; bytes]))
    }

    #[test]
    fn what_waits_is_bounded_in_each_and_in_all() {
        let commons = Arc::new(Commons::default());
        let mut all: Vec<Later> = (0..20).map(|_| Later::new(commons.clone())).collect();
        let took = |later: &mut Later| (0..99).take_while(|_| later.put(frame(104), 1_000)).count();
        let each: Vec<usize> = all.iter_mut().map(took).collect();
        assert_eq!(each[0], 5);
        assert_eq!(each.iter().sum::<usize>(), 16 * 5);
        assert!(all[0].next(103).is_none() && all[0].next(104).is_some());
        assert!(all[19].put(frame(104), 1_000));
        drop(all);
        assert_eq!(commons.bytes.load(Ordering::Relaxed), 0);
    }
}
