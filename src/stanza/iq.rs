//! IQ requests as handlers get them, and their replies (RFC 6120 §8.2.3).

use bytes::Bytes;

use super::{Stanza, StanzaError, error_reply};
use crate::jid::Jid;
use crate::xml::writer::Xml;

/// The four IQ types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IqType {
    /// A request for information.
    Get,
    /// A request that changes something.
    Set,
    /// The answer to a request.
    Result,
    /// The refusal of a request.
    Error,
}

impl IqType {
    /// Reads the 'type' attribute; `None` for other values, which are a `bad-request` (RFC 6120 §8.2.3 rule
    /// 2).
    pub fn parse(ty: Option<&str>) -> Option<Self> {
        match ty? {
            "get" => Some(Self::Get),
            "set" => Some(Self::Set),
            "result" => Some(Self::Result),
            "error" => Some(Self::Error),
            _ => None,
        }
    }
}

/// A request: an IQ of type get or set with its `id` and its one payload.
#[derive(Debug, Clone)]
pub struct Iq {
    stanza: Stanza,
    ty: IqType,
}

impl Iq {
    /// Checks the rules for every request (RFC 6120 §8.2.3): an `id`, a known type, exactly one payload.
    /// `Ok(None)` is a reply, not a request.
    pub fn request(stanza: &Stanza) -> Result<Option<Self>, StanzaError> {
        let ty = IqType::parse(stanza.ty().as_deref())
            .ok_or_else(|| StanzaError::bad_request().text("unknown or missing type"))?;
        if matches!(ty, IqType::Result | IqType::Error) {
            return Ok(None);
        }
        if stanza.id().is_none_or(|id| id.is_empty()) {
            return Err(StanzaError::bad_request().text("an iq needs an id"));
        }
        if stanza.element().children().count() != 1 {
            return Err(StanzaError::bad_request().text("an iq request has exactly one payload"));
        }
        Ok(Some(Self { stanza: stanza.clone(), ty }))
    }

    /// The type, get or set.
    pub fn ty(&self) -> IqType {
        self.ty
    }

    /// The whole stanza.
    pub fn stanza(&self) -> &Stanza {
        &self.stanza
    }

    /// The sender.
    pub fn from(&self) -> &Jid {
        self.stanza.from()
    }

    /// The addressee; none means the sender's own account (RFC 6120 §10.3.3).
    pub fn to(&self) -> Option<&Jid> {
        self.stanza.to()
    }

    /// Namespace and name of the payload.
    pub fn payload(&self) -> (&str, &str) {
        self.stanza.element().children().next().map_or(("", ""), |child| (child.ns, child.name))
    }

    /// `<iq type='result'/>` with this payload, which may be empty.
    pub fn result(&self, payload: &[u8]) -> Bytes {
        let mut xml = Xml::new();
        xml.start("iq")
            .attr("type", "result")
            .attr_opt("from", self.to().map(Jid::as_str))
            .attr("to", self.from().as_str())
            .attr_opt("id", self.stanza.id().as_deref())
            .raw(payload)
            .end();
        xml.finish()
    }

    /// `<iq type='error'/>`
    pub fn error(&self, error: &StanzaError) -> Bytes {
        let addressed = self.to().map(Jid::as_str);
        error_reply(self.stanza.element(), addressed, self.from(), error).unwrap_or_default()
    }
}
