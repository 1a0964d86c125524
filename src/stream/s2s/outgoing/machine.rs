//! The machine: headers, features, TLS and SASL.

use std::sync::Arc;

use super::question::{asked, question, verified};
use super::step::{Input, Output, Outputs, Purpose, Ready, write};
use crate::base::hash::base64;
use crate::stanza::Kind;
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::framing::Item;
use crate::stream::s2s::certificate::Secured;
use crate::stream::s2s::dialback::{Dialback, Outcome};
use crate::stream::s2s::failure::{Failure, read_error, shown};
use crate::stream::s2s::features::{self, PeerFeatures};
use crate::stream::s2s::header::{self, Answered};
use crate::stream::s2s::pairs::Pairs;
use crate::stream::s2s::policy::{How, Policy};
use crate::xml::element::Element;
use crate::xml::header::Header;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// A stream that we open to another server.
pub struct Outgoing {
    pub(super) policy: Arc<Policy>,
    pub(super) local: String,
    pub(super) remote: String,
    purpose: Purpose,
    pub(super) state: State,
    /// Since TLS.
    pub(super) secured: Option<Secured>,
    /// The peer's last header.
    pub(super) answered: Option<Answered>,
    pub(super) features: PeerFeatures,
    /// Whether our header was sent.
    greeted: bool,
    /// SASL EXTERNAL succeeded.
    external: bool,
    /// A challenge was answered.
    responded: bool,
    pub(super) bidi: bool,
    pub(super) pairs: Pairs,
    /// `<db:result/>` that the peer has to answer.
    pub(super) asked: Vec<Dialback>,
    /// `<db:verify/>` that the peer has to answer.
    pub(super) verifying: Vec<Dialback>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No connection.
    Idle,
    /// A header must come.
    Opening,
    /// Features must come.
    Featuring,
    /// STARTTLS was asked for.
    Asking,
    Securing,
    /// `<auth/>` was sent.
    Authenticating,
    /// The pair of this stream was asked for by dialback.
    Dialling,
    /// A key is being verified, which is all that this stream is for.
    Verifying,
    Ready,
    Ended,
}

impl Outgoing {
    /// A stream from a domain that is served here to another one; with the outcome of the handshake if it begins
    /// with TLS (XEP-0368).
    pub fn new(
        policy: Arc<Policy>,
        local: &str,
        remote: &str,
        purpose: Purpose,
        direct_tls: Option<Secured>,
    ) -> Self {
        let mut verifying = Vec::new();
        if let Purpose::Verify { stream_id, key } = &purpose {
            verifying.push(question(local, remote, stream_id, key));
        }
        Self {
            policy,
            local: local.to_owned(),
            remote: remote.to_owned(),
            purpose,
            state: State::Idle,
            secured: direct_tls,
            answered: None,
            features: PeerFeatures::default(),
            greeted: false,
            external: false,
            responded: false,
            bidi: false,
            pairs: Pairs::default(),
            asked: Vec::new(),
            verifying,
        }
    }

    /// What it is for.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// What is authenticated.
    pub fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// Takes one input and returns its outputs. After [`Output::End`] there are none.
    pub fn feed(&mut self, input: Input) -> Outputs {
        if self.state == State::Ended {
            return Outputs::new();
        }
        match input {
            Input::Connected if self.state == State::Idle => self.greet(),
            Input::Secured(secured) if self.state == State::Securing => {
                self.secured = Some(secured);
                self.greet()
            }
            Input::Connected | Input::Secured(_) => Outputs::new(),
            Input::Open(header) => self.open(&header),
            Input::Element(element) => self.element(element),
            Input::AddPair { local, remote } => self.add_pair(&local, &remote),
            Input::Verify { local, remote, stream_id, key } => {
                self.verify(question(&local, &remote, &stream_id, &key))
            }
            Input::Leave | Input::Close => self.fail(&Failure::Closed),
            Input::Fail(failure) => self.broken(failure),
        }
    }

    /// Sends our header, if the peer is who it should be.
    fn greet(&mut self) -> Outputs {
        if let Some(Err(why)) = self.secured.as_ref().map(|secured| secured.proves(&self.remote))
            && !self.policy.is_exempt(&self.remote)
        {
            // RFC 6120 §13.7.2: nothing is said to somebody else.
            return self.fail(&Failure::Certificate(why));
        }
        self.state = State::Opening;
        self.greeted = true;
        let greeting = header::greeting(String::new(), &self.local, Some(&self.remote));
        Outputs::from_iter([Output::Write(Item::Header(greeting))])
    }

    fn open(&mut self, header: &Header) -> Outputs {
        if self.state != State::Opening {
            return self.broken(StreamError::BadFormat.into());
        }
        let answered = match header::judge_answer(header, &self.remote) {
            Ok(answered) => answered,
            Err(failure) => return self.broken(failure),
        };
        let has_features = answered.has_features;
        self.answered = Some(answered);
        self.features = PeerFeatures::default();
        self.state = State::Featuring;
        match (&self.secured, &self.purpose) {
            // RFC 6120 §4.7.5: no features, no TLS.
            (None, _) if !has_features => self.fail(&Failure::NoTls),
            (None, _) => Outputs::new(),
            // XEP-0220 §2.1.2: nothing has to be authenticated for a question.
            (Some(_), Purpose::Verify { .. }) => {
                self.state = State::Verifying;
                self.verifying.iter().map(asked).collect()
            }
            (Some(_), Purpose::Stanzas) if has_features => Outputs::new(),
            (Some(_), Purpose::Stanzas) => self.dial(None),
        }
    }

    fn element(&mut self, element: Element) -> Outputs {
        match (element.ns(), element.name(), self.state) {
            (ns::STREAM, "error", _) => self.peer_failed(&element),
            (ns::STREAM, "features", State::Featuring) => {
                self.features = PeerFeatures::read(&element);
                self.featured()
            }
            // On a stream for questions they do not matter, and later they say nothing new.
            (ns::STREAM, "features", State::Verifying | State::Ready) => Outputs::new(),
            (ns::TLS, "proceed", State::Asking) => {
                self.state = State::Securing;
                Outputs::from_iter([Output::StartTls])
            }
            (ns::TLS, "failure", State::Asking) => self.fail(&Failure::NoTls),
            (ns::SASL, _, State::Authenticating) => self.sasl(&element),
            (ns::DIALBACK, _, State::Dialling | State::Verifying | State::Ready) => {
                self.dialback(&element)
            }
            (ns::SM, _, State::Ready) => Outputs::from_iter([Output::Managed(element)]),
            _ if Kind::of(&element).is_some() => self.stanza(element),
            _ if self.secured.is_none() => self.broken(StreamError::NotAuthorized.into()),
            _ => self.broken(StreamError::UnsupportedStanzaType.into()),
        }
    }

    /// Uses the peer's features: TLS, then bidirectionality, then a way to authenticate.
    fn featured(&mut self) -> Outputs {
        if self.secured.is_none() {
            if !self.features.starttls {
                return self.fail(&Failure::NoTls);
            }
            self.state = State::Asking;
            return write(format!("<starttls xmlns='{}'/>", ns::TLS));
        }
        let mut outputs = self.offer_bidi();
        if self.external {
            outputs.extend(self.ready(How::External));
        } else if self.features.external && self.policy.external {
            self.state = State::Authenticating;
            // XEP-0178 §3: the identity is named, for the sake of old servers.
            let auth = format!(
                "<auth xmlns='{}' mechanism='{}'>{}</auth>",
                ns::SASL,
                features::EXTERNAL,
                base64(self.local.as_bytes())
            );
            outputs.extend(write(auth));
        } else {
            outputs.extend(self.dial(None));
        }
        outputs
    }

    /// XEP-0288 §2.2: before authentication, with our limits (XEP-0478 §3.2).
    fn offer_bidi(&mut self) -> Outputs {
        if self.bidi || !self.features.bidi || !self.policy.bidi {
            return Outputs::new();
        }
        self.bidi = true;
        let mut xml = Xml::new();
        xml.start("bidi").attr("xmlns", ns::BIDI);
        self.policy.limits.write(&mut xml);
        xml.end();
        Outputs::from_iter([Output::Write(Item::Element(xml.finish()))])
    }

    fn sasl(&mut self, element: &Element) -> Outputs {
        match element.name() {
            "success" => {
                self.external = true;
                let mut outputs = Outputs::from_iter([Output::Authenticated { restart: true }]);
                outputs.extend(self.greet());
                outputs
            }
            // COMPAT: a server that asks for what it was told.
            "challenge" if !std::mem::replace(&mut self.responded, true) => {
                let authzid = base64(self.local.as_bytes());
                write(format!("<response xmlns='{}'>{authzid}</response>", ns::SASL))
            }
            "failure" => {
                let view = element.view();
                let named = view.root().children().find(|child| child.name() != "text");
                let condition = named.map_or("", |named| named.name());
                self.dial(Some(shown(condition, CONDITION_CHARS_MAX)))
            }
            _ => self.broken(StreamError::UnsupportedStanzaType.into()),
        }
    }

    pub(super) fn ready(&mut self, how: How) -> Outputs {
        self.state = State::Ready;
        let proved = self.secured.as_ref().is_some_and(|tls| tls.proves(&self.remote).is_ok());
        self.pairs.add_ours(&self.local, &self.remote, how, proved && how == How::External);
        let mut outputs = Outputs::new();
        if how != How::External {
            outputs.push(Output::Authenticated { restart: false });
        }
        outputs.push(Output::Ready(Ready {
            how,
            sm: self.policy.sm && self.features.sm,
            bidi: self.bidi,
            limits: self.features.limits,
            dialback: self.speaks_dialback(),
            dialback_errors: self.features.dialback_errors,
        }));
        outputs
    }

    fn stanza(&mut self, stanza: Element) -> Outputs {
        if self.state != State::Ready || !self.bidi {
            let why = "this stream carries stanzas the other way only";
            return self.broken(StreamError::NotAuthorized.text(why));
        }
        match self.pairs.judge(&stanza, |domain| self.policy.is_ours(domain)) {
            Ok(()) => Outputs::from_iter([Output::Stanza(stanza)]),
            Err(failure) => self.broken(failure),
        }
    }

    fn peer_failed(&mut self, element: &Element) -> Outputs {
        let failure = read_error(element);
        if let StreamError::SeeOtherHost(host) = &failure.error {
            let host = shown(host, HOST_CHARS_MAX);
            let mut outputs = Outputs::from_iter([Output::Elsewhere(host.clone())]);
            outputs.extend(self.fail(&Failure::Elsewhere(host)));
            return outputs;
        }
        let mut outputs = Outputs::from_iter([Output::PeerFailed(failure.clone())]);
        outputs.extend(self.fail(&Failure::Peer(failure)));
        outputs
    }

    /// The peer broke the protocol.
    pub(super) fn broken(&mut self, failure: StreamFailure) -> Outputs {
        let mut outputs = Outputs::new();
        if self.greeted && self.state != State::Securing {
            outputs.push(Output::Write(Item::Failure(failure.clone())));
        }
        outputs.extend(self.fail(&Failure::Broken(failure)));
        outputs
    }

    /// Whatever is still waited for fails, and the stream ends.
    pub(super) fn fail(&mut self, failure: &Failure) -> Outputs {
        let mut outputs = Outputs::new();
        for question in std::mem::take(&mut self.verifying) {
            outputs.push(verified(question, Outcome::Error(failure.dialback_error())));
        }
        for Dialback { from: local, to: remote, .. } in std::mem::take(&mut self.asked) {
            // The stream's own pair fails with the stream.
            if self.state == State::Ready {
                let failure = failure.clone();
                outputs.push(Output::PairFailed { local, remote, failure });
            }
        }
        if self.state != State::Ready {
            outputs.push(Output::Failed(failure.clone()));
        }
        outputs.extend(self.end());
        outputs
    }

    pub(super) fn end(&mut self) -> Outputs {
        let mut outputs = Outputs::new();
        // During the handshake nothing can be written that the peer would understand.
        if self.greeted && self.state != State::Securing {
            outputs.push(Output::Write(Item::Close));
        }
        self.state = State::Ended;
        outputs.push(Output::End);
        outputs
    }
}

/// Of what a peer says for the log.
const CONDITION_CHARS_MAX: usize = 64;
/// A domain has at most 255, and a port may follow.
const HOST_CHARS_MAX: usize = 512;
