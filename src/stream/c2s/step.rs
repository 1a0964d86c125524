//! One step of the machine: its inputs and its outputs.

use bytes::Bytes;
use smallvec::SmallVec;

use super::inline::{Entry, Given, Success};
use super::request::{BindRequest, Fast, UserAgent};
use crate::base::credential::{AgentId, HashName, ScramKeys};
use crate::jid::{BareJid, FullJid};
use crate::stanza::StanzaError;
use crate::stream::error::StreamFailure;
use crate::stream::framing::Item;
use crate::stream::sasl::ht::{Ht, HtMechanism};
use crate::stream::sasl::{ChannelBindings, Identity, Refusal, SaslFailure, Work, WorkDone};
use crate::xml::element::Element;
use crate::xml::header::Header;

/// What happened.
pub enum Input {
    /// The client's header.
    Open(Header),
    /// An element that passed the gate.
    Element(Element),
    /// The TLS handshake is done; the client sends a new header next.
    Secured(ChannelBindings),
    /// The answer to [`Output::Keys`].
    Keys(Option<ScramKeys>),
    /// Stands for any answer to a question of the exchange: the server cannot answer it at the moment.
    Unknown,
    /// The answer to [`Output::Work`].
    Worked(WorkDone),
    /// The answer to [`Output::Token`]: the additional data of `<success/>`.
    Checked(Result<Vec<u8>, SaslFailure>),
    /// The answer to [`Output::Hashes`].
    Hashes(Vec<HashName>),
    /// The answer to [`Output::AddKeys`].
    KeysAdded,
    /// The answer to [`Output::Issue`].
    Issued(Option<Given>),
    /// The answer to [`Output::Admit`].
    Admitted(Result<BareJid, SaslFailure>),
    /// The answer to [`Output::Bind`].
    Bound(Result<FullJid, StanzaError>),
    /// The answer to [`Output::Bind2`]: the address, the content of `<bound/>` so far, and the request.
    Bound2(Result<(FullJid, Vec<u8>, Element), StanzaError>),
    /// The answer to [`Output::Resume`] if the former stream could not be resumed: its count, if known.
    NotResumed(Option<u32>),
    /// The client closed the stream.
    Close,
    /// Something outside the stream ends it (a limit, a deadline, bad XML).
    Fail(StreamFailure),
}

/// What the caller has to do.
#[allow(clippy::large_enum_variant)] // lives for one step, on the stack
pub enum Output {
    /// Write this.
    Write(Item),
    /// Start TLS; if plain bytes follow the request in the buffer, close the connection instead.
    StartTls,
    /// Look up keys.
    Keys {
        /// The localpart in normal form.
        localpart: String,
        /// The hash that the keys are for.
        hash: HashName,
        /// Whether keys of another hash will do if the account has none of this one.
        or_other: bool,
    },
    /// Run this outside the network threads.
    Work(Work),
    /// Compare a message of XEP-0484's mechanisms with the tokens of this device.
    Token {
        /// The message.
        message: Box<Ht>,
        /// The device, as the client identifies itself.
        agent: AgentId,
    },
    /// Look up which hashes the account has keys for (XEP-0480).
    Hashes,
    /// Add these keys to the account.
    AddKeys(Box<ScramKeys>),
    /// Give the client a token (XEP-0484 §3.3), or a new one if it is due (§3.5).
    Issue {
        /// The mechanism of the token, if the client asked for one.
        wanted: Option<HtMechanism>,
    },
    /// The credentials are right: decide whether this identity may have a stream. All logins pass this
    /// check.
    Admit {
        /// The identity that the credentials belong to.
        who: Identity,
        /// The client's description of itself.
        agent: Option<Box<UserAgent>>,
        /// The client's statement about the token that it used.
        fast: Option<Fast>,
        /// The value of [`Failed::again`], had this login failed.
        again: bool,
    },
    /// An attempt failed: for the throttle and the log.
    Failed(Failed),
    /// The client asked for a domain that is not served here: its text as sent, for the log.
    UnknownHost(Option<String>),
    /// From here on the limits are those of an authenticated stream.
    Authenticated {
        /// Whether the client's next bytes are a new header.
        restart: bool,
    },
    /// Bind this resource, or one that the server chooses.
    Bind(Option<String>),
    /// Bind a resource that the server chooses, and do what the request asks for with it (XEP-0386 §3.2).
    Bind2(BindRequest),
    /// Resume a former stream (XEP-0198 §5). If that succeeds, this machine has nothing left to do.
    Resume {
        /// Its SM-ID.
        previd: String,
        /// The client's count of handled stanzas on it.
        h: u32,
        /// The `<success/>` to write around `<resumed/>`, if the request was inline (XEP-0198 §9.2).
        success: Option<Box<Success>>,
    },
    /// A request that a module may answer before authentication (XEP-0077).
    Request(Element),
    /// The stream now belongs to a session.
    Done(FullJid),
    /// The stream now belongs to a session, which has to write the answer.
    Enter(Box<Entry>),
    /// Close the connection; the closing tag is already written.
    End,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The account whose keys were looked up, if the attempt got that far.
    pub localpart: Option<String>,
    /// The mechanism, if the server knows it.
    pub mechanism: Option<&'static str>,
    /// Why.
    pub refusal: Refusal,
    /// Whether it counts as the same mistake as an earlier attempt on this stream: it used another
    /// mechanism, most likely with the same secret.
    pub again: bool,
}

impl Failed {
    /// Whether it counts as a guess: see [`Refusal::is_guess`].
    pub fn is_guess(&self) -> bool {
        self.localpart.is_some() && self.refusal.is_guess()
    }
}

/// The outputs of one step.
pub type Outputs = SmallVec<[Output; 2]>;

/// Outputs that write one element and do nothing else.
pub(super) fn write(element: impl Into<Bytes>) -> Outputs {
    Outputs::from_iter([Output::Write(Item::Element(element.into()))])
}
