//! A client with a memory over its connections: what it sent and nobody answered for (XEP-0198 with
//! resumption, or without it by answered IQs), and what it got and has confirmed. It writes all that
//! into the book. What it does with what comes is in `inbox`.

use super::ledger::{Book, Key, When};
use super::rooms::Stay;
use crate::harness::client::{Client, Outcome, Security, Target};
use crate::harness::element::{Element, STREAM, escape};
use crate::harness::process::PASSWORD;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// How a stream began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    Resumed,
    /// Bound: without a former session, or because that was refused.
    Fresh,
}

pub struct Driver {
    pub device: usize,
    /// Its account's address, and those of all accounts.
    pub own: String,
    pub accounts: Arc<Vec<String>>,
    pub book: Arc<Book>,
    /// Whether it uses stream management where it is offered.
    manages: bool,
    /// Whether it comes by WebSocket (RFC 7395).
    pub web: bool,
    client: Option<Client>,
    pub session: Option<Session>,
    /// Known to be unhandled: goes out first on the next stream.
    backlog: VecDeque<Outgoing>,
    /// Without stream management: sent, and no later IQ answered.
    pub unanswered: VecDeque<Key>,
    /// The server process of the connection, counted from 1.
    pub life: usize,
    /// Counts the bound streams.
    pub stream: usize,
    /// Arrivals that the server cannot know of yet.
    pub unconfirmed: Vec<usize>,
    /// The last stanza-id that came.
    pub last_mark: Option<String>,
    /// The stream error of this connection.
    pub stream_error: Option<String>,
    /// The rooms that it belongs to.
    pub rooms: Vec<Stay>,
}

/// A stanza as it is sent, and sent again.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Of a message.
    key: Option<Key>,
    xml: String,
}

/// XEP-0198 §4, §5: the counters of one session, which outlives its connections.
pub struct Session {
    /// Empty where the server does not offer to resume.
    id: String,
    pub received: u32,
    /// The peer's last `h`, and what was sent behind it.
    handled: u32,
    unhandled: VecDeque<Outgoing>,
    /// The count at the last message that was acknowledged: so much the server has written down.
    written: Option<u32>,
    pub asked: Option<Instant>,
}

impl Driver {
    pub fn new(
        device: usize,
        manages: bool,
        accounts: Arc<Vec<String>>,
        book: Arc<Book>,
    ) -> Driver {
        let account = book.read().devices[device];
        Driver {
            device,
            own: accounts[account].clone(),
            accounts,
            book,
            manages,
            web: false,
            client: None,
            session: None,
            backlog: VecDeque::new(),
            unanswered: VecDeque::new(),
            life: 1,
            stream: 0,
            unconfirmed: Vec::new(),
            last_mark: None,
            stream_error: None,
            rooms: Vec::new(),
        }
    }

    /// Connects, resumes or binds, becomes available, and sends again what is known to be unhandled.
    pub async fn connect(&mut self, target: &Target) -> Outcome<Arrival> {
        let security = match (self.web, target.c2s_tls) {
            (true, _) => Security::WebSocket,
            (false, Some(_)) => Security::Direct,
            (false, None) => Security::StartTls,
        };
        let mut client = Client::connect(target, security).await?;
        client.answers_pings = false;
        let user = self.own.split('@').next().unwrap_or_default();
        client.authenticate(user, PASSWORD).await?;
        self.stream_error = None;
        if let Some(session) = self.session.take()
            && self.resume(&mut client, session).await?
        {
            self.client = Some(client);
            self.send_unhandled_again().await?;
            return Ok(Arrival::Resumed);
        }
        self.begin(client).await?;
        Ok(Arrival::Fresh)
    }

    /// XEP-0198 §5: true if the stream goes on. What was lost on the way is known after this.
    async fn resume(&mut self, client: &mut Client, mut session: Session) -> Outcome<bool> {
        if session.id.is_empty() {
            self.refused(session, None);
            return Ok(false);
        }
        // The server may believe this `h` though it has forgotten the session.
        self.book.write(|ledger| ledger.tried_to_confirm(&self.unconfirmed));
        let (h, id) = (session.received, escape(&session.id));
        let asked = client.send(&format!("<resume xmlns='{SM}' h='{h}' previd='{id}'/>")).await;
        let answer = match asked {
            Ok(()) => client.next().await,
            Err(failure) => Err(failure),
        };
        let answer = match answer {
            Ok(Some(answer)) => answer,
            // Nothing was learned: to be tried again.
            other => {
                self.session = Some(session);
                return other.and_then(|_| client.fail("no answer to <resume/>"));
            }
        };
        let h = answer.attr("h").and_then(|h| h.parse().ok());
        if answer.is(SM, "resumed") {
            if answer.attr("previd") != Some(&session.id) || h.is_none() {
                self.book.fault(format!("{}: {answer}", self.name()));
            }
            self.handled(&mut session, h.unwrap_or_default());
            session.asked = None;
            self.session = Some(session);
            self.confirm();
            self.book.write(|ledger| ledger.resumptions.granted += 1);
            return Ok(true);
        }
        if answer.is(STREAM, "error") && answer.find("system-shutdown").is_some() {
            // It came to a server that was about to stop: the session waits still.
            self.session = Some(session);
            return client.fail("the server stops");
        }
        if !answer.is(SM, "failed") || answer.find("item-not-found").is_none() {
            self.book.fault(format!("{}: answered to <resume/>: {answer}", self.name()));
        }
        self.refused(session, h);
        Ok(false)
    }

    /// The session is over. What its last `h` does not cover is to be sent again.
    ///
    /// promise.md 6: a session that has written nothing is unknown, and its `h` is nothing at all.
    fn refused(&mut self, mut session: Session, h: Option<u32>) {
        let written = session.written;
        self.book.write(|ledger| match h {
            Some(_) => ledger.resumptions.refused_with_h += 1,
            None if written.is_some() => ledger.resumptions.refused_without_h += 1,
            None => ledger.resumptions.refused_unwritten += 1,
        });
        // It may be behind by what wrote nothing (presence and the like), never by a message.
        match h {
            Some(h) if !is_before(h, session.handled) => self.handled(&mut session, h),
            Some(h) if written.is_some_and(|written| is_before(h, written)) => {
                self.book.fault(format!("{}: h={h} forgot {written:?}", self.name()));
            }
            _ => {}
        }
        for outgoing in session.unhandled.into_iter().rev() {
            let Some(key) = outgoing.key else { continue };
            self.book.write(|ledger| ledger.repeated(key));
            self.backlog.push_front(outgoing);
        }
    }

    /// A bound stream: stream management first, so that all is counted.
    async fn begin(&mut self, mut client: Client) -> Outcome<()> {
        client.bind(Some(&self.resource())).await?;
        self.stream += 1;
        self.unconfirmed.clear();
        if self.manages && client.features.child(SM, "sm").is_some() {
            client.send(&format!("<enable xmlns='{SM}' resume='true'/>")).await?;
            let Some(answer) = client.next().await? else { return client.fail("not enabled") };
            if !answer.is(SM, "enabled") {
                return client.fail(format!("not enabled: {answer}"));
            }
            let resumable = matches!(answer.attr("resume"), Some("true" | "1"));
            let id = answer.attr("id").filter(|_| resumable).unwrap_or_default();
            self.session = Some(Session::new(id.to_owned()));
        }
        self.client = Some(client);
        self.send("<presence/>".into()).await?;
        self.enter_rooms().await?;
        while let Some(outgoing) = self.backlog.pop_front() {
            self.stanza(outgoing).await?;
        }
        Ok(())
    }

    /// XEP-0198 §5: after a resumption what the peer did not handle is sent again, counted already.
    async fn send_unhandled_again(&mut self) -> Outcome<()> {
        let (Some(session), Some(client)) = (&self.session, &mut self.client) else {
            return Ok(());
        };
        for outgoing in &session.unhandled {
            outgoing.key.iter().for_each(|key| self.book.write(|ledger| ledger.repeated(*key)));
            client.send(&outgoing.xml).await?;
        }
        Ok(())
    }

    /// Sends a message with an id, the same as origin-id, and a body of this length that proves
    /// itself; it is sent again until it is handled.
    pub async fn message(&mut self, key: Key, to: usize, length: usize) -> Outcome<()> {
        let to = self.accounts[to].clone();
        self.message_to(key, &to, "chat", length).await
    }

    /// The same to this address.
    pub async fn message_to(&mut self, key: Key, to: &str, ty: &str, length: usize) -> Outcome<()> {
        let (body, to) = (body(key, length), escape(to));
        let origin = format!("<origin-id xmlns='{SID}' id='{key}'/>");
        let content = format!("<body>{body}</body>{origin}");
        let xml = format!("<message to='{to}' type='{ty}' id='{key}'>{content}</message>");
        self.stanza(Outgoing { key: Some(key), xml }).await
    }

    /// Sends what is no message.
    pub async fn send(&mut self, xml: String) -> Outcome<()> {
        self.stanza(Outgoing { key: None, xml }).await
    }

    async fn stanza(&mut self, outgoing: Outgoing) -> Outcome<()> {
        let xml = outgoing.xml.clone();
        // It counts from the moment of the try: nobody knows what became of half a write.
        match &mut self.session {
            Some(session) => session.unhandled.push_back(outgoing),
            None => self.unanswered.extend(outgoing.key),
        }
        self.say(&xml).await
    }

    /// Sends what is no stanza, or was counted before.
    pub async fn say(&mut self, xml: &str) -> Outcome<()> {
        match &mut self.client {
            Some(client) => client.send(xml).await,
            None => Ok(()),
        }
    }

    /// Messages that nobody answered for yet.
    pub fn in_flight(&self) -> usize {
        match &self.session {
            Some(session) => session.unhandled.iter().filter(|sent| sent.key.is_some()).count(),
            None => self.unanswered.len(),
        }
    }

    /// Asks for an acknowledgement of all that was sent: `<r/>`, or a ping behind it.
    pub async fn ask(&mut self) -> Outcome<()> {
        if let Some(session) = &mut self.session {
            session.asked.get_or_insert_with(Instant::now);
            return self.say(&format!("<r xmlns='{SM}'/>")).await;
        }
        let Some(last) = self.unanswered.back() else { return Ok(()) };
        self.send(self.ping(&format!("fence-{}", last.number))).await
    }

    /// The next stanza; none at the end of the stream. May be given up.
    pub async fn next(&mut self) -> Outcome<Option<Element>> {
        match &mut self.client {
            Some(client) => client.next().await,
            None => std::future::pending().await,
        }
    }

    /// Everything up to `h` is the server's now.
    pub fn handled(&self, session: &mut Session, h: u32) {
        let count = h.wrapping_sub(session.handled);
        if count as usize > session.unhandled.len() {
            let (from, sent) = (session.handled, session.unhandled.len());
            self.book.fault(format!("{}: h={h} after {from}, {sent} sent", self.name()));
            return;
        }
        for outgoing in session.unhandled.drain(..count as usize) {
            session.handled = session.handled.wrapping_add(1);
            let Some(key) = outgoing.key else { continue };
            session.written = Some(session.handled);
            self.book.write(|ledger| ledger.acknowledged(key));
        }
    }

    /// What has come is confirmed now.
    pub fn confirm(&mut self) {
        let (all, now) = (std::mem::take(&mut self.unconfirmed), self.now());
        self.book.write(|ledger| ledger.confirmed(&all, now));
    }

    /// The connection is gone. Without stream management nobody will ever know of what was in
    /// flight.
    pub fn cut(&mut self) {
        self.client = None;
        for key in std::mem::take(&mut self.unanswered) {
            self.book.write(|ledger| ledger.given_up(key));
        }
        if self.session.is_none() {
            self.unconfirmed.clear();
        }
    }

    /// Waits until a ping is answered, and takes what came before.
    pub async fn fence(&mut self) -> Outcome<()> {
        self.send(self.ping("last-word")).await?;
        while let Some(element) = self.next().await? {
            let done = element.name == "iq" && element.attr("id") == Some("last-word");
            self.take(element).await?;
            if done {
                return Ok(());
            }
        }
        let Some(client) = &self.client else { return Ok(()) };
        client.fail("the stream ended before the answer to a ping")
    }

    /// Leaves properly: what came is confirmed, and what was sent is handled.
    pub async fn close(&mut self) -> Outcome<()> {
        self.confirm_by_count().await?;
        self.leave_rooms();
        self.say("</stream:stream>").await?;
        let before = std::mem::take(&mut self.unconfirmed);
        self.book.write(|ledger| ledger.tried_to_confirm(&before));
        while let Some(element) = self.next().await? {
            self.take_last(element).await?;
        }
        // What crossed our closing tag: the server may say either.
        self.book.write(|ledger| ledger.tried_to_confirm(&self.unconfirmed));
        // With an error it was no answer to ours, which may have come too late.
        if self.is_closed() && self.stream_error.is_none() {
            self.closed(&before);
        }
        self.session = None;
        self.cut();
        Ok(())
    }

    /// Both sides have closed (RFC 6120 §4.4): all that was sent before has been handled.
    fn closed(&mut self, before: &[usize]) {
        let (now, sent) = (self.now(), std::mem::take(&mut self.unanswered));
        let unhandled = self.session.take().map(|session| session.unhandled);
        let handled = unhandled.into_iter().flatten().filter_map(|sent| sent.key);
        let keys: Vec<Key> = sent.into_iter().chain(handled).collect();
        self.book.write(|ledger| {
            ledger.confirmed(before, now);
            keys.into_iter().for_each(|key| ledger.acknowledged(key));
        });
    }

    pub fn now(&self) -> When {
        When { life: self.life, at: self.book.now() }
    }

    /// The server has closed the stream, not just the connection.
    pub fn is_closed(&self) -> bool {
        self.client.as_ref().is_some_and(Client::is_closed)
    }

    /// The end of the conversation, for people.
    pub fn last_words(&self) -> String {
        let all = self.client.as_ref().map(Client::conversation).unwrap_or_default();
        let from = all.len().saturating_sub(LAST_WORDS);
        (from..all.len()).find_map(|at| all.get(at..)).unwrap_or_default().to_owned()
    }

    pub fn is_managed(&self) -> bool {
        self.session.is_some()
    }

    pub fn name(&self) -> String {
        format!("{}/{}", self.own, self.resource())
    }

    fn resource(&self) -> String {
        format!("d{}", self.device)
    }

    fn ping(&self, id: &str) -> String {
        let domain = self.own.split('@').nth(1).unwrap_or_default();
        format!("<iq type='get' id='{id}' to='{domain}'><ping xmlns='urn:xmpp:ping'/></iq>")
    }
}

impl Session {
    fn new(id: String) -> Session {
        let unhandled = VecDeque::new();
        Session { id, received: 0, handled: 0, unhandled, written: None, asked: None }
    }
}

/// In counts that wrap (XEP-0198 §4).
fn is_before(count: u32, other: u32) -> bool {
    count.wrapping_sub(other) > u32::MAX / 2
}

/// Bytes.
const LAST_WORDS: usize = 2000;

/// The text of a message, which tells when something of it is missing.
pub fn body(key: Key, length: usize) -> String {
    format!("{key} {length} {}", "x".repeat(length))
}

pub const SM: &str = "urn:xmpp:sm:3";
pub const SID: &str = "urn:xmpp:sid:0";

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that has sent presence and four messages, of which this much was acknowledged.
    fn session(handled: u32) -> (Driver, Session, Vec<Key>) {
        let book = Arc::new(Book::new(vec![0]));
        let accounts = Arc::new(vec!["alice@localhost".to_owned()]);
        let driver = Driver::new(0, true, accounts, Arc::clone(&book));
        let keys: Vec<Key> = (0..4).map(|_| book.write(|ledger| ledger.sends(0, 0))).collect();
        let mut session = Session::new("id".into());
        session.unhandled.push_back(Outgoing { key: None, xml: "<presence/>".into() });
        let messages = keys.iter().map(|key| Outgoing { key: Some(*key), xml: String::new() });
        session.unhandled.extend(messages);
        driver.handled(&mut session, handled);
        (driver, session, keys)
    }

    /// XEP-0198 §5: what the last `h` covers is acknowledged, the rest goes out again, in order.
    #[test]
    fn a_refused_session_is_sent_again_from_its_last_h() {
        // (acknowledged before, told at the end) -> the first message to repeat, and faults
        for (before, told, first, faults) in [
            (0, Some(0), 0, 0),
            (0, Some(1), 0, 0),
            (0, Some(3), 2, 0),
            (3, Some(5), 4, 0),
            (3, Some(3), 2, 0),
            (3, None, 2, 0),
            // Presence may be forgotten, a message may not.
            (1, Some(0), 0, 0),
            (3, Some(2), 2, 1),
            // More than was sent.
            (3, Some(6), 2, 1),
        ] {
            let (mut driver, session, keys) = session(before);
            driver.refused(session, told);
            let again: Vec<Key> = driver.backlog.iter().filter_map(|sent| sent.key).collect();
            assert_eq!(again, keys[first..], "{before} {told:?}");
            let ledger = driver.book.read();
            assert_eq!(ledger.count(|sent| sent.acknowledged), first, "{before} {told:?}");
            assert_eq!(ledger.count(|sent| sent.repeats == 1), 4 - first, "{before} {told:?}");
            assert_eq!(ledger.faults.len(), faults, "{:?}", ledger.faults);
        }
    }

    #[test]
    fn a_missing_h_is_blamed_only_where_something_was_written() {
        for (before, without, unwritten) in [(1, 0, 1), (2, 1, 0)] {
            let (mut driver, session, _) = session(before);
            driver.refused(session, None);
            let told = driver.book.read().resumptions;
            assert_eq!((told.refused_without_h, told.refused_unwritten), (without, unwritten));
        }
    }

    #[test]
    fn counts_wrap() {
        assert!(is_before(u32::MAX, 0) && is_before(1, 2) && !is_before(2, 2));
        let (driver, mut session, _) = session(0);
        session.handled = u32::MAX - 1;
        driver.handled(&mut session, 1);
        assert_eq!((session.handled, session.unhandled.len()), (1, 2));
    }
}
