//! What an operator asks of the streams with other servers ([`Peering`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::clock::{now, wall};
use super::connect::{self, Unreached};
use super::dial::Step;
use super::federation::Federation;
use super::streams::{Failed, StreamFacts};
use crate::admin::accounts::AdminError;
use crate::admin::{Doing, PeerError, PeerVerb, Peering, rules_of};
use crate::base::size::readable;
use crate::base::time::{from_micros, stamp};
use crate::jid::Jid;
use crate::modules::api::{Requester, Unanswered};
use crate::router::peer_queue::{PeerLoad, PeerQueue};
use crate::stanza::StanzaError;
use crate::stanza::iq::IqType;
use crate::stream::s2s::Purpose;

/// The verbs, over the streams of the running server.
pub struct Verbs(pub Arc<Federation>);

impl Peering for Verbs {
    fn run<'a>(&'a self, verb: &'a PeerVerb) -> Doing<'a, Vec<String>> {
        Box::pin(async move {
            match verb {
                PeerVerb::List => Ok(self.list()),
                PeerVerb::Why { domain } => Ok(self.why(domain)),
                PeerVerb::Test { domain, from } => self.test(domain, from.as_deref()).await,
                PeerVerb::Retry { domain } => self.retry(domain),
                PeerVerb::Drop { domain } => self.give_up(domain).await,
                PeerVerb::Allow { .. } | PeerVerb::Deny { .. } | PeerVerb::Forget { .. } => {
                    self.0.read_rules().await?;
                    Ok(self.ended())
                }
                PeerVerb::Rules => Ok(self.configured()),
            }
        })
    }

    fn status(&self) -> Vec<String> {
        let [(_, theirs), (_, ours), (_, components)] = self.0.streams.count();
        let loads = self.0.context.router.peers.all().into_iter().map(|queue| queue.load());
        let (mut messages, mut bytes, mut pairs) = (0, 0, 0);
        for load in loads.filter(|load| load.messages > 0) {
            messages += load.messages;
            bytes += load.bytes;
            pairs += 1;
        }
        vec![
            format!(
                "other servers: {theirs} streams of theirs, {ours} of ours, {components} of components"
            ),
            format!(
                "waiting for them: {messages} messages, {}, for {pairs} pairs of domains",
                size(bytes)
            ),
        ]
    }
}

impl Federation {
    /// Has what was said of domains count; called once before any stream, and when it changes.
    pub async fn read_rules(&self) -> Result<(), AdminError> {
        let rules = rules_of(&self.context.router.store).await?;
        let said: HashMap<_, _> =
            rules.into_iter().map(|rule| (rule.domain, rule.allowed)).collect();
        self.rules.say(said);
        Ok(())
    }
}

impl Verbs {
    fn queues(&self, domain: &str) -> Vec<Arc<PeerQueue>> {
        let mut all = self.0.context.router.peers.all();
        all.retain(|queue| *queue.pair.remote == *domain);
        all
    }

    fn list(&self) -> Vec<String> {
        let queues = self.0.context.router.peers.all();
        let load_of = |local: &str, remote: &str| {
            let it =
                queues.iter().find(|it| *it.pair.local == *local && *it.pair.remote == *remote);
            it.map(|queue| queue.load()).unwrap_or_default()
        };
        let now = wall();
        let mut lines: Vec<_> = self
            .0
            .streams
            .all()
            .iter()
            .flat_map(|facts| stream_lines(facts, now, load_of))
            .collect();
        let waiting = queues.iter().map(|queue| (queue, queue.load()));
        for (queue, load) in waiting.filter(|(_, load)| load.messages > 0 && !load.open) {
            let (local, remote) = (&queue.pair.local, &queue.pair.remote);
            lines.push(format!("none  {local}  {remote}  {}", waits(&load, now)));
        }
        lines
    }

    fn why(&self, domain: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.0.rules.admits(domain) {
            lines.push(format!("{domain} is kept out: {}", self.rule_of(domain)));
        }
        let failures = self.0.streams.failures(domain);
        for failed in &failures {
            lines.extend(failure_lines(failed));
        }
        let stands =
            |facts: &StreamFacts| facts.pairs.iter().any(|(_, remote, _)| remote == domain);
        let open = self.0.streams.all().iter().filter(|facts| stands(facts)).count();
        let now = wall();
        let mut waiting = 0;
        for queue in self.queues(domain) {
            let load = queue.load();
            if load.messages > 0 || load.next_try > 0 {
                waiting += 1;
                lines.push(format!("from {}: {}", queue.pair.local, waits(&load, now)));
            }
        }
        if waiting == 0 {
            lines.push("nothing waits".to_owned());
        }
        lines.push(match (open, failures.last()) {
            (0, None) => format!("nothing failed lately; `stonechat s2s test {domain}` tries it"),
            (0, Some(last)) if !last.advice.is_empty() => format!("what to do: {}", last.advice),
            (0, Some(_)) => format!("no stream stands; `stonechat s2s test {domain}` tries it"),
            (1, _) => "1 stream stands with it".to_owned(),
            (open, _) => format!("{open} streams stand with it"),
        });
        lines
    }

    /// Which rule keeps a domain out.
    fn rule_of(&self, domain: &str) -> &'static str {
        match self.0.settings.admits(domain) {
            false if self.0.settings.denies(domain) => "s2s.deny in the configuration names it",
            false => "s2s.allow in the configuration does not name it, and no rule allows it",
            true => "a rule says so (`stonechat s2s rules`)",
        }
    }

    async fn test(&self, remote: &str, from: Option<&str>) -> Result<Vec<String>, AdminError> {
        let router = &self.0.context.router;
        let hosts = router.hosts();
        let local = from.or(hosts.first().map(String::as_str)).unwrap_or_default().to_owned();
        if !router.serves(&local) {
            return Err(PeerError::NotOurs(local, router.domains().join(", ")).into());
        }
        if router.serves(remote) {
            return Err(PeerError::Ours(remote.to_owned()).into());
        }
        if !self.0.settings.enabled {
            return Ok(vec![
                "NOT REACHED: s2s.enabled is false, so this server talks to no other".to_owned(),
            ]);
        }
        self.0.dialer.forget(remote);
        let opened = connect::attempt(&self.0, &local, remote, &Purpose::Stanzas).await;
        let (mut stream, steps) = match opened {
            Ok(opened) => opened,
            Err(Unreached { cause, steps, .. }) => {
                let mut lines: Vec<_> = steps.iter().map(step_line).collect();
                let advice = cause.advice();
                lines.push(format!("NOT REACHED: {cause}; {advice}"));
                return Ok(lines);
            }
        };
        let mut lines: Vec<_> = steps.iter().map(step_line).collect();
        stream.hang_up().await;
        drop(stream);
        self.wake(remote);
        let (step, verdict) = self.ping(&local, remote).await;
        lines.extend([step_line(&step), verdict]);
        Ok(lines)
    }

    /// A ping by the way of all stanzas: the answer may come on another stream.
    async fn ping(&self, local: &str, remote: &str) -> (Step, String) {
        let (from, to) = (Jid::normal(local), Jid::normal(remote));
        let cx = self.0.context.cx(Requester::Entity(from));
        let start = now();
        let payload = format!("<ping xmlns='{}'/>", crate::xml::ns::PING);
        let asked = cx.ask(local, &to, IqType::Get, payload.as_bytes(), PING_TIME).await;
        let took = now() - start;
        let step =
            |what: String, failed| Step { what: format!("ping of {remote}: {what}"), took, failed };
        match asked {
            Ok(_) => {
                (step("answered".to_owned(), false), format!("REACHED: {remote} talks to {local}"))
            }
            // RFC 6120 §8.4: who does not know the request answers, too.
            Err(Unanswered::Refused(error)) if !is_ours(&error) => (
                step(format!("answered with {}", error.condition.as_str()), false),
                format!("REACHED: {remote} talks to {local}"),
            ),
            Err(Unanswered::Refused(error)) => {
                (step(error.to_string(), true), format!("NOT REACHED: {error}"))
            }
            Err(_) => (
                step(format!("no answer within {} seconds", PING_TIME.as_secs()), true),
                format!(
                    "HALF REACHED: a stream to {remote} stands, and no answer comes back: most likely it cannot \
                     connect to {local}; `stonechat check` looks at our records, and the port has to be open from \
                     outside"
                ),
            ),
        }
    }

    /// Has what waits tried now; for how many pairs.
    fn wake(&self, domain: &str) -> usize {
        self.0.dialer.forget(domain);
        let away: Vec<_> = self.queues(domain).into_iter().filter(|it| !it.load().open).collect();
        for queue in &away {
            queue.seek();
            queue.wake();
        }
        away.len()
    }

    fn retry(&self, domain: &str) -> Result<Vec<String>, AdminError> {
        if self.queues(domain).iter().any(|queue| queue.load().open) {
            return Ok(vec![format!("a stream to {domain} stands already")]);
        }
        match self.wake(domain) {
            0 => Err(PeerError::NothingWaits(domain.to_owned()).into()),
            _ => Ok(vec![format!(
                "{domain} is tried now; `stonechat s2s why {domain}` says what comes of it"
            )]),
        }
    }

    async fn give_up(&self, domain: &str) -> Result<Vec<String>, AdminError> {
        let waiting: Vec<_> =
            self.queues(domain).into_iter().filter(|queue| queue.load().messages > 0).collect();
        if waiting.is_empty() {
            return Err(PeerError::NothingWaits(domain.to_owned()).into());
        }
        let why = StanzaError::remote_server_timeout()
            .text(format!("{domain} could not be reached, and the administrator gave up waiting"));
        let done: Vec<_> = waiting.iter().map(|queue| queue.give_up(why.clone())).collect();
        // What was sent on a stream and not acknowledged is given up, too.
        self.0.streams.dismiss(|facts| facts.pairs.iter().any(|(_, remote, _)| remote == domain));
        let mut messages = 0;
        for one in done {
            match timeout(GIVE_UP_TIME, one).await {
                Ok(count) => messages += count.unwrap_or(0),
                Err(_) => {
                    return Ok(vec![format!(
                        "what waits for {domain} is being given up; `stonechat s2s why {domain}` says what is left"
                    )]);
                }
            }
        }
        Ok(vec![format!("{messages} messages for {domain} are given up; their senders are told")])
    }

    /// Ends what stands with those that are kept out, and gives up what waits for them.
    fn ended(&self) -> Vec<String> {
        let rules = &self.0.rules;
        let ended = self
            .0
            .streams
            .dismiss(|facts| facts.pairs.iter().any(|(_, remote, _)| !rules.admits(remote)));
        let mut given_up = 0;
        for queue in self.0.context.router.peers.all() {
            if !rules.admits(&queue.pair.remote) {
                given_up += queue.load().messages;
                queue.wake();
            }
        }
        let streams = (ended > 0).then(|| format!("streams that are ended: {ended}"));
        let messages = (given_up > 0)
            .then(|| format!("messages that are given up, and their senders told: {given_up}"));
        streams.into_iter().chain(messages).collect()
    }

    fn configured(&self) -> Vec<String> {
        let settings = &self.0.settings;
        let line = |said: &'static str| {
            move |domain: &String| format!("{domain}  {said} by the configuration")
        };
        let denied = settings.deny.iter().map(line("denied"));
        denied.chain(settings.allow.iter().map(line("allowed"))).collect()
    }
}

/// Whether the error was made here, as the stanza was not sent.
fn is_ours(error: &StanzaError) -> bool {
    use crate::stanza::Condition::{NotAllowed, RemoteServerNotFound, RemoteServerTimeout};
    matches!(error.condition, NotAllowed | RemoteServerNotFound | RemoteServerTimeout)
}

/// `out  a.example  b.example  192.0.2.1  TLSv1.3  external  bidi sm  2h  nothing waits`: one for each pair.
fn stream_lines(
    facts: &StreamFacts,
    now: SystemTime,
    load_of: impl Fn(&str, &str) -> PeerLoad,
) -> Vec<String> {
    let StreamFacts { direction, pairs, address, tls, since, bidi, managed } = facts;
    let tls = if tls.is_empty() { "no TLS yet" } else { tls };
    let extras = match (bidi, managed) {
        (true, true) => "bidi sm",
        (true, false) => "bidi",
        (false, true) => "sm",
        (false, false) => "–",
    };
    let (direction, age) =
        (direction.as_str(), ago(now.duration_since(*since).unwrap_or_default()));
    if pairs.is_empty() {
        return vec![format!(
            "{direction}  ?  ?  {address}  {tls}  not authenticated yet  {extras}  {age}"
        )];
    }
    let line = |(local, remote, how): &(String, String, &'static str)| {
        let load = load_of(local, remote);
        let waits = waits(&load, now);
        format!("{direction}  {local}  {remote}  {address}  {tls}  {how}  {extras}  {age}  {waits}")
    };
    pairs.iter().map(line).collect()
}

fn waits(load: &PeerLoad, now: SystemTime) -> String {
    let PeerLoad { messages, bytes, oldest, next_try, .. } = *load;
    let waits = match messages {
        0 => "nothing waits".to_owned(),
        1 => format!("1 message waits, {}, since {}", size(bytes), stamp(from_micros(oldest))),
        _ => format!(
            "{messages} messages wait, {}, the oldest since {}",
            size(bytes),
            stamp(from_micros(oldest))
        ),
    };
    let next =
        (next_try > 0).then(|| from_micros(next_try).duration_since(now).unwrap_or_default());
    let next = next.map(|wait| format!("; tried again in {}", ago(wait)));
    format!("{waits}{}", next.unwrap_or_default())
}

fn size(bytes: usize) -> String {
    readable(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn failure_lines(failed: &Failed) -> Vec<String> {
    let Failed { at, local, direction, why, steps, .. } = failed;
    let head = format!("{}  {}  {local}: {why}", stamp(*at), direction.as_str());
    let steps = steps.iter().map(|step| format!("  {}", step_line(step)));
    [head].into_iter().chain(steps).collect()
}

/// `    12 ms  ok    SRV …`
fn step_line(step: &Step) -> String {
    let mark = if step.failed { "FAILED" } else { "ok" };
    format!("{:>6} ms  {mark:<6}  {}", step.took.as_millis(), step.what)
}

/// In one unit: seconds, minutes, hours, days.
fn ago(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7_199 => format!("{} min", secs / 60),
        7_200..=172_799 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// For an answer to a ping; the peer may have to connect to us first.
const PING_TIME: Duration = Duration::from_secs(20);
/// For the task of a queue to give up what waits.
const GIVE_UP_TIME: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::streams::Direction;

    #[test]
    fn times_are_in_one_unit() {
        let cases =
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2 days")];
        for (secs, told) in cases {
            assert_eq!(ago(Duration::from_secs(secs)), told);
        }
    }

    #[test]
    fn a_stream_has_a_line_for_each_pair() {
        let since = SystemTime::UNIX_EPOCH;
        let pair = |remote: &str| ("a.example".to_owned(), remote.to_owned(), "external");
        let mut facts = StreamFacts {
            direction: Direction::Out,
            pairs: vec![pair("b.example"), pair("c.example")],
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            tls: "TLSv1.3",
            since,
            bidi: true,
            managed: true,
        };
        let load = |_: &str, remote: &str| {
            let messages = usize::from(remote == "c.example");
            PeerLoad { messages, bytes: messages * 2_048, open: true, ..PeerLoad::default() }
        };
        let now = since + Duration::from_secs(60);
        assert_eq!(
            stream_lines(&facts, now, load),
            [
                "out  a.example  b.example  127.0.0.1  TLSv1.3  external  bidi sm  60 s  nothing waits",
                "out  a.example  c.example  127.0.0.1  TLSv1.3  external  bidi sm  60 s  1 message waits, \
                 2 KiB, since 1970-01-01T00:00:00Z",
            ]
        );
        facts.pairs.clear();
        assert!(stream_lines(&facts, now, load)[0].contains("not authenticated yet"));
    }
}
