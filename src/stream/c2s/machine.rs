//! The machine: handles headers, features and TLS, and dispatches elements. Logins, the requests that come
//! with them, and binding have files of their own.

use std::sync::Arc;

use bytestring::ByteString;

use super::inline::{Inline, Tasks};
use super::policy::Policy;
use super::step::{Input, Output, Outputs, write};
use super::tries::Tries;
use crate::base::id::{self, Rng};
use crate::jid::{BareJid, Jid};
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::features;
use crate::stream::framing::{Greeting, Item};
use crate::stream::open::{self, Opened};
use crate::stream::sasl::{ChannelBindings, Exchange, Mechanism, Offer, SaslFailure};
use crate::xml::element::Element;
use crate::xml::header::Header;
use crate::xml::ns;

/// One stream before it is bound.
pub struct C2s {
    pub(super) policy: Arc<Policy>,
    pub(super) state: State,
    pub(super) host: Option<String>,
    pub(super) lang: Option<String>,
    pub(super) secured: bool,
    pub(super) bindings: ChannelBindings,
    pub(super) account: Option<BareJid>,
    pub(super) tries: Tries,
    /// The mechanism of the current attempt.
    pub(super) mechanism: Option<&'static str>,
    pub(super) asked: Option<String>,
    pub(super) bind_failures: u32,
    /// Number of requests that were based on other features (XEP-0509).
    pub(super) mismatches: u32,
    /// The `to` of the server's headers, taken from the `from` of the client's.
    pub(super) greets: Option<Jid>,
    /// Whether a header was sent since the last restart.
    pub(super) greeted: bool,
    /// The current attempt, if it uses XEP-0388.
    pub(super) inline: Option<Box<Inline>>,
    /// The stream is somewhere else, which its end says.
    pub(super) moved: bool,
}

#[allow(clippy::large_enum_variant)] // one a stream, and only until it is bound
pub(super) enum State {
    Opening,
    /// Features with STARTTLS, SASL or both were sent.
    Offered(Offer),
    Securing,
    Authenticating(Offer, Box<Exchange>),
    Admitting(Offer, Option<Vec<u8>>),
    Binding,
    /// A bind request is being worked on.
    Bound(Element),
    /// Waits for a former stream to be found.
    Resuming,
    /// Waits for the requests that came with a login.
    Inlining,
    /// The client creates keys that its account lacks (XEP-0480).
    Tasks(Box<Tasks>),
    Ended,
}

impl C2s {
    /// A stream whose header has not been received. `bindings` are given if it already runs over TLS.
    pub fn new(policy: Arc<Policy>, direct_tls: Option<ChannelBindings>) -> Self {
        Self {
            policy,
            state: State::Opening,
            host: None,
            lang: None,
            secured: direct_tls.is_some(),
            bindings: direct_tls.unwrap_or_default(),
            account: None,
            tries: Tries::default(),
            mechanism: None,
            asked: None,
            bind_failures: 0,
            mismatches: 0,
            greets: None,
            greeted: false,
            inline: None,
            moved: false,
        }
    }

    /// Ends the stream as soon as a header has come that is right.
    pub fn moved(mut self, moved: bool) -> Self {
        self.moved = moved;
        self
    }

    /// The hosted domain, once a header has named it.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The mechanism of the attempt, until it failed; of the login, after it.
    pub fn mechanism(&self) -> Option<&'static str> {
        self.mechanism
    }

    /// The stream's `xml:lang`.
    pub fn lang(&self) -> Option<&str> {
        self.lang.as_deref()
    }

    /// Whether the stream runs over TLS.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// Takes one input and returns its outputs.
    pub fn feed(&mut self, input: Input, rng: &mut dyn Rng) -> Outputs {
        match input {
            Input::Open(header) => self.open(&header, rng),
            Input::Element(element) => self.element(element, rng),
            Input::Secured(bindings) => self.restart(Some(bindings)),
            Input::Keys(keys) => self.exchange(|exchange| exchange.keys(keys)),
            Input::Unknown => self.attempt_failed(SaslFailure::TemporaryAuthFailure),
            Input::Worked(done) => self.exchange(|exchange| exchange.worked(done)),
            Input::Checked(outcome) => self.exchange(|exchange| exchange.checked(outcome)),
            Input::Hashes(has) => self.hashes(&has, rng),
            Input::KeysAdded => self.keys_added(rng),
            Input::Issued(given) => self.issued(given),
            Input::Admitted(admitted) => self.admitted(admitted, rng),
            Input::Bound(bound) => self.bound(bound, rng),
            Input::Bound2(bound) => self.bound2(bound, rng),
            Input::NotResumed(h) => self.not_resumed(h, rng),
            Input::Close => self.close(None, rng),
            Input::Fail(failure) => self.close(Some(failure), rng),
        }
    }

    fn open(&mut self, header: &Header, rng: &mut dyn Rng) -> Outputs {
        if !matches!(self.state, State::Opening) {
            return self.close(Some(StreamError::BadFormat.into()), rng);
        }
        // RFC 6120 §4.7.2: set even if the header is refused.
        self.greets = header.from.as_deref().and_then(|from| Jid::parse(from).ok());
        let hosts = &self.policy.hosts;
        let only = match (&self.host, hosts.as_slice()) {
            (Some(host), _) => Some(host.as_str()),
            (None, [single]) => Some(single.as_str()),
            _ => None,
        };
        let judged = open::judge(header, |host| hosts.iter().any(|known| known == host), only);
        let Opened { host, lang } = match judged {
            Ok(opened) => opened,
            Err(failure) => {
                let unknown = failure.error == StreamError::HostUnknown;
                let mut outputs = self.close(Some(failure), rng);
                if unknown {
                    outputs.insert(0, Output::UnknownHost(header.to.clone()));
                }
                return outputs;
            }
        };
        // The first header fixes the host, because the certificate and the account belong to it.
        if self.host.as_ref().is_some_and(|fixed| *fixed != host) {
            let why = StreamError::NotAuthorized.text("the stream was opened for another domain");
            return self.close(Some(why), rng);
        }
        // XEP-0388 §2.1: a client of another domain is refused.
        if self.secured && self.greets.as_ref().is_some_and(|from| from.domain() != host) {
            self.host = Some(host);
            return self.close(Some(StreamError::InvalidFrom.into()), rng);
        }
        // RFC 6120 §4.9.3.9: after SASL a `from` must be the authenticated account.
        let own = |account: &BareJid| {
            self.greets.as_ref().is_some_and(|from| from.bare_str() == account.as_str())
        };
        if header.from.is_some() && self.account.as_ref().is_some_and(|account| !own(account)) {
            self.host = Some(host);
            return self.close(Some(StreamError::InvalidFrom.into()), rng);
        }
        self.lang = lang.or(self.lang.take());
        self.host = Some(host);
        if self.moved {
            // RFC 7395 §3.4: instead of a header; strophe.js looks for it in the first answer only.
            self.state = State::Ended;
            return Outputs::from_iter([Output::Write(Item::Close), Output::End]);
        }
        let header = self.greeting(rng);
        Outputs::from_iter([header, Output::Write(Item::Features(self.offer()))])
    }

    /// Sends a header. Without a host (the client named none that is hosted here, RFC 6120 §4.9.1.3) it is
    /// from our first one.
    fn greeting(&mut self, rng: &mut dyn Rng) -> Output {
        self.greeted = true;
        let from = self.host.as_ref().or(self.policy.hosts.first());
        let from = from.cloned().unwrap_or_default();
        let greeting = Greeting { id: id::random(rng), from, to: self.greets.clone() };
        Output::Write(Item::Header(greeting))
    }

    /// Returns the features that apply now, and sets the state that waits for the client to use one.
    fn offer(&mut self) -> ByteString {
        if self.account.is_some() {
            self.state = State::Binding;
            return features::bind(&self.policy.bind_features, &self.policy.limits);
        }
        let sasl = self.secured || !self.policy.require_tls;
        let usable = |mechanism: &Mechanism| sasl && !self.lacks_tls(*mechanism);
        let enabled: Vec<_> = self.policy.mechanisms.iter().copied().filter(usable).collect();
        let offer = Offer::new(&enabled, self.bindings.clone());
        let text = match (offer.mechanisms.is_empty(), self.secured) {
            (true, true) => ByteString::new(),
            (true, false) => features::secure(self.policy.require_tls, ""),
            (false, true) => self.policy.offered(&offer).features.clone(),
            (false, false) => {
                let Policy { authenticate_features, limits, require_tls, .. } = &*self.policy;
                let parts = features::authenticate(&offer, authenticate_features, limits);
                features::secure(*require_tls, &parts)
            }
        };
        self.state = State::Offered(offer);
        text
    }

    /// RFC 4616 §5 and RFC 6120 §13.8.3: a plaintext password is neither requested nor accepted, even if TLS
    /// is not required.
    pub(super) fn lacks_tls(&self, mechanism: Mechanism) -> bool {
        mechanism == Mechanism::Plain && !self.secured
    }

    fn element(&mut self, element: Element, rng: &mut dyn Rng) -> Outputs {
        // XEP-0388 §2.4: nothing else is allowed during an attempt.
        let strays = self.inline.is_some() && !matches!(element.ns(), ns::SASL2 | ns::STREAM);
        match (element.ns(), element.name()) {
            _ if strays => self.close(Some(StreamError::NotAuthorized.into()), rng),
            (ns::TLS, "starttls") => self.start_tls(rng),
            (ns::SASL2, _) if matches!(self.state, State::Tasks(_)) => self.task(&element, rng),
            (ns::SASL2, "authenticate") => self.authenticate(&element, rng),
            (ns::SASL2, "response") => self.response(&element, rng),
            (ns::SASL2, "abort") => self.abort(ns::SASL2, rng),
            (ns::SASL, "auth") => self.auth(&element, rng),
            (ns::SASL, "response") => self.response(&element, rng),
            (ns::SASL, "abort") => self.abort(ns::SASL, rng),
            (ns::CLIENT, "iq") => self.iq(element, rng),
            (ns::SM, _) => self.manage(&element, rng),
            // RFC 6120 §4.9.1.1: an entity that receives a stream error closes the stream and sends nothing
            // more.
            (ns::STREAM, "error") => self.close(None, rng),
            // RFC 6120 §4.9.3.12: anything else comes too early here.
            _ => self.close(Some(StreamError::NotAuthorized.into()), rng),
        }
    }

    fn start_tls(&mut self, rng: &mut dyn Rng) -> Outputs {
        if self.secured || !matches!(self.state, State::Offered(_)) {
            // RFC 6120 §5.4.2.2: this is the failure case, so the stream ends.
            let mut outputs = write(format!("<failure xmlns='{}'/>", ns::TLS));
            self.state = State::Ended;
            outputs.extend([Output::Write(Item::Close), Output::End]);
            let _ = rng;
            return outputs;
        }
        self.state = State::Securing;
        let mut outputs = write(format!("<proceed xmlns='{}'/>", ns::TLS));
        outputs.push(Output::StartTls);
        outputs
    }

    pub(super) fn restart(&mut self, bindings: Option<ChannelBindings>) -> Outputs {
        if let Some(bindings) = bindings {
            self.secured = true;
            self.bindings = bindings;
            // RFC 6120 §5.4.3.3: everything learnt before TLS is discarded, except the host.
            self.lang = None;
        }
        self.greeted = false;
        self.greets = None;
        self.state = State::Opening;
        Outputs::new()
    }

    /// Ends the stream; sends a header first if none was sent (RFC 6120 §4.9.1.2).
    pub(super) fn close(&mut self, failure: Option<StreamFailure>, rng: &mut dyn Rng) -> Outputs {
        if matches!(self.state, State::Ended) {
            return Outputs::from_iter([Output::End]);
        }
        let mut outputs = Outputs::new();
        if !self.greeted {
            outputs.push(self.greeting(rng));
        }
        outputs.extend(failure.map(|failure| Output::Write(Item::Failure(failure))));
        outputs.extend([Output::Write(Item::Close), Output::End]);
        self.state = State::Ended;
        outputs
    }
}
