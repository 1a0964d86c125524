//! What goes along with a login (XEP-0388): what was asked for, how far it has come, and what of it is
//! told.

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

/// What an attempt in this profile asks for beside authentication. That there is one says which
/// profile the client speaks.
#[derive(Default)]
pub(super) struct Inline {
    pub(super) agent: Option<Box<UserAgent>>,
    /// What is said of the token that is used (XEP-0484 §3.4).
    pub(super) fast: Option<Fast>,
    pub(super) issue: Option<Issue>,
    /// Tasks that the client would do (XEP-0480 §2.2).
    pub(super) upgrades: Vec<Task>,
    pub(super) resume: Option<Result<(String, u32), BadCommand>>,
    pub(super) bind: Option<BindRequest>,
    pub(super) success: Success,
}

/// The client may get a token.
pub(super) struct Issue {
    /// For which mechanism, if it asked.
    pub(super) wanted: Option<HtMechanism>,
}

/// A token that was given out. No `Debug`: who has it logs in.
#[derive(Clone)]
pub struct Given {
    /// What the client has from now on.
    pub token: String,
    /// As XEP-0082 writes it.
    pub expiry: String,
}

/// What a `<success/>` says beside the address (XEP-0388 §2.6.1).
#[derive(Clone, Default)]
pub struct Success {
    /// Of the mechanism.
    pub(super) data: Option<Vec<u8>>,
    /// The answer to a `<resume/>` that failed.
    pub(super) failed: Bytes,
    pub(super) token: Option<Given>,
}

/// A login that bound its resource: the session says `<success/>`, with what it switched on.
pub struct Entry {
    /// Its address.
    pub full: FullJid,
    /// The rest of what is said.
    pub success: Success,
    /// The answer to [`super::Output::Bind2`].
    pub told: Vec<u8>,
    /// See [`BindRequest`].
    pub request: Element,
}

/// Where the client stands with them (XEP-0480).
pub(super) struct Tasks {
    /// Those behind this one, the next last.
    pub(super) left: Vec<Task>,
    pub(super) now: Upgrade,
    /// The client has begun it.
    pub(super) begun: bool,
}

impl Success {
    /// For a stream that goes on as `full`; `<resumed/>` or `<bound/>` goes with it.
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
