//! The index against a list in memory: what is found, by whom, in which order.

use super::super::Store;
use super::super::archive::{Direction, Entry, Filter, Peer, RowKind, append, append_behind};
use super::super::testing;
use super::super::tx::Tx;
use super::words::SearchTerms;
use super::*;
use crate::base::id::{OsRng, Rng};

fn put(tx: &mut dyn Tx, archive: ArchiveId, seq: i64, peer: &str, content: &str) {
    let stanza = format!("<message>{content}</message>");
    let (kind, stanza, resource) = (RowKind::Received, stanza.as_bytes(), "r");
    append(tx, &Entry { seq, at: seq, archive, peer, resource, kind, stanza }).unwrap();
}

fn say(tx: &mut dyn Tx, archive: ArchiveId, seq: i64, text: &str) {
    put(tx, archive, seq, "a@x", &format!("<body>{text}</body>"));
}

fn index(tx: &mut dyn Tx, archive: ArchiveId, rows: usize) -> Result<(), StoreError> {
    let slice = read(tx, archive, rows)?;
    write(tx, &slice)
}

fn index_all(tx: &mut dyn Tx, archive: ArchiveId) {
    while progress(tx, archive).unwrap() != Progress::All {
        index(tx, archive, 2).unwrap();
    }
}

fn found_with(tx: &mut dyn Tx, archive: ArchiveId, text: &str, filter: &Filter) -> Vec<i64> {
    let search_terms = SearchTerms::read(text).unwrap();
    let finder = Finder::new(archive, &search_terms, filter);
    let range = (filter.after, filter.before);
    let hits = finder.page(tx, range, Direction::Forward, 999, usize::MAX).unwrap();
    assert!(!hits.more && !hits.given_up);
    let seqs: Vec<i64> = hits.rows.iter().map(|row| row.seq).collect();
    assert_eq!(finder.count(tx, range, 999), Ok(Some(seqs.len())), "{text}");
    seqs
}

fn found(tx: &mut dyn Tx, archive: ArchiveId, text: &str) -> Vec<i64> {
    found_with(tx, archive, text, &Filter::ALL)
}

#[test]
fn messages_are_found_by_their_words() {
    testing::archive_tx(|tx, me| {
        for (seq, text) in [
            (1, "Hello, World"),
            (2, "my résumé &amp; 北京大学 notes"),
            (3, "hello again, 안녕하세요"),
            (4, "北京 京大 大学, hello world"),
        ] {
            say(tx, me, seq, text);
        }
        put(tx, me, 5, "a@x", "<subject>World news</subject><thread>hello</thread>");
        put(tx, me, 6, "a@x", "<received xmlns='urn:xmpp:receipts' id='hello'/>");
        index_all(tx, me);
        for (text, expected) in [
            ("hello", &[1, 3, 4][..]),
            ("WORLD", &[1, 4, 5]),
            ("world hello", &[1, 4]),
            ("resume", &[2]),
            ("北京", &[2, 4]),
            ("大", &[2, 4]),
            ("北京大学", &[2]),
            ("하세", &[3]),
            ("hello 하세", &[3]),
            ("nobody", &[]),
            ("hello nobody", &[]),
            ("?!", &[]),
            // Of no meaning to us, and of much to FTS5.
            ("hello OR nobody", &[]),
            ("hello* -world ^hello words:hello NEAR(hello world)", &[]),
            ("\"hello\" (world)", &[1, 4]),
            ("e p", &[]),
        ] {
            assert_eq!(found(tx, me, text), expected, "{text}");
        }
    });
}

#[test]
fn nobody_finds_what_is_not_his() {
    testing::archive_tx(|tx, me| {
        // 1 and 16, say, are no prefix of one another's words.
        let others: Vec<_> = (0..20).map(|n| testing::archive(tx, &format!("n{n}"))).collect();
        for (at, other) in others.iter().enumerate() {
            say(tx, *other, 10 + at as i64, "secret plan 1_secret 2_plan");
        }
        say(tx, me, 1, "my plan");
        for archive in others.iter().chain([&me]) {
            index_all(tx, *archive);
        }
        assert_eq!((found(tx, me, "plan"), found(tx, me, "secret")), (vec![1], vec![]));
        for (at, other) in others.iter().enumerate() {
            assert_eq!(found(tx, *other, "secret plan"), [10 + at as i64]);
        }
        // Also if the index were wrong: the row itself says whose it is.
        let all = format!("{} {}", token(me, "secret"), with(me, "a@x"));
        tx.execute("DELETE FROM archive_words WHERE rowid = 11", &[]).unwrap();
        tx.execute(ADD, &[11_i64.into(), all.into()]).unwrap();
        let (search_terms, filter) = (SearchTerms::read("secret").unwrap(), Filter::ALL);
        let finder = Finder::new(me, &search_terms, &filter);
        let range = (i64::MIN, i64::MAX);
        let hits = finder.page(tx, range, Direction::Forward, 9, usize::MAX).unwrap();
        assert_eq!(hits, Hits::default());
    });
}

#[test]
fn an_archive_is_indexed_from_its_new_end_in_slices() {
    testing::archive_tx(|tx, me| {
        assert_eq!(progress(tx, me), Ok(Progress::All), "there is nothing");
        (1..=7).for_each(|seq| say(tx, me, seq, "word"));
        assert_eq!((progress(tx, me), found(tx, me, "word")), (Ok(Progress::Behind), vec![]));
        index(tx, me, 3).unwrap();
        assert_eq!((progress(tx, me), found(tx, me, "word")), (Ok(Progress::New), vec![5, 6, 7]));
        say(tx, me, 8, "word");
        assert_eq!(progress(tx, me), Ok(Progress::Behind));
        index(tx, me, 3).unwrap();
        assert_eq!(
            (progress(tx, me), found(tx, me, "word")),
            (Ok(Progress::New), vec![5, 6, 7, 8])
        );
        index_all(tx, me);
        assert_eq!(found(tx, me, "word"), [1, 2, 3, 4, 5, 6, 7, 8]);
        index(tx, me, 3).unwrap();
        assert_eq!(found(tx, me, "word").len(), 8);
        assert_eq!(searcher_after(tx, ArchiveId::BEFORE_ALL), Ok(Some(me)));
        assert_eq!(searcher_after(tx, me), Ok(None));
        drop_all(tx).unwrap();
        assert_eq!((progress(tx, me), found(tx, me, "word")), (Ok(Progress::Behind), vec![]));
        index_all(tx, me);
        assert_eq!(found(tx, me, "word").len(), 8);
    });
}

#[test]
fn large_messages_come_in_slices_of_their_own() {
    testing::archive_tx(|tx, me| {
        let large = "x ".repeat(SLICE_BYTES / 4);
        (1..=5).for_each(|seq| say(tx, me, seq, &large));
        index(tx, me, 99).unwrap();
        assert_eq!(found(tx, me, "x").len(), 1);
        index_all(tx, me);
        assert_eq!(found(tx, me, "x").len(), 5);
    });
}

#[test]
fn a_slice_has_so_many_words_and_no_more() {
    testing::archive_tx(|tx, me| {
        let words: String = (0..1_500).map(|n| format!("w{n} ")).collect();
        (1..=5).for_each(|seq| say(tx, me, seq, &words));
        let slice = read(tx, me, 99).unwrap();
        assert_eq!(slice.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [3, 4, 5]);
        index_all(tx, me);
        assert_eq!(found(tx, me, "w7").len(), 5);
    });
}

#[test]
fn what_is_done_between_reading_and_writing_counts() {
    testing::archive_tx(|tx, me| {
        (1..=4).for_each(|seq| say(tx, me, seq, "word"));
        let slice = read(tx, me, 99).unwrap();
        tx.execute("DELETE FROM archive_place WHERE seq = 2", &[]).unwrap();
        tx.execute("DELETE FROM archive WHERE seq = 2", &[]).unwrap();
        let emptied = b"<message/>".as_slice();
        tx.execute("UPDATE archive SET stanza = $1 WHERE seq = 3", &[emptied.into()]).unwrap();
        write(tx, &slice).unwrap();
        let rows = "SELECT id FROM archive_words_docsize ORDER BY id";
        let indexed = |tx: &mut dyn Tx| super::super::query_all(tx, rows, &[], |row| row.int(0));
        assert_eq!((progress(tx, me), indexed(tx)), (Ok(Progress::All), Ok(vec![1, 4])));
        // Another search has written the same.
        write(tx, &slice).unwrap();
        assert_eq!(indexed(tx), Ok(vec![1, 4]));
    });
}

#[test]
fn what_is_deleted_is_not_found() {
    testing::archive_tx(|tx, me| {
        let other = testing::archive(tx, "other");
        for seq in 1..=6 {
            say(tx, me, seq, "word");
            say(tx, other, 10 + seq, "word");
        }
        index_all(tx, me);
        index_all(tx, other);
        // A tombstone (XEP-0424), in the index and not yet in it.
        forget(tx, &[5, 99]).unwrap();
        assert_eq!(found(tx, me, "word"), [1, 2, 3, 4, 6]);
        assert_eq!(archive::purge(tx, me, (3, 9), 9), Ok(2));
        assert_eq!(found(tx, me, "word"), [3, 4, 6]);
        super::super::accounts::delete(tx, other.account().unwrap()).unwrap();
        crate::store::archive::leave(tx, other).unwrap();
        while archive::clear(tx, other, 4, 1, 1).unwrap() > 0 {}
        assert_eq!(searcher_after(tx, me), Ok(None));
        let rows = "SELECT COUNT(*) FROM archive_words_docsize";
        let rows = super::super::query_one(tx, rows, &[], |row| row.int(0));
        assert_eq!((rows, found(tx, me, "word")), (Ok(3), vec![3, 4, 6]));
    });
}

#[test]
fn an_archive_deleted_while_it_is_indexed_is_followed_no_more() {
    testing::archive_tx(|tx, me| {
        (1..=3).for_each(|seq| say(tx, me, seq, "word"));
        let slice = read(tx, me, 99).unwrap();
        super::super::accounts::delete(tx, me.account().unwrap()).unwrap();
        crate::store::archive::leave(tx, me).unwrap();
        write(tx, &slice).unwrap();
        while archive::clear(tx, me, 2, 1, 1).unwrap() > 0 {}
        assert_eq!(searcher_after(tx, ArchiveId::BEFORE_ALL), Ok(None));
        let rows = "SELECT COUNT(*) FROM archive_words_docsize";
        assert_eq!(super::super::query_one(tx, rows, &[], |row| row.int(0)), Ok(0));
    });
}

#[test]
fn encrypted_messages_are_counted_where_the_filter_looks() {
    testing::archive_tx(|tx, me| {
        let other = testing::archive(tx, "other");
        let secret = "<encrypted xmlns='urn:xmpp:omemo:2'/><body>you cannot read this</body>";
        for (seq, archive, peer) in
            [(1, me, "a@x"), (2, me, "b@x"), (3, me, "a@x"), (4, other, "a@x"), (5, me, "a@x")]
        {
            put(tx, archive, seq, peer, secret);
        }
        say(tx, me, 6, "read");
        for archive in [me, other] {
            index_all(tx, archive);
        }
        assert_eq!(found(tx, me, "read"), [6]);
        let bare = |peer: &str| Peer::Bare(peer.to_owned());
        for (filter, cap, expected) in [
            (Filter::ALL, 9, (4, false)),
            (Filter::ALL, 4, (4, false)),
            (Filter::ALL, 3, (3, true)),
            (Filter { peer: bare("a@x"), ..Filter::ALL }, 9, (3, false)),
            (Filter { peer: bare("a@x"), after: 3, ..Filter::ALL }, 9, (1, false)),
            (Filter { peer: bare("a@x"), before: 3, ..Filter::ALL }, 9, (1, false)),
            (Filter { peer: bare("c@x"), ..Filter::ALL }, 9, (0, false)),
        ] {
            let search_terms = SearchTerms::read("read").unwrap();
            let finder = Finder::new(me, &search_terms, &filter);
            assert_eq!(finder.unsearchable(tx, cap), Ok(expected), "{filter:?}");
        }
    });
}

#[test]
fn what_only_looks_like_it_costs_so_much_and_no_more() {
    testing::archive_tx(|tx, me| {
        for seq in 1..=6_000 {
            say(tx, me, seq, "北京 京大");
        }
        say(tx, me, 6_001, "北京大");
        while progress(tx, me).unwrap() != Progress::All {
            index(tx, me, 5_000).unwrap();
        }
        let (search_terms, filter) = (SearchTerms::read("北京大").unwrap(), Filter::ALL);
        let finder = Finder::new(me, &search_terms, &filter);
        let all = (i64::MIN, i64::MAX);
        let page = |tx: &mut dyn Tx, direction| {
            let hits = finder.page(tx, all, direction, 9, usize::MAX).unwrap();
            (hits.rows.len(), hits.more, hits.given_up)
        };
        assert_eq!(page(tx, Direction::Forward), (0, true, true));
        assert_eq!(page(tx, Direction::Backward), (1, true, false));
        assert_eq!(finder.count(tx, all, 10_000), Ok(None));
        assert_eq!(finder.count(tx, (5_900, i64::MAX), 10_000), Ok(Some(1)));
        assert_eq!(finder.nth(tx, 0), Ok(Indexed::TooDeep));
    });
}

#[test]
fn so_many_bytes_are_looked_at_and_no_more() {
    testing::archive_tx(|tx, me| {
        let long = format!("北京 京大 {}", "x ".repeat(100_000));
        (1..=50).for_each(|seq| say(tx, me, seq, &long));
        say(tx, me, 51, "北京大");
        index_all(tx, me);
        let (search_terms, filter) = (SearchTerms::read("北京大").unwrap(), Filter::ALL);
        let all = (i64::MIN, i64::MAX);
        for (direction, found) in [(Direction::Forward, 0), (Direction::Backward, 1)] {
            let finder = Finder::new(me, &search_terms, &filter);
            let hits = finder.page(tx, all, direction, 9, usize::MAX).unwrap();
            assert_eq!((hits.rows.len(), hits.more, hits.given_up), (found, true, found == 0));
            // The page has used all of it.
            assert_eq!(finder.count(tx, all, 999), Ok(None));
            assert_eq!(finder.nth(tx, 0), Ok(Indexed::TooDeep));
            assert_eq!(finder.look(tx, 51), Ok(Look::GivenUp));
        }
        let finder = Finder::new(me, &search_terms, &filter);
        assert_eq!(finder.count(tx, (20, i64::MAX), 999), Ok(Some(1)));
    });
}

/// All that is found, page by page, in the order of the archive.
fn paged(
    tx: &mut dyn Tx,
    finder: &Finder<'_>,
    mut range: (i64, i64),
    direction: Direction,
    (limit, bytes): (usize, usize),
) -> Vec<i64> {
    let mut met: Vec<i64> = Vec::new();
    loop {
        let hits = finder.page(tx, range, direction, limit, bytes).unwrap();
        let seqs: Vec<i64> = hits.rows.iter().map(|row| row.seq).collect();
        let at = if direction == Direction::Forward { met.len() } else { 0 };
        met.splice(at..at, seqs.clone());
        if !hits.more {
            return met;
        }
        match direction {
            Direction::Forward => range.0 = seqs[seqs.len() - 1],
            Direction::Backward => range.1 = seqs[0],
        }
    }
}

/// Random messages of two accounts with three peers, random searches, held against a list in memory.
#[test]
fn paging_meets_every_hit_once_and_in_order() {
    const WORDS: [&str; 8] = ["one", "two", "Three", "été", "北京", "京大", "北京大", "한국어"];
    let mut dice = Dice::new();
    testing::archive_tx(|tx, me| {
        let other = testing::archive(tx, "other");
        let mut rows: Vec<(ArchiveId, i64, &str, String)> = Vec::new();
        for seq in 1..=400 {
            let archive = if dice.below(4) == 0 { other } else { me };
            let peer = ["a@x", "b@x", "x"][dice.below(3)];
            let text: Vec<_> = (0..dice.below(5)).map(|_| WORDS[dice.below(8)]).collect();
            let text = text.join(" ");
            let stanza = format!("<message><body>{text}</body></message>");
            let (kind, stanza, resource) = (RowKind::Sent, stanza.as_bytes(), "");
            append_behind(tx, &Entry { seq, at: seq, archive, peer, resource, kind, stanza }, None)
                .unwrap();
            rows.push((archive, seq, peer, text));
            if dice.below(20) == 0 {
                archive::index_new(tx).unwrap();
                index(tx, archive, 1 + dice.below(40)).unwrap();
            }
        }
        archive::index_new(tx).unwrap();
        index_all(tx, me);
        index_all(tx, other);
        for _ in 0..150 {
            let text =
                format!("{} {}", WORDS[dice.below(8)], ["", "TWO", "ete", "京"][dice.below(4)]);
            let archive = if dice.below(4) == 0 { other } else { me };
            let peer = match dice.below(3) {
                0 => Peer::Bare("a@x".to_owned()),
                1 => Peer::Full("x".to_owned(), String::new()),
                _ => Peer::Any,
            };
            let (after, before) = (dice.below(200) as i64, 200 + dice.below(300) as i64);
            let search_terms = SearchTerms::read(&text).unwrap();
            let mut filter = Filter { peer, ..Filter::ALL };
            (filter.after, filter.before) = (after, before);
            let fits = |(of, seq, with, said): &&(ArchiveId, i64, &str, String)| {
                let peer = match &filter.peer {
                    Peer::Any => true,
                    Peer::Bare(bare) | Peer::Full(bare, _) => bare == with,
                };
                *of == archive
                    && peer
                    && after < *seq
                    && *seq < before
                    && search_terms.is_in([&**said])
            };
            let wanted: Vec<i64> = rows.iter().filter(fits).map(|row| row.1).collect();
            let (limit, bytes) = (1 + dice.below(9), 1 + dice.below(2_000));
            let finder = Finder::new(archive, &search_terms, &filter);
            for direction in [Direction::Forward, Direction::Backward] {
                let met = paged(tx, &finder, (after, before), direction, (limit, bytes));
                assert_eq!(met, wanted, "{text} {filter:?} {direction:?} {limit} {bytes}");
            }
            assert_eq!(finder.count(tx, (after, before), 999), Ok(Some(wanted.len())));
            let index = dice.below(wanted.len() + 2);
            let at = wanted.get(index).map_or(Indexed::Beyond, |seq| Indexed::At(*seq));
            assert_eq!(finder.nth(tx, index), Ok(at));
        }
    });
}

#[tokio::test]
async fn a_store_follows_its_searchers() {
    let (folder, store) = testing::store();
    let make = |tx: &mut dyn Tx| Ok(testing::archive(tx, "a"));
    let me = store.write(make).await.unwrap();
    let write = async |store: &Store, rows: usize| {
        let seqs: Vec<_> = (0..rows).map(|_| store.next_seq()).collect();
        let add = move |tx: &mut dyn Tx| {
            seqs.iter().try_for_each(|&seq| {
                let stanza = b"<message><body>word</body></message>".as_slice();
                let (peer, resource, kind) = ("a@x", "", RowKind::Sent);
                append_behind(
                    tx,
                    &Entry { seq, at: seq, archive: me, peer, resource, kind, stanza },
                    None,
                )
            })
        };
        store.write(add).await.unwrap();
        store.archived((0..rows).map(|_| me), 10);
    };
    let number = async |store: &Store| {
        let read = store.read(move |tx| {
            let (search_terms, filter) = (SearchTerms::read("word").unwrap(), Filter::ALL);
            Finder::new(me, &search_terms, &filter).count(tx, (i64::MIN, i64::MAX), 9_999)
        });
        read.await.unwrap().unwrap()
    };
    write(&store, 2 * SLICE + 1).await;
    assert_eq!((store.searchable(me, 1).await, number(&store).await), (Ok(false), SLICE));
    // What is new goes first.
    write(&store, 1).await;
    assert_eq!((store.searchable(me, 1).await, number(&store).await), (Ok(false), SLICE + 1));
    store.close().await;
    let store = Store::open(testing::options(folder.path())).unwrap();
    assert_eq!((store.searchable(me, 9).await, number(&store).await), (Ok(true), 2 * SLICE + 2));
    store.close().await;
    let database = folder.path().join("stonechat.db");
    assert_eq!(Store::deep_check(&database).unwrap(), Vec::<String>::new());
    let conn = rusqlite::Connection::open(&database).unwrap();
    conn.execute("DELETE FROM archive WHERE seq = (SELECT MAX(seq) FROM archive)", []).unwrap();
    let damage = Store::deep_check(&database).unwrap();
    assert!(damage.iter().any(|line| line.contains("index of words")), "{damage:?}");
}

struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let mut seed = [0; 8];
        OsRng.fill(&mut seed);
        let seed = u64::from_le_bytes(seed);
        println!("the dice start at {seed}");
        Self(seed | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 1) % limit as u64) as usize
    }
}
