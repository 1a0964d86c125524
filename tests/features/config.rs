//! Configuration as an operator meets it: layers, slips, environment.

use crate::harness::client::Outcome;
use crate::harness::process::{Lab, PORTS, Process, binary, run_in};
use std::path::Path;

/// What `check` says of a file in the folder.
fn told(folder: &Path, text: &str, more: &[&str]) -> (bool, String) {
    std::fs::write(folder.join("stonechat.toml"), text).unwrap();
    let said =
        run_in(folder, &[&["--data-dir", "data"][..], &PORTS, more, &["check"]].concat(), "");
    (said.ok, format!("{}{}", said.out, said.err))
}

/// An unknown key is refused with its line and the nearest known name, all at once.
#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[limits]\nmax_stanza_bytes = 20000\n\n[logg]\nlevel = \"info\"\n";
    let (ok, said) = told(folder.path(), text, &["--set", "c2s.require_tsl=false"]);
    assert!(!ok);
    for part in [
        "stonechat.toml, line 2",
        "`limits.stanza_bytes_max`",
        "stonechat.toml, line 4",
        "`log`",
        "--set c2s.require_tsl",
        "`c2s.require_tls`",
        "3 problems",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

/// The same for values: what is wrong, where, and the form that is right.
#[test]
fn a_wrong_value_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (text, parts) in [
        ("data_dir = 3", ["data_dir", "line 1", "quotation marks"]),
        ("[c2s]\nrequire_tls = \"no\"", ["c2s.require_tls", "line 2", "true or false"]),
        ("[[host]]\ndomain = \"a b\"", ["a b", "line 2", "domain"]),
        ("[log]\nlevel = \"a=b=c\"", ["log.level", "line 2", "debug"]),
        ("[c2s\n", ["line 1", "TOML", "PROBLEM"]),
    ] {
        let (ok, said) = told(folder.path(), text, &[]);
        assert!(!ok, "{text}");
        for part in parts {
            assert!(said.contains(part), "{text}: no {part:?} in {said}");
        }
    }
    let (ok, said) = told(folder.path(), "[[host]]\ndomain = \"example.org\"\n", &[]);
    assert!(ok, "{said}");
}

/// File, then environment, then command line; the later wins.
#[test]
fn the_environment_beats_the_file_and_the_command_line_both() {
    let folder = tempfile::tempdir().unwrap();
    let listed = |variable: Option<&str>, set: Option<&str>| {
        std::fs::write(folder.path().join("stonechat.toml"), "data_dir = \"from-file\"\n").unwrap();
        let mut command = binary();
        command.current_dir(folder.path());
        command.envs(variable.map(|value| ("STONECHAT_DATA_DIR", value)));
        command.args(set.map(|value| format!("--data-dir={value}")));
        let listed = command.args(["user", "list"]).output().unwrap();
        // Nothing is there: the folder it looked in is named.
        let told = String::from_utf8(listed.stderr).unwrap();
        let at = told.find("from-").expect("a folder");
        told[at..].split(',').next().map(str::to_owned)
    };
    assert_eq!(listed(None, None).as_deref(), Some("from-file"));
    assert_eq!(listed(Some("from-variable"), None).as_deref(), Some("from-variable"));
    assert_eq!(listed(Some("from-variable"), Some("from-line")).as_deref(), Some("from-line"));
}

/// Of two keys that do not go together the one that was set is named, and what a lab sets by itself is no
/// reason to refuse what is set for it.
#[test]
fn a_default_is_not_the_operators_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, said) = told(folder.path(), "[sasl]\ndelay_max_ms = 100\n", &[]);
    assert!(!ok && said.contains("line 2, key sasl.delay_max_ms"), "{said}");
    let (ok, said) = told(folder.path(), "", &["--set", "limits.stanza_bytes_max=9000000"]);
    assert!(!ok && said.contains("--set limits.stanza_bytes_max"), "{said}");
    let lab = Lab::new(&[], &["sasl.delay_first_ms=250"]);
    // Its own doings are no news to who started it.
    assert!(!lab.process.log().contains("WARN"), "{}", lab.process.log());
}

/// The environment and files that stand about are made for another server.
#[test]
fn a_lab_reads_neither_environment_nor_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stonechat.toml"), "nonsense = true\n").unwrap();
    let mut command = binary();
    command.current_dir(folder.path()).env("STONECHAT_C2S__LISTEN", "nonsense").arg("lab");
    let process = Process::spawn(command);
    process.prints(|text| text.contains("\"ready\":true").then_some(()));
}

/// The example is the defaults: a server starts with it as it stands.
#[test]
fn the_commented_example_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/stonechat.toml");
    let (ok, said) = told(folder.path(), &std::fs::read_to_string(example).unwrap(), &[]);
    assert!(ok, "{said}");
}

/// Logs for machines: one JSON object a line, whatever happens.
#[tokio::test]
async fn json_logs_are_json_alone() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["log.format=json", "log.level=debug"]);
    lab.login("alice").await?.close().await?;
    lab.process.logs(&["session closed"]);
    for line in lab.process.log().lines() {
        let object: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(object.is_ok_and(|object| object["message"].is_string()), "{line}");
    }
    Ok(())
}
