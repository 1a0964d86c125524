//! A room's archive works like an account's, and the two are independent.

use super::super::ids::{AccountId, ArchiveId, RoomId};
use super::super::search::words::SearchTerms;
use super::super::search::{self, Finder};
use super::super::testing;
use super::super::tx::Tx;
use super::*;

fn put(tx: &mut dyn Tx, archive: ArchiveId, seq: i64, kind: RowKind, id: &str) {
    let stanza = format!("<message id='{id}'><body>word {id}</body></message>");
    let (peer, stanza) = ("verona@rooms.example", stanza.as_bytes());
    let entry = Entry { seq, at: seq, archive, peer, resource: "romeo", kind, stanza };
    append_behind(tx, &entry, Some(id)).unwrap();
}

fn positions(tx: &mut dyn Tx, archive: ArchiveId) -> Vec<i64> {
    let page = page(tx, archive, &Filter::ALL, Direction::Forward, 9, 9_999).unwrap();
    page.rows.into_iter().map(|row| row.seq).collect()
}

fn found(tx: &mut dyn Tx, archive: ArchiveId) -> Vec<i64> {
    let (sought, filter) = (SearchTerms::read("word").unwrap(), Filter::ALL);
    let finder = Finder::new(archive, &sought, &filter);
    let hits = finder.page(tx, (i64::MIN, i64::MAX), Direction::Forward, 9, 9_999).unwrap();
    hits.rows.into_iter().map(|row| row.seq).collect()
}

#[test]
fn a_room_has_an_archive_as_an_account_has() {
    testing::archive_tx(|tx, account| {
        let room = ArchiveId::of_room(RoomId(account.account().unwrap().0));
        for seq in 1..=3 {
            // A room is owed nothing, whatever a row of it says.
            let kind = if seq == 1 { RowKind::Owed } else { RowKind::Received };
            put(tx, room, 2 * seq, kind, &format!("m{seq}"));
            put(tx, account, 2 * seq + 1, RowKind::Owed, &format!("m{seq}"));
        }
        index_new(tx).unwrap();
        assert_eq!((positions(tx, room), positions(tx, account)), (vec![2, 4, 6], vec![3, 5, 7]));
        assert_eq!(archives_after(tx, ArchiveId::BEFORE_ALL), Ok(Some(room)));
        assert_eq!(archives_after(tx, room), Ok(Some(account)));
        for archive in [room, account] {
            let slice = search::read(tx, archive, 9).unwrap();
            search::write(tx, &slice).unwrap();
        }
        assert_eq!((found(tx, room), found(tx, account)), (vec![2, 4, 6], vec![3, 5, 7]));
        let said = ("verona@rooms.example", By::Peer);
        let row = newest_of(tx, room, said, "m2", 99).unwrap().unwrap();
        assert_eq!(row.seq, 4);
        replace(tx, room, row.seq, b"<message/>").unwrap();
        assert_eq!((found(tx, room), found(tx, account)), (vec![2, 6], vec![3, 5, 7]));
        assert_eq!(purge(tx, room, (3, 9), 9), Ok(1));
        leave(tx, room).unwrap();
        assert_eq!(clear(tx, room, 9, 10, 0), Ok(2));
        assert_eq!((found(tx, room), found(tx, account)), (vec![], vec![3, 5, 7]));
        assert_eq!(search::searcher_after(tx, ArchiveId::BEFORE_ALL), Ok(Some(account)));
        assert_eq!(positions(tx, ArchiveId::of_room(RoomId(9))), [0; 0]);
        assert_eq!(archives_after(tx, ArchiveId::of(AccountId(i64::MAX))), Ok(None));
    });
}
