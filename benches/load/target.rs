//! A server under test, and logging in to it.

use super::bosh::Bosh;
use super::conn::Conn;
use super::fault::{Fault, Res, fault};
use super::framer::{has, is, text};
use super::scram::{self, Keys};
use super::tls;
use super::websocket::WebSocket;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// `name=host:port[,tls=host:port][,web=host:port][,ws=PATH],pid=N,domain=…[,for=row+row…]`
pub struct Target {
    /// What the table calls it.
    pub name: String,
    /// Clear, and STARTTLS.
    pub address: SocketAddr,
    /// TLS from the first byte; else STARTTLS.
    pub tls: Option<SocketAddr>,
    /// HTTPS.
    pub web: Option<SocketAddr>,
    /// Where its WebSocket is.
    pub ws: String,
    /// The root of its process tree.
    pub pid: u32,
    /// The domain it serves.
    pub domain: String,
    /// The groups of rows it is measured in; empty: all.
    pub groups: Vec<String>,
    connector: tls::Connector,
    keys: Keys,
    /// Accounts that are known to exist, as a count from the first of each prefix.
    made: Mutex<HashMap<&'static str, usize>>,
}

/// How a client connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// In the clear.
    Plain,
    /// TLS 1.3.
    Tls,
    /// TLS 1.3, HTTP, WebSocket.
    WebSocket,
    /// TLS 1.3, HTTP, BOSH.
    Bosh,
}

/// A bound session.
pub struct Client {
    /// Its connection.
    pub conn: Conn,
    /// Its full JID.
    pub jid: String,
    /// It may use XEP-0198.
    pub manageable: bool,
}

impl Target {
    /// Reads the argument.
    pub fn parse(text: &str) -> Res<Self> {
        let wrong = |what: &str| Fault(format!("--target {text}: {what}"));
        let mut parts = text.split(',');
        let (name, address) = parts
            .next()
            .and_then(|part| part.split_once('='))
            .ok_or_else(|| wrong("write NAME=HOST:PORT,pid=N,domain=NAME"))?;
        let resolve = |text: &str| {
            let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
            found.ok_or_else(|| wrong("no such address"))
        };
        let mut target = Self::new(name, resolve(address)?, 0, "localhost");
        for part in parts {
            match part.split_once('=').ok_or_else(|| wrong("write KEY=VALUE"))? {
                ("tls", value) => target.tls = Some(resolve(value)?),
                ("web", value) => target.web = Some(resolve(value)?),
                ("ws", value) => value.clone_into(&mut target.ws),
                ("pid", value) => target.pid = value.parse().map_err(|_| wrong("pid"))?,
                ("domain", value) => value.clone_into(&mut target.domain),
                ("for", value) => target.groups = value.split('+').map(str::to_owned).collect(),
                (key, _) => return Err(wrong(&format!("unknown key {key}"))),
            }
        }
        if target.pid == 0 { Err(wrong("its pid is missing")) } else { Ok(target) }
    }

    /// One at this address.
    pub fn new(name: &str, address: SocketAddr, pid: u32, domain: &str) -> Self {
        Self {
            name: name.to_owned(),
            address,
            tls: None,
            web: None,
            ws: "/ws".to_owned(),
            pid,
            domain: domain.to_owned(),
            groups: Vec::new(),
            connector: tls::connector(),
            keys: Keys::default(),
            made: Mutex::default(),
        }
    }

    /// The bare JID of an account of the bench.
    pub fn jid(&self, user: &str) -> String {
        format!("{user}@{}", self.domain)
    }

    /// Accounts known to exist; makes `more` known.
    pub fn accounts_made(&self, prefix: &'static str, more: usize) -> usize {
        let mut all = self.made.lock().expect("no holder panics");
        let made = all.entry(prefix).or_default();
        std::mem::replace(made, more.max(*made))
    }

    /// An open stream, encrypted if it is to be, and its features.
    pub async fn connect(&self, security: Security) -> Res<(Conn, Vec<u8>)> {
        if matches!(security, Security::WebSocket | Security::Bosh) {
            let mut conn = self.web(security).await?;
            let features = self.open_stream(&mut conn).await?;
            return Ok((conn, features));
        }
        let direct = self.tls.filter(|_| security == Security::Tls);
        let mut conn = Conn::open(direct.unwrap_or(self.address)).await?;
        if direct.is_some() {
            conn.secure(&self.connector, &self.domain).await?;
        }
        let features = self.open_stream(&mut conn).await?;
        if direct.is_some() || security == Security::Plain {
            return Ok((conn, features));
        }
        conn.send(STARTTLS).await?;
        expect(&mut conn, "proceed").await?;
        conn.secure(&self.connector, &self.domain).await?;
        let features = self.open_stream(&mut conn).await?;
        Ok((conn, features))
    }

    /// A connection to the web's port.
    pub async fn https(&self) -> Res<TlsStream<TcpStream>> {
        let Some(address) = self.web else { return fault("no web address: write web=HOST:PORT") };
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        tls::connect(&self.connector, tcp, &self.domain).await
    }

    async fn web(&self, security: Security) -> Res<Conn> {
        Ok(match security {
            Security::WebSocket => {
                Conn::websocket(WebSocket::open(self.https().await?, &self.domain, &self.ws).await?)
            }
            _ => Conn::bosh(Bosh::new(self.https().await?, self.https().await?, &self.domain)),
        })
    }

    /// A connection under TLS on which the header and this are said at once, before the features come.
    pub async fn pipelined(&self, first: &str) -> Res<Conn> {
        let Some(address) = self.tls else {
            let mut conn = Conn::open(self.address).await?;
            self.open_stream(&mut conn).await?;
            conn.send(STARTTLS).await?;
            expect(&mut conn, "proceed").await?;
            conn.secure(&self.connector, &self.domain).await?;
            conn.send(format!("{}{first}", self.header()).as_bytes()).await?;
            return Ok(conn);
        };
        let mut conn = Conn::open(address).await?;
        conn.secure(&self.connector, &self.domain).await?;
        conn.send(format!("{}{first}", self.header()).as_bytes()).await?;
        Ok(conn)
    }

    fn header(&self) -> String {
        format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>",
            self.domain
        )
    }

    async fn open_stream(&self, conn: &mut Conn) -> Res<Vec<u8>> {
        conn.send(self.header().as_bytes()).await?;
        conn.until(|piece| is(piece, "stream:features")).await
    }

    /// A stream on which this account is logged in, and its features.
    pub async fn login(&self, security: Security, user: &str) -> Res<(Conn, Vec<u8>)> {
        let (mut conn, _) = self.connect(security).await?;
        let first = scram::first(user);
        conn.send(sasl("auth", "mechanism='SCRAM-SHA-1'", &format!("n,,{first}")).as_bytes())
            .await?;
        let challenge = sasl_text(&expect(&mut conn, "challenge").await?)?;
        let (last, answer) = self.keys.last(PASSWORD, &first, &challenge)?;
        conn.send(sasl("response", "", &last).as_bytes()).await?;
        let success = expect(&mut conn, "success").await?;
        if sasl_text(&success)? != answer {
            return fault("the server does not know the password itself");
        }
        let features = self.open_stream(&mut conn).await?;
        Ok((conn, features))
    }

    /// A bound session of this account.
    pub async fn session(&self, security: Security, user: &str) -> Res<Client> {
        let (mut conn, features) = self.login(security, user).await?;
        let bind =
            "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind>";
        let bound = request(&mut conn, "set", "", bind).await?;
        let jid = text(&bound, "jid").map(|jid| String::from_utf8_lossy(jid).into_owned());
        let Some(jid) = jid else { return fault("not bound") };
        Ok(Client { conn, jid, manageable: has(&features, "urn:xmpp:sm:3") })
    }
}

/// An IQ and its result; other stanzas that come before are passed over.
pub async fn request(conn: &mut Conn, ty: &str, to: &str, payload: &str) -> Res<Vec<u8>> {
    let answer = ask(conn, ty, to, payload).await?;
    if super::framer::attr(&answer, "type") != Some(b"result") {
        return fault(format!("{payload} was answered {}", String::from_utf8_lossy(&answer)));
    }
    Ok(answer)
}

/// An IQ and its answer, be it an error.
pub async fn ask(conn: &mut Conn, ty: &str, to: &str, payload: &str) -> Res<Vec<u8>> {
    let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
    conn.send(format!("<iq type='{ty}' id='ask'{to}>{payload}</iq>").as_bytes()).await?;
    let answer = |piece: &[u8]| is(piece, "iq") && super::framer::attr(piece, "id") == Some(b"ask");
    conn.until(answer).await
}

async fn expect(conn: &mut Conn, name: &str) -> Res<Vec<u8>> {
    let answer = conn.until(|piece| is(piece, name) || is(piece, "failure")).await?;
    if is(&answer, name) {
        return Ok(answer);
    }
    fault(format!("no <{name}/> but {}", String::from_utf8_lossy(&answer)))
}

fn sasl(name: &str, attributes: &str, data: &str) -> String {
    let data = BASE64_STANDARD.encode(data);
    format!("<{name} xmlns='urn:ietf:params:xml:ns:xmpp-sasl' {attributes}>{data}</{name}>")
}

fn sasl_text(piece: &[u8]) -> Res<String> {
    let name = if is(piece, "challenge") { "challenge" } else { "success" };
    let decoded = text(piece, name).and_then(|text| BASE64_STANDARD.decode(text).ok());
    decoded
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Fault(format!("no SASL data: {}", String::from_utf8_lossy(piece))))
}

const STARTTLS: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
/// Of every account of the bench.
pub const PASSWORD: &str = "pencil-case";
