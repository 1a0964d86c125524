//! The table: medians side by side, and what they are of the best peer's and of the floor's.

use super::results::Results;
use std::fmt::Write;

/// A line of the table: what stands first, the row, its metric, and the unit.
struct Line(&'static str, &'static str, &'static str, Unit);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Seconds of the processor per 1,000.
    Cpu,
    /// Milliseconds.
    Millis,
    /// A second; more is better.
    Rate,
    Kilobytes,
    Megabytes,
    Calls,
    /// So many times as much.
    Times,
    Count,
}

/// The table as Markdown.
pub fn render(results: &Results) -> String {
    let peers: Vec<String> =
        results.names().into_iter().filter(|name| name != OURS && name != FLOOR).collect();
    let mut out = String::from("| workload | stonechat |");
    for peer in &peers {
        let _ = write!(out, " {peer} |");
    }
    out.push_str(" floor | to best peer | to floor | noise |\n|---|");
    out.push_str(&"---|".repeat(peers.len() + 5));
    out.push('\n');
    for line in LINES {
        render_line(&mut out, results, &peers, line);
    }
    out
}

fn render_line(out: &mut String, results: &Results, peers: &[String], line: &Line) {
    let Line(label, row, metric, unit) = *line;
    let of = |name: &str| match row.split_once(" / ") {
        Some((row, under)) => results.ratio(row, under, name, metric),
        None => results.median(row, name, metric),
    };
    let (ours, floor) = (of(OURS), of(FLOOR));
    let theirs: Vec<_> = peers.iter().map(|peer| of(peer)).collect();
    if ours.is_none() && floor.is_none() && theirs.iter().all(Option::is_none) {
        return;
    }
    let better = |a: f64, b: f64| if unit == Unit::Rate { a.max(b) } else { a.min(b) };
    let best = theirs.iter().flatten().map(|(value, _)| *value).reduce(better);
    let cell = |value: Option<(f64, _)>| value.map_or(String::new(), |(v, _)| unit.told(v));
    let ratio = |to: Option<f64>| match (ours, to) {
        (Some((ours, _)), Some(to)) if to > 0.0 => told_ratio(ours / to),
        _ => String::new(),
    };
    let _ = write!(out, "| {label} | {} |", cell(ours));
    for peer in &theirs {
        let _ = write!(out, " {} |", cell(*peer));
    }
    let spread = [ours, floor].into_iter().chain(theirs).flatten().filter_map(|(_, s)| s);
    let spread =
        spread.reduce(f64::max).map_or("one run".to_owned(), |s| format!("{:.0} %", s * 100.0));
    let (to_best, to_floor) = (ratio(best), ratio(floor.map(|(value, _)| value)));
    let _ = writeln!(out, " {} | {to_best} | {to_floor} | {spread} |", cell(floor));
}

fn told_ratio(ratio: f64) -> String {
    if ratio < 0.5 { format!("1/{:.1}", 1.0 / ratio) } else { format!("{ratio:.2} x") }
}

impl Unit {
    fn told(self, value: f64) -> String {
        match self {
            Self::Cpu if value < 0.01 => format!("{value:.5}"),
            Self::Cpu => format!("{value:.4}"),
            Self::Millis => format!("{:.3} ms", value / 1000.0),
            Self::Rate => format!("{value:.0}/s"),
            Self::Kilobytes => format!("{:.1} KB", value / 1000.0),
            Self::Megabytes => format!("{:.1} MB", value / 1e6),
            Self::Calls => format!("{value:.2}"),
            Self::Times => format!("{value:.2} x"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

const OURS: &str = "stonechat";
const FLOOR: &str = "floor";

use Unit::{Calls, Count, Cpu, Kilobytes, Megabytes, Millis, Rate, Times};

const LINES: &[Line] = &[
    Line("RSS of the fresh server", "rss", "rss", Megabytes),
    Line("a ready session, plain, 500", "ready-plain-500", "pss", Kilobytes),
    Line("a ready session, plain, 1,000", "ready-plain-1000", "pss", Kilobytes),
    Line("a ready session, plain, 10,000", "ready-plain-10000", "pss", Kilobytes),
    Line("a ready session, TLS, 500", "ready-tls-500", "pss", Kilobytes),
    Line("a ready session, TLS, 1,000", "ready-tls-1000", "pss", Kilobytes),
    Line("a ready session, TLS, 10,000", "ready-tls-10000", "pss", Kilobytes),
    Line("login, plain: CPU", "login-plain", "cpu", Cpu),
    Line("login, TLS 1.3: CPU", "login-tls", "cpu", Cpu),
    Line("chat, plain, 50 pairs, 4 in flight: CPU", "chat-plain-50x4", "cpu", Cpu),
    Line("… messages a second", "chat-plain-50x4", "rate", Rate),
    Line("chat, TLS, 50 pairs, 4 in flight: CPU", "chat-tls-50x4", "cpu", Cpu),
    Line("chat, plain, 5 pairs, 1 in flight: CPU", "chat-plain-5x1", "cpu", Cpu),
    Line("… p50", "chat-plain-5x1", "p50", Millis),
    Line("… p95", "chat-plain-5x1", "p95", Millis),
    Line("chat, TLS, 5 pairs, 1 in flight: CPU", "chat-tls-5x1", "cpu", Cpu),
    Line("… p50", "chat-tls-5x1", "p50", Millis),
    Line("… p95", "chat-tls-5x1", "p95", Millis),
    Line("chat with no-store, plain, 50 x 4: CPU", "transient-plain-50x4", "cpu", Cpu),
    Line("chat with no-store, plain, 5 x 1: CPU", "transient-plain-5x1", "cpu", Cpu),
    Line("… p50", "transient-plain-5x1", "p50", Millis),
    Line("archived chat, XEP-0198, plain, 50 x 4: CPU", "archive-plain-50x4", "cpu", Cpu),
    Line("… messages a second", "archive-plain-50x4", "rate", Rate),
    Line("archived chat, XEP-0198, TLS, 50 x 4: CPU", "archive-tls-50x4", "cpu", Cpu),
    Line("archived chat, XEP-0198, plain, 5 x 1: CPU", "archive-plain-5x1", "cpu", Cpu),
    Line("… p50", "archive-plain-5x1", "p50", Millis),
    Line("offline messages (peers: no sync): CPU", "offline", "cpu", Cpu),
    Line("… messages a second", "offline", "rate", Rate),
    Line("offline drain: CPU", "offline-drain", "cpu", Cpu),
    Line("offline messages, durable: CPU", "offline-durable", "cpu", Cpu),
    Line("… messages a second", "offline-durable", "rate", Rate),
    Line("offline drain, durable: CPU", "offline-durable-drain", "cpu", Cpu),
    Line("XEP-0198 resume, plain: CPU", "resume-plain", "cpu", Cpu),
    Line("XEP-0198 resume, TLS: CPU", "resume-tls", "cpu", Cpu),
    Line("login by token, one round trip, TLS: CPU", "login-fast", "cpu", Cpu),
    Line("resume by token, one round trip, TLS: CPU", "resume-fast", "cpu", Cpu),
    Line("presence storm, 300 x 20: CPU per 1,000 copies", "presence", "cpu", Cpu),
    Line("5 rooms of 20, plain: CPU per 1,000 deliveries", "room-plain-5x20", "cpu", Cpu),
    Line("… TLS", "room-tls-5x20", "cpu", Cpu),
    Line("a room of 200, plain", "room-plain-1x200", "cpu", Cpu),
    Line("… joins of it", "room-plain-1x200-join", "cpu", Cpu),
    Line("a room of 1,000, plain", "room-plain-1x1000", "cpu", Cpu),
    Line("… joins of it", "room-plain-1x1000-join", "cpu", Cpu),
    Line("a persistent room with its owner in it", "room-idle", "busy", Kilobytes),
    Line("… with nobody in it", "room-idle", "idle", Kilobytes),
    Line("the web's server, chat, TLS, 50 x 4: CPU", "web-tls-50x4", "cpu", Cpu),
    Line("… WebSocket", "web-ws-50x4", "cpu", Cpu),
    Line("… that is (bound 1.5)", "web-ws-50x4 / web-tls-50x4", "cpu", Times),
    Line("… TLS, 5 x 1: CPU", "web-tls-5x1", "cpu", Cpu),
    Line("… WebSocket", "web-ws-5x1", "cpu", Cpu),
    Line("… that is (bound 1.5)", "web-ws-5x1 / web-tls-5x1", "cpu", Times),
    Line("… BOSH", "web-bosh-5x1", "cpu", Cpu),
    Line("… BOSH, 50 x 1", "web-bosh-50x1", "cpu", Cpu),
    Line("a file of 100 MB up, megabytes a second", "web-upload", "up", Rate),
    Line("… down", "web-upload", "down", Rate),
    Line("… CPU seconds for a gigabyte", "web-upload", "cpu", Cpu),
    Line("… memory at most above the quiet server's", "web-upload", "rise", Megabytes),
    Line("chat beside 1,000 uploads, p95: times (bound 3)", "web-uploads", "factor", Times),
    Line("login, WebSocket: CPU", "web-login", "cpu", Cpu),
    Line("a ready session, WebSocket, 1,000", "ready-ws-1000", "pss", Kilobytes),
    Line("news to 1,000 contacts (PEP): CPU per 1,000 notifications", "feed", "cpu", Cpu),
    Line("login of a full account, plain: CPU", "full-plain", "cpu", Cpu),
    Line("… of an empty one", "full-plain", "empty", Cpu),
    Line("… that is (bound 2)", "full-plain", "factor", Times),
    Line("… its first live message comes after", "full-plain", "first", Millis),
    Line("… that is, of an empty one's (bound 3)", "full-plain", "later", Times),
    Line("login of a full account, TLS: CPU", "full-tls", "cpu", Cpu),
    Line("… of an empty one", "full-tls", "empty", Cpu),
    Line("… that is (bound 2)", "full-tls", "factor", Times),
    Line("… its first live message comes after", "full-tls", "first", Millis),
    Line("… that is, of an empty one's (bound 3)", "full-tls", "later", Times),
    Line("system calls a message, 5 x 1", "syscalls-5x1", "calls", Calls),
    Line("… with those that wait and wake", "syscalls-5x1", "all", Calls),
    Line("system calls a message, 5 x 4", "syscalls-5x4", "calls", Calls),
    Line("… with those that wait and wake", "syscalls-5x4", "all", Calls),
    Line("idle ready sessions beside a chat, few", "grow-sessions-few", "count", Count),
    Line("… many", "grow-sessions-many", "count", Count),
    Line("chat beside few, plain, 50 x 4: CPU", "grow-sessions-few", "cpu", Cpu),
    Line("… beside many: CPU", "grow-sessions-many", "cpu", Cpu),
    Line("… growth (bound 1.3)", "grow-sessions-many / grow-sessions-few", "cpu", Times),
    Line("memory of each in the second third", "grow-sessions-two-thirds", "pss", Kilobytes),
    Line("… in the last third", "grow-sessions-many", "pss", Kilobytes),
    Line("accounts in the database, few", "grow-accounts-few", "count", Count),
    Line("… many", "grow-accounts-many", "count", Count),
    Line("chat with few accounts, plain, 50 x 4: CPU", "grow-accounts-few", "cpu", Cpu),
    Line("… with many: CPU", "grow-accounts-many", "cpu", Cpu),
    Line("… growth (bound 1.3)", "grow-accounts-many / grow-accounts-few", "cpu", Times),
    Line("login with few accounts, plain: CPU", "grow-accounts-few", "login", Cpu),
    Line("… with many: CPU", "grow-accounts-many", "login", Cpu),
    Line("… growth (bound 1.3)", "grow-accounts-many / grow-accounts-few", "login", Times),
    Line("start with few accounts: first connection", "start-few", "accepted", Millis),
    Line("… with many", "start-many", "accepted", Millis),
    Line("… with many: until it says so (bound 300 ms)", "start-many", "said", Millis),
    Line("5 pairs, 1 in flight, quiet: p95", "fair-flood", "quiet", Millis),
    Line("… while one session floods", "fair-flood", "disturbed", Millis),
    Line("… that is (bound 5)", "fair-flood", "factor", Times),
    Line("… the flood, messages a second", "fair-flood", "rate", Rate),
    Line("the same with our default limits (bound 5)", "fair-flood-limits", "factor", Times),
    Line("… the flood, messages a second", "fair-flood-limits", "rate", Rate),
    Line("p95 while 20 send to one who does not read", "fair-slow-reader", "disturbed", Millis),
    Line("… times the quiet one", "fair-slow-reader", "factor", Times),
    Line("… memory at most above the quiet server's", "fair-slow-reader", "rise", Megabytes),
    Line("a room of 5, quiet: p95", "fair-hall", "quiet", Millis),
    Line("… beside a room of 1,000, 10 messages a second", "fair-hall", "disturbed", Millis),
    Line("… that is", "fair-hall", "factor", Times),
];
