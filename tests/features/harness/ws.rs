//! XMPP over WebSocket (RFC 7395) for the client of the tests, by a library that is not the server's. What is
//! written and read has the form that it has on TCP, so that each test can run on either.

use super::element::{CLIENT, STREAM};
use futures_util::{SinkExt, StreamExt};
use std::io::{Error, ErrorKind};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

pub const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";

pub struct Ws {
    socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Ws {
    /// RFC 7395 §3.1
    pub async fn open(tls: TlsStream<TcpStream>, domain: &str) -> Result<Ws, String> {
        let request = format!("wss://{domain}/ws").into_client_request();
        let mut request = request.map_err(|e| e.to_string())?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", "xmpp".parse().unwrap());
        let (socket, answer) =
            client_async(request, tls).await.map_err(|e| format!("WebSocket: {e}"))?;
        assert_eq!(answer.headers().get("Sec-WebSocket-Protocol").unwrap(), "xmpp");
        Ok(Ws { socket })
    }

    /// The connection itself, for frames by hand; nothing that was read may be left.
    pub fn into_raw(self) -> TlsStream<TcpStream> {
        self.socket.into_inner()
    }

    pub fn tls(&self) -> &TlsStream<TcpStream> {
        self.socket.get_ref()
    }

    /// The next message; 0 at the end.
    pub async fn read(&mut self, buf: &mut Vec<u8>) -> std::io::Result<usize> {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => from_message(&text),
                Some(Ok(Message::Close(_))) | None => return Ok(0),
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(Error::other(error)),
            };
            buf.extend_from_slice(text.as_bytes());
            return Ok(text.len());
        }
    }

    /// Each element as a message of its own.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let text = std::str::from_utf8(bytes).map_err(Error::other)?;
        for message in to_messages(text) {
            self.say(Message::text(message)).await?;
        }
        Ok(())
    }

    /// One message, exactly as it is.
    pub async fn say(&mut self, message: Message) -> std::io::Result<()> {
        self.socket.send(message).await.map_err(Error::other)
    }

    pub async fn close(&mut self) -> std::io::Result<()> {
        match self.socket.close(None).await {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::new(ErrorKind::NotConnected, error)),
        }
    }
}

/// RFC 7395 §3.4, §3.6, as what it stands for.
fn from_message(text: &str) -> String {
    assert!(text.starts_with('<'), "not framed: {text}");
    match text {
        open if open.starts_with("<open ") => {
            let attributes = open.trim_start_matches("<open").trim_end_matches("/>");
            let attributes = attributes.replace(FRAMING, CLIENT);
            format!("<stream:stream xmlns:stream='{STREAM}'{attributes}>")
        }
        close if close.starts_with("<close ") => {
            assert!(close.contains(FRAMING), "{close}");
            "</stream:stream>".to_owned()
        }
        // A document of its own: nothing of the header is in scope.
        element => {
            let document = roxmltree::Document::parse(element).expect(element);
            assert!(
                document.root_element().tag_name().namespace().is_some(),
                "no namespace: {element}"
            );
            element.to_owned()
        }
    }
}

/// What a test writes, as messages.
fn to_messages(text: &str) -> Vec<String> {
    let mut rest = text.trim_start();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (message, length) = first(rest);
        messages.extend(message);
        rest = rest[length..].trim_start();
    }
    messages
}

fn first(text: &str) -> (Option<String>, usize) {
    if text.starts_with("<?xml") {
        return (None, text.find("?>").map_or(text.len(), |at| at + 2));
    }
    if text.starts_with("</stream:stream>") {
        return (Some(format!("<close xmlns='{FRAMING}'/>")), 16);
    }
    if let Some(header) = text.strip_prefix("<stream:stream") {
        let end = header.find('>').unwrap_or(header.len());
        let attributes = header[..end].replace(&format!("xmlns:stream='{STREAM}'"), "");
        let attributes = attributes.replace(CLIENT, FRAMING);
        return (Some(format!("<open{attributes}/>")), (14 + end + 1).min(text.len()));
    }
    let length = element(text).unwrap_or(text.len());
    (Some(text[..length].to_owned()), length)
}

/// How long the first element is.
fn element(text: &str) -> Option<usize> {
    let mut parser = rxml::Parser::new();
    let mut rest = text.as_bytes();
    let mut depth = 0;
    loop {
        match rxml::Parse::parse(&mut parser, &mut rest, false) {
            Ok(Some(rxml::Event::StartElement(..))) => depth += 1,
            Ok(Some(rxml::Event::EndElement(_))) if depth == 1 => {
                return Some(text.len() - rest.len());
            }
            Ok(Some(rxml::Event::EndElement(_))) => depth -= 1,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}
