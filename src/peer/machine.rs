//! The state machines of both directions, seen as one.

use smallvec::SmallVec;

use crate::base::id::OsRng;
use crate::stream::error::StreamFailure;
use crate::stream::framing::Item;
use crate::stream::s2s::outgoing::Ready;
use crate::stream::s2s::{Failure, How, Incoming, Outcome, Outgoing, Secured};
use crate::stream::s2s::{incoming, outgoing};
use crate::xml::element::Element;
use crate::xml::header::Header;

/// The machine of one stream.
pub(super) enum Machine {
    /// The peer opened it.
    Incoming(Box<Incoming>),
    /// We did.
    Outgoing(Box<Outgoing>),
}

/// What happened, on either.
pub(super) enum Input {
    Connected,
    Open(Header),
    Element(Element),
    Secured(Secured),
    Verified { local: String, remote: String, outcome: Outcome },
    AddPair { local: String, remote: String },
    Leave,
    Close,
    Fail(StreamFailure),
}

/// What is to be done, on either: see the outputs of both machines.
#[allow(clippy::large_enum_variant)] // lives for one step, on the stack
pub(super) enum Act {
    Write(Item),
    StartTls,
    Verify { local: String, remote: String, stream_id: String, key: String },
    Authenticated { restart: bool },
    Paired { local: String, remote: String, how: &'static str },
    Refused { remote: String, why: String },
    Unpaired { local: String, remote: String, why: String },
    Ready(Ready),
    Bidi,
    Stanza(Element),
    Managed(Element),
    Answered(Outcome),
    PeerFailed(StreamFailure),
    Failed(Failure),
    Elsewhere(String),
    End,
}

pub(super) type Acts = SmallVec<[Act; 2]>;

impl Machine {
    /// Takes one input.
    pub(super) fn feed(&mut self, input: Input) -> Acts {
        match self {
            Self::Incoming(machine) => {
                let input = match input {
                    Input::Connected | Input::AddPair { .. } => return Acts::new(),
                    Input::Open(header) => incoming::Input::Open(header),
                    Input::Element(element) => incoming::Input::Element(element),
                    Input::Secured(secured) => incoming::Input::Secured(secured),
                    Input::Verified { local, remote, outcome } => {
                        incoming::Input::Verified { local, remote, outcome }
                    }
                    Input::Leave => incoming::Input::Leave,
                    Input::Close => incoming::Input::Close,
                    Input::Fail(failure) => incoming::Input::Fail(failure),
                };
                machine.feed(input, &mut OsRng).into_iter().map(of_incoming).collect()
            }
            Self::Outgoing(machine) => {
                let input = match input {
                    Input::Connected => outgoing::Input::Connected,
                    Input::Open(header) => outgoing::Input::Open(header),
                    Input::Element(element) => outgoing::Input::Element(element),
                    Input::Secured(secured) => outgoing::Input::Secured(secured),
                    Input::Verified { .. } => return Acts::new(),
                    Input::AddPair { local, remote } => outgoing::Input::AddPair { local, remote },
                    Input::Leave => outgoing::Input::Leave,
                    Input::Close => outgoing::Input::Close,
                    Input::Fail(failure) => outgoing::Input::Fail(failure),
                };
                machine.feed(input).into_iter().filter_map(of_outgoing).collect()
            }
        }
    }

    /// Who the peer says it is, for the log.
    pub(super) fn remote(&self) -> Option<&str> {
        match self {
            Self::Incoming(machine) => machine.remote(),
            Self::Outgoing(_) => None,
        }
    }

    /// The domain of ours that was called: its certificate is shown.
    pub(super) fn local(&self) -> Option<&str> {
        match self {
            Self::Incoming(machine) => machine.local(),
            Self::Outgoing(_) => None,
        }
    }

    /// Whether we opened the stream.
    pub(super) fn is_outgoing(&self) -> bool {
        matches!(self, Self::Outgoing(_))
    }
}

fn of_incoming(output: incoming::Output) -> Act {
    use incoming::Output;
    match output {
        Output::Write(item) => Act::Write(item),
        Output::StartTls => Act::StartTls,
        Output::Verify { local, remote, stream_id, key } => {
            Act::Verify { local, remote, stream_id, key }
        }
        Output::Authenticated { restart } => Act::Authenticated { restart },
        Output::Paired { local, remote, how } => Act::Paired { local, remote, how: how.as_str() },
        Output::Refused { remote, why } => Act::Refused { remote, why },
        Output::Bidi(_) => Act::Bidi,
        Output::Stanza(element) => Act::Stanza(element),
        Output::Managed(element) => Act::Managed(element),
        Output::PeerFailed(failure) => Act::PeerFailed(failure),
        Output::End => Act::End,
    }
}

fn of_outgoing(output: outgoing::Output) -> Option<Act> {
    use outgoing::Output;
    Some(match output {
        Output::Write(item) => Act::Write(item),
        Output::StartTls => Act::StartTls,
        Output::Authenticated { restart } => Act::Authenticated { restart },
        Output::Ready(ready) => Act::Ready(ready),
        Output::Paired { local, remote } => {
            Act::Paired { local, remote, how: How::Dialback.as_str() }
        }
        Output::PairFailed { local, remote, failure } => {
            Act::Unpaired { local, remote, why: failure.to_string() }
        }
        Output::Verified { outcome, .. } => Act::Answered(outcome),
        Output::Stanza(element) => Act::Stanza(element),
        Output::Managed(element) => Act::Managed(element),
        Output::Elsewhere(host) => Act::Elsewhere(host),
        Output::PeerFailed(failure) => Act::PeerFailed(failure),
        Output::Failed(failure) => Act::Failed(failure),
        Output::End => Act::End,
    })
}
