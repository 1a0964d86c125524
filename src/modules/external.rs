//! XEP-0215: External Service Discovery. Which STUN and TURN servers calls go through, and credentials for them that
//! are good for a while: those of coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00 §2.2).

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::api::{Cx, IqRoute, Module, On, Reply, Spec, Target};
use crate::admin::Secret;
use crate::base::hash::{base64, hex, hmac_sha1};
use crate::base::time::stamp;
use crate::jid::prep::domainpart;
use crate::stanza::StanzaError;
use crate::stanza::iq::{Iq, IqType};
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "external",
    shown: Some(|config| !config.external.services.is_empty()),
    specs: &[Spec::whole("XEP-0215", "1.0.0", "transcripts/0215-services.scs")],
    features: &[On::Server(NS)],
    iqs: &[
        IqRoute {
            ty: IqType::Get,
            ns: NS,
            name: "services",
            targets: &[Target::Server],
            handler: |cx, iq| Box::pin(std::future::ready(services(&cx, &iq))),
        },
        IqRoute {
            ty: IqType::Get,
            ns: NS,
            name: "credentials",
            targets: &[Target::Server],
            handler: |cx, iq| Box::pin(std::future::ready(credentials(&cx, &iq))),
        },
    ],
    ..Module::EMPTY
};

const NS: &str = "urn:xmpp:extdisco:2";

/// `[modules.external]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What clients are told of, in this order.
    pub services: Vec<Service>,
    /// What TURN servers share with this one, where a service says nothing else. Empty: nothing.
    pub secret: Secret,
    /// Seconds for which credentials are good that are made of a secret.
    pub credentials_secs: u32,
    /// Whether anonymous users are told, too.
    pub anonymous: bool,
}

impl Default for Config {
    fn default() -> Self {
        let secret = Secret(String::new());
        Self { services: Vec::new(), secret, credentials_secs: 86_400, anonymous: false }
    }
}

/// A service outside of XMPP (§2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// `stun`, `turn`, `stuns`, `turns`, or another word.
    #[serde(rename = "type")]
    pub ty: String,
    /// A domain or an IP address.
    pub host: String,
    /// 0: the usual one of its type.
    #[serde(default)]
    pub port: u16,
    /// `udp` or `tcp`; empty: the usual one of its type.
    #[serde(default)]
    pub transport: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Whether it wants credentials, where there are none here; where there are, it does.
    #[serde(default)]
    pub restricted: bool,
    /// What it shares with this server: each user gets credentials for a while. Empty: nothing.
    #[serde(default = "nothing")]
    pub secret: Secret,
    /// Credentials that are the same for all.
    #[serde(default)]
    pub username: String,
    /// The password that goes with it.
    #[serde(default = "nothing")]
    pub password: Secret,
}

fn nothing() -> Secret {
    Secret(String::new())
}

impl Config {
    /// What is wrong with services, by their numbers, and what to do.
    pub fn faults(&self) -> Vec<(usize, (&'static str, &'static str))> {
        let all = self.services.iter().enumerate();
        all.filter_map(|(number, service)| Some((number, service.fault()?))).collect()
    }

    /// What a service and this server share; `None`: nothing.
    fn secret_of<'a>(&'a self, service: &'a Service) -> Option<&'a str> {
        let own = service.secret.0.as_str();
        // The common one is for what knows the scheme, and has no credentials of another kind.
        let is_turn = matches!(service.ty.as_str(), "turn" | "turns");
        let common = if is_turn && service.username.is_empty() { &self.secret.0 } else { "" };
        [own, common].into_iter().find(|secret| !secret.is_empty())
    }

    /// What somebody gets in with, if something is to be had.
    fn key(&self, service: &Service, bare: &str, now: SystemTime) -> Option<Key> {
        if let Some(secret) = self.secret_of(service) {
            return Some(Key::made(secret, bare, now, self.credentials_secs));
        }
        let (username, password) = (service.username.clone(), service.password.0.clone());
        (!username.is_empty()).then_some(Key { username, password, expires: None })
    }
}

impl Service {
    /// What is wrong with it, and what to do.
    fn fault(&self) -> Option<(&'static str, &'static str)> {
        let is_word = |text: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
            !text.is_empty() && text.len() <= 64 && text.bytes().all(plain)
        };
        if !is_word(&self.ty) {
            return Some(("has no type in lower-case letters", "write type = \"turn\", say"));
        }
        if self.host.parse::<IpAddr>().is_err()
            && (self.host.is_empty() || domainpart(&self.host).is_err())
        {
            let fix = "write host = \"turn.example.org\", or an address as \"192.0.2.1\"";
            return Some(("has neither a domain nor an IP address as its host", fix));
        }
        if !["", "udp", "tcp"].contains(&&*self.transport) {
            let fix = "write transport = \"udp\" or \"tcp\"; TLS is what \"turns\" and \"stuns\" are for";
            return Some(("has a transport that is none", fix));
        }
        if self.username.is_empty() != self.password.0.is_empty() {
            return Some(("has only one of username and password", "set both, or remove it"));
        }
        if !self.secret.0.is_empty() && !self.username.is_empty() {
            let fix = "keep the secret for credentials that expire, or the other two";
            return Some(("has both a secret and a username", fix));
        }
        // Each of these stands in an attribute.
        let texts = [&self.name, &self.username, &self.password.0];
        let is_long = texts.iter().any(|text| text.len() > TEXT_BYTES_MAX);
        if is_long || texts.iter().any(|text| text.chars().any(char::is_control)) {
            let fix = "keep name, username and password under 512 bytes, without line breaks";
            return Some(("has a text that no client could read", fix));
        }
        None
    }

    /// Its port, or the usual one (RFC 8489 §14.17, RFC 8656 §19).
    fn port(&self) -> Option<u16> {
        match (self.port, self.ty.as_str()) {
            (0, "stun" | "turn") => Some(3_478),
            (0, "stuns" | "turns") => Some(5_349),
            (0, _) => None,
            (port, _) => Some(port),
        }
    }

    /// Its transport, or the usual one.
    fn transport(&self) -> Option<&str> {
        match (self.transport.as_str(), self.ty.as_str()) {
            ("", "stun" | "turn") => Some("udp"),
            ("", "stuns" | "turns") => Some("tcp"),
            ("", _) => None,
            (transport, _) => Some(transport),
        }
    }

    fn write(&self, xml: &mut Xml, key: Option<&Key>) {
        let port = self.port().map(|port| port.to_string());
        xml.start("service").attr("type", &self.ty).attr("host", &self.host);
        xml.attr_opt("port", port.as_deref()).attr_opt("transport", self.transport());
        xml.attr_opt("name", Some(&*self.name).filter(|name| !name.is_empty()));
        if key.is_some() || self.restricted {
            xml.attr("restricted", "true");
        }
        if let Some(Key { username, password, expires }) = key {
            xml.attr("username", username).attr("password", password);
            xml.attr_opt("expires", expires.map(stamp).as_deref());
        }
        xml.end();
    }
}

/// What somebody gets in with at a service.
struct Key {
    username: String,
    password: String,
    /// None: it is good for ever.
    expires: Option<SystemTime>,
}

impl Key {
    /// As coturn has it: the username begins with the second since 1970 in which it expires; the password is its
    /// HMAC. What follows the colon is what coturn counts an account's use by. It goes readable over the network, so
    /// it is no name; and it is the same for all sessions of an account, so that a quota holds.
    fn made(secret: &str, bare: &str, now: SystemTime, secs: u32) -> Self {
        let mac = |text: &str| hmac_sha1(secret.as_bytes(), text.as_bytes());
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let until = Duration::from_secs(since.as_secs().saturating_add(secs.into()));
        let alias = hex(&mac(&format!("name of {bare}")));
        let username = format!("{}:{}", until.as_secs(), alias.get(..16).unwrap_or(&alias));
        let password = base64(&mac(&username));
        Self { username, password, expires: SystemTime::UNIX_EPOCH.checked_add(until) }
    }
}

/// §2: `forbidden` for whoever may not be told. Relays cost their owner traffic.
fn may_ask(cx: &Cx) -> Result<(), StanzaError> {
    if cx.config.external.services.is_empty() {
        return Err(StanzaError::service_unavailable());
    }
    match cx.account().is_ok() || cx.config.external.anonymous && cx.client().is_some() {
        true => Ok(()),
        false => Err(StanzaError::forbidden().text("this is for accounts of this server")),
    }
}

/// §3.1, §3.2
fn services(cx: &Cx, iq: &Iq) -> Result<Reply, StanzaError> {
    may_ask(cx)?;
    let (config, bare) = (&cx.config.external, cx.jid().bare_str());
    let doc = iq.stanza().element().view();
    let asked = doc.root().first_child().and_then(|services| services.attr("type"));
    let mut xml = Xml::new();
    xml.start("services").attr("xmlns", NS).attr_opt("type", asked);
    for service in config.services.iter().filter(|one| asked.is_none_or(|ty| one.ty == ty)) {
        service.write(&mut xml, config.key(service, bare, cx.now).as_ref());
    }
    xml.end();
    Ok(Reply::payload(xml.finish()))
}

/// §3.3
fn credentials(cx: &Cx, iq: &Iq) -> Result<Reply, StanzaError> {
    may_ask(cx)?;
    let (config, bare) = (&cx.config.external, cx.jid().bare_str());
    let doc = iq.stanza().element().view();
    let wanted = doc.root().first_child().and_then(|credentials| credentials.child(NS, "service"));
    let parts = wanted.and_then(|one| Some((one.attr("host")?, one.attr("type")?, one.attr("port"))));
    let (host, ty, port) = parts.ok_or_else(|| {
        StanzaError::bad_request().text("a service with its 'host' and 'type' is missing")
    })?;
    let port = port.map(str::parse::<u16>).transpose();
    let port = port.map_err(|_| StanzaError::bad_request().text("'port' is no port"))?;
    let fits = |one: &&Service| {
        one.ty == ty
            && one.host.eq_ignore_ascii_case(host)
            && port.is_none_or(|port| one.port() == Some(port))
    };
    let mut xml = Xml::new();
    xml.start("credentials").attr("xmlns", NS);
    let mut is_any = false;
    for service in config.services.iter().filter(fits) {
        if let Some(key) = config.key(service, bare, cx.now) {
            service.write(&mut xml, Some(&key));
            is_any = true;
        }
    }
    xml.end();
    match is_any {
        true => Ok(Reply::payload(xml.finish())),
        false => Err(StanzaError::item_not_found().text("there are no credentials for that here")),
    }
}

/// What clients are sent each time.
const TEXT_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::Config as All;
    use super::super::testing::{Server, ask};
    use super::*;

    const TO: &str = "montague.example";
    const ASK: &str = "<services xmlns='urn:xmpp:extdisco:2'/>";

    fn service(text: &str) -> Service {
        toml::from_str(text).unwrap()
    }

    fn configured() -> All {
        let mut config = All::default();
        config.external.credentials_secs = 3_600;
        config.external.secret = Secret("north".to_owned());
        config.external.services = [
            "type = 'stun'\nhost = 'stun.x'",
            "type = 'turn'\nhost = 'turn.x'\nport = 3000\nname = 'R & B'",
            "type = 'turns'\nhost = 'turn.x'\nsecret = 'south'",
            "type = 'turn'\nhost = '192.0.2.1'\nusername = 'all'\npassword = 'the same'",
            "type = 'ftp'\nhost = 'files.x'\nrestricted = true",
        ]
        .map(service)
        .to_vec();
        config
    }

    /// Made by another implementation of HMAC (Python's), as coturn computes it.
    #[test]
    fn credentials_are_those_that_coturn_knows() {
        let mac = hmac_sha1(b"north", b"1433895918:ninefingers");
        assert_eq!(base64(&mac), "jy8hTxmOO7UtEKXqSkSlvakPVYA=");
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_999);
        let key = Key::made("north", "romeo@montague.example", now, 3_600);
        assert_eq!(key.username, "1003600:3cfea6e31842360c");
        assert_eq!(key.password, "HctQ1NcFida5WvyEj5eXrY/0Vr0=");
        assert_eq!(stamp(key.expires.unwrap()), "1970-01-12T14:46:40Z");
    }

    #[tokio::test]
    async fn services_are_told_with_credentials() {
        let server = Server::new(configured());
        server.account("romeo", &[]).await;
        let cx = server.session("romeo@montague.example/orchard").await;
        let all = ask(&cx, "get", TO, ASK).await;
        for part in [
            "<services xmlns='urn:xmpp:extdisco:2'><service type='stun' host='stun.x' port='3478' transport='udp'/>",
            "<service type='turn' host='turn.x' port='3000' transport='udp' name='R &amp; B' restricted='true' \
             username='1003600:3cfea6e31842360c' password='HctQ1NcFida5WvyEj5eXrY/0Vr0=' \
             expires='1970-01-12T14:46:40Z'/>",
            "<service type='turns' host='turn.x' port='5349' transport='tcp' restricted='true' username='1003600:",
            "<service type='turn' host='192.0.2.1' port='3478' transport='udp' restricted='true' \
             username='all' password='the same'/>",
            "<service type='ftp' host='files.x' restricted='true'/></services>",
        ] {
            assert!(all.contains(part), "{part} not in {all}");
        }
        // §3.2
        let some = ask(&cx, "get", TO, "<services xmlns='urn:xmpp:extdisco:2' type='turn'/>").await;
        assert_eq!(some.matches("<service ").count(), 2, "{some}");
        assert!(some.starts_with("<services xmlns='urn:xmpp:extdisco:2' type='turn'>"), "{some}");
        let none = ask(&cx, "get", TO, "<services xmlns='urn:xmpp:extdisco:2' type='x'/>").await;
        assert_eq!(none, "<services xmlns='urn:xmpp:extdisco:2' type='x'/>");
        let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        assert!(ask(&cx, "get", TO, info).await.contains("urn:xmpp:extdisco:2"));
    }

    /// §3.3
    #[tokio::test]
    async fn credentials_are_for_the_service_that_is_named() {
        let server = Server::new(configured());
        server.account("romeo", &[]).await;
        let cx = server.session("romeo@montague.example/orchard").await;
        let of = async |service: &str| {
            let payload =
                format!("<credentials xmlns='urn:xmpp:extdisco:2'>{service}</credentials>");
            ask(&cx, "get", TO, &payload).await
        };
        for (service, expected) in [
            ("", "bad-request"),
            ("<service host='turn.x'/>", "bad-request"),
            ("<service type='turn'/>", "bad-request"),
            ("<service xmlns='x' host='turn.x' type='turn'/>", "bad-request"),
            ("<service host='turn.x' type='turn' port='x'/>", "bad-request"),
            ("<service host='turn.x' type='turn' port='70000'/>", "bad-request"),
            ("<service host='turn.x' type='turn' port='3001'/>", "item-not-found"),
            ("<service host='turn.y' type='turn'/>", "item-not-found"),
            // It wants none, and of another none are known.
            ("<service host='stun.x' type='stun'/>", "item-not-found"),
            ("<service host='files.x' type='ftp'/>", "item-not-found"),
        ] {
            assert_eq!(of(service).await, expected, "{service}");
        }
        for (service, password) in [
            ("<service host='Turn.X' type='turn' port='3000'/>", "HctQ1NcFida5WvyEj5eXrY/0Vr0="),
            ("<service host='192.0.2.1' type='turn'/>", "the same"),
        ] {
            let told = of(service).await;
            assert!(told.starts_with("<credentials xmlns='urn:xmpp:extdisco:2'><service "), "{told}");
            assert!(told.contains(password) && told.matches("<service ").count() == 1, "{told}");
        }
    }

    #[tokio::test]
    async fn only_accounts_are_told_unless_it_is_configured() {
        let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        let keys = "<credentials xmlns='urn:xmpp:extdisco:2'><service host='turn.x' type='turn'/></credentials>";
        for anonymous in [false, true] {
            let mut config = configured();
            config.external.anonymous = anonymous;
            let server = Server::new(config);
            let cx = server.session("nobody@montague.example/x").await;
            for request in [ASK, keys] {
                let told = ask(&cx, "get", TO, request).await;
                assert_eq!(told == "forbidden", !anonymous, "{told}");
            }
        }
        // With nothing to tell it is as though it were not there.
        let server = Server::new(All::default());
        server.account("romeo", &[]).await;
        let cx = server.session("romeo@montague.example/x").await;
        assert_eq!(ask(&cx, "get", TO, ASK).await, "service-unavailable");
        assert_eq!(ask(&cx, "get", TO, keys).await, "service-unavailable");
        assert!(!ask(&cx, "get", TO, info).await.contains("extdisco"));
    }

    #[test]
    fn what_no_client_could_use_is_a_fault() {
        for (text, is_right) in [
            ("type = 'turn'\nhost = 'turn.example.org'", true),
            ("type = 'turn'\nhost = '2001:db8::1'\ntransport = 'tcp'", true),
            ("type = ''\nhost = 'x'", false),
            ("type = 'a b'\nhost = 'x'", false),
            ("type = 'turn'\nhost = ''", false),
            ("type = 'turn'\nhost = 'a b'", false),
            ("type = 'turn'\nhost = 'x'\ntransport = 'tls'", false),
            ("type = 'turn'\nhost = 'x'\nusername = 'u'", false),
            ("type = 'turn'\nhost = 'x'\npassword = 'p'", false),
            ("type = 'turn'\nhost = 'x'\nusername = 'u'\npassword = 'p'\nsecret = 's'", false),
            ("type = 'turn'\nhost = 'x'\nname = \"a\\u0001\"", false),
        ] {
            assert_eq!(service(text).fault().is_none(), is_right, "{text}");
        }
        assert!(!format!("{:?}", configured()).contains("north"));
        assert!(!format!("{:?}", configured()).contains("the same"));
    }
}
