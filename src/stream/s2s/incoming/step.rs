//! One step of the machine: its inputs and its outputs.

use smallvec::SmallVec;

use crate::stream::error::StreamFailure;
use crate::stream::framing::Item;
use crate::stream::s2s::certificate::Secured;
use crate::stream::s2s::dialback::Outcome;
use crate::stream::s2s::features::PeerLimits;
use crate::stream::s2s::policy::How;
use crate::xml::element::Element;
use crate::xml::header::Header;

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The peer's header.
    Open(Header),
    /// An element that passed the gate.
    Element(Element),
    /// The TLS handshake is done; the peer sends a new header next.
    Secured(Secured),
    /// The answer to [`Output::Verify`].
    Verified {
        /// As in the question.
        local: String,
        /// As in the question.
        remote: String,
        /// What the authoritative server says, or why it says nothing.
        outcome: Outcome,
    },
    /// We have no more use for the stream.
    Leave,
    /// The peer closed the stream.
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
    /// Start TLS; if plain bytes follow the request in the buffer, close the connection instead.
    StartTls,
    /// Ask the authoritative server of `remote`, on another stream than this one (XEP-0288 §2.2).
    Verify {
        /// The target domain, which is served here: `from` of the question.
        local: String,
        /// The sender domain: `to` of the question.
        remote: String,
        /// The id that we gave this stream.
        stream_id: String,
        /// What is to be verified.
        key: String,
    },
    /// From here on the limits are those of an authenticated stream.
    Authenticated {
        /// Whether the peer's next bytes are a new header.
        restart: bool,
    },
    /// The peer may send stanzas from `remote` to `local`, and take them the other way if the stream is
    /// bidirectional.
    Paired {
        /// A domain that is served here.
        local: String,
        /// One of the peer's.
        remote: String,
        /// How it proved that.
        how: How,
    },
    /// The peer was refused for this pair: for the log.
    Refused {
        /// Who it says it is.
        remote: String,
        /// Why, for people.
        why: String,
    },
    /// From now on the stream takes stanzas for its pairs, too (XEP-0288), of this size.
    Bidi(Option<PeerLimits>),
    /// A stanza whose domains are a pair of this stream. Of its addresses only the domains are judged.
    Stanza(Element),
    /// An element of stream management on an authenticated stream (XEP-0198).
    Managed(Element),
    /// The peer ended the stream with this error: for the log.
    PeerFailed(StreamFailure),
    /// Close the connection; the closing tag is already written. Nothing follows.
    End,
}

/// The outputs of one step.
pub type Outputs = SmallVec<[Output; 2]>;
