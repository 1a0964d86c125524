//! What a device does not have yet, and when it is told of it.

use tokio::time::Instant;

/// Messages that a device does not have yet.
#[derive(Debug, Default)]
pub struct Waiting {
    held: Vec<Held>,
    /// Further ones.
    more: usize,
    /// Those of before the account was read from the store; `None` until they are counted.
    earlier: Option<usize>,
    /// What a summary may say of the last one.
    pub last: Option<Last>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Held {
    /// From whom: an account or a room.
    pub peer: Box<str>,
    /// Its position, if it has a row.
    pub seq: Option<i64>,
    /// Its device is woken though it may have it: a call.
    pub urgent: bool,
    /// When its device is to be told; none once it was.
    pub due: Option<Instant>,
}

/// The last message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its sender.
    pub sender: String,
    /// Its text, if it has one that can be read.
    pub body: Option<String>,
}

impl Waiting {
    /// Nothing waits, as its device is there.
    pub fn clear(&mut self) {
        *self = Self { earlier: Some(0), ..Self::default() };
    }

    /// Counts those of before this one.
    pub fn begin(&mut self, earlier: impl FnOnce() -> usize) {
        self.earlier.get_or_insert_with(earlier);
    }

    /// One more.
    pub fn push(&mut self, held: Held, last: Option<Last>) {
        if self.held.len() < HELD_MAX {
            self.held.push(held);
        } else {
            self.more = self.more.saturating_add(1);
            if let Some(newest) = self.held.last_mut() {
                newest.due = newest.due.into_iter().chain(held.due).min();
            }
        }
        self.last = last;
    }

    /// Those from this peer are read.
    pub fn read(&mut self, peer: &str) {
        self.held.retain(|held| *held.peer != *peer);
        self.last.take_if(|last| last.sender.split('/').next() == Some(peer));
    }

    /// Those from this peer are read, up to this position.
    pub fn read_to(&mut self, peer: &str, seq: i64) {
        let is_read = |held: &Held| *held.peer == *peer && held.seq.is_some_and(|at| at <= seq);
        self.held.retain(|held| !is_read(held));
        if !self.peers().any(|left| left == peer) {
            self.read(peer);
        }
    }

    /// From whom something waits.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        self.held.iter().map(|held| &*held.peer)
    }

    /// Leaves those that may not have arrived at the device that is connected.
    pub fn retain(&mut self, is_missing: impl Fn(i64) -> bool) {
        self.held.retain(|held| held.urgent || held.seq.is_some_and(&is_missing));
        (self.more, self.earlier) = (0, Some(0));
    }

    /// When the device is to be told of the next one; none if it knows of all.
    pub fn due(&self) -> Option<Instant> {
        self.held.iter().filter_map(|held| held.due).min()
    }

    /// The device is told of all of it.
    pub fn told(&mut self) {
        self.held.iter_mut().for_each(|held| (held.urgent, held.due) = (false, None));
    }

    /// It was not, and is to be told then.
    pub fn untold(&mut self, at: Instant) {
        self.held.iter_mut().for_each(|held| held.due = Some(at));
    }

    /// How many (XEP-0357 §11.3.1).
    pub fn count(&self) -> usize {
        self.held.len().saturating_add(self.more).saturating_add(self.earlier.unwrap_or(0))
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        let held = self.held.iter().map(|held| held.peer.len()).sum::<usize>();
        let last = self
            .last
            .as_ref()
            .map_or(0, |last| last.sender.len() + last.body.as_ref().map_or(0, String::len));
        self.held.capacity() * size_of::<Held>() + held + last
    }
}

/// Messages that are remembered one by one; the rest are counted.
const HELD_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_and_read() {
        let due = Instant::now();
        let held = |peer: &str, seq| Held {
            peer: peer.into(),
            seq: Some(seq),
            urgent: false,
            due: Some(due),
        };
        let last = |sender: &str| Some(Last { sender: sender.to_owned(), body: None });
        let mut waiting = Waiting::default();
        waiting.begin(|| 4);
        waiting.begin(|| panic!("counted"));
        assert_eq!(waiting.due(), None);
        waiting.push(held("a@x", 1), last("a@x/1"));
        waiting.push(held("b@x", 2), last("b@x/1"));
        assert_eq!(waiting.count(), 6);
        waiting.read("b@x");
        assert_eq!((waiting.count(), waiting.last.clone()), (5, None));
        waiting.push(held("b@x", 7), last("b@x/1"));
        waiting.push(held("b@x", 8), last("b@x/1"));
        waiting.read_to("b@x", 7);
        assert_eq!((waiting.count(), waiting.last.clone()), (6, last("b@x/1")));
        waiting.read_to("b@x", 8);
        assert_eq!((waiting.count(), waiting.last.clone()), (5, None));
        waiting.push(held("b@x", 3), last("b@x/1"));
        waiting.push(Held { urgent: true, ..held("c@x", 4) }, None);
        waiting.retain(|seq| seq == 3);
        assert_eq!(waiting.count(), 2);
        assert_eq!(waiting.due(), Some(due));
        waiting.told();
        assert_eq!(waiting.due(), None);
        waiting.untold(due);
        assert_eq!(waiting.due(), Some(due));
        waiting.retain(|_| false);
        assert_eq!((waiting.due(), waiting.count()), (None, 0));
        for seq in 0..1_000 {
            waiting.push(held("a@x", seq), None);
        }
        assert_eq!((waiting.count(), waiting.held.len()), (1_000, HELD_MAX));
        waiting.told();
        waiting.push(held("a@x", 0), None);
        assert_eq!(waiting.due(), Some(due), "one more than are remembered");
        waiting.clear();
        assert_eq!(waiting.count(), 0);
    }
}
