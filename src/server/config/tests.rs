//! The layers, every message, and the example file.

use super::*;
use std::fs;
use toml::{Table, Value};

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn load_all(file: &str, env: &[(&str, &str)], sets: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    fs::write(&path, file).unwrap();
    let inputs =
        Inputs { file: Some(path), env: pairs(env), sets: pairs(sets), ..Inputs::default() };
    load(&inputs).map_err(|mut problems| {
        let name = format!("{}/", folder.path().display());
        for problem in &mut problems.0 {
            problem.place = problem.place.replace(&name, "");
        }
        problems
    })
}

fn uncommented() -> String {
    let key = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|l| l.starts_with(|c: char| c == '[' || c.is_lowercase()))
    };
    EXAMPLE
        .lines()
        .map(|line| if key(&line) { line.trim_start_matches('#') } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_example_file_is_the_defaults_both_ways() {
    let written: Table = uncommented().parse().unwrap();
    let defaults = Table::try_from(Config::default()).unwrap();
    assert_eq!(written, defaults);
    assert_eq!(toml::from_str::<Config>(&uncommented()).unwrap(), Config::default());
    assert_eq!(toml::from_str::<Config>(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn the_file_for_working_on_the_server_is_right() {
    let file = include_str!("../../../config/dev.toml");
    let config = load_all(file, &[], &[]).unwrap().config;
    assert!(config.c2s.listen.iter().all(|address| address.ip().is_loopback()));
}

#[test]
fn every_key_is_explained() {
    let schema = schema::defaults();
    // A list of tables; one that is empty by default is of plain values.
    let inner = |v: &Value| v.as_array().and_then(|a| a.first()).is_some_and(Value::is_table);
    for path in schema::paths(&schema) {
        let leaf = schema::at(&schema, &path).is_some_and(|v| !v.is_table() && !inner(v));
        if leaf {
            assert!(explain(&path).is_some_and(|text| text.len() > 10), "{path}");
        }
    }
}

#[test]
fn the_page_is_made_from_the_example_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, example::markdown()).unwrap();
    }
    let page = fs::read_to_string(path).unwrap_or_default();
    assert!(page == example::markdown(), "run UPDATE_DOCS=1 cargo test --lib config");
}

#[test]
fn later_layers_win() {
    let file = "data_dir = 'file'\n[log]\nlevel = 'warn'\n[[host]]\ndomain = 'a.example'";
    let env = [("STONECHAT_DATA_DIR", "env"), ("STONECHAT_LOG__LEVEL", "debug"), ("HOME", "/")];
    let got = load_all(file, &env, &[("data_dir", "set")]).unwrap().config;
    assert_eq!(got.data_dir, PathBuf::from("set"));
    assert_eq!(got.log.level, "debug");
    assert_eq!(got.host, [Host::named("a.example")]);
    assert_eq!(got.sasl, Sasl::default());
}

#[test]
fn values_from_outside_are_read_kindly() {
    let sets = [
        ("c2s.listen", "127.0.0.1:0, [::1]:0"),
        ("c2s.listen_tls", "[]"),
        ("c2s.require_tls", "false"),
        ("host.0.domain", "5222.example"),
        ("host.1.domain", "12"),
        ("host.1.certificate", "c.pem"),
        ("host.1.key", "\"k.pem\""),
        ("sasl.mechanisms", "['PLAIN']"),
        ("tls.min_version", "1.3"),
        ("log", "{format = 'json'}"),
    ];
    let got = load_all("", &[("STONECHAT_MODULES__REGISTER__MODE", "open")], &sets).unwrap().config;
    assert_eq!(got.c2s.listen.len(), 2);
    assert!(
        got.c2s.listen_tls.is_empty() && !got.c2s.require_tls && got.modules.register.is_open()
    );
    assert_eq!(got.host[0].domain, "5222.example");
    assert_eq!(got.host[1].domain, "12");
    assert_eq!(got.host[1].key, Some(PathBuf::from("k.pem")));
    assert_eq!(got.tls.min_version, TlsVersion::V1_3);
    assert_eq!(got.log.format, LogFormat::Json);
    assert_eq!(got.warnings().len(), 2);
}

/// File text, environment, sets, and the parts of the one problem: fault, place, remedy.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], [&'a str; 3]);

/// A host may be written in any form; what stands in front of it is looked at by its normal form.
#[test]
fn a_service_fits_hosts_in_any_form() {
    let file = "[[host]]\ndomain = 'Example.ORG'\n[modules.echo]\nlabel = 'echo'";
    assert!(load_all(file, &[], &[]).is_ok());
}

#[test]
#[allow(clippy::too_many_lines)] // a table
fn each_fault_is_told_with_place_and_remedy() {
    let cases: &[Case<'_>] = &[
        ("[c2s]\n\nlisen = []", &[], &[], ["`c2s.lisen`", "s.toml, line 3", "`c2s.listen`"]),
        ("[sasll]\nx = 1", &[], &[], ["`sasll`", "line 1", "`sasl`"]),
        ("colour = 1", &[], &[], ["`colour`", "line 1", "docs/config.md"]),
        ("[[host]]\ndomain = 'a'\nkye = ''", &[], &[], ["host.0.kye", "line 3", "`host.key`"]),
        ("data_dir =", &[], &[], ["`data_dir =`", "line 1", "TOML"]),
        (
            "data_dir = 1",
            &[],
            &[],
            ["must be a text, but is a whole number", "line 1", "quotation"],
        ),
        ("[c2s]\nlisten = 'x'", &[], &[], ["must be a list", "line 2", "square"]),
        (
            "[c2s]\nrequire_tls = 'no'",
            &[],
            &[],
            ["must be true or false", "line 2", "true or false"],
        ),
        ("[store]\nreaders = '2'", &[], &[], ["must be a whole", "line 2", "whole number"]),
        ("[host]\ndomain = 'a'", &[], &[], ["`host` must be a section", "line 1", "[[host]]"]),
        ("log = 'info'", &[], &[], ["`log` must be a section", "line 1", "square brackets"]),
        ("host = ['a']", &[], &[], ["`host` must be a section", "line 1", "[[host]]"]),
        ("[c2s]\nlisten = ['here:1']", &[], &[], ["socket address", "line 2", "docs/config.md"]),
        ("[session]\nconflict = 'x'", &[], &[], ["`replace`", "line 2", "docs/config.md"]),
        ("[store]\nreaders = -1", &[], &[], ["-1", "line 2", "docs/config.md"]),
        (
            "[modules.echo]\nlabel = 'Echo'",
            &[],
            &[],
            ["no domain in normal form", "line 2", "lower-case"],
        ),
        (
            "[[host]]\ndomain = 'a.x'\n[[host]]\ndomain = 'x'\n[modules.echo]\nlabel = 'a'",
            &[],
            &[],
            ["a.x, which is a host", "line 6", "another name"],
        ),
        (
            "",
            &[("STONECHAT_LOG__LEVLE", "x")],
            &[],
            ["log.levle", "STONECHAT_LOG__LEVLE", "log.level"],
        ),
        (
            "",
            &[("STONECHAT_LOG_LEVEL", "x")],
            &[],
            ["LOG_LEVEL", "variable", "STONECHAT_LOG__LEVEL"],
        ),
        ("", &[("STONECHAT_STORE__READERS", "x")], &[], ["store.readers", "variable", "thread"]),
        ("", &[], &[("host.7.domain", "x")], ["no place", "--set host.7.domain", "number"]),
        ("", &[], &[("c2s.tls", "x")], ["c2s.tls", "--set", "remove it"]),
        ("", &[], &[("session.conflict", "x")], ["session.conflict", "--set", "\"rename\""]),
        ("", &[], &[("sasl.iterations", "10")], ["is 10", "--set sasl.iterations", "4096"]),
        ("\n[sasl]\niterations = 10", &[], &[], ["RFC 7677", "s.toml, line 3, key", "4096"]),
        ("host = []", &[], &[], ["no domain is served", "line 1", "[[host]]"]),
        ("[[host]]", &[], &[], ["without a domain", "line 1", "example.org"]),
        (
            "",
            &[],
            &[("host.0.domain", "a@b")],
            ["`a@b` is no domain", "host.0.domain", "without a port"],
        ),
        ("", &[], &[("host.1.domain", "LOCALHOST")], ["twice", "host.1.domain", "remove one"]),
        ("", &[], &[("host.0.key", "k")], ["no certificate", "host.0.key", "PEM"]),
        ("", &[], &[("host.0.certificate", "k")], ["no key", "host.0.certificate", "PEM"]),
        (
            "",
            &[],
            &[("c2s", "{listen=[],listen_tls=[]}")],
            ["no address", "--set c2s", "c2s.listen"],
        ),
        ("", &[], &[("c2s.listen_tls", "[::]:5222")], ["twice", "c2s.listen_tls", "its own"]),
        (
            "[c2s]\nlisten = ['127.0.0.1:1', '0.0.0.0:1']",
            &[],
            &[],
            ["127.0.0.1:1 cannot be listened on both", "line 2", "leave one"],
        ),
        ("", &[], &[("c2s.listen_tls", "[::1]:5222")], ["on both", "c2s.listen_tls", "leave one"]),
        (
            "",
            &[],
            &[("host.0.archive_retention_days", "-2")],
            ["-2 days", "host.0.archive", "0 for ever"],
        ),
        (
            "[modules.mam]\naccount_retention_days = {'a@elsewhere' = 1}",
            &[],
            &[],
            ["`a@elsewhere` is no", "line 2", "a domain that is served"],
        ),
        (
            "[modules.mam.account_retention_days]\n'a@localhost' = 'x'",
            &[],
            &[],
            ["expected u32", "line 2", "docs/config.md"],
        ),
        ("", &[], &[("sasl.mechanisms", "[]")], ["nobody can log in", "sasl", "at least one"]),
        (
            "",
            &[],
            &[("sasl.mechanisms", "scram-sha256")],
            ["scram-sha256", "sasl", "`SCRAM-SHA-256`"],
        ),
        ("", &[], &[("sasl.mechanisms", "XYZZY")], ["XYZZY", "sasl", "use some of"]),
        ("", &[], &[("sasl.iterations", "9999999")], ["too much", "sasl", "or less"]),
        ("", &[], &[("sasl.delay_first_ms", "30001")], ["greater", "delay_first", "smaller"]),
        ("", &[], &[("sasl.delay_max_ms", "90000")], ["too much", "delay_max", "or less"]),
        ("", &[], &[("limits.stanza_bytes_max", "9999")], ["§13.12", "limits", "10000"]),
        ("", &[], &[("limits.outbox_bytes_max", "9999")], ["largest", "limits", "few times"]),
        ("", &[], &[("limits.depth_max", "1")], ["ordinary", "limits", "16"]),
        ("", &[], &[("limits.ping_after_secs", "0")], ["ping", "limits", "1 or more"]),
        ("", &[], &[("limits.auth_attempts_max", "2")], ["two retries", "limits", "3 or more"]),
        ("", &[], &[("limits.bytes_burst", "0")], ["nothing gets", "limits", "1 or more"]),
        ("", &[], &[("s2s.listen", "[::]:5222")], ["twice", "s2s.listen", "its own"]),
        ("", &[], &[("s2s.deny", "a@b")], ["`a@b` is no domain", "s2s.deny", "after the @"]),
        (
            "[s2s.routes]\n'b.example' = 'http://b'",
            &[],
            &[],
            ["no place for `b.example`", "line 1", "tls://"],
        ),
        ("", &[], &[("s2s.resolver", "127.0.0.1:0")], ["no DNS server", "s2s.resolver", ":53"]),
        ("", &[], &[("s2s.certificates", "no")], ["`require`", "s2s.certificates", "dialback"]),
        ("", &[], &[("s2s.message_hours", "9999")], ["too much", "s2s.message", "720 or less"]),
        ("", &[], &[("s2s.queue_bytes_max", "9999")], ["largest stanza", "s2s.queue", "or more"]),
        ("", &[], &[("s2s.proxy_protocol", "x")], ["neither", "s2s.proxy", "10.0.0.0/8"]),
        ("", &[], &[("data_dir", "")], ["empty", "data_dir", "folder"]),
        ("", &[], &[("store.readers", "0")], ["too little", "store", "1 or more"]),
        ("", &[], &[("store.queue_bytes_max", "0")], ["too little", "store", "1048576"]),
        ("", &[], &[("store.queue_jobs_max", "15")], ["too little", "store", "16"]),
        ("", &[], &[("limits.uncommitted_stanzas_max", "1")], ["too little", "limits", "2"]),
        ("", &[], &[("limits.uncommitted_bytes_max", "9999")], ["too little", "limits", "10000"]),
        ("", &[], &[("log.level", "a=b=c")], ["no log level", "log.level", "trace"]),
        ("", &[], &[("log.level", "banana")], ["`banana` means", "log.level", "trace"]),
        ("", &[], &[("log.level", "info,stonechat::net")], ["::net` means", "log.level", "trace"]),
        ("", &[], &[("log.level", "")], ["is missing", "log.level", "trace"]),
        ("", &[], &[("admin.socket", &LONG)], ["too long", "admin.socket", "104"]),
        (
            "[[modules.external.services]]\ntype = 'turn'\nhost = 'a b'",
            &[],
            &[],
            [
                "service 1 of `modules.external.services` has neither a domain",
                "line 1",
                "turn.example",
            ],
        ),
        (
            "[modules.external]\nservices = [{ type = 'turn', host = 'x', prot = 1 }]",
            &[],
            &[],
            ["unknown field `prot`", "line 2", "docs/config.md"],
        ),
        (
            "",
            &[],
            &[("modules.external.credentials_secs", "1")],
            ["too little", "credentials_secs", "60 or more"],
        ),
    ];
    for (file, env, sets, wanted) in cases {
        let Problems(found) = load_all(file, env, sets).unwrap_err();
        assert_eq!(found.len(), 1, "{file} {env:?} {sets:?}: {found:#?}");
        let Problem { what, place, fix } = &found[0];
        for (text, part) in [what, place, fix].into_iter().zip(wanted) {
            assert!(text.contains(part), "{file} {env:?} {sets:?}: {part} not in: {}", found[0]);
        }
    }
}

static LONG: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| "/x".repeat(60));

/// What is wrong with a line is told without the secret that stands in it.
#[test]
fn faults_quote_no_secrets() {
    let services = "[modules.external]\nservices = ";
    for (file, set) in [
        ("[[modules.external.services]]\ntype = 'turn'\nhost = 'x'\nsecret = 9876543210", ""),
        (
            &*format!("{services}[{{ type = 'turn', host = 'x', secret = '9876543210', a = 1 }}]"),
            "",
        ),
        (&*format!("{services}[{{ type = 'turn', host = 'x', secret = '9876543210' ]"), ""),
        ("[modules.external]\nsecret = 9876543210", ""),
        ("", "[{ type = 'turn', host = 'x', password = 9876543210 }]"),
    ] {
        let sets = [("modules.external.services", set)];
        let sets = if set.is_empty() { &[][..] } else { &sets };
        let told = load_all(file, &[], sets).unwrap_err().to_string();
        assert!(!told.contains("9876543210"), "{told}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let file = "a = 1\n[log]\nlevel = 3\n[store]\nreaders = true";
    let Problems(found) = load_all(file, &[], &[("sasl.iterations", "1")]).unwrap_err();
    assert_eq!(found.len(), 4, "{found:#?}");
    let told = Problems(found).to_string();
    assert_eq!(told.matches("to do:").count(), 4);
}

#[test]
fn names_that_container_platforms_make_are_left_alone() {
    let env = [("STONECHAT_PORT", "tcp://10.0.0.1"), ("STONECHAT_SERVICE_HOST", "10.0.0.1")];
    assert!(load_all("", &env, &[("limits.streams_per_ip", "0")]).is_ok());
}

#[test]
fn a_named_file_must_exist_and_a_searched_one_need_not() {
    let missing = PathBuf::from("/nonexistent/stonechat.toml");
    let named = Inputs { file: Some(missing.clone()), ..Inputs::default() };
    let told = load(&named).unwrap_err().to_string();
    assert!(told.contains("cannot be read") && told.contains("--config"), "{told}");
    let searched = Inputs { search: vec![missing], ..Inputs::default() };
    let loaded = load(&searched).unwrap();
    assert_eq!((loaded.config, loaded.file), (Config::default(), None));
}

#[test]
fn domains_come_out_in_normal_form() {
    let config = load_all("", &[], &[("host.0.domain", "B\u{dc}CHER.example")]).unwrap().config;
    assert_eq!(config.host[0].domain, "b\u{fc}cher.example");
    assert_eq!(config.store_options().path, config.database());
}

#[test]
fn a_lab_is_open_on_free_loopback_ports() {
    let base = Config::default().lab(&["a.example".to_owned()], PathBuf::from("/tmp/x"));
    let sets = pairs(&[("modules.register.mode", "closed")]);
    let config = load(&Inputs { base, sets, ..Inputs::default() }).unwrap().config;
    assert_eq!(config.host, [Host::named("a.example")]);
    assert!(config.c2s.listen.iter().all(|a| a.ip().is_loopback() && a.port() == 0));
    assert!(config.c2s.require_tls && !config.modules.register.is_open());
    assert_eq!(config.admin_socket(), PathBuf::from("/tmp/x/admin.sock"));
}

#[test]
fn an_archive_is_for_hosts_and_for_single_accounts() {
    let file = "[[host]]\ndomain = 'a.example'\narchive_retention_days = 30\n\
                [[host]]\ndomain = 'b.example'\narchive = false\n\
                [modules.mam.account_retention_days]\n'Romeo@A.example' = 7";
    let config = load_all(file, &[], &[]).unwrap().config.archive();
    for (account, archives, days) in [
        ("romeo@a.example", true, 7),
        ("juliet@a.example", true, 30),
        ("juliet@b.example", false, 365),
    ] {
        let jid = crate::jid::BareJid::parse(account).unwrap();
        assert_eq!((config.archives(&jid), config.retention_days(&jid)), (archives, days));
    }
    let set = [("modules.mam.account_retention_days", "{'a@localhost' = 0}")];
    let config = load_all("", &[], &set).unwrap().config.archive();
    assert_eq!(config.account_retention_days.get("a@localhost"), Some(&0));
}

#[test]
fn federation_is_set_in_normal_form() {
    let file = "[s2s]\nenabled = false\ndeny = ['B\u{dc}CHER.example']\nmessage_hours = 2\n\
                routes = { 'B.example' = 'tls://127.0.0.1:5270' }";
    let s2s = load_all(file, &[], &[]).unwrap().config.s2s;
    assert_eq!(s2s.listeners(), [&[][..]; 2], "nobody listens");
    let settings = s2s.settings();
    assert!(!settings.admits("b\u{fc}cher.example") && settings.admits("b.example"));
    assert_eq!(settings.message_time.as_secs(), 7_200);
    let dial = s2s.dial(std::time::Duration::from_secs(60));
    assert_eq!(dial.routes["b.example"].to_string(), "tls://127.0.0.1:5270");
    let defaults = Config::default().s2s;
    assert_eq!(defaults.settings(), crate::peer::Settings::default());
    assert_eq!(defaults.listeners()[0][0].port(), 5269);
}
