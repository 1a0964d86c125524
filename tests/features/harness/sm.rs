//! XEP-0198 from the client's side: what every test of it says and asks.

use super::client::{Client, Outcome};
use super::element::Element;
use super::process::Lab;

pub const SM: &str = "urn:xmpp:sm:3";

/// What came with `<resumed/>` or `<failed/>`.
#[derive(Debug)]
pub enum Resumption {
    Resumed(u32),
    /// The condition, and the count if it is known.
    Failed(String, Option<u32>),
}

impl Resumption {
    #[track_caller]
    pub fn resumed(&self) -> u32 {
        match self {
            Resumption::Resumed(h) => *h,
            Resumption::Failed(..) => panic!("not resumed: {self:?}"),
        }
    }

    /// Refused as a session that there is not (XEP-0198 §5); the count.
    #[track_caller]
    pub fn not_found(&self) -> Option<u32> {
        match self {
            Resumption::Failed(condition, h) if condition == "item-not-found" => *h,
            _ => panic!("item-not-found was expected: {self:?}"),
        }
    }
}

pub fn count(element: &Element) -> Option<u32> {
    element.attr("h").and_then(|h| h.parse().ok())
}

/// The condition of a `<failed/>`, which must be its direct child (XEP-0198 §6).
pub fn failed_condition(failed: &Element) -> &str {
    let ns = "urn:ietf:params:xml:ns:xmpp-stanzas";
    failed.children.iter().find(|child| child.ns == ns).map_or("(none)", |child| &child.name)
}

impl Client {
    /// `<enable/>` with these attributes; `<enabled/>` or `<failed/>`.
    pub async fn enable_with(&mut self, attributes: &str) -> Outcome<Element> {
        self.send(&format!("<enable xmlns='{SM}' {attributes}/>")).await?;
        self.expect(|e| e.is(SM, "enabled") || e.is(SM, "failed")).await
    }

    /// A stream that can be resumed; its SM-ID.
    pub async fn enable(&mut self) -> Outcome<String> {
        let enabled = self.enable_with("resume='true'").await?;
        match (enabled.name.as_str(), enabled.attr("resume"), enabled.attr("id")) {
            ("enabled", Some("true" | "1"), Some(id)) => Ok(id.to_owned()),
            _ => self.fail(format!("no stream that can be resumed: {enabled}")),
        }
    }

    /// `<r/>`, and what it is answered.
    pub async fn r(&mut self) -> Outcome<u32> {
        self.send(&format!("<r xmlns='{SM}'/>")).await?;
        self.acked().await
    }

    /// The next `<a/>`.
    pub async fn acked(&mut self) -> Outcome<u32> {
        let a = self.expect(|e| e.is(SM, "a")).await?;
        match count(&a) {
            Some(h) => Ok(h),
            None => self.fail(format!("no count: {a}")),
        }
    }

    /// `<r/>` until everything before it is counted: the count is told again when it is durable.
    pub async fn r_until(&mut self, h: u32) -> Outcome<()> {
        let mut got = self.r().await?;
        while got != h {
            got = self.acked().await?;
        }
        Ok(())
    }

    pub async fn a(&mut self, h: u32) -> Outcome<()> {
        self.send(&format!("<a xmlns='{SM}' h='{h}'/>")).await
    }

    /// Waits for the server's `<r/>`.
    pub async fn asked(&mut self) -> Outcome<()> {
        self.expect(|e| e.is(SM, "r")).await.map(drop)
    }

    /// Asks to go on with a former stream.
    pub async fn resume(&mut self, previd: &str, h: u32) -> Outcome<Resumption> {
        self.handled = h;
        self.send(&format!("<resume xmlns='{SM}' previd='{previd}' h='{h}'/>")).await?;
        let answer = self.expect(|e| e.is(SM, "resumed") || e.is(SM, "failed")).await?;
        let h = count(&answer);
        match (answer.name.as_str(), h) {
            ("resumed", Some(h)) if answer.attr("previd") == Some(previd) => {
                Ok(Resumption::Resumed(h))
            }
            ("failed", _) => Ok(Resumption::Failed(failed_condition(&answer).to_owned(), h)),
            _ => self.fail(format!("neither resumed nor failed: {answer}")),
        }
    }

    /// Elements that came and were not asked for, without those of XEP-0198: behind a fence.
    pub async fn stanzas(&mut self) -> Outcome<Vec<Element>> {
        self.fence().await?;
        Ok(self.take().into_iter().filter(|e| e.ns != SM).collect())
    }

    /// Proves that no stanza came.
    pub async fn quiet(&mut self) -> Outcome<()> {
        match self.stanzas().await?.first() {
            None => Ok(()),
            Some(stanza) => self.fail(format!("nothing was expected, but this came: {stanza}")),
        }
    }

    /// The ids of the messages that came.
    pub async fn messages(&mut self) -> Outcome<Vec<String>> {
        let all = self.stanzas().await?;
        let messages = all.iter().filter(|e| e.name == "message");
        Ok(messages.map(|e| e.attr("id").unwrap_or("(none)").to_owned()).collect())
    }
}

impl Lab {
    /// A session that gets messages, and can be resumed; its SM-ID. What came before is forgotten:
    /// both counts are 0.
    pub async fn managed(&self, user: &str, resource: &str) -> Outcome<(Client, String)> {
        let mut client = self.online(user, resource).await?;
        client.fence().await?;
        client.forget();
        let id = client.enable().await?;
        Ok((client, id))
    }

    /// A new connection goes on with a former stream.
    pub async fn resumed(&self, user: &str, previd: &str, h: u32) -> Outcome<(Client, u32)> {
        let mut client = self.authenticated(user).await?;
        let counted = client.resume(previd, h).await?.resumed();
        Ok((client, counted))
    }

    /// Waits until a session that was cut is known to hibernate.
    pub fn sleeps(&self, jid: &str) {
        self.process.logs(&["the session can be resumed", jid]);
    }
}

/// A chat message whose body is its id.
pub fn chat(to: &str, id: &str) -> String {
    format!("<message to='{to}' type='chat' id='{id}'><body>{id}</body></message>")
}

/// Ids like those of [`chat`] messages.
pub fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// XEP-0203: stamped by the server.
pub fn is_delayed(stanza: &Element) -> bool {
    let delay = stanza.child("urn:xmpp:delay", "delay");
    delay.is_some_and(|d| d.attr("from") == Some("localhost") && d.attr("stamp").is_some())
}

/// The disk of a lab as if it hung: nothing is committed until this is dropped.
pub struct Stalled(rusqlite::Connection);

impl Stalled {
    pub fn new(lab: &Lab) -> Stalled {
        let files = std::fs::read_dir(&lab.data).unwrap().map(|entry| entry.unwrap().path());
        let mut databases = files.filter(|path| path.extension().is_some_and(|e| e == "db"));
        let database = rusqlite::Connection::open(databases.next().expect("a database")).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        Stalled(database)
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        let _ = self.0.execute_batch("ROLLBACK");
    }
}

/// alice and bob see each other's presence.
pub async fn friends(lab: &Lab) -> Outcome<()> {
    let (mut alice, mut bob) = (lab.login("alice").await?, lab.login("bob").await?);
    for (who, whom) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        for ty in ["subscribe", "subscribed"] {
            who.send(&format!("<presence type='{ty}' to='{whom}@localhost'/>")).await?;
        }
        who.fence().await?;
    }
    alice.close().await?;
    bob.close().await
}

/// Chat messages, and the proof that they arrived.
pub async fn say(from: &mut Client, to: &str, range: std::ops::Range<usize>) -> Outcome<()> {
    for id in ids(range) {
        from.send(&chat(to, &id)).await?;
    }
    from.fence().await
}
