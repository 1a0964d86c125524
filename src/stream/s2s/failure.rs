//! Why a stream to another server did not come about, for people and for the senders of what waits.

use std::fmt;

use crate::stanza::{Condition, StanzaError};
use crate::stream::error::{StreamError, StreamFailure};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::view::Node;

/// Why a stream that we opened is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server does not offer TLS, or refused it.
    NoTls,
    /// Its certificate is not valid for its domain: why.
    Certificate(String),
    /// It offers no way to authenticate that we have.
    NoWay,
    /// It refused EXTERNAL with this condition, and offers nothing else.
    External(String),
    /// It says that our key is not (XEP-0220 §2.1.1).
    Invalid,
    /// It could not verify our key, or does not want us (XEP-0220 §2.5).
    Dialback(StanzaError),
    /// We ended the stream, as the server broke the protocol.
    Broken(StreamFailure),
    /// The server ended it with this error.
    Peer(StreamFailure),
    /// The server sends us to this host (RFC 6120 §4.9.3.19).
    Elsewhere(String),
    /// It closed the stream, or the connection.
    Closed,
}

impl Failure {
    /// What the senders of stanzas that wait for this stream are told.
    pub fn bounce(&self) -> StanzaError {
        match self {
            // XEP-0220 §2.1.1
            Self::Invalid => StanzaError::internal_server_error(),
            // RFC 6120 §8.3.3.16: the domain is not there.
            Self::Peer(failure)
                if matches!(failure.error, StreamError::HostUnknown | StreamError::HostGone) =>
            {
                StanzaError::remote_server_not_found()
            }
            // §8.3.3.17: it is, but TLS, SASL or dialback fails. XEP-0220 §2.5 says so of its errors, too.
            _ => StanzaError::remote_server_timeout(),
        }
        .text(self.to_string())
    }

    /// What the peer is told that waits for the answer of its authoritative server (XEP-0220 §2.5).
    pub fn dialback_error(&self) -> StanzaError {
        let unknown = |failure: &StreamFailure| failure.error == StreamError::HostUnknown;
        match self {
            Self::Peer(failure) if unknown(failure) => StanzaError::remote_server_not_found(),
            Self::Dialback(error) if error.condition == Condition::ItemNotFound => {
                StanzaError::remote_server_not_found()
            }
            _ => StanzaError::remote_server_timeout(),
        }
    }
}

/// Reads a peer's `<stream:error/>` (RFC 6120 §4.9.2).
pub(in crate::stream) fn read_error(element: &Element) -> StreamFailure {
    let view = element.view();
    let named = || view.root().children().filter(|child| child.ns() == ns::STREAMS_ERR);
    let condition = named().find(|child| child.name() != "text");
    let error = condition.map_or(StreamError::UndefinedCondition, |condition| {
        StreamError::parse(condition.name(), condition.text())
    });
    let text = named().find(|child| child.name() == "text").map(Node::text);
    match text.filter(|text| !text.is_empty()) {
        Some(text) => error.text(shown(text, TEXT_CHARS_MAX)),
        None => error.into(),
    }
}

/// What a peer says, as far as it is for people: on one line of the log, and without what terminals obey.
pub(super) fn shown(text: &str, chars_max: usize) -> String {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().take(chars_max).map(|c| if is_plain(c) { c } else { ' ' }).collect()
}

/// Of what a peer says for the log.
const TEXT_CHARS_MAX: usize = 256;

/// For people: the sender of what waited, and the log.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTls => f.write_str("the server offers no encryption"),
            Self::Certificate(why) => write!(f, "the server's certificate is refused: {why}"),
            Self::NoWay => f.write_str("the server offers no way to authenticate"),
            Self::External(condition) => {
                write!(f, "the server refused our certificate ({condition})")
            }
            Self::Invalid => f.write_str("the server says that our dialback key is not ours"),
            Self::Dialback(error) => write!(f, "the server could not verify us ({error})"),
            Self::Broken(failure) => write!(f, "the server broke the protocol ({failure})"),
            Self::Peer(failure) => write!(f, "the server ended the stream ({failure})"),
            Self::Elsewhere(_) => f.write_str("the server is elsewhere"),
            Self::Closed => f.write_str("the server closed the stream"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_stays_on_one_line() {
        assert_eq!(shown("a\nb\u{1b}[2J\u{9b}\u{2028}ü", 99), "a b [2J  ü");
        assert_eq!(shown("abc", 2), "ab");
    }

    /// XEP-0220 §2.1.1, §2.5; RFC 6120 §8.3.3.16, §8.3.3.17
    #[test]
    fn senders_are_told_what_the_specifications_say() {
        let broken = StreamFailure::from(StreamError::BadFormat);
        for (failure, condition, dialback) in [
            (Failure::NoTls, "remote-server-timeout", "remote-server-timeout"),
            (Failure::Certificate("old".into()), "remote-server-timeout", "remote-server-timeout"),
            (Failure::NoWay, "remote-server-timeout", "remote-server-timeout"),
            (Failure::Invalid, "internal-server-error", "remote-server-timeout"),
            (
                Failure::Dialback(StanzaError::item_not_found()),
                "remote-server-timeout",
                "remote-server-not-found",
            ),
            (Failure::Broken(broken), "remote-server-timeout", "remote-server-timeout"),
            (
                Failure::Peer(StreamError::HostUnknown.into()),
                "remote-server-not-found",
                "remote-server-not-found",
            ),
            (
                Failure::Peer(StreamError::SystemShutdown.into()),
                "remote-server-timeout",
                "remote-server-timeout",
            ),
            (Failure::Closed, "remote-server-timeout", "remote-server-timeout"),
        ] {
            assert_eq!(failure.bounce().condition.as_str(), condition, "{failure}");
            assert!(failure.bounce().text.is_some());
            assert_eq!(failure.dialback_error().condition.as_str(), dialback, "{failure}");
        }
    }
}
