//! Streams of components (XEP-0114), without I/O: a header, a handshake, then stanzas. Like [`super::c2s`], the
//! machine takes what came in and returns what is to be done.

#[cfg(test)]
mod tests;

use smallvec::SmallVec;

use crate::base::hash::{hex, same_secret, sha1};
use crate::base::id::{self, Rng};
use crate::stanza::Kind;
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::framing::{Greeting, Item};
use crate::stream::open;
use crate::stream::s2s::failure::read_error;
use crate::stream::s2s::pairs::domain_of;
use crate::xml::element::Element;
use crate::xml::header::Header;
use crate::xml::ns;

/// What components share with this server.
pub trait Secrets: Send + Sync {
    /// The secret of the component at this domain, which is in normal form; `None`: there is none.
    fn secret(&self, domain: &str) -> Option<&str>;
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The component's header.
    Open(Header),
    /// An element that passed the gate.
    Element(Element),
    /// The answer to [`Output::Handshake`]: the component may have its domain, or not, for this reason.
    Judged(Result<(), StreamFailure>),
    /// We have no more use for the stream.
    Leave,
    /// The component closed the stream.
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
    /// The component tried to prove that it is this domain. Read nothing more, count a failure if it is one, and
    /// say when the answer may go out: [`Input::Judged`].
    Handshake {
        /// Its domain, in normal form.
        domain: String,
        /// Whether it knows the secret.
        right: bool,
    },
    /// The stream takes and brings stanzas from here on.
    Ready,
    /// A stanza from the component's domain. Of its addresses only that domain is judged.
    Stanza(Element),
    /// The component ended the stream with this error: for the log.
    PeerFailed(StreamFailure),
    /// Close the connection; the closing tag is already written. Nothing follows.
    End,
}

/// The outputs of one step.
pub type Outputs = SmallVec<[Output; 2]>;

/// The stream of one component.
#[derive(Debug)]
pub struct Component {
    state: State,
    id: String,
    /// As the header said, once it was right.
    domain: String,
    greeted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A header must come.
    Opening,
    /// A handshake must come.
    Called,
    /// It came, and is judged.
    Proving {
        right: bool,
    },
    Open,
    Ended,
}

impl Component {
    /// A stream whose header has not been received.
    pub const fn new() -> Self {
        Self { state: State::Opening, id: String::new(), domain: String::new(), greeted: false }
    }

    /// The domain that was called; proved once the stream is ready.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Takes one input and returns its outputs. After [`Output::End`] there are none.
    pub fn feed(&mut self, input: Input, secrets: &dyn Secrets, rng: &mut dyn Rng) -> Outputs {
        if self.state == State::Ended {
            return Outputs::new();
        }
        match input {
            Input::Open(header) => self.open(&header, secrets, rng),
            Input::Element(element) => self.element(element, secrets, rng),
            Input::Judged(judged) => self.judged(judged, rng),
            Input::Leave | Input::Close => self.close(None, rng),
            Input::Fail(failure) => self.close(Some(failure), rng),
        }
    }

    fn open(&mut self, header: &Header, secrets: &dyn Secrets, rng: &mut dyn Rng) -> Outputs {
        if self.state != State::Opening {
            return self.close(Some(StreamError::BadFormat.into()), rng);
        }
        match called(header, secrets) {
            Ok(domain) => {
                self.domain = domain;
                self.state = State::Called;
                Outputs::from_iter([self.greeting(rng)])
            }
            Err(failure) => self.close(Some(failure), rng),
        }
    }

    /// XEP-0114 §3: in the name of the component.
    fn greeting(&mut self, rng: &mut dyn Rng) -> Output {
        self.greeted = true;
        self.id = id::random(rng);
        let (id, from) = (self.id.clone(), self.domain.clone());
        Output::Write(Item::Header(Greeting { id, from, to: None }))
    }

    fn element(&mut self, element: Element, secrets: &dyn Secrets, rng: &mut dyn Rng) -> Outputs {
        let kind = Kind::of(&element);
        match (element.ns(), element.name(), self.state) {
            // RFC 6120 §4.9.1.1: whoever receives a stream error closes the stream and says nothing more.
            (ns::STREAM, "error", _) => {
                let mut outputs = Outputs::from_iter([Output::PeerFailed(read_error(&element))]);
                outputs.extend(self.close(None, rng));
                outputs
            }
            (ns::CLIENT, "handshake", State::Called) => {
                let right = self.proves(&element, secrets);
                self.state = State::Proving { right };
                let domain = self.domain.clone();
                Outputs::from_iter([Output::Handshake { domain, right }])
            }
            (_, _, State::Open) if kind.is_some() => match self.judge(&element) {
                Ok(()) => Outputs::from_iter([Output::Stanza(element)]),
                Err(failure) => self.close(Some(failure), rng),
            },
            (_, _, State::Open) => self.close(Some(StreamError::UnsupportedStanzaType.into()), rng),
            // RFC 6120 §4.9.3.12
            _ => self
                .close(Some(StreamError::NotAuthorized.text("a handshake must come first")), rng),
        }
    }

    /// XEP-0114 §3: the hash of the stream's id and the secret, in lower case.
    fn proves(&self, element: &Element, secrets: &dyn Secrets) -> bool {
        let view = element.view();
        let said = view.root().text().trim();
        let Some(secret) = secrets.secret(&self.domain) else { return false };
        let wanted = hex(&sha1(&[self.id.as_bytes(), secret.as_bytes()].concat()));
        same_secret(wanted.as_bytes(), said.as_bytes())
    }

    fn judged(&mut self, judged: Result<(), StreamFailure>, rng: &mut dyn Rng) -> Outputs {
        let State::Proving { right } = self.state else { return Outputs::new() };
        match judged {
            _ if !right => {
                let failure = StreamError::NotAuthorized.text("the handshake is wrong");
                self.close(Some(failure), rng)
            }
            Err(failure) => self.close(Some(failure), rng),
            Ok(()) => {
                self.state = State::Open;
                let done = Item::Element(bytes::Bytes::from_static(b"<handshake/>"));
                Outputs::from_iter([Output::Write(done), Output::Ready])
            }
        }
    }

    /// XEP-0114 §3: both addresses must be there, and the sender must be at the component's domain.
    fn judge(&self, stanza: &Element) -> Result<(), StreamFailure> {
        let (Some(from), Some(to)) = (stanza.attr("from"), stanza.attr("to")) else {
            return Err(StreamError::ImproperAddressing.text("a stanza without 'from' or 'to'"));
        };
        if domain_of(&to).is_none() {
            return Err(StreamError::ImproperAddressing.text("an address without a domain"));
        }
        if domain_of(&from).as_deref() != Some(&self.domain) {
            // RFC 6120 §4.9.3.9
            return Err(StreamError::InvalidFrom.text("'from' is not at the component's domain"));
        }
        Ok(())
    }

    fn close(&mut self, failure: Option<StreamFailure>, rng: &mut dyn Rng) -> Outputs {
        let mut outputs = Outputs::new();
        // RFC 6120 §4.9.1.1: an error comes in a stream.
        if !self.greeted {
            outputs.push(self.greeting(rng));
        }
        outputs.extend(failure.map(|failure| Output::Write(Item::Failure(failure))));
        outputs.extend([Output::Write(Item::Close), Output::End]);
        self.state = State::Ended;
        outputs
    }
}

impl Default for Component {
    fn default() -> Self {
        Self::new()
    }
}

/// The component that a header calls.
fn called(header: &Header, secrets: &dyn Secrets) -> Result<String, StreamFailure> {
    open::is_stream(header)?;
    if header.default_ns.as_deref() != Some(ns::COMPONENT) {
        // XEP-0114 §3
        return Err(StreamError::InvalidNamespace
            .text("the default namespace is not jabber:component:accept"));
    }
    let Some(to) = header.to.as_deref() else {
        return Err(StreamError::ImproperAddressing.text("the header has no 'to'"));
    };
    let domain = domain_of(to).filter(|domain| secrets.secret(domain).is_some());
    let domain = domain.filter(|_| !to.contains(['@', '/'])).map(|domain| domain.into_owned());
    domain.ok_or_else(|| StreamError::HostUnknown.text("no component is configured at this domain"))
}
