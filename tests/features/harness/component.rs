//! A component of our own: nothing but a socket and what is written to it.

use super::client::{Client, Outcome};
use super::element::Element;
use super::process::Lab;
use std::ops::{Deref, DerefMut};
use stonechat::base::hash::{hex, sha1};

/// The secret of every component of the tests.
pub const SECRET: &str = "f2d7c5b1a09e48d3b6a7";

/// A stream of a component.
pub struct Component {
    pub client: Client,
    pub domain: String,
}

impl Component {
    /// A connection on which a header was sent.
    pub async fn call(lab: &Lab, domain: &str) -> Outcome<Component> {
        let address = lab.components.expect("components are listened for");
        Component::greet(Client::dial(&lab.target, address).await?, domain).await
    }

    /// The same with TLS from the first byte.
    pub async fn call_tls(lab: &Lab, domain: &str) -> Outcome<Component> {
        let address = lab.components_tls.expect("components are listened for with TLS");
        let mut client = Client::dial(&lab.target, address).await?;
        client.handshake(&[]).await?;
        Component::greet(client, domain).await
    }

    async fn greet(mut client: Client, domain: &str) -> Outcome<Component> {
        // It says itself what it answers.
        client.answers_pings = false;
        client.jid = domain.to_owned();
        client.send(&header(domain)).await?;
        Ok(Component { client, domain: domain.to_owned() })
    }

    /// The handshake for this secret, once the server's header came.
    pub async fn prove(&mut self, secret: &str) -> Outcome<()> {
        let id = self.id().await?;
        self.client.send(&format!("<handshake>{}</handshake>", hash(&id, secret))).await
    }

    /// The id of the stream.
    pub async fn id(&mut self) -> Outcome<String> {
        self.client.opened().await?;
        Ok(self.client.header.attr("id").expect("an id").to_owned())
    }

    /// A component that is let in.
    pub async fn connect(lab: &Lab, domain: &str) -> Outcome<Component> {
        let mut component = Component::call(lab, domain).await?;
        component.prove(SECRET).await?;
        component.client.expect(|e| e.name == "handshake").await?;
        Ok(component)
    }

    /// The next message with this body.
    pub async fn hears(&mut self, body: &str) -> Outcome<Element> {
        loop {
            let stanza = self.client.receive().await?;
            if self.pongs(&stanza).await? {
                continue;
            }
            if stanza.text_of("body") == Some(body) {
                return Ok(stanza);
            }
        }
    }

    /// The next stanza that fits; pings are answered, the rest is dropped.
    pub async fn finds(&mut self, fits: impl Fn(&Element) -> bool) -> Outcome<Element> {
        loop {
            let stanza = self.client.receive().await?;
            if !self.pongs(&stanza).await? && fits(&stanza) {
                return Ok(stanza);
            }
        }
    }

    async fn pongs(&mut self, stanza: &Element) -> Outcome<bool> {
        let is_ping = stanza.attr("type") == Some("get") && stanza.find("ping").is_some();
        if is_ping {
            self.answer(stanza, "").await?;
        }
        Ok(is_ping)
    }

    /// Answers a request with this payload.
    pub async fn answer(&mut self, request: &Element, payload: &str) -> Outcome<()> {
        let of = |name: &str| request.attr(name).unwrap_or_default().to_owned();
        let (id, from, to) = (of("id"), of("to"), of("from"));
        let iq = format!("<iq type='result' id='{id}' from='{from}' to='{to}'>{payload}</iq>");
        self.client.send(&iq).await
    }
}

impl Deref for Component {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Component {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// XEP-0114 §3
pub fn header(domain: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
         xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
    )
}

/// XEP-0114 §3: SHA-1 in lower-case hexadecimal digits.
pub fn hash(id: &str, secret: &str) -> String {
    hex(&sha1(format!("{id}{secret}").as_bytes()))
}
