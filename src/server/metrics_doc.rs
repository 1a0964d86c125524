//! docs/metrics.md: what a server says of itself at `/metrics`, from what one said. A test compares the two.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The page, of the text of OpenMetrics that a server gave.
pub fn metrics_md(exposition: &str) -> String {
    let mut page = INTRODUCTION.to_owned();
    for (name, family) in families(exposition) {
        let labels: Vec<_> =
            family.labels.iter().map(|(label, values)| told(label, values)).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join("; ") };
        let (shown, help) = (family.shown(name), family.help);
        let _ = writeln!(page, "| `{shown}` | {} | {labels} | {help} |", family.kind);
    }
    page
}

#[derive(Default)]
struct Family<'a> {
    kind: &'a str,
    help: &'a str,
    /// Each label with its values, as they came.
    labels: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Family<'a> {
    /// The name by which one asks for it.
    fn shown(&self, name: &str) -> String {
        match self.kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        }
    }

    fn note(&mut self, label: &'a str, value: &'a str) {
        match self.labels.iter_mut().find(|(known, _)| *known == label) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => self.labels.push((label, vec![value])),
        }
    }
}

fn families(exposition: &str) -> BTreeMap<&str, Family<'_>> {
    let mut found: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    let mut last = "";
    for line in exposition.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|it| it.split_once(' ')) {
            last = name;
            found.entry(name).or_default().help = help;
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' '))
        {
            found.entry(name).or_default().kind = kind;
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.rsplit_once('}').map_or("", |(labels, _)| labels);
            let labels = labels.split(',').filter_map(|label| label.split_once('='));
            for (label, value) in labels.filter(|(label, _)| *label != "le") {
                found.entry(last).or_default().note(label, value.trim_matches('"'));
            }
        }
    }
    found
}

/// What a release is called differs from one to the next.
fn told(label: &str, values: &[&str]) -> String {
    match label {
        "version" => format!("`{label}`"),
        _ => {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            format!("`{label}`: {}", values.join(", "))
        }
    }
}

const INTRODUCTION: &str = "\
# Metrics

<!-- made from what a server says; run UPDATE_DOCS=1 cargo test --lib metrics_doc -->

`[metrics] listen` (`127.0.0.1:5444`) answers three requests in plain HTTP:

| path | answer |
|---|---|
| `/metrics` | the figures below, as OpenMetrics 1.0, which Prometheus and what goes by it reads |
| `/livez` | 200 as long as the process answers at all: otherwise start it anew |
| `/readyz` | 200 when clients are served: the database is up to date, all addresses are listened on, and what is written is. 503, with the reason, while the server starts or stops, or when the database's writer has ended. On a full disk it stays 200, as all that needs no writing goes on: see `stonechat_database_writable` |

The two signs of life are on the web door, too (`[web] listen`), for a load balancer; the figures are not. They are
on from the start, as what was not counted before something happened is not there after it, and on the loopback
address alone, as there is no password. Who can connect learns how much goes on, and of nobody in particular: no
figure has a name in it that a person or a peer chose. For a Prometheus on another machine listen on an address of a
private network; `listen = []` switches it off. Counting costs a message some nanoseconds, asked for or not.

```yaml
scrape_configs:
  - job_name: stonechat
    static_configs:
      - targets: [\"127.0.0.1:5444\"]
```

`config/monitoring/alerts.yml` has the rules that are worth an alarm, each with what to do (name it in the `rule_files`
of Prometheus), `config/monitoring/grafana.json` a dashboard for Grafana (Dashboards, New, Import).

Counters count since the start of the server; a name that ends in `_seconds` or `_bytes`, before `_total`, says the
unit. A histogram has `_bucket`, `_sum` and `_count`.

| name | kind | labels | meaning |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::build::{Running, start};
    use crate::server::config::{Inputs, load};
    use std::net::SocketAddr;
    use std::path::{Path, PathBuf};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    async fn server(data: &Path) -> Running {
        let mut inputs = Inputs::default();
        inputs.base = inputs.base.lab(&["localhost".to_owned()], data.to_owned());
        let loaded = load(&inputs).unwrap();
        start(&loaded.config, &loaded.origins).await.unwrap()
    }

    /// The answer, with its head.
    async fn get(at: SocketAddr, path: &str) -> String {
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let asked = async {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(ask.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        timeout(Duration::from_secs(20), asked).await.expect("no answer")
    }

    #[tokio::test]
    async fn every_figure_is_in_the_document() {
        let folder = tempfile::tempdir().unwrap();
        let running = server(folder.path()).await;
        let answer = get(running.places.metrics[0], "/metrics").await;
        let (head, exposition) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
        assert!(exposition.ends_with("# EOF\n") || exposition.contains("# EOF\n"), "{exposition}");
        let page = metrics_md(exposition);
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&file, &page).unwrap();
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            there == page,
            "docs/metrics.md is old: UPDATE_DOCS=1 cargo test --lib metrics_doc"
        );
        // A family without a figure, or a name that is taken twice, is a slip.
        let named: Vec<_> =
            exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert_eq!(named.len(), families(exposition).len(), "a name is there twice");
        for line in named {
            let name = line.split(' ').next().unwrap();
            let has = |line: &str| line.starts_with(name) && !line.starts_with('#');
            assert!(exposition.lines().any(has), "{name} has no figure");
        }
        assert!(running.stop(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn a_server_that_cannot_write_any_more_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let running = server(folder.path()).await;
        let at = running.places.metrics[0];
        assert!(get(at, "/readyz").await.starts_with("HTTP/1.1 200 "));
        // As when its writer has ended, for whatever reason.
        running.store.close().await;
        let answer = get(at, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("not ready: the database"), "{answer}");
        assert!(get(at, "/livez").await.starts_with("HTTP/1.1 200 "));
        assert!(get(at, "/metrics").await.contains("stonechat_sessions{"));
    }

    #[test]
    fn alarms_and_pictures_ask_for_figures_that_are_there() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(root.join("docs/metrics.md")).unwrap();
        for file in ["config/monitoring/alerts.yml", "config/monitoring/grafana.json"] {
            let text = std::fs::read_to_string(root.join(file)).unwrap();
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let named: Vec<_> = words
                .filter(|word| word.starts_with("stonechat_") || word.starts_with("process_"))
                .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
                .collect();
            assert!(named.len() > 10, "{file}");
            for name in named {
                assert!(page.contains(&format!("| `{name}` |")), "{file}: no figure {name}");
            }
        }
    }
}
