//! Headers of streams between servers (RFC 6120 §4.7): judges those of peers, and writes ours.

use std::borrow::Cow;

use crate::base::limits::LANG_BYTES_MAX;
use crate::jid::{Jid, prep};
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::framing::Greeting;
use crate::stream::open;
use crate::xml::header::Header;
use crate::xml::ns;

/// What the header of a server that calls us determines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The served domain that it calls, in normal form.
    pub local: String,
    /// Who it says it is, in normal form.
    pub remote: String,
}

/// What the header of a server that we called determines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The stream's id.
    pub id: String,
    /// Whether features follow (RFC 6120 §4.7.5).
    pub has_features: bool,
    /// Whether it declares the namespace of dialback (XEP-0220 §2.4.1).
    pub dialback: bool,
}

/// Judges the header of a server that calls us.
pub fn judge(header: &Header, is_ours: impl Fn(&str) -> bool) -> Result<Called, StreamFailure> {
    shape(header)?;
    if !header.version.as_deref().is_some_and(open::speaks_xmpp_1) {
        // Without 1.0 there is no TLS, and without TLS we talk to nobody (RFC 7590 §3.1).
        return Err(StreamError::UnsupportedVersion.into());
    }
    let Some(to) = header.to.as_deref() else {
        return Err(StreamError::ImproperAddressing.text("the header has no 'to'"));
    };
    // RFC 6120 §4.9.3.6
    let local = domain(to).filter(|to| is_ours(to)).ok_or(StreamError::HostUnknown)?;
    // §4.7.1: between servers the initiating entity must name itself.
    let Some(from) = header.from.as_deref() else {
        return Err(StreamError::ImproperAddressing.text("the header has no 'from'"));
    };
    // §4.9.3.9
    let remote = domain(from)
        .ok_or_else(|| StreamError::InvalidFrom.text("the header's 'from' is no domain"))?;
    if is_ours(&remote) {
        return Err(StreamError::InvalidFrom.text("the header's 'from' is served here"));
    }
    Ok(Called { local, remote })
}

/// Judges the header of a server that we called in the name of `local`.
pub fn judge_answer(header: &Header, remote: &str) -> Result<Answered, StreamFailure> {
    shape(header)?;
    // RFC 6120 §4.7.1: it must be the domain that we called. COMPAT: old servers leave it out.
    let from = header.from.as_deref();
    if from.is_some_and(|from| domain(from).as_deref() != Some(remote)) {
        return Err(StreamError::InvalidFrom.text("the header is from another domain"));
    }
    let has_features = header.version.as_deref().is_some_and(open::speaks_xmpp_1);
    // §4.7.3
    let id = header.id.clone().unwrap_or_default();
    if !(1..=ID_BYTES_MAX).contains(&id.len()) {
        return Err(StreamError::BadFormat.text("the header has no id"));
    }
    Ok(Answered { id, has_features, dialback: header.dialback.is_some() })
}

/// What holds for headers in both directions (RFC 6120 §4.8, §4.9.3).
fn shape(header: &Header) -> Result<(), StreamFailure> {
    open::is_stream(header)?;
    // §4.8.2: without the content namespace as the default, each stanza names it itself.
    if !matches!(header.default_ns.as_deref(), None | Some(ns::SERVER | ns::STREAM | "")) {
        return Err(
            StreamError::InvalidNamespace.text("the default namespace is not jabber:server")
        );
    }
    if header.lang.as_ref().is_some_and(|lang| lang.len() > LANG_BYTES_MAX) {
        return Err(StreamError::BadFormat.text("xml:lang is too long"));
    }
    Ok(())
}

/// The domain in normal form, if it is one and nothing else.
pub(super) fn domain(text: &str) -> Option<String> {
    prep::domainpart(text).ok().map(Cow::into_owned)
}

/// Our header to this domain, which is in normal form. The id is empty if we are the initiating entity.
pub(super) fn greeting(id: String, from: &str, to: Option<&str>) -> Greeting {
    Greeting { id, from: from.to_owned(), to: to.map(Jid::normal) }
}

/// Bytes of a stream's id: ours have 22.
pub(super) const ID_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Header {
        Header {
            from: Some("Capulet.example".into()),
            to: Some("montague.Example".into()),
            id: Some("1".into()),
            version: Some("1.0".into()),
            ns: ns::STREAM.into(),
            local: "stream".into(),
            prefix: Some("stream".into()),
            default_ns: Some(ns::SERVER.into()),
            dialback: Some("db".into()),
            ..Header::default()
        }
    }

    fn called(change: impl FnOnce(&mut Header)) -> &'static str {
        let mut header = good();
        change(&mut header);
        let ours = |domain: &str| matches!(domain, "montague.example" | "rooms.montague.example");
        match judge(&header, ours) {
            Ok(called) => {
                assert!(called.local.ends_with("montague.example"));
                "ok"
            }
            Err(failure) => failure.error.condition(),
        }
    }

    fn answered(change: impl FnOnce(&mut Header)) -> Result<Answered, &'static str> {
        let mut header = good();
        change(&mut header);
        judge_answer(&header, "capulet.example").map_err(|failure| failure.error.condition())
    }

    /// RFC 6120 §4.7.1, §4.7.5, §4.8.2, §4.9.3
    #[test]
    fn whoever_calls_says_who_it_is_and_whom_it_wants() {
        assert_eq!(called(|_| ()), "ok");
        assert_eq!(called(|h| h.to = Some("rooms.montague.example".into())), "ok");
        assert_eq!(called(|h| h.dialback = None), "ok");
        assert_eq!(called(|h| h.default_ns = Some(ns::STREAM.into())), "ok");
        assert_eq!(called(|h| h.default_ns = None), "ok");
        assert_eq!(called(|h| h.default_ns = Some(ns::CLIENT.into())), "invalid-namespace");
        assert_eq!(called(|h| h.ns = "urn:x".into()), "invalid-namespace");
        assert_eq!(called(|h| h.ns = String::new()), "not-well-formed");
        assert_eq!(called(|h| h.local = "flood".into()), "bad-format");
        assert_eq!(called(|h| h.version = None), "unsupported-version");
        assert_eq!(called(|h| h.version = Some("0.9".into())), "unsupported-version");
        assert_eq!(called(|h| h.lang = Some("x".repeat(36))), "bad-format");
        assert_eq!(called(|h| h.to = None), "improper-addressing");
        assert_eq!(called(|h| h.from = None), "improper-addressing");
        for to in ["", "elsewhere.example", "a@montague.example", "montague.example/a", "a b"] {
            assert_eq!(called(|h| h.to = Some(to.into())), "host-unknown", "{to}");
        }
        for from in ["", "a@capulet.example", "capulet.example/a", "-x", "MONTAGUE.example"] {
            assert_eq!(called(|h| h.from = Some(from.into())), "invalid-from", "{from}");
        }
    }

    /// RFC 6120 §4.7.1, §4.7.3; XEP-0220 §2.4.1
    #[test]
    fn whoever_answers_is_whom_we_called() {
        let good = Answered { id: "1".to_owned(), has_features: true, dialback: true };
        assert_eq!(answered(|_| ()), Ok(good.clone()));
        assert_eq!(answered(|h| h.from = None), Ok(good.clone()));
        assert_eq!(answered(|h| h.to = None), Ok(good.clone()));
        let old = Answered { has_features: false, ..good.clone() };
        assert_eq!(answered(|h| h.version = None), Ok(old));
        let without = Answered { dialback: false, ..good };
        assert_eq!(answered(|h| h.dialback = None), Ok(without));
        assert_eq!(answered(|h| h.from = Some("evil.example".into())), Err("invalid-from"));
        assert_eq!(answered(|h| h.from = Some("@".into())), Err("invalid-from"));
        assert_eq!(answered(|h| h.id = None), Err("bad-format"));
        assert_eq!(answered(|h| h.id = Some("x".repeat(257))), Err("bad-format"));
        assert_eq!(answered(|h| h.default_ns = Some(ns::CLIENT.into())), Err("invalid-namespace"));
    }
}
