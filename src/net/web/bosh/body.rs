//! The `<body/>` around what is sent (XEP-0124 §6): read from requests, written into responses.

use bytes::Bytes;

use crate::xml::element::Element;
use crate::xml::error::XmlError;
use crate::xml::gate::{self, Rules};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The namespace of the wrapper.
pub const HTTPBIND: &str = "http://jabber.org/protocol/httpbind";
/// The namespace of what XMPP adds to it (XEP-0206).
const XBOSH: &str = "urn:xmpp:xbosh";
/// 2^53 - 1 (XEP-0124 §14.1)
const RID_MAX: u64 = 9_007_199_254_740_991;

/// A request.
#[derive(Debug, Default)]
pub struct Request {
    /// Its number.
    pub rid: u64,
    /// The session, unless it asks for one.
    pub sid: Option<String>,
    /// The next key of the sequence (XEP-0124 §15).
    pub key: Option<String>,
    /// The first key of a new sequence.
    pub newkey: Option<String>,
    /// Up to which request the client has the responses; of the first request: that it will say so.
    pub ack: Option<u64>,
    /// How many seconds the client will be away.
    pub pause: Option<u64>,
    /// Whether it ends the session.
    pub terminate: bool,
    /// Whether it restarts the stream (XEP-0206 §5).
    pub restart: bool,
    /// The domain.
    pub to: Option<String>,
    /// The language of the stream.
    pub lang: Option<String>,
    /// The version of XMPP.
    pub version: Option<String>,
    /// The Content-Type that the client can read.
    pub content: Option<String>,
    /// The version of BOSH.
    pub ver: Option<String>,
    /// How many seconds a request may be held.
    pub wait: Option<u64>,
    /// How many requests may be held.
    pub hold: Option<u64>,
    /// What it carries.
    pub payloads: Vec<Bytes>,
}

impl Request {
    /// Whether it only asks for what there is.
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty() && !self.restart && !self.terminate && self.pause.is_none()
    }

    /// The `<open/>` that it stands for, to this domain.
    pub fn open(&self, to: &str) -> Bytes {
        let mut xml = Xml::new();
        xml.start("open").attr("xmlns", "urn:ietf:params:xml:ns:xmpp-framing").attr("to", to);
        // COMPAT(XEP-0206 §3): the version SHOULD be there; who leaves it out speaks 1.0 all the same.
        xml.attr("version", self.version.as_deref().unwrap_or("1.0"));
        xml.attr_opt("xml:lang", self.lang.as_deref()).end();
        xml.finish()
    }
}

/// Reads the body of an HTTP request.
pub fn read(raw: Bytes, rules: &Rules) -> Result<Request, XmlError> {
    // The wrapper is one level around the elements of the stream.
    let rules = Rules { content_ns: "", depth_max: rules.depth_max + 1, ..*rules };
    let body = gate::check(trimmed(raw), &rules)?;
    if body.name() != "body" || body.ns() != HTTPBIND {
        return Err(XmlError::BadFormat("no <body/> of BOSH"));
    }
    let number = |name| match body.attr(name).map(|value| value.trim().parse()) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(XmlError::BadFormat("an attribute that is no number")),
    };
    let text = |name| body.attr(name).map(|value| value.into_owned());
    let rid = number("rid")?.filter(|rid| (1..RID_MAX).contains(rid));
    let xmpp = prefix_of(&body, XBOSH);
    let of_xmpp = |name: &str| {
        let name = format!("{}:{name}", xmpp?);
        body.attributes().find(|attr| attr.name == name).map(|attr| attr.value.to_owned())
    };
    Ok(Request {
        rid: rid.ok_or(XmlError::BadFormat("a request without a rid"))?,
        sid: text("sid"),
        key: text("key"),
        newkey: text("newkey"),
        ack: number("ack")?,
        pause: number("pause")?,
        terminate: body.attr("type").is_some_and(|what| what == "terminate"),
        restart: of_xmpp("restart").is_some_and(|value| value == "true" || value == "1"),
        to: text("to"),
        lang: body.lang().map(|lang| lang.into_owned()),
        version: of_xmpp("version"),
        content: text("content"),
        ver: text("ver"),
        wait: number("wait")?,
        hold: number("hold")?,
        payloads: payloads(&body)?,
    })
}

/// COMPAT: white space around the wrapper, and an XML declaration before it.
fn trimmed(mut raw: Bytes) -> Bytes {
    let spaces = |raw: &[u8]| raw.len() - raw.trim_ascii_start().len();
    raw.truncate(raw.trim_ascii_end().len());
    let mut raw = raw.slice(spaces(&raw)..);
    if raw.starts_with(b"<?xml ")
        && let Some(end) = memchr::memmem::find(&raw, b"?>")
    {
        raw = raw.slice(end + 2..);
        raw = raw.slice(spaces(&raw)..);
    }
    raw
}

/// The prefix that the element itself declares for a namespace.
fn prefix_of<'a>(element: &'a Element, namespace: &str) -> Option<&'a str> {
    let declared = element.attributes().filter(|attr| attr.value == namespace);
    declared.filter_map(|attr| attr.name.strip_prefix("xmlns:")).next()
}

/// The children, each as it can stand alone.
///
/// COMPAT(XEP-0206 §2): one that is in the wrapper's namespace only because it declares none is meant to be in
/// `jabber:client`, which the stream's framing makes of it.
fn payloads(body: &Element) -> Result<Vec<Bytes>, XmlError> {
    let raw = body.raw();
    let mut at = (body.tag_end() + 1).min(body.content_end());
    let mut found = Vec::new();
    for child in body.children() {
        blank(raw.get(at..child.span.start))?;
        at = child.span.end;
        found.push(raw.slice(child.span));
    }
    if !body.is_empty_tag() {
        blank(raw.get(at..body.content_end()))?;
    }
    let declared: Vec<&str> =
        body.attributes().filter_map(|attr| attr.name.strip_prefix("xmlns:")).collect();
    let uses = |child: &Bytes, prefix: &str| {
        memchr::memmem::find(child, format!("{prefix}:").as_bytes()).is_some()
    };
    let plain = |child: &Bytes| !declared.iter().any(|prefix| uses(child, prefix));
    if body.tag_name() == "body" && found.iter().all(plain) {
        return Ok(found);
    }
    let doc = body.view();
    let alone = doc.root().children().map(|child| {
        let alone = child.standalone().ok_or(XmlError::BadFormat("too many namespaces"))?;
        let inherited = format!(" xmlns='{HTTPBIND}'");
        let own = child.raw().contains(&inherited);
        let alone = match child.ns() == HTTPBIND && !own {
            true => alone.replacen(&inherited, &format!(" xmlns='{}'", ns::CLIENT), 1),
            false => alone.into_owned(),
        };
        Ok(Bytes::from(alone))
    });
    alone.collect()
}

/// XEP-0124 §6: the wrapper has no character data of its own.
fn blank(between: Option<&[u8]>) -> Result<(), XmlError> {
    match between.is_some_and(|text| text.trim_ascii().is_empty()) {
        true => Ok(()),
        false => Err(XmlError::BadFormat("text between the elements of a <body/>")),
    }
}

/// Why a session ends (XEP-0124 §17.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// What the client sent cannot be read.
    BadRequest,
    /// No such domain here.
    HostUnknown,
    /// No domain is named.
    ImproperAddressing,
    /// No such session; a number out of the window; a wrong key; a response that is not kept any more.
    ItemNotFound,
    /// Another request ended the session.
    OtherRequest,
    /// The client broke the rules of the session.
    PolicyViolation,
    /// The stream is gone.
    RemoteConnectionFailed,
    /// The stream ended with an error, which is in the body.
    RemoteStreamError,
    /// Sessions are made elsewhere, at an address that is in the body.
    SeeOtherUri,
    /// The server stops.
    SystemShutdown,
}

impl Condition {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::HostUnknown => "host-unknown",
            Self::ImproperAddressing => "improper-addressing",
            Self::ItemNotFound => "item-not-found",
            Self::OtherRequest => "other-request",
            Self::PolicyViolation => "policy-violation",
            Self::RemoteConnectionFailed => "remote-connection-failed",
            Self::RemoteStreamError => "remote-stream-error",
            Self::SeeOtherUri => "see-other-uri",
            Self::SystemShutdown => "system-shutdown",
        }
    }

    /// The status for clients that know no conditions (XEP-0124 §17.1).
    pub const fn legacy_status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::PolicyViolation => 403,
            Self::ItemNotFound => 404,
            _ => 200,
        }
    }
}

/// What the response to the request for a session says (XEP-0124 §7.2, XEP-0206 §4).
#[derive(Debug, Clone, Default)]
pub struct Created {
    /// The session.
    pub sid: String,
    /// The domain.
    pub from: String,
    /// In seconds, as the following.
    pub wait: u64,
    /// See XEP-0124 §10.
    pub inactivity: u64,
    /// See XEP-0124 §11.
    pub polling: u64,
    /// See XEP-0124 §10.
    pub maxpause: u64,
    /// How many requests may be unanswered.
    pub requests: usize,
    /// How many are held.
    pub hold: usize,
    /// The version of BOSH, if the client named one.
    pub ver: Option<String>,
    /// The id of the stream.
    pub authid: Option<String>,
}

/// A response.
#[derive(Debug, Default)]
pub struct Response<'a> {
    /// Set on the first one.
    pub created: Option<&'a Created>,
    /// Up to which request all have come.
    pub ack: Option<u64>,
    /// A response that the client does not seem to have, and how many milliseconds ago it was sent.
    pub report: Option<(u64, u128)>,
    /// What is sent.
    pub payloads: &'a [Bytes],
    /// Whether the prefix `stream` is in it.
    pub stream: bool,
    /// Whether it ends the session, and with which condition.
    pub terminate: Option<Option<Condition>>,
}

impl Response<'_> {
    /// Writes it.
    pub fn write(&self) -> Bytes {
        let mut xml = Xml::new();
        xml.start("body").attr("xmlns", HTTPBIND);
        if self.stream {
            xml.attr("xmlns:stream", ns::STREAM);
        }
        if let Some(created) = self.created {
            created.write(&mut xml);
        }
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        xml.attr_opt("ack", number(self.ack).as_deref());
        if let Some((rid, ago)) = self.report {
            xml.attr("report", &rid.to_string()).attr("time", &ago.to_string());
        }
        if let Some(condition) = self.terminate {
            xml.attr("type", "terminate").attr_opt("condition", condition.map(Condition::name));
        }
        self.payloads.iter().for_each(|payload| _ = xml.raw(payload));
        xml.end();
        xml.finish()
    }
}

impl Created {
    fn write(&self, xml: &mut Xml) {
        xml.attr("xmlns:xmpp", XBOSH).attr("xmpp:version", "1.0").attr("xmpp:restartlogic", "true");
        xml.attr("sid", &self.sid).attr("from", &self.from);
        for (name, number) in [
            ("wait", self.wait),
            ("inactivity", self.inactivity),
            ("polling", self.polling),
            ("maxpause", self.maxpause),
            ("requests", self.requests as u64),
            ("hold", self.hold as u64),
        ] {
            xml.attr(name, &number.to_string());
        }
        xml.attr_opt("ver", self.ver.as_deref()).attr_opt("authid", self.authid.as_deref());
    }
}

/// The response that ends a session that there is not.
pub fn terminated(condition: Option<Condition>) -> Bytes {
    Response { terminate: Some(condition), ..Response::default() }.write()
}

/// XEP-0124 §17.2: the response that sends a client elsewhere.
pub fn moved(there: &str) -> Bytes {
    let mut uri = Xml::new();
    uri.element("uri", None, there);
    let payloads = [uri.finish()];
    let terminate = Some(Some(Condition::SeeOtherUri));
    Response { terminate, payloads: &payloads, ..Response::default() }.write()
}

/// XEP-0124 §17.3: the client is to send its requests again.
pub fn error() -> Bytes {
    let mut xml = Xml::new();
    xml.start("body").attr("xmlns", HTTPBIND).attr("type", "error").end();
    xml.finish()
}

/// The sid that the beginning of a request seems to name, before it is whole.
pub fn sid_at_a_glance(begin: &[u8]) -> Option<&str> {
    let at = memchr::memmem::find(begin, b"sid=")? + 4;
    let quote = *begin.get(at)?;
    let rest = begin.get(at + 1..)?;
    let end = memchr::memchr(quote, rest)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { content_ns: "", depth_max: 8, attributes_max: 20, children_max: 20 };

    fn request(text: &str) -> Result<Request, XmlError> {
        read(Bytes::copy_from_slice(text.as_bytes()), &RULES)
    }

    /// XEP-0124 §6, XEP-0206 §2
    #[test]
    fn payloads_are_cut_out_with_the_namespaces_in_scope() {
        let head = format!(
            "<body rid='7' sid='s' xmlns='{HTTPBIND}' xmlns:p='urn:p' xmlns:xmpp='{XBOSH}'"
        );
        for (inside, cut) in [
            ("<iq/>", &["<iq/>"][..]),
            (
                " <iq xmlns='jabber:client'><a/></iq>\n<b xmlns='urn:b'/> ",
                &["<iq xmlns='jabber:client'><a/></iq>", "<b xmlns='urn:b'/>"],
            ),
            (
                "<iq><p:q/></iq><r xmlns='urn:r' p:a=''/>",
                &[
                    "<iq xmlns='jabber:client' xmlns:p='urn:p'><p:q/></iq>",
                    "<r xmlns:p='urn:p' xmlns='urn:r' p:a=''/>",
                ],
            ),
            ("<p:q/>", &["<p:q xmlns='http://jabber.org/protocol/httpbind' xmlns:p='urn:p'/>"]),
        ] {
            let read = request(&format!("{head}>{inside}</body>")).unwrap();
            assert_eq!(read.payloads, cut, "{inside}");
        }
        let restart = request(&format!("{head} xmpp:restart='1'/>")).unwrap();
        assert!(restart.restart && !restart.is_empty() && restart.rid == 7);
        let declared = format!("<?xml version='1.0'?>\n{head}/>\n");
        assert!(request(&declared).unwrap().is_empty());
    }

    /// XEP-0124 §6, §14.1
    #[test]
    fn what_is_no_body_is_refused() {
        for text in [
            "",
            "<body rid='1'>",
            "<bodies rid='1' xmlns='http://jabber.org/protocol/httpbind'/>",
            "<body/>",
            "<body rid='0'/>",
            "<body rid='-1'/>",
            "<body rid='9007199254740992'/>",
            "<body rid='1' wait='a'/>",
            "<body rid='1'>text</body>",
            "<body rid='1'><a/>text</body>",
            "<body rid='1'><!-- --></body>",
            "<body rid='1'><?pi?></body>",
            "<body rid='1'/><body rid='2'/>",
            "<!DOCTYPE body><body rid='1'/>",
        ] {
            assert!(request(text).is_err(), "{text}");
            let text = text.replace("<body", &format!("<body xmlns='{HTTPBIND}'"));
            assert!(request(&text).is_err(), "{text}");
        }
    }

    /// XEP-0124 §6
    #[test]
    fn the_wrapper_is_in_its_namespace() {
        for namespace in ["", " xmlns=''", " xmlns='urn:x'", " xmlns='jabber:client'"] {
            assert!(request(&format!("<body rid='1'{namespace}/>")).is_err(), "{namespace}");
        }
        let prefixed = format!("<b:body rid='1' xmlns:b='{HTTPBIND}'><iq/></b:body>");
        assert_eq!(request(&prefixed).unwrap().payloads, ["<iq xmlns='jabber:client'/>"]);
    }

    #[test]
    fn responses_are_documents() {
        let payloads = [Bytes::from_static(b"<stream:features/>")];
        let created = Created { sid: "s'<".to_owned(), wait: 60, ..Created::default() };
        let response = Response {
            created: Some(&created),
            payloads: &payloads,
            stream: true,
            terminate: Some(Some(Condition::RemoteStreamError)),
            ..Response::default()
        };
        let text = String::from_utf8(response.write().to_vec()).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let body = document.root_element();
        assert!(body.has_tag_name((HTTPBIND, "body")));
        assert_eq!(body.attribute("sid"), Some("s'<"));
        assert_eq!(body.attribute("condition"), Some("remote-stream-error"));
        assert_eq!(body.attribute((XBOSH, "restartlogic")), Some("true"));
        assert!(body.first_child().unwrap().has_tag_name((ns::STREAM, "features")));
        assert_eq!(terminated(None), format!("<body xmlns='{HTTPBIND}' type='terminate'/>"));
    }

    #[test]
    fn a_sid_is_seen_before_the_request_is_whole() {
        let glance = |text: &str| sid_at_a_glance(text.as_bytes()).map(str::to_owned);
        assert_eq!(glance("<body rid='1' sid='abc' xm"), Some("abc".to_owned()));
        assert_eq!(glance("<body rid='1' sid='abc"), None);
        assert_eq!(glance("<body rid='1' xmlns='x'>"), None);
    }
}
