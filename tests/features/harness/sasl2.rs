//! SASL2 and what goes with it, from the client's side (XEP-0388, XEP-0386).

use super::client::{Client, Outcome};
use super::element::{Element, STREAM};
use super::process::{Lab, PASSWORD};
use super::sasl;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

pub const SASL2: &str = "urn:xmpp:sasl:2";
pub const BIND2: &str = "urn:xmpp:bind:0";
/// Of two installations of a client.
pub const PHONE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
pub const LAPTOP: &str = "0b5a2e2c-9b4e-4f3c-8f62-6d8b3a1c7e55";

/// `<authenticate/>` with an initial response.
pub fn first(mechanism: &str, initial: &[u8], inner: &str) -> String {
    let initial = BASE64.encode(initial);
    format!(
        "<authenticate xmlns='{SASL2}' mechanism='{mechanism}'>\
         <initial-response>{initial}</initial-response>{inner}</authenticate>"
    )
}

/// The same for PLAIN, which needs one message alone.
pub fn plain(user: &str, password: &str, inner: &str) -> String {
    first("PLAIN", format!("\0{user}\0{password}").as_bytes(), inner)
}

pub fn agent(id: &str) -> String {
    format!("<user-agent id='{id}'><software>Tester</software><device>Bench</device></user-agent>")
}

pub fn bind(inner: &str) -> String {
    format!("<bind xmlns='{BIND2}'>{inner}</bind>")
}

impl Client {
    /// A whole exchange. The `<success/>`, once its features have come too, or the `<failure/>`.
    pub async fn sasl2(&mut self, name: &str, user: &str, inner: &str) -> Outcome<Element> {
        let made = sasl::mechanism(name, user, PASSWORD, self.io.tls_exporter());
        let mut mechanism = made.map_err(super::client::Failure)?;
        let initial = mechanism.initial();
        self.send(&first(name, &initial, inner)).await?;
        loop {
            let answer = self.receive().await?;
            let data = |element: &Element| BASE64.decode(element.text.trim()).unwrap_or_default();
            match (answer.ns.as_str(), answer.name.as_str()) {
                (SASL2, "challenge") => {
                    let response = mechanism.response(&data(&answer));
                    let response =
                        BASE64.encode(response.map_err(|e| super::client::Failure(e.to_string()))?);
                    self.send(&format!("<response xmlns='{SASL2}'>{response}</response>")).await?;
                }
                (SASL2, "success") => {
                    let proof = answer.child(SASL2, "additional-data").map(data);
                    if let Err(error) = mechanism.success(&proof.unwrap_or_default()) {
                        return self.fail(format!("the server's signature: {error}"));
                    }
                    self.entered(&answer).await?;
                    return Ok(answer);
                }
                (SASL2, "failure") => return Ok(answer),
                _ => return self.fail(format!("not SASL2: {answer}")),
            }
        }
    }

    /// What follows a `<success/>`: features, except behind a resumption.
    pub async fn entered(&mut self, success: &Element) -> Outcome<()> {
        let address = success.child(SASL2, "authorization-identifier");
        self.jid = address.map(|jid| jid.text.clone()).unwrap_or_default();
        if success.find("enabled").is_some() {
            self.handled = 0;
        }
        if success.find("resumed").is_none() {
            self.features = self.receive().await?;
            if !self.features.is(STREAM, "features") {
                return self.fail(format!("features were expected: {}", self.features));
            }
        }
        Ok(())
    }
}

impl Lab {
    /// A stream that was bound by Bind 2, with the `<bound/>`.
    pub async fn bound(&self, user: &str, inner: &str, wanted: &str) -> Outcome<(Client, Element)> {
        let mut client = self.connect().await?;
        let inner = format!("{inner}{}", bind(wanted));
        let success = client.sasl2("SCRAM-SHA-1", user, &inner).await?;
        match success.child(BIND2, "bound") {
            Some(bound) => Ok((client, bound.clone())),
            None => client.fail(format!("not bound: {success}")),
        }
    }
}
