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
use crate::admin::told::{
    Done, FailureLine, RuleLine, ServerList, ServerRules, ServerShown, ServerTest, ServersLoad,
    StepLine, StreamLine, WaitingLine, Waits,
};
use crate::admin::{Doing, Outcome, PeerError, PeerVerb, Peering, rules_of};
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
    fn run<'a>(&'a self, verb: &'a PeerVerb) -> Doing<'a, Outcome> {
        Box::pin(async move {
            match verb {
                PeerVerb::List => Ok(self.list().into()),
                PeerVerb::Why { domain } => Ok(self.why(domain).into()),
                PeerVerb::Test { domain, from } => {
                    self.test(domain, from.as_deref()).await.map(Outcome::from)
                }
                PeerVerb::Retry { domain } => self.retry(domain),
                PeerVerb::Drop { domain } => self.give_up(domain).await,
                PeerVerb::Allow { .. } | PeerVerb::Deny { .. } | PeerVerb::Forget { .. } => {
                    self.0.read_rules().await?;
                    Ok(Done { told: self.ended() }.into())
                }
                PeerVerb::Rules => Ok(self.configured().into()),
            }
        })
    }

    fn status(&self) -> ServersLoad {
        let [(_, incoming), (_, outgoing), (_, components)] = self.0.streams.count();
        let mut all = ServersLoad { incoming, outgoing, components, ..ServersLoad::default() };
        let loads = self.0.context.router.peers.all().into_iter().map(|queue| queue.load());
        for load in loads.filter(|load| load.messages > 0) {
            all.messages += load.messages;
            all.bytes += load.bytes;
            all.pairs += 1;
        }
        all
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

    fn list(&self) -> ServerList {
        let queues = self.0.context.router.peers.all();
        let load_of = |local: &str, remote: &str| {
            let it =
                queues.iter().find(|it| *it.pair.local == *local && *it.pair.remote == *remote);
            it.map(|queue| queue.load()).unwrap_or_default()
        };
        let now = wall();
        let streams = self.0.streams.all();
        let streams = streams.iter().flat_map(|facts| stream_lines(facts, now, load_of)).collect();
        let waiting = queues.iter().map(|queue| (queue, queue.load()));
        let waiting = waiting.filter(|(_, load)| load.messages > 0 && !load.open);
        let waiting = waiting.map(|(queue, load)| waiting_line(queue, &load, now)).collect();
        ServerList { streams, waiting }
    }

    fn why(&self, domain: &str) -> ServerShown {
        let failures = self.0.streams.failures(domain);
        let stands =
            |facts: &StreamFacts| facts.pairs.iter().any(|(_, remote, _)| remote == domain);
        let now = wall();
        let loads = self.queues(domain).into_iter().map(|queue| (queue.load(), queue));
        let loads = loads.filter(|(load, _)| load.messages > 0 || load.next_try > 0);
        let is_out = !self.0.rules.admits(domain);
        ServerShown {
            domain: domain.to_owned(),
            kept_out: is_out.then(|| self.rule_of(domain).to_owned()),
            advice: failures.last().map(|last| last.advice.to_owned()).unwrap_or_default(),
            failures: failures.iter().map(failure_line).collect(),
            waiting: loads.map(|(load, queue)| waiting_line(&queue, &load, now)).collect(),
            streams: self.0.streams.all().iter().filter(|facts| stands(facts)).count(),
        }
    }

    /// Which rule keeps a domain out.
    fn rule_of(&self, domain: &str) -> &'static str {
        match self.0.settings.admits(domain) {
            false if self.0.settings.denies(domain) => "s2s.deny in the configuration names it",
            false => "s2s.allow in the configuration does not name it, and no rule allows it",
            true => "a rule says so (`stonechat s2s rules`)",
        }
    }

    async fn test(&self, remote: &str, from: Option<&str>) -> Result<ServerTest, AdminError> {
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
            let verdict = "NOT REACHED: s2s.enabled is false, so this server talks to no other";
            return Ok(ServerTest { verdict: verdict.to_owned(), ..ServerTest::default() });
        }
        self.0.dialer.forget(remote);
        let opened = connect::attempt(&self.0, &local, remote, &Purpose::Stanzas).await;
        let (mut stream, steps) = match opened {
            Ok(opened) => opened,
            Err(Unreached { cause, steps, .. }) => {
                let steps = steps.iter().map(step_line).collect();
                let verdict = format!("NOT REACHED: {cause}; {}", cause.advice());
                return Ok(ServerTest { reached: false, steps, verdict });
            }
        };
        let mut steps: Vec<_> = steps.iter().map(step_line).collect();
        stream.hang_up().await;
        drop(stream);
        self.wake(remote);
        let (step, verdict) = self.ping(&local, remote).await;
        steps.push(step_line(&step));
        Ok(ServerTest { reached: verdict.starts_with("REACHED"), steps, verdict })
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

    fn retry(&self, domain: &str) -> Result<Outcome, AdminError> {
        if self.queues(domain).iter().any(|queue| queue.load().open) {
            return Ok(Outcome::done(format!("a stream to {domain} stands already")));
        }
        match self.wake(domain) {
            0 => Err(PeerError::NothingWaits(domain.to_owned()).into()),
            _ => Ok(Outcome::done(format!(
                "{domain} is tried now; `stonechat s2s why {domain}` says what comes of it"
            ))),
        }
    }

    async fn give_up(&self, domain: &str) -> Result<Outcome, AdminError> {
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
                    return Ok(Outcome::done(format!(
                        "what waits for {domain} is being given up; `stonechat s2s why {domain}` says what is left"
                    )));
                }
            }
        }
        let told = format!("{messages} messages for {domain} are given up; their senders are told");
        Ok(Outcome::done(told))
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

    fn configured(&self) -> ServerRules {
        let settings = &self.0.settings;
        let line = |allowed| {
            move |domain: &String| RuleLine { domain: domain.clone(), allowed, since: None }
        };
        let denied = settings.deny.iter().map(line(false));
        ServerRules { rules: denied.chain(settings.allow.iter().map(line(true))).collect() }
    }
}

/// Whether the error was made here, as the stanza was not sent.
fn is_ours(error: &StanzaError) -> bool {
    use crate::stanza::Condition::{NotAllowed, RemoteServerNotFound, RemoteServerTimeout};
    matches!(error.condition, NotAllowed | RemoteServerNotFound | RemoteServerTimeout)
}

/// One for each pair.
fn stream_lines(
    facts: &StreamFacts,
    now: SystemTime,
    load_of: impl Fn(&str, &str) -> PeerLoad,
) -> Vec<StreamLine> {
    let StreamFacts { direction, pairs, address, tls, since, bidi, managed } = facts;
    let whole = StreamLine {
        direction: direction.as_str().to_owned(),
        address: address.to_string(),
        tls: (*tls).to_owned(),
        bidi: *bidi,
        managed: *managed,
        seconds: now.duration_since(*since).unwrap_or_default().as_secs(),
        ..StreamLine::default()
    };
    if pairs.is_empty() {
        return vec![whole];
    }
    let line = |(local, remote, how): &(String, String, &'static str)| StreamLine {
        local: Some(local.clone()),
        remote: Some(remote.clone()),
        authenticated: (*how).to_owned(),
        waits: waits(&load_of(local, remote), now),
        ..whole.clone()
    };
    pairs.iter().map(line).collect()
}

fn waiting_line(queue: &PeerQueue, load: &PeerLoad, now: SystemTime) -> WaitingLine {
    let (local, remote) = (queue.pair.local.to_string(), queue.pair.remote.to_string());
    WaitingLine { local, remote, waits: waits(load, now) }
}

fn waits(load: &PeerLoad, now: SystemTime) -> Waits {
    let PeerLoad { messages, bytes, oldest, next_try, .. } = *load;
    let next =
        (next_try > 0).then(|| from_micros(next_try).duration_since(now).unwrap_or_default());
    Waits {
        messages,
        bytes,
        oldest: (messages > 0).then(|| stamp(from_micros(oldest))),
        next_try_seconds: next.map(|wait| wait.as_secs()),
    }
}

fn failure_line(failed: &Failed) -> FailureLine {
    let Failed { at, local, direction, why, steps, .. } = failed;
    FailureLine {
        at: stamp(*at),
        direction: direction.as_str().to_owned(),
        local: local.clone(),
        why: why.clone(),
        steps: steps.iter().map(step_line).collect(),
    }
}

fn step_line(step: &Step) -> StepLine {
    let milliseconds = u64::try_from(step.took.as_millis()).unwrap_or(u64::MAX);
    StepLine { what: step.what.clone(), milliseconds, failed: step.failed }
}

/// For an answer to a ping; the peer may have to connect to us first.
const PING_TIME: Duration = Duration::from_secs(20);
/// For the task of a queue to give up what waits.
const GIVE_UP_TIME: Duration = Duration::from_secs(20);
