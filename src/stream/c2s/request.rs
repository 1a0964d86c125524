//! The content of an `<authenticate/>` (XEP-0388 §2.3).

use crate::base::credential::AgentId;
use crate::base::hash::unbase64;
use crate::base::limits::{SASL_BYTES_MAX, USER_AGENT_BYTES_MAX};
use crate::stream::sasl::SaslFailure;
use crate::stream::sasl::ht::HtMechanism;
use crate::stream::sasl::upgrade::Task;
use crate::stream::sm::{BadCommand, Command};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::view::Node;

/// The program and the device that the client says it is. Shown only to the account's owner and the operator
/// (XEP-0388 §2.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserAgent {
    /// An id that is the same for all logins of one installation.
    pub id: Option<AgentId>,
    /// The program.
    pub software: Option<String>,
    /// The device that it runs on.
    pub device: Option<String>,
}

/// XEP-0386 §3.2
pub struct BindRequest {
    /// The first part of the resource.
    pub tag: Option<String>,
    /// The `<authenticate/>` that contains `<bind/>`, with its requests to modules.
    pub request: Element,
}

/// XEP-0484 §3.4
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fast {
    /// The number of times that the client has used the token.
    pub count: Option<u64>,
    /// Whether the token is to be invalidated.
    pub invalidate: bool,
}

/// The whole request. No `Debug`: the initial response may hold a password.
pub(super) struct Request {
    pub(super) mechanism: String,
    /// The initial response, decoded.
    pub(super) initial: Option<Vec<u8>>,
    pub(super) agent: Option<Box<UserAgent>>,
    /// XEP-0198 §9.2
    pub(super) resume: Option<Result<(String, u32), BadCommand>>,
    pub(super) bind: Option<BindRequest>,
    pub(super) fast: Option<Fast>,
    /// The mechanism for which a token is requested (XEP-0484 §3.2).
    pub(super) token: Option<HtMechanism>,
    pub(super) upgrades: Vec<Task>,
    /// The version of the features that the client has stored (XEP-0509 §2.2).
    pub(super) version: Option<String>,
}

impl Request {
    pub(super) fn read(element: &Element) -> Result<Self, SaslFailure> {
        let doc = element.view();
        let root = doc.root();
        let upgrades = root.children().filter(|child| child.is(ns::SASL_UPGRADE, "upgrade"));
        Ok(Self {
            mechanism: root.attr("mechanism").unwrap_or_default().to_owned(),
            initial: root
                .child(ns::SASL2, "initial-response")
                .map(|initial| decode(initial.text()))
                .transpose()?,
            agent: root.child(ns::SASL2, "user-agent").map(|node| Box::new(user_agent(node))),
            resume: root.child(ns::SM, "resume").map(resume),
            bind: root.child(ns::BIND2, "bind").map(|bind| BindRequest {
                tag: bind.child_text(ns::BIND2, "tag").map(str::to_owned),
                request: element.clone(),
            }),
            fast: root.child(ns::FAST, "fast").map(fast).transpose()?,
            token: root.child(ns::FAST, "request-token").and_then(|wanted| {
                HtMechanism::parse(wanted.attr("mechanism").unwrap_or_default())
            }),
            upgrades: upgrades.filter_map(|task| Task::parse(task.text().trim())).collect(),
            version: root
                .child(ns::IAP, "config-version")
                .map(|known| known.attr("value").unwrap_or_default().to_owned()),
        })
    }
}

/// XEP-0388 §2.2: base64; an empty text is an empty payload. The XEP's own examples have white space around
/// it.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, SaslFailure> {
    let text = text.trim_ascii();
    if text.len() > SASL_BYTES_MAX.div_ceil(3) * 4 {
        return Err(SaslFailure::MalformedRequest);
    }
    unbase64(text).ok_or(SaslFailure::IncorrectEncoding)
}

fn user_agent(node: Node<'_>) -> UserAgent {
    // XEP-0388 §2.3: it MUST be a UUID v4. Any other id is ignored.
    let id = node.attr("id").filter(|id| is_uuid_v4(id)).map(AgentId::of);
    let text = |name| node.child_text(ns::SASL2, name).map(short).filter(|text| !text.is_empty());
    UserAgent { id, software: text("software"), device: text("device") }
}

/// RFC 4122 §3 and §4.4
fn is_uuid_v4(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            14 => byte == b'4',
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b' | b'A' | b'B'),
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Makes a text fit to be shown: one line of bounded length.
fn short(text: &str) -> String {
    let end = text.floor_char_boundary(USER_AGENT_BYTES_MAX);
    let line = text.get(..end).unwrap_or_default();
    line.replace(char::is_control, " ").trim().to_owned()
}

fn resume(node: Node<'_>) -> Result<(String, u32), BadCommand> {
    match Command::of(node.name(), |name| node.attr(name).map(Into::into))? {
        Command::Resume { previd, h } => Ok((previd, h)),
        _ => Err(BadCommand),
    }
}

fn fast(node: Node<'_>) -> Result<Fast, SaslFailure> {
    let count = node.attr("count").map(|count| count.trim().parse().ok());
    let count = match count {
        Some(None) => return Err(SaslFailure::MalformedRequest),
        Some(count) => count,
        None => None,
    };
    let invalidate = matches!(node.attr("invalidate").map(str::trim), Some("true" | "1"));
    Ok(Fast { count, invalidate })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::gate::{self, Rules};

    fn read(inner: &str) -> Result<Request, SaslFailure> {
        let rules =
            Rules { content_ns: ns::CLIENT, depth_max: 9, attributes_max: 9, children_max: 99 };
        let text =
            format!("<authenticate xmlns='{}' mechanism='M'>{inner}</authenticate>", ns::SASL2);
        Request::read(&gate::check(text.into(), &rules).unwrap())
    }

    #[test]
    fn initial_responses() {
        use SaslFailure::{IncorrectEncoding, MalformedRequest};
        let longest = "A".repeat(SASL_BYTES_MAX.div_ceil(3) * 4);
        for (text, want) in [
            ("", Ok(0)),
            ("YQ==", Ok(1)),
            ("\n  YQ==\n ", Ok(1)),
            (&longest, Ok(4_098)),
            // XEP-0388 §5.1: no longer a special case.
            ("=", Err(IncorrectEncoding)),
            ("YQ", Err(IncorrectEncoding)),
            ("Y Q==", Err(IncorrectEncoding)),
            (&format!("{longest}AAAA"), Err(MalformedRequest)),
        ] {
            let got = read(&format!("<initial-response>{text}</initial-response>"));
            assert_eq!(got.map(|got| got.initial.unwrap().len()), want, "{text}");
        }
        assert!(read("").ok().unwrap().initial.is_none());
    }

    #[test]
    fn user_agents() {
        let id = "d4565fa7-4d72-4749-b3d3-740edbf87770";
        for (id, good) in [
            (id, true),
            (&id.to_uppercase(), true),
            ("d4565fa7-4d72-1749-b3d3-740edbf87770", false),
            ("d4565fa7-4d72-4749-c3d3-740edbf87770", false),
            ("d4565fa74d724749b3d3740edbf87770", false),
            ("d4565fa7-4d72-4749-b3d3-740edbf8777g", false),
            ("\u{e9}4565fa7-4d72-4749-b3d3-740edbf8777", false),
            ("", false),
        ] {
            let got = read(&format!("<user-agent id='{id}'/>")).ok().unwrap();
            let want = good.then(|| AgentId::of(&id.to_lowercase()));
            assert_eq!(got.agent.unwrap().id, want, "{id}");
        }
        let long = "\u{e9}".repeat(300);
        let agent =
            format!("<user-agent><software> a\nb </software><device>{long}</device></user-agent>");
        let agent = read(&agent).ok().unwrap().agent.unwrap();
        assert_eq!((agent.id, agent.software.as_deref()), (None, Some("a b")));
        assert_eq!(agent.device.unwrap().len(), USER_AGENT_BYTES_MAX);
    }

    #[test]
    fn what_else_is_asked() {
        let sm = ns::SM;
        let got = read(&format!(
            "<resume xmlns='{sm}' previd='p' h='7'/><bind xmlns='{}'><tag>T</tag></bind>\
             <fast xmlns='{fast}' count='3' invalidate='1'/>\
             <request-token xmlns='{fast}' mechanism='HT-SHA-256-NONE'/>\
             <upgrade xmlns='{up}'>UPGR-SCRAM-SHA-256</upgrade><upgrade xmlns='{up}'>X</upgrade>\
             <config-version xmlns='{}' value='v'/>",
            ns::BIND2,
            ns::IAP,
            fast = ns::FAST,
            up = ns::SASL_UPGRADE,
        ));
        let got = got.ok().unwrap();
        assert_eq!(got.resume, Some(Ok(("p".to_owned(), 7))));
        assert_eq!(got.bind.unwrap().tag.as_deref(), Some("T"));
        assert_eq!(got.fast, Some(Fast { count: Some(3), invalidate: true }));
        assert_eq!(got.token, Some(HtMechanism::Sha256None));
        assert_eq!(got.upgrades, [Task::ScramSha256]);
        assert_eq!(got.version.as_deref(), Some("v"));
        let bad = read(&format!("<resume xmlns='{sm}' previd='p'/>")).ok().unwrap();
        assert_eq!(bad.resume, Some(Err(BadCommand)));
        for count in ["-1", "x", ""] {
            let got = read(&format!("<fast xmlns='{}' count='{count}'/>", ns::FAST));
            assert_eq!(got.err(), Some(SaslFailure::MalformedRequest), "{count}");
        }
        // Elements in another namespace are ignored.
        let other = read("<bind/><resume h='1' previd='p'/><fast/>").ok().unwrap();
        assert!(other.bind.is_none() && other.resume.is_none() && other.fast.is_none());
    }
}
