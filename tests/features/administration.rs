//! XEP-0133 and the roles of those who may do it.

use crate::harness::process::{PASSWORD, Said, run_in};
use std::path::Path;

fn user(folder: &Path, args: &[&str]) -> Said {
    run_in(folder, &[&["--data-dir", "data", "user"], args].concat(), PASSWORD)
}

/// Without a server and beside one.
#[test]
fn a_role_is_given_and_taken_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let add = ["add", "romeo@localhost", "--password-stdin", "--set", "sasl.iterations=4096"];
    assert!(user(at, &add).ok);
    let mut lab = None;
    for _ in 0..2 {
        for (args, out) in [
            (&["role", "romeo@localhost"][..], "romeo@localhost is user"),
            (&["role", "romeo@localhost", "owner"], "romeo@localhost is owner"),
            (&["role"], "romeo@localhost  owner"),
            (&["role", "romeo@localhost", "user"], "romeo@localhost is user"),
            (&["role"], ""),
        ] {
            let said = user(at, args);
            assert!(said.ok && said.out.trim() == out, "{args:?}: {said:?}");
        }
        lab = lab.or_else(|| Some(crate::harness::process::Lab::serve(at, &[], &[])));
    }
    let said = user(at, &["role", "tybalt@localhost", "owner"]);
    assert!(!said.ok && said.err.contains("no account tybalt@localhost"), "{said:?}");
}
