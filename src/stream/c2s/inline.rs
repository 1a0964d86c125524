//! What a client requests together with a login (XEP-0388): the requests, the progress, and the results for
//! `<success/>`.

use bytes::Bytes;

use super::request::{BindRequest, Fast, UserAgent};
use crate::base::hash::base64;
use crate::jid::FullJid;
use crate::stream::sasl::ht::HtMechanism;
use crate::stream::sasl::upgrade::{Task, Upgrade};
use crate::stream::sm::BadCommand;
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// What an attempt in this profile requests in addition to authentication. Its presence shows which profile
/// the client uses.
#[derive(Default)]
pub(super) struct Inline {
    pub(super) agent: Option<Box<UserAgent>>,
    /// The attributes of the token that is used (XEP-0484 §3.4).
    pub(super) fast: Option<Fast>,
    pub(super) issue: Option<Issue>,
    /// Tasks that the client offers to do (XEP-0480 §2.2).
    pub(super) upgrades: Vec<Task>,
    pub(super) resume: Option<Result<(String, u32), BadCommand>>,
    pub(super) bind: Option<BindRequest>,
    pub(super) success: Success,
}

/// A token may be issued to the client.
pub(super) struct Issue {
    /// The mechanism, if the client requested a token.
    pub(super) wanted: Option<HtMechanism>,
}

/// A token that was issued. No `Debug`: anyone who has it can log in.
#[derive(Clone)]
pub struct Given {
    /// The token's text.
    pub token: String,
    /// The expiry, formatted as in XEP-0082.
    pub expiry: String,
}

/// The content of a `<success/>` besides the address (XEP-0388 §2.6.1).
#[derive(Clone, Default)]
pub struct Success {
    /// The mechanism's additional data.
    pub(super) data: Option<Vec<u8>>,
    /// The answer to a `<resume/>` that failed.
    pub(super) failed: Bytes,
    pub(super) token: Option<Given>,
}

/// A login that bound its resource. The session sends `<success/>`, which includes what the session enabled.
pub struct Entry {
    /// Its address.
    pub full: FullJid,
    /// The rest of the `<success/>`.
    pub success: Success,
    /// The answer to [`super::Output::Bind2`].
    pub told: Vec<u8>,
    /// See [`BindRequest`].
    pub request: Element,
}

/// The client's progress with its tasks (XEP-0480).
pub(super) struct Tasks {
    /// Tasks after this one, the next one last.
    pub(super) left: Vec<Task>,
    pub(super) now: Upgrade,
    /// Whether the client has begun this one.
    pub(super) begun: bool,
}

impl Success {
    /// The `<success/>` of a stream that continues as `full`, with `<resumed/>` or `<bound/>` in it.
    pub fn with(&self, full: &FullJid, what: &[u8]) -> Vec<u8> {
        self.write(full.as_str(), what)
    }

    pub(super) fn write(&self, address: &str, what: &[u8]) -> Vec<u8> {
        let mut xml = Xml::new();
        xml.start("success").attr("xmlns", ns::SASL2);
        if let Some(data) = &self.data {
            xml.element("additional-data", None, &base64(data));
        }
        xml.element("authorization-identifier", None, address);
        xml.raw(&self.failed).raw(what);
        if let Some(Given { token, expiry }) = &self.token {
            xml.start("token").attr("xmlns", ns::FAST);
            xml.attr("expiry", expiry).attr("token", token).end();
        }
        xml.end();
        xml.finish().into()
    }
}
