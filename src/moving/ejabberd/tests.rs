//! Real data of ejabberd 23.01 (tests/fixtures/moving), which real clients made (tests/interop/moving/make.py).

use super::*;
use crate::moving::samples::{self, Found};

fn judge(found: &Found) {
    let counts = found.counts();
    for (what, wanted) in
        [("query/item", 11), ("archive/result", 20), ("offline-messages/message", 3)]
    {
        assert!(counts.get(what).is_some_and(|it| *it >= wanted), "{what}: {counts:#?}");
    }
    // Who is banned there gets another password.
    found.judge_passwords(&["disabled@old.test"]);
    found.judge_roster("alice@old.test");
    found.judge_things("alice@old.test");
    found.judge_rooms();
}

#[test]
fn a_real_dump_is_read() {
    judge(&Found::of(
        open(&samples::folder().join("ejabberd.dump")).expect("it opens"),
        "ejabberd",
    ));
}

#[test]
fn a_real_database_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ejabberd.sqlite");
    samples::restore(&samples::folder().join("ejabberd.sql.gz"), &path);
    judge(&Found::of(open(&path).expect("it opens"), "ejabberd-sqlite"));
}

#[test]
fn the_old_schema_is_of_the_domain_that_the_file_is_named_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let make = |name: &str| {
        let path = folder.path().join(name);
        let db = rusqlite::Connection::open(&path).expect("a database");
        db.execute_batch(
            "CREATE TABLE users (username, password, serverkey, salt, iterationcount);
             CREATE TABLE rosterusers (username, jid, nick, subscription, ask, askmessage);
             CREATE TABLE rostergroups (username, jid, grp); CREATE TABLE vcard (username, vcard);
             CREATE TABLE private_storage (username, namespace, data);
             CREATE TABLE privacy_default_list (username, name); CREATE TABLE privacy_list (username, name, id);
             CREATE TABLE privacy_list_data (id, t, value, action, ord);
             CREATE TABLE archive_prefs (username, def, always, never); CREATE TABLE pubsub_node (host, node, nodeid);
             CREATE TABLE archive (username, timestamp, peer, xml, id, kind, nick);
             CREATE TABLE spool (username, xml, seq);
             INSERT INTO users VALUES ('a', 'secret', '', '', 0), ('b', 'other', '', '', 0);
             INSERT INTO rosterusers VALUES ('b', 'a@x.y', 'A', 'B', 'N', '');",
        )
        .expect("tables");
        path
    };
    assert!(
        open(&make("ejabberd.db")).err().expect("unnamed").what.contains("named after the domain")
    );
    let found = Found::of(open(&make("x.y.db")).expect("it opens"), "none");
    assert_eq!(found.accounts.keys().collect::<Vec<_>>(), ["a@x.y", "b@x.y"]);
    assert_eq!(found.untaken, Vec::<String>::new());
    assert_eq!(found.parts_of("b@x.y").count(), 1);
}

#[test]
fn a_broken_dump_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump");
    std::fs::write(&path, "{tables,[]}.\n{passwd,{<<\"a\">>,<<\"x.y\">>},<<\"p\">>}.\n{roster,")
        .expect("a file");
    let error = open(&path).err().expect("torn");
    assert!(error.place.ends_with("dump:3"), "{error}");
    std::fs::write(&path, "Dear all,").expect("a file");
    assert!(open(&path).err().expect("a letter").what.contains("neither"));
    std::fs::write(
        &path,
        "{archive_msg,{<<\"gone\">>,<<\"x.y\">>},<<>>,{1,2,3},a,b,{xmlel,<<\"message\">>,[],[]},<<>>,chat}.\n\
         {push_session,{<<\"a\">>,<<\"x.y\">>},b}.\n{passwd,{<<\"a\">>,<<\"x.y\">>},<<\"p\">>}.\n\
         {vcard,{<<\"a\">>,<<\"x.y\">>},nothing}.\n",
    )
    .expect("a file");
    let found = Found::of(open(&path).expect("it opens"), "none");
    let untaken = found.untaken.join("\n");
    assert!(
        untaken.contains("accounts gone@x.y") && untaken.contains("tables push_session"),
        "{untaken}"
    );
    assert!(untaken.contains("dump:4"), "{untaken}");
    assert_eq!(found.parts_of("a@x.y").count(), 0);
}
