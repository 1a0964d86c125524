//! What a client of the audit does with what comes: it counts, answers, and writes it down.

use super::archive::{MAM, RSM};
use super::driver::{Driver, SID, SM, body};
use super::ledger::{Delivery, Key, Seen};
use crate::harness::client::Outcome;
use crate::harness::element::{CLIENT, Element, STREAM, escape};

impl Driver {
    /// Takes a stanza, or what else comes on a stream.
    pub async fn take(&mut self, element: Element) -> Outcome<()> {
        self.count(&element);
        match (element.ns.as_str(), element.name.as_str()) {
            (SM, "r") => self.confirm_by_count().await?,
            (SM, "a") => self.got_acknowledgement(&element),
            (CLIENT, "message") => {
                self.got_message(&element);
                if self.unconfirmed.len() >= CONFIRM_AFTER {
                    self.confirm_by_count().await?;
                }
            }
            (CLIENT, "iq") => self.got_iq(&element).await?,
            (CLIENT, "presence") => self.got_presence(&element),
            (STREAM, "error") => self.stream_error = Some(element.to_string()),
            _ => self.book.fault(format!("{}: unexpected {element}", self.name())),
        }
        Ok(())
    }

    /// The same behind our own closing tag: nothing more is said.
    pub async fn take_last(&mut self, element: Element) -> Outcome<()> {
        let is_question = element.is(SM, "r") || element.attr("type") == Some("get");
        match element.is(CLIENT, "message") {
            true => {
                self.count(&element);
                self.got_message(&element);
            }
            false if is_question => self.count(&element),
            false => self.take(element).await?,
        }
        Ok(())
    }

    /// XEP-0198 §4: stanzas count, nothing else.
    fn count(&mut self, element: &Element) {
        if element.ns == CLIENT
            && let Some(session) = &mut self.session
        {
            session.received = session.received.wrapping_add(1);
        }
    }

    /// Tells the server how much has come, with stream management: that confirms it.
    pub async fn confirm_by_count(&mut self) -> Outcome<()> {
        let Some(session) = &self.session else { return Ok(()) };
        let h = session.received;
        self.say(&format!("<a xmlns='{SM}' h='{h}'/>")).await?;
        self.confirm();
        Ok(())
    }

    fn got_acknowledgement(&mut self, element: &Element) {
        let Some(mut session) = self.session.take() else { return };
        match element.attr("h").and_then(|h| h.parse().ok()) {
            Some(h) => self.handled(&mut session, h),
            None => self.book.fault(format!("{}: {element}", self.name())),
        }
        if let Some(asked) = session.asked.take() {
            let waited = asked.elapsed();
            self.book.write(|ledger| ledger.slowest_answer = ledger.slowest_answer.max(waited));
        }
        self.session = Some(session);
    }

    fn got_message(&mut self, message: &Element) {
        let key = message.attr("id").and_then(Key::parse);
        if message.attr("type") == Some("error") {
            return self.got_error(message, key);
        }
        if self.got_room_message(message) {
            return;
        }
        // A row of a page: read elsewhere.
        if message.child(MAM, "result").is_some() {
            return;
        }
        let Some(key) = key else {
            return self.book.fault(format!("{}: unexpected {message}", self.name()));
        };
        self.check(key, message);
        let mut marks = message.children.iter().filter(|child| child.is(SID, "stanza-id"));
        let mark = marks.find(|mark| mark.attr("by") == Some(&self.own));
        let mark = mark.and_then(|mark| mark.attr("id")).map(str::to_owned);
        if mark.is_some() {
            self.last_mark.clone_from(&mark);
        }
        let (device, stream, when) = (self.device, self.stream, self.now());
        let delivery = Delivery { key, device, stream, mark, when, confirmed: None, tried: false };
        self.unconfirmed.push(self.book.write(|ledger| ledger.delivered(delivery)));
    }

    /// What came is what was sent, by whom it says, with at most one id of ours (XEP-0359 §3).
    fn check(&self, key: Key, message: &Element) {
        let text = message.text_of("body").unwrap_or_default();
        let length = text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or_default();
        let origin = message.child(SID, "origin-id").and_then(|origin| origin.attr("id"));
        let from = message.attr("from").and_then(|from| from.split('/').next());
        let account = self.book.read().devices.get(key.sender).copied();
        let sender = account.and_then(|account| self.accounts.get(account)).map(String::as_str);
        let marks = message.children.iter().filter(|child| child.is(SID, "stanza-id"));
        let right = text == body(key, length)
            && origin == Some(&key.to_string())
            && sender == from
            && marks.count() <= 1;
        if !right {
            self.book.fault(format!("{}: {key} was changed: {message}", self.name()));
        }
    }

    /// promise.md 5: a failed write is told as something that passes.
    fn got_error(&self, message: &Element, key: Option<Key>) {
        let kind = message.child(CLIENT, "error").and_then(|error| error.attr("type"));
        match (key, message.condition(), kind) {
            (Some(key), Some("resource-constraint"), Some("wait")) if key.sender == self.device => {
                self.book.write(|ledger| ledger.refused(key));
            }
            _ => self.book.fault(format!("{}: {message}", self.name())),
        }
    }

    async fn got_iq(&mut self, iq: &Element) -> Outcome<()> {
        if !matches!(iq.attr("type"), Some("result" | "error")) {
            return self.answer(iq).await;
        }
        if self.got_room_iq(iq).await? {
            return Ok(());
        }
        let id = iq.attr("id").unwrap_or_default();
        if let Some(number) = id.strip_prefix("fence-").and_then(|n| n.parse::<usize>().ok()) {
            while self.unanswered.front().is_some_and(|key| key.number <= number) {
                let Some(key) = self.unanswered.pop_front() else { break };
                self.book.write(|ledger| ledger.acknowledged(key));
            }
        }
        // promise.md 7: an id that a crash took back is a position all the same.
        if id.starts_with("page-") && iq.attr("type") == Some("error") {
            self.book.fault(format!("{}: no page: {iq}", self.name()));
        }
        Ok(())
    }

    /// promise.md 2: without stream management the answer to a ping confirms what came before it.
    async fn answer(&mut self, iq: &Element) -> Outcome<()> {
        let to = iq.attr("from").map(|to| format!(" to='{}'", escape(to))).unwrap_or_default();
        let id = escape(iq.attr("id").unwrap_or_default());
        if iq.child("urn:xmpp:ping", "ping").is_none() {
            return self.send(format!("<iq type='error' id='{id}'{to}>{UNAVAILABLE}</iq>")).await;
        }
        self.send(format!("<iq type='result' id='{id}'{to}/>")).await?;
        if !self.is_managed() {
            self.confirm();
        }
        Ok(())
    }

    fn got_presence(&mut self, presence: &Element) {
        self.got_room_presence(presence);
        let from = presence.attr("from").unwrap_or_default().to_owned();
        let kind = presence.attr("type").unwrap_or("available").to_owned();
        let (device, at) = (self.device, self.book.now());
        self.book.write(|ledger| ledger.presence.push(Seen { device, from, kind, at }));
    }

    /// Asks for a page of the archive after the last id that came, be that lost or not.
    pub async fn ask_page(&mut self) -> Outcome<()> {
        let Some(mark) = self.last_mark.as_deref().map(escape) else { return Ok(()) };
        let set = format!("<set xmlns='{RSM}'><max>10</max><after>{mark}</after></set>");
        let (query, n) = (format!("<query xmlns='{MAM}'>{set}</query>"), self.stream);
        self.send(format!("<iq type='set' id='page-{n}'>{query}</iq>")).await
    }
}

/// Arrivals after which a client with stream management says so unasked.
const CONFIRM_AFTER: usize = 25;
const UNAVAILABLE: &str = "<error type='cancel'>\
    <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
