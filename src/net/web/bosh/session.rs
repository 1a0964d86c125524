//! One session of BOSH (XEP-0124) without I/O: requests and what the stream says go in, answers come out.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::body::{self, Condition, Created, Request, Response};
use super::held::{Answered, Early, Held, may_repeat};
use super::keys::Keys;
use super::terms::{Answers, Output, Reply, Terms, Waiter};
use crate::stream::framing::bosh::{Heard, Said, hear};

/// One session. `now` is always the monotonic clock.
pub struct Session<W> {
    terms: Terms,
    /// The rid of the next request in order.
    next: u64,
    /// Requests that came before their turn.
    early: BTreeMap<u64, Early<W>>,
    /// Requests that are held, in order.
    held: VecDeque<Held<W>>,
    /// The last responses, in order (XEP-0124 §14.3).
    answered: VecDeque<Answered>,
    keys: Keys,
    /// What the stream has yet to read.
    input: BytesMut,
    /// What the client has yet to be sent.
    output: Output,
    created: Option<Box<Created>>,
    /// The domain.
    host: Box<str>,
    phase: Phase,
    /// Since when no request is held.
    idle_since: Instant,
    /// For how long that may be.
    inactivity: Duration,
    /// When the stream last heard of the client.
    heard: Instant,
    /// The last request was empty and got nothing, at this time (XEP-0124 §12).
    polled: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The client ended the session, the stream has not ended yet.
    Leaving,
    /// The stream ended, the client has not been told.
    Ended(Option<Condition>),
    /// The client was told, or is gone.
    Over,
}

impl<W: Waiter> Session<W> {
    /// Begins with the request for it, which is held until the features are there.
    pub fn new(
        terms: Terms,
        created: Created,
        request: Request,
        waiter: W,
        now: Instant,
    ) -> (Self, Answers<W>) {
        let mut session = Self {
            next: request.rid,
            early: BTreeMap::new(),
            held: VecDeque::new(),
            answered: VecDeque::new(),
            keys: Keys::default(),
            input: BytesMut::new(),
            output: Output::default(),
            host: created.from.as_str().into(),
            created: Some(Box::new(created)),
            phase: Phase::Open,
            idle_since: now,
            inactivity: terms.inactivity,
            heard: now,
            polled: None,
            terms,
        };
        let request = Request { restart: true, key: None, ack: None, pause: None, ..request };
        let answers = session.request(request, waiter, now);
        (session, answers)
    }

    /// Takes a request.
    pub fn request(&mut self, request: Request, waiter: W, now: Instant) -> Answers<W> {
        let mut answers = Vec::new();
        let rid = request.rid;
        if self.is_over() {
            answers.push((waiter, self.terminated(Condition::ItemNotFound)));
            return answers;
        }
        self.inactivity = self.terms.inactivity;
        self.idle_since = now;
        if rid < self.next || self.early.contains_key(&rid) {
            self.again(request, waiter, now, &mut answers);
            return answers;
        }
        // XEP-0124 §11: one more is allowed if it pauses or ends the session.
        let last = request.pause.is_some() || request.terminate;
        let most = self.terms.requests + usize::from(last);
        if rid - self.next >= most as u64 {
            self.end(Condition::ItemNotFound, Some(waiter), &mut answers);
            return answers;
        }
        if self.held.len() + self.early.len() >= most {
            self.end(Condition::PolicyViolation, Some(waiter), &mut answers);
            return answers;
        }
        let early = Early { request, waiter: Some(waiter), since: now, repeats: 0 };
        self.early.insert(rid, early);
        while let Some(early) = self.early.remove(&self.next) {
            if let Err((condition, waiter)) = self.take(early, now) {
                self.end(condition, waiter, &mut answers);
                return answers;
            }
        }
        self.settle(now, &mut answers);
        answers
    }

    /// Takes the request whose turn it is.
    fn take(&mut self, early: Early<W>, now: Instant) -> Result<(), (Condition, Option<W>)> {
        let Early { request, waiter, since, repeats } = early;
        if !self.keys.fit(request.key.as_deref(), request.newkey.as_deref()) {
            return Err((Condition::ItemNotFound, waiter));
        }
        if self.polls_too_fast(&request, since) || self.input.len() > self.terms.input_max {
            return Err((Condition::PolicyViolation, waiter));
        }
        self.next += 1;
        let report = self.acknowledged(&request, now);
        self.hear(&request, now);
        let pause = request.pause.map(Duration::from_secs);
        let pause = pause.filter(|pause| *pause <= self.terms.pause_max);
        if let Some(pause) = pause {
            self.inactivity = pause;
        }
        self.held.push_back(Held {
            rid: request.rid,
            is_empty: request.is_empty(),
            key: request.key,
            waiter,
            since,
            repeats,
            pauses: pause.is_some(),
            report,
        });
        if request.terminate && self.phase == Phase::Open {
            self.phase = Phase::Leaving;
        }
        Ok(())
    }

    /// Puts what the request carries before the stream.
    fn hear(&mut self, request: &Request, now: Instant) {
        let input = &mut self.input;
        if request.restart {
            // COMPAT(XEP-0206 §5): it SHOULD be there.
            let to = request.to.as_deref().unwrap_or(&self.host);
            hear(Heard::Open(&request.open(to)), input);
        }
        // XEP-0206 §5: what comes with a restart is ignored.
        let payloads = if request.restart { &[][..] } else { &request.payloads };
        payloads.iter().for_each(|payload| hear(Heard::Element(payload), input));
        if request.terminate {
            hear(Heard::Close, input);
        }
        if request.is_empty() && now >= self.heard + KEEPALIVE {
            hear(Heard::Keepalive, input);
        }
        if !request.is_empty() || now >= self.heard + KEEPALIVE {
            self.heard = now;
        }
    }

    /// XEP-0124 §11, §12
    fn polls_too_fast(&self, request: &Request, now: Instant) -> bool {
        if !request.is_empty() {
            return false;
        }
        let before = match self.polls() {
            true => self.polled,
            false if self.held.len() + 1 >= self.terms.requests => {
                self.held.back().map(|held| held.since)
            }
            false => None,
        };
        before.is_some_and(|before| now < before + self.terms.polling)
    }

    /// Whether nothing is held in this session.
    fn polls(&self) -> bool {
        self.terms.hold == 0 || self.terms.wait.is_zero()
    }

    /// XEP-0124 §9.2: forgets the responses that the client has; returns which one it seems to have missed.
    fn acknowledged(&mut self, request: &Request, now: Instant) -> Option<(u64, u128)> {
        let ack = request.ack.filter(|_| self.terms.acks)?;
        self.answered.retain(|answered| answered.rid > ack);
        let missed = self.answered.iter().find(|answered| answered.rid == ack + 1)?;
        let ago = now.saturating_duration_since(missed.at);
        (ago >= REPORT_AFTER).then_some((missed.rid, ago.as_millis()))
    }

    /// XEP-0124 §14.3: a request that came before.
    fn again(&mut self, request: Request, waiter: W, now: Instant, answers: &mut Answers<W>) {
        let rid = request.rid;
        let held = self.held.iter_mut().find(|held| held.rid == rid);
        let held = held.map(|h| (&h.key, &mut h.waiter, &mut h.since, &mut h.repeats));
        let early = self.early.get_mut(&rid);
        let early = early.map(|e| (&e.request.key, &mut e.waiter, &mut e.since, &mut e.repeats));
        if let Some((key, before, since, repeats)) = held.or(early) {
            if let Err(condition) = may_repeat(key, &request.key, repeats) {
                return self.end(condition, Some(waiter), answers);
            }
            *since = now;
            let before = before.replace(waiter);
            answers.extend(before.map(|before| (before, Reply::ok(body::error()))));
            return self.settle(now, answers);
        }
        let Some(kept) = self.answered.iter_mut().find(|answered| answered.rid == rid) else {
            return self.end(Condition::ItemNotFound, Some(waiter), answers);
        };
        if let Err(condition) = may_repeat(&kept.key, &request.key, &mut kept.repeats) {
            return self.end(condition, Some(waiter), answers);
        }
        answers.push((waiter, Reply::ok(kept.body.clone())));
    }

    /// Takes what the stream says; [`Session::flush`] sends it.
    pub fn say(&mut self, said: Said) {
        let payload = match said {
            Said::Id(id) => {
                if let Some(created) = &mut self.created {
                    created.authid = Some(String::from_utf8_lossy(&id).into_owned());
                }
                return;
            }
            Said::Close => return self.stream_ended(None),
            Said::Failure(error) => {
                self.stream_ended(Some(Condition::RemoteStreamError));
                self.output.stream = true;
                error
            }
            Said::Features(features) => {
                self.output.stream = true;
                features
            }
            Said::Element(element) => element,
        };
        self.output.bytes += payload.len();
        self.output.payloads.push_back(payload);
    }

    /// The stream is gone, after its end or without it.
    pub fn lost(&mut self, condition: Condition, now: Instant) -> Answers<W> {
        self.stream_ended(Some(condition));
        self.flush(now)
    }

    /// What ended it first, counts.
    fn stream_ended(&mut self, condition: Option<Condition>) {
        self.phase = match self.phase {
            Phase::Open => Phase::Ended(condition),
            // The client asked for it: nothing failed.
            Phase::Leaving => {
                Phase::Ended(condition.filter(|one| *one == Condition::RemoteStreamError))
            }
            phase => phase,
        };
    }

    /// Answers what can be answered.
    pub fn flush(&mut self, now: Instant) -> Answers<W> {
        let mut answers = Vec::new();
        self.settle(now, &mut answers);
        answers
    }

    fn settle(&mut self, now: Instant, answers: &mut Answers<W>) {
        if let Phase::Ended(condition) = self.phase {
            return self.tell_end(condition, answers);
        }
        // XEP-0124 §10: all at once.
        let pauses = self.held.iter().any(|held| held.pauses);
        while let Some(oldest) = self.held.front() {
            let late = oldest.since + self.terms.wait <= now;
            let crowded = self.held.len() > self.terms.hold && self.phase == Phase::Open;
            let ready = oldest.waiter.is_some()
                && !self.output.payloads.is_empty()
                && self.phase == Phase::Open;
            let waits_for_stream = self.input.len() > INPUT_CALM && !late;
            let told = oldest.report.is_some() && self.phase == Phase::Open;
            if !(late || pauses || ready || told || (crowded && !waits_for_stream)) {
                break;
            }
            if late && self.phase == Phase::Leaving {
                // The stream takes too long to end.
                return self.tell_end(None, answers);
            }
            self.answer_oldest(pauses, now, answers);
        }
    }

    fn answer_oldest(&mut self, pauses: bool, now: Instant, answers: &mut Answers<W>) {
        let Some(held) = self.held.pop_front() else { return };
        // What nobody would get is kept for who comes next.
        let payloads = match held.waiter.is_some() && !pauses {
            true => std::mem::take(&mut self.output),
            false => Output::default(),
        };
        let nothing = payloads.payloads.is_empty();
        let created = self.created.take();
        let last = self.next.saturating_sub(1);
        let first = created.is_some();
        let response = Response {
            created: created.as_deref(),
            // XEP-0124 §9.1
            ack: (self.terms.acks && (first || last != held.rid)).then_some(last),
            report: held.report,
            payloads: &Vec::from(payloads.payloads),
            stream: payloads.stream,
            terminate: None,
        };
        let body = response.write();
        self.polled = (held.is_empty && nothing).then_some(held.since);
        let (rid, key) = (held.rid, held.key);
        self.answered.push_back(Answered { rid, key, body: body.clone(), at: now, repeats: 0 });
        while self.answered.len() > self.terms.requests {
            self.answered.pop_front();
        }
        answers.extend(held.waiter.map(|waiter| (waiter, Reply::ok(body))));
        self.idle_since = now;
    }

    /// XEP-0124 §13: the oldest request gets the end, with all that was left to say; the others get nothing.
    fn tell_end(&mut self, condition: Option<Condition>, answers: &mut Answers<W>) {
        if !self.is_asked() {
            return;
        }
        let mut waiters = self.waiters();
        let Some(first) = waiters.next() else { return };
        let output = std::mem::take(&mut self.output);
        let created = self.created.take();
        let response = Response {
            created: created.as_deref(),
            payloads: &Vec::from(output.payloads),
            stream: output.stream,
            terminate: Some(condition),
            ..Response::default()
        };
        answers.push((first, Reply::ok(response.write())));
        let nothing = Reply::ok(Response::default().write());
        answers.extend(waiters.map(|waiter| (waiter, nothing.clone())));
        self.over();
    }

    /// Ends the session because of a request.
    fn end(&mut self, condition: Condition, waiter: Option<W>, answers: &mut Answers<W>) {
        answers.extend(waiter.map(|waiter| (waiter, self.terminated(condition))));
        let other = self.terminated(Condition::OtherRequest);
        answers.extend(self.waiters().map(|waiter| (waiter, other.clone())));
        self.over();
    }

    /// Takes whoever waits for an answer, the oldest first.
    fn waiters(&mut self) -> impl Iterator<Item = W> + use<W> {
        let held = std::mem::take(&mut self.held).into_iter().filter_map(|held| held.waiter);
        let early = std::mem::take(&mut self.early).into_values().filter_map(|early| early.waiter);
        held.chain(early)
    }

    fn over(&mut self) {
        self.phase = Phase::Over;
        self.input = BytesMut::new();
        self.output = Output::default();
        self.answered.clear();
    }

    fn terminated(&self, condition: Condition) -> Reply {
        let status = if self.terms.legacy { condition.legacy_status() } else { 200 };
        Reply { status, body: body::terminated(Some(condition)) }
    }

    /// Looks whose connection is gone: nothing is held for them.
    pub fn look_who_left(&mut self, now: Instant) {
        let held = self.held.iter_mut().map(|held| &mut held.waiter);
        let early = self.early.values_mut().map(|early| &mut early.waiter);
        for waiter in held.chain(early) {
            if waiter.take_if(|waiter| waiter.is_gone()).is_some() {
                self.idle_since = now;
            }
        }
    }

    /// Answers whoever has waited for as long as was agreed.
    pub fn look_who_waits(&mut self, now: Instant) -> Answers<W> {
        let mut answers = self.flush(now);
        let wait = self.terms.wait;
        for early in self.early.values_mut().filter(|early| early.since + wait <= now) {
            // XEP-0124 §17.3: what should have come before is lost, and is to be sent again.
            let waiter = early.waiter.take();
            answers.extend(waiter.map(|waiter| (waiter, Reply::ok(body::error()))));
            self.idle_since = now;
        }
        answers
    }

    /// XEP-0124 §10: ends the session of a client that does not ask any more. Returns when to look again; none
    /// once it is over.
    pub fn expire(&mut self, now: Instant) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        if self.is_asked() {
            return Some(now + self.inactivity);
        }
        let due = self.idle_since + self.inactivity;
        if due > now {
            return Some(due);
        }
        self.over();
        None
    }

    /// Whether somebody waits for an answer.
    fn is_asked(&self) -> bool {
        self.held.iter().any(|held| held.waiter.is_some())
            || self.early.values().any(|early| early.waiter.is_some())
    }

    /// Ends the session because of a request that cannot be read.
    pub fn refuse(&mut self, condition: Condition) -> (Reply, Answers<W>) {
        let mut answers = Vec::new();
        self.end(condition, None, &mut answers);
        (self.terminated(condition), answers)
    }

    /// What the stream has yet to read; none at its end.
    pub fn input_of_stream(&mut self) -> Option<&mut BytesMut> {
        matches!(self.phase, Phase::Open | Phase::Leaving).then_some(&mut self.input)
    }

    /// Whether the client is away for another time than usual.
    pub fn is_pausing(&self) -> bool {
        self.inactivity != self.terms.inactivity
    }

    /// Bytes that the client has yet to be sent.
    pub fn output_bytes(&self) -> usize {
        self.output.bytes
    }

    /// Whether there is nothing more to come, in either direction.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }
}

/// How often the stream hears of a client that has nothing to say.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A response that is younger may still be on its way.
const REPORT_AFTER: Duration = Duration::from_secs(2);
/// With more than this before the stream, requests are answered later.
const INPUT_CALM: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use bytes::Bytes;

    use super::super::held::REPEATS_MAX;
    use super::*;
    use crate::stream::framing::bosh::Said;

    /// A request by its name.
    #[derive(Clone)]
    struct Name(&'static str, Rc<Cell<bool>>);

    impl Waiter for Name {
        fn is_gone(&self) -> bool {
            self.1.get()
        }
    }

    fn name(name: &'static str) -> Name {
        Name(name, Rc::default())
    }

    fn terms() -> Terms {
        Terms {
            wait: Duration::from_secs(60),
            hold: 1,
            requests: 2,
            inactivity: Duration::from_secs(30),
            pause_max: Duration::from_secs(120),
            polling: Duration::from_secs(5),
            acks: false,
            legacy: false,
            input_max: 100_000,
        }
    }

    #[allow(clippy::disallowed_methods)] // a beginning to count from
    fn start() -> Instant {
        Instant::now()
    }

    fn request(rid: u64) -> Request {
        Request { rid, ..Request::default() }
    }

    fn with(rid: u64, payload: &'static str) -> Request {
        Request { rid, payloads: vec![Bytes::from_static(payload.as_bytes())], ..request(rid) }
    }

    /// Who is answered, and what is in it beside the wrapper.
    fn told(answers: Answers<Name>) -> Vec<(&'static str, String)> {
        let inside = |reply: Reply| {
            let text = String::from_utf8(reply.body.to_vec()).unwrap();
            text.replace(&format!("<body xmlns='{}'", body::HTTPBIND), "").replace("</body>", "")
        };
        answers.into_iter().map(|(who, reply)| (who.0, inside(reply))).collect()
    }

    /// A session whose request 10 for it is answered.
    fn open(terms: Terms, now: Instant) -> Session<Name> {
        let created = Created { sid: "s".to_owned(), ..Created::default() };
        let (mut session, answers) = Session::new(terms, created, request(10), name("first"), now);
        let mut answers = told(answers);
        if answers.is_empty() {
            session.say(Said::Features(Bytes::from_static(b"<stream:features/>")));
            answers = told(session.flush(now));
        }
        assert!(answers[0].0 == "first" && answers[0].1.contains("sid='s'"), "{answers:?}");
        session.input.clear();
        session
    }

    fn says(
        session: &mut Session<Name>,
        text: &'static str,
        now: Instant,
    ) -> Vec<(&'static str, String)> {
        session.say(Said::Element(Bytes::from_static(text.as_bytes())));
        told(session.flush(now))
    }

    const EMPTY: &str = "/>";
    const AGAIN: &str = " type='error'/>";

    fn ends(condition: &str) -> String {
        format!(" type='terminate' condition='{condition}'/>")
    }

    /// XEP-0124 §4, §8
    #[test]
    fn a_request_is_held_until_there_is_something_to_say() {
        let now = start();
        let mut session = open(terms(), now);
        assert!(session.request(request(11), name("a"), now).is_empty());
        assert_eq!(says(&mut session, "<x/>", now), [("a", "><x/>".to_owned())]);
        assert!(says(&mut session, "<y/>", now).is_empty());
        let got = told(session.request(request(12), name("b"), now));
        assert_eq!(got, [("b", "><y/>".to_owned())]);
        // One more than may be held: the oldest goes.
        assert!(session.request(request(13), name("c"), now).is_empty());
        let got = told(session.request(with(14, "<z/>"), name("d"), now));
        assert_eq!(got, [("c", EMPTY.to_owned())]);
        assert!(session.input_of_stream().unwrap().ends_with(b"<z/>"));
        // As long as was agreed.
        assert!(session.look_who_waits(now + Duration::from_secs(59)).is_empty());
        let got = told(session.look_who_waits(now + Duration::from_secs(60)));
        assert_eq!(got, [("d", EMPTY.to_owned())]);
    }

    /// XEP-0124 §14.2
    #[test]
    fn requests_are_taken_in_order() {
        let now = start();
        let mut session = open(terms(), now);
        assert!(session.request(with(12, "<b/>"), name("b"), now).is_empty());
        assert!(session.input_of_stream().unwrap().is_empty());
        let got = told(session.request(with(11, "<a/>"), name("a"), now));
        assert_eq!(got, [("a", EMPTY.to_owned())]);
        let input = String::from_utf8_lossy(session.input_of_stream().unwrap()).into_owned();
        assert!(input.find("<a/>").unwrap() < input.find("<b/>").unwrap());
        // What should come before does not: the client is to send it again (§17.3).
        assert_eq!(says(&mut session, "<x/>", now), [("b", "><x/>".to_owned())]);
        assert!(session.request(request(14), name("d"), now).is_empty());
        let late = now + Duration::from_secs(60);
        assert_eq!(told(session.look_who_waits(late)), [("d", AGAIN.to_owned())]);
    }

    /// XEP-0124 §11, §14.2
    #[test]
    fn out_of_the_window_the_session_ends() {
        let now = start();
        for (rid, condition) in
            [(13, "item-not-found"), (9, "item-not-found"), (u64::MAX, "item-not-found")]
        {
            let mut session = open(terms(), now);
            assert!(session.request(with(11, "<a/>"), name("a"), now).is_empty());
            let rid = if rid == 13 { 14 } else { rid };
            let got = told(session.request(request(rid), name("b"), now));
            assert_eq!(got, [("b", ends(condition)), ("a", ends("other-request"))]);
            assert!(session.is_over() && session.expire(now).is_none());
            let got = told(session.request(request(12), name("c"), now));
            assert_eq!(got, [("c", ends("item-not-found"))]);
        }
        let mut session = open(terms(), now);
        assert!(session.request(with(11, "<a/>"), name("a"), now).is_empty());
        assert!(session.request(with(13, "<c/>"), name("c"), now).is_empty());
        let got = told(session.request(with(12, "<b/>"), name("b"), now));
        assert_eq!(got[0], ("b", ends("policy-violation")));
    }

    /// XEP-0124 §11, §12
    #[test]
    fn who_asks_too_often_is_sent_away() {
        let now = start();
        let mut session = open(terms(), now);
        assert!(session.request(request(11), name("a"), now).is_empty());
        let soon = now + Duration::from_secs(4);
        let got = told(session.request(request(12), name("b"), soon));
        assert_eq!(got, [("b", ends("policy-violation")), ("a", ends("other-request"))]);
        let mut session = open(Terms { wait: Duration::ZERO, ..terms() }, now);
        assert_eq!(told(session.request(request(11), name("a"), now)), [("a", EMPTY.to_owned())]);
        let later = now + Duration::from_secs(5);
        says(&mut session, "<x/>", later);
        let got = told(session.request(request(12), name("b"), later));
        assert_eq!(got, [("b", "><x/>".to_owned())]);
        assert_eq!(told(session.request(request(13), name("c"), later)), [("c", EMPTY.to_owned())]);
        let got = told(session.request(request(14), name("d"), later));
        assert_eq!(got, [("d", ends("policy-violation"))]);
    }

    /// XEP-0124 §14.3
    #[test]
    fn a_request_that_comes_again_gets_what_it_got() {
        let now = start();
        let mut session = open(terms(), now);
        session.request(with(11, "<a/>"), name("a"), now);
        let got = told(session.request(with(11, "<a/>"), name("a again"), now));
        assert_eq!(got, [("a", AGAIN.to_owned())]);
        assert_eq!(says(&mut session, "<x/>", now), [("a again", "><x/>".to_owned())]);
        for _ in 0..REPEATS_MAX {
            let got = told(session.request(with(11, "<a/>"), name("late"), now));
            assert_eq!(got, [("late", "><x/>".to_owned())]);
        }
        let input = String::from_utf8_lossy(session.input_of_stream().unwrap()).into_owned();
        assert_eq!(input.matches("<a/>").count(), 1);
        let got = told(session.request(with(11, "<a/>"), name("late"), now));
        assert_eq!(got, [("late", ends("policy-violation"))]);
    }

    /// XEP-0124 §14.3: what nobody would get waits for who comes next.
    #[test]
    fn nothing_is_said_to_who_left() {
        let now = start();
        let mut session = open(terms(), now);
        let gone = name("gone");
        session.request(request(11), gone.clone(), now);
        gone.1.set(true);
        session.look_who_left(now);
        assert!(says(&mut session, "<x/>", now).is_empty());
        let got = told(session.request(request(11), name("back"), now));
        assert_eq!(got, [("back", "><x/>".to_owned())]);
    }

    /// XEP-0124 §10
    #[test]
    fn without_requests_the_session_ends() {
        let now = start();
        let seconds = |count| now + Duration::from_secs(count);
        let mut session = open(terms(), now);
        assert_eq!(session.expire(seconds(29)), Some(seconds(30)));
        session.request(request(11), name("a"), seconds(29));
        assert!(session.expire(seconds(80)).is_some());
        session.look_who_waits(seconds(89));
        assert_eq!(session.expire(seconds(90)), Some(seconds(119)));
        session.request(request(12), name("b"), seconds(90));
        let pause = Request { pause: Some(100), ..request(13) };
        let got = told(session.request(pause, name("c"), seconds(90)));
        assert_eq!(got, [("b", EMPTY.to_owned()), ("c", EMPTY.to_owned())]);
        assert!(says(&mut session, "<x/>", seconds(91)).is_empty());
        assert_eq!(session.expire(seconds(189)), Some(seconds(190)));
        let got = told(session.request(request(14), name("d"), seconds(189)));
        assert_eq!(got, [("d", "><x/>".to_owned())]);
        assert!(session.expire(seconds(219)).is_none() && session.is_over());
        assert!(session.input_of_stream().is_none());
    }

    /// XEP-0124 §13
    #[test]
    fn the_end_is_told_to_the_oldest_request() {
        let now = start();
        let mut session = open(terms(), now);
        session.request(request(11), name("a"), now);
        let bye = Request { terminate: true, ..with(12, "<bye/>") };
        assert!(session.request(bye, name("b"), now).is_empty());
        session.say(Said::Element(Bytes::from_static(b"<last/>")));
        session.say(Said::Close);
        let got = told(session.flush(now));
        let last = " type='terminate'><last/>".to_owned();
        assert_eq!(got, [("a", last), ("b", EMPTY.to_owned())]);
        assert!(session.is_over());
    }

    /// XEP-0206 §6, case L15: also if nobody asks just then.
    #[test]
    fn an_error_of_the_stream_is_told() {
        let now = start();
        let mut session = open(terms(), now);
        session.say(Said::Element(Bytes::from_static(b"<x/>")));
        session.say(Said::Failure(Bytes::from_static(b"<stream:error/>")));
        session.say(Said::Close);
        assert!(session.flush(now).is_empty());
        assert!(session.lost(Condition::RemoteConnectionFailed, now).is_empty());
        let got = told(session.request(request(11), name("a"), now));
        assert_eq!(
            got[0].1,
            " xmlns:stream='http://etherx.jabber.org/streams' type='terminate' \
                              condition='remote-stream-error'><x/><stream:error/>"
        );
        assert!(session.is_over());
    }

    /// XEP-0124 §9
    #[test]
    fn acknowledgements_free_and_report() {
        let now = start();
        let acks = |rid, ack| Request { ack: Some(ack), ..with(rid, "<a/>") };
        let mut session = open(Terms { acks: true, ..terms() }, now);
        session.request(acks(11, 10), name("a"), now);
        assert_eq!(session.answered.len(), 0);
        let got = told(session.request(acks(12, 10), name("b"), now));
        assert_eq!(got, [("a", " ack='12'/>".to_owned())]);
        let later = now + Duration::from_secs(3);
        let got = told(session.request(acks(13, 10), name("c"), later));
        assert_eq!(got[0], ("b", " ack='13'/>".to_owned()));
        assert_eq!(got[1], ("c", " report='11' time='3000'/>".to_owned()));
    }

    /// XEP-0124 §15.4, §17.1
    #[test]
    fn a_wrong_key_ends_the_session() {
        let now = start();
        let mut session = open(Terms { legacy: true, ..terms() }, now);
        let newkey = Request { newkey: Some("00".repeat(20)), ..with(11, "<a/>") };
        assert!(session.request(newkey, name("a"), now).is_empty());
        let key = Request { key: Some("seed".to_owned()), ..with(12, "<evil/>") };
        let answers = session.request(key, name("b"), now);
        assert_eq!(answers[0].1.status, 404);
        assert_eq!(told(answers)[0], ("b", ends("item-not-found")));
        assert!(session.input_of_stream().is_none());
    }

    /// Bytes that the stream does not read yet slow the client, and are bounded.
    #[test]
    fn who_sends_more_than_is_read_waits_for_answers() {
        let now = start();
        let long: &'static str = "<a/>".repeat(20_000).leak();
        let mut session = open(terms(), now);
        session.request(with(11, long), name("a"), now);
        assert!(session.request(with(12, long), name("b"), now).is_empty());
        session.input_of_stream().unwrap().clear();
        assert_eq!(told(session.flush(now)), [("a", EMPTY.to_owned())]);
        session.request(with(13, long), name("c"), now);
        session.look_who_waits(now + Duration::from_secs(60));
        session.request(with(14, long), name("d"), now);
        session.look_who_waits(now + Duration::from_secs(60));
        let got = told(session.request(with(15, long), name("e"), now));
        assert_eq!(got, [("e", ends("policy-violation"))]);
    }
}
