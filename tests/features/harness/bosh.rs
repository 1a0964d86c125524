//! A client of BOSH (XEP-0124), and as much of HTTP/1.1 as it needs.

use super::client::{Client, DEADLINE, Failure, Outcome, SASL, Target};
use super::element::{Element, STREAM};
use super::io::Io;
use super::process::{PASSWORD, wrong};
use super::sasl;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::collections::VecDeque;
use tokio::time::timeout;

pub const HTTPBIND: &str = "http://jabber.org/protocol/httpbind";

/// A connection of HTTP over TLS.
pub struct Http {
    io: Io,
    read: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In small letters.
    pub head: String,
    pub body: String,
}

impl Http {
    pub async fn open(target: &Target) -> Outcome<Http> {
        let Some(addr) = target.web else { return wrong("no web here") };
        let mut client = Client::dial(target, addr).await?;
        client.handshake(&["http/1.1"]).await?;
        Ok(Http { io: client.io, read: Vec::new() })
    }

    /// Sends a request; `head` is of lines that end with CRLF.
    pub async fn send(&mut self, line: &str, head: &str, body: &str) -> Outcome<()> {
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {length}\r\n\r\n{body}"
        );
        self.io.write(text.as_bytes()).await.map_err(|e| Failure(e.to_string()))
    }

    pub async fn receive(&mut self) -> Outcome<Answer> {
        match timeout(DEADLINE, self.answer()).await {
            Ok(answer) => answer,
            Err(_) => wrong("no answer in time"),
        }
    }

    /// Waits for as long as a request may be held.
    async fn answer(&mut self) -> Outcome<Answer> {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| {
                    rest.split("\r\n").next().and_then(|length| length.parse::<usize>().ok())
                });
                if body.len() >= length.unwrap_or(0) {
                    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                    self.read.clear();
                    return Ok(Answer { status: status.unwrap_or(0), head, body: body.to_owned() });
                }
            }
            match self.io.read(&mut self.read).await {
                Ok(1..) => {}
                ended => return wrong(format!("the connection ended: {ended:?} after {text}")),
            }
        }
    }
}

/// A session.
pub struct Bosh {
    pub target: Target,
    pub sid: String,
    /// That of the next request.
    pub rid: u64,
    /// Stanzas that came.
    pub inbox: VecDeque<Element>,
    pub features: Element,
    free: Vec<Http>,
}

/// A request that is not answered yet.
pub struct Asked {
    pub http: Http,
}

impl Bosh {
    /// A session as browsers ask for it, with other attributes if need be; and the response.
    pub async fn open(target: &Target, attributes: &str) -> Outcome<(Bosh, Element)> {
        let mut bosh = Bosh {
            target: target.clone(),
            sid: String::new(),
            rid: 1_573_741_820,
            inbox: VecDeque::new(),
            features: Element::default(),
            free: Vec::new(),
        };
        let created = bosh.ask(&format!("{CREATE} {attributes}"), "").await?;
        bosh.sid = created.attr("sid").unwrap_or_default().to_owned();
        bosh.features = bosh.next(|e| e.is(STREAM, "features")).await?;
        Ok((bosh, created))
    }

    /// Logged in and bound, and present.
    pub async fn online(target: &Target, user: &str) -> Outcome<Bosh> {
        let mut bosh = Bosh::login(target, user).await?;
        bosh.ask("", "<presence xmlns='jabber:client'/>").await?;
        bosh.inbox.clear();
        Ok(bosh)
    }

    /// Logged in and bound (XEP-0206 §5).
    pub async fn login(target: &Target, user: &str) -> Outcome<Bosh> {
        let (mut bosh, _) = Bosh::open(target, "").await?;
        bosh.authenticate(user).await?;
        let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";
        bosh.ask("", &format!("<iq type='set' id='b' xmlns='jabber:client'>{bind}</iq>")).await?;
        let bound = bosh.next(|e| e.name == "iq").await?;
        match bound.find("jid") {
            Some(_) => Ok(bosh),
            None => wrong(format!("not bound: {bound}")),
        }
    }

    /// SASL, and the restart after it.
    pub async fn authenticate(&mut self, user: &str) -> Outcome<()> {
        let made = sasl::mechanism("SCRAM-SHA-1", user, PASSWORD, None);
        let mut mechanism = made.map_err(Failure)?;
        let initial = BASE64.encode(mechanism.initial());
        let mut say = format!("<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{initial}</auth>");
        loop {
            self.ask("", &say).await?;
            let answer = self.next(|e| e.ns == SASL).await?;
            let data = BASE64.decode(answer.text.trim()).unwrap_or_default();
            if answer.name == "success" {
                mechanism.success(&data).map_err(|e| Failure(e.to_string()))?;
                break;
            }
            let response = mechanism.response(&data).map_err(|e| Failure(e.to_string()))?;
            say = format!("<response xmlns='{SASL}'>{}</response>", BASE64.encode(response));
        }
        let restart = "to='localhost' xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'";
        self.ask(restart, "").await?;
        self.features = self.next(|e| e.is(STREAM, "features")).await?;
        Ok(())
    }

    /// The text of the request with this rid.
    pub fn body(&self, rid: u64, attributes: &str, inside: &str) -> String {
        let sid = if self.sid.is_empty() { String::new() } else { format!("sid='{}' ", self.sid) };
        format!("<body rid='{rid}' {sid}{attributes} xmlns='{HTTPBIND}'>{inside}</body>")
    }

    /// Sends the next request.
    pub async fn start(&mut self, attributes: &str, inside: &str) -> Outcome<Asked> {
        let rid = self.rid;
        self.rid += 1;
        self.start_as(rid, attributes, inside).await
    }

    /// Sends a request with this rid.
    pub async fn start_as(&mut self, rid: u64, attributes: &str, inside: &str) -> Outcome<Asked> {
        let mut http = match self.free.pop() {
            Some(http) => http,
            None => Http::open(&self.target).await?,
        };
        let body = self.body(rid, attributes, inside);
        http.send("POST /http-bind", "Content-Type: text/xml; charset=utf-8\r\n", &body).await?;
        Ok(Asked { http })
    }

    /// Waits for the response.
    pub async fn finish(&mut self, mut asked: Asked) -> Outcome<Element> {
        let answer = asked.http.receive().await?;
        self.free.push(asked.http);
        if answer.status != 200 || !answer.head.contains("content-type: text/xml; charset=utf-8") {
            return wrong(format!("{answer:?}"));
        }
        // XEP-0124 §6: a document of its own.
        roxmltree::Document::parse(&answer.body)
            .map_err(|e| Failure(format!("{e}: {answer:?}")))?;
        let body = Element::parse(&answer.body).map_err(Failure)?;
        if !body.is(HTTPBIND, "body") {
            return wrong(format!("no body: {body}"));
        }
        self.inbox.extend(body.children.iter().cloned());
        Ok(body)
    }

    /// The next request, with its response.
    pub async fn ask(&mut self, attributes: &str, inside: &str) -> Outcome<Element> {
        let asked = self.start(attributes, inside).await?;
        self.finish(asked).await
    }

    /// The first stanza that fits; asks for more as long as there is none.
    pub async fn next(&mut self, fits: impl Fn(&Element) -> bool) -> Outcome<Element> {
        loop {
            if let Some(at) = self.inbox.iter().position(&fits) {
                return Ok(self.inbox.remove(at).unwrap());
            }
            let body = self.ask("", "").await?;
            if let Some("terminate") = body.attr("type") {
                return wrong(format!("the session ended: {body}"));
            }
        }
    }
}

const CREATE: &str = "to='localhost' xml:lang='en' wait='60' hold='1' ver='1.6' \
                      content='text/xml; charset=utf-8' xmpp:version='1.0' \
                      xmlns:xmpp='urn:xmpp:xbosh'";
