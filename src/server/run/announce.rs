//! What a start prints for a person: where to connect, which certificate to trust, what to do next.

use crate::server::build::Running;
use crate::server::config::Config;
use crate::store::accounts;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The lines for standard output.
pub(super) async fn lines(config: &Config, running: &Running) -> Vec<String> {
    let domains: Vec<_> = config.host.iter().map(|host| host.domain.as_str()).collect();
    let mut lines =
        vec![format!("Stonechat {} serves {}", env!("CARGO_PKG_VERSION"), domains.join(", "))];
    let listening = &running.places;
    for (label, addresses, what) in [
        ("connect:", &listening.c2s, "STARTTLS"),
        ("", &listening.c2s_tls, "TLS from the first byte"),
        ("servers:", &listening.s2s, "other servers, STARTTLS"),
        ("", &listening.s2s_tls, "other servers, TLS from the first byte"),
        ("components:", &listening.components, "bridges and bots"),
        ("", &listening.components_tls, "bridges and bots, TLS from the first byte"),
        ("web:", &listening.web, "HTTPS, WebSocket"),
        ("", &listening.web_plain, "plain HTTP, for a proxy"),
        ("proofs:", &listening.acme, "plain HTTP, where an authority looks"),
        ("metrics:", &listening.metrics, "figures for Prometheus, plain HTTP"),
        ("api:", &listening.api, "JSON for programs with a token, plain HTTP"),
    ] {
        if !addresses.is_empty() {
            lines.push(format!("  {label:<12} {}  ({what})", places(addresses)));
        }
    }
    lines.push(format!("  data:        {}", absolute(&config.data_dir).display()));
    if let Some(ca) = running.tls.ca_file() {
        lines.push(format!("  trust:       {}", absolute(&ca).display()));
        lines.push(
            "               (this server's own authority: tell your client to trust this file)"
                .to_owned(),
        );
    }
    if config.acme_settings().is_some()
        && running.tls.certificate_info().iter().any(|one| one.is_own)
    {
        lines.push(format!("  certificate: ordered now from {}", config.acme.directory));
        lines.push(
            "               (until it is there, the server uses one that it made itself)"
                .to_owned(),
        );
    }
    // One row is enough to know: counting a million takes seconds on a cold disk.
    let first = running.store.read(|tx| accounts::list(tx, None, None, 1)).await;
    let empty = first.is_ok_and(|accounts| accounts.is_empty());
    if let (true, Some(domain)) = (empty, domains.first()) {
        let me = repeated(std::env::args().collect());
        lines.push(format!("  first step:  {me} user add alice@{domain}"));
        lines.push(
            "               (in another terminal, in the same folder; it asks for a password)"
                .to_owned(),
        );
    }
    if std::io::stdin().is_terminal() {
        lines.push("  stop:        Ctrl-C".to_owned());
    }
    lines
}

/// A person could not connect to `[::]:5222`.
fn places(addresses: &[SocketAddr]) -> String {
    let told = |address: &SocketAddr| match address {
        all if all.ip().is_unspecified() && all.is_ipv4() => {
            format!("port {} of every IPv4 address of this machine", all.port())
        }
        all if all.ip().is_unspecified() => {
            format!("port {} of every address of this machine", all.port())
        }
        one => one.to_string(),
    };
    addresses.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// The command this process was started with, for a shell: with a verb after it, it finds the same server,
/// and the program even if that is in no folder of $PATH (`cargo run`).
fn repeated(args: Vec<String>) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@+".contains(c);
    let quoted = |word: String| match word.chars().all(plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    let words: Vec<_> = needed(args).into_iter().map(quoted).collect();
    if words.is_empty() { "stonechat".to_owned() } else { words.join(" ") }
}

/// Leaves out the command, and all settings except the place and the domains of the server.
fn needed(args: Vec<String>) -> Vec<String> {
    let place = |set: &str| {
        let key = set.split('=').next().unwrap_or_default().trim();
        key == "data_dir" || key == "admin.socket" || key.ends_with(".domain")
    };
    let mut words: Vec<String> = Vec::new();
    for word in args.into_iter().filter(|word| word != "serve") {
        if words.last().is_some_and(|last| last == "--set") && !place(&word) {
            words.pop();
        } else if word.strip_prefix("--set=").is_none_or(place) {
            words.push(word);
        }
    }
    words
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_so_that_a_person_can_use_them() {
        for (addresses, told) in [
            (&["[::]:5222"][..], "port 5222 of every address of this machine"),
            (&["0.0.0.0:5222"], "port 5222 of every IPv4 address of this machine"),
            (&["127.0.0.1:5222", "[::1]:5222"], "127.0.0.1:5222, [::1]:5222"),
        ] {
            let parsed: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(places(&parsed), told);
        }
    }

    #[test]
    fn the_next_command_repeats_what_the_server_was_told() {
        for (args, told) in [
            (&["stonechat"][..], "stonechat"),
            (&["target/release/stonechat", "serve"], "target/release/stonechat"),
            (&["stonechat", "--data-dir", "/tmp/b"], "stonechat --data-dir /tmp/b"),
            (
                &["stonechat", "--set", "host.0.domain=b c", "--set", "c2s.listen=[]"],
                "stonechat --set 'host.0.domain=b c'",
            ),
            (
                &["stonechat", "--set=log.level=info", "--set=data_dir=x"],
                "stonechat --set=data_dir=x",
            ),
            (&["stonechat", "--config", "it's"], r"stonechat --config 'it'\''s'"),
            (&[], "stonechat"),
        ] {
            assert_eq!(repeated(args.iter().map(|word| (*word).to_owned()).collect()), told);
        }
    }
}
