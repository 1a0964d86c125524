//! One step of the machine: what it is told, and what it asks for.

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
    /// A proved top-level element.
    Element(Element),
    /// The TLS handshake is done; a new header comes.
    Secured(ChannelBindings),
    /// The answer to [`Output::Keys`].
    Keys(Option<ScramKeys>),
    /// Instead of any answer to a question of the exchange: we cannot know for now.
    Unknown,
    /// The answer to [`Output::Work`].
    Worked(WorkDone),
    /// The answer to [`Output::Token`]: the additional data with success.
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
    /// The answer to [`Output::Bind2`]: the address, what `<bound/>` tells so far, and the request.
    Bound2(Result<(FullJid, Vec<u8>, Element), StanzaError>),
    /// The answer to [`Output::Resume`], if the former stream could not be resumed: its count, if
    /// that is known.
    NotResumed(Option<u32>),
    /// The client closed the stream.
    Close,
    /// Something outside the stream ends it (a limit, a deadline, bad XML).
    Fail(StreamFailure),
}

/// What is to be done.
#[allow(clippy::large_enum_variant)] // lives for one step, on the stack
pub enum Output {
    /// Say this.
    Write(Item),
    /// Let TLS take over, unless plain bytes wait behind the request: then close.
    StartTls,
    /// Look up keys.
    Keys {
        /// In normal form.
        localpart: String,
        /// Of this hash.
        hash: HashName,
        /// Others will do where the account has none of this hash.
        or_other: bool,
    },
    /// Run it off the network threads.
    Work(Work),
    /// Hold a message of XEP-0484's mechanisms against the tokens of this device.
    Token {
        /// The message.
        message: Box<Ht>,
        /// The device that the client says it is.
        agent: AgentId,
    },
    /// What has the account keys for (XEP-0480)?
    Hashes,
    /// Add these to them.
    AddKeys(Box<ScramKeys>),
    /// The client is to have a token (XEP-0484 §3.3), or may be due for another one (§3.5).
    Issue {
        /// For which mechanism, if it asked.
        wanted: Option<HtMechanism>,
    },
    /// The credentials are good: may this identity have a stream? The one gate of all logins.
    Admit {
        /// Whose credentials.
        who: Identity,
        /// What the client says of itself.
        agent: Option<Box<UserAgent>>,
        /// What it says of the token that it used.
        fast: Option<Fast>,
        /// See [`Failed::again`]: what it would be, had it failed.
        again: bool,
    },
    /// An attempt failed, for the throttle and the log.
    Failed(Failed),
    /// The client asked for a domain that is not here, in its own words, for the log.
    UnknownHost(Option<String>),
    /// Limits are those of an authenticated stream.
    Authenticated {
        /// The client's next bytes are a new header.
        restart: bool,
    },
    /// Bind this resource, or one of the server's choice.
    Bind(Option<String>),
    /// Bind a resource of the server's choice, and do what goes with it (XEP-0386 §3.2).
    Bind2(BindRequest),
    /// Go on with a former stream (XEP-0198 §5): this one has no more to do if that can be done.
    Resume {
        /// Its SM-ID.
        previd: String,
        /// What the client handled of it.
        h: u32,
        /// What is said around `<resumed/>`, where it was asked for inline (XEP-0198 §9.2).
        success: Option<Box<Success>>,
    },
    /// A request that a module may answer before authentication (XEP-0077).
    Request(Element),
    /// The stream belongs to a session now.
    Done(FullJid),
    /// The stream belongs to a session now, which has to say so.
    Enter(Box<Entry>),
    /// Close the connection; the closing tag has been written before.
    End,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Whose keys were looked up, if it came that far.
    pub localpart: Option<String>,
    /// By which mechanism, if that is one of ours.
    pub mechanism: Option<&'static str>,
    /// Why.
    pub refusal: Refusal,
    /// It is taken for the same mistake as another of this stream: another mechanism, and most likely the
    /// same secret.
    pub again: bool,
}

impl Failed {
    /// It counts: see [`Refusal::is_guess`].
    pub fn is_guess(&self) -> bool {
        self.localpart.is_some() && self.refusal.is_guess()
    }
}

/// Outputs of one step.
pub type Outputs = SmallVec<[Output; 2]>;

/// An element, and no more.
pub(super) fn write(element: impl Into<Bytes>) -> Outputs {
    Outputs::from_iter([Output::Write(Item::Element(element.into()))])
}
