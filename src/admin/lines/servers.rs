//! The same of other servers.

use crate::admin::told::*;
use crate::base::size::readable;

/// `out  a.example  b.example  192.0.2.1  TLSv1.3  external  bidi sm  2 h  nothing waits`: one for each pair.
pub(super) fn list(it: &ServerList) -> Vec<String> {
    let waiting =
        |it: &WaitingLine| format!("none  {}  {}  {}", it.local, it.remote, waits(&it.waits));
    it.streams.iter().map(stream).chain(it.waiting.iter().map(waiting)).collect()
}

fn stream(it: &StreamLine) -> String {
    let tls = if it.tls.is_empty() { "no TLS yet" } else { &it.tls };
    let extras = match (it.bidi, it.managed) {
        (true, true) => "bidi sm",
        (true, false) => "bidi",
        (false, true) => "sm",
        (false, false) => "–",
    };
    let StreamLine { direction, address, authenticated: how, .. } = it;
    let age = ago(it.seconds);
    match (&it.local, &it.remote) {
        (Some(local), Some(remote)) => {
            let waits = waits(&it.waits);
            format!(
                "{direction}  {local}  {remote}  {address}  {tls}  {how}  {extras}  {age}  {waits}"
            )
        }
        _ => {
            format!("{direction}  ?  ?  {address}  {tls}  not authenticated yet  {extras}  {age}")
        }
    }
}

fn waits(it: &Waits) -> String {
    let oldest = it.oldest.as_deref().unwrap_or_default();
    let waits = match it.messages {
        0 => "nothing waits".to_owned(),
        1 => format!("1 message waits, {}, since {oldest}", size(it.bytes)),
        more => format!("{more} messages wait, {}, the oldest since {oldest}", size(it.bytes)),
    };
    let next = it.next_try_seconds.map(|wait| format!("; tried again in {}", ago(wait)));
    format!("{waits}{}", next.unwrap_or_default())
}

pub(super) fn shown(it: &ServerShown) -> Vec<String> {
    let domain = &it.domain;
    let mut lines: Vec<String> = Vec::new();
    lines.extend(it.kept_out.iter().map(|rule| format!("{domain} is kept out: {rule}")));
    lines.extend(it.failures.iter().flat_map(failure));
    let waiting = it.waiting.iter();
    lines.extend(waiting.map(|one| format!("from {}: {}", one.local, waits(&one.waits))));
    if it.waiting.is_empty() {
        lines.push("nothing waits".to_owned());
    }
    lines.push(match (it.streams, it.failures.is_empty()) {
        (0, true) => format!("nothing failed lately; `stonechat s2s test {domain}` tries it"),
        (0, false) if !it.advice.is_empty() => format!("what to do: {}", it.advice),
        (0, false) => format!("no stream stands; `stonechat s2s test {domain}` tries it"),
        (1, _) => "1 stream stands with it".to_owned(),
        (open, _) => format!("{open} streams stand with it"),
    });
    lines
}

fn failure(it: &FailureLine) -> Vec<String> {
    let head = format!("{}  {}  {}: {}", it.at, it.direction, it.local, it.why);
    let steps = it.steps.iter().map(|one| format!("  {}", step(one)));
    [head].into_iter().chain(steps).collect()
}

/// `    12 ms  ok    SRV …`
pub(super) fn step(it: &StepLine) -> String {
    let mark = if it.failed { "FAILED" } else { "ok" };
    format!("{:>6} ms  {mark:<6}  {}", it.milliseconds, it.what)
}

/// `spam.example  denied since 2026-01-02T03:04:05Z`
pub(super) fn rule(it: &RuleLine) -> String {
    let said = if it.allowed { "allowed" } else { "denied" };
    match &it.since {
        Some(since) => format!("{}  {said} since {since}", it.domain),
        None => format!("{}  {said} by the configuration", it.domain),
    }
}

pub(super) fn load(it: &ServersLoad) -> Vec<String> {
    let ServersLoad { incoming, outgoing, components, messages, bytes, pairs } = it;
    let bytes = size(*bytes);
    vec![
        format!(
            "other servers: {incoming} streams of theirs, {outgoing} of ours, {components} of components"
        ),
        format!("waiting for them: {messages} messages, {bytes}, for {pairs} pairs of domains"),
    ]
}

fn size(bytes: usize) -> String {
    readable(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// In one unit: seconds, minutes, hours, days.
fn ago(secs: u64) -> String {
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7_199 => format!("{} min", secs / 60),
        7_200..=172_799 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_one_unit() {
        let cases =
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2 days")];
        for (secs, told) in cases {
            assert_eq!(ago(secs), told);
        }
    }

    #[test]
    fn a_stream_has_a_line_for_each_pair() {
        let pair = |remote: &str, messages| StreamLine {
            direction: "out".to_owned(),
            local: Some("a.example".to_owned()),
            remote: Some(remote.to_owned()),
            address: "127.0.0.1".to_owned(),
            tls: "TLSv1.3".to_owned(),
            authenticated: "external".to_owned(),
            bidi: true,
            managed: true,
            seconds: 60,
            waits: Waits {
                messages,
                bytes: messages * 2_048,
                oldest: Some("1970-01-01T00:00:00Z".to_owned()),
                next_try_seconds: None,
            },
        };
        let streams = vec![
            pair("b.example", 0),
            pair("c.example", 1),
            StreamLine { local: None, ..pair("d", 0) },
        ];
        let lines = list(&ServerList { streams, waiting: Vec::new() });
        assert_eq!(
            lines[..2],
            [
                "out  a.example  b.example  127.0.0.1  TLSv1.3  external  bidi sm  60 s  nothing waits",
                "out  a.example  c.example  127.0.0.1  TLSv1.3  external  bidi sm  60 s  1 message waits, \
                 2 KiB, since 1970-01-01T00:00:00Z",
            ]
        );
        assert!(lines[2].contains("not authenticated yet"));
    }
}
