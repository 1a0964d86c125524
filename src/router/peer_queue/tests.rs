use bytes::Bytes;
use proptest::prelude::*;

use super::super::deferred::{Deferrable, DeferredWrite, Flusher};
use super::*;
use crate::store::tx::Tx;
use crate::store::{Job, peer_queue, testing};

fn queue(memory_bytes_max: usize) -> PeerQueue {
    let pair = Pair { local: "a.example".into(), remote: "b.example".into() };
    PeerQueue::new(pair, PeerBounds { memory_bytes_max, ..PeerBounds::default() }, Arc::default())
}

/// What comes out: messages by their positions, all else by what it says.
fn taken(queue: &PeerQueue, stanzas: usize) -> Vec<String> {
    match queue.next(usize::MAX, stanzas, 1) {
        Next::Batch(taken) => {
            let told = |item: Outgoing| match item.owed {
                Some(seq) => seq.to_string(),
                None => String::from_utf8(item.frame.to_vec()).unwrap(),
            };
            taken.batch.into_iter().map(told).collect()
        }
        Next::Stored(from, to) => {
            queue.read_to(to);
            (from + 1..=to).map(|seq| seq.to_string()).collect()
        }
    }
}

fn all(queue: &PeerQueue) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match taken(queue, 3) {
            some if some.is_empty() && queue.outbox.bytes() == 0 => return all,
            some => all.extend(some),
        }
    }
}

fn message(queue: &PeerQueue, seq: i64) {
    let frame = Frame::whole(format!("<message>{seq}</message>").into());
    assert!(queue.put_message(frame, |_, _| Ok((seq, 1))).is_ok());
}

fn presence(queue: &PeerQueue, id: &str) -> bool {
    queue.put_presence(Frame::whole(id.to_owned().into())).is_ok()
}

/// RFC 6120 §10.1: while messages are read from the store, presence keeps its place among them.
#[test]
fn what_has_no_row_keeps_its_place() {
    let queue = queue(10_000);
    (1..=2).for_each(|seq| message(&queue, seq));
    presence(&queue, "a");
    message(&queue, 3);
    // Another stream: none of it was acknowledged.
    queue.send_anew();
    presence(&queue, "b");
    presence(&queue, "c");
    message(&queue, 4);
    assert_eq!(all(&queue), ["1", "2", "a", "3", "b", "c", "4"]);
    message(&queue, 5);
    presence(&queue, "d");
    assert_eq!(all(&queue), ["5", "d"]);
}

proptest! {
    /// Whatever happens to streams, what comes out first is in the order in which it came.
    #[test]
    fn the_order_is_kept(
        memory in prop_oneof![Just(1_000_usize), Just(100_000)],
        steps in prop::collection::vec(0_u8..8, 1..60),
    ) {
        let queue = queue(memory);
        let (mut last, mut came, mut sent) = (0, Vec::new(), Vec::<String>::new());
        for (at, step) in steps.into_iter().enumerate() {
            let name = format!("p{at}");
            match step {
                0..=2 => {
                    last += 1;
                    message(&queue, last);
                    came.push(last.to_string());
                }
                3 | 4 if presence(&queue, &name) => came.push(name),
                5 => queue.send_anew(),
                6 => { queue.settle(sent.iter().filter_map(|it| it.parse().ok()).max().unwrap_or(0)); }
                7 => sent.extend(taken(&queue, 2)),
                _ => {}
            }
        }
        sent.extend(all(&queue));
        let mut first: Vec<String> = Vec::new();
        for one in sent {
            if !first.contains(&one) {
                first.push(one);
            }
        }
        prop_assert_eq!(first, came);
    }
}

struct Row(i64);

impl Job for Row {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        peer_queue::append(tx, ("a", "b"), (self.0, 1), b"x")
    }
    fn settled(self: Box<Self>, _: Result<(), StoreError>) {}
}

impl Deferrable for Row {
    fn flush(self: Box<Self>, store: &Store) -> Result<(), (Box<dyn Deferrable>, StoreError)> {
        store.submit_or_return(self).map_err(|(row, error)| (row as Box<dyn Deferrable>, error))
    }
}

struct World {
    _folder: tempfile::TempDir,
    store: Store,
    queue: PeerQueue,
    flusher: Flusher,
}

impl World {
    fn new() -> Self {
        let (folder, store) = testing::store();
        let pair = Pair { local: "a".into(), remote: "b".into() };
        let queue = PeerQueue::new(pair, PeerBounds::default(), Arc::default());
        Self { _folder: folder, store, queue, flusher: Flusher::default() }
    }

    /// Defers the row if the queue says so. Whether it did, and whether that is news.
    fn put(&self, seq: i64) -> (bool, bool) {
        let mut deferred_it = false;
        let put = self.queue.put_message(Frame::whole("<message/>".into()), |deferred, goes| {
            deferred_it = goes;
            let row = Box::new(Row(seq));
            match goes {
                true => {
                    let room = self.flusher.room(1).unwrap();
                    assert!(deferred.push(seq, DeferredWrite { row, room }));
                }
                false => self.store.submit(row).unwrap(),
            }
            Ok((seq, 1))
        });
        (deferred_it, matches!(put, Ok((_, true))))
    }

    async fn stored(&self) -> Vec<i64> {
        self.store.barrier().await.unwrap();
        let page = |tx: &mut dyn Tx| peer_queue::page(tx, ("a", "b"), (0, 99), 99);
        self.store.read(page).await.unwrap().iter().map(|row| row.seq).collect()
    }
}

#[tokio::test]
async fn what_the_peer_acknowledges_soon_is_never_written() {
    let world = World::new();
    let queue = &world.queue;
    assert_eq!(world.put(1), (false, false), "no stream stands");
    queue.opened(1);
    assert_eq!((world.put(2), world.put(3)), ((true, true), (true, false)));
    assert_eq!((world.put(4), world.put(5)), ((true, false), (true, false)));
    assert_eq!(world.stored().await, [1]);
    assert!(queue.settle(2), "one of them has a row");
    assert!(!queue.settle(4) && !queue.settle(4));
    // What waits is to be read: by the next stream, or to be given up.
    queue.written(&world.store).await.unwrap();
    assert_eq!(world.stored().await, [1, 5]);
    assert!(queue.settle(5));
    assert_eq!(queue.load().messages, 0);
}

#[tokio::test]
async fn what_waits_in_the_store_alone_is_written_at_once() {
    let world = World::new();
    world.queue.opened(1);
    assert_eq!(world.put(1), (true, true));
    world.queue.seek();
    assert_eq!(world.put(2), (false, false), "the stream is gone");
    world.queue.send_anew();
    world.queue.opened(1);
    assert_eq!(world.put(3), (false, false), "behind what is read from the store");
}

fn small(commons: &Arc<Commons>) -> PeerQueue {
    let pair = Pair { local: "a".into(), remote: "b".into() };
    let bounds = PeerBounds {
        memory_bytes_max: 20_000,
        presence_bytes_max: 20_000,
        ..PeerBounds::default()
    };
    PeerQueue::new(pair, bounds, commons.clone())
}

fn frame(name: &str, n: usize) -> Frame {
    Frame::whole(Bytes::from(format!("<{name} id='{n:0>900}'/>")))
}

fn frames_of(queue: &PeerQueue) -> Vec<Bytes> {
    let mut all = Vec::new();
    while let Next::Batch(taken) = queue.next(2_000, 3, 1)
        && !taken.batch.is_empty()
    {
        all.extend(taken.batch.into_iter().map(|item| item.frame.to_vec().into()));
    }
    all
}

/// After a restart: what does not fit into the box goes out behind it, in order, and nothing overtakes it.
#[test]
fn presence_waits_for_room() {
    let commons = Arc::default();
    let queue = small(&commons);
    let took = (0..99).take_while(|n| queue.put_presence(frame("presence", *n)).is_ok()).count();
    assert!((30..40).contains(&took), "{took}");
    assert!(queue.put(frame("iq", 0), 0).is_err(), "it would overtake");
    queue.opened(1);
    let came = frames_of(&queue);
    let sent: Vec<Bytes> = (0..took).map(|n| frame("presence", n).to_vec().into()).collect();
    assert_eq!(came, sent);
    assert!(queue.put(frame("iq", 0), 0).is_ok());
    assert_eq!(frames_of(&queue).len(), 1);
    // Nothing of it is left when the peer cannot be reached.
    (0..20).for_each(|n| drop(queue.put_presence(frame("presence", n))));
    queue.lost(None);
    assert!(queue.release());
}

#[test]
fn writers_wait_for_a_peer_that_takes_and_not_for_one_that_hangs() {
    let commons = Arc::default();
    let queue = small(&commons);
    let slow = |at| matches!(queue.put(frame("iq", 0), at), Ok(Queued::Slow(_)));
    assert!((0..11).all(|_| !slow(1)), "nobody takes yet");
    queue.opened(1);
    assert!(slow(2));
    assert!(!slow(1 + HUNG));
    let Next::Batch(_) = queue.next(1, 1, HUNG) else { panic!() };
    assert!(slow(1 + HUNG));
}

#[test]
fn queues_without_a_stream_are_counted() {
    let commons = Arc::default();
    let (one, other) = (small(&commons), small(&commons));
    assert_eq!(commons.unopened(), 2);
    one.opened(1);
    one.opened(1);
    assert_eq!(commons.unopened(), 1);
    one.seek();
    other.opened(1);
    assert_eq!(commons.unopened(), 1);
    drop((one, other));
    assert_eq!(commons.unopened(), 0);
}
