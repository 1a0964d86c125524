//! A small XMPP client for tests: it does what it is told, and tells all that it saw.

use super::element::{CLIENT, Cutter, Element, Piece, STREAM, escape};
use super::io::{Io, trust};
use super::sasl;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// How long anything may take before a test has failed.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A server to talk to.
#[derive(Clone, Debug)]
pub struct Target {
    pub domain: String,
    pub c2s: SocketAddr,
    pub c2s_tls: Option<SocketAddr>,
    pub web: Option<SocketAddr>,
    pub ca: Option<PathBuf>,
}

/// How a stream is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Plain,
    StartTls,
    /// XEP-0368.
    Direct,
    /// RFC 7395.
    WebSocket,
}

/// What went wrong, with the whole conversation so far.
pub struct Failure(pub String);

pub type Outcome<T> = Result<T, Failure>;

pub struct Client {
    pub target: Target,
    /// The peer's stream header and its last features.
    pub header: Element,
    pub features: Element,
    /// The full JID, once bound.
    pub jid: String,
    pub io: Io,
    cutter: Cutter,
    inbox: VecDeque<Element>,
    /// The closing tag has come; the end of the connection.
    closed: bool,
    end: bool,
    log: Vec<String>,
    /// Answers the server's own pings, as every client does; they are not shown.
    pub answers_pings: bool,
    /// Drops presence unseen.
    pub ignores_presence: bool,
    /// Identities and features, as XML: answers what the server asks about them, unseen.
    pub info: Option<String>,
    /// Stanzas that came since `<enabled/>`: what XEP-0198 calls `h`.
    pub handled: u32,
}

impl Client {
    /// A TCP connection, nothing said yet.
    pub async fn dial(target: &Target, addr: SocketAddr) -> Outcome<Client> {
        let tcp = TcpStream::connect(addr).await;
        let tcp = tcp.map_err(|e| Failure(format!("{addr}: {e}")))?;
        tcp.set_nodelay(true).map_err(|e| Failure(e.to_string()))?;
        Ok(Client {
            target: target.clone(),
            header: Element::default(),
            features: Element::default(),
            jid: String::new(),
            io: Io::Plain(tcp),
            cutter: Cutter::new(),
            inbox: VecDeque::new(),
            closed: false,
            end: false,
            log: Vec::new(),
            answers_pings: true,
            ignores_presence: false,
            info: None,
            handled: 0,
        })
    }

    /// A stream with the features read, secured as asked.
    pub async fn connect(target: &Target, security: Security) -> Outcome<Client> {
        let addr = match security {
            Security::Direct => target.c2s_tls,
            Security::WebSocket => target.web,
            Security::Plain | Security::StartTls => Some(target.c2s),
        };
        let Some(addr) = addr else { return Err(Failure(format!("no port for {security:?}"))) };
        let mut client = Client::dial(target, addr).await?;
        if security == Security::Direct {
            client.handshake(&["xmpp-client"]).await?;
        }
        if security == Security::WebSocket {
            client.handshake(&["http/1.1"]).await?;
            client.io.start_ws(&target.domain).await.map_err(Failure)?;
        }
        client.open().await?;
        if security == Security::StartTls {
            client.start_tls().await?;
        }
        Ok(client)
    }

    /// Connected, authenticated with the best mechanism, bound.
    pub async fn login(
        target: &Target,
        security: Security,
        user: &str,
        password: &str,
    ) -> Outcome<Client> {
        let mut client = Client::connect(target, security).await?;
        client.authenticate(user, password).await?;
        client.bind(None).await?;
        Ok(client)
    }

    /// Sends a stream header and waits for the peer's header and features.
    pub async fn open(&mut self) -> Outcome<()> {
        self.restart();
        self.send(&header_to(&self.target.domain)).await?;
        self.features = self.expect(|e| e.is(STREAM, "features")).await?;
        Ok(())
    }

    /// Waits for the peer's header.
    pub async fn opened(&mut self) -> Outcome<()> {
        let deadline = Instant::now() + DEADLINE;
        while self.header.name.is_empty() {
            if !self.read_more(deadline).await? {
                return self.fail("no header came");
            }
        }
        Ok(())
    }

    /// Forgets the stream, not the connection: what comes next is a new one.
    pub fn restart(&mut self) {
        self.cutter = Cutter::new();
        self.closed = false;
    }

    /// RFC 6120 §5: STARTTLS, and the new stream inside.
    pub async fn start_tls(&mut self) -> Outcome<()> {
        self.send(&format!("<starttls xmlns='{TLS}'/>")).await?;
        let answer = self.receive().await?;
        if !answer.is(TLS, "proceed") {
            return self.fail(format!("STARTTLS refused: {answer}"));
        }
        self.handshake(&[]).await?;
        self.open().await
    }

    /// The TLS handshake, against the target's CA.
    pub async fn handshake(&mut self, alpn: &[&str]) -> Outcome<()> {
        let Some(ca) = self.target.ca.clone() else { return self.fail("no CA to trust") };
        let tls = trust(&ca, alpn).map_err(Failure)?;
        let domain = self.target.domain.clone();
        self.io.start_tls(tls, &domain).await.map_err(Failure)
    }

    /// The SASL mechanisms on offer.
    pub fn mechanisms(&self) -> Vec<&str> {
        let list = self.features.child(SASL, "mechanisms");
        list.into_iter().flat_map(|m| &m.children).map(|m| m.text.as_str()).collect()
    }

    /// Authenticates with the best mechanism on offer, and opens the new stream.
    pub async fn authenticate(&mut self, user: &str, password: &str) -> Outcome<()> {
        let bound = self.io.tls_exporter().is_some();
        let Some(name) = sasl::choose(&self.mechanisms(), bound).map(str::to_owned) else {
            return self.fail("no mechanism in common");
        };
        match self.authenticate_with(&name, user, password).await? {
            Ok(()) => self.open().await,
            Err(failure) => self.fail(format!("{name}: {failure}")),
        }
    }

    /// One SASL exchange; the inner error is the `<failure/>`. The new stream is not opened.
    pub async fn authenticate_with(
        &mut self,
        name: &str,
        user: &str,
        password: &str,
    ) -> Outcome<Result<(), Element>> {
        let made = sasl::mechanism(name, user, password, self.io.tls_exporter());
        let mut mechanism = made.map_err(Failure)?;
        let initial = mechanism.initial();
        // RFC 6120 §6.4.2: an empty initial response is a single `=`.
        let first = if initial.is_empty() { "=".into() } else { BASE64.encode(initial) };
        self.send(&format!("<auth xmlns='{SASL}' mechanism='{name}'>{first}</auth>")).await?;
        loop {
            let answer = self.receive().await?;
            let data = BASE64.decode(answer.text.trim()).unwrap_or_default();
            match answer.name.as_str() {
                "challenge" => {
                    let response = mechanism.response(&data).map_err(|e| Failure(e.to_string()))?;
                    let response = BASE64.encode(response);
                    self.send(&format!("<response xmlns='{SASL}'>{response}</response>")).await?;
                }
                "success" => {
                    // Proves the server too: its signature must be right.
                    return match mechanism.success(&data) {
                        Ok(()) => Ok(Ok(())),
                        Err(error) => self.fail(format!("the server's signature: {error}")),
                    };
                }
                "failure" => return Ok(Err(answer)),
                _ => return self.fail(format!("not SASL: {answer}")),
            }
        }
    }

    /// RFC 6120 §7: binds a resource and keeps the full JID.
    pub async fn bind(&mut self, resource: Option<&str>) -> Outcome<String> {
        let resource = resource.map(|r| format!("<resource>{}</resource>", escape(r)));
        let bind = format!("<bind xmlns='{BIND}'>{}</bind>", resource.unwrap_or_default());
        let answer = self.ask(&format!("<iq type='set' id='bind'>{bind}</iq>")).await?;
        match answer.find("jid") {
            Some(jid) => self.jid = jid.text.clone(),
            None => return self.fail(format!("not bound: {answer}")),
        }
        // The way in went well: nobody wants to read it again.
        self.log = vec![format!("-- bound as {}", self.jid)];
        Ok(self.jid.clone())
    }

    /// XEP-0077: makes an account on a stream that has not authenticated. One that exists will do.
    pub async fn register(&mut self, user: &str, password: &str) -> Outcome<()> {
        let query = format!(
            "<query xmlns='jabber:iq:register'><username>{}</username><password>{}</password></query>",
            escape(user),
            escape(password)
        );
        let answer = self.ask(&format!("<iq type='set' id='register'>{query}</iq>")).await?;
        match (answer.attr("type"), answer.condition()) {
            (Some("result"), _) | (_, Some("conflict")) => Ok(()),
            _ => self.fail(format!("not registered: {answer}")),
        }
    }

    /// Asks for the roster (so becomes interested) and sends initial presence.
    pub async fn become_available(&mut self) -> Outcome<()> {
        self.ask("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>").await?;
        self.send("<presence/>").await?;
        let own = self.jid.clone();
        self.expect(|e| e.name == "presence" && e.attr("from") == Some(&own)).await.map(drop)
    }

    /// Sends exactly these bytes.
    pub async fn send(&mut self, xml: &str) -> Outcome<()> {
        self.log.push(format!("-> {xml}"));
        match self.io.write(xml.as_bytes()).await {
            Ok(()) => Ok(()),
            Err(error) => self.fail(format!("cannot send: {error}")),
        }
    }

    /// Sends an IQ and waits for its answer, leaving other stanzas for later.
    pub async fn ask(&mut self, iq: &str) -> Outcome<Element> {
        let id = Element::parse(iq).map_err(Failure)?.attr("id").unwrap_or_default().to_owned();
        self.send(iq).await?;
        self.expect(|e| e.name == "iq" && e.attr("id") == Some(&id) && is_answer(e)).await
    }

    /// The next stanza, whatever it is.
    pub async fn receive(&mut self) -> Outcome<Element> {
        self.expect(|_| true).await
    }

    /// The next stanza, however long it takes; none when the stream has ended. Nothing is lost when
    /// the wait is given up, as long as the client does not answer pings by itself.
    pub async fn next(&mut self) -> Outcome<Option<Element>> {
        let far = Instant::now() + Duration::from_secs(86_400);
        while self.inbox.is_empty() && !self.closed && self.read_more(far).await? {}
        Ok(self.inbox.pop_front())
    }

    /// True once the peer has closed the stream properly.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The first stanza that fits; the others stay, in their order.
    pub async fn expect(&mut self, fits: impl Fn(&Element) -> bool) -> Outcome<Element> {
        let deadline = Instant::now() + DEADLINE;
        let mut tried = 0;
        loop {
            let found = self.inbox.iter().skip(tried).position(&fits);
            if let Some(stanza) = found.and_then(|at| self.inbox.remove(tried + at)) {
                return Ok(stanza);
            }
            tried = self.inbox.len();
            if self.closed || !self.read_more(deadline).await? {
                return self.fail("the stream ended, and what was expected had not come");
            }
        }
    }

    /// Waits until the server has handled all that was sent on this stream, and keeps what came.
    pub async fn fence(&mut self) -> Outcome<()> {
        // Answers outlive a connection (XEP-0198): no two of a test are alike.
        let id = format!("fence-{}", FENCES.fetch_add(1, Ordering::Relaxed));
        let ping = "<ping xmlns='urn:xmpp:ping'/>";
        let to = escape(&self.target.domain);
        self.ask(&format!("<iq type='get' id='{id}' to='{to}'>{ping}</iq>")).await.map(drop)
    }

    /// Proves that nothing came: a ping's answer overtakes nothing that was sent before it.
    pub async fn nothing(&mut self) -> Outcome<()> {
        self.fence().await?;
        match self.inbox.front() {
            None => Ok(()),
            Some(stanza) => {
                let text = format!("nothing was expected, but this came: {stanza}");
                self.fail(text)
            }
        }
    }

    /// What has come and was not asked for.
    pub fn take(&mut self) -> Vec<Element> {
        self.inbox.drain(..).collect()
    }

    /// Throws away what has come and was not asked for.
    pub fn forget(&mut self) {
        self.inbox.clear();
    }

    /// Ends the stream properly and waits for the other side to do the same.
    pub async fn close(&mut self) -> Outcome<()> {
        self.send("</stream:stream>").await?;
        self.ended().await?;
        // With the connection the session is gone for others, too; some transports leave it to us to hang up.
        let _ = tokio::time::timeout(HANG_UP, self.gone()).await;
        let _ = self.io.shutdown().await;
        Ok(())
    }

    /// Waits until the server has closed the stream or the connection.
    pub async fn ended(&mut self) -> Outcome<()> {
        let deadline = Instant::now() + DEADLINE;
        while !self.closed && self.read_more(deadline).await? {}
        Ok(())
    }

    /// Waits for the end of the connection; true if the stream was closed before it.
    pub async fn gone(&mut self) -> Outcome<bool> {
        let deadline = Instant::now() + DEADLINE;
        while self.read_more(deadline).await? {}
        Ok(self.closed)
    }

    /// RFC 6120 §4.9.1: the error's condition, the closing tag after it, the end of the connection.
    pub async fn stream_error(&mut self) -> Outcome<String> {
        let error = self.expect(|e| e.is(STREAM, "error")).await?;
        if !self.gone().await? {
            return self.fail("a stream error without a closing tag after it");
        }
        let condition = error.children.iter().find(|c| c.ns == STREAMS && c.name != "text");
        match condition {
            Some(condition) => Ok(condition.name.clone()),
            None => self.fail(format!("a stream error without a condition: {error}")),
        }
    }

    /// Everything said so far, both ways.
    pub fn conversation(&self) -> String {
        self.log.join("\n")
    }

    /// Reads once; false when there is nothing more to come.
    async fn read_more(&mut self, deadline: Instant) -> Outcome<bool> {
        if self.end {
            return Ok(false);
        }
        let mut bytes = Vec::with_capacity(16 * 1024);
        let pieces = match timeout_at(deadline, self.io.read(&mut bytes)).await {
            Err(_) => return self.fail("timed out"),
            // A connection cut without a word counts as ended; who minds asks `header` and `log`.
            Ok(Err(_) | Ok(0)) => {
                self.log.push("<- (end)".into());
                self.end = true;
                return Ok(false);
            }
            Ok(Ok(_)) => self.cutter.feed(&bytes),
        };
        self.log.push(format!("<- {}", String::from_utf8_lossy(&bytes)));
        for piece in pieces.or_else(|e| self.fail(e))? {
            self.count(&piece);
            match piece {
                Piece::Open(header) => self.header = header,
                Piece::Element(ping) if self.answers_pings && self.is_server_ping(&ping) => {
                    let (id, to) = (ping.attr("id").unwrap_or_default(), ping.attr("from"));
                    let to = to.map(|to| format!(" to='{}'", escape(to))).unwrap_or_default();
                    let answer = format!("<iq type='result' id='{}'{to}/>", escape(id));
                    self.log.push(format!("-> {answer}"));
                    let _ = self.io.write(answer.as_bytes()).await;
                }
                Piece::Element(ask) if self.info.is_some() && is_about_info(&ask) => {
                    let info = self.info.clone().unwrap_or_default();
                    let of = |name: &str| escape(ask.attr(name).unwrap_or_default());
                    let node = ask.find("query").and_then(|query| query.attr("node"));
                    let node = escape(node.unwrap_or_default());
                    let answer = format!(
                        "<iq type='result' id='{}' to='{}'><query xmlns='{INFO}' node='{node}'>\
                         {info}</query></iq>",
                        of("id"),
                        of("from")
                    );
                    self.log.push(format!("-> {answer}"));
                    let _ = self.io.write(answer.as_bytes()).await;
                }
                Piece::Element(e) if self.ignores_presence && e.name == "presence" => {}
                Piece::Element(element) => self.inbox.push_back(element),
                Piece::Close => self.closed = true,
            }
        }
        Ok(true)
    }

    fn count(&mut self, piece: &Piece) {
        let Piece::Element(element) = piece else { return };
        match (element.ns.as_str(), element.name.as_str()) {
            (CLIENT, "message" | "presence" | "iq") => self.handled = self.handled.wrapping_add(1),
            (super::sm::SM, "enabled") => self.handled = 0,
            _ => {}
        }
    }

    fn is_server_ping(&self, iq: &Element) -> bool {
        let from = iq.attr("from").unwrap_or(&self.target.domain);
        let own = self.jid.split('/').next() == Some(from);
        let servers = own || from == self.target.domain;
        servers && iq.attr("type") == Some("get") && iq.child("urn:xmpp:ping", "ping").is_some()
    }

    pub fn fail<T>(&self, why: impl fmt::Display) -> Outcome<T> {
        let waiting: Vec<String> = self.inbox.iter().map(|e| format!("   {e}")).collect();
        Err(Failure(format!(
            "{why}\n-- conversation of {}:\n{}\n-- not yet looked at:\n{}",
            if self.jid.is_empty() { "an unbound stream" } else { &self.jid },
            self.conversation(),
            waiting.join("\n")
        )))
    }
}

/// A stream header as it should be.
pub fn header_to(domain: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAM}' to='{}' version='1.0'>",
        escape(domain)
    )
}

fn is_answer(iq: &Element) -> bool {
    matches!(iq.attr("type"), Some("result" | "error"))
}

impl fmt::Debug for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

static FENCES: AtomicU32 = AtomicU32::new(1);

pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
pub const STREAMS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";

fn is_about_info(iq: &Element) -> bool {
    iq.name == "iq" && iq.attr("type") == Some("get") && iq.child(INFO, "query").is_some()
}

const INFO: &str = "http://jabber.org/protocol/disco#info";

/// How long the server may take to hang up.
const HANG_UP: std::time::Duration = std::time::Duration::from_secs(1);
