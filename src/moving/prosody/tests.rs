//! Real data of Prosody 0.12 (tests/fixtures/moving), which real clients made (tests/interop/moving/make.py).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::moving::samples::{self, Found};

fn sample() -> PathBuf {
    samples::folder().join("prosody")
}

/// The database of the sample, which is kept as SQL.
fn database(folder: &Path) -> PathBuf {
    let path = folder.join("prosody.sqlite");
    samples::restore(&samples::folder().join("prosody.sql.gz"), &path);
    path
}

fn judge(found: &Found) {
    let counts: BTreeMap<&str, usize> = found.counts();
    for (what, wanted) in
        [("query/item", 12), ("archive/result", 20), ("offline-messages/message", 3)]
    {
        assert!(counts.get(what).is_some_and(|it| *it >= wanted), "{what}: {counts:#?}");
    }
    found.judge_passwords(&[]);
    found.judge_roster("alice@old.test");
    found.judge_things("alice@old.test");
    found.judge_rooms();
}

#[test]
fn real_files_are_read() {
    judge(&Found::of(open(&sample()).expect("it opens"), "prosody"));
}

#[test]
fn a_real_database_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path());
    judge(&Found::of(open(folder.path()).expect("it opens"), "prosody-sqlite"));
}

#[test]
fn a_broken_file_is_named_and_the_rest_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = folder.path().join("a%2eb");
    for store in ["accounts", "roster", "archive"] {
        std::fs::create_dir_all(host.join(store)).expect("a folder");
    }
    let write = |name: &str, text: &str| std::fs::write(host.join(name), text).expect("a file");
    write("accounts/ann.dat", "return { [\"password\"] = \"p\" };\n");
    write("accounts/bob.dat", "return { [\"password\"] = os.execute(\"x\") };\n");
    write("roster/ann.dat", "return {\n\n x");
    write("roster/bob.dat", "return { [\"z@x\"] = { subscription = \"both\" } };");
    write("roster/eve.dat", "return {};");
    write(
        "archive/ann.list",
        "item({ name = \"message\"; attr = {} });\nitem({ name = \"message\"",
    );
    let found = Found::of(open(folder.path()).expect("it opens"), "none");
    let untaken = found.untaken.join("\n");
    assert!(untaken.contains("accounts eve@a.b"), "{untaken}");
    assert!(untaken.contains("roster/ann.dat:3"), "{untaken}");
    assert!(untaken.contains("accounts/bob.dat:1"), "{untaken}");
    assert!(untaken.contains("archive/ann.list:2"), "{untaken}");
    assert_eq!(found.accounts.len(), 1, "bob's roster must not become ann's");
    assert_eq!(found.counts().get("archive/result"), Some(&1));
    assert_eq!(found.counts().get("query/item"), None);
}

#[test]
fn what_is_no_data_of_prosody_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(open(folder.path()).err().expect("empty").what.contains("no data of Prosody"));
    assert!(open(&folder.path().join("nowhere")).is_err());
    let other = folder.path().join("other.sqlite");
    rusqlite::Connection::open(&other)
        .and_then(|it| it.execute_batch("CREATE TABLE a (b)"))
        .expect("a database");
    assert!(open(&other).err().expect("another").what.contains("not one of Prosody"));
}
