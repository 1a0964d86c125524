//! XEP-0494: Client Access Management: what has access to an account, for clients that show it.

use super::super::api::{Cx, Reply};
use super::owned::{known, online};
use crate::base::time::{from_micros, micros, stamp};
use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;
use crate::stanza::iq::Iq;
use crate::store::devices::{self, Device};
use crate::xml::writer::Xml;

pub(super) const NS: &str = "urn:xmpp:cam:0";

/// §3.1. A device is there as long as its password is the account's. Sessions whose clients do not say what
/// they run on stand for themselves.
pub(super) async fn list(cx: Cx) -> Result<Reply, StanzaError> {
    let devices = known(&cx).await?;
    let online = online(&cx);
    let mut xml = Xml::new();
    xml.start("clients").attr("xmlns", NS);
    for device in &devices {
        let connected = online.iter().any(|one| one.agent.as_ref() == Some(&device.agent));
        if device.knows_password || connected {
            client(&mut xml, device, connected, micros(cx.now));
        }
    }
    for session in online.iter().filter(|one| one.agent.is_none()) {
        open(&mut xml, &unnamed(session.session), true);
        xml.element("last-seen", None, &stamp(cx.now));
        auth(&mut xml, false);
        xml.end();
    }
    xml.end();
    Ok(Reply::payload(xml.finish()))
}

fn client(xml: &mut Xml, device: &Device, connected: bool, now: i64) {
    open(xml, &device.agent.name(), connected);
    xml.element("first-seen", None, &stamp(from_micros(device.first_seen)));
    let seen = if connected { now } else { device.last_seen };
    xml.element("last-seen", None, &stamp(from_micros(seen)));
    auth(xml, device.token_until.is_some_and(|until| until > now));
    if !device.software.is_empty() || !device.name.is_empty() {
        xml.start("user-agent");
        for (name, text) in [("software", &device.software), ("device", &device.name)] {
            if !text.is_empty() {
                xml.element(name, None, text);
            }
        }
        xml.end();
    }
    xml.end();
}

/// All that is known of here has had a session.
fn open(xml: &mut Xml, id: &str, connected: bool) {
    let connected = if connected { "true" } else { "false" };
    xml.start("client").attr("connected", connected).attr("id", id).attr("type", "session");
}

/// Tokens are given to whoever has logged in by password, and whoever can do that can do all.
fn auth(xml: &mut Xml, by_token: bool) {
    xml.start("auth").start("password").end();
    if by_token {
        xml.start("fast").end();
    }
    xml.end().start("permission").attr("status", "unrestricted").end();
}

/// The id of a session whose client has none.
fn unnamed(session: u64) -> String {
    format!("session-{session}")
}

/// §3.2: access by password can only be ended by another password. What has none any more is forgotten.
pub(super) async fn revoke(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let account = cx.account()?;
    let id = {
        let doc = iq.stanza().element().view();
        let id = doc.root().first_child().and_then(|revoke| revoke.attr("id"));
        id.filter(|id| !id.is_empty()).ok_or_else(StanzaError::bad_request)?.to_owned()
    };
    let online = online(&cx);
    if online.iter().any(|one| one.agent.is_none() && unnamed(one.session) == id) {
        return Err(needs_password());
    }
    let devices = known(&cx).await?;
    let found = devices.into_iter().find(|device| device.agent.name() == id);
    let agent = found.ok_or_else(StanzaError::item_not_found)?.agent;
    if online.iter().any(|one| one.agent == Some(agent)) {
        return Err(needs_password());
    }
    // Looked at once more where it is written: it may be logging in.
    let write = cx.store.write(move |tx| match devices::find(tx, account, &agent)? {
        Some(device) if device.knows_password => Ok(false),
        _ => devices::revoke(tx, account, &agent).map(|_| true),
    });
    match write.await? {
        true => Ok(Reply::empty()),
        false => Err(needs_password()),
    }
}

fn needs_password() -> StanzaError {
    StanzaError::service_unavailable()
        .kind(ErrorType::Cancel)
        .application(NS, "password-reset-required")
        .text("whoever knows the password can log in again: change it")
}
