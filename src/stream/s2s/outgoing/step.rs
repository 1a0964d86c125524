//! One step of the machine: its inputs and its outputs.

use smallvec::SmallVec;

use crate::stream::error::StreamFailure;
use crate::stream::framing::Item;
use crate::stream::s2s::certificate::Secured;
use crate::stream::s2s::dialback::Outcome;
use crate::stream::s2s::failure::Failure;
use crate::stream::s2s::features::PeerLimits;
use crate::stream::s2s::policy::How;
use crate::xml::element::Element;
use crate::xml::header::Header;

/// What the stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Stanzas from `local` to `remote`.
    Stanzas,
    /// To ask `remote`, the sender domain of a request to `local`, about a key; the stream is closed with the
    /// answer (XEP-0220 §2.1.2).
    Verify {
        /// The id that we gave the stream of the request.
        stream_id: String,
        /// What is to be verified.
        key: String,
    },
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// There is a connection. This comes first, and once.
    Connected,
    /// The peer's header.
    Open(Header),
    /// An element that passed the gate.
    Element(Element),
    /// The TLS handshake is done, which has to be begun with the name `remote`.
    Secured(Secured),
    /// Stanzas from `local` to `remote` should go this way, too (XEP-0220 §2.6). Only on a stream that is ready.
    /// For another remote domain the caller knows that it leads to the same address (§2.6.2).
    AddPair {
        /// A domain that is served here.
        local: String,
        /// One of the peer's.
        remote: String,
    },
    /// A key is to be verified on this stream, on which the request did not come. Only on one that is ready.
    Verify {
        /// The target domain, which is served here.
        local: String,
        /// The sender domain.
        remote: String,
        /// The id that we gave the stream of the request.
        stream_id: String,
        /// What is to be verified.
        key: String,
    },
    /// We have no more use for the stream.
    Leave,
    /// The peer closed the stream, or the connection.
    Close,
    /// Something outside the stream ends it (a limit, a deadline, bad XML).
    Fail(StreamFailure),
}

/// What the caller has to do.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // lives for one step, on the stack
pub enum Output {
    /// Write this.
    Write(Item),
    /// Start TLS as its client; if plain bytes follow the answer in the buffer, close the connection instead.
    StartTls,
    /// From here on the limits are those of an authenticated stream.
    Authenticated {
        /// Whether the peer's next bytes are a new header.
        restart: bool,
    },
    /// The stream takes stanzas from `local` to `remote`.
    Ready(Ready),
    /// It takes those of this pair, too.
    Paired {
        /// A domain that is served here.
        local: String,
        /// One of the peer's.
        remote: String,
    },
    /// It does not take those of this pair.
    PairFailed {
        /// As asked for.
        local: String,
        /// As asked for.
        remote: String,
        /// Why.
        failure: Failure,
    },
    /// What the authoritative server says about a key, or that it says nothing. Comes once for each question,
    /// whatever becomes of the stream.
    Verified {
        /// As in the question.
        local: String,
        /// As in the question.
        remote: String,
        /// As in the question.
        stream_id: String,
        /// The answer.
        outcome: Outcome,
    },
    /// A stanza of a pair, on a bidirectional stream (XEP-0288). Of its addresses only the domains are judged.
    Stanza(Element),
    /// An element of stream management on a stream that is ready (XEP-0198).
    Managed(Element),
    /// The peer is somewhere else: `domainpart` or `domainpart:port` (RFC 6120 §4.9.3.19). The stream ends.
    Elsewhere(String),
    /// The peer ended the stream with this error: for the log.
    PeerFailed(StreamFailure),
    /// The stream ends before it has done what it is for. Comes at most once, and not after [`Output::Ready`].
    Failed(Failure),
    /// Close the connection; the closing tag is already written. Nothing follows.
    End,
}

/// A stream that takes stanzas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// How the peer knows us.
    pub how: How,
    /// Whether stream management can be enabled, or a former stream be resumed.
    pub sm: bool,
    /// Whether the peer sends stanzas on this stream.
    pub bidi: bool,
    /// What the peer accepts (XEP-0478).
    pub limits: Option<PeerLimits>,
    /// Whether more pairs can be added ([`Input::AddPair`]).
    pub dialback: bool,
    /// Whether one that is refused does not end the stream (XEP-0220 §2.4).
    pub dialback_errors: bool,
}

/// The outputs of one step.
pub type Outputs = SmallVec<[Output; 2]>;

/// Outputs that write one element and do nothing else.
pub(super) fn write(element: String) -> Outputs {
    Outputs::from_iter([Output::Write(Item::Element(element.into()))])
}
