//! The elements of XEP-0198, read and written. They are not stanzas, and neither side counts them.

use std::borrow::Cow;

use bytes::Bytes;

use super::TooHigh;
use crate::stanza::Condition;
use crate::stream::error::{StreamError, StreamFailure};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// A command that a peer sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `<enable/>`
    Enable {
        /// Whether the peer wants to be allowed to resume.
        resume: bool,
        /// The peer's preferred time for that, in seconds.
        max: Option<u32>,
    },
    /// `<resume/>`
    Resume {
        /// The SM-ID of the former stream.
        previd: String,
        /// The peer's count of handled stanzas on it.
        h: u32,
    },
    /// `<r/>`
    Request,
    /// `<a/>`
    Ack {
        /// The peer's count of handled stanzas.
        h: u32,
    },
}

/// An element of the namespace that is unknown or malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCommand;

impl Command {
    /// Reads an element of the namespace.
    pub fn read(element: &Element) -> Result<Self, BadCommand> {
        Self::of(element.name(), |name| element.attr(name))
    }

    /// Reads a command that is a child of another element (XEP-0198 §9).
    pub fn of<'a>(
        name: &str,
        attr: impl Fn(&'static str) -> Option<Cow<'a, str>>,
    ) -> Result<Self, BadCommand> {
        match name {
            "enable" => Ok(Self::Enable {
                resume: boolean(attr("resume"))?,
                max: attr("max").map(positive).transpose()?,
            }),
            "resume" => Ok(Self::Resume {
                previd: attr("previd").ok_or(BadCommand)?.into_owned(),
                h: count(attr("h"))?,
            }),
            "r" => Ok(Self::Request),
            "a" => Ok(Self::Ack { h: count(attr("h"))? }),
            _ => Err(BadCommand),
        }
    }
}

/// xs:boolean: XEP-0198 §3 requires support for all four of its spellings.
fn boolean(value: Option<Cow<'_, str>>) -> Result<bool, BadCommand> {
    match value.as_deref().map(str::trim) {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(BadCommand),
    }
}

/// xs:positiveInteger; a value above our range is reduced to its maximum.
fn positive(value: Cow<'_, str>) -> Result<u32, BadCommand> {
    let digits = value.trim().trim_start_matches('+');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(0) => Err(BadCommand),
        Ok(number) => Ok(number),
        Err(_) if is_number => Ok(u32::MAX),
        Err(_) => Err(BadCommand),
    }
}

/// xs:unsignedInt
fn count(value: Option<Cow<'_, str>>) -> Result<u32, BadCommand> {
    value.and_then(|value| value.trim().parse().ok()).ok_or(BadCommand)
}

/// The meaning of an element of the namespace on a stream that is bound, or needs no binding.
#[derive(Debug)]
pub enum Received {
    /// Stream management begins, and is answered with [`enabled`].
    Enable {
        /// The peer wants to be allowed to resume.
        resume: bool,
        /// Its preferred time for that, in seconds.
        max: Option<u32>,
    },
    /// The peer asks for our count.
    Request,
    /// The peer's count.
    Ack(u32),
    /// Only this answer is to be sent.
    Refused(Bytes),
    /// The stream ends.
    Failed(StreamFailure),
}

impl Received {
    /// Decides it for a stream on which stream management is `enabled` or not.
    pub fn on(element: &Element, enabled: bool) -> Self {
        match (Command::read(element), enabled) {
            (Ok(Command::Enable { resume, max }), false) => Self::Enable { resume, max },
            (Ok(Command::Request), true) => Self::Request,
            (Ok(Command::Ack { h }), true) => Self::Ack(h),
            // XEP-0198 §4: an <a/> must have its count.
            (Err(BadCommand), true) if element.name() == "a" => {
                let why = "an acknowledgement without a count";
                Self::Failed(StreamError::BadFormat.text(why))
            }
            (Err(BadCommand), _) => Self::Refused(failed(Condition::BadRequest, None)),
            // XEP-0198 §3 and §5: enabled twice, resumed when bound, asked before it is enabled. A
            // stream error is allowed, but clients enable twice by mistake (xmpp.js).
            (Ok(_), _) => Self::Refused(failed(Condition::UnexpectedRequest, None)),
        }
    }
}

/// `<enabled/>`: with an id if the stream can be resumed, for `max` seconds, at `location`.
pub fn enabled(resumable: Option<(&str, u64)>, location: Option<&str>) -> Bytes {
    let mut xml = start("enabled");
    if let Some((id, max)) = resumable {
        xml.attr("id", id).attr("resume", "true").attr("max", &max.to_string());
        xml.attr_opt("location", location);
    }
    xml.end();
    xml.finish()
}

/// `<enable/>`
pub fn enable(resume: bool) -> Bytes {
    let mut xml = start("enable");
    xml.attr_opt("resume", resume.then_some("true")).end();
    xml.finish()
}

/// `<resume/>`
pub fn resume(previd: &str, h: u32) -> Bytes {
    let mut xml = start("resume");
    xml.attr("previd", previd).attr("h", &h.to_string()).end();
    xml.finish()
}

/// `<resumed/>`
pub fn resumed(previd: &str, h: u32) -> Bytes {
    let mut xml = start("resumed");
    xml.attr("previd", previd).attr("h", &h.to_string()).end();
    xml.finish()
}

/// `<failed/>` with its condition as a direct child (XEP-0198 §6), and the former stream's count if known.
pub fn failed(condition: Condition, h: Option<u32>) -> Bytes {
    let mut xml = start("failed");
    xml.attr_opt("h", h.map(|h| h.to_string()).as_deref());
    xml.start(condition.as_str()).attr("xmlns", ns::STANZAS_ERR).end().end();
    xml.finish()
}

/// `<a/>`
pub fn ack(h: u32) -> Bytes {
    let mut xml = start("a");
    xml.attr("h", &h.to_string()).end();
    xml.finish()
}

/// `<r/>`
pub fn request() -> Bytes {
    Bytes::from_static(b"<r xmlns='urn:xmpp:sm:3'/>")
}

/// XEP-0198 §6: a peer that acknowledges more than it was sent loses its stream.
pub fn too_high(too_high: TooHigh) -> StreamFailure {
    let TooHigh { h, sent } = too_high;
    StreamError::UndefinedCondition
        .text(format!("{h} stanzas acknowledged, {sent} sent"))
        .application(format!(
            "<handled-count-too-high xmlns='{}' h='{h}' send-count='{sent}'/>",
            ns::SM
        ))
}

fn start(name: &str) -> Xml {
    let mut xml = Xml::new();
    xml.start(name).attr("xmlns", ns::SM);
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::gate::{self, Rules};

    fn element(name: &str, attributes: &str) -> Element {
        let xml = format!("<{name} xmlns='{}' {attributes}/>", ns::SM);
        let rules =
            Rules { content_ns: ns::CLIENT, depth_max: 9, attributes_max: 9, children_max: 9 };
        gate::check(xml.into(), &rules).unwrap()
    }

    fn check(name: &str, attributes: &str, expected: Result<Command, BadCommand>) {
        assert_eq!(Command::read(&element(name, attributes)), expected, "{name} {attributes}");
    }

    #[test]
    fn what_an_element_means_depends_on_whether_the_stream_counts() {
        let heard =
            |name, attributes, enabled| match Received::on(&element(name, attributes), enabled) {
                Received::Enable { resume, max } => format!("enable {resume} {max:?}"),
                Received::Request => "request".to_owned(),
                Received::Ack(h) => format!("ack {h}"),
                Received::Refused(said) => match String::from_utf8(said.to_vec()).unwrap() {
                    said if said.contains("<unexpected-request ") => "unexpected".to_owned(),
                    said if said.contains("<bad-request ") => "bad".to_owned(),
                    said => said,
                },
                Received::Failed(failure) => failure.to_string(),
            };
        let cases = [
            ("enable", "resume='1'", "enable true None", "unexpected"),
            ("enable", "max='0'", "bad", "bad"),
            ("resume", "previd='x' h='1'", "unexpected", "unexpected"),
            ("r", "", "unexpected", "request"),
            ("a", "h='7'", "unexpected", "ack 7"),
            ("a", "", "bad", "bad-format: an acknowledgement without a count"),
            ("b", "", "bad", "bad"),
        ];
        for (name, attributes, before, after) in cases {
            assert_eq!(heard(name, attributes, false), before, "<{name}> before");
            assert_eq!(heard(name, attributes, true), after, "<{name}> after");
        }
    }

    #[test]
    fn commands_are_read_in_every_spelling() {
        let enable = |resume, max| Ok(Command::Enable { resume, max });
        check("enable", "", enable(false, None));
        for (spelling, value) in
            [("true", true), ("1", true), (" true ", true), ("false", false), ("0", false)]
        {
            check("enable", &format!("resume='{spelling}'"), enable(value, None));
        }
        check("enable", "resume='true' max='60'", enable(true, Some(60)));
        check("enable", "max='99999999999999999999'", enable(false, Some(u32::MAX)));
        for bad in ["resume='yes'", "resume=''", "max='0'", "max='-1'", "max=''", "max='1.5'"] {
            check("enable", bad, Err(BadCommand));
        }
        let resume = |h| Ok(Command::Resume { previd: "x".into(), h });
        check("resume", "previd='x' h='0'", resume(0));
        check("resume", "previd='x' h='4294967295'", resume(u32::MAX));
        for bad in ["previd='x'", "h='1'", "previd='x' h='-1'", "previd='x' h='4294967296'"] {
            check("resume", bad, Err(BadCommand));
        }
        check("r", "", Ok(Command::Request));
        check("a", "h='7'", Ok(Command::Ack { h: 7 }));
        for (name, bad) in [("a", ""), ("a", "h='x'"), ("b", ""), ("enabled", "")] {
            check(name, bad, Err(BadCommand));
        }
    }

    #[test]
    fn what_we_say_is_as_the_schema_wants() {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let plain = text(enabled(None, Some("x")));
        assert!(!plain.contains("id=") && !plain.contains("location="), "{plain}");
        let long = text(enabled(Some(("a&b", 60)), Some("[::1]:5222")));
        for part in ["id='a&amp;b'", "resume='true'", "max='60'", "location='[::1]:5222'"] {
            assert!(long.contains(part), "{long}");
        }
        let failed = text(failed(Condition::ItemNotFound, Some(3)));
        assert!(failed.contains("h='3'") && failed.contains("<item-not-found xmlns="), "{failed}");
        let too_high = too_high(TooHigh { h: 10, sent: 8 }).children();
        assert!(
            too_high.contains("<undefined-condition") && too_high.contains("h='10' send-count='8'"),
            "{too_high}"
        );
    }
}
