//! A server that does what a test tells it: it opens streams to ours, and takes those that ours opens.

use super::client::{DEADLINE, Failure, Outcome, STREAMS};
use super::element::{Cutter, Element, Piece, STREAM, escape};
pub use super::peer_tls::Identity;
use super::peer_tls::{as_client, as_server};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub const SERVER: &str = "jabber:server";
pub const DIALBACK: &str = "jabber:server:dialback";
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
pub const SM: &str = "urn:xmpp:sm:3";

/// Features of a server, for [`Fake::accept_as`].
pub const SM_FEATURE: &str = "<sm xmlns='urn:xmpp:sm:3'/>";
pub const BIDI_FEATURE: &str = "<bidi xmlns='urn:xmpp:features:bidi'/>";
pub const DIALBACK_FEATURE: &str =
    "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";
pub const EXTERNAL_FEATURE: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
                                    <mechanism>EXTERNAL</mechanism></mechanisms>";

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

/// One stream, from either side.
pub struct Raw {
    io: Io,
    cutter: Cutter,
    inbox: VecDeque<Element>,
    /// The last header that came.
    pub header: Option<Element>,
    /// The last features that came.
    pub features: Element,
    closed: bool,
    end: bool,
    log: Vec<String>,
}

impl Raw {
    fn on(tcp: TcpStream) -> Raw {
        let _ = tcp.set_nodelay(true);
        Raw {
            io: Io::Plain(tcp),
            cutter: Cutter::new(),
            inbox: VecDeque::new(),
            header: None,
            features: Element::default(),
            closed: false,
            end: false,
            log: Vec::new(),
        }
    }

    /// A connection on which nothing was said.
    pub async fn dial(to: SocketAddr) -> Outcome<Raw> {
        Raw::dial_from(None, to).await
    }

    /// The same from this address.
    pub async fn dial_from(from: Option<std::net::IpAddr>, to: SocketAddr) -> Outcome<Raw> {
        let socket = TcpSocket::new_v4().map_err(failure)?;
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0)).map_err(failure)?;
        }
        match timeout(DEADLINE, socket.connect(to)).await {
            Ok(tcp) => Ok(Raw::on(tcp.map_err(failure)?)),
            Err(_) => Err(Failure(format!("{to} does not answer"))),
        }
    }

    /// A stream under TLS with its features.
    pub async fn secured(
        to: SocketAddr,
        (from, domain): (&str, &str),
        identity: Option<&Identity>,
    ) -> Outcome<Raw> {
        let mut raw = Raw::dial(to).await?;
        raw.open(from, domain).await?;
        raw.secure(domain, identity).await?;
        raw.open(from, domain).await?;
        Ok(raw)
    }

    /// A stream that is authenticated by EXTERNAL.
    pub async fn external(to: SocketAddr, names: (&str, &str), own: &Identity) -> Outcome<Raw> {
        let mut raw = Raw::secured(to, names, Some(own)).await?;
        raw.authenticate(names).await?;
        Ok(raw)
    }

    /// The same in both directions (XEP-0288).
    pub async fn bidi(to: SocketAddr, names: (&str, &str), own: &Identity) -> Outcome<Raw> {
        let mut raw = Raw::secured(to, names, Some(own)).await?;
        raw.send("<bidi xmlns='urn:xmpp:bidi'/>").await?;
        raw.authenticate(names).await?;
        Ok(raw)
    }

    /// SASL EXTERNAL, and the new stream.
    pub async fn authenticate(&mut self, (from, domain): (&str, &str)) -> Outcome<()> {
        let authzid = BASE64.encode(from);
        self.send(&format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>{authzid}</auth>")).await?;
        let answer = self.receive().await?;
        if !answer.is(SASL, "success") {
            return self.fail(format!("not authenticated: {answer}"));
        }
        self.open(from, domain).await
    }

    /// Sends a header, and waits for the peer's, with features.
    pub async fn open(&mut self, from: &str, to: &str) -> Outcome<()> {
        self.restart();
        self.send(&header(from, to, "")).await?;
        self.features = self.expect(|e| e.is(STREAM, "features")).await?;
        Ok(())
    }

    /// What comes next is a new stream.
    pub fn restart(&mut self) {
        (self.cutter, self.header) = (Cutter::new(), None);
    }

    /// Asks for TLS, and shows this certificate.
    pub async fn secure(&mut self, domain: &str, identity: Option<&Identity>) -> Outcome<()> {
        self.send(&format!("<starttls xmlns='{TLS}'/>")).await?;
        let answer = self.receive().await?;
        if !answer.is(TLS, "proceed") {
            return self.fail(format!("no TLS: {answer}"));
        }
        self.handshake(domain, identity, &[]).await
    }

    /// The handshake as its client. Any certificate of the server's will do.
    pub async fn handshake(
        &mut self,
        domain: &str,
        identity: Option<&Identity>,
        alpn: &[&str],
    ) -> Outcome<()> {
        let Io::Plain(tcp) = std::mem::replace(&mut self.io, Io::Gone) else {
            return self.fail("TLS inside TLS");
        };
        let name = ServerName::try_from(domain.to_owned()).unwrap();
        let connecting = TlsConnector::from(as_client(identity, alpn)).connect(name, tcp);
        match timeout(DEADLINE, Box::pin(connecting)).await {
            Ok(Ok(tls)) => self.io = Io::Tls(Box::new(tls.into())),
            Ok(Err(error)) => return self.fail(format!("TLS: {error}")),
            Err(_) => return self.fail("TLS took too long"),
        }
        Ok(())
    }

    /// The handshake as its server.
    pub async fn accept_tls(&mut self, identity: &Identity) -> Outcome<()> {
        let Io::Plain(tcp) = std::mem::replace(&mut self.io, Io::Gone) else {
            return self.fail("TLS inside TLS");
        };
        let accepting = TlsAcceptor::from(as_server(identity)).accept(tcp);
        match timeout(DEADLINE, Box::pin(accepting)).await {
            Ok(Ok(tls)) => self.io = Io::Tls(Box::new(tls.into())),
            Ok(Err(error)) => return self.fail(format!("TLS: {error}")),
            Err(_) => return self.fail("TLS took too long"),
        }
        Ok(())
    }

    /// The certificates that the other side showed.
    pub fn shown(&self) -> usize {
        let Io::Tls(tls) = &self.io else { return 0 };
        tls.get_ref().1.peer_certificates().map_or(0, <[_]>::len)
    }

    /// Sends exactly these bytes.
    pub async fn send(&mut self, xml: &str) -> Outcome<()> {
        let shown: String = xml.chars().take(2_000).collect();
        self.log.push(format!("-> {shown}"));
        match timeout(DEADLINE, self.write(xml.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => self.fail(format!("cannot send: {error}")),
            Err(_) => self.fail("what was sent was not read in time"),
        }
    }

    /// Sends; the connection may be gone.
    pub async fn try_send(&mut self, xml: &str) {
        let _ = timeout(DEADLINE, self.write(xml.as_bytes())).await;
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.io {
            Io::Plain(io) => io.write_all(bytes).await,
            Io::Tls(io) => {
                io.write_all(bytes).await?;
                io.flush().await
            }
            Io::Gone => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    /// The first element that fits; the others stay, in their order.
    pub async fn expect(&mut self, fits: impl Fn(&Element) -> bool) -> Outcome<Element> {
        let deadline = Instant::now() + DEADLINE;
        let mut tried = 0;
        loop {
            let found = self.inbox.iter().skip(tried).position(&fits);
            if let Some(one) = found.and_then(|at| self.inbox.remove(tried + at)) {
                return Ok(one);
            }
            tried = self.inbox.len();
            if self.closed || !self.read_more(deadline).await? {
                return self.fail("the stream ended, and what was expected had not come");
            }
        }
    }

    /// The next element, whatever it is.
    pub async fn receive(&mut self) -> Outcome<Element> {
        self.expect(|_| true).await
    }

    /// The peer's header, if it has not come yet.
    pub async fn greeted(&mut self) -> Outcome<Element> {
        let deadline = Instant::now() + DEADLINE;
        while self.header.is_none() {
            if !self.read_more(deadline).await? {
                return self.fail("no header came");
            }
        }
        Ok(self.header.clone().unwrap_or_default())
    }

    /// What has come and was not asked for.
    pub fn take(&mut self) -> Vec<Element> {
        self.inbox.drain(..).collect()
    }

    /// XEP-0198: waits until what was sent is counted. To be enabled before.
    pub async fn counted(&mut self, h: u32) -> Outcome<()> {
        self.send(&format!("<r xmlns='{SM}'/>")).await?;
        let h = h.to_string();
        self.expect(|e| e.is(SM, "a") && e.attr("h") == Some(&h)).await.map(drop)
    }

    /// The condition of the error that ends the stream, with the closing tag behind it (RFC 6120 §4.9.1.1).
    pub async fn stream_error(&mut self) -> Outcome<String> {
        let error = self.expect(|e| e.is(STREAM, "error")).await?;
        if !self.gone().await? {
            return self.fail("no closing tag behind the stream error");
        }
        let condition = error.children.iter().find(|c| c.ns == STREAMS && c.name != "text");
        match condition {
            Some(condition) => Ok(condition.name.clone()),
            None => self.fail(format!("no condition in {error}")),
        }
    }

    /// [`Raw::stream_error`] as a claim.
    pub async fn ends_with(&mut self, condition: &str) -> Outcome<()> {
        let got = self.stream_error().await?;
        if got == condition { Ok(()) } else { self.fail(format!("{condition} was expected")) }
    }

    /// Waits for the end of the connection; true if the stream was closed before it.
    pub async fn gone(&mut self) -> Outcome<bool> {
        let deadline = Instant::now() + DEADLINE;
        while self.read_more(deadline).await? {}
        Ok(self.closed)
    }

    /// Waits for the closing tag, and closes too.
    pub async fn close(&mut self) -> Outcome<()> {
        self.send("</stream:stream>").await?;
        self.gone().await.map(drop)
    }

    async fn read_more(&mut self, deadline: Instant) -> Outcome<bool> {
        if self.end {
            return Ok(false);
        }
        let mut bytes = Vec::with_capacity(16 * 1024);
        let reading = async {
            match &mut self.io {
                Io::Plain(io) => io.read_buf(&mut bytes).await,
                Io::Tls(io) => io.read_buf(&mut bytes).await,
                Io::Gone => Ok(0),
            }
        };
        match timeout_at(deadline, reading).await {
            Err(_) => return self.fail("timed out"),
            Ok(Err(_) | Ok(0)) => {
                self.log.push("<- (end)".into());
                self.end = true;
                return Ok(false);
            }
            Ok(Ok(_)) => {}
        }
        self.log.push(format!("<- {}", String::from_utf8_lossy(&bytes)));
        for piece in self.cutter.feed(&bytes).or_else(|error| self.fail(error))? {
            match piece {
                Piece::Open(header) => self.header = Some(header),
                Piece::Element(element) => self.inbox.push_back(element),
                Piece::Close => self.closed = true,
            }
        }
        Ok(true)
    }

    pub fn fail<T>(&self, why: impl std::fmt::Display) -> Outcome<T> {
        let from = self.log.len().saturating_sub(60);
        Err(Failure(format!("{why}\n-- as a server:\n{}", self.log[from..].join("\n"))))
    }
}

/// A server that ours connects to.
pub struct Fake {
    listener: TcpListener,
    pub domain: String,
    pub identity: Identity,
}

impl Fake {
    pub async fn new(at: SocketAddr, domain: &str, identity: Identity) -> Fake {
        let listener = TcpListener::bind(at).await.unwrap();
        Fake { listener, domain: domain.to_owned(), identity }
    }

    /// The next connection, on which nothing was said.
    pub async fn accept(&self) -> Outcome<Raw> {
        match timeout(DEADLINE, self.listener.accept()).await {
            Ok(accepted) => Ok(Raw::on(accepted.map_err(failure)?.0)),
            Err(_) => Err(Failure(format!("nobody connects to {}", self.domain))),
        }
    }

    /// The next connection under TLS; the header has come, and was answered without features.
    pub async fn accept_secured(&self) -> Outcome<Raw> {
        let raw = self.accept().await?;
        self.secured(raw).await
    }

    /// The same of a connection on which nothing was said yet.
    pub async fn secured(&self, mut raw: Raw) -> Outcome<Raw> {
        self.answer(&mut raw, &format!("<starttls xmlns='{TLS}'><required/></starttls>")).await?;
        raw.expect(|e| e.is(TLS, "starttls")).await?;
        raw.send(&format!("<proceed xmlns='{TLS}'/>")).await?;
        raw.accept_tls(&self.identity).await?;
        raw.restart();
        Ok(raw)
    }

    /// Waits for a header, and answers it with these features; who calls.
    pub async fn answer(&self, raw: &mut Raw, features: &str) -> Outcome<String> {
        let theirs = raw.greeted().await?;
        let from = theirs.attr("from").unwrap_or_default().to_owned();
        let header = header(&self.domain, &from, " id='fake'");
        raw.send(&format!("{header}<stream:features>{features}</stream:features>")).await?;
        Ok(from)
    }

    /// The next stream, authenticated by EXTERNAL, with these features.
    pub async fn accept_as(&self, features: &str) -> Outcome<Raw> {
        let mut raw = self.accept_secured().await?;
        self.authenticate(&mut raw, features).await?;
        Ok(raw)
    }

    /// Goes on with one that is under TLS.
    pub async fn authenticate(&self, raw: &mut Raw, features: &str) -> Outcome<()> {
        self.answer(raw, &format!("{EXTERNAL_FEATURE}{features}")).await?;
        raw.expect(|e| e.is(SASL, "auth")).await?;
        raw.restart();
        raw.send(&format!("<success xmlns='{SASL}'/>")).await?;
        self.answer(raw, features).await?;
        Ok(())
    }

    /// The same with XEP-0198, which is enabled.
    pub async fn accept_managed(&self) -> Outcome<Raw> {
        let mut raw = self.accept_as(SM_FEATURE).await?;
        raw.expect(|e| e.is(SM, "enable")).await?;
        raw.send(&format!("<enabled xmlns='{SM}' id='former' resume='true'/>")).await?;
        Ok(raw)
    }
}

/// The header of a stream between servers, with more attributes.
pub fn header(from: &str, to: &str, more: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='{SERVER}' xmlns:db='{DIALBACK}' \
         xmlns:stream='{STREAM}' from='{}' to='{}' version='1.0'{more}>",
        escape(from),
        escape(to)
    )
}

fn failure(error: std::io::Error) -> Failure {
    Failure(error.to_string())
}
