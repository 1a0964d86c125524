//! The machine: headers, features, TLS and dialback.

use std::sync::Arc;

use super::step::{Input, Output, Outputs};
use crate::base::id::{self, Rng};
use crate::stanza::{Condition, Kind, StanzaError};
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::framing::Item;
use crate::stream::s2s::certificate::Secured;
use crate::stream::s2s::dialback::{Content, Dialback, Kind as DialbackKind, Outcome};
use crate::stream::s2s::failure::read_error;
use crate::stream::s2s::features::{self, Offer, PeerLimits};
use crate::stream::s2s::header::{self, Called};
use crate::stream::s2s::pairs::Pairs;
use crate::stream::s2s::policy::{How, Policy};
use crate::stream::sasl::SaslFailure;
use crate::stream::sm;
use crate::xml::element::Element;
use crate::xml::header::Header;
use crate::xml::ns;

/// A stream that another server opened to us.
pub struct Incoming {
    pub(super) policy: Arc<Policy>,
    pub(super) state: State,
    /// Since TLS.
    pub(super) secured: Option<Secured>,
    /// What the last header said that was right.
    pub(super) called: Option<Called>,
    /// The id that we gave the stream in the last header.
    id: String,
    /// Whether a header was sent since the last restart.
    greeted: bool,
    /// The `to` of our headers.
    greets: Option<String>,
    /// SASL EXTERNAL succeeded.
    pub(super) external: bool,
    /// An empty challenge was sent.
    pub(super) challenged: bool,
    bidi: bool,
    pub(super) pairs: Pairs,
    /// Requests whose keys are being verified.
    pub(super) verifying: Vec<Dialback>,
    pub(super) sasl_failures: u32,
    refusals: u32,
    /// What was asked before anything was authenticated: verifications, and `<db:verify/>`.
    strange: Strange,
}

/// What a peer asked for that may be anybody.
#[derive(Debug, Default)]
struct Strange {
    verifications: u32,
    questions: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A header must come.
    Opening,
    /// STARTTLS was offered.
    Offered,
    Securing,
    /// Under TLS, and the features are sent.
    Open,
    Ended,
}

impl Incoming {
    /// A stream whose header has not been received; with the outcome of the handshake if it began with TLS
    /// (XEP-0368).
    pub fn new(policy: Arc<Policy>, direct_tls: Option<Secured>) -> Self {
        Self {
            policy,
            state: State::Opening,
            secured: direct_tls,
            called: None,
            id: String::new(),
            greeted: false,
            greets: None,
            external: false,
            challenged: false,
            bidi: false,
            pairs: Pairs::default(),
            verifying: Vec::new(),
            sasl_failures: 0,
            refusals: 0,
            strange: Strange::default(),
        }
    }

    /// The served domain that the peer called, once a header was right: the certificate is chosen by it.
    pub fn local(&self) -> Option<&str> {
        self.called.as_ref().map(|called| called.local.as_str())
    }

    /// Who the peer says it is, once a header was right. It is not proved: see [`Self::pairs`].
    pub fn remote(&self) -> Option<&str> {
        self.called.as_ref().map(|called| called.remote.as_str())
    }

    /// What is authenticated.
    pub fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// Whether the stream takes stanzas, too.
    pub fn is_bidi(&self) -> bool {
        self.bidi
    }

    /// Takes one input and returns its outputs. After [`Output::End`] there are none.
    pub fn feed(&mut self, input: Input, rng: &mut dyn Rng) -> Outputs {
        if self.state == State::Ended {
            return Outputs::new();
        }
        match input {
            Input::Open(header) => self.open(&header, rng),
            Input::Element(element) => self.element(element, rng),
            Input::Secured(secured) if self.state == State::Securing => {
                // RFC 6120 §5.4.3.3: what was said before TLS is void, but for the domain whose certificate
                // was shown.
                self.secured = Some(secured);
                self.restart();
                Outputs::new()
            }
            Input::Secured(_) => Outputs::new(),
            Input::Verified { local, remote, outcome } => {
                self.verified(&local, &remote, outcome, rng)
            }
            Input::Leave | Input::Close => self.close(None, rng),
            Input::Fail(failure) => self.close(Some(failure), rng),
        }
    }

    fn open(&mut self, header: &Header, rng: &mut dyn Rng) -> Outputs {
        if self.state != State::Opening {
            return self.close(Some(StreamError::BadFormat.into()), rng);
        }
        // RFC 6120 §4.7.2: set even if the header is refused.
        self.greets = header.from.as_deref().and_then(header::domain);
        let policy = Arc::clone(&self.policy);
        let called = match header::judge(header, |domain| policy.is_ours(domain)) {
            Ok(called) => called,
            Err(failure) => return self.close(Some(failure), rng),
        };
        let before = self.called.replace(called.clone());
        let fits = |before: &Called| {
            before.local == called.local && (!self.external || before.remote == called.remote)
        };
        if !before.is_none_or(|before| fits(&before)) {
            let why = StreamError::NotAuthorized.text("the stream was opened for another domain");
            return self.close(Some(why), rng);
        }
        if !policy.admission.admits(&called.remote) {
            let why = "this server does not talk to that domain";
            let failure = StreamError::PolicyViolation.text(why);
            let mut outputs = self.close(Some(failure), rng);
            outputs.insert(0, Output::Refused { remote: called.remote, why: why.to_owned() });
            return outputs;
        }
        let mut outputs = Outputs::from_iter([self.greeting(rng)]);
        outputs.extend(self.offer(&called));
        outputs
    }

    /// Sends a header; without a domain that is served here (RFC 6120 §4.9.1.3) it is from our first one.
    fn greeting(&mut self, rng: &mut dyn Rng) -> Output {
        self.greeted = true;
        self.id = id::random(rng);
        let first = || self.policy.domains.first().map(String::as_str);
        let from = self.local().or_else(first).unwrap_or_default();
        let greeting = header::greeting(self.id.clone(), from, self.greets.as_deref());
        Output::Write(Item::Header(greeting))
    }

    /// The features that apply now.
    fn offer(&mut self, called: &Called) -> Outputs {
        let Some(secured) = &self.secured else {
            self.state = State::Offered;
            return Outputs::from_iter([Output::Write(Item::Features(features::before_tls()))]);
        };
        self.state = State::Open;
        let policy = &self.policy;
        let external = !self.external && secured.proves(&called.remote).is_ok();
        let dialback = self.external || external || policy.is_exempt(&called.remote);
        // What comes after authentication; dialback has no features of its own afterwards.
        let last = !external && dialback;
        let offer = Offer {
            external,
            dialback,
            bidi: policy.bidi && !self.bidi && dialback,
            sm: policy.sm && last,
            limits: if last { policy.limits } else { policy.limits_unauthenticated.to_strangers() },
        };
        let mut outputs = Outputs::from_iter([Output::Write(Item::Features(offer.to_xml()))]);
        if self.external {
            outputs.push(self.pair(&called.local, &called.remote, How::External));
        }
        outputs
    }

    fn element(&mut self, element: Element, rng: &mut dyn Rng) -> Outputs {
        let kind = Kind::of(&element);
        match (element.ns(), element.name()) {
            // RFC 6120 §4.9.1.1: whoever receives a stream error closes the stream and says nothing more.
            (ns::STREAM, "error") => {
                let mut outputs = Outputs::from_iter([Output::PeerFailed(read_error(&element))]);
                outputs.extend(self.close(None, rng));
                outputs
            }
            (ns::TLS, "starttls") => self.start_tls(),
            _ if self.state != State::Open => self.too_early(kind, rng),
            (ns::SASL, "auth") => self.auth(&element, rng),
            (ns::SASL, "response") => self.response(&element, rng),
            (ns::SASL, "abort") => self.sasl_failure(SaslFailure::Aborted, rng),
            (ns::DIALBACK, _) => self.dialback(&element, rng),
            (ns::BIDI, "bidi") if self.policy.bidi => self.bidi(&element),
            (ns::SM, _) if self.pairs.is_empty() => {
                // XEP-0198 §3: not before authentication. Nobody who is somebody tries.
                let failed = sm::failed(Condition::UnexpectedRequest, None);
                let mut outputs = Outputs::from_iter([Output::Write(Item::Element(failed))]);
                let failure = StreamError::PolicyViolation.text("nothing is authenticated yet");
                outputs.extend(self.close(Some(failure), rng));
                outputs
            }
            (ns::SM, _) if !self.policy.sm => {
                let failed = sm::failed(Condition::UnexpectedRequest, None);
                Outputs::from_iter([Output::Write(Item::Element(failed))])
            }
            (ns::SM, _) => Outputs::from_iter([Output::Managed(element)]),
            _ if kind.is_some() => {
                match self.pairs.judge(&element, |domain| self.policy.is_ours(domain)) {
                    Ok(()) => Outputs::from_iter([Output::Stanza(element)]),
                    Err(failure) => self.close(Some(failure), rng),
                }
            }
            _ => self.close(Some(StreamError::UnsupportedStanzaType.into()), rng),
        }
    }

    /// Before TLS there is STARTTLS and nothing else.
    fn too_early(&mut self, kind: Option<Kind>, rng: &mut dyn Rng) -> Outputs {
        let failure = match (kind, &self.secured) {
            // RFC 6120 §4.9.3.12
            (Some(_), _) | (_, Some(_)) => StreamError::NotAuthorized.into(),
            // XEP-0220 §2.5
            (None, None) => StreamError::PolicyViolation.text("TLS must come first"),
        };
        self.close(Some(failure), rng)
    }

    fn start_tls(&mut self) -> Outputs {
        if self.state != State::Offered {
            // RFC 6120 §5.4.2.2: this is the failure case, so the stream ends.
            self.state = State::Ended;
            let failure = format!("<failure xmlns='{}'/>", ns::TLS);
            return Outputs::from_iter([
                Output::Write(Item::Element(failure.into())),
                Output::Write(Item::Close),
                Output::End,
            ]);
        }
        self.state = State::Securing;
        let proceed = format!("<proceed xmlns='{}'/>", ns::TLS);
        Outputs::from_iter([Output::Write(Item::Element(proceed.into())), Output::StartTls])
    }

    fn bidi(&mut self, element: &Element) -> Outputs {
        // XEP-0478 §3.2
        let view = element.view();
        let limits = view.root().child(ns::STREAM_LIMITS, "limits").map(PeerLimits::read);
        if std::mem::replace(&mut self.bidi, true) {
            return Outputs::new();
        }
        Outputs::from_iter([Output::Bidi(limits)])
    }

    fn dialback(&mut self, element: &Element, rng: &mut dyn Rng) -> Outputs {
        let read = match Dialback::read(element) {
            Ok(read) => read,
            Err(unreadable) => {
                return self.close(Some(StreamError::ImproperAddressing.text(unreadable.0)), rng);
            }
        };
        match (&read.kind, &read.content) {
            // XEP-0220 §3.1: nothing was asked on this stream, so nothing may be answered.
            (_, Content::Answer(_)) => self
                .close(Some(StreamError::NotAuthorized.text("an answer without a question")), rng),
            (DialbackKind::Verify, _) => {
                // XEP-0220 §2.1.2: a stream for questions has nothing authenticated, and few of them.
                self.strange.questions += u32::from(self.pairs.is_empty());
                if self.strange.questions > QUESTIONS_MAX {
                    let failure = StreamError::PolicyViolation.text("too many keys to verify");
                    return self.close(Some(failure), rng);
                }
                answered(self.policy.verify(&read))
            }
            (DialbackKind::Result, Content::Key(key)) => {
                let key = key.clone();
                self.result(read, key, rng)
            }
        }
    }

    /// XEP-0220 §2.2.1: a request for a pair.
    fn result(&mut self, request: Dialback, key: String, rng: &mut dyn Rng) -> Outputs {
        let (local, remote) = (request.to.as_str(), request.from.as_str());
        let policy = &self.policy;
        #[allow(clippy::result_large_err)] // lives for one step
        let refuse = |error: StanzaError, why: &str| Err((error, why.to_owned()));
        let under_way = |one: &Dialback| one.to == local && one.from == remote;
        let judged = if !policy.is_ours(local) {
            refuse(StanzaError::item_not_found(), "the domain that it wants is not served here")
        } else if policy.is_ours(remote) {
            refuse(StanzaError::forbidden(), "the domain is served here")
        } else if !policy.admission.admits(remote) {
            refuse(StanzaError::policy_violation(), "this server does not talk to that domain")
        } else if self.pairs.has(local, remote) {
            return answered(Some(request.answer(Outcome::Valid)));
        } else if self.verifying.iter().any(under_way) {
            refuse(StanzaError::unexpected_request(), "it is being verified already")
        } else if self.pairs.len() + self.verifying.len() >= policy.domains_per_stream_max
            || (self.pairs.is_empty() && self.verifying.len() >= VERIFICATIONS_AT_ONCE_MAX)
            || (self.pairs.is_empty() && self.strange.verifications >= VERIFICATIONS_MAX)
        {
            refuse(StanzaError::resource_constraint(), "too many domains on one stream")
        } else {
            match self.secured.as_ref().map_or(Err(String::new()), |tls| tls.proves_by_name(remote))
            {
                // XEP-0344 §2.4
                Ok(()) => Ok(true),
                Err(_) if policy.is_exempt(remote) => Ok(false),
                Err(why) => Err((StanzaError::not_authorized(), why)),
            }
        };
        match judged {
            Ok(true) => self.accept(&request, How::DialbackByCertificate),
            Ok(false) => {
                let (local, remote) = (request.to.clone(), request.from.clone());
                let stream_id = self.id.clone();
                self.strange.verifications += u32::from(self.pairs.is_empty());
                self.verifying.push(request);
                Outputs::from_iter([Output::Verify { local, remote, stream_id, key }])
            }
            Err((error, why)) => self.refuse(&request, error, why, rng),
        }
    }

    fn verified(
        &mut self,
        local: &str,
        remote: &str,
        outcome: Outcome,
        rng: &mut dyn Rng,
    ) -> Outputs {
        let asked = |one: &Dialback| one.to == local && one.from == remote;
        let Some(at) = self.verifying.iter().position(asked) else { return Outputs::new() };
        let request = self.verifying.swap_remove(at);
        match outcome {
            Outcome::Valid => self.accept(&request, How::Dialback),
            Outcome::Error(error) => {
                let why = format!("its authoritative server could not be asked ({error})");
                self.refuse(&request, error, why, rng)
            }
            // XEP-0220 §2.2.1: the stream goes on for the sake of other pairs only.
            Outcome::Invalid if !self.pairs.is_empty() => {
                self.refuse(&request, StanzaError::forbidden(), FORGED.to_owned(), rng)
            }
            Outcome::Invalid => {
                let mut outputs = answered(Some(request.answer(Outcome::Invalid)));
                outputs.push(Output::Refused { remote: request.from, why: FORGED.to_owned() });
                outputs.extend(self.close(None, rng));
                outputs
            }
        }
    }

    fn accept(&mut self, request: &Dialback, how: How) -> Outputs {
        let mut outputs = answered(Some(request.answer(Outcome::Valid)));
        if self.pairs.is_empty() {
            outputs.push(Output::Authenticated { restart: false });
        }
        outputs.push(self.pair(&request.to, &request.from, how));
        outputs
    }

    fn pair(&mut self, local: &str, remote: &str, how: How) -> Output {
        self.pairs.add(local, remote, how);
        Output::Paired { local: local.to_owned(), remote: remote.to_owned(), how }
    }

    /// XEP-0220 §2.5: an error does not end the stream, but a peer that does nothing else loses it.
    fn refuse(
        &mut self,
        request: &Dialback,
        error: StanzaError,
        why: String,
        rng: &mut dyn Rng,
    ) -> Outputs {
        let mut outputs = answered(Some(request.answer(Outcome::Error(error))));
        outputs.push(Output::Refused { remote: request.from.clone(), why });
        self.refusals += 1;
        if self.refusals > REFUSALS_MAX {
            let failure = StreamError::PolicyViolation.text("too many domains were refused");
            outputs.extend(self.close(Some(failure), rng));
        }
        outputs
    }

    /// Expects a new header.
    pub(super) fn restart(&mut self) {
        self.greeted = false;
        self.greets = None;
        self.state = State::Opening;
    }

    /// Ends the stream; sends a header first if none was sent (RFC 6120 §4.9.1.2).
    pub(super) fn close(&mut self, failure: Option<StreamFailure>, rng: &mut dyn Rng) -> Outputs {
        let mut outputs = Outputs::new();
        // During the handshake nothing can be written that the peer would understand.
        if self.state != State::Securing {
            if !self.greeted {
                outputs.push(self.greeting(rng));
            }
            outputs.extend(failure.map(|failure| Output::Write(Item::Failure(failure))));
            outputs.push(Output::Write(Item::Close));
        }
        outputs.push(Output::End);
        self.state = State::Ended;
        outputs
    }
}

/// An answer of dialback, if there is one.
fn answered(answer: Option<Dialback>) -> Outputs {
    answer.map(|answer| Output::Write(Item::Element(answer.to_xml()))).into_iter().collect()
}

const FORGED: &str = "its authoritative server says that the key is not its own";
/// Requests for pairs that are refused on one stream before it is closed.
const REFUSALS_MAX: u32 = 20;
/// Before anything is authenticated (XEP-0220 §3: each makes this server call another one): verifications at a time.
const VERIFICATIONS_AT_ONCE_MAX: usize = 3;
/// In all.
const VERIFICATIONS_MAX: u32 = 10;
/// Questions of others about our keys.
const QUESTIONS_MAX: u32 = 5;
